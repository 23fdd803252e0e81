//! The client's side of the delivery of one message.

use super::{
    Body, Capabilities, Code, Command, Completed, ContentEncoder, Conversation, DialogueError,
    Envelope, ForwardPath, Handshake, HandshakeStep, HostName, MailParameters, Reply, ReplyParser,
    Stage, content::normalised_len,
};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::{fmt, mem};

/// Sends one message over one connection or channel, in lockstep: the client waits where SMTP waits (RFC 5321, section 3.3).
///
/// One recipient accepted is enough for the message to go out; those refused are part of the outcome.
pub struct Dialogue {
    envelope: Envelope,
    content: Bytes,
    parser: ReplyParser,
    output: BytesMut,
    step: Step,
    accepted: Vec<ForwardPath>,
    rejected: Vec<(ForwardPath, Reply)>,
    past_end_of_data: bool,
    outcome: Option<Result<Completed, DialogueError>>,
}

enum Step {
    Handshake(Handshake),
    Mail,
    Recipient,
    Data,
    /// The server waits for content; so much of it is handed out.
    Content {
        encoder: ContentEncoder,
        handed_out: usize,
    },
    EndOfData,
    /// Nothing but goodbye is left.
    Over,
}

impl Dialogue {
    /// The delivery of `content`, a whole RFC 5322 message in any line-end style, by a client called `host_name`.
    pub fn new(host_name: HostName, envelope: Envelope, content: Bytes) -> Self {
        Self {
            envelope,
            content,
            parser: ReplyParser::new(),
            output: BytesMut::new(),
            step: Step::Handshake(Handshake::new(host_name)),
            accepted: Vec::new(),
            rejected: Vec::new(),
            past_end_of_data: false,
            outcome: None,
        }
    }

    fn handle_reply(&mut self, reply: Reply) {
        let stage = self.stage();
        match mem::replace(&mut self.step, Step::Over) {
            // The reply to QUIT, or one too many; the outcome stands.
            Step::Over => {}
            Step::Content { .. } => self.interrupted(stage, reply),
            _ if !self.output.is_empty() => self.interrupted(stage, reply),
            Step::Handshake(mut handshake) => match handshake.handle_reply(reply) {
                HandshakeStep::Send(command) => {
                    self.say(&command);
                    self.step = Step::Handshake(handshake);
                }
                HandshakeStep::Ready(capabilities) => self.mail(&capabilities),
                HandshakeStep::Refused(reply) => self.refused(Stage::Hello, reply),
            },
            Step::Mail if reply.code().class() == 2 => self.next_recipient(),
            Step::Mail => self.refused(Stage::Mail, reply),
            Step::Recipient => self.recipient(reply),
            Step::Data if reply.code() == Code::START_CONTENT => {
                self.step = Step::Content {
                    encoder: ContentEncoder::new(),
                    handed_out: 0,
                };
            }
            Step::Data => self.refused(Stage::Data, reply),
            Step::EndOfData if reply.code().class() == 2 => {
                let completed = Completed {
                    reply,
                    accepted: mem::take(&mut self.accepted),
                    rejected: mem::take(&mut self.rejected),
                    transcript: Vec::new(),
                };
                self.decide(Ok(completed));
                self.say(&Command::Quit);
            }
            Step::EndOfData => self.refused(Stage::EndOfData, reply),
        }
    }

    /// Says MAIL with what the message needs, or finds that the server lacks it.
    fn mail(&mut self, offered: &Capabilities) {
        let length = normalised_len(&self.content);
        let eight_bit = !self.content.is_ascii();
        let international = self.envelope.needs_smtputf8();
        let missing = if international && !offered.smtputf8 {
            Some(DialogueError::Unsupported {
                extension: "SMTPUTF8",
                needed_for: "an address with characters beyond ASCII",
            })
        } else if eight_bit && !offered.eight_bit_mime {
            Some(DialogueError::Unsupported {
                extension: "8BITMIME",
                needed_for: "content with bytes beyond ASCII",
            })
        } else {
            offered
                .max_message_bytes()
                .filter(|limit| length > *limit)
                .map(|limit| DialogueError::TooLarge { length, limit })
        };
        if let Some(missing) = missing {
            self.say(&Command::Quit);
            return self.fail(missing);
        }
        self.say(&Command::Mail {
            reverse_path: self.envelope.reverse_path().clone(),
            parameters: MailParameters {
                size: offered.size.map(|_| length),
                body: (eight_bit && offered.eight_bit_mime).then_some(Body::EightBitMime),
                smtputf8: international,
                ..MailParameters::default()
            },
        });
        self.step = Step::Mail;
    }

    fn next_recipient(&mut self) {
        let answered = self.accepted.len() + self.rejected.len();
        match self.envelope.forward_paths().get(answered) {
            Some(forward_path) => {
                let forward_path = forward_path.clone();
                self.say(&Command::Rcpt { forward_path });
                self.step = Step::Recipient;
            }
            None if self.accepted.is_empty() => {
                self.say(&Command::Quit);
                let rejected = mem::take(&mut self.rejected);
                self.fail(DialogueError::NoRecipient { rejected });
            }
            None => {
                self.say(&Command::Data);
                self.step = Step::Data;
            }
        }
    }

    fn recipient(&mut self, reply: Reply) {
        let answered = self.accepted.len() + self.rejected.len();
        let class = reply.code().class();
        match self.envelope.forward_paths().get(answered).cloned() {
            // 421 is about the connection, not about the recipient.
            Some(forward_path) if class > 3 && reply.code() != Code::NOT_AVAILABLE => {
                self.rejected.push((forward_path, reply.shortened()));
                self.next_recipient();
            }
            Some(forward_path) if class == 2 => {
                self.accepted.push(forward_path);
                self.next_recipient();
            }
            _ => self.refused(Stage::Recipient, reply),
        }
    }

    /// The server speaks while it is the client's turn. QUIT might be content to it, so nothing more is said.
    fn interrupted(&mut self, stage: Stage, reply: Reply) {
        self.output.clear();
        let gives_up = stage == Stage::Content && !reply.is_positive();
        if gives_up || reply.code() == Code::NOT_AVAILABLE {
            let rejected = mem::take(&mut self.rejected);
            self.fail(DialogueError::Refused {
                stage,
                reply,
                rejected,
            });
        } else {
            self.fail(DialogueError::OutOfTurn { stage, reply });
        }
    }

    fn refused(&mut self, stage: Stage, reply: Reply) {
        if reply.code() != Code::NOT_AVAILABLE {
            self.say(&Command::Quit);
        }
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

    fn stage(&self) -> Stage {
        match self.step {
            Step::Handshake(_) => Stage::Hello,
            Step::Mail => Stage::Mail,
            Step::Recipient => Stage::Recipient,
            Step::Data => Stage::Data,
            Step::Content { .. } => Stage::Content,
            Step::EndOfData | Step::Over => Stage::EndOfData,
        }
    }

    fn fail(&mut self, error: DialogueError) {
        self.decide(Err(error));
    }

    fn decide(&mut self, outcome: Result<Completed, DialogueError>) {
        self.step = Step::Over;
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
        }
    }

    fn say(&mut self, command: &Command) {
        self.output.extend_from_slice(&command.to_bytes());
    }
}

impl Conversation for Dialogue {
    fn handle_bytes(&mut self, bytes: &[u8]) {
        self.parser.push(bytes);
        loop {
            match self.parser.next_reply() {
                Ok(Some(reply)) => self.handle_reply(reply),
                Ok(None) => break,
                Err(error) => {
                    let stage = self.stage();
                    self.output.clear();
                    self.fail(DialogueError::Garbled { stage, error });
                    break;
                }
            }
        }
    }

    fn poll_output(&mut self, most: usize) -> Option<Bytes> {
        if !self.output.is_empty() {
            return Some(self.output.split().freeze());
        }
        let Step::Content {
            encoder,
            handed_out,
        } = &mut self.step
        else {
            return None;
        };
        let end = self.content.len().min(*handed_out + most.max(1));
        // Room for some dots and line ends, so that common content is encoded without growing.
        let mut output = BytesMut::with_capacity((end - *handed_out) / 16 * 17 + 16);
        encoder.encode(&self.content[*handed_out..end], &mut output);
        *handed_out = end;
        if end == self.content.len() {
            mem::take(encoder).finish(&mut output);
            self.step = Step::EndOfData;
            self.past_end_of_data = true;
        }
        Some(output.freeze())
    }

    fn is_past_end_of_data(&self) -> bool {
        self.past_end_of_data
    }

    fn outcome(&self) -> Option<&Result<Completed, DialogueError>> {
        self.outcome.as_ref()
    }
}

impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue")
            .field("envelope", &self.envelope)
            .field("content_bytes", &self.content.len())
            .field("stage", &self.stage())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "dialogue_tests.rs"]
mod tests;
