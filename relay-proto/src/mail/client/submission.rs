//! What an application hands to a client.

use crate::{
    outbox::Priority,
    smtp::{Envelope, Script},
};
use bytes::Bytes;
use core::{fmt, time::Duration};

/// Names one submission for as long as the client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubmissionId(pub(super) u64);

impl fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message or a raw dialogue, with its priority and the longest it may wait.
///
/// Cloning it copies no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    pub(super) work: Work,
    pub(super) priority: Priority,
    pub(super) max_age: Option<Duration>,
}

/// What is to be done on a channel.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Work {
    Message { envelope: Envelope, content: Bytes },
    Script(Script),
}

impl Submission {
    /// A message: `content` is a whole RFC 5322 message, header and body, in any line-end style; it travels
    /// with CRLF line ends and dot-stuffing.
    pub const fn message(envelope: Envelope, content: Bytes) -> Self {
        Self::new(Work::Message { envelope, content })
    }

    /// A raw SMTP dialogue on a channel of its own; its transcript is the result.
    pub const fn script(script: Script) -> Self {
        Self::new(Work::Script(script))
    }

    const fn new(work: Work) -> Self {
        Self {
            work,
            priority: Priority::Normal,
            max_age: None,
        }
    }

    /// Sets the priority; normal otherwise.
    #[must_use]
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how long the submission may wait in the queue before it is given up; for ever otherwise.
    #[must_use]
    pub const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// The priority.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// The envelope, where this is a message.
    pub const fn envelope(&self) -> Option<&Envelope> {
        match &self.work {
            Work::Message { envelope, .. } => Some(envelope),
            Work::Script(_) => None,
        }
    }

    /// The content as it was handed in, where this is a message.
    pub const fn content(&self) -> Option<&Bytes> {
        match &self.work {
            Work::Message { content, .. } => Some(content),
            Work::Script(_) => None,
        }
    }

    /// How long it may wait; none: for ever.
    pub const fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// How many bytes it takes up in the queue: its content.
    pub fn len(&self) -> usize {
        match &self.work {
            Work::Message { content, .. } => content.len(),
            Work::Script(script) => script.len(),
        }
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { envelope, content } => f
                .debug_struct("Message")
                .field("envelope", envelope)
                .field("content", &format_args!("{} bytes", content.len()))
                .finish(),
            Self::Script(script) => write!(f, "Script({} bytes)", script.len()),
        }
    }
}
