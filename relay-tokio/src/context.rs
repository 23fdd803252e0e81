//! What all tasks of one hub share.

use relay_proto::LinkId;
use relay_transport::{Config, tls};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::{sync::OnceCell, task::spawn_blocking};
use tokio_rustls::TlsConnector;

/// What all tasks of one hub share.
pub(crate) struct Context {
    pub(crate) config: Config,
    accepted: AtomicU64,
    tls: OnceCell<TlsConnector>,
}

impl Context {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            accepted: AtomicU64::new(0),
            tls: OnceCell::new(),
        }
    }

    /// The id of the next accepted link.
    pub(crate) fn next_accepted(&self) -> LinkId {
        LinkId::accepted(self.accepted.fetch_add(1, Ordering::Relaxed))
    }

    /// The TLS client, made when it is first needed.
    pub(crate) async fn tls_connector(&self) -> Result<&TlsConnector, String> {
        let make = || async {
            let extra_roots = self.config.extra_roots.clone();
            spawn_blocking(move || tls::client_config(extra_roots))
                .await
                .map_err(|error| error.to_string())?
                .map(TlsConnector::from)
                .map_err(|error| error.to_string())
        };
        self.tls.get_or_try_init(make).await
    }
}
