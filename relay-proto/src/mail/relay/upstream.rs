//! One connection to the upstream, from its greeting to its goodbye.

mod message;

use super::{
    RelayConfig,
    channel::ChannelId,
    output::{Outgoing, Output},
    transaction::{Awaited, Loss as Lost, Transaction},
    trouble::Trouble,
};
use crate::{
    Action, CloseCode, Deadline, Endpoint, Frame, LinkId, Time,
    smtp::{Capabilities, Code, Command, Introduction, IntroductionStep, Reply, ReplyParser},
};
use alloc::{boxed::Box, string::String};
use bytes::Bytes;
use core::{mem, time::Duration};

/// How long an upstream may take to say goodbye.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle upstream may take to show that it lives; a living one takes one round trip.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to the upstream, from the wish to have one until the driver says it has ended.
pub(super) struct Upstream {
    link: LinkId,
    /// The channel it serves, if one still waits for what happens here.
    channel: Option<ChannelId>,
    /// The link of the client of the channel it served last, for reports; it may be gone.
    client: LinkId,
    stage: Stage,
    opened: Time,
    /// When it was last heard.
    heard: Time,
    /// How many messages were begun on it.
    messages: u32,
    /// The server has said that it is about to leave.
    leaves: bool,
    /// What is under way was begun on a connection that may have been dead by then.
    may_be_stale: bool,
    parser: ReplyParser,
    capabilities: Capabilities,
    outgoing: Outgoing,
    deadline: Option<Deadline>,
}

enum Stage {
    Opening(Introduction),
    Greeting(Introduction),
    Idle,
    /// NOOP asks whether it still lives.
    Checking,
    /// A message is on its way.
    Transaction(Box<Transaction>),
    /// One was taken back; so many replies come before the one to RSET.
    Reset(usize),
    Quitting,
    /// The driver was told to close it.
    Closing,
}

/// What a reply meant.
pub(super) enum News {
    /// Nothing for the channel.
    Nothing,
    /// The server has greeted, and offers this.
    Greeted(Capabilities),
    /// The reply to what the client asked for.
    Replied(Reply),
    /// It cannot go on.
    Failed(Trouble),
}

/// What the loss of an upstream means for the channel it served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// There is no channel, or it does not need the upstream any more.
    Nothing,
    /// There never was a connection.
    NotOpened,
    /// No message is under way on it: another connection does as well.
    BetweenMessages,
    /// The client is in a message and waits for no reply.
    BetweenCommands,
    /// The client waits for a reply or sends content; nothing is delivered.
    Unanswered,
    /// Whether the message is delivered is unknown.
    InDoubt,
}

impl Upstream {
    /// Asks the driver to open the connection.
    pub(super) fn open(link: LinkId, config: &RelayConfig, now: Time, output: &mut Output) -> Self {
        output.actions.push_back(Action::Open {
            link,
            endpoint: Endpoint::Stream(config.upstream.clone()),
        });
        Self {
            link,
            channel: None,
            client: link,
            stage: Stage::Opening(Introduction::new(
                config.host_name.clone(),
                config.upstream_access.clone(),
            )),
            opened: now,
            heard: now,
            messages: 0,
            leaves: false,
            may_be_stale: false,
            parser: ReplyParser::new(),
            capabilities: Capabilities::default(),
            outgoing: Outgoing::new(link),
            deadline: Some(Deadline {
                at: now.after(config.upstream_open_timeout),
                timer: "upstream open",
            }),
        }
    }

    pub(super) const fn channel(&self) -> Option<ChannelId> {
        self.channel
    }

    /// It serves this channel from now on.
    pub(super) const fn lease(&mut self, channel: ChannelId, client: LinkId) {
        self.channel = Some(channel);
        self.client = client;
        self.deadline = None;
    }

    /// The client it serves is on this link from now on.
    pub(super) const fn report_under(&mut self, client: LinkId) {
        self.client = client;
    }

    /// Whether it waits for a channel, or for the next message of the one it serves.
    pub(super) const fn is_at_rest(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Whether the end of data was said and is not answered.
    pub(super) fn is_past_end_of_data(&self) -> bool {
        match &self.stage {
            Stage::Transaction(transaction) => transaction.is_past_end_of_data(),
            _ => false,
        }
    }

    /// Whether it could serve another channel.
    pub(super) const fn is_free(&self) -> bool {
        self.is_at_rest() && self.channel.is_none()
    }

    /// Whether it has been idle for so long that it has to be asked.
    pub(super) fn may_be_dead(&self, config: &RelayConfig, now: Time) -> bool {
        self.heard < now && self.heard.after(config.pool.check_after) <= now
    }

    /// Whether it has ended, or is about to.
    pub(super) const fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Quitting | Stage::Closing)
    }

    /// Whether it should take no further message. A new one takes one, whatever the bounds.
    pub(super) fn is_worn(&self, config: &RelayConfig, now: Time) -> bool {
        let is_used_up = self.messages >= config.pool.max_messages
            || self.opened.after(config.pool.max_age) <= now;
        self.leaves || (self.messages > 0 && is_used_up)
    }

    /// It waits for the next channel.
    pub(super) fn rest(&mut self, config: &RelayConfig, now: Time) {
        let ends = [
            now.after(config.pool.idle_timeout),
            self.opened.after(config.pool.max_age),
        ];
        self.deadline = ends.into_iter().min().map(|at| Deadline {
            at,
            timer: "upstream idle",
        });
    }

    /// Asks whether it still lives.
    pub(super) fn check(&mut self, now: Time, output: &mut Output) {
        self.send(Command::Noop.to_bytes(), output);
        self.stage = Stage::Checking;
        self.deadline = Some(Deadline {
            at: now.after(CHECK_TIMEOUT),
            timer: "upstream check",
        });
    }

    pub(super) const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    pub(super) const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// How many bytes wait here.
    pub(super) fn unwritten(&self) -> usize {
        let held = match &self.stage {
            Stage::Transaction(transaction) => transaction.held(),
            _ => 0,
        };
        self.outgoing.bytes() + held
    }

    /// Whether it takes the next request of the session. One that is about to end does: it refuses them.
    pub(super) fn is_ready(&self) -> bool {
        match &self.stage {
            Stage::Idle | Stage::Quitting | Stage::Closing => true,
            Stage::Transaction(transaction) => transaction.is_ready(self.outgoing.bytes()),
            _ => false,
        }
    }

    /// Whether it takes commands ahead of the replies to those before.
    pub(super) fn is_pipelining(&self) -> bool {
        self.capabilities.pipelining
    }

    /// Whether the next move is the client's.
    pub(super) fn waits_for_client(&self) -> bool {
        match &self.stage {
            Stage::Idle | Stage::Quitting | Stage::Closing => true,
            Stage::Transaction(transaction) => transaction.waits_for_client(self.outgoing.bytes()),
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
            Ok(Some(reply)) => {
                self.heard = now;
                self.leaves |= reply.code() == Code::NOT_AVAILABLE;
                let news = self.handle_reply(reply, config, now, output);
                self.restart_timer(config, now);
                Some(news)
            }
            Ok(None) => None,
            Err(error) => Some(News::Failed(Trouble::broke_protocol(error))),
        }
    }

    /// Whether the server has begun a reply nobody has asked for: commands and replies would no longer match.
    pub(super) fn is_out_of_step(&self) -> bool {
        let expects_nothing = match &self.stage {
            Stage::Idle => true,
            Stage::Transaction(transaction) => transaction.expects_nothing(),
            _ => false,
        };
        expects_nothing && !self.parser.is_empty()
    }

    fn handle_reply(
        &mut self,
        reply: Reply,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> News {
        let agreed = reply.code().class() == 2;
        match &mut self.stage {
            Stage::Opening(introduction) | Stage::Greeting(introduction) => {
                let step = introduction.handle_reply(reply);
                return self.greeted(step, output);
            }
            Stage::Checking if agreed => self.stage = Stage::Idle,
            Stage::Reset(0) if agreed => self.stage = Stage::Idle,
            Stage::Reset(before) if *before > 0 => *before -= 1,
            Stage::Quitting => self.close(output),
            Stage::Transaction(transaction) => {
                // The server is done with this connection, not with the message.
                if self.leaves && self.may_be_stale && matches!(transaction.loss(), Lost::Nothing) {
                    return News::Failed(Trouble::Refused(reply));
                }
                let answer = self.write(output, |transaction, pen| {
                    transaction.handle_reply(reply, pen)
                });
                let answer = match answer {
                    Some(Ok(answer)) => answer,
                    Some(Err(trouble)) => return News::Failed(trouble),
                    None => None,
                };
                self.conclude(config, now, output);
                return answer.map_or(News::Nothing, News::Replied);
            }
            Stage::Checking | Stage::Idle | Stage::Reset(_) | Stage::Closing => {
                return News::Failed(if self.leaves {
                    Trouble::Refused(reply)
                } else {
                    Trouble::unexpected(&reply)
                });
            }
        }
        News::Nothing
    }

    fn greeted(&mut self, step: IntroductionStep, output: &mut Output) -> News {
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
                self.capabilities = capabilities.clone();
                self.stage = Stage::Idle;
                News::Greeted(capabilities)
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

    fn send(&mut self, bytes: Bytes, output: &mut Output) {
        self.outgoing.send(Frame::Binary(bytes), output);
    }

    /// How long what is waited for may take. `None`: the deadline is another's to set, or there is none.
    fn patience(&self, config: &RelayConfig) -> Option<(Duration, &'static str)> {
        match &self.stage {
            Stage::Transaction(transaction) => match transaction.awaited(self.outgoing.bytes())? {
                Awaited::Reply => Some((config.upstream_reply_timeout, "upstream reply")),
                Awaited::Room => Some((config.upstream_content_timeout, "upstream content")),
                Awaited::FinalReply => {
                    Some((config.upstream_final_timeout, "upstream final reply"))
                }
            },
            Stage::Reset(_) => Some((config.upstream_reply_timeout, "upstream reply")),
            _ => None,
        }
    }

    /// The server has moved, or was asked something.
    fn restart_timer(&mut self, config: &RelayConfig, now: Time) {
        // One deadline covers all of the opening, and one the goodbye.
        if !matches!(
            self.stage,
            Stage::Opening(_) | Stage::Greeting(_) | Stage::Quitting
        ) {
            let patience = self.patience(config);
            self.deadline = patience.map(|(duration, timer)| Deadline {
                at: now.after(duration),
                timer,
            });
        }
    }

    /// What is waited for may have changed, and the server has done nothing.
    fn adjust_timer(&mut self, config: &RelayConfig, now: Time) {
        let running = self.deadline.map(|deadline| deadline.timer);
        if self.patience(config).map(|(_, timer)| timer) != running {
            self.restart_timer(config, now);
        }
    }

    /// The oldest frame has left for the transport.
    pub(super) fn written(&mut self, config: &RelayConfig, now: Time) {
        self.outgoing.written();
        let awaits_room = |timer| timer == "upstream content";
        if self
            .deadline
            .is_some_and(|deadline| awaits_room(deadline.timer))
        {
            self.restart_timer(config, now);
        }
    }

    /// The channel does not need it any more. It waits for the outcome of a message past its end of data; a message that is not
    /// complete is taken back, or, where that cannot be said, ended by closing the connection, so that nothing of it is delivered.
    /// `keeps`: it may serve others.
    pub(super) fn release(
        &mut self,
        keeps: bool,
        config: &RelayConfig,
        now: Time,
        why: &str,
        output: &mut Output,
    ) {
        self.channel = None;
        let Stage::Transaction(transaction) = &self.stage else {
            if !matches!(
                self.stage,
                Stage::Idle | Stage::Reset(_) | Stage::Quitting | Stage::Closing
            ) {
                self.close(output);
            }
            return;
        };
        if transaction.is_past_end_of_data() {
            return;
        }
        match transaction.replies_before_reset() {
            None => self.abandon(why, output),
            Some(replies) if keeps => {
                transaction.report_abandoned(why, self.client, output);
                self.say_reset(replies, config, now, output);
            }
            Some(0) => {
                transaction.report_abandoned(why, self.client, output);
                // Its message is still open there, so nobody else may have it.
                self.stage = Stage::Idle;
                self.quit(config, now, output);
            }
            Some(_) => self.abandon(why, output),
        }
    }

    /// Says goodbye, or gives up a connection that is not there yet.
    pub(super) fn quit(&mut self, config: &RelayConfig, now: Time, output: &mut Output) {
        if self.is_at_rest() {
            self.send(Command::Quit.to_bytes(), output);
            self.stage = Stage::Quitting;
            self.deadline = Some(Deadline {
                at: now.after(QUIT_TIMEOUT.min(config.upstream_reply_timeout)),
                timer: "upstream quit",
            });
        } else if !matches!(self.stage, Stage::Quitting | Stage::Closing) {
            self.close(output);
        }
    }

    /// Closes it and says which message that ends.
    fn abandon(&mut self, why: &str, output: &mut Output) {
        if let Stage::Transaction(transaction) = &self.stage {
            transaction.report_abandoned(why, self.client, output);
        }
        self.close(output);
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

    /// Ends it over some trouble and says what that means. `link_ended`: the driver has said so itself.
    pub(super) fn fail(
        &mut self,
        trouble: &Trouble,
        link_ended: bool,
        output: &mut Output,
    ) -> Loss {
        let had_left = matches!(trouble, Trouble::Lost(_) | Trouble::Refused(_));
        let why = trouble.detail();
        let loss = match &self.stage {
            Stage::Opening(_) | Stage::Greeting(_) => Loss::NotOpened,
            Stage::Idle | Stage::Reset(_) => Loss::BetweenMessages,
            Stage::Checking | Stage::Quitting | Stage::Closing => Loss::Nothing,
            Stage::Transaction(transaction) => match transaction.loss() {
                Lost::Settled => Loss::BetweenMessages,
                Lost::Nothing if had_left && self.may_be_stale => Loss::BetweenMessages,
                Lost::InDoubt => {
                    transaction.report_in_doubt(why, self.client, output);
                    Loss::InDoubt
                }
                lost => {
                    transaction.report_abandoned(&why, self.client, output);
                    match lost {
                        Lost::BetweenCommands => Loss::BetweenCommands,
                        _ => Loss::Unanswered,
                    }
                }
            },
        };
        if !link_ended && !matches!(self.stage, Stage::Closing) {
            self.close(output);
        }
        self.stage = Stage::Closing;
        self.deadline = None;
        loss
    }
}
