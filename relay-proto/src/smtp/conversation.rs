//! What every conversation of a client with a server has in common.

use super::{Category, ForwardPath, Reply, ReplyError};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// A client's side of an SMTP conversation that has one purpose and one outcome, whatever carries its bytes.
///
/// The owner hands in what the server says and takes what is to be said, until neither goes on.
pub trait Conversation: fmt::Debug + Send {
    /// Takes bytes from the server. Their boundaries mean nothing.
    fn handle_bytes(&mut self, bytes: &[u8]);

    /// The next bytes for the server; content comes in pieces of about `most` bytes, so that an owner that stops asking
    /// holds little of it.
    #[must_use]
    fn poll_output(&mut self, most: usize) -> Option<Bytes>;

    /// Whether the end of some content was handed out: from then on, only a reply tells whether it is delivered.
    fn is_past_end_of_data(&self) -> bool;

    /// What came of it, once that is known. Goodbye may still be to be said.
    fn outcome(&self) -> Option<&Result<Completed, DialogueError>>;
}

/// A conversation that reached its purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed {
    /// The server's final reply.
    pub reply: Reply,
    /// The recipients it took the message for.
    pub accepted: Vec<ForwardPath>,
    /// The recipients it refused, each with the first eight lines of its reply.
    pub rejected: Vec<(ForwardPath, Reply)>,
    /// Every line sent and its reply, where a [`Script`](super::Script) was run.
    pub transcript: Vec<Exchange>,
}

/// One line of a raw dialogue and what the server said to it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// The line without its CRLF; empty for the greeting, a dot for content. What may be a secret is left out: AUTH is told
    /// with its mechanism only, the answer to a challenge as three asterisks.
    pub line: Bytes,
    /// The reply; its first eight lines, if it has more.
    pub reply: Reply,
}

impl Exchange {
    pub(super) fn new(line: Bytes, reply: Reply) -> Self {
        let reply = reply.shortened();
        Self { line, reply }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.escape_ascii();
        write!(f, "{line} → {}", self.reply)
    }
}

/// How far a conversation had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Greeting, EHLO, HELO.
    Hello,
    /// MAIL, or any line of a script.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA.
    Data,
    /// In the content, before its end.
    Content,
    /// After the end of data.
    EndOfData,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "at the greeting",
            Self::Mail => "at MAIL",
            Self::Recipient => "at RCPT",
            Self::Data => "at DATA",
            Self::Content => "in the content",
            Self::EndOfData => "after the content",
        })
    }
}

/// Why a conversation did not reach its purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialogueError {
    /// The server refused.
    #[error("{}: refused {stage}: {reply}", reply.category())]
    Refused {
        /// Where.
        stage: Stage,
        /// What it said.
        reply: Reply,
        /// The recipients it had refused before.
        rejected: Vec<(ForwardPath, Reply)>,
    },
    /// The server accepted no recipient.
    #[error("no recipient was accepted: {}", Rejections(rejected))]
    NoRecipient {
        /// Each with its reply; never empty.
        rejected: Vec<(ForwardPath, Reply)>,
    },
    /// A line of a script was refused.
    #[error("{}: refused: {reply}", reply.category())]
    Script {
        /// What the server said.
        reply: Reply,
        /// Every line sent and its reply, the refused one last.
        transcript: Vec<Exchange>,
        /// Whether the script had delivered a message before, so that running it again would deliver that twice.
        delivered: bool,
    },
    /// The message needs an extension the server does not offer. Nothing of it was sent.
    #[error("the server does not offer {extension}, which {needed_for} needs")]
    Unsupported {
        /// The extension's keyword.
        extension: &'static str,
        /// What needs it.
        needed_for: &'static str,
    },
    /// The message is larger than the server takes (RFC 1870). Nothing of it was sent.
    #[error("{length} bytes are more than the {limit} the server takes")]
    TooLarge {
        /// The message's length with CRLF line ends, in bytes.
        length: u64,
        /// The server's limit, in bytes.
        limit: u64,
    },
    /// The server said what is no SMTP reply.
    #[error("{error} ({stage})")]
    Garbled {
        /// Where.
        stage: Stage,
        /// What was wrong.
        error: ReplyError,
    },
    /// The server said something when it was not its turn, or agreed to what it was not asked.
    #[error("the server does not keep to SMTP {stage}: {reply}")]
    OutOfTurn {
        /// Where.
        stage: Stage,
        /// What it said.
        reply: Reply,
    },
}

impl DialogueError {
    /// Whether the same may succeed later without a change.
    ///
    /// Where no recipient was accepted that is so as soon as one of the replies is transient.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { reply, .. } => reply.is_transient(),
            Self::NoRecipient { rejected } => {
                rejected.iter().any(|(_, reply)| reply.is_transient())
            }
            Self::Script {
                reply, delivered, ..
            } => reply.is_transient() && !delivered,
            Self::Unsupported { .. } | Self::TooLarge { .. } => false,
            // A server in disorder may be in order again.
            Self::Garbled { .. } | Self::OutOfTurn { .. } => true,
        }
    }

    /// Whether the same fails again until something is changed.
    pub fn is_permanent(&self) -> bool {
        !self.is_transient()
    }

    /// The reply that decided, where one did; where no recipient was accepted, the first that is transient, or else the first.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Refused { reply, .. } | Self::Script { reply, .. } => Some(reply),
            Self::NoRecipient { rejected } => {
                let replies = || rejected.iter().map(|(_, reply)| reply);
                replies()
                    .find(|reply| reply.is_transient())
                    .or_else(|| replies().next())
            }
            _ => None,
        }
    }

    /// The recipients that were refused, each with its reply.
    pub fn rejected(&self) -> &[(ForwardPath, Reply)] {
        match self {
            Self::Refused { rejected, .. } | Self::NoRecipient { rejected } => rejected,
            _ => &[],
        }
    }

    /// What kind of refusal it is, where a reply decided.
    pub fn category(&self) -> Option<Category> {
        self.reply().map(Reply::category)
    }
}

struct Rejections<'a>(&'a [(ForwardPath, Reply)]);

impl fmt::Display for Rejections<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, more) = self.0.split_at(self.0.len().min(3));
        for (index, (forward_path, reply)) in told.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{forward_path}: {reply}")?;
        }
        match more.len() {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}
