//! Key-value calls for tests: a service, one that does what a scenario says, and what to say about events.

mod describe;
mod server;
mod service_peer;

pub use server::{KEY, KeyValueServer};

pub(crate) use {
    describe::client_event,
    service_peer::{DurablePeer, ServicePeer},
};

use relay_proto::{
    BackoffPolicy,
    kv::client::{ClientConfig, Credential},
};
use std::{net::SocketAddr, time::Duration};

/// A client of the service there that tries again soon, ten times, and is patient otherwise.
///
/// # Panics
///
/// Never: the address of a socket is one of a service.
pub fn client_config(service: SocketAddr, credential: Credential) -> ClientConfig {
    let url = format!("http://{service}/");
    let mut config = ClientConfig::new(url.parse().unwrap(), credential);
    let soon = Duration::from_millis(20);
    config.reconnect = BackoffPolicy::new(soon, soon, Some(10));
    // Where a scenario waits for it to be over, it says so.
    let patience = Duration::from_secs(60);
    config.timeouts.introduction = patience;
    config.timeouts.call = patience;
    config
}
