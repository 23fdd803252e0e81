//! One message on its way to the upstream: what was said, what was answered, and what the session still waits for.

use super::{Event, HIGH_WATER, Refused, output::Output, trouble::Trouble};
use crate::{
    LinkId,
    smtp::{
        Ahead, Code, Command, ContentEncoder, ForwardPath, MailParameters, Reply, ReversePath,
        reply,
    },
};
use alloc::{borrow::ToOwned, collections::VecDeque, string::String};
use bytes::BytesMut;
use core::mem;

/// Content collected before a chunk goes out: BDAT and its reply cost little beside so much, and a message of ordinary size
/// needs one.
const CHUNK: usize = 32 * 1024;

/// A mail transaction (RFC 5321, section 3.3) with the upstream.
///
/// The session asks one thing after the other and waits for each answer. What its client has said already goes to the upstream in
/// one flight (RFC 2920) where that is offered; replies that come before the session asks for them are kept in order. Content
/// goes by BDAT (RFC 3030) where that is offered, and is never sent before the server has taken a recipient, nor, with DATA,
/// before its 354.
pub(super) struct Transaction {
    reverse_path: ReversePath,
    pipelining: bool,
    chunking: bool,
    /// MAIL was refused: what was said behind it is void.
    is_void: bool,
    /// How many recipients the server has taken.
    recipients: usize,
    /// The length of the content so far.
    bytes: u64,
    /// What was said and not answered, in order.
    unanswered: VecDeque<Said>,
    /// Answers the session has not asked for yet, in order.
    ahead: VecDeque<Reply>,
    /// Whether the session waits for the next answer.
    is_asked: bool,
    content: Content,
}

/// What was said to the server.
enum Said {
    Mail,
    Recipient(ForwardPath),
    Data,
    /// A chunk that is not the last.
    Chunk,
    /// The end of data: the final dot, or the last chunk.
    End,
    /// A lone dot, for a server that wants content for nobody.
    Nothing,
}

enum Content {
    /// None has come.
    Before,
    /// The server has not said yet whether it takes it.
    Awaited { content: BytesMut, is_all: bool },
    /// It goes by DATA.
    Lines(ContentEncoder),
    /// It goes by BDAT; so much is collected for the next chunk.
    Chunks(ContentEncoder, BytesMut),
    /// The server does not take it: what still comes goes nowhere. `is_told`: the session knows.
    Refused { reply: Reply, is_told: bool },
    /// It is all said, and only the reply tells what becomes of it, unless a chunk was refused.
    Ended { refusal: Option<Reply> },
}

/// When the session gets what it has asked for.
pub(super) enum Answer {
    /// Once the server has answered.
    Later,
    /// At once.
    Now(Reply),
    /// Never: nothing here takes it.
    Never,
}

/// What the server is waited for.
#[derive(Clone, Copy)]
pub(super) enum Awaited {
    Reply,
    /// That it takes content.
    Room,
    FinalReply,
}

/// What loss of the connection means.
pub(super) enum Loss {
    /// The server was not heard about the message.
    Nothing,
    /// The client was told that the message is refused.
    Settled,
    BetweenCommands,
    Unanswered,
    InDoubt,
}

/// Where a transaction writes to.
pub(super) struct Pen<'a> {
    /// The link of the client, for reports.
    pub(super) client: LinkId,
    /// For the server.
    pub(super) wire: BytesMut,
    pub(super) output: &'a mut Output,
}

impl Pen<'_> {
    fn say(&mut self, command: &Command) {
        self.wire.extend_from_slice(&command.to_bytes());
    }

    fn refused(&mut self, refused: Refused, reply: &Reply) {
        self.output.events.push_back(Event::MessageRefused {
            link: self.client,
            refused,
            reply: reply.clone(),
        });
    }
}

impl Transaction {
    /// Says MAIL, and what the client has said behind it.
    pub(super) fn begin(
        reverse_path: ReversePath,
        parameters: MailParameters,
        (pipelining, chunking): (bool, bool),
        ahead: impl Iterator<Item = Ahead>,
        pen: &mut Pen<'_>,
    ) -> Self {
        pen.say(&Command::Mail {
            reverse_path: reverse_path.clone(),
            parameters,
        });
        let mut transaction = Self {
            reverse_path,
            pipelining,
            chunking,
            is_void: false,
            recipients: 0,
            bytes: 0,
            unanswered: VecDeque::from([Said::Mail]),
            ahead: VecDeque::new(),
            is_asked: true,
            content: Content::Before,
        };
        transaction.say_ahead(ahead, pen);
        transaction
    }

    fn say_ahead(&mut self, ahead: impl Iterator<Item = Ahead>, pen: &mut Pen<'_>) {
        if !self.pipelining {
            return;
        }
        for said in ahead {
            match said {
                Ahead::Recipient(forward_path) => self.say_recipient(forward_path, pen),
                // Chunks carry content, so they wait until somebody takes it.
                Ahead::Content if self.chunking => {}
                Ahead::Content => self.say_data(pen),
            }
        }
    }

    fn say_recipient(&mut self, forward_path: ForwardPath, pen: &mut Pen<'_>) {
        let said = Said::Recipient(forward_path.clone());
        pen.say(&Command::Rcpt { forward_path });
        self.unanswered.push_back(said);
    }

    fn say_data(&mut self, pen: &mut Pen<'_>) {
        pen.say(&Command::Data);
        self.unanswered.push_back(Said::Data);
    }

    /// The session asks for a recipient; `ahead` is what its client has said behind that.
    pub(super) fn recipient(
        &mut self,
        forward_path: ForwardPath,
        ahead: impl Iterator<Item = Ahead>,
        pen: &mut Pen<'_>,
    ) -> Answer {
        if let Some(reply) = self.ahead.pop_front() {
            return Answer::Now(reply);
        }
        match self.unanswered.front() {
            Some(Said::Recipient(_)) => {}
            None if matches!(self.content, Content::Before) => {
                self.say_recipient(forward_path, pen);
                self.say_ahead(ahead, pen);
            }
            _ => return Answer::Never,
        }
        self.is_asked = true;
        Answer::Later
    }

    /// The session asks whether content may come. A server that takes chunks is not asked: it answers to the content itself.
    pub(super) fn data(&mut self, pen: &mut Pen<'_>) -> Answer {
        if let Some(reply) = self.ahead.pop_front() {
            return Answer::Now(reply);
        }
        match self.unanswered.front() {
            Some(Said::Data) => {}
            None if self.chunking => {
                self.content = Content::Chunks(ContentEncoder::for_chunks(), BytesMut::new());
                let text = "Start mail input; end with <CRLF>.<CRLF>";
                return Answer::Now(reply(354, "", text));
            }
            None => self.say_data(pen),
            _ => return Answer::Never,
        }
        self.is_asked = true;
        Answer::Later
    }

    /// A piece of content. A session that takes it by BDAT has not asked whether it may come.
    pub(super) fn content(&mut self, content: &[u8], pen: &mut Pen<'_>) {
        self.bytes += content.len() as u64;
        self.begin_content(pen);
        match &mut self.content {
            Content::Awaited {
                content: awaited, ..
            } => awaited.extend_from_slice(content),
            Content::Lines(encoder) => {
                // Few lines begin with a dot, so this rarely grows.
                pen.wire.reserve(content.len() + content.len() / 64 + 16);
                encoder.encode(content, &mut pen.wire);
            }
            Content::Chunks(encoder, chunk) => {
                encoder.encode(content, chunk);
                if chunk.len() >= CHUNK {
                    let chunk = mem::take(chunk);
                    self.say_chunk(&chunk, false, pen);
                }
            }
            Content::Before | Content::Refused { .. } | Content::Ended { .. } => {}
        }
    }

    fn begin_content(&mut self, pen: &mut Pen<'_>) {
        let early_answer = self.ahead.pop_front();
        if !matches!(self.content, Content::Before) {
            return;
        }
        self.content = if let Some(reply) = early_answer {
            Content::Refused {
                reply,
                is_told: false,
            }
        } else if self.chunking {
            Content::Chunks(ContentEncoder::for_chunks(), BytesMut::new())
        } else {
            if self.unanswered.is_empty() {
                self.say_data(pen);
            }
            Content::Awaited {
                content: BytesMut::new(),
                is_all: false,
            }
        };
    }

    fn say_chunk(&mut self, chunk: &[u8], last: bool, pen: &mut Pen<'_>) {
        let size = chunk.len() as u64;
        pen.say(&Command::BinaryData { size, last });
        pen.wire.extend_from_slice(chunk);
        let said = if last { Said::End } else { Said::Chunk };
        self.unanswered.push_back(said);
    }

    /// That was all the content.
    pub(super) fn end_of_content(&mut self, pen: &mut Pen<'_>) -> Answer {
        self.begin_content(pen);
        match &mut self.content {
            Content::Refused { reply, is_told } => {
                *is_told = true;
                return Answer::Now(reply.clone());
            }
            Content::Awaited { is_all, .. } => *is_all = true,
            _ => self.end(pen),
        }
        self.is_asked = true;
        Answer::Later
    }

    /// Says the end of data.
    fn end(&mut self, pen: &mut Pen<'_>) {
        match mem::replace(&mut self.content, Content::Ended { refusal: None }) {
            Content::Lines(encoder) => {
                encoder.finish(&mut pen.wire);
                self.unanswered.push_back(Said::End);
            }
            Content::Chunks(encoder, mut chunk) => {
                encoder.finish(&mut chunk);
                self.say_chunk(&chunk, true, pen);
            }
            other => self.content = other,
        }
    }

    /// Takes the server's next reply. Returns it where the session has asked for it.
    ///
    /// # Errors
    ///
    /// Where the connection cannot go on.
    pub(super) fn handle_reply(
        &mut self,
        mut reply: Reply,
        pen: &mut Pen<'_>,
    ) -> Result<Option<Reply>, Trouble> {
        let class = reply.code().class();
        let (agreed, refused) = (class == 2, class >= 4);
        match self.unanswered.front() {
            Some(Said::Mail) if agreed => {}
            Some(Said::Mail) if refused => {
                self.is_void = true;
                pen.refused(Refused::Sender(self.reverse_path.clone()), &reply);
            }
            Some(Said::Recipient(_)) if agreed => self.recipients += 1,
            Some(Said::Recipient(recipient)) if refused => {
                if !self.is_void {
                    pen.refused(Refused::Recipient(recipient.clone()), &reply);
                }
            }
            // The session does not come to it.
            Some(Said::Data) if refused && (self.recipients == 0 || self.is_void) => {
                self.unanswered.pop_front();
                return Ok(None);
            }
            Some(Said::Data) if reply.code() == Code::START_CONTENT => {
                return self.may_send(reply, pen);
            }
            Some(Said::Data) if refused => {
                pen.refused(Refused::Data(self.reverse_path.clone()), &reply);
                if let Content::Awaited { is_all, .. } = self.content {
                    self.unanswered.pop_front();
                    self.content = Content::Refused {
                        reply: reply.clone(),
                        is_told: is_all,
                    };
                    return Ok(mem::take(&mut self.is_asked).then_some(reply));
                }
            }
            Some(Said::Chunk) if agreed || refused => {
                self.unanswered.pop_front();
                if refused {
                    self.chunk_refused(reply, pen);
                }
                return Ok(None);
            }
            Some(Said::Nothing) if agreed || refused => {
                self.unanswered.pop_front();
                return Ok(None);
            }
            Some(Said::End)
                if agreed && matches!(self.content, Content::Ended { refusal: None }) =>
            {
                pen.output.events.push_back(Event::MessageRelayed {
                    link: pen.client,
                    reverse_path: self.reverse_path.clone(),
                    recipients: self.recipients,
                    bytes: self.bytes,
                    reply: reply.clone(),
                });
            }
            Some(Said::End) if refused => {
                if let Content::Ended { refusal } = &mut self.content
                    && let Some(first) = refusal.take()
                {
                    reply = first;
                }
                pen.refused(Refused::Content(self.reverse_path.clone()), &reply);
            }
            front => {
                if let Content::Ended { refusal } = &mut self.content {
                    *refusal = None;
                }
                let in_content = front.is_none() && matches!(self.content, Content::Lines(_));
                let meant = reply.code() == Code::NOT_AVAILABLE || (in_content && refused);
                return Err(if meant {
                    Trouble::Refused(reply)
                } else {
                    Trouble::unexpected(&reply)
                });
            }
        }
        self.unanswered.pop_front();
        Ok(self.answer(reply))
    }

    fn answer(&mut self, reply: Reply) -> Option<Reply> {
        if mem::take(&mut self.is_asked) {
            return Some(reply);
        }
        if !self.is_void {
            self.ahead.push_back(reply);
        }
        None
    }

    /// The server waits for content.
    fn may_send(&mut self, reply: Reply, pen: &mut Pen<'_>) -> Result<Option<Reply>, Trouble> {
        if self.recipients == 0 {
            // RFC 2920, section 3.1: content for nobody is a lone dot, and the server refuses it.
            self.unanswered.pop_front();
            pen.wire.extend_from_slice(b".\r\n");
            self.unanswered.push_front(Said::Nothing);
            return Ok(None);
        }
        if self.is_void {
            return Err(Trouble::unexpected(&reply));
        }
        self.unanswered.pop_front();
        let mut encoder = ContentEncoder::new();
        if let Content::Awaited { content, is_all } = &mut self.content {
            encoder.encode(content, &mut pen.wire);
            let is_all = *is_all;
            self.content = Content::Lines(encoder);
            if is_all {
                self.end(pen);
            }
            return Ok(None);
        }
        self.content = Content::Lines(encoder);
        Ok(self.answer(reply))
    }

    fn chunk_refused(&mut self, reply: Reply, pen: &mut Pen<'_>) {
        match &mut self.content {
            Content::Chunks(..) => {
                pen.refused(Refused::Content(self.reverse_path.clone()), &reply);
                self.content = Content::Refused {
                    reply,
                    is_told: false,
                };
            }
            Content::Ended { refusal } => {
                refusal.get_or_insert(reply);
            }
            _ => {}
        }
    }

    /// Whether it takes the next request of the session; `unwritten` is how much waits for the socket.
    pub(super) fn is_ready(&self, unwritten: usize) -> bool {
        if self.is_asked {
            return false;
        }
        match &self.content {
            _ if !self.ahead.is_empty() => true,
            Content::Before => match self.unanswered.front() {
                None | Some(Said::Recipient(_)) => !self.is_void,
                // The session does not come to it where there is nobody to go to.
                Some(Said::Data) => self.recipients > 0,
                _ => false,
            },
            Content::Lines(_) => unwritten <= HIGH_WATER,
            Content::Chunks(_, chunk) => {
                let may_say = self.pipelining || self.unanswered.is_empty();
                may_say && unwritten + chunk.len() <= HIGH_WATER
            }
            Content::Refused { .. } => true,
            Content::Awaited { .. } | Content::Ended { .. } => false,
        }
    }

    /// Whether the next move is the client's.
    pub(super) fn waits_for_client(&self, unwritten: usize) -> bool {
        match self.content {
            Content::Before => !self.is_asked && self.unanswered.is_empty(),
            Content::Lines(_) | Content::Chunks(..) => unwritten == 0 && !self.is_asked,
            Content::Refused { .. } => true,
            Content::Awaited { .. } | Content::Ended { .. } => false,
        }
    }

    /// What the server is waited for; `unwritten` is how much waits for the socket.
    pub(super) fn awaited(&self, unwritten: usize) -> Option<Awaited> {
        let reply = (!self.unanswered.is_empty()).then_some(Awaited::Reply);
        match self.content {
            Content::Ended { .. } => Some(Awaited::FinalReply),
            Content::Lines(_) | Content::Chunks(..) if unwritten > 0 => Some(Awaited::Room),
            // Replies to chunks may come late: the last one tells.
            Content::Chunks(..) if self.pipelining => None,
            _ => reply,
        }
    }

    /// Content that waits for more, or for the server to agree.
    pub(super) fn held(&self) -> usize {
        match &self.content {
            Content::Awaited { content, .. } | Content::Chunks(_, content) => content.len(),
            _ => 0,
        }
    }

    /// Whether a reply now would answer nothing.
    pub(super) fn expects_nothing(&self) -> bool {
        matches!(self.content, Content::Before) && self.unanswered.is_empty()
    }

    /// Whether the end of data was said.
    pub(super) const fn is_past_end_of_data(&self) -> bool {
        matches!(self.content, Content::Ended { .. })
    }

    /// Whether all is answered, and the connection is as it was before.
    pub(super) fn is_over(&self) -> bool {
        let ended = self.is_void || self.is_past_end_of_data();
        ended && self.unanswered.is_empty()
    }

    /// Whether nothing is left but to take back what the server has refused.
    pub(super) const fn is_to_be_reset(&self) -> bool {
        matches!(self.content, Content::Refused { is_told: true, .. })
    }

    /// How many replies come before that to a RSET now; `None` where RSET would be content, or come too early.
    pub(super) fn replies_before_reset(&self) -> Option<usize> {
        let unanswered = self.unanswered.len();
        match self.content {
            Content::Before if self.ahead.is_empty() && unanswered == 0 => Some(0),
            Content::Chunks(..) | Content::Refused { .. } => {
                (unanswered == 0 || self.pipelining).then_some(unanswered)
            }
            _ => None,
        }
    }

    /// Whether content has begun to come.
    pub(super) const fn has_content(&self) -> bool {
        !matches!(self.content, Content::Before)
    }

    /// What it means that the connection ends now.
    pub(super) fn loss(&self) -> Loss {
        let is_idle = !self.is_asked && self.unanswered.is_empty() && self.ahead.is_empty();
        match self.content {
            _ if self.is_void => Loss::Settled,
            _ if matches!(self.unanswered.front(), Some(Said::Mail)) => Loss::Nothing,
            Content::Before if is_idle => Loss::BetweenCommands,
            Content::Ended { refusal: None } => Loss::InDoubt,
            _ => Loss::Unanswered,
        }
    }

    /// The end of a message whose end of data was not said, or not taken. Nothing where the client was told another one.
    pub(super) fn report_abandoned(&self, why: &str, client: LinkId, output: &mut Output) {
        let is_refused = self.is_void || matches!(self.content, Content::Refused { .. });
        if !is_refused {
            output.events.push_back(Event::MessageAbandoned {
                link: client,
                reverse_path: self.reverse_path.clone(),
                why: why.to_owned(),
            });
        }
    }

    /// The end of a message whose final reply does not come.
    pub(super) fn report_in_doubt(&self, why: String, client: LinkId, output: &mut Output) {
        output.events.push_back(Event::MessageInDoubt {
            link: client,
            reverse_path: self.reverse_path.clone(),
            recipients: self.recipients,
            why,
        });
    }
}
