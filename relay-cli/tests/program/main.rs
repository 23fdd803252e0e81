//! The program itself, as people and service managers run it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod arguments;
mod bridge;
#[path = "../../../relay-transport/tests/support/certificates.rs"]
mod certificates;
#[cfg(unix)]
mod compose;
#[cfg(unix)]
mod console;
mod demo;
mod harness;
mod own_runtime;
#[path = "../../../relay-transport/tests/support/proxy.rs"]
mod proxy;
mod round;
mod route;
#[cfg(unix)]
mod screen;
mod sendmail;
#[cfg(unix)]
mod stopping;
mod trouble;
