//! What a binding shows to be judged.

use relay_proto::{Application, Machine, Stopped, Time, storage::Storage};
use relay_transport::{Config, tls::StreamTls};
use rustls::ServerConfig;
use std::{net::TcpListener, sync::Arc};

/// A binding, as the scenarios see it: how to spawn a machine with the application behind it.
///
/// Implemented by a type that stands for the binding and of which there need not be a value. A binding to an async runtime keeps
/// the runtime in a `static` and waits for it in the methods of [`Running`].
pub trait Binding: 'static {
    /// The handle to what was spawned.
    type Running<M: Machine + Send + 'static, A: Application<M>>: Running<M, A>;

    /// Runs the machine and its application.
    fn spawn<M, A>(machine: M, application: A, config: Config) -> Self::Running<M, A>
    where
        M: Machine + Send + 'static,
        A: Application<M>;

    /// Runs a machine that stores, with its storage.
    fn spawn_storing<M, A>(
        machine: M,
        storage: impl Storage,
        application: A,
        config: Config,
    ) -> Self::Running<M, A>
    where
        M: Machine + Send + 'static,
        A: Application<M>;
}

/// The handle to a running machine. Its methods wait; the scenarios call them from threads that may.
///
/// Dropping it drops the binding's own handle.
pub trait Running<M, A>: Send + Sync {
    /// Runs `command` between two steps of the machine and waits for its result.
    ///
    /// # Errors
    ///
    /// [`Stopped`] where the machine has ended.
    fn call<R, F>(&self, command: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&mut M, &mut A, Time) -> R + Send + 'static;

    /// Waits until the machine has ended and its links are closed.
    fn finished(&self);

    /// Accepts WebSockets, with TLS where `tls` is given.
    ///
    /// # Panics
    ///
    /// Where it cannot, which fails the scenario.
    fn listen_websocket(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
    ) -> StopAccepting;

    /// Accepts byte streams, with TLS as `tls` says.
    ///
    /// # Panics
    ///
    /// Where it cannot, which fails the scenario.
    fn listen_stream(&self, listener: TcpListener, tls: StreamTls) -> StopAccepting;
}

/// Stops accepting on one listener; links already accepted live on. Dropping it changes nothing.
pub type StopAccepting = Box<dyn FnOnce() + Send>;
