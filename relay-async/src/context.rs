//! What all tasks of one hub share.

use relay_proto::LinkId;
use relay_transport::{
    Config,
    tls::{TlsClients, server_name},
    websocket,
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tokio::sync::{OnceCell, oneshot};
use tungstenite::protocol::WebSocketConfig;

/// What every WebSocket holds for as long as it lives, to take frames apart in.
const READ_BUFFER: usize = 1024;

/// What all tasks of one hub share.
pub(crate) struct Context {
    pub(crate) config: Arc<Config>,
    accepted: AtomicU64,
    tls: OnceCell<TlsClients>,
}

impl Context {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            accepted: AtomicU64::new(0),
            tls: OnceCell::new(),
        }
    }

    /// The id of the next accepted link.
    pub(crate) fn next_accepted(&self) -> LinkId {
        LinkId::accepted(self.accepted.fetch_add(1, Ordering::Relaxed))
    }

    /// How WebSockets are set up. [`Buffered`](crate::Buffered) reads far more at once, and keeps what is written for the flush.
    pub(crate) fn websocket_config(&self) -> WebSocketConfig {
        websocket::config(self.config.max_frame_bytes)
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
    }

    /// How to be a TLS client of `host`.
    pub(crate) async fn tls_with(
        &self,
        host: &str,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
        let clients = self.tls_clients().await?;
        Ok((Arc::clone(&clients.server), server_name(host)?))
    }

    /// How to be a TLS client, made when it is first needed.
    pub(crate) async fn tls_clients(&self) -> Result<&TlsClients, String> {
        let make = || async {
            let config = Arc::clone(&self.config);
            let (made, clients) = oneshot::channel();
            // It reads the platform's certificates, and nothing may wait for a disk on a task.
            thread::Builder::new()
                .name("relay-tls-roots".to_owned())
                .spawn(move || made.send(TlsClients::new(&config)))
                .map_err(|error| error.to_string())?;
            clients
                .await
                .map_err(|_| "the platform's certificates cannot be read".to_owned())?
                .map_err(|error| error.to_string())
        };
        self.tls.get_or_try_init(make).await
    }
}
