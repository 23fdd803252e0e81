//! A key-value service on a binding.

use crate::{Binding, Running, peer};
use relay_http::Front;
use relay_proto::{
    Time,
    kv::service::{self, KeyDigest, Policy, Service, ServiceConfig},
};
use relay_transport::{Config, seed, tls::StreamTls};
use std::{fmt, net::SocketAddr, time::Duration};

/// The one key a [`KeyValueServer`] accepts.
pub const KEY: &str = "good key";

type Quiet = fn(&mut Front<Service>, Time, service::Event);

/// A key-value service on the binding, whose store ends with it. It accepts [`KEY`] alone.
pub struct KeyValueServer<B: Binding> {
    address: SocketAddr,
    running: B::Running<Front<Service>, Quiet>,
}

impl<B: Binding> KeyValueServer<B> {
    /// Starts one that speaks the durable dialect.
    ///
    /// # Panics
    ///
    /// Where it cannot listen.
    pub fn start() -> Self {
        Self::speaking(true)
    }

    /// Starts one that is plain, or speaks the durable dialect as well.
    pub(crate) fn speaking(durable: bool) -> Self {
        let mut config = ServiceConfig::new(Duration::ZERO);
        config.durable = durable;
        let mut service = Service::in_memory(config, seed(), Time::ZERO);
        service.set_accounts(Time::ZERO, vec![(KeyDigest::of(KEY), Policy::default())]);
        let quiet: Quiet = |_, _, _| {};
        let front = Front::new(service, Config::default());
        let running = B::spawn(front, quiet, Config::default());
        let (listener, address) = peer::listener();
        // It listens until it ends.
        drop(running.listen_stream(listener, StreamTls::None));
        Self { address, running }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    ///
    /// # Panics
    ///
    /// Where it has ended before.
    pub fn stop(&self) {
        let stop = |front: &mut Front<Service>, _: &mut Quiet, now| {
            front.command(now, Service::stop);
        };
        self.running.call(stop).unwrap();
        self.running.finished();
    }
}

impl<B: Binding> fmt::Debug for KeyValueServer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValueServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
