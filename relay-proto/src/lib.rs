//! Durable relay links as pure state machines.
//!
//! A protocol role, such as the [mail client](mail::client::Client) or the [mail relay](mail::relay::Relay), is a value
//! that implements [`Machine`]. It is told facts and the time, and answers with actions for whoever owns the sockets, events
//! for the application, and one named deadline. It has no socket, clock, thread or entropy, and the compiler keeps it so:
//! this crate is `no_std` with `alloc`, and contains no `unsafe`. Equal seeds and inputs give equal outputs, for ever.
//!
//! ```text
//!               commands              events
//! application ────────────► machine ────────────► application
//!                           ▲     │
//!              Input, Time  │     │  Action, Deadline
//!                           │     ▼
//!                            driver  ◄──────────► sockets, clock
//! ```
//!
//! A driver runs a machine through its [`Pump`], which says what to do next: perform an action, deliver an event, wait, or
//! stop. `relay-tokio` is such a driver; this is one by hand, up to the point where the sockets begin:
//!
//! ```
//! use relay_proto::{
//!     Action, Input, Pump, Step, Time,
//!     mail::{client::{Client, ClientConfig, Submission}, wire::ApiKey},
//!     smtp::{Address, Envelope},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ClientConfig::new("wss://relay.example/".parse()?, ApiKey::new("my key"));
//! let seed = [7; 32]; // from the operating system, in earnest
//! let mut pump = Pump::new(Client::new(config, seed, Time::ZERO));
//!
//! // A command: here is a message.
//! let (from, to): (Address, Address) = ("alice@example.org".parse()?, "bob@example.net".parse()?);
//! let message = Submission::message(Envelope::new(from, [to])?, "Subject: Hello\r\n\r\nHello, Bob.\r\n".into());
//! let now = Time::from_nanos(1_000_000);
//! let id = pump.command(now, |client, now| client.submit(now, message))?;
//! println!("accepted as {id}");
//!
//! // The loop of every driver.
//! let mut opening = None;
//! let until = loop {
//!     match pump.step(now) {
//!         Step::Perform(Action::Open { link, endpoint }) => opening = Some((link, endpoint)),
//!         Step::Perform(action) => unreachable!("nothing is open yet: {action:?}"),
//!         Step::Deliver(event) => println!("{event:?}"),
//!         Step::Wait { until } => break until,
//!         Step::Finished => return Ok(()),
//!     }
//! };
//! let (link, endpoint) = opening.expect("there is something to send");
//! assert_eq!(endpoint.to_string(), "wss://relay.example/");
//! assert_eq!(until.expect("it will not wait for ever").timer, "open");
//!
//! // Once the socket is open, the machine is told, and says what to send.
//! pump.handle_input(now, Input::Opened { link });
//! let first = core::iter::from_fn(|| match pump.step(now) {
//!     Step::Perform(action) => Some(Some(action)),
//!     Step::Deliver(_) => Some(None),
//!     Step::Wait { .. } | Step::Finished => None,
//! });
//! assert!(first.flatten().any(|action| matches!(action, Action::Send { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! # Rooms
//!
//! - The crate's root: what every machine and every driver share.
//! - [`channels`]: many conversations in one session, for any protocol.
//! - [`http`]: requests and responses, for a machine that is reached over HTTP.
//! - [`link`]: reconnecting and liveness, for any protocol.
//! - [`pacing`]: rates that hold, rates that heed the peer, and how much is under way at once, for any protocol.
//! - [`proxy`]: the way to a server through an HTTP proxy.
//! - [`session`]: frames that survive the link they were sent on, for any protocol.
//! - [`storage`]: records that outlive the process.
//! - [`smtp`]: SMTP (RFC 5321) from both ends.
//! - [`kv`]: key-value calls: the [messages](kv::wire), the [client](kv::client), the [service](kv::service), [tokens](kv::token).
//! - [`mail`]: mail through a relay: the [frames](mail::wire), the [client](mail::client), the [relay](mail::relay).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admission;
mod application;
pub mod channels;
mod endpoint;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hex;
pub mod http;
pub mod kv;
pub mod link;
mod machine;
pub mod mail;
mod outbox;
pub mod pacing;
pub mod proxy;
mod pump;
mod random;
mod response_times;
mod secret;
pub mod session;
pub mod smtp;
pub mod storage;
mod time;

pub use application::{Application, Missed, Stopped};
pub use endpoint::{Endpoint, EndpointError, StreamAddress, WebSocketUrl};
pub use link::{BackoffPolicy, LinkError};
pub use machine::{Action, CloseCode, Closure, Deadline, Frame, Input, LinkId, Machine, OpenError};
pub use outbox::{OutboxLimits, Priority};
pub use pump::{Pump, Step};
pub use random::Random;
pub use time::Time;
