//! relay-async-std, as the testkit sees it.

use async_std::task::block_on;
use relay_async_std::{Config, Driver, StreamTls};
use relay_proto::{Application, Machine, Stopped, Time, storage::Storage};
use relay_testkit::{Binding, Running, ServerConfig, StopAccepting};
use std::{net::TcpListener, sync::Arc};

pub(crate) struct AsyncStd;

pub(crate) struct Handle<M, A>(Driver<M, A>);

impl Binding for AsyncStd {
    type Running<M: Machine + Send + 'static, A: Application<M>> = Handle<M, A>;

    fn spawn<M, A>(machine: M, application: A, config: Config) -> Handle<M, A>
    where
        M: Machine + Send + 'static,
        A: Application<M>,
    {
        Handle(relay_async_std::spawn(machine, application, config))
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
        Handle(relay_async_std::spawn_storing(
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
        block_on(self.0.call(command))
    }

    fn finished(&self) {
        block_on(self.0.finished());
    }

    fn listen_websocket(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
    ) -> StopAccepting {
        let accepting = self.0.listen_websocket(listening(listener), tls);
        Box::new(move || accepting.abort())
    }

    fn listen_stream(&self, listener: TcpListener, tls: StreamTls) -> StopAccepting {
        let accepting = self.0.listen_stream(listening(listener), tls);
        Box::new(move || accepting.abort())
    }
}

pub(crate) fn listening(listener: TcpListener) -> async_std::net::TcpListener {
    listener.into()
}
