//! A machine under observation, on the binding that is judged.

use crate::{
    Binding, Probe, Running, StopAccepting,
    contract::Contract,
    monitor::{Monitored, Seen, Watch},
    peer::{self, HANGS},
};
use relay_proto::{
    Action, Application, CloseCode, Closure, Endpoint, Frame, Input, LinkId, Machine, Time,
    storage::Storage,
};
use relay_transport::{Config, tls::StreamTls};
use rustls::ServerConfig;
use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread,
};

/// What an application does at once with the news of its machine.
pub(crate) type Reaction<M> = Box<dyn FnMut(&mut M, Time, &<M as Machine>::Event) + Send>;

/// Writes news down, reacts to it, and passes it on to the scenario.
pub(crate) struct Reporter<M: Machine> {
    describe: fn(&M::Event) -> Option<String>,
    react: Reaction<M>,
    watch: Arc<Watch>,
    news: mpsc::Sender<M::Event>,
}

impl<M> Application<Monitored<M>> for Reporter<M>
where
    M: Machine + Send + 'static,
    M::Event: Send,
{
    fn handle_event(&mut self, machine: &mut Monitored<M>, now: Time, event: M::Event) {
        if let Some(line) = (self.describe)(&event) {
            self.watch.record().event(line);
        }
        (self.react)(machine.machine(), now, &event);
        // The scenario may have seen enough.
        let _ = self.news.send(event);
    }
}

/// A machine that runs on the binding, watched by the monitor and by a scenario.
///
/// Every rig is finished: there the contract is judged.
pub(crate) struct Rig<B: Binding, M: Machine<Event: Send> + Send + 'static = Probe> {
    running: B::Running<Monitored<M>, Reporter<M>>,
    news: mpsc::Receiver<M::Event>,
    watch: Arc<Watch>,
    judged: bool,
}

impl<B: Binding, M: Machine<Event: Send> + Send + 'static> Rig<B, M> {
    /// Spawns a machine. `describe` says what of its news belongs into the transcript.
    pub(crate) fn spawn(
        machine: M,
        config: Config,
        describe: fn(&M::Event) -> Option<String>,
        react: impl FnMut(&mut M, Time, &M::Event) + Send + 'static,
    ) -> Self {
        Self::start(machine, describe, react, |machine, application| {
            B::spawn(machine, application, config)
        })
    }

    /// Like [`spawn`](Self::spawn), with a storage.
    pub(crate) fn spawn_storing(
        machine: M,
        storage: impl Storage,
        describe: fn(&M::Event) -> Option<String>,
    ) -> Self {
        let react = |_: &mut M, _, _: &M::Event| {};
        Self::start(machine, describe, react, |machine, application| {
            B::spawn_storing(machine, storage, application, peer::config())
        })
    }

    fn start(
        machine: M,
        describe: fn(&M::Event) -> Option<String>,
        react: impl FnMut(&mut M, Time, &M::Event) + Send + 'static,
        spawn: impl FnOnce(Monitored<M>, Reporter<M>) -> B::Running<Monitored<M>, Reporter<M>>,
    ) -> Self {
        let watch = Arc::new(Watch::default());
        let (sender, news) = mpsc::channel();
        let application = Reporter {
            describe,
            react: Box::new(react),
            watch: Arc::clone(&watch),
            news: sender,
        };
        let machine = Monitored::new(machine, Arc::clone(&watch));
        Self {
            running: spawn(machine, application),
            news,
            watch,
            judged: false,
        }
    }

    /// Accepts WebSockets; where.
    pub(crate) fn listen_websocket(
        &self,
        tls: Option<Arc<ServerConfig>>,
    ) -> (StopAccepting, SocketAddr) {
        let (listener, address) = peer::listener();
        (self.running.listen_websocket(listener, tls), address)
    }

    /// Accepts byte streams; where. All links of this machine are streams then.
    pub(crate) fn listen_stream(&self, tls: StreamTls) -> (StopAccepting, SocketAddr) {
        let (listener, address) = peer::listener();
        self.watch.record().accept_streams();
        (self.running.listen_stream(listener, tls), address)
    }

    /// Gives the machine a command.
    pub(crate) fn tell<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut M, Time) -> R + Send + 'static,
    ) -> R {
        self.running
            .call(|monitored, _, now| command(monitored.machine(), now))
            .unwrap()
    }

    /// Whether the machine has ended and takes no more calls.
    pub(crate) fn is_stopped(&self) -> bool {
        self.running.call(|_, _, _| ()).is_err()
    }

    /// The next news of the machine.
    pub(crate) fn next(&self) -> M::Event {
        self.news.recv_timeout(HANGS).expect("hangs, or has gone")
    }

    /// The next news in which `find` finds something; what comes before is passed over.
    pub(crate) fn find<R>(&self, mut find: impl FnMut(M::Event) -> Option<R>) -> R {
        loop {
            if let Some(found) = find(self.next()) {
                return found;
            }
        }
    }

    /// Nothing is left to be told: a call and its answer overtake nothing.
    pub(crate) fn has_no_news(&self) -> bool {
        self.tell(|_, _| ());
        self.news.try_recv().is_err()
    }

    /// Waits until everything is opened, written and closed that the machine asked for.
    pub(crate) fn rest(&self) {
        self.watch.wait(HANGS, Contract::is_at_rest);
    }

    /// Waits until every link has ended.
    pub(crate) fn alone(&self) {
        self.watch
            .wait(HANGS, |contract| contract.live().next().is_none());
    }

    /// Waits for the end of a machine that ends by itself, and judges.
    pub(crate) fn finished(mut self) -> Seen {
        self.running.finished();
        self.judge()
    }

    fn judge(&mut self) -> Seen {
        self.judged = true;
        let mut record = self.watch.record();
        let violations = record.contract().violations();
        assert!(
            violations.is_empty(),
            "the contract was broken:\n{}",
            violations.join("\n")
        );
        record.seen()
    }
}

impl<B: Binding, M: Machine<Event: Send> + Send + 'static> Drop for Rig<B, M> {
    fn drop(&mut self) {
        assert!(
            self.judged || thread::panicking(),
            "a scenario must finish what it spawns, so that the contract is judged"
        );
    }
}

impl<B: Binding> Rig<B> {
    pub(crate) fn new(machine: Probe, config: Config) -> Self {
        Self::spawn(machine, config, |_| None, |_, _, _| {})
    }

    /// A probe that listens for WebSockets, and where.
    pub(crate) fn server(machine: Probe, config: Config) -> (Self, SocketAddr) {
        let rig = Self::new(machine, config);
        let (_, address) = rig.listen_websocket(None);
        (rig, address)
    }

    pub(crate) fn open(&self, endpoint: Endpoint) -> LinkId {
        self.tell(|machine, _| {
            let link = LinkId::dialled(machine.dialled);
            machine.dialled += 1;
            machine.actions.push_back(Action::Open { link, endpoint });
            link
        })
    }

    /// Opens a link to a machine that accepts.
    pub(crate) fn opened(&self, endpoint: Endpoint) -> LinkId {
        let link = self.open(endpoint);
        assert_eq!(self.next(), Input::Opened { link });
        link
    }

    /// Opens a link to a plain WebSocket server for this one client.
    pub(crate) fn opened_to(&self, listener: &TcpListener) -> (LinkId, peer::Peer) {
        let link = self.open(peer::websocket(listener.local_addr().unwrap()));
        let peer = peer::accept(listener);
        assert_eq!(self.next(), Input::Opened { link });
        (link, peer)
    }

    pub(crate) fn send(&self, link: LinkId, frame: Frame) {
        self.tell(move |machine, _| machine.actions.push_back(Action::Send { link, frame }));
    }

    pub(crate) fn close(&self, link: LinkId, code: CloseCode, reason: &str) {
        let reason = reason.to_owned();
        let close = Action::Close { link, code, reason };
        self.tell(|machine, _| machine.actions.push_back(close));
    }

    pub(crate) fn accepted(&self) -> LinkId {
        match self.next() {
            Input::Accepted { link, .. } => link,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// The next frame; passes over what is written.
    pub(crate) fn frame(&self) -> (LinkId, Frame) {
        loop {
            match self.next() {
                Input::Frame { link, frame } => return (link, frame),
                Input::Written { .. } => {}
                other => panic!("no frame: {other:?}"),
            }
        }
    }

    /// The end of the link; passes over what comes before.
    pub(crate) fn closed(&self, link: LinkId) -> Closure {
        loop {
            match self.next() {
                Input::Closed { link: ended, why } if ended == link => return why,
                Input::Frame { .. } | Input::Written { .. } => {}
                other => panic!("not closed: {other:?}"),
            }
        }
    }

    /// Closes every link, waits until all of them have ended and the machine, too, and judges: by then every Open and every
    /// Send has its answer, and every link its one Closed.
    pub(crate) fn finish(mut self) -> Seen {
        self.watch.record().close();
        loop {
            let live: Vec<_> = self.watch.record().contract().live().collect();
            if live.is_empty() {
                break;
            }
            self.tell(move |machine, _| {
                let close = |link| Action::Close {
                    link,
                    code: CloseCode::NORMAL,
                    reason: String::new(),
                };
                machine.actions.extend(live.into_iter().map(close));
                machine.pauses_after_frame = false;
                machine.paused.clear();
            });
            // The end of one link, or of another that came meanwhile.
            self.find(|input| match input {
                Input::Closed { .. } | Input::OpenFailed { .. } => Some(()),
                _ => None,
            });
        }
        self.tell(|machine, _| machine.finished = true);
        self.running.finished();
        self.judge()
    }
}
