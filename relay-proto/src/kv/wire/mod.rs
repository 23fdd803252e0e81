//! What client and service say to each other: JSON objects, the same in both dialects.
//!
//! In the plain dialect each is one WebSocket text message; in the durable one each is the body of a control frame of a
//! [session](crate::session). A client sends
//!
//! | `op` | name | fields besides `messageId` |
//! | --- | --- | --- |
//! | 1 | GET | `key` |
//! | 2 | SET | `key`, `value`; optional `encoding` |
//! | 3 | PATCH | `key`, `value`; optional `encoding` |
//! | 4 | DELETE | `key` |
//! | 5 | RANGE | `key`, `endKey`; optional `limit` |
//! | 6 | ATOMIC | `key`, `value` (a whole number) |
//! | 7 | hello | `durable: {client}`; optional in it `session` with `receiveNext`, and `after` with `store` |
//!
//! and, in the durable dialect, with each of 1 to 6 also `settled`. A service sends answers, which have the `messageId` of the request
//! and a `code`:
//!
//! | answer | `code` | fields |
//! | --- | --- | --- |
//! | to GET | 200 | `key`, `value`; optional `encoding` |
//! | to SET, PATCH, DELETE | 200 | `success: true` |
//! | to RANGE | 200 | `records: [{key, value, encoding?}]`, `count`, `truncated` |
//! | to ATOMIC | 200 | `success: true`, `newValue` |
//! | to hello | 200 | `durable: {session, receiveNext, expiresInMs, heartbeatMs, maxCalls, known, sequence, store}`; optional in it `gone` |
//! | to anything | another | `error`; optional `retryAfterMs` |
//!
//! and, told apart by `type`, what nobody has asked for:
//!
//! | `type` | fields |
//! | --- | --- |
//! | `notification` | `key`, `value` (null: deleted); optional `encoding`, `timestamp`, `sequence` |
//! | `missed` | `after`, `first` |
//!
//! A value is bytes. It travels as the text it is, or, where it is not UTF-8, as base64 with `"encoding":"base64"` beside it. Unknown
//! fields and unknown types are ignored; an optional field that is `null` counts as absent. What is wrong otherwise is [`Malformed`].
//!
//! ```
//! use relay_proto::kv::wire::{ClientMessage, Operation, Request, decode_client, encode_client};
//!
//! let request = ClientMessage::Call(Request {
//!     message_id: 1,
//!     settled: None,
//!     operation: Operation::Set { key: "greeting".into(), value: "hello".into() },
//! });
//! let json = encode_client(&request);
//! assert_eq!(json, r#"{"op":2,"key":"greeting","value":"hello","messageId":1}"#);
//! assert_eq!(decode_client(&json), Ok(request));
//! ```

mod fields;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{decode_client, decode_service};
pub use write::{encode_client, encode_service};

use super::{ClientId, StoreId};
use crate::session::SessionId;
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::{fmt, time::Duration};

/// The largest number that crosses the wire in either direction, and the smallest without its sign: 2^53 - 1, up to where a JavaScript
/// number is exact.
pub const MAX_NUMBER: i64 = (1 << 53) - 1;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a service must handle every message of the dialect"
)]
pub enum ClientMessage {
    /// A call.
    Call(Request),
    /// It asks for the durable dialect. Only ever the first message on a link.
    Hello {
        /// The number the answer comes under.
        message_id: u64,
        /// What it asks for.
        hello: Hello,
    },
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends must fill in and heed every field of the dialect"
)]
pub struct Request {
    /// The number its answer comes under; up to [`MAX_NUMBER`]. In the durable dialect it grows with every call of a client.
    pub message_id: u64,
    /// Durable dialect: the calls up to this number need no answer any more.
    pub settled: Option<u64>,
    /// What to do.
    pub operation: Operation,
}

/// What a call does.
///
/// `Debug` shows neither keys nor values, only their length.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "both ends must handle every operation of the dialect"
)]
pub enum Operation {
    /// Asks for a value.
    Get {
        /// Whose.
        key: String,
    },
    /// Makes the value be this one.
    Set {
        /// Whose.
        key: String,
        /// The value.
        value: Bytes,
    },
    /// Changes a value: merges two JSON objects (RFC 7396), appends otherwise.
    Patch {
        /// Whose.
        key: String,
        /// What to merge in or to append.
        value: Bytes,
    },
    /// Makes the key be gone.
    Delete {
        /// Which one.
        key: String,
    },
    /// Asks for all from `key` to `end_key`, both included, in the order of their keys' bytes.
    Range {
        /// The first key.
        key: String,
        /// The last key.
        end_key: String,
        /// The most records to be sent.
        limit: Option<u64>,
    },
    /// Adds to a number.
    Increment {
        /// Whose.
        key: String,
        /// How much to add; within [`MAX_NUMBER`] of zero.
        by: i64,
    },
}

impl Operation {
    /// The value of the `op` field.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Get { .. } => 1,
            Self::Set { .. } => 2,
            Self::Patch { .. } => 3,
            Self::Delete { .. } => 4,
            Self::Range { .. } => 5,
            Self::Increment { .. } => 6,
        }
    }

    /// The operation's name in the protocol.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "GET",
            Self::Set { .. } => "SET",
            Self::Patch { .. } => "PATCH",
            Self::Delete { .. } => "DELETE",
            Self::Range { .. } => "RANGE",
            Self::Increment { .. } => "ATOMIC",
        }
    }

    /// Whether it may change something, so that doing it twice is not the same as doing it once.
    pub const fn changes(&self) -> bool {
        match self {
            Self::Set { .. }
            | Self::Patch { .. }
            | Self::Delete { .. }
            | Self::Increment { .. } => true,
            Self::Get { .. } | Self::Range { .. } => false,
        }
    }

    /// The key it is about; of a range, the first.
    pub fn key(&self) -> &str {
        let (Self::Get { key }
        | Self::Set { key, .. }
        | Self::Patch { key, .. }
        | Self::Delete { key }
        | Self::Range { key, .. }
        | Self::Increment { key, .. }) = self;
        key
    }

    /// The length of its keys and its value in bytes.
    pub fn len(&self) -> usize {
        self.key().len()
            + match self {
                Self::Set { value, .. } | Self::Patch { value, .. } => value.len(),
                Self::Range { end_key, .. } => end_key.len(),
                Self::Get { .. } | Self::Delete { .. } | Self::Increment { .. } => 0,
            }
    }

    /// Whether it has neither key nor value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, key) = (self.name(), self.key().len());
        match self {
            Self::Get { .. } | Self::Delete { .. } | Self::Increment { .. } => {
                write!(f, "{name}(key of {key} bytes)")
            }
            Self::Set { value, .. } | Self::Patch { value, .. } => {
                write!(f, "{name}(key of {key} bytes, {} bytes)", value.len())
            }
            Self::Range { end_key, limit, .. } => {
                let end = end_key.len();
                write!(f, "{name}(keys of {key} and {end} bytes, limit {limit:?})")
            }
        }
    }
}

/// A client asks for the durable dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends must fill in and heed every field of the dialect"
)]
pub struct Hello {
    /// Who it is.
    pub client: ClientId,
    /// The session it has; none: in a new one.
    pub resume: Option<Resume>,
    /// Up to where it has seen the changes; none: it wants to know only those yet to come.
    pub after: Option<Seen>,
}

/// The session a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a session and where it goes on")]
pub struct Resume {
    /// Which one.
    pub session: SessionId,
    /// The number of the next frame the client wants.
    pub receive_next: u64,
}

/// Up to where a client has seen the changes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a number and whose it is")]
pub struct Seen {
    /// The number of the last change it has seen, zero where it has seen none.
    pub sequence: u64,
    /// In which store: another one's numbers mean nothing. None: whichever there is.
    pub store: Option<StoreId>,
}

/// What a service says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a client must handle every message of the dialect"
)]
pub enum ServiceMessage {
    /// The answer to a call or a hello.
    Answer(Answer),
    /// A key the connection is subscribed to has changed.
    Notification(Notification),
    /// Changes are not told.
    Missed(Missed),
}

/// The answer to a call or a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a number and what it is about")]
pub struct Answer {
    /// Whose. None: what it answers had no number that could be read.
    pub message_id: Option<u64>,
    /// What became of it.
    pub result: Result<Success, Failure>,
}

/// What a call has brought.
///
/// `Debug` shows neither keys nor values, only their length.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "both ends must handle every answer of the dialect"
)]
pub enum Success {
    /// To GET.
    Value(Record),
    /// To SET, PATCH and DELETE: it is done.
    Done,
    /// To RANGE.
    Records {
        /// The records, in the order of their keys.
        records: Vec<Record>,
        /// Whether there are more.
        truncated: bool,
    },
    /// To ATOMIC.
    Incremented {
        /// The number as it is now.
        new_value: i64,
    },
    /// To hello.
    Granted(Grant),
}

impl fmt::Debug for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(record) => write!(f, "Value({record:?})"),
            Self::Done => f.write_str("Done"),
            Self::Records { records, truncated } => {
                let count = records.len();
                write!(f, "Records({count} records, truncated: {truncated})")
            }
            Self::Incremented { .. } => f.write_str("Incremented(…)"),
            Self::Granted(grant) => write!(f, "Granted({grant:?})"),
        }
    }
}

/// A key and its value.
///
/// `Debug` shows only their length.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a key and its value")]
pub struct Record {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = (self.key.len(), self.value.len());
        write!(f, "Record(key of {key} bytes, {value} bytes)")
    }
}

/// Why a call has brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error} ({code})")]
#[expect(clippy::exhaustive_structs, reason = "what the dialect says")]
pub struct Failure {
    /// What kind of failure; never [`Code::OK`].
    pub code: Code,
    /// What is wrong, for people.
    pub error: String,
    /// When it makes sense to try again; whole milliseconds on the wire.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a word on when to try again.
    pub fn new(code: Code, error: impl Into<String>) -> Self {
        Self {
            code,
            error: error.into(),
            retry_after: None,
        }
    }
}

/// What an answer says to programs: numbers with the meaning they have in HTTP (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "it is a number")]
pub struct Code(pub u16);

impl Code {
    /// It is done.
    pub const OK: Self = Self(200);
    /// The request makes no sense.
    pub const BAD_REQUEST: Self = Self(400);
    /// The key lies outside of what the connection may see or change.
    pub const FORBIDDEN: Self = Self(403);
    /// There is no such key.
    pub const NOT_FOUND: Self = Self(404);
    /// The key or the value is longer than may be.
    pub const TOO_LARGE: Self = Self(413);
    /// Too many calls at once; this one was not applied.
    pub const TOO_MANY_REQUESTS: Self = Self(429);
    /// Not at the moment; it was not applied.
    pub const UNAVAILABLE: Self = Self(503);
    /// The store is full; it was not applied.
    pub const FULL: Self = Self(507);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A service grants the durable dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends must fill in and heed every field of the dialect"
)]
pub struct Grant {
    /// The session: the one asked for, or a new one.
    pub session: SessionId,
    /// The number of the next frame the service wants.
    pub receive_next: u64,
    /// How long the session lives without a link; whole milliseconds on the wire.
    pub expires_in: Duration,
    /// How often each side shows life; whole milliseconds on the wire.
    pub heartbeat: Duration,
    /// The most calls that may wait for their answer, or be answered and not settled, at once.
    pub max_calls: u64,
    /// Whether the service remembers this client: which of its calls were applied.
    pub known: bool,
    /// The number of the last change of the store.
    pub sequence: u64,
    /// The store.
    pub store: StoreId,
    /// Why the session asked for is gone and this is a new one.
    pub gone: Option<String>,
}

/// A key the connection is subscribed to has changed.
///
/// `Debug` shows neither key nor value, only their length.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what the dialect says")]
pub struct Notification {
    /// Which one.
    pub key: String,
    /// Its value now; none: it is gone.
    pub value: Option<Bytes>,
    /// When it was changed, in milliseconds of Unix time.
    pub timestamp: Option<u64>,
    /// The how manieth change of the store it was; a service that is not ours may not tell.
    pub sequence: Option<u64>,
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("key", &format_args!("{} bytes", self.key.len()))
            .field("value", &self.value.as_ref().map(Bytes::len))
            .field("timestamp", &self.timestamp)
            .field("sequence", &self.sequence)
            .finish()
    }
}

/// Some changes are not told: whoever keeps what it was told has to read it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what the dialect says")]
pub struct Missed {
    /// The last change before the gap, as far as the client has said or was told.
    pub after: u64,
    /// The first change that may be told again.
    pub first: u64,
}

/// What is not a message of the dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
#[expect(clippy::exhaustive_structs, reason = "what there is to say of it")]
pub struct Malformed {
    /// The number it has, where that could be read.
    pub message_id: Option<u64>,
    /// What is wrong and where. It repeats nothing of the content.
    pub problem: String,
}

impl Malformed {
    /// The answer of a service to whoever has sent this.
    pub fn to_answer(&self) -> Answer {
        Answer {
            message_id: self.message_id,
            result: Err(Failure::new(Code::BAD_REQUEST, &*self.problem)),
        }
    }
}
