//! The key-value service: a store in memory, what is stored of it, and who may ask for what.
//!
//! [`Service`] is a [`Site`](crate::http::Site): it is asked over HTTP for WebSockets and tokens, and speaks the
//! [messages](super::wire) of the protocol with its clients, in the plain dialect or, where they ask for it, in the durable one.
//! `docs/key-value.md` describes both for those who write another end.
//!
//! ```
//! use relay_proto::{
//!     Action, Frame, Input, LinkId, Machine, Time,
//!     http::{Answer, Request, Site},
//!     kv::service::{KeyDigest, Policy, Service, ServiceConfig},
//! };
//! use core::time::Duration;
//!
//! let unix_time = Duration::from_secs(1_790_000_000);
//! let mut service = Service::in_memory(ServiceConfig::new(unix_time), [7; 32], Time::ZERO);
//! service.set_accounts(Time::ZERO, vec![(KeyDigest::of("my key"), Policy::default())]);
//!
//! // What the HTTP server in front of it does with a connection.
//! let (now, link) = (Time::ZERO, LinkId::accepted(0));
//! let request = Request::new("GET", "/ws?apiKey=my%20key").with_field("Upgrade", "websocket");
//! assert_eq!(service.handle_request(now, link, None, &request), Answer::Upgrade);
//! service.handle_input(now, Input::Accepted { link, peer: None });
//!
//! let set = r#"{"op":2,"key":"greeting","value":"hello","messageId":1}"#;
//! service.handle_input(now, Input::Frame { link, frame: Frame::Text(set.into()) });
//! let done = r#"{"code":200,"success":true,"messageId":1}"#;
//! let frame = Frame::Text(done.into());
//! assert_eq!(service.poll_action(), Some(Action::Send { link, frame }));
//! ```
//!
//! # What is applied when
//!
//! Calls wait in a queue for each client, and are worked on in *turns*: keys take turns, and the clients of a key. What a turn
//! has changed is stored in one batch, and everything in it is answered when that is done; the next turn begins then. So whatever is
//! read is stored. Where a batch cannot be stored, all of its turn is taken back: calls that change something are answered with
//! 503, and those that read are asked again.

mod account;
mod accounts;
mod clients;
mod config;
mod event;
mod front;
mod link;
mod links;
mod merge;
mod notifications;
mod operations;
mod pattern;
mod record;
mod restore;
mod sessions;
mod site;
mod store;
#[cfg(test)]
mod tests;
mod token;
mod turn;

pub use account::{KeyDigest, Policy};
pub use config::ServiceConfig;
pub use event::Event;

use self::{
    accounts::Accounts,
    clients::Clients,
    front::{Front, FrontId},
    link::{Link, Rights},
    record::Item,
    store::Store,
    token::Signer,
    turn::Turn,
};
use crate::{
    Action, CloseCode, Deadline, Input, LinkId, Machine, Random, Time,
    admission::Refusals,
    kv::StoreId,
    session::{HEADER_LIMIT, Registry, RegistryConfig},
    storage::{Record, Recorder, RestoreError},
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::ToString,
    sync::Arc,
    vec::Vec,
};
use core::{mem, time::Duration};

/// What clients are told when the service is about to end.
const RESTARTS: &str = "the service restarts";

/// A key-value service for any number of clients at once, as a pure state machine; see the [module](self).
pub struct Service {
    config: ServiceConfig,
    random: Random,
    phase: Phase,
    accounts: Accounts,
    refusals: Refusals,
    signer: Signer,
    id: StoreId,
    store: Store,
    clients: Clients,
    /// None: in memory only.
    recorder: Option<Recorder<Item>>,
    /// What is done and not stored yet.
    turn: Option<Turn>,
    /// Who has been let in, and has not come yet.
    admitted: Option<(LinkId, Arc<Rights>)>,
    links: BTreeMap<LinkId, Link>,
    fronts: BTreeMap<FrontId, Front>,
    /// The clients that are told of changes, by their store.
    subscribers: BTreeSet<(Arc<str>, FrontId)>,
    /// Those that have more changes to look at than can be looked at at once, and when that goes on.
    behind: BTreeSet<FrontId>,
    catch_up_at: Option<Time>,
    sessions: Registry<KeyDigest, ()>,
    /// Links by their deadline.
    timers: BTreeSet<(Time, LinkId)>,
    /// Clients for which there is something to do.
    stirred: BTreeSet<FrontId>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

enum Phase {
    Running,
    Draining { deadline: Time },
    Finished,
}

/// How much a service holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// How many keys there are in all stores.
    pub keys: usize,
    /// The bytes of all keys and values, 64 more for each pair.
    pub bytes: usize,
    /// The links that are open.
    pub links: usize,
    /// The sessions, with a link or without.
    pub sessions: usize,
    /// The clients of the durable dialect that are remembered.
    pub clients: usize,
}

impl Service {
    /// A service whose store ends with it. `seed` must be random: tokens are signed with a secret drawn from it.
    pub fn in_memory(config: ServiceConfig, seed: [u8; 32], now: Time) -> Self {
        let _ = now;
        let mut random = Random::new(seed);
        let mut secret = [0; 32];
        for bytes in secret.chunks_mut(8) {
            bytes.copy_from_slice(&random.next_u64().to_be_bytes());
        }
        let id = StoreId::random(&mut random);
        let sessions = RegistryConfig {
            sessions: config.max_links.saturating_mul(2).max(1_000),
            // No link is left without a session because the others of its key have theirs.
            sessions_per_key: config.max_links.max(1_000),
            expires_in: config.session_expiry,
            ..RegistryConfig::default()
        };
        Self {
            config,
            random,
            phase: Phase::Running,
            accounts: Accounts::default(),
            refusals: Refusals::default(),
            signer: Signer::new(secret),
            id,
            store: Store::default(),
            clients: Clients::default(),
            recorder: None,
            turn: None,
            admitted: None,
            links: BTreeMap::new(),
            fronts: BTreeMap::new(),
            subscribers: BTreeSet::new(),
            behind: BTreeSet::new(),
            catch_up_at: None,
            sessions: Registry::new(sessions),
            timers: BTreeSet::new(),
            stirred: BTreeSet::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A service whose store is stored, with the records an earlier one has left: it has every key it has answered for, knows its
    /// tokens, and applies no call twice that was applied then.
    ///
    /// # Errors
    ///
    /// Where the records are not a key-value service's, of a newer format, or damaged.
    pub fn restore(
        config: ServiceConfig,
        seed: [u8; 32],
        now: Time,
        records: Vec<Record>,
    ) -> Result<Self, RestoreError> {
        let mut service = Self::in_memory(config, seed, now);
        service.recorder = Some(Recorder::new());
        service.take_records(now, records)?;
        Ok(service)
    }

    /// There are these keys from now on, and no others; at first there is none. Links and sessions of keys that are gone end with 1008,
    /// and tokens made with them are good for nothing. What the policies say holds from the next call on; in which store a
    /// subscribed link looks for changes only from the next link on.
    pub fn set_accounts(&mut self, now: Time, accounts: Vec<(KeyDigest, Policy)>) {
        if self.is_finished() {
            return;
        }
        let known: BTreeSet<_> = accounts.iter().map(|(key, _)| *key).collect();
        let gone: Vec<_> = self
            .fronts
            .iter()
            .filter(|(_, front)| !known.contains(&front.rights.key))
            .map(|(id, _)| *id)
            .collect();
        for front in gone {
            let why = "the API key is no longer valid";
            self.end_front(now, front, CloseCode::POLICY_VIOLATION, why);
        }
        self.accounts.set(now, accounts);
        self.settle(now);
    }

    /// Ends in good order: nobody new is let in, and each link is closed with 1012 when its client has the answers to what it
    /// has asked. At `deadline` what is left is cut as by [`stop`](Self::stop).
    pub fn drain(&mut self, now: Time, deadline: Time) {
        if self.is_finished() {
            return;
        }
        self.phase = Phase::Draining { deadline };
        self.stirred.extend(self.fronts.keys());
        self.settle(now);
    }

    /// Ends at once: every link is closed with 1001. What was answered is stored; what was not may be.
    pub fn stop(&mut self, now: Time) {
        if self.is_finished() {
            return;
        }
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.close_link(now, link, CloseCode::GOING_AWAY, "the service stops");
        }
        self.store_changes();
        self.phase = Phase::Finished;
        self.events.push_back(Event::Finished);
        self.fronts.clear();
        self.links.clear();
        self.timers.clear();
        self.stirred.clear();
    }

    /// How much it holds.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            keys: self.store.len(),
            bytes: self.store.bytes(),
            links: self.accounts.links(),
            sessions: self.sessions.len(),
            clients: self.clients.len(),
        }
    }

    /// Unix time as the config has it.
    fn timestamp(&self, now: Time) -> u64 {
        let time = self.config.epoch.saturating_add(now.since(Time::ZERO));
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    /// Does what there is to do, until there is nothing.
    fn settle(&mut self, now: Time) {
        while !self.is_finished() {
            let has_worked = self.work(now);
            let stirred = mem::take(&mut self.stirred);
            if stirred.is_empty() && !has_worked {
                break;
            }
            for front in stirred {
                self.attend(now, front);
            }
        }
        let is_drained = matches!(self.phase, Phase::Draining { .. })
            && self.links.is_empty()
            && self.turn.is_none();
        if is_drained {
            self.stop(now);
        }
    }

    /// Sorts a link by its deadline, which may have changed.
    fn sort(&mut self, now: Time, link: LinkId) {
        let is_reading = self.is_reading(link);
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        // Where it is not read because it takes nothing, its silence counts.
        known
            .heartbeat
            .set_reading(now, is_reading || known.is_slow());
        let deadline = known.deadline().map(|deadline| deadline.at);
        let before = mem::replace(&mut known.sorted, deadline);
        if before != deadline {
            if let Some(at) = before {
                self.timers.remove(&(at, link));
            }
            if let Some(at) = deadline {
                self.timers.insert((at, link));
            }
        }
    }
}

impl Machine for Service {
    type Event = Event;

    fn handle_input(&mut self, now: Time, input: Input) {
        if self.is_finished() {
            return;
        }
        let link = input.link();
        match input {
            Input::Accepted { link, peer } => self.accept(now, link, peer),
            Input::Frame { link, frame } => self.link_frame(now, link, &frame),
            Input::Written { link } => self.link_written(now, link),
            Input::Closed { link, why } => self.link_closed(now, link, why.to_string()),
            Input::Stored { batch, result } => self.stored(now, batch, result),
            // It opens no links.
            Input::Opened { .. } | Input::OpenFailed { .. } | Input::Secured { .. } => {}
        }
        self.settle(now);
        if let Some(link) = link {
            self.sort(now, link);
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.is_finished() {
            return;
        }
        while let Some(&(at, link)) = self.timers.first()
            && at <= now
        {
            self.link_timeout(now, link);
            self.sort(now, link);
        }
        self.sessions_timeout(now);
        self.clients_timeout(now);
        self.storage_timeout(now);
        if self.catch_up_at.is_some_and(|at| at <= now) {
            self.catch_up_at = None;
            self.stirred.append(&mut self.behind);
        }
        self.settle(now);
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
        let heartbeat = self.timers.first().map(|&(at, _)| Deadline {
            at,
            timer: "heartbeat",
        });
        let catch_up = self.catch_up_at.map(|at| Deadline {
            at,
            timer: "catch up",
        });
        Deadline::earliest([
            heartbeat,
            drain,
            catch_up,
            self.sessions.deadline(),
            self.clients.deadline(),
            self.recorder.as_ref().and_then(Recorder::deadline),
        ])
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn read_limit(&self, link: LinkId) -> usize {
        if self.is_reading(link) {
            self.config.frame_limit() + HEADER_LIMIT
        } else {
            0
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }
}

/// How long those that are behind with changes wait until they look at more: so that everybody else has a turn in between.
const CATCH_UP: Duration = Duration::from_millis(1);
