//! Mail through a relay: the client and the relay, and the frames between them.
pub mod client;
#[cfg(feature = "lettre")]
pub mod lettre;
pub mod relay;
pub mod wire;
