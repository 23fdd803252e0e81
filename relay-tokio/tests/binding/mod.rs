//! relay-tokio, as the testkit sees it.

use relay_proto::{Application, Machine, Stopped, Time, storage::Storage};
use relay_testkit::{Binding, Running, ServerConfig, StopAccepting};
use relay_tokio::{Config, Driver, StreamTls};
use std::{
    net::TcpListener,
    sync::{Arc, LazyLock},
};
use tokio::runtime::Runtime;

/// All scenarios share it, as the tasks of a program do.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

pub(crate) struct Tokio;

pub(crate) struct Handle<M, A>(Driver<M, A>);

impl Binding for Tokio {
    type Running<M: Machine + Send + 'static, A: Application<M>> = Handle<M, A>;

    fn spawn<M, A>(machine: M, application: A, config: Config) -> Handle<M, A>
    where
        M: Machine + Send + 'static,
        A: Application<M>,
    {
        let _entered = RUNTIME.enter();
        Handle(relay_tokio::spawn(machine, application, config))
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
        let _entered = RUNTIME.enter();
        let make = |_: &Driver<M, A>| application;
        Handle(relay_tokio::spawn_storing(machine, storage, config, make))
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
        RUNTIME.block_on(self.0.call(command))
    }

    fn finished(&self) {
        RUNTIME.block_on(self.0.finished());
    }

    fn listen_websocket(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
    ) -> StopAccepting {
        let _entered = RUNTIME.enter();
        let accepting = self.0.listen_websocket(listening(listener), tls);
        Box::new(move || accepting.abort())
    }

    fn listen_stream(&self, listener: TcpListener, tls: StreamTls) -> StopAccepting {
        let _entered = RUNTIME.enter();
        let accepting = self.0.listen_stream(listening(listener), tls);
        Box::new(move || accepting.abort())
    }
}

pub(crate) fn listening(listener: TcpListener) -> tokio::net::TcpListener {
    listener.set_nonblocking(true).unwrap();
    tokio::net::TcpListener::from_std(listener).unwrap()
}
