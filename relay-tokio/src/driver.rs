//! The handle applications hold.

use crate::{
    accept::{self, Door, Kind},
    context::Context,
    hub::Hub,
    link::Fact,
};
use relay_proto::{Application, Machine, Stopped, Time};
use relay_transport::Config;
use std::{fmt, sync::Arc};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

pub(crate) type Command<M, A> = Box<dyn FnOnce(&mut M, &mut A, Time) + Send>;

/// Calls that may wait for the hub; further callers wait their turn.
const COMMANDS: usize = 64;

/// Facts that may wait for the hub; links with more wait, and so do their peers.
const FACTS: usize = 256;

/// Runs `machine` and `application` on a task of their own and returns the handle to them.
///
/// # Panics
///
/// Outside a tokio runtime with I/O and time enabled.
pub fn spawn<M, A>(machine: M, application: A, config: Config) -> Driver<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    spawn_with(machine, config, |_| application)
}

/// Like [`spawn`], for an application that needs the handle: `make` gets it before anything runs.
///
/// As long as the application keeps the handle, [`Application::handle_abandoned`] is not called.
///
/// # Panics
///
/// Outside a tokio runtime with I/O and time enabled.
pub fn spawn_with<M, A>(
    machine: M,
    config: Config,
    make: impl FnOnce(&Driver<M, A>) -> A,
) -> Driver<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    let (command, commands) = mpsc::channel(COMMANDS);
    let (fact, facts) = mpsc::channel(FACTS);
    let (stage, ending) = watch::channel(false);
    let context = Arc::new(Context::new(config));
    let driver = Driver {
        commands: command,
        facts: fact.downgrade(),
        context: Arc::clone(&context),
        ending,
    };
    let application = make(&driver);
    let hub = Hub::new(
        machine,
        application,
        commands,
        (fact, facts),
        stage,
        context,
    );
    tokio::spawn(hub.run());
    driver
}

/// The handle to a running machine and its application. Cheap to clone.
///
/// Dropping it does not end the machine: see [`Application::handle_abandoned`].
pub struct Driver<M, A> {
    commands: mpsc::Sender<Command<M, A>>,
    facts: mpsc::WeakSender<Fact>,
    context: Arc<Context>,
    ending: watch::Receiver<bool>,
}

impl<M, A> Clone for Driver<M, A> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            facts: self.facts.clone(),
            context: Arc::clone(&self.context),
            ending: self.ending.clone(),
        }
    }
}

impl<M, A> fmt::Debug for Driver<M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("ending", &*self.ending.borrow())
            .finish_non_exhaustive()
    }
}

impl<M: Machine + 'static, A: 'static> Driver<M, A> {
    /// Runs `command` between two steps of the machine and returns its result.
    ///
    /// Calls of one task run in order. `command` must not block. Cancel-safe in this sense: a future that is
    /// dropped before the hub has accepted the command does nothing; dropped later, it loses the result
    /// only, and the command runs all the same.
    ///
    /// # Errors
    ///
    /// [`Stopped`] where the machine ended before the command could run.
    pub async fn call<R, F>(&self, command: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&mut M, &mut A, Time) -> R + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let command: Command<M, A> = Box::new(move |machine, application, now| {
            // The caller may have gone; the command has run all the same.
            let _ = answer.send(command(machine, application, now));
        });
        self.commands.send(command).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Waits until the machine has ended and its links are closed.
    pub async fn finished(&self) {
        let mut ending = self.ending.clone();
        // The sender goes last, also when the hub's task dies of a panic.
        while ending.changed().await.is_ok() {}
    }

    /// Accepts WebSockets, with TLS where `tls` is given, until the machine ends or the handle is aborted.
    ///
    /// Aborting it stops accepting and closes the listener; links already accepted live on.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn listen_websocket(&self, listener: TcpListener, tls: Option<TlsAcceptor>) -> AbortHandle {
        self.listen(listener, Kind::WebSocket(tls))
    }

    /// Accepts plain byte streams, until the machine ends or the handle is aborted.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn listen_stream(&self, listener: TcpListener) -> AbortHandle {
        self.listen(listener, Kind::Stream)
    }

    fn listen(&self, listener: TcpListener, kind: Kind) -> AbortHandle {
        let facts = self.facts.clone();
        let context = Arc::clone(&self.context);
        let ending = self.ending.clone();
        let accepting = async move {
            // None: the machine has ended already.
            if let Some(facts) = facts.upgrade() {
                let door = Door {
                    kind,
                    facts,
                    context,
                    ending,
                };
                accept::accept(listener, door).await;
            }
        };
        tokio::spawn(accepting).abort_handle()
    }
}
