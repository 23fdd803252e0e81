//! Who waits for which call, for the bindings' handles.

use super::{Answer, Call, CallError, CallId, Client, Event, Refused, Unsettled};
use crate::{Stopped, Time};
use alloc::collections::BTreeMap;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The client did not take it; it is in here, whole.
    #[error(transparent)]
    Refused(Refused),
    /// It was taken and failed.
    #[error(transparent)]
    Failed(#[from] CallError),
    /// The client ended first. Whoever ended it has been given the call back.
    #[error("the client was shut down before the call was answered")]
    Unsettled {
        /// Whether it changes something and was sent, so that it may have been applied.
        in_doubt: bool,
    },
    /// It was taken back before it was sent.
    #[error("taken back before it was sent")]
    Cancelled,
    /// The client had ended, or broke off because its application panicked.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl NoAnswer {
    /// What became of a call that was taken and failed.
    pub const fn error(&self) -> Option<&CallError> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Whether there is no such key (code 404).
    pub fn is_not_found(&self) -> bool {
        self.error().is_some_and(CallError::is_not_found)
    }

    /// Whether the call may have been applied all the same.
    pub fn is_in_doubt(&self) -> bool {
        match self {
            Self::Failed(error) => error.is_in_doubt(),
            Self::Unsettled { in_doubt } => *in_doubt,
            _ => false,
        }
    }
}

/// The waiting for one client's calls: a `W` for each, used once, when the call ends.
///
/// A binding chooses what a `W` is: one end of a channel, a waker, a closure.
#[derive(Debug)]
pub struct Replies<W> {
    waiting: BTreeMap<CallId, W>,
}

impl<W> Default for Replies<W> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
        }
    }
}

impl<W> Replies<W> {
    /// Makes a call that somebody waits for.
    ///
    /// # Errors
    ///
    /// [`NoAnswer::Refused`], where the client refuses it; nobody waits then.
    pub fn call(
        &mut self,
        client: &mut Client,
        now: Time,
        call: Call,
        waiting: W,
    ) -> Result<CallId, NoAnswer> {
        let id = client.call(now, call).map_err(NoAnswer::Refused)?;
        self.waiting.insert(id, waiting);
        Ok(id)
    }

    /// Takes a waiting call back and tells who waits for it; none where the client does not give it back.
    pub fn cancel(
        &mut self,
        client: &mut Client,
        now: Time,
        id: CallId,
        tell: impl FnOnce(W, Result<Answer, NoAnswer>),
    ) -> Option<Call> {
        let call = client.cancel(now, id)?;
        if let Some(waiting) = self.waiting.remove(&id) {
            tell(waiting, Err(NoAnswer::Cancelled));
        }
        Some(call)
    }

    /// Passes on how calls ended that somebody waits for, where this event says so.
    pub fn settle(&mut self, event: &Event, mut tell: impl FnMut(W, Result<Answer, NoAnswer>)) {
        let mut tell = |id: &CallId, outcome| {
            if let Some(waiting) = self.waiting.remove(id) {
                tell(waiting, outcome);
            }
        };
        match event {
            Event::Answered { id, result } => tell(id, result.clone().map_err(NoAnswer::Failed)),
            Event::Terminated { left } => {
                for Unsettled { id, in_doubt, .. } in left {
                    let in_doubt = *in_doubt;
                    tell(id, Err(NoAnswer::Unsettled { in_doubt }));
                }
            }
            _ => {}
        }
    }
}
