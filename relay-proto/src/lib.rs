//! Durable relay links as pure state machines.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod endpoint;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod link;
mod machine;
pub mod mail;
mod outbox;
mod pump;
mod random;
pub mod smtp;
mod time;

pub use endpoint::{Endpoint, EndpointError, StreamAddress, WebSocketUrl};
pub use link::{BackoffPolicy, LinkError};
pub use machine::{Action, CloseCode, Closure, Deadline, Frame, Input, LinkId, Machine, OpenError};
pub use outbox::{OutboxLimits, Priority};
pub use pump::{Pump, Step};
pub use random::Random;
pub use time::Time;
