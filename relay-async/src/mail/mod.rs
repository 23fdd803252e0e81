//! Handles to the machines of [`relay_proto::mail`].

mod client;
#[cfg(feature = "lettre")]
pub mod lettre;
mod relay;

pub use client::{Client, Ticket};
pub use relay::{KeyDirectory, Relay};
pub use relay_proto::{
    Missed,
    mail::{client::SendError, relay::Presented},
};
