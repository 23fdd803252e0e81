//! Which replies ask a client to send less.

use super::{Code, DialogueError, EnhancedCode, Reply, Stage};

/// Insufficient system storage, or at RCPT too many recipients (RFC 5321, sections 4.2.3 and 4.5.3.1.10).
const INSUFFICIENT_STORAGE: u16 = 452;

impl DialogueError {
    /// Whether the server asks to be sent less: a refusal for the moment that is about the server's load, or about how much this
    /// client sends, and so about whatever comes next as well.
    ///
    /// Decided by codes and by what was refused. What people are told is not read: no two servers say it alike.
    ///
    /// - Enhanced codes (RFC 3463 and the registry it opened) that say so: `4.3.1`, mail system full; `4.3.2`, not accepting
    ///   messages, "excessive load" among the reasons; `4.4.5`, congestion; `4.7.28`, a flood.
    /// - `421`, which is about the service and not about a message (RFC 5321, section 4.2.1), with no enhanced code, or with one
    ///   about the system (`4.3.x`) or a policy (`4.7.x`). With another one, such as `4.4.2` for a lost connection, it is not about
    ///   load.
    /// - `4.7.x`, a policy, to MAIL, where the server knows nothing of the message but who sends it. To RCPT and later the
    ///   same code is what greylisting answers with, and that is about one recipient: others need not wait for it.
    /// - `452` without an enhanced code where it means insufficient storage: not to RCPT, where it means too many recipients
    ///   of one message, nor in a script, of which nobody knows what was refused.
    pub fn asks_to_slow_down(&self) -> bool {
        let stage = match self {
            Self::Refused { stage, .. } => Some(*stage),
            Self::NoRecipient { .. } => Some(Stage::Recipient),
            _ => None,
        };
        self.is_transient()
            && self
                .reply()
                .is_some_and(|reply| asks_to_slow_down(reply, stage))
    }
}

fn asks_to_slow_down(reply: &Reply, stage: Option<Stage>) -> bool {
    let is_not_available = reply.code() == Code::NOT_AVAILABLE;
    let Some(EnhancedCode {
        subject, detail, ..
    }) = reply.enhanced()
    else {
        let is_full = reply.code().as_u16() == INSUFFICIENT_STORAGE;
        let at_recipient = matches!(stage, None | Some(Stage::Recipient));
        return is_not_available || (is_full && !at_recipient);
    };
    match (subject, detail) {
        (3, 1 | 2) | (4, 5) | (7, 28) => true,
        (3, _) => is_not_available,
        (7, _) => is_not_available || stage == Some(Stage::Mail),
        _ => false,
    }
}

#[cfg(test)]
#[path = "slow_down_tests.rs"]
mod tests;
