//! A machine run by the thread that holds it.

use crate::{
    accept::Kind,
    dial::Preparation,
    driver::{TlsAcceptor, network},
    hub::Hub,
};
use relay_proto::{Application, Machine, Time, storage::Storage};
use relay_transport::{Config, tls::StreamTls};
use std::{fmt, io, net::TcpListener, sync::mpsc, time::Instant};

/// A machine and its application without a thread of their own: whoever holds them runs them by waiting.
///
/// Between two calls of [`wait`](Self::wait) nothing moves: no heartbeat is answered, no timer strikes. A thread
/// that has much else to do is better off with [`spawn`](crate::spawn).
pub struct Local<M, A> {
    hub: Hub<M, A>,
    finished: bool,
}

impl<M: Machine, A: Application<M>> Local<M, A> {
    /// Takes a machine and its application.
    ///
    /// # Errors
    ///
    /// Where the system has no file descriptors left.
    pub fn new(machine: M, application: A, config: Config) -> io::Result<Self> {
        Self::start(machine, None, application, config)
    }

    /// Takes a machine that [stores](relay_proto::Action::Store), the storage whose records it was made with, and its application.
    /// The storage is dropped when the machine has ended.
    ///
    /// # Errors
    ///
    /// Where the system has no file descriptors left.
    pub fn storing(
        machine: M,
        storage: impl Storage,
        application: A,
        config: Config,
    ) -> io::Result<Self> {
        Self::start(machine, Some(Box::new(storage)), application, config)
    }

    fn start(
        machine: M,
        storage: Option<Box<dyn Storage>>,
        application: A,
        config: Config,
    ) -> io::Result<Self> {
        let (network, reporter, reports) = network(config.clone())?;
        // Nobody calls from elsewhere.
        let (_, commands) = mpsc::sync_channel(1);
        let hub = Hub::new(
            machine,
            application,
            commands,
            (reporter, reports),
            Preparation::new(config),
            storage,
            network,
        );
        let finished = false;
        Ok(Self { hub, finished })
    }

    /// Runs `command` at once. What the machine makes of it is done by the next [`wait`](Self::wait).
    pub fn call<R>(&mut self, command: impl FnOnce(&mut M, &mut A, Time) -> R) -> R {
        self.hub.command(command)
    }

    /// Does what there is to do, waits until something happens or `until` is there, and lets the machine react.
    ///
    /// It returns after every happening, so it is called in a loop that asks for what it waits for. False: the machine has
    /// ended, and its links are closed; the call in which that happens takes up to twice
    /// [`Config::close_timeout`] longer.
    pub fn wait(&mut self, until: Instant) -> bool {
        if !self.finished && !self.hub.round(Some(until)) {
            self.hub.run_out();
            self.finished = true;
        }
        !self.finished
    }

    /// Accepts WebSockets, with TLS where `tls` is given, until the machine ends.
    ///
    /// # Errors
    ///
    /// Where the system cannot watch the listener.
    pub fn listen_websocket(
        &mut self,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<()> {
        self.listen(listener, Kind::WebSocket(tls))
    }

    /// Accepts byte streams, with TLS as `tls` says, until the machine ends.
    ///
    /// # Errors
    ///
    /// Where the system cannot watch the listener.
    pub fn listen_stream(&mut self, listener: TcpListener, tls: StreamTls) -> io::Result<()> {
        self.listen(listener, Kind::Stream(tls))
    }

    fn listen(&mut self, listener: TcpListener, kind: Kind) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = mio::net::TcpListener::from_std(listener);
        self.hub.network().add_door(listener, kind).map(drop)
    }
}

impl<M, A> fmt::Debug for Local<M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}
