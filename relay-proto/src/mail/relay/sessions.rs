//! Sessions of the durable dialect: how they begin, go on over links, and end.

use super::{
    Event, Phase, Policy, RESTARTS, Relay,
    channel::{Channel, ChannelId, Message, Owner, Start},
    client_link::State,
    durable_front::DurableFront,
    front::{Ending, FrontId},
    timers::Timed,
};
use crate::{
    CloseCode, Frame, LinkId, Time,
    channels::{ChannelsConfig, ChannelsError},
    mail::{
        DeliveryId, Outcome,
        ledger::Known,
        wire::{ChannelError, DurableGrant, DurableRequest, Violation, Word, decode_word},
    },
    session::{Body, Delivery, SessionError, SessionId},
    smtp::{Capabilities, Size},
};
use alloc::{format, string::ToString, sync::Arc, vec::Vec};
use bytes::Bytes;

/// Words that wait for the client to acknowledge others, above which it is taken to acknowledge none.
const MAX_WORDS: usize = 4096;

/// How many windows the channels of a session may hold together.
const MOST_WINDOWS: u64 = 128;

/// The least window, in bytes.
const MIN_WINDOW: u64 = 128 * 1024;

impl Relay {
    /// Puts a link whose key is good on the session its client asks for, or on a new one. None where there is no room for
    /// another: the client then goes on in the base dialect.
    pub(super) fn grant_durable(
        &mut self,
        now: Time,
        link: LinkId,
        request: DurableRequest,
        policy: &Arc<Policy>,
    ) -> Option<(SessionId, DurableGrant)> {
        let account: Arc<str> = policy.account.as_str().into();
        let mut gone = None;
        if let DurableRequest::Resume {
            session,
            receive_next,
        } = request
        {
            let resumed = self
                .sessions
                .resume(now, &account, session, link, receive_next);
            match resumed {
                Ok(resumed) => {
                    if let Some(fenced) = resumed.fenced {
                        let why = "the session goes on on another link";
                        self.close_client(now, fenced, CloseCode::GOING_AWAY, why);
                    }
                    let peer = self.fronts.clients.get(&link).and_then(|link| link.peer);
                    if let Some(front) = self.fronts.sessions.get_mut(&session) {
                        front.link = link;
                        front.haste.hurry();
                        front.peer = peer;
                        // What the key may do can have changed.
                        front.policy = Arc::clone(policy);
                    }
                    self.report_under(session, link);
                    self.output.events.push_back(Event::SessionResumed { link });
                    self.output.stirred.insert(session);
                    let grant = self.durable_grant(policy, session, resumed.receive_next, gone);
                    return Some((session, grant));
                }
                Err(error) => gone = Some(error.to_string()),
            }
        }
        let opened = self
            .sessions
            .open(now, &mut self.random, &account, link, ())
            .ok()?;
        if let Some((evicted, ())) = opened.evicted {
            self.session_ended(now, evicted, "others took its place");
        }
        let peer = self.fronts.clients.get(&link).and_then(|link| link.peer);
        let config = ChannelsConfig {
            max_channels: self.config.max_channels,
            window: self.channel_window(),
            peer_window: self.channel_window(),
            // The front bounds what it says, so that nothing is ever refused.
            buffer: usize::MAX,
            ..ChannelsConfig::default()
        };
        let mut front = DurableFront::new(opened.id, link, peer, Arc::clone(policy), config);
        front.awaits_first = gone.is_some();
        self.fronts.sessions.insert(opened.id, front);
        Some((opened.id, self.durable_grant(policy, opened.id, 1, gone)))
    }

    /// What goes on in a session is reported under the link it is on now.
    fn report_under(&mut self, session: SessionId, link: LinkId) {
        let Some(front) = self.fronts.sessions.get(&session) else {
            return;
        };
        for id in front.messages() {
            let Some(channel) = self.channels.get_mut(&id) else {
                continue;
            };
            channel.owner.link = link;
            let upstream = channel.upstream;
            if let Some(upstream) = upstream.and_then(|link| self.pool.upstreams.get_mut(&link)) {
                upstream.report_under(link);
            }
        }
    }

    /// Less could be used up before the first chunk for the upstream is full.
    fn channel_window(&self) -> u64 {
        self.config.channel_window.max(MIN_WINDOW)
    }

    /// What the upstream has taken of a channel's bytes makes room for others.
    pub(super) fn give_credit(&mut self, session: SessionId, id: ChannelId, waiting: usize) {
        if let Some(front) = self.fronts.sessions.get_mut(&session) {
            front.give_credit(id, waiting, &mut self.output);
        }
    }

    fn durable_grant(
        &self,
        policy: &Policy,
        session: SessionId,
        receive_next: u64,
        gone: Option<alloc::string::String>,
    ) -> DurableGrant {
        let offered = self.pool.capabilities(&self.config);
        let smtp = super::channels::session_config(&self.config, policy, &offered);
        DurableGrant {
            session,
            receive_next,
            expires_in: self.config.session_expiry,
            heartbeat: self.config.heartbeat_interval,
            max_channels: self.config.max_channels as u64,
            window: self.channel_window(),
            ledger_mark: self.ledger.mark(&policy.account),
            capabilities: Capabilities {
                size: Some(smtp.max_message_bytes.map_or(Size::Unlimited, Size::Limit)),
                ..smtp.capabilities
            },
            gone,
        }
    }

    /// A message has come on a link that has a session.
    pub(super) fn durable_frame(
        &mut self,
        now: Time,
        link: LinkId,
        id: SessionId,
        frame: &Frame,
    ) -> Result<(), Violation> {
        let Frame::Binary(message) = frame else {
            return Err(broken("a text message in a session, where all are binary"));
        };
        let front = self.fronts.sessions.get_mut(&id);
        if front.is_some_and(|front| front.passes_over(message)) {
            return Ok(());
        }
        self.output.stirred.insert(id);
        let arrived = self
            .sessions
            .update(id, |session, ()| session.take_in(link, message));
        let arrived = arrived
            .transpose()
            .map_err(|error: SessionError| broken(error))?;
        let (delivery, is_new) = arrived.unwrap_or_default();
        if !is_new && let Some(client) = self.fronts.clients.get_mut(&link) {
            client.chatter.heard_nothing(now);
        }
        match delivery {
            None => Ok(()),
            Some(Delivery {
                body: Body::Data { channel, payload },
                ..
            }) => self.durable_data(now, id, channel, &payload),
            Some(Delivery {
                body: Body::Control(payload),
                ..
            }) => match decode_word(&payload)? {
                Some(word) => self.durable_word(now, id, word),
                None => {
                    if let Some(client) = self.fronts.clients.get_mut(&link) {
                        client.ignores(now);
                    }
                    Ok(())
                }
            },
        }
    }

    fn durable_data(
        &mut self,
        now: Time,
        id: SessionId,
        number: u64,
        payload: &Bytes,
    ) -> Result<(), Violation> {
        let Some(front) = self.fronts.sessions.get_mut(&id) else {
            return Ok(());
        };
        if front.channels.received(number, payload.len())?
            && let Some(channel) = front.take(number, payload.len())
        {
            self.channel_bytes(now, channel, payload);
            self.bound_session(now, id, channel);
        }
        Ok(())
    }

    /// Ends a channel that waits for a connection where those that do hold too much already. The client tries again later.
    fn bound_session(&mut self, now: Time, id: SessionId, channel: ChannelId) {
        let most = self.channel_window().saturating_mul(MOST_WINDOWS);
        let front = self.fronts.sessions.get(&id);
        let holds_too_much = front.is_some_and(|front| front.uncredited() as u64 > most);
        let waits = |channel: &Channel| channel.waits_until.is_some();
        if holds_too_much && self.channels.get(&channel).is_some_and(waits) {
            let error = "the mail server takes messages more slowly than they come";
            let ending = Ending::Failed(ChannelError {
                error: error.into(),
                code: Some(421),
                retry_after: Some(self.retry_after()),
            });
            self.end_channel(now, channel, error, ending);
        }
    }

    fn durable_word(&mut self, now: Time, id: SessionId, word: Word) -> Result<(), Violation> {
        let Some(front) = self.fronts.sessions.get_mut(&id) else {
            return Ok(());
        };
        match word {
            Word::Open {
                channel,
                delivery,
                sent_under,
            } => {
                let priority = crate::Priority::Normal;
                front.channels.opened(channel, priority)?;
                self.durable_opens(now, id, channel, delivery, sent_under.as_deref());
            }
            Word::Closed { channel, .. } => {
                if let Some(channel) = front.closed(channel) {
                    self.close_channel(now, channel, "the client closed the channel");
                }
            }
            Word::Credit { channel, bytes } => {
                front.channels.granted(channel, bytes)?;
                front.haste.hurry();
            }
            Word::Ready { .. } | Word::Error { .. } | Word::Draining { .. } => {
                let kind = word.kind();
                return Err(broken(format_args!("{kind} is for relays to send")));
            }
        }
        Ok(())
    }

    /// The client opens a channel for a delivery, which the ledger may know.
    fn durable_opens(
        &mut self,
        now: Time,
        id: SessionId,
        number: u64,
        delivery: DeliveryId,
        sent_under: Option<&str>,
    ) {
        let draining = matches!(self.phase, Phase::Draining { .. });
        let retry_after = draining.then(|| self.retry_after());
        let Some(front) = self.fronts.sessions.get_mut(&id) else {
            return;
        };
        let ending = match self.ledger.look_up(&front.policy.account, delivery) {
            Some(Known::Settled(outcome)) => Some(Ending::Known(outcome.clone())),
            Some(Known::UnderWay) => {
                let key = (front.policy.account.as_str().into(), delivery);
                self.waiting.entry(key).or_default().insert(id);
                return front.await_outcome(number, delivery);
            }
            None if draining => Some(Ending::Failed(ChannelError {
                error: RESTARTS.into(),
                code: Some(421),
                retry_after,
            })),
            None => sent_under
                .filter(|mark| !self.ledger.covers(&front.policy.account, mark))
                .map(|_| Ending::Known(Outcome::InDoubt)),
        };
        if let Some(ending) = ending {
            return front.end(number, ending, &mut self.output);
        }
        let key = (front.policy.account.as_str().into(), delivery);
        self.supersede(now, &key);
        let Some(front) = self.fronts.sessions.get_mut(&id) else {
            return;
        };
        let owner = Owner {
            front: FrontId::Session(id),
            link: front.link,
            peer: front.peer,
            policy: Arc::clone(&front.policy),
        };
        let opened = self.open_channel(now, owner, Start::Hello, Some(Message::new(delivery)));
        if let Ok(channel) = &opened {
            self.working.insert(key, *channel);
        }
        if let Some(front) = self.fronts.sessions.get_mut(&id) {
            match opened {
                Ok(channel) => front.carry(number, channel, &mut self.output),
                Err(ending) => front.end(number, ending, &mut self.output),
            }
        }
    }

    /// Hands what is to be said to the session's link, as much as that takes, and lets go of what is over.
    pub(super) fn flush_session(&mut self, now: Time, id: SessionId) {
        let Some(front) = self.fronts.sessions.get_mut(&id) else {
            return;
        };
        let deadline = front.haste.deadline();
        // With a link it is not needed.
        let link = self.sessions.update(id, |session, ()| session.link());
        let expiry = link.flatten().is_none().then(|| {
            let past_end = front.is_waiting()
                || front
                    .messages()
                    .filter_map(|channel| self.channels.get(&channel)?.message.as_ref())
                    .any(|message| message.is_forwarded);
            if past_end {
                self.config
                    .session_expiry
                    .max(self.config.session_expiry_past_end)
            } else {
                self.config.session_expiry
            }
        });
        let (clients, output) = (&mut self.fronts.clients, &mut self.output);
        let is_drained = self.sessions.update(id, |session, ()| {
            if let Some(expiry) = expiry {
                session.set_expiry(expiry);
            }
            let client = session.link().and_then(|link| clients.get_mut(&link))?;
            while let Some((channel, bytes)) = front.channels.poll_grant() {
                let word = Word::Credit { channel, bytes };
                front
                    .channels
                    .announce(crate::mail::wire::encode_word(&word));
                front.haste.hurry();
            }
            let is_now = front.haste.is_now(now, session.untold());
            while !client.is_slow() {
                if is_now && let Some(body) = front.channels.poll(session.room()) {
                    session
                        .send(body.borrowed())
                        .expect("the channels yield no more than there is room for");
                }
                let next = if is_now {
                    session.poll_frame()
                } else {
                    session.poll_numbered()
                };
                let Some(frame) = next else {
                    break;
                };
                client.outgoing.send(Frame::Binary(frame), output);
            }
            let is_quiet = front.channels.is_quiet();
            if is_now {
                front.haste.went_out(!is_quiet || client.is_slow());
            } else {
                front
                    .haste
                    .held_back(now, !is_quiet || session.untold() > 0);
            }
            let is_drained = front.is_draining
                && front.channels.is_empty()
                && front.channels.announcements() == 0
                && session.unacknowledged() == (0, 0);
            Some(is_drained)
        });
        if front.haste.deadline() != deadline {
            self.touched.extend(link.flatten().map(Timed::Link));
        }
        let is_drained = is_drained.flatten().unwrap_or(false);
        let unacknowledged = self
            .sessions
            .update(id, |session, ()| session.unacknowledged());
        let waiting_bytes =
            unacknowledged.map_or(0, |(_, bytes)| bytes) + front.channels.waiting_bytes();
        self.usage
            .holds(&front.policy.account, &mut front.charged, waiting_bytes);
        let (link, words) = (front.link, front.channels.announcements());
        let relieved = front.relieved();
        for channel in relieved {
            self.channel_taken(now, channel);
        }
        if is_drained {
            self.end_session(now, id, CloseCode::SERVICE_RESTART, RESTARTS);
        } else if words > MAX_WORDS {
            let violation = Violation {
                code: CloseCode::POLICY_VIOLATION,
                reason: "what the relay says has to be acknowledged".into(),
            };
            self.end_session(now, id, violation.code, &violation.reason);
            let event = Event::Violation { link, violation };
            self.output.events.push_back(event);
        }
    }

    /// Ends a session, and its link with it.
    pub(super) fn end_session(&mut self, now: Time, id: SessionId, code: CloseCode, why: &str) {
        let link = self.sessions.update(id, |session, ()| session.link());
        self.sessions.end(id);
        self.session_ended(now, id, why);
        if let Some(link) = link.flatten() {
            self.close_client(now, link, code, why);
        }
    }

    /// A session is gone: its channels end as those of a lost client do.
    fn session_ended(&mut self, now: Time, id: SessionId, why: &str) {
        if let Some(mut front) = self.fronts.sessions.remove(&id) {
            self.usage
                .holds(&front.policy.account, &mut front.charged, 0);
            for channel in front.messages() {
                self.close_channel(now, channel, why);
            }
        }
        self.output.stirred.remove(&id);
    }

    pub(super) fn sessions_timeout(&mut self, now: Time) {
        while let Some((id, ())) = self.sessions.handle_timeout(now) {
            let link = self.fronts.sessions.get(&id).map(|front| front.link);
            self.session_ended(now, id, "the client did not come back");
            if let Some(link) = link {
                self.output.events.push_back(Event::SessionExpired { link });
            }
        }
    }

    /// Tells clients in sessions that the relay is about to end. Those that are away will find another.
    pub(super) fn drain_sessions(&mut self, now: Time, deadline: Time) {
        let word = Word::Draining {
            deadline: deadline.since(now),
            spread: Some(self.config.restart_spread),
        };
        let ids: Vec<_> = self.fronts.sessions.keys().copied().collect();
        for id in ids {
            let link = self.sessions.update(id, |session, ()| session.link());
            if link.flatten().is_none() {
                self.sessions.end(id);
                self.session_ended(now, id, RESTARTS);
            } else if let Some(front) = self.fronts.sessions.get_mut(&id) {
                front.is_draining = true;
                front.say_word(&word, &mut self.output);
            }
        }
    }

    /// A link has ended; the session it had goes on without one, unless the relay is about to end.
    pub(super) fn detach_session(&mut self, now: Time, link: LinkId) {
        let Some(id) = self.sessions.cut(now, link) else {
            return;
        };
        // How long it lives now depends on what is under way.
        self.output.stirred.insert(id);
        if matches!(self.phase, Phase::Draining { .. }) {
            self.sessions.end(id);
            self.session_ended(now, id, RESTARTS);
        }
    }

    /// A client has broken the protocol: its session, where it has one, is over, too.
    pub(super) fn violated(&mut self, now: Time, link: LinkId, violation: Violation) {
        let session = match self.fronts.clients.get(&link).map(|client| &client.state) {
            Some(State::Durable(session)) => Some(*session),
            _ => None,
        };
        match session {
            Some(session) if self.sessions.on_link(link) == Some(session) => {
                self.end_session(now, session, violation.code, &violation.reason);
            }
            _ => self.close_client(now, link, violation.code, &violation.reason),
        }
        self.touched.insert(Timed::Link(link));
        let event = Event::Violation { link, violation };
        self.output.events.push_back(event);
    }
}

impl From<ChannelsError> for Violation {
    fn from(error: ChannelsError) -> Self {
        broken(error)
    }
}

fn broken(reason: impl core::fmt::Display) -> Violation {
    Violation {
        code: CloseCode::PROTOCOL_ERROR,
        reason: format!("{reason}"),
    }
}
