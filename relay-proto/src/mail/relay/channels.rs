//! Channels: where the fronts of clients and the upstreams meet.

use super::{
    Event, Policy, Relay, RelayConfig,
    channel::{Channel, ChannelId, Message, Open, Owner, Stage, Start},
    exchange::{Exchange, Pause},
    front::Ending,
    timers::Timed,
    trouble::Trouble,
    upstream::{Loss, Upstream},
};
use crate::{
    LinkId, Time,
    mail::wire::ChannelError,
    pacing::Rate,
    smtp::{Capabilities, Reply, Security, Session, SessionConfig, Turn, reply},
};
use alloc::{boxed::Box, format};
use bytes::BytesMut;
use core::time::Duration;

/// The shortest time after which a client may try again what failed for the moment; the longest is twice that.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Commands that are none a client may send on one channel; a program sends none.
const MAX_ERRORS: u32 = 20;

/// What a channel is refused with for the key's rate, and with a time to come back for nothing else: 450, "temporarily blocked
/// for policy reasons" (RFC 5321, section 4.2.3).
const OVER_RATE: u16 = 450;

impl Relay {
    /// A client asks for a channel; in the durable dialect for a delivery.
    ///
    /// # Errors
    ///
    /// What it is told where it gets none.
    pub(super) fn open_channel(
        &mut self,
        now: Time,
        owner: Owner,
        start: Start,
        message: Option<Message>,
    ) -> Result<ChannelId, Ending> {
        if start == Start::Greeting && self.pool.is_full(&owner.policy.account, &self.config) {
            let why = "the relay has no further connection to the mail server for this API key";
            return Err(self.refuse_channel(owner.link, why));
        }
        if let Some(why) = self.usage.refuses_channel(&owner.policy, &self.config) {
            return Err(self.refuse_channel(owner.link, why));
        }
        if let Some(rate) = owner.policy.rate {
            let account = &owner.policy.account;
            // Without a delivery nobody knows how many messages come on it: each counts at MAIL.
            let may_come = match &message {
                Some(_) => self.rates.take(now, account, rate),
                None => self.rates.check(now, account, rate),
            };
            may_come.map_err(|wait| self.refuse_for_rate(owner.link, rate, wait))?;
        }
        self.usage.channel_begins(&owner.policy.account);
        let id = ChannelId(self.opened_channels);
        self.opened_channels += 1;
        let stage = match start {
            Start::Greeting => Stage::Opening {
                early: BytesMut::new(),
            },
            Start::Hello => {
                let link = owner.link;
                self.output.events.push_back(Event::ChannelOpened { link });
                let mut capabilities = self.pool.capabilities(&self.config);
                if message.is_some() {
                    // As its grant may have said before the upstream was heard; what that does not carry is refused by name.
                    capabilities.eight_bit_mime = true;
                    capabilities.smtputf8 = true;
                }
                let mut open = self.begin(&owner.policy, &capabilities, message.is_some(), now);
                // The client knows both.
                drop(open.session.poll_output());
                Stage::Open(open)
            }
        };
        let channel = Channel {
            owner,
            start,
            upstream: None,
            waits_until: None,
            stage,
            message,
            held: 0,
        };
        self.channels.insert(id, channel);
        if start == Start::Greeting {
            self.await_upstream(now, id);
        }
        self.touched.insert(Timed::Channel(id));
        Ok(id)
    }

    fn refuse_channel(&mut self, link: LinkId, why: &str) -> Ending {
        let event = Event::ChannelFailed {
            link,
            why: why.into(),
        };
        self.output.events.push_back(event);
        Ending::Failed(ChannelError {
            error: why.into(),
            code: Some(421),
            retry_after: Some(self.retry_after()),
        })
    }

    fn refuse_for_rate(&mut self, link: LinkId, rate: Rate, wait: Duration) -> Ending {
        let why = format!("this API key sends more messages than {rate}");
        self.output.events.push_back(Event::ChannelFailed {
            link,
            why: why.clone(),
        });
        Ending::Failed(ChannelError {
            error: why,
            code: Some(OVER_RATE),
            retry_after: Some(wait),
        })
    }

    /// A session that has greeted. `names_recipients`: those that are too many are refused by the relay.
    fn begin(
        &self,
        policy: &Policy,
        offered: &Capabilities,
        names_recipients: bool,
        now: Time,
    ) -> Box<Open> {
        let mut config = session_config(&self.config, policy, offered);
        if names_recipients {
            config.max_recipients = usize::MAX;
        }
        let mut session = Session::new(config);
        session.greet(reply(220, "", format!("{} ESMTP", self.config.host_name)));
        Box::new(Open {
            session,
            active: now,
            mail: None,
        })
    }

    /// The channel waits for a connection.
    fn await_upstream(&mut self, now: Time, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id)
            && channel.waits_until.is_none()
        {
            channel.waits_until = Some(now.after(self.config.upstream_open_timeout));
            self.pool.wait(&channel.owner.policy.account, id);
            let upstream = channel.upstream.take();
            self.release_upstream(now, upstream, "");
        }
    }

    /// SMTP bytes from the client. Their boundaries mean nothing.
    pub(super) fn channel_bytes(&mut self, now: Time, id: ChannelId, bytes: &[u8]) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        match &mut channel.stage {
            Stage::Opening { early } => early.extend_from_slice(bytes),
            Stage::Open(open) => {
                open.session.handle_bytes(bytes);
                self.drive(now, id);
            }
        }
    }

    /// The front has room for replies again.
    pub(super) fn channel_taken(&mut self, now: Time, id: ChannelId) {
        self.drive(now, id);
    }

    /// The client, or the front with it, is done with the channel. The front tells the client itself.
    pub(super) fn close_channel(&mut self, now: Time, id: ChannelId, why: &str) {
        if let Some(channel) = self.take_channel(id) {
            self.touched.insert(Timed::Channel(id));
            self.pool.stop_waiting(id);
            self.leave_delivery(id, &channel);
            self.release_upstream(now, channel.upstream, why);
        }
    }

    fn take_channel(&mut self, id: ChannelId) -> Option<Channel> {
        let mut channel = self.channels.remove(&id)?;
        let account = &channel.owner.policy.account;
        self.usage.holds(account, &mut channel.held, 0);
        self.usage.channel_ends(account);
        Some(channel)
    }

    /// How many bytes wait on the channel, and for its upstream.
    pub(super) fn channel_waiting(&self, id: ChannelId) -> usize {
        let Some(channel) = self.channels.get(&id) else {
            return 0;
        };
        let upstream = self.upstream_of(channel);
        channel.buffered() + upstream.map_or(0, Upstream::unwritten)
    }

    /// How many more bytes from the client find room on the channel.
    pub(super) fn channel_room(&self, id: ChannelId) -> usize {
        let Some(channel) = self.channels.get(&id) else {
            return 0;
        };
        let upstream = self.upstream_of(channel);
        channel.room(upstream.map_or(0, Upstream::unwritten))
    }

    /// There is a connection: the session begins, if it has not yet.
    pub(super) fn channel_ready(&mut self, now: Time, id: ChannelId) {
        let Some(channel) = self.channels.get(&id) else {
            return;
        };
        let (Stage::Opening { early }, Some(upstream)) =
            (&channel.stage, self.upstream_of(channel))
        else {
            return;
        };
        let mut open = self.begin(&channel.owner.policy, upstream.capabilities(), false, now);
        open.session.handle_bytes(early);
        let (front, link) = (channel.owner.front, channel.owner.link);
        if let Some(front) = self.fronts.get_mut(front) {
            front.ready(id, &mut self.output);
        }
        self.output.events.push_back(Event::ChannelOpened { link });
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.stage = Stage::Open(open);
        }
    }

    /// The upstream has answered what the client asked for.
    pub(super) fn channel_reply(&mut self, id: ChannelId, reply: Reply) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        if let Some(message) = &mut channel.message
            && let Some(recipient) = message.asked.take()
        {
            message.recipient(recipient, &reply);
        }
        if let Some(open) = channel.open_mut() {
            open.mail = None;
            open.session.respond(reply);
        }
    }

    /// Lets session and upstream work until one of them has to wait.
    pub(super) fn drive(&mut self, now: Time, id: ChannelId) {
        let Some(Channel {
            owner,
            upstream,
            stage: Stage::Open(open),
            message,
            ..
        }) = self.channels.get_mut(&id)
        else {
            return;
        };
        let Some(front) = self.fronts.get_mut(owner.front) else {
            return;
        };
        open.active = now;
        self.touched.insert(Timed::Channel(id));
        let pause = Exchange {
            channel: id,
            owner,
            front,
            session: &mut open.session,
            mail: &mut open.mail,
            message: message.as_mut(),
            upstream: upstream.and_then(|link| self.pool.upstreams.get_mut(&link)),
            config: &self.config,
            rates: &mut self.rates,
            now,
            output: &mut self.output,
        }
        .run();
        match pause {
            Pause::Waits => self.share_upstream(now, id),
            Pause::IsComplete => self.begin_delivery(now, id),
            Pause::NoUpstream => self.await_upstream(now, id),
            Pause::Ended => self.end_channel(now, id, "the session ended", Ending::CLOSED),
        }
    }

    /// Gives back a connection between messages, where others may have it.
    fn share_upstream(&mut self, now: Time, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id)
            && channel.start == Start::Hello
            && let Some(link) = channel.upstream
            && let Some(upstream) = self.pool.upstreams.get(&link)
            && upstream.is_at_rest()
        {
            channel.upstream = None;
            self.release_upstream(now, Some(link), "");
        }
    }

    pub(super) fn channel_timeout(&mut self, now: Time, id: ChannelId) {
        let waits_until = self
            .channels
            .get(&id)
            .and_then(|channel| channel.waits_until);
        if waits_until.is_some_and(|until| until <= now) {
            self.pool.stop_waiting(id);
            let trouble = Trouble::Timeout("upstream wait");
            return self.channel_lost(now, id, Loss::NotOpened, &trouble);
        }
        let waits = self.upstream_waits_for_client(id);
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let is_named = channel.message.is_some();
        let Some(open) = channel.open_mut() else {
            return;
        };
        let is_idle = waits
            && open.session.turn() != Turn::Owner
            && open.active.after(self.config.channel_idle_timeout) <= now;
        if is_idle && is_named {
            // What the client sent could be on its way, and a reply be taken for that to the end of data.
            let ending = Ending::Failed(ChannelError {
                error: "idle for too long".into(),
                code: Some(421),
                retry_after: Some(self.retry_after()),
            });
            self.end_channel(now, id, "idle for too long", ending);
        } else if is_idle {
            let text = "Idle for too long, closing";
            open.session.close(reply(421, "4.4.2", text));
            self.drive(now, id);
        }
    }

    pub(super) fn upstream_waits_for_client(&self, id: ChannelId) -> bool {
        self.channels
            .get(&id)
            .and_then(|channel| self.upstream_of(channel))
            .is_none_or(Upstream::waits_for_client)
    }

    /// The channel has lost its upstream.
    pub(super) fn channel_lost(&mut self, now: Time, id: ChannelId, loss: Loss, trouble: &Trouble) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        channel.upstream = channel.upstream.filter(|_| loss != Loss::BetweenMessages);
        let is_open = matches!(channel.stage, Stage::Open(_));
        let may_reply = channel.may_reply();
        let server = format!("the mail server {} {trouble}", self.config.upstream);
        let retry_after = Some(self.retry_after());
        let refusal = match trouble {
            Trouble::Refused(reply) => Some(reply),
            _ => None,
        };
        let (last_reply, ending) = match loss {
            Loss::Nothing => return,
            // A MAIL without a reply is said to another one.
            Loss::BetweenMessages => return self.drive(now, id),
            Loss::NotOpened if !is_open => {
                let permanent = refusal.is_some_and(Reply::is_permanent);
                let error = ChannelError {
                    error: server,
                    code: Some(refusal.map_or(421, about_the_server)),
                    retry_after: retry_after.filter(|_| !permanent),
                };
                (None, Ending::Failed(error))
            }
            // As a reply it would name no time to come back either.
            Loss::NotOpened | Loss::BetweenCommands | Loss::Unanswered if !may_reply => {
                let error = ChannelError {
                    error: format!("nothing was delivered: {server}"),
                    code: Some(refusal.map_or(451, |reply| reply.code().as_u16())),
                    retry_after: None,
                };
                (None, Ending::Failed(error))
            }
            Loss::BetweenCommands if refusal.is_none() => {
                let error = ChannelError {
                    error: server,
                    code: Some(421),
                    retry_after,
                };
                (None, Ending::Failed(error))
            }
            Loss::NotOpened | Loss::BetweenCommands | Loss::Unanswered => {
                let text = format!("Nothing was delivered: {server}");
                let last_reply = refusal
                    .cloned()
                    .unwrap_or_else(|| reply(451, "4.4.2", text));
                let reason = Some(server);
                (Some(last_reply), Ending::Closed { reason })
            }
            Loss::InDoubt => {
                let unknown = "after the end of the message; whether it is delivered is unknown";
                (None, Ending::failed(format!("{server} {unknown}")))
            }
        };
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let (front, link) = (channel.owner.front, channel.owner.link);
        if let Some(front) = self.fronts.get_mut(front) {
            if let Some(said) = channel
                .open_mut()
                .and_then(|open| open.session.poll_output())
            {
                front.say(id, &said, &mut self.output);
            }
            if let Some(last_reply) = last_reply {
                front.say(id, &last_reply.to_bytes(), &mut self.output);
            }
        }
        let why = trouble.detail();
        self.end_channel(now, id, &why, ending);
        self.output
            .events
            .push_back(Event::ChannelFailed { link, why });
    }

    /// Ends the channel from this side.
    pub(super) fn end_channel(&mut self, now: Time, id: ChannelId, why: &str, ending: Ending) {
        let Some(channel) = self.take_channel(id) else {
            return;
        };
        self.touched.insert(Timed::Channel(id));
        let front = channel.owner.front;
        if let Some(front) = self.fronts.get_mut(front) {
            front.ended(id, ending, &mut self.output);
        }
        self.pool.stop_waiting(id);
        self.leave_delivery(id, &channel);
        self.release_upstream(now, channel.upstream, why);
        self.channel_has_ended(now, front);
    }

    fn leave_delivery(&mut self, id: ChannelId, channel: &Channel) {
        if let Some(message) = &channel.message {
            self.delivery_left(id, &channel.owner.policy.account, message);
        }
    }

    pub(super) fn retry_after(&mut self) -> Duration {
        RETRY_AFTER + self.random.up_to(RETRY_AFTER)
    }
}

/// The code for a channel whose mail server has refused the relay. It says nothing about the key's rate.
fn about_the_server(reply: &Reply) -> u16 {
    match reply.code().as_u16() {
        OVER_RATE => 451,
        code => code,
    }
}

/// What the client may use: what both the relay and this upstream carry.
pub(super) fn session_config(
    config: &RelayConfig,
    policy: &Policy,
    upstream: &Capabilities,
) -> SessionConfig {
    let limits = [policy.max_message_bytes, upstream.max_message_bytes()];
    SessionConfig {
        host_name: config.host_name.clone(),
        capabilities: Capabilities {
            pipelining: true,
            eight_bit_mime: upstream.eight_bit_mime,
            smtputf8: upstream.smtputf8,
            enhanced_status_codes: upstream.enhanced_status_codes,
            ..Capabilities::default()
        },
        require_hello: false,
        max_recipients: policy.max_recipients,
        max_message_bytes: limits.into_iter().flatten().min(),
        max_errors: MAX_ERRORS,
        // The client has shown its key, and the link is what protects the channel.
        authentication: None,
        security: Security::Clear,
    }
    .with_chunking()
}
