//! A running bridge: an SMTP server, a client of the relay, and the desk between them.

use super::{
    desk::{Desk, Welcome},
    log,
    settings::Settings,
};
use crate::{
    failure::Failure,
    submit::{Budget, Forwarder, MAX_SENDING},
};
use futures_util::StreamExt;
use relay_proto::{
    OutboxLimits,
    smtp::{Server, ServerConfig, SessionConfig},
};
use relay_tokio::{Config, Driver, StreamTls, mail::Client, spawn_with};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::timeout};

/// Mail programs at a time.
const MAX_LINKS: usize = 100;

/// Messages that wait for the relay at a time: one a link, and a report for each. Their bytes are counted elsewhere.
const MAX_WAITING: usize = 2 * MAX_LINKS;

/// A running bridge.
#[derive(Debug)]
pub(super) struct BridgeServer {
    url: String,
    driver: Driver<Server, Desk>,
    client: Client,
}

impl BridgeServer {
    /// Starts it, and logs what happens in it.
    ///
    /// # Errors
    ///
    /// Where the address is taken, or there is no key.
    pub(super) async fn start(settings: Settings) -> Result<Self, Failure> {
        let session = SessionConfig {
            max_message_bytes: Some(settings.max_message_bytes),
            authentication: settings.authentication(),
            security: settings.security(),
            ..SessionConfig::new(settings.host_name.clone()).with_chunking()
        };
        let Settings {
            listen,
            uplink,
            users,
            tls,
            allow_net,
            max_message_bytes,
            max_held_bytes,
            host_name,
            ..
        } = settings;
        let (mut config, transport) = uplink.configure(max_message_bytes)?;
        config.queue = OutboxLimits::new(MAX_WAITING, usize::MAX);
        config.timeouts.message = config.timeouts.message.min(MAX_SENDING);
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| Failure::usage(format_args!("cannot listen on {listen}: {error}")))?;
        let address = listener.local_addr().map_err(Failure::running)?;

        let client = Client::start(config, transport);
        let mut events = client.events().await.map_err(Failure::running)?;
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                log::event(&event);
            }
        });
        let server = Server::new(ServerConfig {
            max_links: MAX_LINKS,
            ..ServerConfig::new(session)
        });
        let forwarder = Forwarder {
            client: client.clone(),
            host_name,
        };
        let welcome = Welcome {
            users: users.map(Arc::new),
            networks: allow_net,
        };
        let budget = Budget::new(max_held_bytes);
        let driver = spawn_with(server, Config::default(), |driver| {
            Desk::new(driver.clone(), forwarder, welcome, budget)
        });
        let scheme = match tls {
            StreamTls::Implicit(_) => "smtps",
            StreamTls::None | StreamTls::OnRequest(_) => "smtp",
        };
        driver.listen_stream(listener, tls);
        Ok(Self {
            url: format!("{scheme}://{address}"),
            driver,
            client,
        })
    }

    /// Where it listens.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Takes nobody new, lets messages finish that have been begun for up to `patience`, and ends.
    pub(super) async fn drain(&self, patience: Duration) {
        let drained = async {
            self.shut_server_down().await;
            self.driver.finished().await;
            // What is left are reports to senders.
            self.client.shutdown(patience).await;
        };
        if timeout(patience, drained).await.is_err() {
            tracing::warn!("messages are not finished: their senders are told so");
            self.stop().await;
        }
    }

    /// Ends at once: who waits for an answer gets one.
    pub(super) async fn stop(&self) {
        self.client.stop().await;
        // The first shutdown lets those finish who have begun, the second does not.
        self.shut_server_down().await;
        self.shut_server_down().await;
        self.driver.finished().await;
    }

    /// Waits until it has ended.
    pub(super) async fn finished(&self) {
        self.driver.finished().await;
    }

    async fn shut_server_down(&self) {
        // A server that has ended needs no shutdown.
        let _ = self
            .driver
            .call(|server, _, now| server.shutdown(now))
            .await;
    }
}
