//! How a client of the program reaches its relay: the options, and the client they make.

use crate::{
    args::{api_key, is_shadowed},
    failure::Failure,
    keys,
};
use clap::{ArgMatches, Args};
use relay_proto::{
    WebSocketUrl,
    mail::{client::ClientConfig, wire::ApiKey},
};
use relay_tokio::{Config, certificates_from_pem};
use std::{fs, num::NonZeroU32, path::PathBuf, time::Duration};

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
    /// How often to try to connect before giving up
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) attempts: NonZeroU32,
}

impl Uplink {
    /// Lets the command line win over the environment where two options are one setting.
    pub(crate) fn settle(&mut self, matches: &ArgMatches) {
        if is_shadowed(matches, "api_key", "api_key_file") {
            self.api_key = None;
        }
        if is_shadowed(matches, "api_key_file", "api_key") {
            self.api_key_file = None;
        }
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
            let wrong = |error: &dyn std::fmt::Display| {
                let path = path.display();
                Failure::usage(format_args!("the certificates in {path}: {error}"))
            };
            let pem = fs::read(path).map_err(|error| wrong(&error))?;
            transport.extra_roots = certificates_from_pem(&pem).map_err(|error| wrong(&error))?;
        }
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
