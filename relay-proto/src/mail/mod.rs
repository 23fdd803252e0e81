//! Mail through a relay: the client and the relay, and the frames between them.
pub mod client;
pub mod relay;
pub mod wire;
