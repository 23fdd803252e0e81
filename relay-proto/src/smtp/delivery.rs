//! The delivery of one message, however it is said: what it asks of a server, who took it, and what came of it.

use super::{
    Body, Capabilities, Code, Command, Completed, DialogueError, Envelope, ForwardPath,
    MailParameters, Reply, Stage, content::normalised_len,
};
use alloc::vec::Vec;
use bytes::Bytes;
use core::mem;

/// One message and what is known of it. The first outcome stands.
pub(super) struct Delivery {
    pub(super) envelope: Envelope,
    pub(super) content: Bytes,
    accepted: Vec<ForwardPath>,
    rejected: Vec<(ForwardPath, Reply)>,
    outcome: Option<Result<Completed, DialogueError>>,
}

impl Delivery {
    pub(super) const fn new(envelope: Envelope, content: Bytes) -> Self {
        Self {
            envelope,
            content,
            accepted: Vec::new(),
            rejected: Vec::new(),
            outcome: None,
        }
    }

    /// MAIL with what the message needs.
    ///
    /// # Errors
    ///
    /// What the server lacks for it.
    pub(super) fn mail(&self, offered: &Capabilities) -> Result<Command, DialogueError> {
        let length = normalised_len(&self.content);
        let eight_bit = !self.content.is_ascii();
        let international = self.envelope.needs_smtputf8();
        if international && !offered.smtputf8 {
            return Err(DialogueError::Unsupported {
                extension: "SMTPUTF8",
                needed_for: "an address with characters beyond ASCII",
            });
        }
        if eight_bit && !offered.eight_bit_mime {
            return Err(DialogueError::Unsupported {
                extension: "8BITMIME",
                needed_for: "content with bytes beyond ASCII",
            });
        }
        if let Some(limit) = offered.max_message_bytes()
            && length > limit
        {
            return Err(DialogueError::TooLarge { length, limit });
        }
        Ok(Command::Mail {
            reverse_path: self.envelope.reverse_path().clone(),
            parameters: MailParameters {
                size: offered.size.map(|_| length),
                body: eight_bit.then_some(Body::EightBitMime),
                smtputf8: international,
                ..MailParameters::default()
            },
        })
    }

    /// The first recipient the server has not answered for.
    pub(super) fn next_recipient(&self) -> Option<&ForwardPath> {
        let answered = self.accepted.len() + self.rejected.len();
        self.envelope.forward_paths().get(answered)
    }

    /// Whether the server takes the message for somebody.
    pub(super) const fn has_recipient(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// The answer for that recipient. A reply that is none comes back: 421 is about the connection, not about the recipient.
    pub(super) fn recipient(&mut self, reply: Reply) -> Option<Reply> {
        let class = reply.code().class();
        match self.next_recipient().cloned() {
            Some(forward_path) if class > 3 && reply.code() != Code::NOT_AVAILABLE => {
                self.rejected.push((forward_path, reply.shortened()));
                None
            }
            Some(forward_path) if class == 2 => {
                self.accepted.push(forward_path);
                None
            }
            _ => Some(reply),
        }
    }

    /// The server takes the message for nobody.
    pub(super) fn no_recipient(&mut self) {
        let rejected = mem::take(&mut self.rejected);
        self.fail(DialogueError::NoRecipient { rejected });
    }

    /// The server has taken the message.
    pub(super) fn completed(&mut self, reply: Reply) {
        let completed = Completed {
            reply,
            accepted: mem::take(&mut self.accepted),
            rejected: mem::take(&mut self.rejected),
            transcript: Vec::new(),
        };
        self.decide(Ok(completed));
    }

    /// The server does not go on at this stage.
    pub(super) fn refused(&mut self, stage: Stage, reply: Reply) {
        let rejected = mem::take(&mut self.rejected);
        self.fail(if reply.is_positive() {
            DialogueError::OutOfTurn { stage, reply }
        } else {
            DialogueError::Refused {
                stage,
                reply,
                rejected,
            }
        });
    }

    /// The server speaks while it is not its turn. In the content, and with 421, it means to.
    pub(super) fn interrupted(&mut self, stage: Stage, reply: Reply) {
        if stage == Stage::Content || reply.code() == Code::NOT_AVAILABLE {
            self.refused(stage, reply);
        } else {
            self.fail(DialogueError::OutOfTurn { stage, reply });
        }
    }

    pub(super) fn fail(&mut self, error: DialogueError) {
        self.decide(Err(error));
    }

    fn decide(&mut self, outcome: Result<Completed, DialogueError>) {
        self.outcome.get_or_insert(outcome);
    }

    pub(super) const fn outcome(&self) -> Option<&Result<Completed, DialogueError>> {
        self.outcome.as_ref()
    }
}
