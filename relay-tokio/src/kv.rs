//! Key-value calls on tokio: handles to the machines of [`relay_proto::kv`].
//!
//! ```no_run
//! use relay_proto::kv::client::{ClientConfig, Credential};
//! use relay_tokio::{Config, kv::Client};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ClientConfig::new("wss://kv.example".parse()?, Credential::ApiKey("the key".into()));
//! let client = Client::start(config, Config::default());
//! client.set("greeting", "hello").await?;
//! println!("visitor number {}", client.increment("visits", 1).await?);
//! # Ok(())
//! # }
//! ```

use crate::Tokio;

pub use relay_async::kv::{NoAnswer, Ticket};

/// A running key-value client. Cheap to clone; all clones are the same client.
pub type Client = relay_async::kv::Client<Tokio>;
