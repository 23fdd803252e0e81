//! Channels: where the fronts of clients and the upstreams meet.

use super::{
    Event, Policy, Relay, RelayConfig,
    channel::{Channel, ChannelId, Open, Owner, Stage},
    exchange::Exchange,
    front::Ending,
    timers::Timed,
    trouble::Trouble,
    upstream::{Loss, Upstream},
};
use crate::{
    LinkId, Time,
    mail::wire::ChannelError,
    smtp::{Capabilities, Reply, Session, SessionConfig, Turn, reply},
};
use alloc::{boxed::Box, format};
use core::{mem, time::Duration};

/// The shortest time after which a client may try again what failed for the moment; the longest is twice that.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Commands that are none a client may send on one channel; a program sends none.
const MAX_ERRORS: u32 = 20;

impl Relay {
    /// A client asks for a channel.
    ///
    /// # Errors
    ///
    /// What it is told where it gets none.
    pub(super) fn open_channel(&mut self, now: Time, owner: Owner) -> Result<ChannelId, Ending> {
        if self.upstreams.len() >= self.config.max_upstreams {
            let why = "the relay has too many connections to the mail server";
            self.output.events.push_back(Event::ChannelFailed {
                link: owner.link,
                why: why.into(),
            });
            return Err(Ending::Failed(ChannelError {
                error: why.into(),
                code: Some(421),
                retry_after: Some(self.retry_after()),
            }));
        }
        let id = ChannelId(self.opened_channels);
        self.opened_channels += 1;
        let link = LinkId::dialled(self.opened_upstreams);
        self.opened_upstreams += 1;
        let upstream = Upstream::open(link, id, owner.link, &self.config, now, &mut self.output);
        self.upstreams.insert(link, upstream);
        let mut channel = Channel::new(owner);
        channel.upstream = Some(link);
        self.channels.insert(id, channel);
        self.touched.push(Timed::Channel(id));
        Ok(id)
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
        if let Some(channel) = self.channels.remove(&id) {
            self.touched.push(Timed::Channel(id));
            self.retire_upstream(now, channel.upstream, why);
        }
    }

    /// How many more bytes from the client find room on the channel.
    pub(super) fn channel_room(&self, id: ChannelId) -> usize {
        let Some(channel) = self.channels.get(&id) else {
            return 0;
        };
        let upstream = channel.upstream.and_then(|link| self.upstreams.get(&link));
        channel.room(upstream.map_or(0, Upstream::unwritten))
    }

    /// The upstream has greeted: the session begins.
    pub(super) fn channel_ready(&mut self, now: Time, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let upstream = channel.upstream.and_then(|link| self.upstreams.get(&link));
        let (Stage::Opening { early }, Some(upstream)) = (&mut channel.stage, upstream) else {
            return;
        };
        let early = mem::take(early);
        let owner = &channel.owner;
        let config = session_config(&self.config, &owner.policy, upstream.capabilities());
        let mut session = Session::new(config);
        session.greet(reply(220, "", format!("{} ESMTP", self.config.host_name)));
        session.handle_bytes(&early);
        if let Some(front) = self.fronts.get_mut(owner.front) {
            front.ready(id, &mut self.output);
        }
        let link = owner.link;
        self.output.events.push_back(Event::ChannelOpened { link });
        channel.stage = Stage::Open(Box::new(Open {
            session,
            active: now,
        }));
    }

    /// The upstream has answered what the client asked for.
    pub(super) fn channel_reply(&mut self, id: ChannelId, reply: Reply) {
        if let Some(open) = self.channels.get_mut(&id).and_then(Channel::open_mut) {
            open.session.respond(reply);
        }
    }

    /// Lets session and upstream work until one of them has to wait.
    pub(super) fn drive(&mut self, now: Time, id: ChannelId) {
        let Some(Channel {
            owner,
            upstream,
            stage: Stage::Open(open),
        }) = self.channels.get_mut(&id)
        else {
            return;
        };
        let Some(front) = self.fronts.get_mut(owner.front) else {
            return;
        };
        open.active = now;
        self.touched.push(Timed::Channel(id));
        let ended = Exchange {
            channel: id,
            owner,
            front,
            session: &mut open.session,
            upstream: upstream.and_then(|link| self.upstreams.get_mut(&link)),
            config: &self.config,
            now,
            output: &mut self.output,
        }
        .run();
        if ended {
            self.end_channel(now, id, "the session ended", Ending::CLOSED);
        }
    }

    pub(super) fn channel_timeout(&mut self, now: Time, id: ChannelId) {
        let waits = self.upstream_waits_for_client(id);
        let Some(open) = self.channels.get_mut(&id).and_then(Channel::open_mut) else {
            return;
        };
        if waits
            && open.session.turn() != Turn::Owner
            && open.active.after(self.config.channel_idle_timeout) <= now
        {
            open.session
                .close(reply(421, "4.4.2", "Idle for too long, closing"));
            self.drive(now, id);
        }
    }

    pub(super) fn upstream_waits_for_client(&self, id: ChannelId) -> bool {
        self.channels
            .get(&id)
            .and_then(|channel| channel.upstream)
            .and_then(|link| self.upstreams.get(&link))
            .is_none_or(Upstream::waits_for_client)
    }

    /// The channel has lost its upstream.
    pub(super) fn channel_lost(&mut self, now: Time, id: ChannelId, loss: Loss, trouble: &Trouble) {
        let server = format!("the mail server {} {trouble}", self.config.upstream);
        let retry_after = Some(self.retry_after());
        let refusal = match trouble {
            Trouble::Refused(reply) => Some(reply),
            _ => None,
        };
        let (last_reply, ending) = match loss {
            Loss::Nothing => return,
            Loss::NotOpened => {
                let permanent = refusal.is_some_and(Reply::is_permanent);
                let error = ChannelError {
                    error: server,
                    code: Some(refusal.map_or(421, |reply| reply.code().as_u16())),
                    retry_after: retry_after.filter(|_| !permanent),
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
            Loss::BetweenCommands | Loss::Unanswered => {
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
    fn end_channel(&mut self, now: Time, id: ChannelId, why: &str, ending: Ending) {
        let Some(channel) = self.channels.remove(&id) else {
            return;
        };
        self.touched.push(Timed::Channel(id));
        let front = channel.owner.front;
        if let Some(front) = self.fronts.get_mut(front) {
            front.ended(id, ending, &mut self.output);
        }
        self.retire_upstream(now, channel.upstream, why);
        self.channel_has_ended(now, front);
    }

    pub(super) fn retry_after(&mut self) -> Duration {
        RETRY_AFTER + self.random.up_to(RETRY_AFTER)
    }
}

/// What the client may use: what both the relay and this upstream carry.
fn session_config(config: &RelayConfig, policy: &Policy, upstream: &Capabilities) -> SessionConfig {
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
    }
}
