//! What client and relay say to each other: the frames of the base dialect, and the words of the durable one.
//!
//! A frame is one WebSocket text message holding one JSON object, told apart by `type`:
//!
//! | type | sender | fields |
//! | --- | --- | --- |
//! | `AUTHENTICATE` | client | `apiKey`; optional `agent` |
//! | `AUTHENTICATE_RESPONSE` | relay | `success`; on failure `error`, optional `retryAfterMs`, `permanent`; on success optional `limits: {maxMessageBytes, maxRecipients}` |
//! | `SMTP_CHANNEL_OPEN` | client | |
//! | `SMTP_CHANNEL_READY` | relay | |
//! | `SMTP_TO_SERVER` | client | either `data` (text) or `dataBase64` (bytes that are not UTF-8) |
//! | `SMTP_FROM_SERVER` | relay | the same |
//! | `SMTP_CHANNEL_CLOSED` | both | optional `reason` |
//! | `SMTP_CHANNEL_ERROR` | relay | `error`; optional `code`, `retryAfterMs` |
//!
//! Unknown fields and unknown types are ignored; an optional field that is `null` counts as absent.
//! Whatever else is wrong is a [`Violation`], which says with what to close the link.
//!
//! The durable dialect is asked for with [`DurableRequest`] and granted with [`DurableGrant`]. Its frames are those of a
//! [session](crate::session); their control frames carry [`Word`]s. The client asks for it by default; the relay does not grant it yet.

mod codec;
mod durable;
mod fields;
mod key;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod words_tests;

pub use codec::{data_chunk, decode, encode};
pub use durable::{DurableGrant, DurableRequest, Word, decode_word, encode_word};
pub use key::ApiKey;

use crate::CloseCode;
use alloc::string::String;
use bytes::Bytes;
use core::{fmt, time::Duration};

/// The relay has refused the API key, for good.
pub const AUTHENTICATION_REFUSED: CloseCode = CloseCode(4001);

/// The client did not authenticate in time.
pub const AUTHENTICATION_TIMEOUT: CloseCode = CloseCode(4008);

/// What one frame says.
///
/// `Debug` shows neither keys nor SMTP content, only its length.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "both ends must handle every message of the dialect"
)]
pub enum Message {
    /// Client: who I am. The first message on every link.
    Authenticate {
        /// The secret that identifies the client.
        api_key: ApiKey,
        /// Name and version of the client's software, for the relay's logs.
        agent: Option<String>,
        /// Whether it asks for the durable dialect.
        durable: Option<DurableRequest>,
    },
    /// Relay: whether the key is good.
    AuthenticateResponse(Result<Granted, Denied>),
    /// Client: open the SMTP channel.
    ChannelOpen,
    /// Relay: the channel is open; the SMTP greeting follows.
    ChannelReady,
    /// Client: SMTP bytes for the relay. Frame boundaries mean nothing to SMTP.
    ToServer(Bytes),
    /// Relay: SMTP bytes for the client. Frame boundaries mean nothing to SMTP.
    FromServer(Bytes),
    /// Either: the channel is closed.
    ChannelClosed {
        /// Why, for people.
        reason: Option<String>,
    },
    /// Relay: the channel could not be opened, or broke.
    ChannelError(ChannelError),
}

impl Message {
    /// The value of the frame's `type` field.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Authenticate { .. } => "AUTHENTICATE",
            Self::AuthenticateResponse(_) => "AUTHENTICATE_RESPONSE",
            Self::ChannelOpen => "SMTP_CHANNEL_OPEN",
            Self::ChannelReady => "SMTP_CHANNEL_READY",
            Self::ToServer(_) => "SMTP_TO_SERVER",
            Self::FromServer(_) => "SMTP_FROM_SERVER",
            Self::ChannelClosed { .. } => "SMTP_CHANNEL_CLOSED",
            Self::ChannelError(_) => "SMTP_CHANNEL_ERROR",
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Authenticate { agent, durable, .. } => {
                write!(f, " agent {agent:?}")?;
                match durable {
                    Some(request) => write!(f, " {request:?}"),
                    None => Ok(()),
                }
            }
            Self::AuthenticateResponse(response) => write!(f, " {response:?}"),
            Self::ChannelOpen | Self::ChannelReady => Ok(()),
            Self::ToServer(data) | Self::FromServer(data) => write!(f, " {} bytes", data.len()),
            Self::ChannelClosed { reason } => write!(f, " reason {reason:?}"),
            Self::ChannelError(error) => write!(f, " {error:?}"),
        }
    }
}

/// What a relay grants with a good key.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Granted {
    /// What the relay will refuse to take, as far as it says so.
    pub limits: Limits,
    /// The durable dialect, where it was asked for and is granted.
    pub durable: Option<DurableGrant>,
}

/// What a relay will refuse to take; `None` where it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// The largest message, in bytes.
    pub max_message_bytes: Option<u64>,
    /// The most recipients of one message.
    pub max_recipients: Option<u64>,
}

/// A refused key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Denied {
    /// Why, for people.
    pub error: String,
    /// When to try again; whole milliseconds on the wire.
    pub retry_after: Option<Duration>,
    /// Whether the same key will be refused again.
    pub permanent: Option<bool>,
}

impl Denied {
    /// A refusal that will not change.
    pub fn for_good(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            retry_after: None,
            permanent: Some(true),
        }
    }

    /// Whether the same key will be refused again. A relay that says neither that nor when to come back
    /// means it for good.
    pub fn is_permanent(&self) -> bool {
        self.permanent.unwrap_or(self.retry_after.is_none())
    }
}

/// A channel that could not be opened, or broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct ChannelError {
    /// Why, for people.
    pub error: String,
    /// The SMTP reply code that fits, where one does.
    pub code: Option<u16>,
    /// When to try again; whole milliseconds on the wire.
    pub retry_after: Option<Duration>,
}

/// A frame that breaks the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (close code {code})")]
pub struct Violation {
    /// With what to close the link.
    pub code: CloseCode,
    /// What is wrong, naming the field; without any of the frame's content. Fits a close frame.
    pub reason: String,
}
