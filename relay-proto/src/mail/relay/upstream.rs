//! One connection to the upstream: the client's side of SMTP, in lockstep.

use super::{
    Event, Refused, RelayConfig,
    output::{Outgoing, Output},
    trouble::Trouble,
};
use crate::{
    Action, CloseCode, Deadline, Endpoint, Frame, LinkId, Time,
    smtp::{
        Capabilities, Code, Command, ContentEncoder, ForwardPath, Introduction, IntroductionStep,
        MailParameters, Reply, ReplyParser, ReversePath,
    },
};
use alloc::{borrow::ToOwned, string::String};
use bytes::{Bytes, BytesMut};
use core::{mem, time::Duration};

/// Content waiting for the upstream's socket, in bytes, above which the relay takes no more from the client: enough to keep
/// a fast connection busy, little enough for a thousand of them.
pub(super) const HIGH_WATER: usize = 128 * 1024;

/// How long an upstream may take to say goodbye.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the upstream, from the wish to have one until the driver says it has ended.
pub(super) struct Upstream {
    link: LinkId,
    /// The client link it was opened for; it may be gone.
    client: LinkId,
    /// Whether a channel still waits for what happens here.
    attached: bool,
    stage: Stage,
    parser: ReplyParser,
    capabilities: Capabilities,
    outgoing: Outgoing,
    deadline: Option<Deadline>,
}

enum Stage {
    Opening(Introduction),
    Greeting(Introduction),
    Idle,
    Mail(ReversePath),
    Transaction(Transaction),
    Recipient(Transaction, ForwardPath),
    Data(Transaction),
    Content(Transaction, ContentEncoder),
    /// The end of data is on its way; only the reply tells what becomes of the message.
    Final(Transaction),
    Reset,
    Quitting,
    /// The driver was told to close it.
    Closing,
}

struct Transaction {
    reverse_path: ReversePath,
    recipients: usize,
    bytes: u64,
}

/// What a reply meant.
pub(super) enum News {
    /// Nothing for the channel.
    Nothing,
    /// The server has greeted: the channel can begin.
    Greeted,
    /// The reply to what the client asked for.
    Replied(Reply),
    /// It cannot go on.
    Failed(Trouble),
}

/// What the loss of an upstream means for the channel it served.
pub(super) enum Loss {
    /// There is no channel, or it does not need the upstream any more.
    Nothing,
    /// The channel was never open.
    NotOpened,
    /// The client waits for no reply.
    BetweenCommands,
    /// The client waits for a reply or sends content; nothing is delivered.
    Unanswered,
    /// Whether the message is delivered is unknown.
    InDoubt,
}

impl Upstream {
    /// Asks the driver to open the connection.
    pub(super) fn open(
        link: LinkId,
        client: LinkId,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> Self {
        output.actions.push_back(Action::Open {
            link,
            endpoint: Endpoint::Stream(config.upstream.clone()),
        });
        Self {
            link,
            client,
            attached: true,
            stage: Stage::Opening(Introduction::new(
                config.host_name.clone(),
                config.upstream_access.clone(),
            )),
            parser: ReplyParser::new(),
            capabilities: Capabilities::default(),
            outgoing: Outgoing::new(link),
            deadline: Some(Deadline {
                at: now.after(config.upstream_open_timeout),
                timer: "upstream open",
            }),
        }
    }

    pub(super) const fn client(&self) -> LinkId {
        self.client
    }

    pub(super) const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    pub(super) const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// How many bytes wait for the socket.
    pub(super) const fn unwritten(&self) -> usize {
        self.outgoing.bytes()
    }

    /// Whether it takes the next request of the session. One that is about to end does: it refuses them.
    pub(super) const fn is_ready(&self) -> bool {
        match self.stage {
            Stage::Idle | Stage::Transaction(_) | Stage::Quitting | Stage::Closing => true,
            Stage::Content(..) => self.outgoing.bytes() <= HIGH_WATER,
            _ => false,
        }
    }

    /// Whether the next move is the client's.
    pub(super) const fn waits_for_client(&self) -> bool {
        match self.stage {
            Stage::Idle | Stage::Transaction(_) | Stage::Quitting | Stage::Closing => true,
            Stage::Content(..) => self.outgoing.bytes() == 0,
            _ => false,
        }
    }

    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }

    /// The driver has opened the connection.
    pub(super) fn opened(&mut self) {
        match mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Opening(introduction) => self.stage = Stage::Greeting(introduction),
            other => self.stage = other,
        }
    }

    /// Bytes have come. The replies in them are then taken with [`next_news`](Self::next_news).
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        if !self.is_closing() && !self.is_securing() {
            self.parser.push(bytes);
        }
    }

    /// What the next reply means, if one is complete.
    pub(super) fn next_news(
        &mut self,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> Option<News> {
        if self.is_closing() {
            return None;
        }
        match self.parser.next_reply() {
            Ok(Some(reply)) => Some(self.handle_reply(reply, config, now, output)),
            Ok(None) => None,
            Err(error) => Some(News::Failed(Trouble::broke_protocol(error))),
        }
    }

    /// Whether the server has begun a reply nobody has asked for: commands and replies would no longer match.
    pub(super) fn is_out_of_step(&self) -> bool {
        matches!(self.stage, Stage::Idle | Stage::Transaction(_)) && !self.parser.is_empty()
    }

    fn handle_reply(
        &mut self,
        reply: Reply,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> News {
        let class = reply.code().class();
        let refused = class >= 4;
        match mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Greeting(introduction) => return self.greeted(introduction, reply, output),
            Stage::Mail(reverse_path) if class == 2 => {
                self.rest(Stage::Transaction(Transaction {
                    reverse_path,
                    recipients: 0,
                    bytes: 0,
                }));
            }
            Stage::Mail(reverse_path) if refused => {
                self.refused(Refused::Sender(reverse_path), &reply, output);
                self.rest(Stage::Idle);
            }
            Stage::Recipient(mut transaction, _) if class == 2 => {
                transaction.recipients += 1;
                self.rest(Stage::Transaction(transaction));
            }
            Stage::Recipient(transaction, recipient) if refused => {
                self.refused(Refused::Recipient(recipient), &reply, output);
                self.rest(Stage::Transaction(transaction));
            }
            Stage::Data(transaction) if reply.code() == Code::START_CONTENT => {
                self.rest(Stage::Content(transaction, ContentEncoder::new()));
            }
            Stage::Data(transaction) if refused => {
                let what = Refused::Data(transaction.reverse_path.clone());
                self.refused(what, &reply, output);
                self.rest(Stage::Transaction(transaction));
            }
            Stage::Final(transaction) if class == 2 => {
                output.events.push_back(Event::MessageRelayed {
                    link: self.client,
                    reverse_path: transaction.reverse_path,
                    recipients: transaction.recipients,
                    bytes: transaction.bytes,
                    reply: reply.clone(),
                });
                self.rest(Stage::Idle);
            }
            Stage::Final(transaction) if refused => {
                self.refused(Refused::Content(transaction.reverse_path), &reply, output);
                self.rest(Stage::Idle);
            }
            Stage::Reset if class == 2 => {
                self.rest(Stage::Idle);
                return News::Nothing;
            }
            Stage::Quitting => {
                self.close(output);
                return News::Nothing;
            }
            unexpected => {
                let in_content = matches!(unexpected, Stage::Content(..));
                self.stage = unexpected;
                let meant = reply.code() == Code::NOT_AVAILABLE || (in_content && refused);
                return News::Failed(if meant {
                    Trouble::Refused(reply)
                } else {
                    Trouble::unexpected(&reply)
                });
            }
        }
        if !self.attached {
            self.retire(config, now, "", output);
        }
        News::Replied(reply)
    }

    fn greeted(
        &mut self,
        mut introduction: Introduction,
        reply: Reply,
        output: &mut Output,
    ) -> News {
        let step = introduction.handle_reply(reply);
        self.stage = Stage::Greeting(introduction);
        match step {
            IntroductionStep::Send(bytes) => {
                self.send(bytes, output);
                News::Nothing
            }
            // Whoever is between server and relay could have put it there, for it to count as said behind TLS.
            IntroductionStep::StartTls if !self.parser.is_empty() => {
                News::Failed(Trouble::broke_protocol("a reply ahead of TLS"))
            }
            IntroductionStep::StartTls => {
                let link = self.link;
                output.actions.push_back(Action::StartTls { link });
                News::Nothing
            }
            IntroductionStep::Ready(capabilities) => {
                self.capabilities = capabilities;
                self.rest(Stage::Idle);
                News::Greeted
            }
            IntroductionStep::Refused(reply) => News::Failed(if reply.is_positive() {
                Trouble::unexpected(&reply)
            } else {
                Trouble::Refused(reply)
            }),
            IntroductionStep::Denied(reply) => News::Failed(Trouble::Denied(reply)),
            IntroductionStep::Lacks(what) => News::Failed(Trouble::Lacks(what)),
        }
    }

    /// The driver has started TLS.
    pub(super) fn secured(&mut self, output: &mut Output) {
        if let Stage::Greeting(introduction) = &mut self.stage
            && let Some(bytes) = introduction.secured()
        {
            self.send(bytes, output);
        }
    }

    /// Whether TLS is being started: nothing is read until it is in force.
    pub(super) const fn is_securing(&self) -> bool {
        match &self.stage {
            Stage::Greeting(introduction) => introduction.is_securing(),
            _ => false,
        }
    }

    fn refused(&self, refused: Refused, reply: &Reply, output: &mut Output) {
        output.events.push_back(Event::MessageRefused {
            link: self.client,
            refused,
            reply: reply.clone(),
        });
    }

    /// Enters a stage in which the client moves next.
    fn rest(&mut self, stage: Stage) {
        self.stage = stage;
        self.deadline = None;
    }

    fn send(&mut self, bytes: Bytes, output: &mut Output) {
        self.outgoing.send(Frame::Binary(bytes), output);
    }

    fn command(
        &mut self,
        command: &Command,
        stage: Stage,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) {
        self.send(command.to_bytes(), output);
        self.stage = stage;
        self.deadline = Some(Deadline {
            at: now.after(config.upstream_reply_timeout),
            timer: "upstream reply",
        });
    }

    /// Forwards MAIL with the parameters the server offers. Returns whether the server is there to take it.
    pub(super) fn mail(
        &mut self,
        reverse_path: ReversePath,
        parameters: MailParameters,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> bool {
        if !matches!(self.stage, Stage::Idle) {
            return false;
        }
        let offered = &self.capabilities;
        let parameters = MailParameters {
            size: parameters.size.filter(|_| offered.size.is_some()),
            body: parameters.body.filter(|_| offered.eight_bit_mime),
            smtputf8: parameters.smtputf8 && offered.smtputf8,
            // The client has no AUTH to go with it.
            auth: None,
        };
        let command = Command::Mail {
            reverse_path: reverse_path.clone(),
            parameters,
        };
        self.command(&command, Stage::Mail(reverse_path), config, now, output);
        true
    }

    /// Forwards RCPT. Returns whether the server is there to take it.
    pub(super) fn recipient(
        &mut self,
        forward_path: ForwardPath,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> bool {
        match mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Transaction(transaction) => {
                let command = Command::Rcpt {
                    forward_path: forward_path.clone(),
                };
                let stage = Stage::Recipient(transaction, forward_path);
                self.command(&command, stage, config, now, output);
                true
            }
            other => {
                self.stage = other;
                false
            }
        }
    }

    /// Forwards DATA. Returns whether the server is there to take it.
    pub(super) fn data(&mut self, config: &RelayConfig, now: Time, output: &mut Output) -> bool {
        match mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Transaction(transaction) => {
                let stage = Stage::Data(transaction);
                self.command(&Command::Data, stage, config, now, output);
                true
            }
            other => {
                self.stage = other;
                false
            }
        }
    }

    /// Forwards a piece of content.
    pub(super) fn content(
        &mut self,
        content: &[u8],
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) {
        let Stage::Content(transaction, encoder) = &mut self.stage else {
            return;
        };
        transaction.bytes += content.len() as u64;
        // Few lines begin with a dot, so this rarely grows.
        let mut encoded = BytesMut::with_capacity(content.len() + content.len() / 64 + 16);
        encoder.encode(content, &mut encoded);
        if self.outgoing.bytes() == 0 {
            self.watch_content(config, now);
        }
        self.send(encoded.freeze(), output);
    }

    /// Forwards the end of data. Returns whether the server is there to take it.
    pub(super) fn end_of_content(
        &mut self,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> bool {
        match mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Content(transaction, encoder) => {
                let mut end = BytesMut::new();
                encoder.finish(&mut end);
                self.send(end.freeze(), output);
                self.stage = Stage::Final(transaction);
                self.deadline = Some(Deadline {
                    at: now.after(config.upstream_final_timeout),
                    timer: "upstream final reply",
                });
                true
            }
            other => {
                self.stage = other;
                false
            }
        }
    }

    /// The client has given up its transaction, or the session has for it.
    pub(super) fn reset(&mut self, config: &RelayConfig, now: Time, output: &mut Output) {
        match &self.stage {
            Stage::Transaction(_) => {
                self.command(&Command::Reset, Stage::Reset, config, now, output);
            }
            // Content can only be taken back by ending the connection without its end.
            Stage::Content(..) => self.abandon("the message is too large", output),
            _ => {}
        }
    }

    /// The oldest frame has left for the transport.
    pub(super) fn written(&mut self, config: &RelayConfig, now: Time) {
        self.outgoing.written();
        if matches!(self.stage, Stage::Content(..)) {
            if self.outgoing.bytes() > 0 {
                self.watch_content(config, now);
            } else {
                self.deadline = None;
            }
        }
    }

    fn watch_content(&mut self, config: &RelayConfig, now: Time) {
        self.deadline = Some(Deadline {
            at: now.after(config.upstream_content_timeout),
            timer: "upstream content",
        });
    }

    /// The channel does not need it any more: it says goodbye where it can, waits for the outcome of a message past its
    /// end of data, and is closed otherwise, so that nothing of an unfinished message is delivered.
    pub(super) fn retire(
        &mut self,
        config: &RelayConfig,
        now: Time,
        why: &str,
        output: &mut Output,
    ) {
        self.attached = false;
        match mem::replace(&mut self.stage, Stage::Closing) {
            stage @ (Stage::Idle | Stage::Transaction(_)) => {
                self.report_abandoned(&stage, why, output);
                self.send(Command::Quit.to_bytes(), output);
                self.stage = Stage::Quitting;
                self.deadline = Some(Deadline {
                    at: now.after(QUIT_TIMEOUT.min(config.upstream_reply_timeout)),
                    timer: "upstream quit",
                });
            }
            stage @ (Stage::Final(_) | Stage::Quitting | Stage::Closing) => self.stage = stage,
            stage => {
                self.stage = stage;
                self.abandon(why, output);
            }
        }
    }

    /// Closes it and says which message that ends.
    fn abandon(&mut self, why: &str, output: &mut Output) {
        let stage = mem::replace(&mut self.stage, Stage::Closing);
        self.close(output);
        self.report_abandoned(&stage, why, output);
    }

    fn close(&mut self, output: &mut Output) {
        self.stage = Stage::Closing;
        self.deadline = None;
        output.actions.push_back(Action::Close {
            link: self.link,
            code: CloseCode::NORMAL,
            reason: String::new(),
        });
    }

    fn report_abandoned(&self, stage: &Stage, why: &str, output: &mut Output) {
        let reverse_path = match stage {
            Stage::Mail(reverse_path) => reverse_path,
            Stage::Transaction(transaction)
            | Stage::Recipient(transaction, _)
            | Stage::Data(transaction)
            | Stage::Content(transaction, _) => &transaction.reverse_path,
            _ => return,
        };
        output.events.push_back(Event::MessageAbandoned {
            link: self.client,
            reverse_path: reverse_path.clone(),
            why: why.to_owned(),
        });
    }

    /// Ends it over some trouble and says what that means. `link_ended`: the driver has said so itself.
    pub(super) fn fail(&mut self, why: &str, link_ended: bool, output: &mut Output) -> Loss {
        let stage = mem::replace(&mut self.stage, Stage::Closing);
        if !link_ended && !matches!(stage, Stage::Closing) {
            self.close(output);
        }
        self.deadline = None;
        self.report_abandoned(&stage, why, output);
        let loss = match stage {
            Stage::Opening(_) | Stage::Greeting(_) => Loss::NotOpened,
            Stage::Idle | Stage::Transaction(_) | Stage::Reset => Loss::BetweenCommands,
            Stage::Mail(_) | Stage::Recipient(..) | Stage::Data(_) | Stage::Content(..) => {
                Loss::Unanswered
            }
            Stage::Final(transaction) => {
                output.events.push_back(Event::MessageInDoubt {
                    link: self.client,
                    reverse_path: transaction.reverse_path,
                    recipients: transaction.recipients,
                    why: why.to_owned(),
                });
                Loss::InDoubt
            }
            Stage::Quitting | Stage::Closing => Loss::Nothing,
        };
        if self.attached { loss } else { Loss::Nothing }
    }
}
