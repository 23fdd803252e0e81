//! The program `relay` over real sockets, with peers others have written, and with some that mean harm.
//!
//! The peers come from `.ci/setup`. Where one is missing its tests say `SKIPPED` and pass, or fail where
//! `RELAY_TEST_REQUIRE_PEERS` is set.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod base_dialect;
mod faulty_upstreams;
mod hostile_clients;
mod hostile_relays;
mod key_value;
mod large_message;
mod logins;
#[cfg(target_os = "linux")]
mod mail_servers;
mod mailers;
#[path = "../shared/mod.rs"]
mod shared;
mod support;
mod upstreams;
