//! The client's side of the delivery of one message in one round trip.

use super::{
    Capabilities, Code, Command, Completed, ContentEncoder, Conversation, DialogueError, Envelope,
    Reply, ReplyParser, Stage, delivery::Delivery,
};
use alloc::collections::VecDeque;
use bytes::{Bytes, BytesMut};
use core::fmt;

/// Sends one message without waiting: MAIL, every RCPT and the content by BDAT (RFC 3030) in one flight, as PIPELINING
/// (RFC 2920) allows.
///
/// It begins behind EHLO, with a server that is known to offer both. The outcome is what a
/// [`Dialogue`](super::Dialogue) with the same server comes to: one recipient accepted is enough for the message to go
/// out, and where MAIL or every RCPT was refused, the server refuses the content as well.
///
/// ```
/// use relay_proto::smtp::{Address, Capabilities, Conversation, Envelope, Flight};
///
/// let (from, to): (Address, Address) = ("a@client.example".parse()?, "b@mx.example".parse()?);
/// let offered = Capabilities { pipelining: true, chunking: true, ..Capabilities::default() };
/// let mut flight = Flight::new(&offered, Envelope::new(from, [to])?, "Hello\n".into());
/// assert_eq!(
///     flight.poll_output(1024).unwrap(),
///     "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@mx.example>\r\nBDAT 7 LAST\r\nHello\r\n",
/// );
/// assert!(flight.is_past_end_of_data());
/// flight.handle_bytes(b"250 ok\r\n250 ok\r\n250 2.6.0 queued\r\n");
/// assert!(matches!(flight.outcome(), Some(Ok(completed)) if completed.accepted.len() == 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Flight {
    delivery: Delivery,
    parser: ReplyParser,
    /// Commands not handed out.
    output: BytesMut,
    /// Whether those are MAIL and RCPT.
    is_envelope_due: bool,
    content: Content,
    /// What was handed out and has no reply, in order.
    awaited: VecDeque<Stage>,
    past_end_of_data: bool,
}

enum Content {
    /// So much of it is handed out.
    Left {
        encoder: ContentEncoder,
        handed_out: usize,
    },
    /// All of it is, or the rest is of no use.
    Done,
}

impl Flight {
    /// The delivery of `content`, a whole RFC 5322 message in any line-end style, to a server that offers this.
    ///
    /// Where the message needs what is not offered, that is the outcome, and nothing but goodbye is said.
    pub fn new(offered: &Capabilities, envelope: Envelope, content: Bytes) -> Self {
        let mut flight = Self {
            delivery: Delivery::new(envelope, content),
            parser: ReplyParser::new(),
            output: BytesMut::new(),
            is_envelope_due: false,
            content: Content::Done,
            awaited: VecDeque::new(),
            past_end_of_data: false,
        };
        match flight.mail(offered) {
            Ok(mail) => {
                flight.say(&mail);
                for forward_path in flight.delivery.envelope.forward_paths() {
                    let forward_path = forward_path.clone();
                    let recipient = Command::Rcpt { forward_path };
                    flight.output.extend_from_slice(&recipient.to_bytes());
                }
                flight.is_envelope_due = true;
                flight.content = Content::Left {
                    encoder: ContentEncoder::for_chunks(),
                    handed_out: 0,
                };
            }
            Err(missing) => {
                flight.delivery.fail(missing);
                flight.say(&Command::Quit);
            }
        }
        flight
    }

    fn mail(&self, offered: &Capabilities) -> Result<Command, DialogueError> {
        let missing = [
            ("PIPELINING", offered.pipelining),
            ("CHUNKING", offered.chunking),
        ];
        for (extension, is_offered) in missing {
            if !is_offered {
                return Err(DialogueError::Unsupported {
                    extension,
                    needed_for: "a message in one round trip",
                });
            }
        }
        self.delivery.mail(offered)
    }

    fn handle_reply(&mut self, reply: Reply) {
        let stage = self.stage();
        let is_awaited = self.awaited.pop_front().is_some();
        if self.delivery.outcome().is_some() {
            // The rest of what was refused, or the reply to QUIT.
            return;
        }
        if !is_awaited {
            self.give_up();
            return self.delivery.interrupted(stage, reply);
        }
        let agreed = reply.code().class() == 2;
        match stage {
            Stage::Recipient => match self.delivery.recipient(reply) {
                Some(reply) => self.refused(stage, reply),
                None if self.delivery.next_recipient().is_some() => {}
                None if self.delivery.has_recipient() => {}
                None => {
                    self.give_up();
                    self.say(&Command::Quit);
                    self.delivery.no_recipient();
                }
            },
            Stage::EndOfData if agreed => {
                self.delivery.completed(reply);
                self.say(&Command::Quit);
            }
            _ if agreed => {}
            _ => self.refused(stage, reply),
        }
    }

    fn refused(&mut self, stage: Stage, reply: Reply) {
        self.give_up();
        if reply.code() != Code::NOT_AVAILABLE {
            self.say(&Command::Quit);
        }
        self.delivery.refused(stage, reply);
    }

    /// What was not handed out is of no use any more.
    fn give_up(&mut self) {
        self.output.clear();
        self.is_envelope_due = false;
        self.content = Content::Done;
    }

    /// What the next reply is about.
    fn stage(&self) -> Stage {
        match (self.awaited.front(), &self.content) {
            (Some(stage), _) => *stage,
            (None, _) if self.is_envelope_due => Stage::Mail,
            (None, Content::Left { .. }) => Stage::Content,
            (None, Content::Done) => Stage::EndOfData,
        }
    }

    fn say(&mut self, command: &Command) {
        self.output.extend_from_slice(&command.to_bytes());
    }

    /// Puts the next chunk, of about `most` bytes, behind what is there.
    fn chunk(&mut self, most: usize, output: &mut BytesMut) {
        let Content::Left {
            encoder,
            handed_out,
        } = &mut self.content
        else {
            return;
        };
        let content = &self.delivery.content;
        let mut chunk = BytesMut::new();
        let mut last = false;
        // The LF of a CRLF that is cut in two gives none.
        while chunk.is_empty() && !last {
            let end = content.len().min(handed_out.saturating_add(most.max(1)));
            chunk.reserve(end - *handed_out + 16);
            encoder.encode(&content[*handed_out..end], &mut chunk);
            *handed_out = end;
            last = end == content.len();
            if last {
                core::mem::take(encoder).finish(&mut chunk);
            }
        }
        let size = chunk.len() as u64;
        output.extend_from_slice(&Command::BinaryData { size, last }.to_bytes());
        output.extend_from_slice(&chunk);
        if last {
            self.awaited.push_back(Stage::EndOfData);
            self.content = Content::Done;
            self.past_end_of_data = true;
        } else {
            self.awaited.push_back(Stage::Content);
        }
    }
}

impl Conversation for Flight {
    fn handle_bytes(&mut self, bytes: &[u8]) {
        self.parser.push(bytes);
        loop {
            match self.parser.next_reply() {
                Ok(Some(reply)) => self.handle_reply(reply),
                Ok(None) => break,
                Err(error) => {
                    let stage = self.stage();
                    self.give_up();
                    self.delivery.fail(DialogueError::Garbled { stage, error });
                    break;
                }
            }
        }
    }

    fn poll_output(&mut self, most: usize) -> Option<Bytes> {
        let mut output = self.output.split();
        if core::mem::take(&mut self.is_envelope_due) {
            let recipients = self.delivery.envelope.forward_paths().len();
            self.awaited.push_back(Stage::Mail);
            self.awaited
                .extend(core::iter::repeat_n(Stage::Recipient, recipients));
        }
        self.chunk(most, &mut output);
        (!output.is_empty()).then(|| output.freeze())
    }

    fn is_past_end_of_data(&self) -> bool {
        self.past_end_of_data
    }

    fn outcome(&self) -> Option<&Result<Completed, DialogueError>> {
        self.delivery.outcome()
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("envelope", &self.delivery.envelope)
            .field("content_bytes", &self.delivery.content.len())
            .field("stage", &self.stage())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
