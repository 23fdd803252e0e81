//! How a client of the program reaches its relay: the options, and the client they make.

use crate::{
    args::{api_key, is_shadowed},
    failure::Failure,
    keys::{self, Secret},
};
use clap::{ArgMatches, Args};
use relay_proto::{
    WebSocketUrl,
    mail::{client::ClientConfig, wire::ApiKey},
    proxy::Proxies,
};
use relay_transport::{
    Config, Headers, proxies_from_environment,
    tls::{ClientCertificate, certificates_from_pem},
};
use std::{
    fmt, fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

/// The slowest line a message of any size should get through, in bytes a second.
const SLOWEST_LINE: u64 = 32 * 1024;

/// The relay, and what it wants to see.
#[derive(Args, Debug)]
pub(crate) struct Uplink {
    /// The relay's address: ws://HOST:PORT/ or wss://HOST:PORT/
    #[arg(long, value_name = "URL", env = "RELAY_URL")]
    pub(crate) url: WebSocketUrl,
    /// The API key; better given in the environment or a file, where other users do not see it
    #[arg(long, value_name = "KEY", env = "RELAY_API_KEY", hide_env_values = true, value_parser = api_key)]
    pub(crate) api_key: Option<ApiKey>,
    /// A file whose first line that is neither empty nor a # comment is the API key
    #[arg(long, value_name = "FILE", env = "RELAY_API_KEY_FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file, besides those the system trusts
    #[arg(long, value_name = "FILE", env = "RELAY_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// Show the relay the certificate in this PEM file, own certificate first; needs --client-key
    #[arg(long, value_name = "FILE", env = "RELAY_CLIENT_CERTIFICATE")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// The private key of the client certificate (PEM, not encrypted)
    #[arg(long, value_name = "FILE", env = "RELAY_CLIENT_KEY")]
    pub(crate) client_key: Option<PathBuf>,
    /// Go through this HTTP proxy: http://HOST:PORT or https://, with USER:PASSWORD@ before the host where it wants
    /// to know who comes; none: through none [default: what https_proxy, http_proxy, all_proxy, no_proxy say]
    #[arg(long, value_name = "URL", env = "RELAY_PROXY", hide_env_values = true)]
    pub(crate) proxy: Option<Secret>,
    /// Add this to the WebSocket upgrade request, as in 'Name: value'; may be given several times
    #[arg(
        long,
        value_name = "HEADER",
        env = "RELAY_HEADER",
        hide_env_values = true,
        value_delimiter = '\n'
    )]
    pub(crate) header: Vec<Secret>,
    /// How often to try to connect before giving up
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) attempts: NonZeroU32,
}

/// Lets the command line win over the environment where `--api-key` and `--api-key-file` are one setting.
pub(crate) fn settle_key(
    matches: &ArgMatches,
    key: &mut Option<ApiKey>,
    file: &mut Option<PathBuf>,
) {
    if is_shadowed(matches, "api_key", "api_key_file") {
        *key = None;
    }
    if is_shadowed(matches, "api_key_file", "api_key") {
        *file = None;
    }
}

impl Uplink {
    /// Lets the command line win over the environment where two options are one setting.
    pub(crate) fn settle(&mut self, matches: &ArgMatches) {
        settle_key(matches, &mut self.api_key, &mut self.api_key_file);
    }

    /// What a client and its transport need, for messages of up to so many bytes.
    ///
    /// # Errors
    ///
    /// Where there is no key, or a file cannot be read.
    pub(crate) fn configure(&self, largest: u64) -> Result<(ClientConfig, Config), Failure> {
        let key = self.key()?;
        let transport = self.transport()?;
        let mut config = ClientConfig::new(self.url.clone(), key);
        config.agent = concat!("relay-cli/", env!("CARGO_PKG_VERSION")).to_owned();
        config.reconnect.attempts = Some(self.attempts.get() - 1);
        config.timeouts.message += Duration::from_secs(largest / SLOWEST_LINE);
        Ok((config, transport))
    }

    /// What any transport to this address needs.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read.
    pub(crate) fn transport(&self) -> Result<Config, Failure> {
        let mut transport = Config::default();
        if let Some(path) = &self.ca {
            let wrong = |error: &dyn fmt::Display| {
                let path = path.display();
                Failure::usage(format_args!("the certificates in {path}: {error}"))
            };
            let pem = fs::read(path).map_err(|error| wrong(&error))?;
            transport.extra_roots = certificates_from_pem(&pem).map_err(|error| wrong(&error))?;
        }
        transport.client_certificate = self.client_certificate()?;
        transport.proxies = self.proxies()?;
        transport.headers = self.headers()?;
        Ok(transport)
    }

    /// What to warn of, where key and mail would travel for all to read.
    pub(crate) fn warning(&self) -> Option<String> {
        let is_exposed = !self.url.is_tls() && !is_this_machine(self.url.host());
        is_exposed.then(|| {
            format!(
                "{} is not encrypted: key and mail can be read on the way; use wss://",
                self.url
            )
        })
    }

    fn client_certificate(&self) -> Result<Option<ClientCertificate>, Failure> {
        let (certificate, key) = match (&self.client_certificate, &self.client_key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                return Err(Failure::usage(
                    "--client-certificate without --client-key: give both or neither",
                ));
            }
            (None, Some(_)) => {
                return Err(Failure::usage(
                    "--client-key without --client-certificate: give both or neither",
                ));
            }
        };
        if !self.url.is_tls() {
            return Err(Failure::usage(format_args!(
                "--client-certificate: {} is not encrypted and takes none; use wss://",
                self.url
            )));
        }
        let read = |what: &str, path: &Path| {
            fs::read(path).map_err(|error| {
                let path = path.display();
                Failure::usage(format_args!("cannot read the {what} {path}: {error}"))
            })
        };
        let chain = read("client certificate", certificate)?;
        let secret = read("client key", key)?;
        let certificate = ClientCertificate::from_pem(&chain, &secret).map_err(|error| {
            let (certificate, key) = (certificate.display(), key.display());
            Failure::usage(format_args!(
                "--client-certificate {certificate}, --client-key {key}: {error}"
            ))
        })?;
        Ok(Some(certificate))
    }

    fn proxies(&self) -> Result<Proxies, Failure> {
        match &self.proxy {
            None => proxies_from_environment().map_err(Failure::usage),
            Some(Secret(text)) if text == "none" => Ok(Proxies::default()),
            Some(Secret(text)) => {
                let proxy = text.parse();
                let proxy =
                    proxy.map_err(|error| Failure::usage(format_args!("--proxy: {error}")))?;
                Ok(Proxies::all(proxy))
            }
        }
    }

    fn headers(&self) -> Result<Headers, Failure> {
        let mut headers = Headers::default();
        for Secret(line) in self.header.iter().filter(|line| !line.0.trim().is_empty()) {
            headers
                .add_line(line)
                .map_err(|error| Failure::usage(format_args!("--header: {error}")))?;
        }
        Ok(headers)
    }

    /// The API key.
    ///
    /// # Errors
    ///
    /// Where there is none, or the file it is in cannot be read.
    pub(crate) fn key(&self) -> Result<ApiKey, Failure> {
        match (&self.api_key, &self.api_key_file) {
            (Some(key), None) => {
                keys::check(key).map_err(Failure::usage)?;
                Ok(key.clone())
            }
            (None, Some(path)) => {
                let keys = keys::read(path).map_err(Failure::usage)?;
                Ok(keys.into_iter().next().expect("there is one at least"))
            }
            (Some(_), Some(_)) => Err(Failure::usage(
                "--api-key and --api-key-file exclude each other: give one of them",
            )),
            (None, None) => Err(Failure::usage(
                "no API key: give --api-key, --api-key-file or RELAY_API_KEY",
            )),
        }
    }
}

pub(crate) fn is_this_machine(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["relay.example", "192.0.2.1", "::", "localhost.example"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
