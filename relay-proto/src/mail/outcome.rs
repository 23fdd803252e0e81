//! What became of a delivery.

use crate::smtp::{ForwardPath, Reply};
use alloc::vec::Vec;

/// What became of a delivery whose end of data was to be forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Outcome {
    /// The upstream has answered.
    Answered {
        /// Its reply to the end of data, which says whether it takes the message.
        reply: Reply,
        /// The recipients it had refused before, each with its reply. Its answer is about all others.
        rejected: Vec<(ForwardPath, Reply)>,
    },
    /// Nobody knows: the upstream vanished, or the relay did, between the end of data and the answer.
    InDoubt,
}

impl Outcome {
    /// The same with no more than the first eight lines of each reply, which bounds what a ledger keeps.
    pub(crate) fn shortened(self) -> Self {
        match self {
            Self::Answered { reply, rejected } => Self::Answered {
                reply: reply.shortened(),
                rejected: rejected
                    .into_iter()
                    .map(|(forward_path, reply)| (forward_path, reply.shortened()))
                    .collect(),
            },
            Self::InDoubt => Self::InDoubt,
        }
    }
}
