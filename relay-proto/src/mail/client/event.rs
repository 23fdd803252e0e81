//! What a client tells its application.

use super::{ConnectionState, Error, Refused, Submission, SubmissionId};
use crate::{
    Time,
    link::LinkError,
    mail::{DeliveryId, wire::Limits},
    outbox::Priority,
    pacing::Rate,
    smtp::{Exchange, ForwardPath, Reply},
    storage::StorageError,
};
use alloc::{boxed::Box, string::String, vec::Vec};
use core::time::Duration;

/// News from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A link is being opened.
    Connecting,
    /// The WebSocket is open.
    Connected,
    /// The relay has accepted the API key.
    Authenticated {
        /// What the relay takes at most.
        limits: Limits,
    },
    /// The relay goes on in the session there was: nothing that was under way is lost by the loss of the link.
    SessionResumed {
        /// How many submissions are under way in it.
        under_way: usize,
    },
    /// A session ended with submissions under way. They wait again; a relay with a ledger is asked what became of those that
    /// were sent whole.
    SessionGone {
        /// Why, for people.
        reason: Option<String>,
        /// How many submissions that is about.
        under_way: usize,
    },
    /// The link is gone, or could not be opened. Without an error the client closed it, for want of work or because it ends.
    Disconnected {
        /// What happened.
        error: Option<Error>,
    },
    /// The link will be opened again.
    Reconnecting {
        /// Which attempt it is, from 1.
        attempt: u32,
        /// How many are made; none: endless.
        of: Option<u32>,
        /// When.
        at: Time,
    },
    /// The connection's state has changed.
    StateChanged {
        /// What it was.
        from: ConnectionState,
        /// What it is.
        to: ConnectionState,
    },
    /// A submission was accepted into the queue; where the client keeps its outbox on disk, it is there.
    Queued {
        /// Which one.
        id: SubmissionId,
        /// Its lasting name.
        delivery: DeliveryId,
        /// Its priority.
        priority: Priority,
        /// How many submissions wait now.
        queue_size: usize,
    },
    /// A submission could not be written to the outbox on disk, and is not accepted.
    Refused {
        /// Which one.
        id: SubmissionId,
        /// The submission, and why.
        refused: Refused,
    },
    /// A submission an earlier client had accepted was found in the outbox on disk. Its end will be told like any other's.
    ///
    /// Its acceptance need not have been told: the earlier client may have ended between the disk's word and
    /// [`Queued`](Self::Queued). Its owner knows it then by what it is.
    Restored {
        /// Which one it is from now on.
        id: SubmissionId,
        /// Its lasting name, as it was when it was accepted.
        delivery: DeliveryId,
        /// What was submitted, with its envelope, content and priority. The content is shared with the outbox, not copied.
        submission: Box<Submission>,
        /// How long ago it was accepted.
        age: Duration,
    },
    /// The outbox on disk has begun to fail. Nothing is accepted or sent until it works again.
    StorageFailed {
        /// Why.
        error: StorageError,
    },
    /// The outbox on disk works again.
    StorageRecovered,
    /// A submission was refused because the queue is full.
    QueueOverflow {
        /// How many submissions wait.
        queue_size: usize,
    },
    /// A submission succeeded.
    Processed {
        /// Which one.
        id: SubmissionId,
        /// What the server said.
        receipt: Receipt,
    },
    /// A submission failed for good.
    Failed {
        /// Which one.
        id: SubmissionId,
        /// Why.
        error: Error,
    },
    /// A submission failed for the moment and will be tried again.
    RetryScheduled {
        /// Which one.
        id: SubmissionId,
        /// Which retry it is, from 1.
        attempt: u32,
        /// How many are made; none: endless.
        of: Option<u32>,
        /// When.
        at: Time,
        /// Why.
        error: Error,
    },
    /// The relay, or the server behind it, asks to be sent less. Nothing goes for a time, and then it goes more slowly. Once for
    /// all that was on its way then.
    Throttled {
        /// The rate from now on. It grows as long as everything is taken; [`Statistics::pace`](super::Statistics::pace) shows it.
        rate: Rate,
        /// Nothing goes before. What else is refused of what was on its way may say later.
        until: Time,
        /// What was said.
        error: Error,
    },
    /// It goes as fast again as it may, since everything was taken for some time.
    RateRecovered {
        /// The limit that is set; none: as fast as the relay takes it.
        limit: Option<Rate>,
    },
    /// A message was sent whole and its reply got lost. It may have been delivered.
    InDoubt {
        /// Which one.
        id: SubmissionId,
        /// Whether it is sent again, which may deliver it twice; otherwise `Failed` follows.
        sending_again: bool,
        /// What happened.
        error: Error,
    },
    /// The client has ended; nothing follows.
    Terminated {
        /// What was accepted and is not settled.
        left: Vec<Unsettled>,
    },
}

impl Event {
    /// How a submission ended, where this event says so. Every accepted submission that is not taken back ends in exactly one
    /// such event, or in the list of [`Event::Terminated`].
    pub fn outcome(&self) -> Option<(SubmissionId, Result<&Receipt, &Error>)> {
        match self {
            Self::Processed { id, receipt } => Some((*id, Ok(receipt))),
            Self::Failed { id, error } => Some((*id, Err(error))),
            _ => None,
        }
    }
}

/// What became of a submission that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The server's final reply.
    pub reply: Reply,
    /// The recipients the server took the message for.
    pub accepted: Vec<ForwardPath>,
    /// The recipients it refused, each with its reply. A message that reached some is a success.
    pub rejected: Vec<(ForwardPath, Reply)>,
    /// Every line sent and its reply, where the submission was a raw dialogue.
    pub transcript: Vec<Exchange>,
    /// From leaving the queue to the final reply.
    pub response_time: Duration,
    /// Whether it was sent again after an earlier sending was left in doubt, so that it may arrive twice.
    pub sent_again: bool,
}

/// A submission a client had accepted and not settled when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsettled {
    /// Which one.
    pub id: SubmissionId,
    /// Its lasting name.
    pub delivery: DeliveryId,
    /// The submission itself, to be handed to another client.
    pub submission: Submission,
    /// Whether it stays in the outbox on disk, so that the next client with that outbox goes on with it. Handing it to
    /// another one as well would deliver it twice.
    pub kept: bool,
    /// Whether it was sent whole already, so that sending it elsewhere may deliver it twice.
    pub in_doubt: bool,
}

/// Why a link ended, as a client's error.
impl From<LinkError> for Error {
    fn from(error: LinkError) -> Self {
        Self::Connection(error)
    }
}
