//! Mail on async-std: handles to the machines of [`relay_proto::mail`].
//!
//! ```no_run
//! use relay_proto::{mail::{client::{ClientConfig, Submission}, wire::ApiKey}, smtp::{Address, Envelope}};
//! use relay_async_std::{Config, mail::Client};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { async_std::task::block_on(async {
//! let config = ClientConfig::new("wss://relay.example/".parse()?, ApiKey::new("the key"));
//! let client = Client::start(config, Config::default());
//! let alice: Address = "alice@example.org".parse()?;
//! let bob: Address = "bob@example.net".parse()?;
//! let envelope = Envelope::new(alice, [bob])?;
//! let receipt = client.send(Submission::message(envelope, "Subject: hello\r\n\r\nHello, Bob.\r\n".into())).await?;
//! println!("accepted: {}", receipt.reply);
//! # Ok(())
//! # }) }
//! ```

use crate::AsyncStd;

#[cfg(feature = "lettre")]
pub mod lettre;

pub use relay_async::mail::{KeyDirectory, Missed, Presented, SendError, Ticket};

/// A running mail client. Cheap to clone; all clones are the same client.
pub type Client = relay_async::mail::Client<AsyncStd>;

/// A running mail relay. Cheap to clone; all clones are the same relay.
pub type Relay = relay_async::mail::Relay<AsyncStd>;
