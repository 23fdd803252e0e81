//! A transport for programs that send with [lettre].
//!
//! One line changes: where the program made lettre's own transport, it makes a [`RelayTransport`].
//!
//! ```no_run
//! use lettre::{Message, Transport};
//! use relay_blocking::mail::lettre::RelayTransport;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Was: SmtpTransport::from_url("smtps://…")?.build()
//! let mailer = RelayTransport::from_url("wss://relay.example/", "my key")?;
//!
//! let message = Message::builder()
//!     .from("Alice <alice@example.org>".parse()?)
//!     .to("Bob <bob@example.net>".parse()?)
//!     .subject("Hello")
//!     .message_id(None)
//!     .body("Hello, Bob.\n".to_owned())?;
//! match mailer.send(&message) {
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
use crate::Config;
use ::lettre::Transport;
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

/// Sends lettre's messages through a relay. Cheap to clone; all clones are the same client, from any thread.
#[derive(Clone, Debug)]
pub struct RelayTransport(Client);

impl RelayTransport {
    /// A client for the relay at `url` (`wss://` or `ws://`), with the defaults for everything else. For more choice make a
    /// [`Client`] and turn it into a transport with `from`.
    ///
    /// The key is not part of the URL, which ends up in logs.
    ///
    /// # Errors
    ///
    /// Where `url` is no WebSocket URL.
    ///
    /// # Panics
    ///
    /// As [`Client::start`].
    pub fn from_url(url: &str, api_key: &str) -> Result<Self, EndpointError> {
        let config = ClientConfig::new(url.parse()?, ApiKey::new(api_key));
        Ok(Client::start(config, Config::default()).into())
    }

    /// The client below, for what lettre has no word for: priorities, the queue, events, raw dialogues.
    pub const fn client(&self) -> &Client {
        &self.0
    }
}

impl From<Client> for RelayTransport {
    fn from(client: Client) -> Self {
        Self(client)
    }
}

impl Transport for RelayTransport {
    type Ok = Receipt;
    type Error = Error;

    fn send_raw(&self, paths: &Paths, content: &[u8]) -> Result<Receipt, Error> {
        let submission = submission(paths, Bytes::copy_from_slice(content))?;
        Ok(self.0.send(submission)?)
    }

    /// Takes no more messages and waits until those it has are settled, however long the client tries.
    ///
    /// [`Client::shutdown`] waits for a limited time and hands back what is left.
    fn shutdown(&self) {
        self.0.shutdown(Duration::MAX);
    }
}
