//! The program itself, as people and service managers run it.

mod arguments;
mod demo;
mod harness;
mod round;
#[cfg(unix)]
mod stopping;
mod trouble;
