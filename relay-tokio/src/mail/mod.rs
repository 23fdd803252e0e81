//! Mail on tokio: handles to the machines of [`relay_proto::mail`].

mod client;

pub use client::{Client, Missed, SendError, Ticket};
