//! relay-blocking, as the testkit sees it.

use relay_blocking::{Config, Driver, StreamTls};
use relay_proto::{Application, Machine, Stopped, Time, storage::Storage};
use relay_testkit::{Binding, Running, ServerConfig, StopAccepting};
use std::{net::TcpListener, sync::Arc};

pub(crate) struct Blocking;

pub(crate) struct Handle<M, A>(Driver<M, A>);

impl Binding for Blocking {
    type Running<M: Machine + Send + 'static, A: Application<M>> = Handle<M, A>;

    fn spawn<M, A>(machine: M, application: A, config: Config) -> Handle<M, A>
    where
        M: Machine + Send + 'static,
        A: Application<M>,
    {
        Handle(relay_blocking::spawn(machine, application, config))
    }

    fn spawn_storing<M, A>(
        machine: M,
        storage: impl Storage,
        application: A,
        config: Config,
    ) -> Handle<M, A>
    where
        M: Machine + Send + 'static,
        A: Application<M>,
    {
        let make = |_: &Driver<M, A>| application;
        Handle(relay_blocking::spawn_storing(
            machine, storage, config, make,
        ))
    }
}

impl<M, A> Running<M, A> for Handle<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    fn call<R, F>(&self, command: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&mut M, &mut A, Time) -> R + Send + 'static,
    {
        self.0.call(command)
    }

    fn finished(&self) {
        self.0.finished();
    }

    fn listen_websocket(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
    ) -> StopAccepting {
        let listening = self.0.listen_websocket(listener, tls).unwrap();
        Box::new(move || listening.abort())
    }

    fn listen_stream(&self, listener: TcpListener, tls: StreamTls) -> StopAccepting {
        let listening = self.0.listen_stream(listener, tls).unwrap();
        Box::new(move || listening.abort())
    }
}
