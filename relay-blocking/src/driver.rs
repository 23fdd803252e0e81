//! The handle applications hold.

use crate::{
    accept::Kind,
    dial::Preparation,
    hub::{Command, Hub},
    network::{Network, WAKER},
    report::{Report, Reporter},
};
use mio::{Poll, Token, Waker};
use relay_proto::{Application, Machine, Stopped, Time, storage::Storage};
use relay_transport::{Config, tls::StreamTls};
use rustls::ServerConfig;
use std::{
    fmt, io,
    net::TcpListener,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, ThreadId},
};

/// A TLS server: see [`tls_acceptor`](crate::tls_acceptor).
pub type TlsAcceptor = Arc<ServerConfig>;

/// Calls that may wait for the hub; further callers wait their turn.
const COMMANDS: usize = 64;

/// Runs `machine` and `application` on a thread of their own and returns the handle to them.
///
/// # Panics
///
/// Where the system has no thread or no file descriptors left, like [`std::thread::spawn`].
pub fn spawn<M, A>(machine: M, application: A, config: Config) -> Driver<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    spawn_with(machine, config, |_| application)
}

/// Like [`spawn`], for an application that needs the handle: `make` gets it before anything runs.
///
/// As long as the application keeps the handle, [`Application::handle_abandoned`] is not called. The handle must
/// not be waited on from the application's own methods: they run on the thread that would have to answer.
///
/// # Panics
///
/// Where the system has no thread or no file descriptors left, like [`std::thread::spawn`].
pub fn spawn_with<M, A>(
    machine: M,
    config: Config,
    make: impl FnOnce(&Driver<M, A>) -> A,
) -> Driver<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    start(machine, None, config, make)
}

/// Like [`spawn_with`], for a machine that [stores](relay_proto::Action::Store): `storage` is the one whose records the machine
/// was made with. It is dropped before [`Driver::finished`] returns.
///
/// # Panics
///
/// Where the system has no thread or no file descriptors left, like [`std::thread::spawn`].
pub fn spawn_storing<M, A>(
    machine: M,
    storage: impl Storage,
    config: Config,
    make: impl FnOnce(&Driver<M, A>) -> A,
) -> Driver<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    start(machine, Some(Box::new(storage)), config, make)
}

fn start<M, A>(
    machine: M,
    storage: Option<Box<dyn Storage>>,
    config: Config,
    make: impl FnOnce(&Driver<M, A>) -> A,
) -> Driver<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    let (command, commands) = mpsc::sync_channel(COMMANDS);
    let (network, reporter, reports) =
        network(config.clone()).expect("the system can watch one more set of sockets");
    let ending = Arc::new(Ending::default());
    let driver = Driver {
        commands: Caller(Some(command), reporter.clone()),
        reporter: reporter.clone(),
        ending: Arc::clone(&ending),
    };
    let application = make(&driver);
    let hub = Hub::new(
        machine,
        application,
        commands,
        (reporter, reports),
        Preparation::new(config),
        storage,
        network,
    );
    thread::Builder::new()
        .name("relay".to_owned())
        .spawn(move || {
            let last_word = LastWord(ending);
            let _ = last_word.0.thread.set(thread::current().id());
            hub.run();
        })
        .expect("the system has a thread left");
    driver
}

/// An empty network, and how to tell its hub something.
pub(crate) fn network(config: Config) -> io::Result<(Network, Reporter, Receiver<Report>)> {
    let (report, reports) = mpsc::channel();
    let poll = Poll::new()?;
    let bell = Waker::new(poll.registry(), WAKER)?;
    let reporter = Reporter::new(report, Arc::new(bell));
    Ok((Network::new(poll, config), reporter, reports))
}

/// What there is to know about the hub's thread.
#[derive(Default)]
struct Ending {
    thread: OnceLock<ThreadId>,
    ended: Mutex<bool>,
    told: Condvar,
}

impl Ending {
    fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Catches an application that would wait for itself for ever.
    fn assert_elsewhere(&self) {
        assert!(
            self.thread.get() != Some(&thread::current().id()),
            "an application's methods must not wait for their own driver; use the machine they are given"
        );
    }
}

/// Says that the hub has ended, also when its thread dies of a panic.
struct LastWord(Arc<Ending>);

impl Drop for LastWord {
    fn drop(&mut self) {
        *self.0.ended() = true;
        self.0.told.notify_all();
    }
}

/// One of those who can make calls; the hub hears when the last has gone.
struct Caller<M, A>(Option<SyncSender<Command<M, A>>>, Reporter);

impl<M, A> Clone for Caller<M, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

impl<M, A> Drop for Caller<M, A> {
    fn drop(&mut self) {
        // Before the bell, so that the hub finds the channel closed.
        self.0 = None;
        self.1.ring();
    }
}

/// The handle to a running machine and its application. Cheap to clone, usable from any thread.
///
/// Dropping it does not end the machine: see [`Application::handle_abandoned`].
pub struct Driver<M, A> {
    commands: Caller<M, A>,
    reporter: Reporter,
    ending: Arc<Ending>,
}

impl<M, A> Clone for Driver<M, A> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            reporter: self.reporter.clone(),
            ending: Arc::clone(&self.ending),
        }
    }
}

impl<M, A> fmt::Debug for Driver<M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("ended", &*self.ending.ended())
            .finish_non_exhaustive()
    }
}

impl<M: Machine + 'static, A: 'static> Driver<M, A> {
    /// Runs `command` between two steps of the machine and waits for its result.
    ///
    /// Calls of one thread run in order. `command` must not block.
    ///
    /// # Errors
    ///
    /// [`Stopped`] where the machine ended before the command could run.
    ///
    /// # Panics
    ///
    /// On the thread the machine runs on, where it would wait for itself.
    pub fn call<R, F>(&self, command: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&mut M, &mut A, Time) -> R + Send + 'static,
    {
        self.ending.assert_elsewhere();
        let (answer, answered) = mpsc::sync_channel(1);
        let command: Command<M, A> = Box::new(move |machine, application, now| {
            // The caller waits for it below.
            let _ = answer.send(command(machine, application, now));
        });
        let commands = self.commands.0.as_ref().ok_or(Stopped)?;
        commands.send(command).map_err(|_| Stopped)?;
        self.reporter.ring();
        answered.recv().map_err(|_| Stopped)
    }

    /// Waits until the machine has ended and its links are closed.
    ///
    /// # Panics
    ///
    /// On the thread the machine runs on, where it would wait for itself.
    pub fn finished(&self) {
        self.ending.assert_elsewhere();
        let mut ended = self.ending.ended();
        while !*ended {
            ended = self
                .ending
                .told
                .wait(ended)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Accepts WebSockets, with TLS where `tls` is given, until the machine ends or the handle is aborted.
    ///
    /// # Errors
    ///
    /// Where the machine has ended, or the system cannot watch the listener.
    ///
    /// # Panics
    ///
    /// On the thread the machine runs on, where it would wait for itself.
    pub fn listen_websocket(
        &self,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<Listening> {
        self.listen(listener, Kind::WebSocket(tls))
    }

    /// Accepts byte streams, with TLS as `tls` says, until the machine ends or the handle is aborted.
    ///
    /// # Errors
    ///
    /// Where the machine has ended, or the system cannot watch the listener.
    ///
    /// # Panics
    ///
    /// On the thread the machine runs on, where it would wait for itself.
    pub fn listen_stream(&self, listener: TcpListener, tls: StreamTls) -> io::Result<Listening> {
        self.listen(listener, Kind::Stream(tls))
    }

    fn listen(&self, listener: TcpListener, kind: Kind) -> io::Result<Listening> {
        self.ending.assert_elsewhere();
        listener.set_nonblocking(true)?;
        let listener = mio::net::TcpListener::from_std(listener);
        let (answer, answered) = mpsc::sync_channel(1);
        let open = move |network: &mut Network| {
            // The caller waits for it below.
            let _ = answer.send(network.add_door(listener, kind));
        };
        let reported = self.reporter.report(Report::Listen(Box::new(open)));
        let door = reported.and_then(|()| answered.recv().map_err(|_| Stopped));
        Ok(Listening {
            door: door.map_err(io::Error::other)??,
            reporter: self.reporter.clone(),
        })
    }
}

/// A listener at work. Dropping the handle changes nothing.
#[derive(Clone)]
pub struct Listening {
    door: Token,
    reporter: Reporter,
}

impl Listening {
    /// Stops accepting and closes the listener, soon; links already accepted live on.
    pub fn abort(&self) {
        let door = self.door;
        let close = move |network: &mut Network| network.remove_door(door);
        // With the machine, the listener has ended as well.
        let _ = self.reporter.report(Report::Listen(Box::new(close)));
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}
