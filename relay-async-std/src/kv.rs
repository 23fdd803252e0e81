//! Key-value calls on async-std: handles to the machines of [`relay_proto::kv`].
//!
//! ```no_run
//! use relay_proto::kv::client::{ClientConfig, Credential};
//! use relay_async_std::{Config, kv::Client};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { async_std::task::block_on(async {
//! let config = ClientConfig::new("wss://kv.example".parse()?, Credential::ApiKey("the key".into()));
//! let client = Client::start(config, Config::default());
//! client.set("greeting", "hello").await?;
//! println!("visitor number {}", client.increment("visits", 1).await?);
//! # Ok(())
//! # }) }
//! ```

use crate::AsyncStd;
use relay_async::Config;
use relay_proto::kv::{
    client::{Credential, ServiceUrl},
    token::{Scope, TokenError},
};
use std::time::Duration;

pub use relay_async::kv::{NoAnswer, Ticket};

/// A running key-value client. Cheap to clone; all clones are the same client.
pub type Client = relay_async::kv::Client<AsyncStd>;

/// Asks `service` for a token, as the owner of `key`, for up to `patience`: what to connect with, or to hand to who is to connect.
///
/// # Errors
///
/// Where there is none, and why.
pub async fn request_token(
    service: &ServiceUrl,
    key: &str,
    scope: &Scope,
    patience: Duration,
    transport: Config,
) -> Result<Credential, TokenError> {
    relay_async::kv::request_token::<AsyncStd>(service, key, scope, patience, transport).await
}
