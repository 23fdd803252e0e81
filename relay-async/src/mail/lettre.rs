//! A transport for programs that send with [lettre].
//!
//! One line changes: where the program made lettre's own transport, it makes a [`RelayTransport`].
//!
//! ```no_run
//! use lettre::{AsyncTransport, Message};
//! use relay_async::{Runtime, mail::lettre::RelayTransport};
//!
//! # async fn send<R: Runtime>() -> Result<(), Box<dyn std::error::Error>> {
//! // Was: AsyncSmtpTransport::<Tokio1Executor>::from_url("smtps://…")?.build()
//! let mailer = RelayTransport::<R>::from_url("wss://relay.example/", "my key")?;
//!
//! let message = Message::builder()
//!     .from("Alice <alice@example.org>".parse()?)
//!     .to("Bob <bob@example.net>".parse()?)
//!     .subject("Hello")
//!     .message_id(None)
//!     .body("Hello, Bob.\n".to_owned())?;
//! match mailer.send(message).await {
//!     Ok(receipt) => println!("{}; refused: {:?}", receipt.reply, receipt.rejected),
//!     Err(error) if error.is_transient() => println!("another time: {error}"),
//!     Err(error) => println!("{:?}: {error}", error.status()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is other than with lettre's transport: see [`relay_proto::mail::lettre`].

use super::Client;
use crate::{Config, Runtime};
use ::lettre::AsyncTransport;
use async_trait::async_trait;
use bytes::Bytes;
use relay_proto::{
    EndpointError,
    mail::{
        client::{ClientConfig, Receipt},
        lettre::{Paths, submission},
        wire::ApiKey,
    },
};
use std::time::Duration;

pub use relay_proto::mail::lettre::Error;

/// Sends lettre's messages through a relay. Cheap to clone; all clones are the same client.
#[derive(Clone, Debug)]
pub struct RelayTransport<R>(Client<R>);

impl<R: Runtime> RelayTransport<R> {
    /// A client for the relay at `url` (`wss://` or `ws://`), with the defaults for everything else. For more choice make a
    /// [`Client`] and turn it into a transport with `from`.
    ///
    /// The key is not part of the URL, which ends up in logs.
    ///
    /// # Errors
    ///
    /// Where `url` is no WebSocket URL.
    pub fn from_url(url: &str, api_key: &str) -> Result<Self, EndpointError> {
        let config = ClientConfig::new(url.parse()?, ApiKey::new(api_key));
        Ok(Client::start(config, Config::default()).into())
    }

    /// The client below, for what lettre has no word for: priorities, the queue, events, raw dialogues.
    pub const fn client(&self) -> &Client<R> {
        &self.0
    }
}

impl<R> From<Client<R>> for RelayTransport<R> {
    fn from(client: Client<R>) -> Self {
        Self(client)
    }
}

#[async_trait]
impl<R: Runtime> AsyncTransport for RelayTransport<R> {
    type Ok = Receipt;
    type Error = Error;

    async fn send_raw(&self, paths: &Paths, content: &[u8]) -> Result<Receipt, Error> {
        let submission = submission(paths, Bytes::copy_from_slice(content))?;
        Ok(self.0.send(submission).await?)
    }

    /// Takes no more messages and waits until those it has are settled, however long the client tries.
    ///
    /// [`Client::shutdown`] waits for a limited time and hands back what is left.
    async fn shutdown(&self) {
        self.0.shutdown(Duration::MAX).await;
    }
}
