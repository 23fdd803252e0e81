//! The handle to a running mail relay.

use crate::{
    Config, Driver, Listening, Runtime, TlsAcceptor, news, runtime::timeout, seed, spawn_storing,
    spawn_with, storage::elsewhere,
};
use futures_util::Stream;
use relay_proto::{
    Application, LinkId, Missed, Stopped, Time,
    mail::{
        relay::{self as machine, Event, Policy, Presented, RelayConfig},
        wire::Denied,
    },
    storage::{RestoreError, Storage, StorageError},
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::broadcast;

/// Knows which keys are good, and what their holders may send.
///
/// Implemented for closures over [`Presented`] that answer at once.
pub trait KeyDirectory: Send + Sync + 'static {
    /// Decides on a key. It may take its time; meanwhile only this client waits. After the relay's authentication
    /// timeout, when the client is gone, the future is dropped.
    fn look_up(&self, presented: Presented) -> impl Future<Output = Result<Policy, Denied>> + Send;
}

impl<F> KeyDirectory for F
where
    F: Fn(Presented) -> Result<Policy, Denied> + Send + Sync + 'static,
{
    async fn look_up(&self, presented: Presented) -> Result<Policy, Denied> {
        self(presented)
    }
}

/// A running mail relay. Cheap to clone; all clones are the same relay.
///
/// It runs until it is told to end, also when every handle is gone.
///
/// ```no_run
/// use relay_proto::{StreamAddress, mail::{relay::{Policy, RelayConfig}, wire::{ApiKey, Denied}}};
/// use relay_async::{Config, Runtime, mail::{Presented, Relay}};
///
/// # async fn serve<R: Runtime>(listener: R::Listener) -> Result<(), Box<dyn std::error::Error>> {
/// let upstream = StreamAddress::new("mx.example.net", 25, false);
/// let good = ApiKey::new("the key");
/// let keys = move |presented: Presented| {
///     if presented.key == good {
///         Ok(Policy::default())
///     } else {
///         Err(Denied::for_good("unknown key"))
///     }
/// };
/// let config = RelayConfig::new(upstream, "relay.example".parse()?);
/// let relay = Relay::<R>::start(config, keys, Config::default());
/// relay.listen(listener, None);
/// relay.finished().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Relay<R> {
    driver: Driver<R, machine::Relay, Desk>,
}

impl<R: Runtime> Relay<R> {
    /// Starts a relay on the current runtime. It takes clients once it [listens](Self::listen).
    pub fn start(config: RelayConfig, keys: impl KeyDirectory, transport: Config) -> Self {
        let patience = config.authentication_timeout;
        let machine = machine::Relay::new(config, seed());
        let driver = spawn_with(machine, transport, |driver| {
            Desk::new(driver, keys, patience)
        });
        Self { driver }
    }

    /// Starts a relay on the current runtime that
    /// keeps its ledger in `storage`, and answers for what an earlier one has forwarded.
    ///
    /// What became of a message is there before its client is told, so that after a crash of the process nothing is sent twice and
    /// what nobody knows is said to be in doubt.
    ///
    /// # Errors
    ///
    /// Where the storage cannot be read, or is not a ledger's. Nothing in it was changed then.
    pub async fn start_with_ledger<S: Storage>(
        config: RelayConfig,
        keys: impl KeyDirectory,
        transport: Config,
        mut storage: S,
    ) -> Result<Self, RestoreError> {
        let loaded = elsewhere(move || storage.load().map(|records| (storage, records))).await;
        let (storage, records) = loaded.map_err(|error| StorageError::Failed {
            detail: error.to_string(),
        })??;
        let patience = config.authentication_timeout;
        let machine = machine::Relay::restore(config, seed(), Time::ZERO, records)?;
        let driver = spawn_storing(machine, storage, transport, |driver| {
            Desk::new(driver, keys, patience)
        });
        Ok(Self { driver })
    }

    /// Takes clients from this listener, with TLS where `tls` is given, until the relay ends or the handle is aborted.
    pub fn listen(&self, listener: R::Listener, tls: Option<TlsAcceptor>) -> Listening {
        self.driver.listen_websocket(listener, tls)
    }

    /// The relay's events from now on. The stream ends with the relay. A reader that falls more than 1,024
    /// events behind gets [`Missed`] with their number in their place.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the relay has ended.
    pub async fn events(
        &self,
    ) -> Result<impl Stream<Item = Result<Event, Missed>> + Send + Unpin + use<R>, Stopped> {
        let subscribed = self.driver.call(|_, desk, _| desk.news.subscribe()).await?;
        Ok(news::stream(subscribed))
    }

    /// Takes nobody new, lets open channels finish for up to `patience`, and ends. Dropping the future changes
    /// nothing about that.
    pub async fn drain(&self, patience: Duration) {
        let draining = self
            .driver
            .call(move |relay, _, now| relay.drain(now, now.after(patience)));
        // A relay that has ended needs no draining.
        let _ = draining.await;
        self.finished().await;
    }

    /// Ends at once.
    pub async fn stop(&self) {
        let _ = self.driver.call(|relay, _, now| relay.stop(now)).await;
        self.finished().await;
    }

    /// Waits until the relay has ended.
    pub async fn finished(&self) {
        self.driver.finished().await;
    }
}

/// Stands behind the machine: has keys decided and passes events on.
struct Desk {
    decide: Box<dyn Fn(LinkId, Presented) + Send>,
    news: broadcast::Sender<Event>,
}

impl Desk {
    fn new<R: Runtime>(
        driver: &Driver<R, machine::Relay, Self>,
        keys: impl KeyDirectory,
        patience: Duration,
    ) -> Self {
        let (driver, keys) = (driver.clone(), Arc::new(keys));
        let decide = move |link, presented| {
            let (driver, keys) = (driver.clone(), Arc::clone(&keys));
            R::spawn(async move {
                // Else a directory that hangs would collect a task from every client that comes and goes.
                let asking = timeout::<R, _>(patience, keys.look_up(presented));
                let Some(verdict) = asking.await else {
                    return;
                };
                // A relay that has ended meanwhile needs no verdict.
                let _ = driver
                    .call(move |relay, _, now| match verdict {
                        Ok(policy) => relay.grant(now, link, policy),
                        Err(denied) => relay.deny(now, link, denied),
                    })
                    .await;
            });
        };
        Self {
            decide: Box::new(decide),
            news: news::sender(),
        }
    }
}

impl Application<machine::Relay> for Desk {
    fn handle_event(&mut self, _relay: &mut machine::Relay, _now: Time, event: Event) {
        match Presented::from_event(event) {
            Ok((link, presented)) => (self.decide)(link, presented),
            // Without a listener there is nobody to tell.
            Err(event) => drop(self.news.send(event)),
        }
    }
}
