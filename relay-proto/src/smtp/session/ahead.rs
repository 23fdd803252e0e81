//! What a client that pipelines (RFC 2920) has said already.

use super::{MAX_LINE, Session, Stage};
use crate::smtp::{Command, ForwardPath};
use memchr::memmem;

/// What follows the request that awaits its answer, in the words of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an owner that left one out would have the replies out of step"
)]
pub enum Ahead {
    /// A recipient.
    Recipient(ForwardPath),
    /// DATA, or a first BDAT: the content, with or without asking.
    Content,
}

impl Session {
    /// What the client has said behind the MAIL or RCPT that awaits its answer: recipients, then perhaps the beginning of the content.
    ///
    /// It tells the requests that follow, one by one, if this one and they are accepted: an owner that passes
    /// them on to another server may do so at once, in one flight. It ends before anything else, and before whatever the
    /// session would refuse by itself. Nothing is taken: every request still comes in its turn, or does not come where an earlier answer
    /// makes it void.
    pub fn ahead(&self) -> impl Iterator<Item = Ahead> {
        let (smtputf8, mut recipients) = match &self.stage {
            Stage::AskedMail(transaction) => (transaction.smtputf8, 0),
            Stage::AskedRecipient(transaction) => {
                (transaction.smtputf8, transaction.recipients + 1)
            }
            _ => (false, usize::MAX),
        };
        let config = &self.config;
        let mut input = &self.input[..];
        core::iter::from_fn(move || {
            let length = memmem::find(input, b"\r\n").filter(|length| length + 2 <= MAX_LINE)?;
            let line = &input[..length];
            let taken = match Command::parse(line).ok()? {
                Command::Rcpt { forward_path } => {
                    let mut address = forward_path.address().into_iter();
                    let is_carried = smtputf8 || address.all(|address| address.is_ascii());
                    if recipients >= config.max_recipients || !is_carried {
                        return None;
                    }
                    recipients += 1;
                    input = &input[length + 2..];
                    return Some(Ahead::Recipient(forward_path));
                }
                Command::Data => true,
                Command::BinaryData { size, .. } => {
                    let limit = config.max_message_bytes.unwrap_or(u64::MAX);
                    config.capabilities.chunking && size <= limit
                }
                _ => false,
            };
            input = &[];
            let has_recipients = (1..usize::MAX).contains(&recipients);
            (taken && has_recipients).then_some(Ahead::Content)
        })
    }
}

#[cfg(test)]
#[path = "ahead_tests.rs"]
mod tests;
