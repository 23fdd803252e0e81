//! Key-value calls over a link: the [words](wire) of the HPKV WebSocket protocol, and what the durable dialect adds to them.
//!
//! A client asks with numbered requests and is answered by their number. Where both ends speak the durable dialect, calls survive
//! the link they were sent on, and one that changes something is applied once. The protocol is described for implementers in
//! `docs/key-value.md`.

pub mod client;
mod id;
pub mod service;
pub mod token;
pub mod wire;

pub use id::{ClientId, IdError, StoreId};
