//! A transport for programs that send with lettre, on smol: see [`relay_async::mail::lettre`].
//!
//! ```no_run
//! use lettre::{AsyncTransport, Message};
//! use relay_smol::mail::lettre::RelayTransport;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
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
//! # }) }
//! ```

use crate::Smol;

pub use relay_async::mail::lettre::Error;

/// Sends lettre's messages through a relay. Cheap to clone; all clones are the same client.
pub type RelayTransport = relay_async::mail::lettre::RelayTransport<Smol>;
