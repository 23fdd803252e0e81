//! The handle to a running mail relay.

use super::Events;
use crate::{
    Config, Driver, Listening, TlsAcceptor, news::News, seed, spawn_storing, spawn_with,
    workers::Workers,
};
use relay_proto::{
    Application, LinkId, Stopped, Time,
    mail::{
        relay::{self as machine, Event, Policy, Presented, RelayConfig},
        wire::Denied,
    },
    storage::{RestoreError, Storage},
};
use std::{io, net::TcpListener, sync::Arc, time::Duration};

/// When a client may come back whose key could not be looked up for want of threads.
const WHEN_OVERLOADED: Duration = Duration::from_secs(10);

/// Knows which keys are good, and what their holders may send.
///
/// Implemented for closures over [`Presented`] that answer at once.
pub trait KeyDirectory: Send + Sync + 'static {
    /// Decides on a key. It may take its time, up to the relay's authentication timeout; meanwhile up to fifteen
    /// others are looked up at once.
    ///
    /// # Errors
    ///
    /// What the client is told that is not let in.
    fn look_up(&self, presented: Presented) -> Result<Policy, Denied>;
}

impl<F> KeyDirectory for F
where
    F: Fn(Presented) -> Result<Policy, Denied> + Send + Sync + 'static,
{
    fn look_up(&self, presented: Presented) -> Result<Policy, Denied> {
        self(presented)
    }
}

/// A running mail relay. Cheap to clone; all clones are the same relay.
///
/// It runs until it is told to end, also when every handle is gone.
///
/// ```no_run
/// use relay_proto::{StreamAddress, mail::{relay::{Policy, RelayConfig}, wire::{ApiKey, Denied}}};
/// use relay_blocking::{Config, mail::{Presented, Relay}};
/// use std::net::TcpListener;
///
/// # fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let upstream = StreamAddress::new("mx.example.net", 25, false);
/// let good = ApiKey::new("the key");
/// let keys = move |presented: Presented| {
///     if presented.key == good {
///         Ok(Policy::default())
///     } else {
///         Err(Denied::for_good("unknown key"))
///     }
/// };
/// let relay = Relay::start(RelayConfig::new(upstream, "relay.example".parse()?), keys, Config::default());
/// relay.listen(TcpListener::bind("0.0.0.0:8025")?, None)?;
/// relay.finished();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Relay {
    driver: Driver<machine::Relay, Desk>,
}

impl Relay {
    /// Starts a relay on a thread of its own. It takes clients once it [listens](Self::listen).
    ///
    /// # Panics
    ///
    /// Where the system has no thread or no file descriptors left, like [`std::thread::spawn`].
    pub fn start(config: RelayConfig, keys: impl KeyDirectory, transport: Config) -> Self {
        let machine = machine::Relay::new(config, seed());
        let driver = spawn_with(machine, transport, |driver| Desk::new(driver, keys));
        Self { driver }
    }

    /// Starts a relay on a thread of its own that
    /// keeps its ledger in `storage`, and answers for what an earlier one has forwarded.
    ///
    /// What became of a message is there before its client is told, so that after a crash of the process nothing is sent twice and
    /// what nobody knows is said to be in doubt.
    ///
    /// # Errors
    ///
    /// Where the storage cannot be read, or is not a ledger's. Nothing in it was changed then.
    ///
    /// # Panics
    ///
    /// Where the system has no thread or no file descriptors left, like [`std::thread::spawn`].
    pub fn start_with_ledger(
        config: RelayConfig,
        keys: impl KeyDirectory,
        transport: Config,
        mut storage: impl Storage,
    ) -> Result<Self, RestoreError> {
        let records = storage.load()?;
        let machine = machine::Relay::restore(config, seed(), Time::ZERO, records)?;
        let driver = spawn_storing(machine, storage, transport, |driver| {
            Desk::new(driver, keys)
        });
        Ok(Self { driver })
    }

    /// Takes clients from this listener, with TLS where `tls` is given, until the relay ends or the handle is aborted.
    ///
    /// # Errors
    ///
    /// Where the relay has ended, or the system cannot watch the listener.
    pub fn listen(&self, listener: TcpListener, tls: Option<TlsAcceptor>) -> io::Result<Listening> {
        self.driver.listen_websocket(listener, tls)
    }

    /// The relay's events from now on; they end with the relay. A reader that falls more than 1,024
    /// events behind gets [`Missed`](super::Missed) with their number in their place.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the relay has ended.
    pub fn events(&self) -> Result<Events<Event>, Stopped> {
        self.driver.call(|_, desk, _| desk.news.subscribe())
    }

    /// Takes nobody new, lets open channels finish for up to `patience`, and ends.
    pub fn drain(&self, patience: Duration) {
        let draining = self
            .driver
            .call(move |relay, _, now| relay.drain(now, now.after(patience)));
        // A relay that has ended needs no draining.
        let _ = draining;
        self.finished();
    }

    /// Ends at once.
    pub fn stop(&self) {
        let _ = self.driver.call(|relay, _, now| relay.stop(now));
        self.finished();
    }

    /// Waits until the relay has ended.
    pub fn finished(&self) {
        self.driver.finished();
    }
}

/// Stands behind the machine: has keys decided and passes events on.
struct Desk {
    decide: Box<dyn Fn(LinkId, Presented) -> io::Result<()> + Send>,
    news: News<Event>,
}

impl Desk {
    fn new(driver: &Driver<machine::Relay, Self>, keys: impl KeyDirectory) -> Self {
        let (driver, keys, workers) = (driver.clone(), Arc::new(keys), Workers::default());
        let decide = move |link, presented| {
            let (driver, keys) = (driver.clone(), Arc::clone(&keys));
            workers.run(move || {
                let verdict = keys.look_up(presented);
                // A relay that has ended meanwhile needs no verdict.
                let _ = driver.call(move |relay, _, now| match verdict {
                    Ok(policy) => relay.grant(now, link, policy),
                    Err(denied) => relay.deny(now, link, denied),
                });
            })
        };
        Self {
            decide: Box::new(decide),
            news: News::new(),
        }
    }
}

impl Application<machine::Relay> for Desk {
    fn handle_event(&mut self, relay: &mut machine::Relay, now: Time, event: Event) {
        match Presented::from_event(event) {
            Ok((link, presented)) => {
                if let Err(error) = (self.decide)(link, presented) {
                    tracing::warn!(%error, "cannot look up a key");
                    let denied = Denied {
                        error: "the relay is overloaded".to_owned(),
                        retry_after: Some(WHEN_OVERLOADED),
                        permanent: Some(false),
                    };
                    relay.deny(now, link, denied);
                }
            }
            Err(event) => self.news.send(&event),
        }
    }
}
