//! The Simple Mail Transfer Protocol (RFC 5321): its grammar, and both ends of a session as pure state machines.

mod address;
mod envelope;

pub use address::{Address, AddressError, ForwardPath, HostName, ReversePath};
pub use envelope::{Envelope, EnvelopeError};
