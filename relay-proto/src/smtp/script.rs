//! Raw dialogues: lines of SMTP as a person would type them.

use super::{
    Code, Command, Completed, Conversation, DialogueError, Exchange, Handshake, HandshakeStep,
    HostName, Reply, ReplyParser, Stage,
};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::{BufMut, Bytes, BytesMut};
use core::{fmt, mem};
use memchr::memchr_iter;

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

impl Line {
    fn to_bytes(&self) -> Bytes {
        match self.is_content {
            true => self.bytes.clone(),
            false => [&self.bytes[..], b"\r\n"].concat().into(),
        }
    }
}

/// Why a text is no script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// There is no line in it besides QUIT.
    #[error("the script has nothing to say")]
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
    /// Something follows QUIT.
    #[error("line {line} of the script comes after QUIT")]
    AfterQuit {
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
    /// A script without EHLO or HELO gets one when it is run. QUIT is always said at the end and need not be there.
    ///
    /// # Errors
    ///
    /// Where a line could not be sent as one line, content has no end, or something follows QUIT.
    pub fn parse(text: &[u8]) -> Result<Self, ScriptError> {
        let mut steps = VecDeque::new();
        let mut content: Option<BytesMut> = None;
        let mut quits = false;
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
                if quits {
                    return Err(ScriptError::AfterQuit { line: number });
                }
                if verb(line).eq_ignore_ascii_case(b"QUIT") {
                    quits = true;
                    continue;
                }
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

    /// The script as text, QUIT left out, with CRLF line ends: what [`parse`](Self::parse) makes the same script of.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.length + 2 * self.steps.len());
        for line in &self.steps {
            bytes.put_slice(&line.bytes);
            if !line.is_content {
                bytes.put_slice(b"\r\n");
            }
        }
        bytes.freeze()
    }

    /// How many bytes its lines have, QUIT left out.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there is nothing in it, which no script that was read is.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn says_hello(&self) -> bool {
        let mut commands = self.steps.iter().filter(|line| !line.is_content);
        commands.any(|line| {
            let verb = verb(&line.bytes);
            verb.eq_ignore_ascii_case(b"EHLO") || verb.eq_ignore_ascii_case(b"HELO")
        })
    }
}

/// The first word of a command.
fn verb(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b' ').next().unwrap_or_default()
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({} bytes)", self.length)
    }
}

/// Runs a [`Script`] in lockstep. The first 4yz or 5yz reply ends it.
///
/// The outcome is there before QUIT is answered, and QUIT is not in the transcript: what becomes of it says nothing about what
/// was done before, and a link that is lost at that moment must not put a delivered message in doubt.
pub struct ScriptRun {
    steps: VecDeque<Line>,
    parser: ReplyParser,
    /// What is left of what was said last.
    output: Bytes,
    step: Step,
    transcript: Vec<Exchange>,
    /// The server has sent a challenge, so the next line may be a secret.
    challenged: bool,
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
    /// Nothing but goodbye is left.
    Over,
}

impl ScriptRun {
    /// The run of a script by a client called `host_name`, where the script does not give its own name.
    pub fn new(host_name: HostName, script: Script) -> Self {
        let step = if script.says_hello() {
            Step::Greeting
        } else {
            Step::Handshake(Handshake::new(host_name), Bytes::new())
        };
        Self {
            steps: script.steps,
            parser: ReplyParser::new(),
            output: Bytes::new(),
            step,
            transcript: Vec::new(),
            challenged: false,
            past_end_of_data: false,
            delivered: false,
            outcome: None,
        }
    }

    /// The run of a script on a connection on which the client is greeted already, and has said EHLO.
    pub fn behind_hello(script: Script) -> Self {
        let mut steps = script.steps;
        let first = steps.pop_front();
        Self {
            output: first.as_ref().map_or_else(Bytes::new, Line::to_bytes),
            step: first.map_or(Step::Over, Step::Line),
            steps,
            parser: ReplyParser::new(),
            transcript: Vec::new(),
            challenged: false,
            past_end_of_data: false,
            delivered: false,
            outcome: None,
        }
    }

    fn handle_reply(&mut self, reply: Reply) {
        let (stage, class) = (self.stage(), reply.code().class());
        let step = mem::replace(&mut self.step, Step::Over);
        if !self.output.is_empty() && !matches!(step, Step::Over) {
            return self.interrupted(stage, step, reply);
        }
        match step {
            // The reply to QUIT, or one too many; the outcome stands.
            Step::Over => {}
            Step::Greeting if class == 2 => self.answered(Bytes::new(), reply),
            Step::Greeting => self.refused(stage, Bytes::new(), reply),
            Step::Handshake(mut handshake, said) => match handshake.handle_reply(reply.clone()) {
                HandshakeStep::Send(command) => {
                    self.transcript.push(Exchange::new(said, reply));
                    self.output = command.to_bytes();
                    let said = self.output.slice(..self.output.len() - 2);
                    self.step = Step::Handshake(handshake, said);
                }
                HandshakeStep::Ready(_) => self.answered(said, reply),
                HandshakeStep::Refused(reply) => self.refused(stage, said, reply),
            },
            Step::Line(line) => {
                let content_follows = self.steps.front().is_some_and(|next| next.is_content);
                let is_agreed = match (line.is_content, content_follows) {
                    (true, _) => class == 2,
                    (false, true) => reply.code() == Code::START_CONTENT,
                    (false, false) => reply.is_positive(),
                };
                let shown = self.shown(&line);
                self.delivered |= line.is_content && is_agreed;
                if is_agreed {
                    self.challenged = class == 3 && !content_follows;
                    self.answered(shown, reply);
                } else {
                    self.refused(stage, shown, reply);
                }
            }
        }
    }

    /// Notes the reply and goes on.
    fn answered(&mut self, shown: Bytes, reply: Reply) {
        self.transcript.push(Exchange::new(shown, reply.clone()));
        if let Some(next) = self.steps.pop_front() {
            self.output = next.to_bytes();
            self.step = Step::Line(next);
        } else {
            self.output = Command::Quit.to_bytes();
            let completed = Completed {
                reply,
                accepted: Vec::new(),
                rejected: Vec::new(),
                transcript: mem::take(&mut self.transcript),
            };
            self.decide(Ok(completed));
        }
    }

    fn refused(&mut self, stage: Stage, shown: Bytes, reply: Reply) {
        if reply.code() != Code::NOT_AVAILABLE {
            self.output = Command::Quit.to_bytes();
        }
        if reply.is_positive() {
            return self.decide(Err(DialogueError::OutOfTurn { stage, reply }));
        }
        self.transcript.push(Exchange::new(shown, reply.clone()));
        let error = DialogueError::Script {
            reply,
            transcript: mem::take(&mut self.transcript),
            delivered: self.delivered,
        };
        self.decide(Err(error));
    }

    /// The server speaks while it is the client's turn. QUIT might be content to it, so nothing more is said.
    fn interrupted(&mut self, stage: Stage, step: Step, reply: Reply) {
        let gives_up = stage == Stage::Content && !reply.is_positive();
        if gives_up || reply.code() == Code::NOT_AVAILABLE {
            let shown = match &step {
                Step::Handshake(_, said) => said.clone(),
                Step::Line(line) => self.shown(line),
                Step::Greeting | Step::Over => Bytes::new(),
            };
            self.refused(stage, shown, reply);
        } else {
            self.decide(Err(DialogueError::OutOfTurn { stage, reply }));
        }
        self.output.clear();
    }

    /// A line as the transcript tells it.
    fn shown(&self, line: &Line) -> Bytes {
        if line.is_content {
            return Bytes::from_static(b".");
        }
        if self.challenged {
            return Bytes::from_static(b"***");
        }
        if !verb(&line.bytes).eq_ignore_ascii_case(b"AUTH") {
            return line.bytes.clone();
        }
        let mut spaces = memchr_iter(b' ', &line.bytes);
        let end = spaces.nth(1).unwrap_or(line.bytes.len());
        line.bytes.slice(..end)
    }

    fn decide(&mut self, outcome: Result<Completed, DialogueError>) {
        self.step = Step::Over;
        self.outcome.get_or_insert(outcome);
    }

    fn stage(&self) -> Stage {
        match &self.step {
            Step::Greeting | Step::Handshake(..) => Stage::Hello,
            Step::Line(line) if !line.is_content => Stage::Mail,
            Step::Line(_) if !self.output.is_empty() => Stage::Content,
            Step::Line(_) | Step::Over => Stage::EndOfData,
        }
    }
}

impl Conversation for ScriptRun {
    fn handle_bytes(&mut self, bytes: &[u8]) {
        self.parser.push(bytes);
        loop {
            match self.parser.next_reply() {
                Ok(Some(reply)) => self.handle_reply(reply),
                Ok(None) => break,
                Err(error) => {
                    let stage = self.stage();
                    self.output.clear();
                    self.decide(Err(DialogueError::Garbled { stage, error }));
                    break;
                }
            }
        }
    }

    fn poll_output(&mut self, most: usize) -> Option<Bytes> {
        if self.output.is_empty() {
            return None;
        }
        let piece = self.output.split_to(self.output.len().min(most.max(1)));
        let is_content = matches!(&self.step, Step::Line(line) if line.is_content);
        self.past_end_of_data |= is_content && self.output.is_empty();
        Some(piece)
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
