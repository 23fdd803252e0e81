//! How a client of the program reaches its relay: the options, and the client they make.

use crate::{
    failure::Failure,
    key_choice::KeyChoice,
    way::{Way, is_exposed},
};
use clap::{ArgMatches, Args};
use relay_proto::{
    WebSocketUrl,
    mail::{client::ClientConfig, wire::ApiKey},
};
use relay_transport::Config;
use std::{num::NonZeroU32, time::Duration};

/// The slowest line a message of any size should get through, in bytes a second.
const SLOWEST_LINE: u64 = 32 * 1024;

/// The relay, and what it wants to see.
#[derive(Args, Debug)]
pub(crate) struct Uplink {
    /// The relay's address: ws://HOST:PORT/ or wss://HOST:PORT/
    #[arg(long, value_name = "URL", env = "RELAY_URL")]
    pub(crate) url: WebSocketUrl,
    #[command(flatten)]
    pub(crate) key: KeyChoice,
    #[command(flatten)]
    pub(crate) way: Way,
    /// How often to try to connect before giving up
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) attempts: NonZeroU32,
}

impl Uplink {
    /// Lets the command line win over the environment where two options are one setting.
    pub(crate) fn settle(&mut self, matches: &ArgMatches) {
        self.key.settle(matches);
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
        self.way.transport(&self.url)
    }

    /// The API key.
    ///
    /// # Errors
    ///
    /// Where there is none, or the file it is in cannot be read.
    pub(crate) fn key(&self) -> Result<ApiKey, Failure> {
        self.key.key()
    }

    /// What to warn of, where key and mail would travel for all to read.
    pub(crate) fn warning(&self) -> Option<String> {
        is_exposed(&self.url).then(|| {
            format!(
                "{} is not encrypted: key and mail can be read on the way; use wss://",
                self.url
            )
        })
    }
}
