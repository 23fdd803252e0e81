//! The program itself, as people and service managers run it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod arguments;
mod bridge;
mod demo;
mod harness;
mod own_runtime;
mod round;
mod sendmail;
#[path = "../shared/mod.rs"]
mod shared;
#[cfg(unix)]
mod stopping;
mod trouble;
