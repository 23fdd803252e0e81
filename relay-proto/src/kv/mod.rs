//! Key-value calls over a link: the [words](wire) of the HPKV WebSocket protocol, and what the durable dialect adds to them.
//!
//! A client asks with numbered requests and is answered by their number. Where both ends speak the durable dialect, calls survive
//! the link they were sent on, and one that changes something is applied once. The protocol is described for implementers in
//! `docs/key-value.md`.
//!
//! - [`client`]: makes calls, waits for links, and ends each call once.
//! - [`service`]: a store that is asked by any number of clients.
//! - [`token`]: asks a service for a token, for one who may do less than the owner of a key, and is told of changes.
//! - [`wire`]: what they say to each other.

pub mod client;
mod id;
pub mod service;
pub mod token;
pub mod wire;

pub use id::{ClientId, IdError, StoreId};
