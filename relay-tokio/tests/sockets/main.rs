//! Links over real sockets, on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod accept;
mod common;
mod dial;
mod probe;
mod secure;
mod websocket;
