//! How fast: rates that hold, rates that heed the peer, and how much is under way at once.
//!
//! - [`Rate`]: so often in a time, and so many at once. It reads and writes as `10/s:20`.
//! - [`TokenBucket`]: holds to a rate, exactly. It is what a server measures a client by.
//! - [`Pacer`]: what a client sends by. It holds to a limit, slows down when the peer asks for it, finds out what the peer does take,
//!   and comes back to the limit when it takes everything.
//! - [`Window`]: how many are under way at once, by how long the answers take.
//!
//! Each is a value that is told the time, knows no protocol, and gives equal outputs for equal inputs. None has a queue: what goes
//! first is its owner's business, and nobody who waits is passed over by pacing itself.
//!
//! A client with ten calls for a server that takes two a second, of which it is not told:
//!
//! ```
//! use relay_proto::{Time, pacing::{Pacer, Rate, TokenBucket}};
//! use core::time::Duration;
//!
//! let mut now = Time::ZERO;
//! let mut server = TokenBucket::new(now, Rate::per_second(2));
//! let mut pacer = Pacer::new(now, None);
//! let (mut waiting, mut refused) = (10, 0);
//!
//! while waiting > 0 {
//!     // What may go goes; the answers are there after 20 ms.
//!     let sent = now;
//!     let mut under_way = 0;
//!     while under_way < waiting && pacer.is_ready(now) {
//!         pacer.sent(now);
//!         under_way += 1;
//!     }
//!     now = now.after(Duration::from_millis(20));
//!     for _ in 0..under_way {
//!         match server.take(now) {
//!             Ok(()) => {
//!                 waiting -= 1;
//!                 pacer.accepted(now, sent);
//!             }
//!             Err(next) => {
//!                 refused += 1;
//!                 pacer.throttled(now, sent, Some(next.since(now)));
//!             }
//!         }
//!     }
//!     if !pacer.is_ready(now) {
//!         now = pacer.deadline().expect("it says when to ask again").at;
//!     }
//! }
//! assert!(refused < 12, "it has learned the limit after the first flight");
//! assert!(now.since(Time::ZERO) < Duration::from_secs(8));
//! ```

mod bucket;
mod pacer;
mod rate;
mod window;

#[cfg(test)]
#[path = "tests/fairness.rs"]
mod fairness;
#[cfg(test)]
#[path = "tests/support.rs"]
mod support;

pub use bucket::TokenBucket;
pub use pacer::{Pace, Pacer};
pub use rate::{ParseRateError, Rate};
pub use window::Window;
