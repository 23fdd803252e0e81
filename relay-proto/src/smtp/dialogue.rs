//! The client's side of the delivery of one message.

use super::{
    Capabilities, Code, Command, Completed, ContentEncoder, Conversation, DialogueError, Envelope,
    Handshake, HandshakeStep, HostName, Reply, ReplyParser, Stage, delivery::Delivery,
};
use bytes::{Bytes, BytesMut};
use core::{fmt, mem};

/// Sends one message over one connection or channel, in lockstep: the client waits where SMTP waits (RFC 5321, section 3.3).
///
/// One recipient accepted is enough for the message to go out; those refused are part of the outcome.
pub struct Dialogue {
    delivery: Delivery,
    parser: ReplyParser,
    output: BytesMut,
    step: Step,
    past_end_of_data: bool,
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
            delivery: Delivery::new(envelope, content),
            parser: ReplyParser::new(),
            output: BytesMut::new(),
            step: Step::Handshake(Handshake::new(host_name)),
            past_end_of_data: false,
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
            Step::Recipient => match self.delivery.recipient(reply) {
                Some(reply) => self.refused(Stage::Recipient, reply),
                None => self.next_recipient(),
            },
            Step::Data if reply.code() == Code::START_CONTENT => {
                self.step = Step::Content {
                    encoder: ContentEncoder::new(),
                    handed_out: 0,
                };
            }
            Step::Data => self.refused(Stage::Data, reply),
            Step::EndOfData if reply.code().class() == 2 => {
                self.delivery.completed(reply);
                self.say(&Command::Quit);
            }
            Step::EndOfData => self.refused(Stage::EndOfData, reply),
        }
    }

    /// Says MAIL with what the message needs, or finds that the server lacks it.
    fn mail(&mut self, offered: &Capabilities) {
        match self.delivery.mail(offered) {
            Ok(mail) => {
                self.say(&mail);
                self.step = Step::Mail;
            }
            Err(missing) => {
                self.say(&Command::Quit);
                self.delivery.fail(missing);
            }
        }
    }

    fn next_recipient(&mut self) {
        match self.delivery.next_recipient().cloned() {
            Some(forward_path) => {
                self.say(&Command::Rcpt { forward_path });
                self.step = Step::Recipient;
            }
            None if self.delivery.has_recipient() => {
                self.say(&Command::Data);
                self.step = Step::Data;
            }
            None => {
                self.say(&Command::Quit);
                self.delivery.no_recipient();
            }
        }
    }

    /// The server speaks while it is the client's turn. QUIT might be content to it, so nothing more is said.
    fn interrupted(&mut self, stage: Stage, reply: Reply) {
        self.output.clear();
        self.delivery.interrupted(stage, reply);
    }

    fn refused(&mut self, stage: Stage, reply: Reply) {
        if reply.code() != Code::NOT_AVAILABLE {
            self.say(&Command::Quit);
        }
        self.delivery.refused(stage, reply);
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
                    self.step = Step::Over;
                    self.delivery.fail(DialogueError::Garbled { stage, error });
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
        let end = self.delivery.content.len().min(*handed_out + most.max(1));
        // Room for some dots and line ends, so that common content is encoded without growing.
        let mut output = BytesMut::with_capacity((end - *handed_out) / 16 * 17 + 16);
        encoder.encode(&self.delivery.content[*handed_out..end], &mut output);
        *handed_out = end;
        if end == self.delivery.content.len() {
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
        self.delivery.outcome()
    }
}

impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue")
            .field("envelope", &self.delivery.envelope)
            .field("content_bytes", &self.delivery.content.len())
            .field("stage", &self.stage())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "dialogue_tests.rs"]
mod tests;
