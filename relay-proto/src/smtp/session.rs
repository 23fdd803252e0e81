//! The server's side of one SMTP conversation.

mod ahead;
mod chunk;
mod config;
mod request;
mod trust;

pub use config::{Authentication, Security, SessionConfig};
pub use request::{Request, Turn};

use super::{
    Code, Command, ContentDecoder, ForwardPath, MailParameters, Reply, ReversePath, Size,
    authentication::Exchange, command::international_address, reply,
};
pub use ahead::Ahead;
use bytes::{Buf, Bytes, BytesMut};
use chunk::{Chunk, UnwantedChunk, is_bdat};
use core::{fmt, mem};
use memchr::memmem;

/// The longest command line with its CRLF, in bytes: RFC 5321, section 4.5.3.1.4, asks for 512, extensions for more.
const MAX_LINE: usize = 2048;

/// Output in bytes above which no further command is worked on, as a short command can have a long reply.
const MAX_OUTPUT: usize = 64 * 1024;

/// The server's side of one SMTP conversation (RFC 5321), on a connection or a channel.
///
/// The session knows the grammar, the order of commands and the bounds; whether a sender, a recipient or a message is welcome, its
/// owner knows. The owner greets, then after every [`handle_bytes`](Self::handle_bytes) and every
/// [`respond`](Self::respond) takes requests and output until there are neither:
///
/// ```
/// use relay_proto::smtp::{Request, Session, SessionConfig, reply};
///
/// let mut session = Session::new(SessionConfig::new("mx.example".parse()?));
/// session.greet(reply(220, "", "mx.example ESMTP"));
/// session.handle_bytes(b"EHLO client.example\r\nMAIL FROM:<a@client.example>\r\n");
/// while let Some(request) = session.poll_request() {
///     match request {
///         Request::Mail { .. } => session.respond(reply(250, "2.1.0", "Sender ok")),
///         _ => unreachable!("nothing else was sent"),
///     }
/// }
/// let output = session.poll_output().unwrap();
/// assert!(output.starts_with(b"220 mx.example ESMTP\r\n250-mx.example\r\n"));
/// assert!(output.ends_with(b"\r\n250 2.1.0 Sender ok\r\n"));
/// # Ok::<(), relay_proto::smtp::AddressError>(())
/// ```
pub struct Session {
    config: SessionConfig,
    input: BytesMut,
    output: BytesMut,
    stage: Stage,
    said_hello: bool,
    errors: u32,
    is_authenticated: bool,
    /// Refusals of the client's credentials.
    failures: u32,
    /// The start of the line at hand was too long and is gone.
    skips_line: bool,
}

enum Stage {
    Ungreeted,
    Idle,
    /// MAIL waits for its answer.
    AskedMail(Transaction),
    Transaction(Transaction),
    /// RCPT waits for its answer.
    AskedRecipient(Transaction),
    /// DATA waits for its answer.
    AskedData(Transaction),
    Content(Content),
    Chunk(Chunk),
    /// BDAT goes on, with so many bytes so far.
    BetweenChunks {
        total: u64,
    },
    UnwantedChunk(UnwantedChunk),
    /// The message waits for its answer.
    AskedMessage,
    Unwanted(Unwanted),
    /// The client is saying who it is.
    Authenticating(Exchange),
    /// Its credentials wait for their answer.
    AskedCredentials,
    /// STARTTLS waits for its answer.
    AskedStartTls,
    /// TLS is being started.
    Securing,
    /// QUIT is answered and not yet reported.
    Quitting,
    Over,
}

#[derive(Default)]
struct Transaction {
    smtputf8: bool,
    recipients: usize,
}

#[derive(Default)]
struct Content {
    decoder: ContentDecoder,
    length: u64,
}

/// Content that comes and goes nowhere.
struct Unwanted {
    decoder: ContentDecoder,
    /// What the client is told at its end, if it was not told at its start.
    reply: Option<Reply>,
    /// Whether the owner still holds the transaction.
    in_transaction: bool,
}

impl Session {
    /// A session before its greeting.
    pub fn new(mut config: SessionConfig) -> Self {
        config.capabilities.dsn = false;
        config.capabilities.size = Some(match config.max_message_bytes {
            Some(limit) => Size::Limit(limit),
            None => Size::Unlimited,
        });
        Self {
            config,
            input: BytesMut::new(),
            output: BytesMut::new(),
            stage: Stage::Ungreeted,
            said_hello: false,
            errors: 0,
            is_authenticated: false,
            failures: 0,
            skips_line: false,
        }
    }

    /// Greets the client: 220, the server's name and more. Input waits until then. A negative greeting ends the session.
    ///
    /// Does nothing the second time.
    pub fn greet(&mut self, reply: Reply) {
        if matches!(self.stage, Stage::Ungreeted) {
            self.stage = if reply.is_positive() {
                Stage::Idle
            } else {
                Stage::Over
            };
            self.say(&reply);
        }
    }

    /// Appends input. Its boundaries mean nothing. What comes between STARTTLS and [`secured`](Self::secured) is thrown away.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        if !matches!(
            self.stage,
            Stage::AskedStartTls | Stage::Securing | Stage::Quitting | Stage::Over
        ) {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Works through the input up to the next thing the owner has to answer or to know.
    ///
    /// `None` while a request awaits its answer, while more input is needed, and while much output waits to be taken.
    #[must_use]
    pub fn poll_request(&mut self) -> Option<Request> {
        loop {
            if self.output.len() >= MAX_OUTPUT {
                return None;
            }
            match &mut self.stage {
                Stage::Idle
                | Stage::Transaction(_)
                | Stage::BetweenChunks { .. }
                | Stage::Authenticating(_) => {
                    let request = match self.take_line()? {
                        Ok(line) => self.handle_line(&line),
                        Err(reply) => self.handle_error(&reply),
                    };
                    if request.is_some() {
                        return request;
                    }
                }
                Stage::Content(content) => {
                    let mut piece = BytesMut::with_capacity(self.input.len());
                    let decoded = content.decoder.decode(&self.input, &mut piece);
                    self.input.advance(decoded.consumed);
                    content.length += piece.len() as u64;
                    let limit = self.config.max_message_bytes;
                    if limit.is_some_and(|limit| content.length > limit) {
                        self.stage = Stage::Unwanted(Unwanted {
                            decoder: mem::take(&mut content.decoder),
                            reply: Some(too_large()),
                            in_transaction: false,
                        });
                        return Some(Request::Reset);
                    }
                    if !piece.is_empty() {
                        return Some(Request::Content(piece.freeze()));
                    }
                    if !decoded.ended {
                        return None;
                    }
                    self.stage = Stage::AskedMessage;
                    return Some(Request::EndOfContent);
                }
                Stage::Chunk(_) => {
                    let request = self.poll_chunk();
                    if request.is_some() || matches!(self.stage, Stage::Chunk(_)) {
                        return request;
                    }
                }
                Stage::UnwantedChunk(_) => {
                    self.skip_chunk();
                    if matches!(self.stage, Stage::UnwantedChunk(_)) {
                        return None;
                    }
                }
                Stage::Unwanted(unwanted) => {
                    let decoded = unwanted.decoder.decode(&self.input, &mut BytesMut::new());
                    self.input.advance(decoded.consumed);
                    if !decoded.ended {
                        return None;
                    }
                    let (reply, in_transaction) = (unwanted.reply.take(), unwanted.in_transaction);
                    self.stage = Stage::Idle;
                    if let Some(reply) = reply {
                        self.say(&reply);
                    }
                    if in_transaction {
                        return Some(Request::Reset);
                    }
                }
                Stage::Quitting => {
                    self.stage = Stage::Over;
                    return Some(Request::Quit);
                }
                Stage::Ungreeted
                | Stage::AskedMail(_)
                | Stage::AskedRecipient(_)
                | Stage::AskedData(_)
                | Stage::AskedMessage
                | Stage::AskedCredentials
                | Stage::AskedStartTls
                | Stage::Securing
                | Stage::Over => return None,
            }
        }
    }

    /// Answers the request that awaits it: a positive reply to MAIL, RCPT or DATA moves on, a negative one does not, and 421
    /// ends the session. Does nothing where no request awaits an answer.
    pub fn respond(&mut self, reply: Reply) {
        let accepted = reply.is_positive();
        self.stage = match mem::replace(&mut self.stage, Stage::Idle) {
            Stage::AskedMail(transaction) if accepted => Stage::Transaction(transaction),
            Stage::AskedMail(_) | Stage::AskedMessage => Stage::Idle,
            Stage::AskedRecipient(mut transaction) => {
                transaction.recipients += usize::from(accepted);
                Stage::Transaction(transaction)
            }
            Stage::AskedCredentials => {
                self.is_authenticated = accepted;
                self.failures += u32::from(reply.is_permanent());
                Stage::Idle
            }
            Stage::AskedStartTls if accepted => Stage::Securing,
            Stage::AskedStartTls => Stage::Idle,
            Stage::AskedData(_) if accepted => Stage::Content(Content::default()),
            Stage::AskedData(transaction) => {
                self.after_refused_data(Stage::Transaction(transaction))
            }
            unasked => {
                self.stage = unasked;
                return;
            }
        };
        self.say(&reply);
        if reply.code() == Code::NOT_AVAILABLE {
            self.end();
        }
        self.end_guessing();
    }

    /// Ends the session unasked, for a timeout or a shutdown: 421 and why. While TLS is being started nothing can be said.
    pub fn close(&mut self, reply: Reply) {
        match self.stage {
            Stage::Quitting | Stage::Over => {}
            Stage::Securing => self.end(),
            _ => {
                self.say(&reply);
                self.end();
            }
        }
    }

    /// Takes what is to be sent to the client, all of it at once.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    /// How many bytes of input are not worked through yet. The owner bounds them by not reading on.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Whose turn it is.
    pub fn turn(&self) -> Turn {
        match self.stage {
            Stage::Ungreeted
            | Stage::AskedMail(_)
            | Stage::AskedRecipient(_)
            | Stage::AskedData(_)
            | Stage::AskedMessage
            | Stage::AskedCredentials
            | Stage::AskedStartTls
            | Stage::Securing => Turn::Owner,
            Stage::Idle
            | Stage::Transaction(_)
            | Stage::BetweenChunks { .. }
            | Stage::Authenticating(_) => Turn::Command,
            Stage::Content(_) | Stage::Unwanted(_) | Stage::Chunk(_) | Stage::UnwantedChunk(_) => {
                Turn::Content
            }
            Stage::Quitting | Stage::Over => Turn::Over,
        }
    }

    /// Whether a message is under way, from MAIL to the answer to its content.
    pub fn in_transaction(&self) -> bool {
        !matches!(
            self.stage,
            Stage::Ungreeted
                | Stage::Idle
                | Stage::Authenticating(_)
                | Stage::AskedCredentials
                | Stage::AskedStartTls
                | Stage::Securing
                | Stage::Quitting
                | Stage::Over
        )
    }

    /// Whether the session is over and its output taken: the connection or channel may be closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Over) && self.output.is_empty()
    }

    fn handle_line(&mut self, line: &[u8]) -> Option<Request> {
        if matches!(self.stage, Stage::Authenticating(_)) {
            return self.handle_message(line);
        }
        let is_bdat = is_bdat(line);
        if is_bdat && !self.config.capabilities.chunking {
            return self.handle_error(&reply(500, "5.5.1", "Command unrecognized"));
        }
        match Command::parse(line) {
            Ok(command) => self.handle_command(command),
            // How much content follows is unknown, so that whatever does could be taken for commands.
            Err(reply) if is_bdat => self.give_up(reply),
            Err(reply) => self.handle_error(&reply),
        }
    }

    fn handle_command(&mut self, command: Command) -> Option<Request> {
        match command {
            Command::Ehlo(_) => {
                let name = self.config.host_name.as_str();
                let reply = self.offered().to_reply(name);
                self.said_hello = true;
                return self.reset(&reply);
            }
            Command::Helo(_) => {
                let reply = reply(250, "", self.config.host_name.as_str());
                self.said_hello = true;
                return self.reset(&reply);
            }
            Command::Reset => return self.reset(&reply(250, "2.0.0", "Ok")),
            Command::Mail {
                reverse_path,
                parameters,
            } => return self.handle_mail(reverse_path, parameters),
            Command::Rcpt { forward_path } => return self.handle_recipient(forward_path),
            Command::Data => return self.handle_data(),
            Command::BinaryData { size, last } => return self.handle_bdat(size, last),
            Command::Auth {
                mechanism,
                initial_response,
            } => return self.handle_auth(mechanism, initial_response),
            Command::StartTls => return self.handle_start_tls(),
            Command::Quit => {
                self.say(&reply(221, "2.0.0", "Bye"));
                let in_transaction = self.in_transaction();
                self.end();
                self.stage = Stage::Quitting;
                return in_transaction.then_some(Request::Reset);
            }
            Command::Noop => self.say(&reply(250, "2.0.0", "Ok")),
            Command::Verify => self.say(&reply(
                252,
                "2.5.2",
                "Cannot verify the address, but will take mail for it and try",
            )),
            Command::Expand => self.say(&reply(502, "5.5.1", "Command not implemented")),
            Command::Help => self.say(&reply(214, "2.0.0", "This is SMTP; see RFC 5321")),
        }
        None
    }

    fn handle_mail(
        &mut self,
        reverse_path: ReversePath,
        parameters: MailParameters,
    ) -> Option<Request> {
        let offered = &self.config.capabilities;
        let limit = self.config.max_message_bytes.unwrap_or(u64::MAX);
        let refusal = if self.config.require_hello && !self.said_hello {
            Some(reply(503, "5.5.1", "Send EHLO or HELO first"))
        } else if self.in_transaction() {
            Some(reply(503, "5.5.1", "Nested MAIL command"))
        } else if let Some(refusal) = self.refusal_of_strangers() {
            Some(refusal)
        } else if parameters.auth.is_some() && self.config.authentication.is_none() {
            Some(reply(555, "5.5.4", "Unsupported option: AUTH"))
        } else if parameters.smtputf8 && !offered.smtputf8 {
            Some(reply(555, "5.5.4", "Unsupported option: SMTPUTF8"))
        } else if parameters.body.is_some() && !offered.eight_bit_mime {
            Some(reply(555, "5.5.4", "Unsupported option: BODY"))
        } else if parameters.size.is_some_and(|size| size > limit) {
            Some(too_large())
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.say(&refusal);
            return None;
        }
        self.stage = Stage::AskedMail(Transaction {
            smtputf8: parameters.smtputf8,
            recipients: 0,
        });
        Some(Request::Mail {
            reverse_path,
            parameters,
        })
    }

    fn handle_recipient(&mut self, forward_path: ForwardPath) -> Option<Request> {
        let Stage::Transaction(transaction) = &mut self.stage else {
            self.say(&need_mail());
            return None;
        };
        let is_ascii = forward_path
            .address()
            .is_none_or(|address| address.is_ascii());
        if transaction.recipients >= self.config.max_recipients {
            self.say(&reply(452, "4.5.3", "Too many recipients"));
        } else if !is_ascii && !transaction.smtputf8 {
            self.say(&international_address());
        } else {
            self.stage = Stage::AskedRecipient(mem::take(transaction));
            return Some(Request::Recipient(forward_path));
        }
        None
    }

    fn handle_data(&mut self) -> Option<Request> {
        let (stage, refusal) = match mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Transaction(transaction) if transaction.recipients > 0 => {
                self.stage = Stage::AskedData(transaction);
                return Some(Request::Data);
            }
            stage @ Stage::Transaction(_) => (stage, reply(554, "5.5.1", "No valid recipients")),
            stage @ Stage::BetweenChunks { .. } => {
                let text = "Content has begun with BDAT, and goes on with it";
                (stage, reply(503, "5.5.1", text))
            }
            stage => (stage, need_mail()),
        };
        self.stage = self.after_refused_data(stage);
        self.say(&refusal);
        None
    }

    /// DATA is the last command a client may send without waiting for the reply (RFC 2920, section 3.1), so what has
    /// come behind it is content of a client that did not wait.
    fn after_refused_data(&self, stage: Stage) -> Stage {
        if self.input.is_empty() {
            return stage;
        }
        Stage::Unwanted(Unwanted {
            decoder: ContentDecoder::new(),
            reply: None,
            in_transaction: !matches!(stage, Stage::Idle),
        })
    }

    fn handle_error(&mut self, reply_to_it: &Reply) -> Option<Request> {
        self.errors += 1;
        if matches!(self.stage, Stage::Authenticating(_)) {
            self.stage = Stage::Idle;
        }
        if self.errors <= self.config.max_errors {
            self.say(reply_to_it);
            return None;
        }
        self.give_up(reply(421, "4.7.0", "Too many errors"))
    }

    /// Ends a session that has gone wrong.
    fn give_up(&mut self, reply: Reply) -> Option<Request> {
        let in_transaction = self.in_transaction();
        self.close(reply);
        in_transaction.then_some(Request::Reset)
    }

    /// The next line without its CRLF, or what is wrong with one too long.
    fn take_line(&mut self) -> Option<Result<BytesMut, Reply>> {
        let Some(length) = memmem::find(&self.input, b"\r\n") else {
            if self.skips_line || self.input.len() >= self.max_line(&self.input) {
                self.skips_line = true;
                let ends_in_cr = self.input.ends_with(b"\r");
                self.input.clear();
                if ends_in_cr {
                    self.input.extend_from_slice(b"\r");
                }
            }
            return None;
        };
        let line = self.input.split_to(length);
        self.input.advance(2);
        let is_too_long = mem::take(&mut self.skips_line) || length + 2 > self.max_line(&line);
        Some(if is_too_long {
            Err(self.line_too_long())
        } else {
            Ok(line)
        })
    }

    fn reset(&mut self, reply: &Reply) -> Option<Request> {
        self.say(reply);
        let in_transaction = self.in_transaction();
        self.stage = Stage::Idle;
        in_transaction.then_some(Request::Reset)
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.input.clear();
    }

    fn say(&mut self, reply: &Reply) {
        self.output.extend_from_slice(&reply.to_bytes());
    }
}

fn need_mail() -> Reply {
    reply(503, "5.5.1", "Need MAIL command")
}

fn too_large() -> Reply {
    reply(552, "5.3.4", "Message size exceeds fixed limit")
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("turn", &self.turn())
            .field("in_transaction", &self.in_transaction())
            .field("input_bytes", &self.input.len())
            .field("output_bytes", &self.output.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
