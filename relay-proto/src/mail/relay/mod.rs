//! The mail relay: an SMTP server to its clients, an SMTP client to its upstream.

mod channel;
mod channels;
mod client_link;
mod clients;
mod config;
mod deliveries;
mod durable_front;
mod event;
mod exchange;
mod front;
mod output;
mod policy;
mod pool;
mod presented;
mod rates;
mod revocation;
mod sessions;
mod shares;
mod strangers;
mod timers;
mod transaction;
mod trouble;
mod upstream;
mod upstreams;
mod usage;

pub use config::{PoolConfig, RelayConfig};
pub use event::{Event, Refused};
pub use policy::{Domain, Policy, RecipientPattern};
pub use presented::Presented;

use self::{
    channel::{Channel, ChannelId},
    client_link::{EARLY_LIMIT, Serving, Slot, State},
    deliveries::{DeliveryKey, Forwarded},
    front::{FrontId, Fronts},
    output::Output,
    pool::Pool,
    rates::Rates,
    strangers::Strangers,
    timers::{Timed, Timers},
    trouble::Trouble,
    usage::Usage,
};
use crate::{
    Action, CloseCode, Deadline, Frame, Input, LinkId, Machine, Random, Time,
    admission::Refusals,
    mail::{
        ledger::Ledger,
        wire::{AUTHENTICATION_REFUSED, Denied, Granted, Message},
    },
    session::{Registry, RegistryConfig, SessionId},
    storage::{Record, RestoreError},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::ToString,
    sync::Arc,
    vec::Vec,
};
use core::{mem, time::Duration};

/// The largest piece taken from an upstream at once: a whole reply.
const REPLY_LIMIT: usize = 64 * 1024;

/// Content waiting for the upstream's socket, in bytes, above which the relay takes no more from the client: enough to keep
/// a fast connection busy, little enough for a thousand of them.
const HIGH_WATER: usize = 128 * 1024;

/// A mail relay for any number of clients at once, as a pure state machine.
///
/// Every client is an accepted link that speaks the base or the durable dialect ([`wire`](crate::mail::wire)). The relay asks the
/// application about its key ([`Event::KeyPresented`], [`grant`](Self::grant), [`deny`](Self::deny)), and for every channel
/// takes a byte stream to the upstream. It terminates SMTP: what a client says is parsed, checked against its [`Policy`] and
/// said again to the upstream; the replies to MAIL, RCPT and the end of data are the upstream's own. Clients may pipeline (RFC 2920)
/// and send content in chunks (RFC 3030) whatever the upstream offers. What a client has said in one flight goes on in one
/// flight to an upstream with PIPELINING, and content goes by BDAT to one with CHUNKING, once it has taken a recipient; one
/// without hears one command at a time, and gets content after its 354.
///
/// Connections to the upstream are kept for the next message ([`PoolConfig`]). One that dies while it carries none costs nothing:
/// the message goes to another, as long as not even its MAIL was answered. Past the end of data nothing is ever said again.
///
/// Content streams through: it is never collected, and the client is not read while 128 KiB wait for the upstream.
///
/// What happens when a side is lost turns on the end of data. Before it is forwarded, nothing is delivered: a lost
/// client ends the upstream connection without it, a lost upstream shows as `451 4.4.2`. After it, only the upstream's reply
/// tells: a lost client does not keep the relay from waiting for it, and a lost upstream shows as a broken channel *without* a
/// final reply, which the client must take as "unknown".
///
/// In the durable dialect a client's [session](crate::session) outlives its links, with any number of
/// [channels](crate::channels), one for each message. What becomes of a message is in the [ledger](Ledger) from before its end of
/// data is forwarded, and the client is told only what is written there. Sessions and deliveries belong to the
/// [account](Policy::account) of the key.
pub struct Relay {
    config: RelayConfig,
    random: Random,
    phase: Phase,
    fronts: Fronts,
    strangers: Strangers,
    refusals: Refusals,
    channels: BTreeMap<ChannelId, Channel>,
    opened_channels: u64,
    /// Sessions of the durable dialect, by account.
    sessions: Registry<Arc<str>, ()>,
    ledger: Ledger,
    /// The channel that works on each delivery: one at a time, or what one is told would not be true of another.
    working: BTreeMap<DeliveryKey, ChannelId>,
    /// The channels that are to be told what the ledger says.
    deliveries: BTreeMap<DeliveryKey, ChannelId>,
    /// What upstreams are to answer for.
    forwarded: BTreeMap<LinkId, Forwarded>,
    /// Sessions in which somebody waits for what becomes of a delivery.
    waiting: BTreeMap<DeliveryKey, BTreeSet<SessionId>>,
    pool: Pool,
    usage: Usage,
    rates: Rates,
    timers: Timers,
    /// Whose timers may have changed.
    touched: BTreeSet<Timed>,
    /// When the last input came that is not settled. Inputs often come together, and are settled together.
    unsettled: Option<Time>,
    output: Output,
}

enum Phase {
    Running,
    Draining { deadline: Time },
    Finished,
}

impl Relay {
    /// A relay whose ledger ends with it. `seed` must be random: it names sessions, and spreads the times at which clients
    /// are asked to come back.
    pub fn new(config: RelayConfig, seed: [u8; 32]) -> Self {
        let mut random = Random::new(seed);
        let ledger = Ledger::in_memory(config.ledger, &mut random);
        Self::with_ledger(config, random, ledger)
    }

    /// A relay whose ledger is stored, with the records an earlier one has left: it answers for what that one has forwarded.
    ///
    /// # Errors
    ///
    /// Where the records are not a ledger's, of a newer format, or damaged.
    pub fn restore(
        config: RelayConfig,
        seed: [u8; 32],
        now: Time,
        records: Vec<Record>,
    ) -> Result<Self, RestoreError> {
        let mut random = Random::new(seed);
        let ledger = Ledger::restore(config.ledger, &mut random, now, records)?;
        Ok(Self::with_ledger(config, random, ledger))
    }

    fn with_ledger(config: RelayConfig, random: Random, ledger: Ledger) -> Self {
        let defaults = RegistryConfig::default();
        let sessions = RegistryConfig {
            expires_in: config.session_expiry,
            // No link is left without a session because the others, of its key or not, have theirs; and as many clients may
            // be on their way back.
            sessions: defaults.sessions.max(config.max_links.saturating_mul(2)),
            sessions_per_key: defaults.sessions_per_key.max(config.max_links),
            ..defaults
        };
        Self {
            config,
            random,
            phase: Phase::Running,
            fronts: Fronts::default(),
            strangers: Strangers::default(),
            refusals: Refusals::default(),
            channels: BTreeMap::new(),
            opened_channels: 0,
            sessions: Registry::new(sessions),
            ledger,
            working: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            waiting: BTreeMap::new(),
            pool: Pool::default(),
            usage: Usage::default(),
            rates: Rates::default(),
            timers: Timers::default(),
            touched: BTreeSet::new(),
            unsettled: None,
            output: Output::default(),
        }
    }

    /// Grants the key a client has presented. Does nothing where the client is gone or already decided on.
    ///
    /// An account that has as many links as it may gets no other: the client is told when to come back, as by
    /// [`deny`](Self::deny).
    pub fn grant(&mut self, now: Time, link: LinkId, policy: Policy) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        let State::Deciding { early, durable, .. } = &mut client.state else {
            return;
        };
        let (early, durable) = (mem::take(early), durable.filter(|_| self.config.durable));
        if let Some(error) = self.refuses_link(&policy, durable) {
            let denied = Denied {
                error: error.into(),
                retry_after: Some(self.retry_after()),
                permanent: Some(false),
            };
            return self.refuse_at(now, link, denied, now);
        }
        let (limits, policy) = (policy.limits(), Arc::new(policy));
        let account: Arc<str> = policy.account.as_str().into();
        let granted = durable.and_then(|request| self.grant_durable(now, link, request, &policy));
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        let slot = Slot::Never;
        let (state, durable) = match granted {
            Some((session, grant)) => (State::Durable(session), Some(grant)),
            None => (State::Serving(Serving { policy, slot }), None),
        };
        client.state = state;
        self.usage.link_begins(&account);
        client.account = Some(account);
        let response = Message::AuthenticateResponse(Ok(Granted { limits, durable }));
        client.outgoing.send_message(&response, &mut self.output);
        self.strangers.remove(link);
        self.pool.expect_mail(&self.config, now);
        self.output.events.push_back(Event::Authenticated { link });
        for frame in early.into_frames() {
            self.client_frame(now, link, &frame);
        }
        self.settle(now, Some(link));
    }

    /// Denies the key a client has presented, and closes the link: with 4001 where `denied`
    /// is permanent, else with 1008.
    ///
    /// The first wrong key from an address (for IPv6: its /64) is refused at once, further ones, where `denied` is permanent, after
    /// 250 ms, twice that, and so on up to 5 s, until ten minutes pass without one. Good keys never wait.
    ///
    /// Does nothing where the client is gone or already decided on.
    pub fn deny(&mut self, now: Time, link: LinkId, denied: Denied) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        if !matches!(client.state, State::Deciding { .. }) {
            return;
        }
        let wait = match denied.is_permanent() {
            true => self.refusals.wait(now, client.peer),
            false => Duration::ZERO,
        };
        self.refuse_at(now, link, denied, now.after(wait));
    }

    fn refuse_at(&mut self, now: Time, link: LinkId, denied: Denied, at: Time) {
        if let Some(client) = self.fronts.clients.get_mut(&link) {
            client.state = State::Refusing { at, denied };
            self.refuse_in_time(now, link);
            self.settle(now, Some(link));
        }
    }

    /// Tells a client that its key is refused, once it has waited for that.
    fn refuse_in_time(&mut self, now: Time, link: LinkId) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        let denied = match &client.state {
            State::Refusing { at, denied } if *at <= now => denied.clone(),
            _ => return,
        };
        let code = if denied.is_permanent() {
            AUTHENTICATION_REFUSED
        } else {
            CloseCode::POLICY_VIOLATION
        };
        let error = denied.error.clone();
        let response = Message::AuthenticateResponse(Err(denied));
        client.outgoing.send_message(&response, &mut self.output);
        self.close_client(now, link, code, &error);
        self.output
            .events
            .push_back(Event::AuthenticationRefused { link, error });
    }

    /// Ends in good order: clients without a channel are closed with 1012 at once, the others when their channel ends;
    /// nobody new is taken. Clients in sessions are told so, finish what they have begun, and are closed with 1012 when they
    /// have acknowledged all of it. At `deadline` what is left is cut as by [`stop`](Self::stop).
    pub fn drain(&mut self, now: Time, deadline: Time) {
        if matches!(self.phase, Phase::Finished) {
            return;
        }
        self.phase = Phase::Draining { deadline };
        let idle: Vec<_> = self
            .fronts
            .clients
            .iter()
            .filter(|(_, client)| {
                client.channel().is_none() && !matches!(client.state, State::Durable(_))
            })
            .map(|(link, _)| *link)
            .collect();
        for link in idle {
            self.close_client(now, link, CloseCode::SERVICE_RESTART, RESTARTS);
        }
        self.drain_sessions(now, deadline);
        let quitting = self.pool.quit_idle(&self.config, now, &mut self.output);
        self.touched.extend(quitting.into_iter().map(Timed::Link));
        self.settle(now, None);
    }

    /// Ends at once: every link is closed, messages not yet past their end of data are abandoned, and those past it are
    /// in doubt.
    pub fn stop(&mut self, now: Time) {
        if matches!(self.phase, Phase::Finished) {
            return;
        }
        for (link, client) in mem::take(&mut self.fronts.clients) {
            if !matches!(client.state, State::Closing { .. }) {
                self.output.actions.push_back(Action::Close {
                    link,
                    code: CloseCode::GOING_AWAY,
                    reason: "the relay stops".into(),
                });
            }
        }
        self.channels.clear();
        self.fronts.sessions.clear();
        self.usage = Usage::default();
        for (_, mut upstream) in mem::take(&mut self.pool).upstreams {
            if upstream.is_at_rest() {
                upstream.quit(&self.config, now, &mut self.output);
            }
            upstream.fail(&Trouble::Stopped, false, &mut self.output);
        }
        self.finish();
    }

    /// How many client links there are.
    pub fn links(&self) -> usize {
        self.fronts.clients.len()
    }

    /// How many upstream connections there are, idle ones included.
    pub fn upstreams(&self) -> usize {
        self.pool.upstreams.len()
    }

    /// How many sessions of the durable dialect there are, with a link or without.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many channels there are, each with a message or ready for one.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// How many bytes the relay holds for clients whose keys are granted: what waits for the upstream or for the client, and a
    /// little for every channel. See [`RelayConfig::max_held_bytes`].
    pub fn held_bytes(&self) -> usize {
        self.usage.bytes()
    }

    fn finish(&mut self) {
        self.phase = Phase::Finished;
        self.strangers.clear();
        self.timers.clear();
        self.touched.clear();
        self.output.events.push_back(Event::Finished);
    }

    /// There was an input, to be settled when the relay is next asked for something. What the ledger has to say of it is followed before
    /// there is another, or time passes: the ledger may have forgotten by then.
    fn take_note(&mut self, now: Time) {
        self.follow_ledger(now);
        self.unsettled = Some(now);
    }

    fn settle_inputs(&mut self) {
        if let Some(now) = self.unsettled {
            self.settle(now, None);
        }
    }

    /// Brings the timers up to date with what has changed, and ends where a drain has nothing left to wait for.
    fn settle(&mut self, now: Time, link: Option<LinkId>) {
        self.unsettled = None;
        self.touched.extend(link.map(Timed::Link));
        loop {
            self.supply(now);
            while let Some(timed) = self.touched.pop_first() {
                match timed {
                    Timed::Channel(channel) => self.settle_channel(now, channel),
                    Timed::Link(link) => match self.channel_of(link) {
                        Some(channel) => self.settle_channel(now, channel),
                        None => self.settle_link(now, link),
                    },
                    Timed::Queue => {}
                }
            }
            if self.follow_ledger(now) {
                continue;
            }
            // At the end, so that each client gets one acknowledgement for all it said.
            while let Some(session) = self.output.stirred.pop_first() {
                self.flush_session(now, session);
            }
            if self.touched.is_empty() {
                break;
            }
        }
        if matches!(self.phase, Phase::Draining { .. })
            && self.fronts.clients.is_empty()
            && self.pool.upstreams.is_empty()
            && self.ledger.is_at_rest()
        {
            self.finish();
        }
    }

    /// The channel whose link this is, if there is one.
    fn channel_of(&self, link: LinkId) -> Option<ChannelId> {
        let channel = match self.pool.upstreams.get(&link) {
            Some(upstream) => upstream.channel(),
            None => self.fronts.clients.get(&link)?.channel(),
        };
        channel.filter(|id| {
            let channel = self.channels.get(id);
            channel.is_some_and(|channel| {
                channel.upstream == Some(link) || channel.owner.front == FrontId::Link(link)
            })
        })
    }

    /// The timers of a channel, its front and its upstream depend on each other.
    fn settle_channel(&mut self, now: Time, id: ChannelId) {
        self.touched.remove(&Timed::Channel(id));
        let waits = self.upstream_waits_for_client(id);
        let waiting = self.channel_waiting(id);
        if let Some(channel) = self.channels.get_mut(&id) {
            let account = &channel.owner.policy.account;
            self.usage.holds(account, &mut channel.held, waiting);
        }
        let channel = self.channels.get(&id);
        let deadline = channel.and_then(|channel| channel.deadline(&self.config, waits));
        let links = channel.map(|channel| (channel.owner.front, channel.upstream));
        self.timers.set(Timed::Channel(id), deadline);
        let Some((front, upstream)) = links else {
            return;
        };
        let front = match front {
            FrontId::Link(link) => Some(link),
            FrontId::Session(session) => {
                self.give_credit(session, id, waiting);
                None
            }
        };
        for link in [front, upstream].into_iter().flatten() {
            self.settle_link(now, link);
        }
    }

    fn settle_link(&mut self, now: Time, link: LinkId) {
        self.touched.remove(&Timed::Link(link));
        if let Some(upstream) = self.pool.upstreams.get(&link) {
            return self.timers.set(Timed::Link(link), upstream.deadline());
        }
        let reading = self.read_limit(link) > 0;
        let Fronts { clients, sessions } = &mut self.fronts;
        let mut client = clients.get_mut(&link);
        if let Some(client) = &mut client
            && let Some(account) = &client.account
        {
            let waiting = client.outgoing.bytes();
            self.usage.holds(account, &mut client.held, waiting);
        }
        let deadline = client.and_then(|client| {
            // A client that is not read for being slow is not excused.
            client
                .heartbeat
                .set_reading(now, reading || client.is_slow());
            let haste = match client.state {
                State::Durable(session) => sessions.get(&session),
                _ => None,
            }
            .filter(|front| front.link == link)
            .and_then(|front| front.haste.deadline());
            Deadline::earliest([client.deadline(), haste])
        });
        self.timers.set(Timed::Link(link), deadline);
    }
}

const RESTARTS: &str = "the relay restarts";

impl Machine for Relay {
    type Event = Event;

    fn handle_input(&mut self, now: Time, input: Input) {
        if self.is_finished() {
            return;
        }
        let link = match input {
            Input::Accepted { link, peer } => {
                self.accept(now, link, peer);
                link
            }
            Input::Opened { link } => {
                self.upstream_opened(link);
                link
            }
            Input::OpenFailed { link, why } => {
                self.upstream_failed(now, link, &Trouble::Unreachable(why), true);
                link
            }
            Input::Frame { link, frame } => {
                if self.fronts.clients.contains_key(&link) {
                    self.client_frame(now, link, &frame);
                } else if let Frame::Binary(bytes) = frame {
                    self.upstream_frame(now, link, &bytes);
                }
                link
            }
            Input::Secured { link } => {
                if let Some(upstream) = self.pool.upstreams.get_mut(&link) {
                    upstream.secured(&mut self.output);
                }
                link
            }
            Input::Written { link } => {
                if self.fronts.clients.contains_key(&link) {
                    self.client_written(now, link);
                } else {
                    self.upstream_written(now, link);
                }
                link
            }
            Input::Stored { batch, result } => {
                self.ledger.handle_stored(now, batch, result);
                return self.take_note(now);
            }
            Input::Closed { link, why } => {
                if self.fronts.clients.contains_key(&link) {
                    self.client_ended(now, link, why.to_string());
                } else {
                    self.upstream_failed(now, link, &Trouble::Lost(why), true);
                }
                link
            }
        };
        self.touched.insert(Timed::Link(link));
        self.take_note(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        // Deadlines may have moved.
        self.settle_inputs();
        while let Some((timed, deadline)) = self.timers.first()
            && deadline.at <= now
        {
            match timed {
                Timed::Link(link) => {
                    self.client_timeout(now, link);
                    self.upstream_timeout(now, link);
                }
                Timed::Channel(channel) => self.channel_timeout(now, channel),
                // Connections are opened below.
                Timed::Queue => {}
            }
            self.touched.insert(timed);
            self.settle(now, None);
        }
        if self.is_finished() {
            return;
        }
        self.sessions_timeout(now);
        self.ledger.handle_timeout(now);
        self.settle(now, None);
        if let Phase::Draining { deadline } = self.phase
            && deadline <= now
        {
            self.stop(now);
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let drain = match self.phase {
            Phase::Draining { deadline } => Some(Deadline {
                at: deadline,
                timer: "drain",
            }),
            Phase::Running => None,
            Phase::Finished => return None,
        };
        Deadline::earliest([
            self.timers.first().map(|(_, deadline)| deadline),
            drain,
            self.sessions.deadline(),
            self.ledger.deadline(),
        ])
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.settle_inputs();
        let action = self.output.actions.pop_front();
        action.or_else(|| self.ledger.poll_action())
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.settle_inputs();
        self.output.events.pop_front()
    }

    fn read_limit(&self, link: LinkId) -> usize {
        if let Some(upstream) = self.pool.upstreams.get(&link) {
            return if upstream.is_closing() || upstream.is_securing() {
                0
            } else {
                REPLY_LIMIT
            };
        }
        let Some(client) = self.fronts.clients.get(&link) else {
            return 0;
        };
        let channel_takes = client.channel().is_none_or(|id| self.channel_room(id) > 0);
        client.read_limit(channel_takes)
    }

    fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }
}

#[cfg(test)]
mod tests;
