//! Both ends on our drivers.

use super::{PAYLOAD, Pair};
use crate::machine::{Echo, Load};
use relay_proto::{Endpoint, Time};
use std::{io, net::SocketAddr, sync::mpsc, thread};

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::WebSocket(format!("ws://{address}/").parse().expect("it is a URL"))
}

type Machine = Load;
type Command = Box<dyn FnOnce(&mut Machine) + Send>;

/// A client on whichever driver: how to give it a command, and where it says that all has come back.
struct Client {
    call: Box<dyn Fn(Command)>,
    done: mpsc::Receiver<()>,
}

impl Client {
    /// Waits for the link.
    fn connected(self) -> Box<dyn Pair> {
        loop {
            let (open, is_open) = mpsc::channel();
            (self.call)(Box::new(move |load| {
                open.send(load.is_open()).expect("somebody waits")
            }));
            if is_open.recv() == Ok(true) {
                return Box::new(self);
            }
            thread::yield_now();
        }
    }
}

impl Pair for Client {
    fn exchange(&mut self, frames: usize, window: usize) {
        (self.call)(Box::new(move |load| load.begin(frames, window)));
        self.done.recv().expect("the driver lives");
    }
}

type Told = mpsc::Sender<()>;

fn quiet(_: &mut Echo, _: Time, (): ()) {}

fn teller(done: Told) -> impl FnMut(&mut Load, Time, ()) + Send + 'static {
    move |_, _, ()| done.send(()).expect("somebody waits")
}

/// An end in a thread with its runtime, for as long as the process lives.
fn tokio_thread<F: Future<Output = ()>>(
    end: impl FnOnce() -> F + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || runtime.block_on(async { end().await }));
    Ok(())
}

pub(super) fn tokio() -> io::Result<Box<dyn Pair>> {
    let (bound, address) = mpsc::channel();
    tokio_thread(move || async move {
        let driver = relay_tokio::spawn(Echo::default(), quiet, relay_tokio::Config::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        bound
            .send(listener.local_addr().expect("it is bound"))
            .expect("somebody waits");
        driver.listen_websocket(listener, None);
        driver.finished().await;
    })?;
    let address = address.recv().expect("the server has a port");
    let (told, done) = mpsc::channel();
    let (handle, handed) = mpsc::channel();
    tokio_thread(move || async move {
        let load = Load::new(endpoint(address), PAYLOAD);
        let driver = relay_tokio::spawn(load, teller(told), relay_tokio::Config::default());
        handle.send(driver.clone()).expect("somebody waits");
        driver.finished().await;
    })?;
    let driver = handed.recv().expect("the client runs");
    let call = move |command: Command| {
        smol::block_on(driver.call(move |load, _, _| command(load))).expect("the driver lives");
    };
    Ok(Client {
        call: Box::new(call),
        done,
    }
    .connected())
}

macro_rules! on_futures_io {
    ($name:ident, $driver:ident, $listener:path, $block_on:path) => {
        pub(super) fn $name() -> io::Result<Box<dyn Pair>> {
            let (told, done) = mpsc::channel();
            let driver = $block_on(async {
                let echo = $driver::spawn(Echo::default(), quiet, $driver::Config::default());
                let listener = <$listener>::bind("127.0.0.1:0").await?;
                let load = Load::new(endpoint(listener.local_addr()?), PAYLOAD);
                echo.listen_websocket(listener, None);
                // The server's machine ends with the process.
                std::mem::forget(echo);
                io::Result::Ok($driver::spawn(
                    load,
                    teller(told),
                    $driver::Config::default(),
                ))
            })?;
            let call = move |command: Command| {
                $block_on(driver.call(move |load, _, _| command(load))).expect("the driver lives");
            };
            Ok(Client {
                call: Box::new(call),
                done,
            }
            .connected())
        }
    };
}

on_futures_io!(smol, relay_smol, ::smol::net::TcpListener, ::smol::block_on);
on_futures_io!(
    async_std,
    relay_async_std,
    ::async_std::net::TcpListener,
    ::async_std::task::block_on
);

pub(super) fn blocking() -> io::Result<Box<dyn Pair>> {
    let (told, done) = mpsc::channel();
    let echo = relay_blocking::spawn(Echo::default(), quiet, relay_blocking::Config::default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let load = Load::new(endpoint(listener.local_addr()?), PAYLOAD);
    echo.listen_websocket(listener, None)?;
    std::mem::forget(echo);
    let driver = relay_blocking::spawn(load, teller(told), relay_blocking::Config::default());
    let call = move |command: Command| {
        driver
            .call(move |load, _, _| command(load))
            .expect("the driver lives");
    };
    Ok(Client {
        call: Box::new(call),
        done,
    }
    .connected())
}
