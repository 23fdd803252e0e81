//! A transport for programs that send with lettre, on tokio: see [`relay_async::mail::lettre`].
//!
//! ```no_run
//! use lettre::{AsyncTransport, Message};
//! use relay_tokio::mail::lettre::RelayTransport;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mailer = RelayTransport::from_url("wss://relay.example/", "my key")?;
//! let message = Message::builder()
//!     .from("Alice <alice@example.org>".parse()?)
//!     .to("Bob <bob@example.net>".parse()?)
//!     .subject("Hello")
//!     .message_id(None)
//!     .body("Hello, Bob.\n".to_owned())?;
//! let receipt = mailer.send(message).await?;
//! println!("{}; refused: {:?}", receipt.reply, receipt.rejected);
//! # Ok(())
//! # }
//! ```

use crate::Tokio;

pub use relay_async::mail::lettre::Error;

/// Sends lettre's messages through a relay. Cheap to clone; all clones are the same client.
pub type RelayTransport = relay_async::mail::lettre::RelayTransport<Tokio>;
