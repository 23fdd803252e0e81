//! The mail relay: an SMTP server to its clients, an SMTP client to its upstream.

mod channel;
mod client_link;
mod clients;
mod config;
mod event;
mod output;
mod policy;
mod presented;
mod timers;
mod trouble;
mod upstream;

pub use config::RelayConfig;
pub use event::{Event, Refused};
pub use policy::{Domain, Policy, RecipientPattern};
pub use presented::Presented;

use self::{
    client_link::{Channel, ClientLink, Serving, State},
    output::Output,
    timers::Timers,
    trouble::Trouble,
    upstream::{News, Upstream},
};
use crate::{
    Action, CloseCode, Deadline, Frame, Input, LinkId, Machine, Random, Time,
    mail::wire::{AUTHENTICATION_REFUSED, Denied, Granted, Message},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::ToString,
    vec::Vec,
};
use bytes::Bytes;
use core::mem;

/// The largest piece taken from an upstream at once: a whole reply.
const REPLY_LIMIT: usize = 64 * 1024;

/// A mail relay for any number of clients at once, as a pure state machine.
///
/// Every client is an accepted link that speaks the base dialect ([`wire`](crate::mail::wire)). The relay asks the
/// application about its key ([`Event::KeyPresented`], [`grant`](Self::grant), [`deny`](Self::deny)), and for every channel
/// opens a byte stream to the upstream. It terminates SMTP: what a client says is parsed, checked against its [`Policy`] and
/// said again to the upstream, one command at a time; the replies to MAIL, RCPT, DATA and the end of data are the upstream's
/// own.
///
/// Content streams through: it is never collected, and the client is not read while 128 KiB wait for the upstream.
///
/// What happens when a side is lost turns on the end of data. Before it is forwarded, nothing is delivered: a lost
/// client ends the upstream connection without it, a lost upstream shows as `451 4.4.2`. After it, only the upstream's reply
/// tells: a lost client does not keep the relay from waiting for it, and a lost upstream shows as a broken channel *without* a
/// final reply, which the client must take as "unknown".
pub struct Relay {
    config: RelayConfig,
    random: Random,
    phase: Phase,
    clients: BTreeMap<LinkId, ClientLink>,
    undecided: BTreeSet<LinkId>,
    upstreams: BTreeMap<LinkId, Upstream>,
    opened_upstreams: u64,
    timers: Timers,
    /// Links whose timers may have changed.
    touched: Vec<LinkId>,
    output: Output,
}

enum Phase {
    Running,
    Draining { deadline: Time },
    Finished,
}

impl Relay {
    /// A relay. `seed` spreads the times at which clients are asked to come back.
    pub fn new(config: RelayConfig, seed: [u8; 32]) -> Self {
        Self {
            config,
            random: Random::new(seed),
            phase: Phase::Running,
            clients: BTreeMap::new(),
            undecided: BTreeSet::new(),
            upstreams: BTreeMap::new(),
            opened_upstreams: 0,
            timers: Timers::default(),
            touched: Vec::new(),
            output: Output::default(),
        }
    }

    /// Grants the key a client has presented. Does nothing where the client is gone or already decided on.
    pub fn grant(&mut self, now: Time, link: LinkId, policy: Policy) {
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        let State::Deciding { early, .. } = &mut client.state else {
            return;
        };
        let early = mem::take(early);
        let response = Message::AuthenticateResponse(Ok(Granted {
            limits: policy.limits(),
        }));
        client.outgoing.send_message(&response, &mut self.output);
        client.state = State::Serving(Serving {
            policy,
            channel: Channel::Never,
        });
        self.undecided.remove(&link);
        self.output.events.push_back(Event::Authenticated { link });
        for frame in early.into_frames() {
            self.client_frame(now, link, &frame);
        }
        self.settle(now, Some(link));
    }

    /// Denies the key a client has presented, and closes the link: with 4001 where `denied`
    /// is permanent, else with 1008.
    /// Does nothing where the client is gone or already decided on.
    pub fn deny(&mut self, now: Time, link: LinkId, denied: Denied) {
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        if !matches!(client.state, State::Deciding { .. }) {
            return;
        }
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
        self.settle(now, Some(link));
    }

    /// Ends in good order: clients without a channel are closed with 1012 at once, the others when their channel ends;
    /// nobody new is taken. At `deadline` what is left is cut as by [`stop`](Self::stop).
    pub fn drain(&mut self, now: Time, deadline: Time) {
        if matches!(self.phase, Phase::Finished) {
            return;
        }
        self.phase = Phase::Draining { deadline };
        let idle: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| client.upstream().is_none())
            .map(|(link, _)| *link)
            .collect();
        for link in idle {
            self.close_client(now, link, CloseCode::SERVICE_RESTART, RESTARTS);
        }
        self.settle(now, None);
    }

    /// Ends at once: every link is closed, messages not yet past their end of data are abandoned, and those past it are
    /// in doubt.
    pub fn stop(&mut self, _now: Time) {
        if matches!(self.phase, Phase::Finished) {
            return;
        }
        for (link, client) in mem::take(&mut self.clients) {
            if !matches!(client.state, State::Closing { .. }) {
                self.output.actions.push_back(Action::Close {
                    link,
                    code: CloseCode::GOING_AWAY,
                    reason: "the relay stops".into(),
                });
            }
        }
        for (_, mut upstream) in mem::take(&mut self.upstreams) {
            upstream.fail("the relay stops", false, &mut self.output);
        }
        self.finish();
    }

    /// How many client links there are.
    pub fn links(&self) -> usize {
        self.clients.len()
    }

    /// How many upstream connections there are.
    pub fn upstreams(&self) -> usize {
        self.upstreams.len()
    }

    fn finish(&mut self) {
        self.phase = Phase::Finished;
        self.undecided.clear();
        self.timers.clear();
        self.touched.clear();
        self.output.events.push_back(Event::Finished);
    }

    fn retire_upstream(&mut self, now: Time, upstream: Option<LinkId>, why: &str) {
        let Some(id) = upstream else { return };
        if let Some(upstream) = self.upstreams.get_mut(&id) {
            upstream.retire(&self.config, now, why, &mut self.output);
            self.touched.push(id);
        }
    }

    fn upstream_frame(&mut self, now: Time, link: LinkId, bytes: &Bytes) {
        let Some(upstream) = self.upstreams.get_mut(&link) else {
            return;
        };
        let client = upstream.client();
        upstream.handle_bytes(bytes);
        // All replies at hand are taken before the next command goes out, so that a surplus one is noticed.
        while let Some(upstream) = self.upstreams.get_mut(&link)
            && let Some(news) = upstream.next_news(&self.config, now, &mut self.output)
        {
            match news {
                News::Nothing => {}
                News::Greeted => self.channel_ready(now, client),
                News::Replied(reply) => self.channel_reply(client, link, reply),
                News::Failed(trouble) => self.upstream_failed(now, link, &trouble, false),
            }
        }
        if self
            .upstreams
            .get(&link)
            .is_some_and(Upstream::is_out_of_step)
        {
            let trouble = Trouble::broke_protocol("a reply without a command");
            self.upstream_failed(now, link, &trouble, false);
        }
        self.drive(now, client, link);
    }

    fn upstream_failed(&mut self, now: Time, link: LinkId, trouble: &Trouble, link_ended: bool) {
        let Some(upstream) = self.upstreams.get_mut(&link) else {
            return;
        };
        let client = upstream.client();
        let loss = upstream.fail(&trouble.detail(), link_ended, &mut self.output);
        if link_ended {
            self.upstreams.remove(&link);
        }
        self.touched.extend([link, client]);
        self.channel_lost(now, client, loss, trouble);
    }

    fn upstream_timeout(&mut self, now: Time, link: LinkId) {
        let Some(upstream) = self.upstreams.get(&link) else {
            return;
        };
        if let Some(deadline) = upstream.deadline()
            && deadline.at <= now
        {
            self.upstream_failed(now, link, &Trouble::Timeout(deadline.timer), false);
        }
    }

    /// Brings the timers up to date with what has changed, and ends where a drain has nothing left to wait for.
    fn settle(&mut self, now: Time, link: Option<LinkId>) {
        self.touched.extend(link);
        while let Some(link) = self.touched.pop() {
            // A client's timers depend on its upstream and the other way round.
            let other = match self.upstreams.get(&link) {
                Some(upstream) => Some(upstream.client()),
                None => self.clients.get(&link).and_then(ClientLink::upstream),
            };
            for link in [Some(link), other].into_iter().flatten() {
                self.settle_link(now, link);
            }
        }
        if matches!(self.phase, Phase::Draining { .. })
            && self.clients.is_empty()
            && self.upstreams.is_empty()
        {
            self.finish();
        }
    }

    fn settle_link(&mut self, now: Time, link: LinkId) {
        if let Some(upstream) = self.upstreams.get(&link) {
            return self.timers.set(link, upstream.deadline());
        }
        let reading = self.read_limit(link) > 0;
        let deadline = self.clients.get_mut(&link).and_then(|client| {
            // A client that is not read for being slow is not excused.
            client
                .heartbeat
                .set_reading(now, reading || client.is_slow());
            let upstream = client.upstream().and_then(|id| self.upstreams.get(&id));
            let waits = upstream.is_none_or(Upstream::waits_for_client);
            client.deadline(&self.config, waits)
        });
        self.timers.set(link, deadline);
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
                if let Some(upstream) = self.upstreams.get_mut(&link) {
                    upstream.opened();
                }
                link
            }
            Input::OpenFailed { link, why } => {
                self.upstream_failed(now, link, &Trouble::Unreachable(why), true);
                link
            }
            Input::Frame { link, frame } => {
                if self.clients.contains_key(&link) {
                    self.client_frame(now, link, &frame);
                } else if let Frame::Binary(bytes) = frame {
                    self.upstream_frame(now, link, &bytes);
                }
                link
            }
            Input::Secured { link } => {
                if let Some(upstream) = self.upstreams.get_mut(&link) {
                    upstream.secured(&mut self.output);
                }
                link
            }
            Input::Written { link } => {
                if self.clients.contains_key(&link) {
                    self.client_written(now, link);
                } else if let Some(upstream) = self.upstreams.get_mut(&link) {
                    upstream.written(&self.config, now);
                    let client = upstream.client();
                    self.drive(now, client, link);
                }
                link
            }
            Input::Closed { link, why } => {
                if self.clients.contains_key(&link) {
                    self.client_ended(now, link, why.to_string());
                } else {
                    self.upstream_failed(now, link, &Trouble::Lost(why), true);
                }
                link
            }
        };
        self.settle(now, Some(link));
    }

    fn handle_timeout(&mut self, now: Time) {
        while let Some((link, deadline)) = self.timers.first()
            && deadline.at <= now
        {
            self.client_timeout(now, link);
            self.upstream_timeout(now, link);
            self.settle(now, Some(link));
        }
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
            Phase::Running | Phase::Finished => None,
        };
        Deadline::earliest([self.timers.first().map(|(_, deadline)| deadline), drain])
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.output.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.output.events.pop_front()
    }

    fn read_limit(&self, link: LinkId) -> usize {
        if let Some(upstream) = self.upstreams.get(&link) {
            return if upstream.is_closing() || upstream.is_securing() {
                0
            } else {
                REPLY_LIMIT
            };
        }
        let Some(client) = self.clients.get(&link) else {
            return 0;
        };
        let upstream = client.upstream().and_then(|id| self.upstreams.get(&id));
        client.read_limit(upstream.map_or(0, Upstream::unwritten))
    }

    fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }
}

#[cfg(test)]
mod tests;
