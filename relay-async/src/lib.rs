//! Runs the machines of [`relay_proto`] on any async runtime.
//!
//! For those who bring a runtime; programs use `relay-tokio`, `relay-smol` or `relay-async-std`, which are this crate with
//! a [`Runtime`] filled in, and find here what their handles do. Every link has a task of its own that
//! reads, runs the machine and the [`Application`] behind it, and writes: a frame is answered without another task being
//! woken. One task more, the hub's, does so for commands, the clock and the storage. Who finds somebody at work leaves the news
//! there, so the machine sees one thing after the other. This crate knows WebSockets, TLS and TCP, and no protocol above them.
//!
//! A runtime is a type with a few functions. Where its sockets are those of futures-io, this is all it takes:
//!
//! ```
//! # #[cfg(feature = "futures-io")]
//! # fn main() -> std::io::Result<()> {
//! use relay_async::{Clock, Config, Driver, FuturesIo};
//! use relay_proto::{Action, Deadline, Input, LinkId, Machine, Time};
//! use smol::net::{self, TcpListener, TcpStream};
//! use std::{io, net::{Shutdown, SocketAddr}, time::Instant};
//!
//! #[derive(Clone, Debug)]
//! enum Mine {}
//!
//! impl Clock for Mine {
//!     async fn sleep_until(at: Instant) {
//!         smol::Timer::at(at).await;
//!     }
//! }
//!
//! impl FuturesIo for Mine {
//!     type Listener = TcpListener;
//!     type Tcp = TcpStream;
//!     fn spawn(task: impl Future<Output = ()> + Send + 'static) {
//!         smol::spawn(task).detach();
//!     }
//!     async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
//!         net::resolve((host, port)).await
//!     }
//!     async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
//!         let tcp = TcpStream::connect(to).await?;
//!         tcp.set_nodelay(true)?;
//!         Ok(tcp)
//!     }
//!     async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
//!         let (tcp, peer) = listener.accept().await?;
//!         tcp.set_nodelay(true)?;
//!         Ok((tcp, peer))
//!     }
//!     fn shutdown(tcp: &TcpStream) -> io::Result<()> {
//!         tcp.shutdown(Shutdown::Write)
//!     }
//! }
//!
//! /// Sends back every frame, until told to stop.
//! #[derive(Default)]
//! struct Echo {
//!     actions: std::collections::VecDeque<Action>,
//!     stopped: bool,
//! }
//!
//! impl Machine for Echo {
//!     type Event = ();
//!     fn handle_input(&mut self, _now: Time, input: Input) {
//!         if let Input::Frame { link, frame } = input {
//!             self.actions.push_back(Action::Send { link, frame });
//!         }
//!     }
//!     fn handle_timeout(&mut self, _now: Time) {}
//!     fn deadline(&self) -> Option<Deadline> { None }
//!     fn poll_action(&mut self) -> Option<Action> { self.actions.pop_front() }
//!     fn poll_event(&mut self) -> Option<()> { None }
//!     /// Reads nothing while much is unsent: the peer has to wait.
//!     fn read_limit(&self, _link: LinkId) -> usize { if self.actions.len() < 16 { 65_536 } else { 0 } }
//!     fn is_finished(&self) -> bool { self.stopped }
//! }
//!
//! smol::block_on(async {
//!     let driver: Driver<Mine, _, _> =
//!         relay_async::spawn(Echo::default(), |_: &mut Echo, _: Time, (): ()| {}, Config::default());
//!     driver.listen_websocket(TcpListener::bind("127.0.0.1:0").await?, None);
//!     driver.call(|echo, _application, _now| echo.stopped = true).await.map_err(io::Error::other)?;
//!     driver.finished().await;
//!     Ok(())
//! })
//! # }
//! # #[cfg(not(feature = "futures-io"))]
//! # fn main() {}
//! ```
//!
//! # What a machine can rely on
//!
//! Besides the contract every driver keeps (see [`relay_proto::Action`]):
//!
//! - Time is nanoseconds since [`spawn`], on the runtime's clock.
//! - A link is read only as far as [`read_limit`](relay_proto::Machine::read_limit) allows. Up to four frames, and
//!   small ones of 128 KiB together, may still arrive after it has become zero: they were read before. The limit of a link is asked for again
//!   after every input or action on it, and after every wake-up while it is zero.
//! - All frames sent in one go are flushed once.
//! - A host with several addresses is connected to at the one that answers first (RFC 8305).
//! - A machine that ends closes its listeners and, with [`GOING_AWAY`](relay_proto::CloseCode::GOING_AWAY), its links.
//!
//! # What is below
//!
//! The channels are those of `tokio::sync`, which need no runtime and say so; the crate `tokio` is therefore among the
//! dependencies on every runtime, with its features `sync` and `macros` and nothing else: no reactor, no executor, no timer.
//! The alternative was five crates in its place, with their own `select!`.

mod accept;
mod buffered;
mod context;
mod conversation;
mod dial;
mod driver;
mod engine;
#[cfg(feature = "futures-io")]
mod futures_io;
mod happy_eyeballs;
mod hub;
mod inbox;
pub mod kv;
mod link;
pub mod mail;
mod news;
mod orders;
mod runtime;
mod storage;
#[cfg(test)]
mod test_clock;
mod transport;

pub use buffered::Buffered;
pub use driver::{Driver, Listening, TlsAcceptor, spawn, spawn_storing, spawn_with};
#[cfg(feature = "futures-io")]
pub use futures_io::FuturesIo;
pub use relay_proto::{Application, Stopped};
pub use relay_transport::{
    Config, HeaderError, Headers, Origin, OriginError, Origins, proxies_from_environment, seed,
    tls::{
        ClientCertificate, StreamTls, TlsError, certificates_from_pem,
        mutual_server_config as mutual_tls_acceptor, server_config as tls_acceptor,
    },
};
pub use runtime::{Clock, Runtime};
pub use rustls::pki_types::CertificateDer;
