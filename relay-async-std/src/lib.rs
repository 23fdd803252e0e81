//! Runs the machines of [`relay_proto`] on async-std.
//!
//! A machine is pure: it has neither socket nor clock. [`spawn`] lends it both. Every link has a
//! task of its own that reads, runs the machine and the [`Application`] behind it, and writes; another serves commands and the clock.
//! This crate fills a runtime in; the driver itself, and what a machine can rely on, is [`relay_async`].
//!
//! ```
//! use relay_proto::{Action, Deadline, Input, LinkId, Machine, Time};
//! use relay_async_std::{Config, spawn};
//! use async_std::net::TcpListener;
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
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { async_std::task::block_on(async {
//! let driver = spawn(Echo::default(), |_: &mut Echo, _: Time, (): ()| {}, Config::default());
//! driver.listen_websocket(TcpListener::bind("127.0.0.1:0").await?, None);
//! driver.call(|echo, _application, _now| echo.stopped = true).await?;
//! driver.finished().await;
//! # Ok(())
//! # }) }
//! ```
//!
//! Everything runs on async-std's global executor, whichever thread it is called from.
//!
//! # async-std is discontinued
//!
//! Its maintainers have ended it and point to smol
//! ([RUSTSEC-2025-0052](https://rustsec.org/advisories/RUSTSEC-2025-0052.html)). This crate serves programs that are on it;
//! a new one is better off with `relay-smol`, whose names are the same.

mod driver;
pub mod kv;
pub mod mail;
mod runtime;

pub use driver::{Driver, spawn, spawn_storing, spawn_with};
pub use relay_async::{
    Application, CertificateDer, ClientCertificate, Config, HeaderError, Headers, Listening,
    Origin, OriginError, Origins, Stopped, StreamTls, TlsAcceptor, TlsError, certificates_from_pem,
    mutual_tls_acceptor, proxies_from_environment, seed, tls_acceptor,
};
pub use runtime::AsyncStd;
