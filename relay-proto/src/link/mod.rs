//! What every protocol needs of a link: liveness, reconnecting, its life cycle.

mod backoff;
mod chatter;
mod heartbeat;
mod uplink;

pub use backoff::{Backoff, BackoffPolicy};
pub(crate) use chatter::Chatter;
pub use heartbeat::{Heartbeat, Pulse};
pub use uplink::LinkError;
pub(crate) use uplink::{Change, Uplink, UplinkPolicy};
