//! Runs the machines of [`relay_proto`] on plain threads, without an async runtime.
//!
//! A machine is pure: it has neither socket nor clock. [`spawn`] lends it both. One thread, the hub, owns the
//! machine, the [`Application`] behind it and all sockets, which it reads and writes without ever waiting for
//! one of them; any number of threads hold the [`Driver`] and make calls. Name lookups wait on threads of their own.
//! A program of one thread runs a machine itself, with [`Local`], by waiting.
//! This crate knows WebSockets, TLS and TCP, and no protocol above them.
//!
//! ```
//! use relay_blocking::{Config, spawn};
//! use relay_proto::{Action, Deadline, Input, LinkId, Machine, Time};
//! use std::net::TcpListener;
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
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let driver = spawn(Echo::default(), |_: &mut Echo, _: Time, (): ()| {}, Config::default());
//! driver.listen_websocket(TcpListener::bind("127.0.0.1:0")?, None)?;
//! driver.call(|echo, _application, _now| echo.stopped = true)?;
//! driver.finished();
//! # Ok(())
//! # }
//! ```
//!
//! # What a machine can rely on
//!
//! Besides the contract every driver keeps (see [`relay_proto::Action`]):
//!
//! - Time is nanoseconds since [`spawn`], on the system's monotonic clock.
//! - A link is read only as far as [`read_limit`](relay_proto::Machine::read_limit) allows, which is asked before
//!   every frame; nothing is read ahead.
//! - All frames sent in one go are flushed once.
//! - A host with several addresses is connected to at the one that answers first (RFC 8305).
//! - A machine that ends closes its listeners and, with [`GOING_AWAY`](relay_proto::CloseCode::GOING_AWAY), its links.

mod accept;
mod attempts;
mod dial;
mod driver;
mod hub;
pub mod kv;
mod link;
mod local;
pub mod mail;
mod network;
mod news;
mod report;
mod socket;
mod transport;
mod workers;

pub use driver::{Driver, Listening, TlsAcceptor, spawn, spawn_storing, spawn_with};
pub use local::Local;
pub use relay_proto::{Application, Stopped};
pub use relay_transport::{
    Config, HeaderError, Headers, Origin, OriginError, Origins, proxies_from_environment, seed,
    tls::{
        ClientCertificate, StreamTls, TlsError, certificates_from_pem,
        mutual_server_config as mutual_tls_acceptor, server_config as tls_acceptor,
    },
};
pub use rustls::pki_types::CertificateDer;
