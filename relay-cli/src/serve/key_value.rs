//! A key-value service with its store on disk.

use crate::{config::KeyValueSettings, failure::Failure, known_keys::KnownKeys};
use relay_http::Front;
use relay_proto::{
    Time,
    kv::service::{Event, Policy, Service, ServiceConfig},
    storage::Storage,
};
use relay_storage::StorageFile;
use relay_tokio::{Config, Driver, StreamTls, seed, spawn_storing};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{net::TcpListener, task};

/// The file below the directory that is named.
const FILE: &str = "key-value.redb";

type Machine = Front<Service>;

/// A running key-value service.
#[derive(Clone, Debug)]
pub(crate) struct KeyValue {
    driver: Driver<Machine, fn(&mut Machine, Time, Event)>,
    keys: Arc<KnownKeys>,
    policy: Policy,
    address: SocketAddr,
    is_tls: bool,
}

impl KeyValue {
    /// Starts it, and logs what happens in it.
    ///
    /// # Errors
    ///
    /// Where the address is taken, or the store is of no use.
    pub(crate) async fn start(settings: KeyValueSettings) -> Result<Self, Failure> {
        let KeyValueSettings {
            listen,
            api_keys: keys,
            directory,
            tls,
            origins,
            rate,
        } = settings;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| Failure::usage(format_args!("cannot listen on {listen}: {error}")))?;
        let address = listener.local_addr().map_err(Failure::running)?;

        let opening = task::spawn_blocking(move || open(&directory));
        let (storage, records) = opening.await.map_err(Failure::running)??;
        let config = ServiceConfig::new(unix_time());
        let service = Service::restore(config, seed(), Time::ZERO, records)
            .map_err(|error| Failure::usage(format_args!("the store is of no use: {error}")))?;
        let mut policy = Policy::default();
        policy.rate = rate;

        let mut transport = Config::default();
        transport.origins = origins;
        let front = Front::new(service, transport.clone());
        let driver = spawn_storing(front, storage, transport, |_| log as fn(&mut _, _, _));
        let is_tls = tls.is_some();
        let service = Self {
            driver,
            keys,
            policy,
            address,
            is_tls,
        };
        service.take_keys().await;
        let tls = tls.map_or(StreamTls::None, StreamTls::Implicit);
        service.driver.listen_stream(listener, tls);
        Ok(service)
    }

    /// Where clients reach it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        format!("{scheme}://{}", self.address)
    }

    /// Whether clients connect with TLS.
    pub(crate) const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Where clients connect to.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets in who has one of the keys known now, and nobody else.
    pub(crate) async fn take_keys(&self) {
        let digests = self.keys.digests().into_iter();
        let accounts = digests
            .map(|digest| (digest, self.policy.clone()))
            .collect();
        let set = self.driver.call(|front, _, now| {
            front.command(now, |service, now| service.set_accounts(now, accounts));
        });
        // It has ended: there is nobody to keep out.
        let _ = set.await;
    }

    /// Takes nobody new, answers what was asked for up to `patience`, and ends.
    pub(crate) async fn drain(&self, patience: Duration) {
        let drain = self.driver.call(move |front, _, now| {
            front.command(now, |service, now| service.drain(now, now.after(patience)));
        });
        let _ = drain.await;
        self.finished().await;
    }

    /// Ends at once.
    pub(crate) async fn stop(&self) {
        let stop = self
            .driver
            .call(|front, _, now| front.command(now, Service::stop));
        let _ = stop.await;
        self.finished().await;
    }

    /// Waits until it has ended.
    pub(crate) async fn finished(&self) {
        self.driver.finished().await;
    }
}

/// What the timestamps of changes begin with.
#[expect(
    clippy::disallowed_methods,
    reason = "people read the timestamps; nothing else depends on them"
)]
fn unix_time() -> Duration {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.unwrap_or(Duration::ZERO)
}

fn open(directory: &Path) -> Result<(StorageFile, Vec<relay_proto::storage::Record>), Failure> {
    let wrong = |error: &dyn std::error::Error| {
        let directory = directory.display();
        Failure::usage(format_args!(
            "cannot keep keys and values in {directory}: {error}"
        ))
    };
    fs::create_dir_all(directory).map_err(|error| wrong(&error))?;
    let mut storage = StorageFile::open(directory.join(FILE)).map_err(|error| wrong(&error))?;
    let records = storage.load().map_err(|error| wrong(&error))?;
    Ok((storage, records))
}

fn log(_front: &mut Machine, _now: Time, event: Event) {
    match event {
        Event::Connected {
            link,
            peer,
            name,
            with_token,
        } => {
            tracing::info!(%link, ?peer, %name, with_token, "key-value client connected");
        }
        Event::Refused { peer, why } => tracing::warn!(?peer, why, "key-value client refused"),
        Event::TokenMade { peer, .. } => tracing::info!(?peer, "token made"),
        Event::Violation { link, code, reason } => {
            tracing::warn!(%link, ?code, reason, "key-value client broke the protocol");
        }
        Event::Missed { link } => tracing::warn!(%link, "key-value client missed changes"),
        Event::Disconnected { link, why } => {
            tracing::info!(%link, why, "key-value client disconnected");
        }
        Event::StorageFailed { error } => {
            tracing::error!(%error, "keys and values cannot be stored; nothing is changed until it works again");
        }
        Event::StorageRecovered => tracing::info!("keys and values are stored again"),
        event => tracing::debug!(?event),
    }
}
