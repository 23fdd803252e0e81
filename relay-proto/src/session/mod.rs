//! Nothing lost, nothing twice: what two peers share across the links between them.
//!
//! A *link* is one connection and ends when it is cut. A *session* goes on on the next one: frames are numbered per
//! direction for the life of the session, kept by their sender until the receiver says that it has taken them over, and
//! sent again from where the receiver says it wants to go on. So every frame is delivered once and in order, whatever
//! happens to links, as long as both peers live and find each other again in time. It knows no protocol: what the frames
//! say is their owner's.
//!
//! - [`Session`] is one end, for either role. [`SessionFrame`] is what crosses the link.
//! - [`Registry`] holds a relay's sessions by [`SessionId`] and key, and ends those whose client does not come back.
//! - Many conversations in one session, with credit and priorities, are the business of [`channels`](crate::channels).
//!
//! ```
//! use relay_proto::{LinkId, Time, session::{Body, RetentionLimits, Session}};
//! use core::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let two_minutes = Duration::from_secs(120);
//! let mut client = Session::new(Time::ZERO, two_minutes, RetentionLimits::default());
//! let mut relay = Session::new(Time::ZERO, two_minutes, RetentionLimits::default());
//! client.attach(LinkId::dialled(0), relay.receive_next())?;
//! relay.attach(LinkId::accepted(0), client.receive_next())?;
//!
//! // What is sent is handed out as binary messages, for `Action::Send`.
//! client.send(Body::Data { channel: 1, payload: b"never arrives on this link" })?;
//! let lost = client.poll_frame();
//! assert!(lost.is_some());
//!
//! // The link is cut. On the next one each side tells what it wants next, and goes on from there.
//! client.detach(Time::ZERO, LinkId::dialled(0));
//! let older = relay.attach(LinkId::accepted(1), client.receive_next())?;
//! assert_eq!(older, Some(LinkId::accepted(0)), "to be closed: the relay had not noticed");
//! client.attach(LinkId::dialled(1), relay.receive_next())?;
//! let again = client.poll_frame();
//! assert_eq!(again, lost);
//!
//! // What is new is delivered, once. When its owner answers for it, the sender may forget it.
//! let message = again.expect("it is sent again");
//! let delivery = relay.handle_frame(LinkId::accepted(1), &message)?.expect("it is new");
//! assert_eq!(relay.handle_frame(LinkId::accepted(1), &message)?, None);
//! relay.take_over(delivery.seq);
//! let acknowledgement = relay.poll_frame().expect("it says so when nothing else does");
//! client.handle_frame(LinkId::dialled(1), &acknowledgement)?;
//! assert_eq!(client.unacknowledged(), (0, 0));
//! # Ok(())
//! # }
//! ```
//!
//! # What a session asks of its owner
//!
//! - Give [`poll_frame`](Session::poll_frame)'s messages to the link in order, as long as the link takes some; ask again
//!   after everything that was told to the session. Drain it once per wake-up, not per message: then there is at most one
//!   acknowledgement per wake-up.
//! - [Take over](Session::take_over) what is delivered as soon as it is safe: stored, or in the hands of something that
//!   lives as long as the session. Taking over must not wait for anything the peer has yet to send, or to acknowledge.
//! - Where [`not_taken_over`](Session::not_taken_over) grows too large, stop reading from the link.
//! - Choose what is urgent before [`send`](Session::send): a number is for good.
//! - At the [`deadline`](Session::deadline), call [`handle_timeout`](Session::handle_timeout). A session that is gone has
//!   told its owner all it knows: what is up to `acknowledged` has been taken over, what is behind `sent` has never left,
//!   and what lies between is *in doubt*.
//!
//! # What it costs
//!
//! A payload is copied once, into the message in which it goes out; kept, sent again and received it is the same memory,
//! shared. Small frames share what is allocated, and in a steady flow nothing is allocated per frame.

mod arrivals;
mod buffer;
mod error;
mod frame;
mod haste;
mod id;
mod progress;
mod registry;
mod retention;
#[expect(clippy::module_inception, reason = "it is what the room is about")]
mod session;
#[cfg(test)]
mod tests;
mod varint;

pub use error::{ResumeError, SendError, SessionError};
pub use frame::{Body, FrameError, HEADER_LIMIT, SessionFrame};
pub(crate) use haste::Haste;
pub use id::{SessionId, SessionIdError};
pub(crate) use progress::{FRUITLESS_LINKS, Progress};
pub use registry::{Opened, Registry, RegistryConfig, RegistryFull, Resumed};
pub use retention::RetentionLimits;
pub use session::{Delivery, Session};
