//! Links over real sockets, on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod accept;
#[path = "../../../relay-transport/tests/support/certificates.rs"]
mod certificates;
mod common;
mod dial;
mod probe;
#[path = "../../../relay-transport/tests/support/proxy.rs"]
mod proxy;
mod route;
mod secure;
mod websocket;
