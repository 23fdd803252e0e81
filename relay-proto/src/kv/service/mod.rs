//! x
mod account;
mod config;
mod merge;
mod pattern;
mod token;
pub use account::{KeyDigest, Policy};
pub use config::ServiceConfig;
