//! Mail on tokio: handles to the machines of [`relay_proto::mail`].

mod client;
mod news;
mod relay;

pub use client::{Client, SendError, Ticket};
pub use news::Missed;
pub use relay::{KeyDirectory, Presented, Relay};
