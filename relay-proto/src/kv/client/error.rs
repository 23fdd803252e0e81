//! What can go wrong with a call, and who is at fault.

use super::Call;
use crate::{
    kv::wire::{Code, Failure, MAX_NUMBER},
    link::LinkError,
};
use alloc::{boxed::Box, string::String};

/// Why a call has no answer, or a link has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The service refused the call; nothing was changed.
    #[error("the service refused it: {0}")]
    Refused(Failure),
    /// It was not answered in time; nothing was changed.
    #[error("not answered in time")]
    Timeout,
    /// It changes something and was sent, and then its answer got lost: it may have been applied, once, or not.
    #[error("sent, but the answer got lost, so it may or may not have been applied: {0}")]
    InDoubt(Box<Self>),
    /// The service cannot be reached, or the link to it broke.
    #[error("no connection to the service: {0}")]
    Connection(LinkError),
    /// The service refused the key or the token. It will again, until it is given another.
    #[error("the service refused the key or token (HTTP status {status})")]
    Credential {
        /// The HTTP status code: 401 or 403.
        status: u16,
    },
    /// The client was told to disconnect.
    #[error("the client was told to disconnect")]
    Disconnected,
    /// The service does not remember what it was asked before: it was down for too long, or keeps nothing on disk.
    #[error("the service does not remember what it was asked")]
    Forgotten,
    /// The value is not UTF-8, and the service speaks the plain dialect, which has only text.
    #[error("the value is not UTF-8, and this service takes only text")]
    NotText,
    /// The answer makes no sense.
    #[error("the service gave an answer that makes no sense")]
    Unintelligible,
    /// The service broke the protocol between us.
    #[error("the service broke the protocol: {reason}")]
    Protocol {
        /// How.
        reason: String,
    },
}

impl CallError {
    /// The code with which the service refused the call, where it did.
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(failure) => Some(failure.code),
            _ => None,
        }
    }

    /// Whether there is no such key (code 404).
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(Code::NOT_FOUND)
    }

    /// Whether the token does not reach so far (code 403).
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(Code::FORBIDDEN)
    }

    /// Whether the call may have been applied all the same.
    pub const fn is_in_doubt(&self) -> bool {
        matches!(self, Self::InDoubt(_))
    }

    /// What becomes of a call that was sent and is not answered over this.
    pub(super) fn after_sending(self, call: &Call) -> Self {
        if call.operation.changes() && !self.is_in_doubt() {
            Self::InDoubt(Box::new(self))
        } else {
            self
        }
    }
}

/// A call the client did not take, whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
#[non_exhaustive]
pub struct Refused {
    /// What was refused.
    pub call: Call,
    /// Why.
    pub why: Refusal,
}

/// Why a call was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The queue is full, in calls or in bytes.
    #[error("the queue is full: {waiting} calls wait, {bytes} bytes are held")]
    Full {
        /// How many calls wait.
        waiting: usize,
        /// How many bytes are held.
        bytes: usize,
    },
    /// What is to be added is no number that JavaScript has exactly, too.
    #[error("{by} is further from zero than {MAX_NUMBER}")]
    NumberTooLarge {
        /// What was to be added.
        by: i64,
    },
    /// The client shuts down or has ended.
    #[error("the client is shutting down")]
    ShuttingDown,
}
