//! Where the relay is, for programs that cannot say so.

use super::exit;
use crate::{
    failure::Failure,
    key_choice::KeyChoice,
    keys::{self, Secret},
    uplink::Uplink,
    way::Way,
};
use relay_proto::{
    WebSocketUrl,
    mail::wire::ApiKey,
    smtp::{Address, HostName},
};
use serde::Deserialize;
use std::{
    env,
    fmt::Display,
    fs, io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr,
};

const ATTEMPTS: NonZeroU32 = NonZeroU32::new(3).expect("three is not zero");

/// What the environment or a file says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Layer {
    url: Option<String>,
    api_key: Option<Secret>,
    api_key_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    proxy: Option<Secret>,
    header: Vec<Secret>,
    domain: Option<String>,
    sender: Option<String>,
    attempts: Option<NonZeroU32>,
}

/// What is needed to send.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) uplink: Uplink,
    /// Of addresses without one.
    pub(super) domain: HostName,
    /// Who sends, where nobody says so.
    pub(super) sender: Option<Address>,
}

impl Settings {
    /// Joins what the environment and a file say: `config`, or the first in the usual places.
    pub(super) fn gather(config: Option<&Path>) -> Result<Self, Failure> {
        let file = match config {
            Some(path) => Some(path.to_owned()),
            None => usual_places().into_iter().find(|path| path.exists()),
        };
        let lower = match &file {
            Some(path) => read(path)?,
            None => Layer::default(),
        };
        environment().over(lower).check(file.as_deref())
    }
}

fn usual_places() -> Vec<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let home = || variable("HOME").map(|home| Path::new(&home).join(".config"));
    let own = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    let places = own.into_iter().chain([PathBuf::from("/etc")]);
    places
        .map(|place| place.join("relay/sendmail.toml"))
        .collect()
}

fn environment() -> Layer {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    Layer {
        url: variable("RELAY_URL"),
        api_key: variable("RELAY_API_KEY").map(Secret),
        api_key_file: variable("RELAY_API_KEY_FILE").map(PathBuf::from),
        ca: variable("RELAY_CA").map(PathBuf::from),
        client_certificate: variable("RELAY_CLIENT_CERTIFICATE").map(PathBuf::from),
        client_key: variable("RELAY_CLIENT_KEY").map(PathBuf::from),
        proxy: variable("RELAY_PROXY").map(Secret),
        header: variable("RELAY_HEADER")
            .map(|lines| lines.lines().map(|line| Secret(line.to_owned())).collect())
            .unwrap_or_default(),
        domain: variable("RELAY_MAIL_DOMAIN"),
        ..Layer::default()
    }
}

fn read(path: &Path) -> Result<Layer, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| exit::config(format_args!("cannot read the settings {shown}: {error}")))?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        let problem = error.message().replace('\n', " ");
        exit::config(format_args!("{shown}:{line}: {problem}"))
    })
}

impl Layer {
    fn over(self, lower: Self) -> Self {
        let (api_key, api_key_file) = match (self.api_key, self.api_key_file) {
            (None, None) => (lower.api_key, lower.api_key_file),
            key => key,
        };
        let (client_certificate, client_key) = match (self.client_certificate, self.client_key) {
            (None, None) => (lower.client_certificate, lower.client_key),
            pair => pair,
        };
        let header = match self.header.is_empty() {
            true => lower.header,
            false => self.header,
        };
        Self {
            url: self.url.or(lower.url),
            api_key,
            api_key_file,
            ca: self.ca.or(lower.ca),
            client_certificate,
            client_key,
            proxy: self.proxy.or(lower.proxy),
            header,
            domain: self.domain.or(lower.domain),
            sender: self.sender.or(lower.sender),
            attempts: self.attempts.or(lower.attempts),
        }
    }

    fn check(self, file: Option<&Path>) -> Result<Settings, Failure> {
        let place = match file {
            Some(path) => path.display().to_string(),
            None => {
                let places = usual_places();
                let places: Vec<_> = places
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                places.join(" or ")
            }
        };
        let url = self.url.ok_or_else(|| {
            exit::config(format_args!("no relay: set RELAY_URL, or url in {place}"))
        })?;
        let url: WebSocketUrl = parse("the relay's url", &url)?;
        let api_key = match (self.api_key, self.api_key_file) {
            // The environment's or the file's: who sets both means the one that other users do not see.
            (_, Some(path)) => keys::read(&path).map(|keys| keys.into_iter().next()),
            (Some(Secret(key)), None) => {
                let key = ApiKey::new(&key);
                keys::check(&key).map(|()| Some(key))
            }
            (None, None) => Ok(None),
        };
        let api_key = api_key.map_err(exit::config)?.ok_or_else(|| {
            exit::config(format_args!(
                "no API key: set RELAY_API_KEY or RELAY_API_KEY_FILE, or api-key-file in {place}"
            ))
        })?;
        let domain = match &self.domain {
            Some(domain) => parse("the domain", domain)?,
            None => host_name(),
        };
        let sender = self.sender.as_deref();
        Ok(Settings {
            uplink: Uplink {
                url,
                key: KeyChoice {
                    api_key: Some(api_key),
                    api_key_file: None,
                },
                way: Way {
                    ca: self.ca,
                    client_certificate: self.client_certificate,
                    client_key: self.client_key,
                    proxy: self.proxy,
                    header: self.header,
                },
                attempts: self.attempts.unwrap_or(ATTEMPTS),
            },
            domain,
            sender: sender.map(|text| parse("the sender", text)).transpose()?,
        })
    }
}

fn parse<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|error| exit::config(format_args!("{what} {text:?}: {error}")))
}

/// What this machine calls itself in mail: `/etc/mailname`, its host name, or localhost.
fn host_name() -> HostName {
    let mail_name =
        fs::read_to_string("/etc/mailname").or_else(|_| Ok::<_, io::Error>(String::new()));
    let host_name = gethostname::gethostname().into_string();
    [mail_name.ok(), host_name.ok()]
        .into_iter()
        .flatten()
        .find_map(|name| name.trim().parse().ok())
        .unwrap_or_else(crate::config::local_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Layer {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_environment_comes_first_and_a_key_replaces_a_key_file() {
        let upper = layer("api-key = 'k'");
        let lower = layer("url = 'ws://h/'\napi-key-file = 'no/such'\ndomain = 'example.org'");
        let settings = upper.over(lower).check(None).unwrap();
        assert_eq!(settings.uplink.url.to_string(), "ws://h/");
        assert_eq!(settings.domain.as_str(), "example.org");
        assert!(settings.uplink.configure(0).is_ok());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_its_place() {
        let path = Path::new("here.toml");
        for (text, part) in [
            ("api-key = 'k'", "url in here.toml"),
            ("url = 'ws://h/'", "api-key-file in here.toml"),
            ("url = 'http://h/'\napi-key = 'k'", "ws://"),
            (
                "url = 'ws://h/'\napi-key = 'k'\nsender = 'me'",
                "the sender \"me\"",
            ),
            (
                "url = 'ws://h/'\napi-key = 'k'\ndomain = 'a b'",
                "the domain \"a b\"",
            ),
            ("url = 'ws://h/'\napi-key-file = 'no/such'", "no/such"),
        ] {
            let failure = layer(text).check(Some(path)).unwrap_err();
            assert!(failure.to_string().contains(part), "{failure}");
            assert_eq!(failure.code(), std::process::ExitCode::from(78));
        }
    }

    #[test]
    fn a_key_does_not_show() {
        assert!(!format!("{:?}", layer("api-key = 'hunter2'")).contains("hunter2"));
    }
}
