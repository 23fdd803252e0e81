//! Where a key-value service is, and what it wants to see.

use crate::{
    args::is_shadowed,
    failure::Failure,
    key_choice::KeyChoice,
    keys::Secret,
    way::{Way, is_exposed},
};
use clap::{ArgMatches, Args};
use relay_proto::{
    WebSocketUrl,
    kv::client::{ClientConfig, Credential, ServiceUrl},
};
use relay_tokio::Config;
use std::{num::NonZeroU32, time::Duration};

/// A service, and how to get there.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The service's address: ws://HOST:PORT or wss://HOST:PORT; http and https mean the same
    #[arg(long, value_name = "URL", env = "RELAY_KV_URL")]
    pub(super) url: ServiceUrl,
    #[command(flatten)]
    pub(super) key: KeyChoice,
    /// A token, where there is no API key
    #[arg(
        long,
        value_name = "TOKEN",
        env = "RELAY_KV_TOKEN",
        hide_env_values = true
    )]
    pub(super) token: Option<Secret>,
    #[command(flatten)]
    pub(super) way: Way,
    /// How many seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    pub(super) timeout: NonZeroU32,
    /// How often to try to connect before giving up
    #[arg(long, value_name = "N", default_value = "3")]
    pub(super) attempts: NonZeroU32,
    /// Speak the plain dialect, as any HPKV service does, without asking for more
    #[arg(long)]
    pub(super) plain: bool,
}

impl Place {
    /// Lets the command line win over the environment where several options are one setting.
    pub(super) fn settle(&mut self, matches: &ArgMatches) {
        self.key.settle(matches);
        for key in ["api_key", "api_key_file"] {
            if is_shadowed(matches, "token", key) {
                self.token = None;
            }
            if is_shadowed(matches, key, "token") {
                self.key = KeyChoice::default();
            }
        }
    }

    /// What the service knows this program by.
    ///
    /// # Errors
    ///
    /// Where there is nothing, or a file cannot be read.
    pub(super) fn credential(&self) -> Result<Credential, Failure> {
        let has_key = self.key.api_key.is_some() || self.key.api_key_file.is_some();
        match &self.token {
            Some(_) if has_key => Err(Failure::usage(
                "--token excludes --api-key and --api-key-file: give one of them",
            )),
            Some(Secret(token)) if token.is_empty() => Err(Failure::usage("--token: it is empty")),
            Some(Secret(token)) => Ok(Credential::Token(token.clone())),
            None => Ok(Credential::ApiKey(self.key.key()?.expose().to_owned())),
        }
    }

    /// What a client with this credential, and its transport, need.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read.
    pub(super) fn configure(
        &self,
        credential: Credential,
    ) -> Result<(ClientConfig, Config), Failure> {
        let transport = self.transport(&credential)?;
        let mut config = ClientConfig::new(self.url.clone(), credential);
        config.durable = !self.plain;
        config.timeouts.call = self.patience();
        config.reconnect.attempts = Some(self.attempts.get() - 1);
        Ok((config, transport))
    }

    /// What any transport to the service needs.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read.
    pub(super) fn transport(&self, credential: &Credential) -> Result<Config, Failure> {
        self.way.transport(&self.websocket(credential))
    }

    /// How long an answer is waited for.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout.get().into())
    }

    /// What to warn of, where key and values would travel for all to read.
    pub(super) fn warning(&self) -> Option<String> {
        let nobody = Credential::Token(String::new());
        is_exposed(&self.websocket(&nobody)).then(|| {
            format!(
                "{} is not encrypted: key and values can be read on the way; use wss://",
                self.url
            )
        })
    }

    fn websocket(&self, credential: &Credential) -> WebSocketUrl {
        self.url.websocket(credential)
    }
}
