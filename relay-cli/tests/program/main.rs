//! The program itself, as people and service managers run it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod arguments;
mod bench;
mod bridge;
#[cfg(unix)]
mod compose;
#[cfg(unix)]
mod console;
mod demo;
#[cfg(target_os = "linux")]
mod faults;
mod harness;
#[cfg(unix)]
mod keys;
mod own_runtime;
mod round;
mod route;
#[cfg(unix)]
mod screen;
mod sendmail;
#[path = "../shared/mod.rs"]
mod shared;
#[cfg(unix)]
mod stopping;
mod trouble;
