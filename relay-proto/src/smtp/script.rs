//! Raw dialogues: lines of SMTP as a person would type them.

use super::{
    Command, Completed, Conversation, DialogueError, Exchange, Handshake, HandshakeStep, HostName,
    Reply, ReplyParser, Stage,
};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::{BufMut, Bytes, BytesMut};
use core::{fmt, mem};

/// A raw SMTP dialogue: commands line by line, and after DATA the content up to a line with a single dot.
///
/// `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    steps: VecDeque<Line>,
    length: usize,
}

/// What is sent at once and answered once.
#[derive(Clone, PartialEq, Eq)]
struct Line {
    bytes: Bytes,
    /// Whether this is content, with its final dot.
    is_content: bool,
}

/// Why a text is no script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// There is no line in it.
    #[error("the script has no line")]
    Empty,
    /// A carriage return or a NUL stands inside a line.
    #[error("line {line} of the script holds a carriage return or NUL character")]
    Control {
        /// Which line, from 1.
        line: usize,
    },
    /// A command line has more than 2,046 bytes.
    #[error("line {line} of the script is too long for a command")]
    TooLong {
        /// Which line, from 1.
        line: usize,
    },
    /// After DATA there is no line with a single dot.
    #[error("the content after DATA does not end with a line that is a single dot")]
    Unfinished,
}

/// The longest command line without its CRLF, in bytes: what [`Session`](super::Session) takes.
const MAX_COMMAND: usize = 2046;

impl Script {
    /// Reads a script. Lines end in LF or CRLF, the last one may be unfinished; empty lines between commands are left out.
    ///
    /// The content after DATA is taken as it is on the wire: a line that begins with a dot has a second one.
    /// A script without EHLO or HELO gets one when it is run, one without QUIT gets that.
    ///
    /// # Errors
    ///
    /// Where a line could not be sent as one line, or content has no end.
    pub fn parse(text: &[u8]) -> Result<Self, ScriptError> {
        let mut steps = VecDeque::new();
        let mut content: Option<BytesMut> = None;
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
                return Err(ScriptError::Control { line: number });
            }
            if let Some(mut so_far) = content.take() {
                so_far.put_slice(line);
                so_far.put_slice(b"\r\n");
                if line == b"." {
                    let (bytes, is_content) = (so_far.freeze(), true);
                    steps.push_back(Line { bytes, is_content });
                } else {
                    content = Some(so_far);
                }
            } else if line.len() > MAX_COMMAND {
                return Err(ScriptError::TooLong { line: number });
            } else if !line.is_empty() {
                if line.trim_ascii().eq_ignore_ascii_case(b"DATA") {
                    content = Some(BytesMut::new());
                }
                let (bytes, is_content) = (Bytes::copy_from_slice(line), false);
                steps.push_back(Line { bytes, is_content });
            }
        }
        if content.is_some() {
            return Err(ScriptError::Unfinished);
        }
        if steps.is_empty() {
            return Err(ScriptError::Empty);
        }
        let length = steps.iter().map(|line| line.bytes.len()).sum();
        Ok(Self { steps, length })
    }

    /// How many bytes its lines have.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there is nothing in it, which no script that was read is.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn says(&self, verb: &[u8]) -> bool {
        self.steps.iter().any(|line| {
            let word = line.bytes.get(..verb.len()).unwrap_or_default();
            !line.is_content && word.eq_ignore_ascii_case(verb)
        })
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({} bytes)", self.length)
    }
}

/// Runs a [`Script`] in lockstep. The first 4yz or 5yz reply ends it.
pub struct ScriptRun {
    steps: VecDeque<Line>,
    parser: ReplyParser,
    output: VecDeque<Bytes>,
    step: Step,
    transcript: Vec<Exchange>,
    past_end_of_data: bool,
    delivered: bool,
    outcome: Option<Result<Completed, DialogueError>>,
}

enum Step {
    /// The script greets for itself: only the server's greeting is awaited.
    Greeting,
    /// We greet in its place; this was said last.
    Handshake(Handshake, Bytes),
    /// This line awaits its reply.
    Line(Line),
    Over,
}

impl ScriptRun {
    /// The run of a script by a client called `host_name`, where the script does not give its own name.
    pub fn new(host_name: HostName, mut script: Script) -> Self {
        if !script.says(b"QUIT") {
            script.steps.push_back(Line {
                bytes: Bytes::from_static(b"QUIT"),
                is_content: false,
            });
        }
        let step = if script.says(b"EHLO") || script.says(b"HELO") {
            Step::Greeting
        } else {
            Step::Handshake(Handshake::new(host_name), Bytes::new())
        };
        Self {
            steps: script.steps,
            parser: ReplyParser::new(),
            output: VecDeque::new(),
            step,
            transcript: Vec::new(),
            past_end_of_data: false,
            delivered: false,
            outcome: None,
        }
    }

    fn handle_reply(&mut self, reply: Reply) {
        match mem::replace(&mut self.step, Step::Over) {
            Step::Greeting => self.answered(Bytes::new(), reply),
            Step::Handshake(mut handshake, said) => match handshake.handle_reply(reply.clone()) {
                HandshakeStep::Send(command) => {
                    self.transcript.push(Exchange::new(said, reply));
                    let said = self.say(&command);
                    self.step = Step::Handshake(handshake, said);
                }
                HandshakeStep::Ready(_) => self.answered(said, reply),
                HandshakeStep::Refused(reply) => self.refused(said, reply),
            },
            Step::Line(line) => {
                let (is_content, shown) = match line.is_content {
                    true => (true, Bytes::from_static(b".")),
                    false => (false, line.bytes),
                };
                let content_follows = self.steps.front().is_some_and(|next| next.is_content);
                if is_content && reply.code().class() == 2 {
                    self.delivered = true;
                }
                if content_follows && reply.code().as_u16() != 354 {
                    self.refused(shown, reply);
                } else {
                    self.answered(shown, reply);
                }
            }
            Step::Over => {}
        }
    }

    /// Notes the reply and goes on, unless it is a refusal.
    fn answered(&mut self, line: Bytes, reply: Reply) {
        if !reply.is_positive() {
            return self.refused(line, reply);
        }
        let is_quit = line.eq_ignore_ascii_case(b"QUIT");
        self.transcript.push(Exchange::new(line, reply.clone()));
        match self.steps.pop_front() {
            Some(next) if !is_quit => {
                self.past_end_of_data |= next.is_content;
                self.output.push_back(next.bytes.clone());
                if !next.is_content {
                    self.output.push_back(Bytes::from_static(b"\r\n"));
                }
                self.step = Step::Line(next);
            }
            _ => {
                let completed = Completed {
                    reply,
                    accepted: Vec::new(),
                    rejected: Vec::new(),
                    transcript: mem::take(&mut self.transcript),
                };
                self.decide(Ok(completed));
            }
        }
    }

    fn refused(&mut self, line: Bytes, reply: Reply) {
        self.transcript.push(Exchange::new(line, reply.clone()));
        if reply.code().as_u16() != 421 {
            self.say(&Command::Quit);
        }
        let error = DialogueError::Script {
            reply,
            transcript: mem::take(&mut self.transcript),
            delivered: self.delivered,
        };
        self.decide(Err(error));
    }

    fn say(&mut self, command: &Command) -> Bytes {
        let bytes = command.to_bytes();
        self.output.push_back(bytes.clone());
        bytes.slice(..bytes.len() - 2)
    }

    fn decide(&mut self, outcome: Result<Completed, DialogueError>) {
        self.step = Step::Over;
        self.outcome.get_or_insert(outcome);
    }

    fn stage(&self) -> Stage {
        match &self.step {
            Step::Greeting | Step::Handshake(..) => Stage::Hello,
            Step::Line(line) if !line.is_content => Stage::Mail,
            Step::Line(_) | Step::Over => Stage::EndOfData,
        }
    }
}

impl Conversation for ScriptRun {
    fn handle_bytes(&mut self, bytes: &[u8]) {
        self.parser.push(bytes);
        loop {
            let stage = self.stage();
            match self.parser.next_reply() {
                Ok(Some(reply)) if !self.output.is_empty() && self.outcome.is_none() => {
                    self.output.clear();
                    self.decide(Err(DialogueError::OutOfTurn { stage, reply }));
                }
                Ok(Some(reply)) => self.handle_reply(reply),
                Ok(None) => break,
                Err(error) => {
                    self.decide(Err(DialogueError::Garbled { stage, error }));
                    break;
                }
            }
        }
    }

    fn poll_output(&mut self, most: usize) -> Option<Bytes> {
        let mut next = self.output.pop_front()?;
        if next.len() > most.max(1) {
            let rest = next.split_off(most.max(1));
            self.output.push_front(rest);
        }
        Some(next)
    }

    fn is_past_end_of_data(&self) -> bool {
        self.past_end_of_data
    }

    fn outcome(&self) -> Option<&Result<Completed, DialogueError>> {
        self.outcome.as_ref()
    }
}

impl fmt::Debug for ScriptRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptRun")
            .field("stage", &self.stage())
            .field("lines_left", &self.steps.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
