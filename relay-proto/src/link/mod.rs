//! What every protocol needs of a link: liveness, reconnecting, its life cycle.

mod heartbeat;

pub use heartbeat::{Heartbeat, Pulse};
