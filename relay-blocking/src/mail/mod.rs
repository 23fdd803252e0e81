//! Mail on plain threads: handles to the machines of [`relay_proto::mail`].

mod client;
#[cfg(feature = "lettre")]
pub mod lettre;
mod local;
mod relay;

pub use crate::news::Events;
pub use client::{Client, Ticket};
pub use local::LocalClient;
pub use relay::{KeyDirectory, Relay};
pub use relay_proto::{
    Missed,
    mail::{client::SendError, relay::Presented},
};
