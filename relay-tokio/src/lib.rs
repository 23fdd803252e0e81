//! Runs the machines of [`relay_proto`] on tokio.
//!
//! A machine is pure: it has neither socket nor clock. [`spawn`] lends it both. One task, the hub, owns the
//! machine and the [`Application`] behind it; every link has a task of its own that reads and writes.
//! This crate knows WebSockets, TLS and TCP, and no protocol above them.
//!
//! ```
//! use relay_proto::{Action, Deadline, Input, LinkId, Machine, Time};
//! use relay_tokio::{Config, spawn};
//! use tokio::net::TcpListener;
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
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let driver = spawn(Echo::default(), |_: &mut Echo, _: Time, (): ()| {}, Config::default());
//! driver.listen_websocket(TcpListener::bind("127.0.0.1:0").await?, None);
//! driver.call(|echo, _application, _now| echo.stopped = true).await?;
//! driver.finished().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What a machine can rely on
//!
//! Besides the contract every driver keeps (see [`relay_proto::Action`]):
//!
//! - Time is nanoseconds since [`spawn`], on tokio's clock, so a test may pause and advance it.
//! - A link is read only as far as [`read_limit`](relay_proto::Machine::read_limit) allows. Up to three frames
//!   may still arrive after it has become zero: they were read before. The limit of a link is asked for again
//!   after every input or action on it, and after every wake-up while it is zero.
//! - All frames sent in one go are flushed once.
//! - A machine that ends closes its listeners and, with [`GOING_AWAY`](relay_proto::CloseCode::GOING_AWAY), its links.

mod accept;
mod context;
mod dial;
mod driver;
mod hub;
mod link;
pub mod mail;
mod tls;
mod transport;

pub use driver::{Driver, spawn, spawn_with};
pub use relay_proto::{Application, Stopped};
pub use relay_transport::{
    Config, seed,
    tls::{TlsError, certificates_from_pem},
};
pub use rustls::pki_types::CertificateDer;
pub use tls::tls_acceptor;
pub use tokio_rustls::TlsAcceptor;

/// The README's example, compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
