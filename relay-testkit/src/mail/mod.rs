//! Mail for tests: a server, keys, messages, and what to say about events.

mod describe;
mod relay_peer;
mod server;
mod upstream_peer;

pub use server::MailServer;

pub(crate) use {
    describe::{client_event, relay_event, server_event},
    relay_peer::RelayPeer,
    server::{answering, machine as server},
    upstream_peer::UpstreamPeer,
};

use relay_proto::{
    BackoffPolicy, StreamAddress,
    mail::{
        client::{ClientConfig, Submission},
        relay::{Policy, Presented, RelayConfig},
        wire::{ApiKey, Denied},
    },
    smtp::{Address, Envelope},
    storage::Record,
};
use std::{net::SocketAddr, time::Duration};

/// The one key that is accepted.
pub const KEY: &str = "good";

/// Decides about a key: [`KEY`] is good, every other is not.
///
/// # Errors
///
/// For every other key, for good.
pub fn decide(presented: &Presented) -> Result<Policy, Denied> {
    match presented.key == ApiKey::new(KEY) {
        true => Ok(Policy::default()),
        false => Err(Denied::for_good("unknown key")),
    }
}

/// A client of the relay at `url` that tries again soon, three times.
///
/// # Panics
///
/// Where `url` is none.
pub fn client_config(url: &str) -> ClientConfig {
    let mut config = ClientConfig::new(url.parse().unwrap(), ApiKey::new(KEY));
    let soon = Duration::from_millis(20);
    config.agent = "testkit".to_owned();
    config.reconnect = BackoffPolicy::new(soon, soon, Some(3));
    config.retry = BackoffPolicy::new(soon, soon, Some(3));
    config
}

/// The same in the base dialect, whose frames come one for one: how often a session acknowledges depends on the time things take.
pub(crate) fn base_client_config(url: &str) -> ClientConfig {
    let mut config = client_config(url);
    config.durable = false;
    config
}

/// The submissions among the records of an outbox: all but what the relay has granted last.
pub fn submissions(mut records: Vec<Record>) -> Vec<Record> {
    records.retain(|record| record.table != "outbox-relay");
    records
}

/// A relay in front of this mail server, with a connection of its own for every channel.
///
/// # Panics
///
/// Never: its name is one.
pub fn relay_config(upstream: SocketAddr) -> RelayConfig {
    let upstream = StreamAddress::new(upstream.ip().to_string(), upstream.port(), false);
    let mut config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
    config.pool.max_idle = 0;
    config
}

/// A message from Alice with this text.
///
/// # Panics
///
/// Where a recipient is no address.
pub fn message(to: &[&str], text: &str) -> Submission {
    raw(to, format!("Subject: x\r\n\r\n{text}\r\n").into())
}

/// A message from Alice with exactly this content.
pub(crate) fn raw(to: &[&str], content: Vec<u8>) -> Submission {
    let address = |text: &str| text.parse::<Address>().unwrap();
    let to: Vec<_> = to.iter().map(|to| address(to)).collect();
    let envelope = Envelope::new(address("alice@example.org"), to).unwrap();
    Submission::message(envelope, content.into())
}
