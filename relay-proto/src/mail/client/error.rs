//! What can go wrong with a submission, and who is at fault.

use super::Submission;
use crate::{
    link::LinkError,
    mail::wire::{ChannelError, Denied, Violation},
    smtp::{Code, DialogueError, Reply},
    storage::StorageError,
};
use alloc::boxed::Box;
use core::time::Duration;

/// Why a submission failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The relay cannot be reached, or the link to it broke too often.
    #[error("no connection to the relay: {0}")]
    Connection(LinkError),
    /// The relay refused the API key.
    #[error("the relay refused the API key: {}", .0.error)]
    Authentication(Denied),
    /// The relay could not give us an SMTP channel, or took it away.
    #[error("the relay has no channel for us: {}", .0.error)]
    Channel(ChannelError),
    /// The SMTP server refused the message, or did not follow SMTP.
    #[error(transparent)]
    Message(DialogueError),
    /// A step took too long.
    #[error("{0}")]
    Timeout(Timeout),
    /// The relay broke the protocol between us.
    #[error("the relay broke the protocol: {}", .0.reason)]
    Protocol(Violation),
    /// The message was sent whole, and then the reply got lost: it may have been delivered or not.
    #[error("sent, but the reply got lost, so it may or may not have been delivered: {0}")]
    InDoubt(Box<Self>),
    /// An earlier client with this outbox ended while it was being sent.
    #[error("the program ended while it was being sent")]
    Interrupted,
    /// The relay cannot say what became of it.
    #[error("the relay does not know what became of it")]
    NotKnown,
    /// It is more than the relay takes, as the relay said after it was queued.
    #[error("the relay does not take it: {0}")]
    Limits(Refusal),
    /// It waited longer than its maximum age.
    #[error("waited {} s in the queue, longer than allowed", waited.as_secs())]
    Expired {
        /// How long it had waited.
        waited: Duration,
    },
}

/// Which patience ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Timeout {
    /// The relay did not open a channel in time.
    #[error("the relay did not open an SMTP channel in time")]
    Channel,
    /// The message could not be sent whole in time.
    #[error("the message could not be sent whole in time")]
    Message,
    /// The server did not answer the end of data in time.
    #[error("the server did not say in time what became of the message")]
    Outcome,
}

impl Error {
    /// Whether the same submission may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection(LinkError::Open(why)) => !why.is_permanent(),
            Self::Connection(_) | Self::Timeout(_) => true,
            Self::Channel(error) => !refused_for_good(error),
            Self::Authentication(denied) => !denied.is_permanent(),
            Self::Message(error) => error.is_transient(),
            Self::Protocol(_)
            | Self::InDoubt(_)
            | Self::Interrupted
            | Self::NotKnown
            | Self::Limits(_)
            | Self::Expired { .. } => false,
        }
    }

    /// Whether the same submission fails again until something is changed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Connection(LinkError::Open(why)) => why.is_permanent(),
            Self::Authentication(denied) => denied.is_permanent(),
            Self::Channel(error) => refused_for_good(error),
            Self::Message(error) => error.is_permanent(),
            Self::Limits(_) => true,
            _ => false,
        }
    }

    /// The SMTP reply behind the error, where there is one.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Message(error) => error.reply(),
            _ => None,
        }
    }

    /// How long the relay asks to wait before another try.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Channel(error) => error.retry_after,
            Self::Authentication(denied) => denied.retry_after,
            _ => None,
        }
    }
}

/// Whether a relay has refused a channel with a permanent reply code, and names no time to come back.
fn refused_for_good(error: &ChannelError) -> bool {
    error.retry_after.is_none()
        && error
            .code
            .and_then(Code::new)
            .is_some_and(Code::is_permanent)
}

/// A submission the client did not take, whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
#[non_exhaustive]
pub struct Refused {
    /// What was refused.
    pub submission: Box<Submission>,
    /// Why.
    pub why: Refusal,
}

/// Why a submission was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The queue is full, in submissions or in bytes.
    #[error("the queue is full: {waiting} submissions, {bytes} bytes")]
    Full {
        /// How many submissions wait.
        waiting: usize,
        /// How many bytes are held.
        bytes: usize,
    },
    /// The relay takes no message of this size.
    #[error("{bytes} bytes are more than the {limit} the relay takes")]
    TooLarge {
        /// The content's length.
        bytes: usize,
        /// The relay's limit.
        limit: u64,
    },
    /// The relay takes no message with this many recipients.
    #[error("{recipients} recipients are more than the {limit} the relay takes")]
    TooManyRecipients {
        /// How many there are.
        recipients: usize,
        /// The relay's limit.
        limit: u64,
    },
    /// The outbox on disk cannot take it.
    #[error(transparent)]
    Storage(StorageError),
    /// The client shuts down or has ended.
    #[error("the client is shutting down")]
    ShuttingDown,
}
