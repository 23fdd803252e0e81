//! One suite that judges every binding of [`relay_proto`]: the same scenarios over real sockets, and for each of them one
//! transcript, which every binding must yield.
//!
//! # To judge a new binding
//!
//! Add one file, `tests/conformance.rs`, which shows the suite how to [spawn](Binding::spawn) a machine and how to wait for the
//! handle to it, and calls [`judge`]. A binding to an async runtime waits with the runtime's `block_on`. Here it is for one
//! whose `Driver` waits by itself, with `sketch` in place of the binding:
//!
//! ```
//! use relay_proto::{Application, Machine, Stopped, Time, storage::Storage};
//! use relay_testkit::{Binding, StopAccepting, Running, ServerConfig};
//! use sketch::{Config, Driver, StreamTls};
//! use std::{net::TcpListener, sync::Arc};
//!
//! struct Sketch;
//!
//! struct Handle<M, A>(Driver<M, A>);
//!
//! impl Binding for Sketch {
//!     type Running<M: Machine + Send + 'static, A: Application<M>> = Handle<M, A>;
//!
//!     fn spawn<M, A>(machine: M, application: A, config: Config) -> Handle<M, A>
//!     where
//!         M: Machine + Send + 'static,
//!         A: Application<M>,
//!     {
//!         Handle(sketch::spawn(machine, application, config))
//!     }
//!
//!     fn spawn_storing<M, A>(
//!         machine: M,
//!         storage: impl Storage,
//!         application: A,
//!         config: Config,
//!     ) -> Handle<M, A>
//!     where
//!         M: Machine + Send + 'static,
//!         A: Application<M>,
//!     {
//!         Handle(sketch::spawn_storing(machine, storage, application, config))
//!     }
//! }
//!
//! impl<M, A> Running<M, A> for Handle<M, A>
//! where
//!     M: Machine + Send + 'static,
//!     A: Application<M>,
//! {
//!     fn call<R, F>(&self, command: F) -> Result<R, Stopped>
//!     where
//!         R: Send + 'static,
//!         F: FnOnce(&mut M, &mut A, Time) -> R + Send + 'static,
//!     {
//!         self.0.call(command)
//!     }
//!
//!     fn finished(&self) {
//!         self.0.finished();
//!     }
//!
//!     fn listen_websocket(&self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> StopAccepting {
//!         let listening = self.0.listen_websocket(listener, tls);
//!         Box::new(move || listening.abort())
//!     }
//!
//!     fn listen_stream(&self, listener: TcpListener, tls: StreamTls) -> StopAccepting {
//!         let listening = self.0.listen_stream(listener, tls);
//!         Box::new(move || listening.abort())
//!     }
//! }
//!
//! fn main() {
//! # if false {
//!     relay_testkit::judge::<Sketch>()
//! # }
//! }
//! # mod sketch {
//! #     use relay_proto::{Application, Machine, Stopped, Time, storage::Storage};
//! #     pub use relay_transport::{Config, tls::StreamTls};
//! #     use relay_testkit::ServerConfig;
//! #     use std::{net::TcpListener, sync::Arc};
//! #     pub struct Driver<M, A>(std::marker::PhantomData<fn(M, A)>);
//! #     pub struct Listening;
//! #     pub fn spawn<M: Machine, A: Application<M>>(_: M, _: A, _: Config) -> Driver<M, A> { unreachable!() }
//! #     pub fn spawn_storing<M: Machine, A: Application<M>>(_: M, _: impl Storage, _: A, _: Config) -> Driver<M, A> { unreachable!() }
//! #     impl<M, A> Driver<M, A> {
//! #         pub fn call<R>(&self, _: impl FnOnce(&mut M, &mut A, Time) -> R) -> Result<R, Stopped> { unreachable!() }
//! #         pub fn finished(&self) {}
//! #         pub fn listen_websocket(&self, _: TcpListener, _: Option<Arc<ServerConfig>>) -> Listening { Listening }
//! #         pub fn listen_stream(&self, _: TcpListener, _: StreamTls) -> Listening { Listening }
//! #     }
//! #     impl Listening { pub fn abort(&self) {} }
//! # }
//! ```
//!
//! and in its `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! relay-testkit.workspace = true
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! `cargo test --test conformance` runs all scenarios, each a test of its own; `cargo test --test conformance websocket::` some.
//!
//! A second such file, `tests/torture.rs`, whose `main` returns [`torture()`], kills the binding's processes and cuts them off, and
//! counts what becomes of the messages: shortly as a test among others, at length with `-- --messages 10000 --kills 300 --cuts 300`.
//!
//! # What is judged
//!
//! - **The contract** between machine and driver (see [`relay_proto::Action`]), in every scenario and for every machine, the
//!   mail client, the relay and the mail server among them: each `Open` is answered once; each `Send` is written once or its link
//!   ends; every link has one `Closed` and nothing behind it; no frame comes that is above the limit it was read under; due timers
//!   are served first; batches are stored in their order, each answered once; time goes forward.
//! - **The transcript**: what the machines were told and did, link by link, and what their news said. It is kept once, in
//!   `transcripts/`, without what differs from run to run: ports, and how exactly a connection was lost. A difference is
//!   shown as one.
//!
//! # To change the suite
//!
//! A scenario is a function in `src/conformance/scenarios/`, named in the list at the top of its file. Its transcript, and every other
//! that is meant to change, is written with `RELAY_TESTKIT_REWRITE=1 cargo test -p relay-blocking --test conformance`; look at the
//! difference, and let the other bindings confirm it.
//!
//! What tests of a single binding need besides is here as well: a mail server and its messages ([`mail`]), a key-value service ([`kv`]),
//! certificates, and a machine that is nothing but a clock ([`Alarm`]). So is what must not end a message ([`MALFORMED_ENDS`]).
#![expect(
    clippy::unwrap_used,
    reason = "a scenario that cannot go on has failed"
)]

mod alarm;
mod binding;
mod certificates;
mod conformance;
mod contract;
pub mod kv;
pub mod mail;
#[path = "../../relay-proto/src/smtp/malformed_ends.rs"]
mod malformed_ends;
mod monitor;
mod peer;
mod probe;
pub mod proxy;
pub mod simulation;
mod torture;
mod transcript;

pub use alarm::Alarm;
pub use binding::{Binding, Running, StopAccepting};
pub use certificates::{Authority, Identity};
pub use conformance::judge;
pub use malformed_ends::MALFORMED_ENDS;
pub use peer::{deserted, listener};
pub use rustls::ServerConfig;
pub use torture::{torture, torture_with};

use probe::Probe;
use transcript::Transcript;
