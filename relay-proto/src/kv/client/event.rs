//! What a client tells its application.

use super::{Answer, Call, CallError, CallId, ConnectionState};
use crate::{Missed, Time, kv::wire::Notification, pacing::Rate};
use alloc::vec::Vec;

/// News from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The connection's state has changed.
    StateChanged {
        /// What it was.
        from: ConnectionState,
        /// What it is.
        to: ConnectionState,
    },
    /// Calls can be made, on a new link; once for each.
    Connected {
        /// Whether the durable dialect is spoken: whatever happens to this link, a call is applied once.
        durable: bool,
        /// Whether the session of the last link goes on, so that nothing was missed.
        resumed: bool,
    },
    /// The link is gone, or could not be opened. Without an error the client closed it: for want of work, as it was told to, or
    /// because it ends.
    Disconnected {
        /// What happened.
        error: Option<CallError>,
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
    /// The service has asked to slow down: no call is made for a while, and then fewer.
    Throttled {
        /// How fast calls are made from then on.
        rate: Rate,
        /// Until when none is.
        until: Time,
    },
    /// A call has ended. Every call that is not taken back ends in exactly one such event, or in the list of
    /// [`Event::Terminated`].
    Answered {
        /// Which one.
        id: CallId,
        /// How.
        result: Result<Answer, CallError>,
    },
    /// A key the token subscribes to has changed.
    Notified(Notification),
    /// Changes may have been made that were not told, or not in time: read anew what matters.
    Missed {
        /// The number of the last change that was told, where the service numbers them.
        after: Option<u64>,
        /// The number of the first change told from now on, where that is known.
        first: Option<u64>,
    },
    /// The client has ended; nothing follows.
    Terminated {
        /// What was taken and has not ended.
        left: Vec<Unsettled>,
    },
}

impl Event {
    /// A change of a key the token subscribes to, or that some were not told, where this event is about that.
    pub fn notification(&self) -> Option<Result<&Notification, Gap>> {
        match self {
            Self::Notified(notification) => Some(Ok(notification)),
            Self::Missed { .. } => Some(Err(Gap)),
            _ => None,
        }
    }
}

/// Changes may have been made here that were not told: read anew what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes may have been made that were not told; what matters should be read anew")]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct Gap;

/// A reader of events was too slow.
impl From<Missed> for Gap {
    fn from(_: Missed) -> Self {
        Self
    }
}

/// A call a client had taken and not ended when it ended itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsettled {
    /// Which one.
    pub id: CallId,
    /// The call itself, to be handed to another client.
    pub call: Call,
    /// Whether it changes something and was sent, so that making it elsewhere may apply it twice.
    pub in_doubt: bool,
}
