//! Who waits for which submission, for the bindings' handles.

use super::{Client, Error, Event, Receipt, Refused, Submission, SubmissionId, Unsettled};
use crate::{Stopped, Time, mail::DeliveryId};
use alloc::collections::BTreeMap;

/// Why a submission has no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It was not accepted; it is in here, whole.
    #[error(transparent)]
    Refused(Refused),
    /// It was accepted and failed.
    #[error(transparent)]
    Failed(Error),
    /// The client ended first. Whoever ended it has been given the submission back, unless it stays in the outbox on disk.
    #[error("the client was shut down before the message was settled")]
    Unsettled {
        /// Whether it was sent whole already, so that it may have been delivered.
        in_doubt: bool,
    },
    /// It was taken back before it was sent.
    #[error("taken back before it was sent")]
    Cancelled,
    /// The client had ended, or broke off because its application panicked.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The waiting of one client's submissions: a `W` for each, used once, when the submission ends.
///
/// A binding chooses what a `W` is: one end of a channel, a waker, a closure.
#[derive(Debug)]
pub struct Receipts<W> {
    waiting: BTreeMap<SubmissionId, W>,
}

impl<W> Default for Receipts<W> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
        }
    }
}

impl<W> Receipts<W> {
    /// Queues a submission that somebody waits for.
    ///
    /// # Errors
    ///
    /// [`SendError::Refused`], where the client refuses it; nobody waits then.
    pub fn submit(
        &mut self,
        client: &mut Client,
        now: Time,
        submission: Submission,
        waiting: W,
    ) -> Result<SubmissionId, SendError> {
        let id = client.submit(now, submission).map_err(SendError::Refused)?;
        self.waiting.insert(id, waiting);
        Ok(id)
    }

    /// Takes a waiting submission back and tells who waits for it; none where the client does not give it back.
    pub fn cancel(
        &mut self,
        client: &mut Client,
        now: Time,
        id: SubmissionId,
        tell: impl FnOnce(W, Result<Receipt, SendError>),
    ) -> Option<Submission> {
        let submission = client.cancel(now, id)?;
        if let Some(waiting) = self.waiting.remove(&id) {
            tell(waiting, Err(SendError::Cancelled));
        }
        Some(submission)
    }

    /// Tells who waits for a submission that it is accepted, where this event says so, and its lasting name.
    pub fn accept(&mut self, event: &Event, tell: impl FnOnce(&mut W, DeliveryId)) {
        if let Event::Queued { id, delivery, .. } = event
            && let Some(waiting) = self.waiting.get_mut(id)
        {
            tell(waiting, *delivery);
        }
    }

    /// Passes on how submissions ended that somebody waits for, where this event says so.
    pub fn settle(&mut self, event: &Event, mut tell: impl FnMut(W, Result<Receipt, SendError>)) {
        let mut tell = |id: &SubmissionId, outcome| {
            if let Some(waiting) = self.waiting.remove(id) {
                tell(waiting, outcome);
            }
        };
        if let Some((id, outcome)) = event.outcome() {
            let failed = |error: &Error| SendError::Failed(error.clone());
            tell(&id, outcome.cloned().map_err(failed));
        } else if let Event::Refused { id, refused } = event {
            tell(id, Err(SendError::Refused(refused.clone())));
        } else if let Event::Terminated { left } = event {
            for Unsettled { id, in_doubt, .. } in left {
                let in_doubt = *in_doubt;
                tell(id, Err(SendError::Unsettled { in_doubt }));
            }
        }
    }
}
