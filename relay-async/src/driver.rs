//! The handle applications hold.

use crate::{
    Runtime,
    accept::{self, Door, Kind},
    context::Context,
    engine::Engine,
    hub::{Hub, Sources},
    link::{Hear, Reports},
    storage::Store,
};
use futures_util::future::{AbortHandle, abortable};
use relay_proto::{Application, Machine, Stopped, Time, storage::Storage};
use relay_transport::{Config, tls::StreamTls};
use rustls::ServerConfig;
use std::{convert::Infallible, fmt, marker::PhantomData, sync::Arc};
use tokio::sync::{mpsc, oneshot, watch};

/// A TLS server: see [`tls_acceptor`](crate::tls_acceptor).
pub type TlsAcceptor = Arc<ServerConfig>;

pub(crate) type Command<M, A> = Box<dyn FnOnce(&mut M, &mut A, Time) + Send>;

/// Calls that may wait for the hub; further callers wait their turn.
const COMMANDS: usize = 64;

/// Runs `machine` and `application` on a task of their own and returns the handle to them.
pub fn spawn<R, M, A>(machine: M, application: A, config: Config) -> Driver<R, M, A>
where
    R: Runtime,
    M: Machine + Send + 'static,
    A: Application<M>,
{
    spawn_with(machine, config, |_| application)
}

/// Like [`spawn`], for an application that needs the handle: `make` gets it before anything runs.
///
/// As long as the application keeps the handle, [`Application::handle_abandoned`] is not called.
pub fn spawn_with<R, M, A>(
    machine: M,
    config: Config,
    make: impl FnOnce(&Driver<R, M, A>) -> A,
) -> Driver<R, M, A>
where
    R: Runtime,
    M: Machine + Send + 'static,
    A: Application<M>,
{
    start(machine, None, config, make)
}

/// Like [`spawn_with`], for a machine that [stores](relay_proto::Action::Store): `storage` is the one whose records the machine
/// was made with. It is dropped before [`Driver::finished`] returns.
pub fn spawn_storing<R, M, A>(
    machine: M,
    storage: impl Storage,
    config: Config,
    make: impl FnOnce(&Driver<R, M, A>) -> A,
) -> Driver<R, M, A>
where
    R: Runtime,
    M: Machine + Send + 'static,
    A: Application<M>,
{
    start(machine, Some(Box::new(storage)), config, make)
}

fn start<R, M, A>(
    machine: M,
    storage: Option<Box<dyn Storage>>,
    config: Config,
    make: impl FnOnce(&Driver<R, M, A>) -> A,
) -> Driver<R, M, A>
where
    R: Runtime,
    M: Machine + Send + 'static,
    A: Application<M>,
{
    let (command, commands) = mpsc::channel(COMMANDS);
    let (tasks, alive) = mpsc::channel(1);
    let (stage, ending) = watch::channel(false);
    let context = Arc::new(Context::new(config));
    let hub = Arc::new(Hub::new());
    let driver = Driver {
        commands: command,
        hub: Arc::<Hub<R, M, A>>::clone(&hub),
        alive: tasks.downgrade(),
        context: Arc::clone(&context),
        ending,
        runtime: PhantomData,
    };
    let application = make(&driver);
    let reports = Reports::new(Arc::<Hub<R, M, A>>::clone(&hub), tasks);
    let (storage, stored) = Store::new(storage);
    let engine = Engine::new(machine, application, reports, storage, context);
    let sources = Sources {
        commands,
        stored,
        alive,
        stage,
    };
    R::spawn(hub.run(engine, sources));
    driver
}

/// The handle to a running machine and its application. Cheap to clone.
///
/// Dropping it does not end the machine: see [`Application::handle_abandoned`].
pub struct Driver<R, M, A> {
    commands: mpsc::Sender<Command<M, A>>,
    hub: Arc<dyn Hear>,
    alive: mpsc::WeakSender<Infallible>,
    context: Arc<Context>,
    ending: watch::Receiver<bool>,
    runtime: PhantomData<R>,
}

impl<R, M, A> Clone for Driver<R, M, A> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            hub: Arc::clone(&self.hub),
            alive: self.alive.clone(),
            context: Arc::clone(&self.context),
            ending: self.ending.clone(),
            runtime: PhantomData,
        }
    }
}

impl<R, M, A> fmt::Debug for Driver<R, M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("ending", &*self.ending.borrow())
            .finish_non_exhaustive()
    }
}

impl<R: Runtime, M: Machine + 'static, A: 'static> Driver<R, M, A> {
    /// Runs `command` between two steps of the machine and returns its result.
    ///
    /// Calls of one task run in order. `command` must not block. Cancel-safe in this sense: a future that is
    /// dropped before the hub has accepted the command does nothing; dropped later, it loses the result
    /// only, and the command runs all the same.
    ///
    /// # Errors
    ///
    /// [`Stopped`] where the machine ended before the command could run.
    pub async fn call<T, F>(&self, command: F) -> Result<T, Stopped>
    where
        T: Send + 'static,
        F: FnOnce(&mut M, &mut A, Time) -> T + Send + 'static,
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
    pub fn listen_websocket(&self, listener: R::Listener, tls: Option<TlsAcceptor>) -> Listening {
        self.listen(listener, Kind::WebSocket(tls))
    }

    /// Accepts byte streams, with TLS as `tls` says, until the machine ends or the handle is aborted.
    pub fn listen_stream(&self, listener: R::Listener, tls: StreamTls) -> Listening {
        self.listen(listener, Kind::Stream(tls))
    }

    fn listen(&self, listener: R::Listener, kind: Kind) -> Listening {
        let (hub, alive) = (Arc::clone(&self.hub), self.alive.clone());
        let context = Arc::clone(&self.context);
        let ending = self.ending.clone();
        let accepting = async move {
            // None: the machine has ended already.
            if let Some(alive) = alive.upgrade() {
                let door = Door {
                    kind,
                    reports: Reports::new(hub, alive),
                    context,
                    ending,
                };
                accept::accept::<R>(listener, door).await;
            }
        };
        let (accepting, abort) = abortable(accepting);
        R::spawn(async {
            // Aborted or at its end, there is nobody to tell.
            let _ = accepting.await;
        });
        Listening(abort)
    }
}

/// A listener at work. Dropping the handle changes nothing.
#[derive(Clone, Debug)]
pub struct Listening(AbortHandle);

impl Listening {
    /// Stops accepting and closes the listener, soon; links already accepted live on.
    pub fn abort(&self) {
        self.0.abort();
    }
}
