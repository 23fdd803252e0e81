//! The key-value client: makes calls over one link to a service, and ends each of them exactly once.
//!
//! ```
//! use relay_proto::{
//!     Action, Frame, Input, Pump, Step, Time,
//!     kv::client::{Answer, Call, Client, ClientConfig, Credential, Event},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = ClientConfig::new("wss://kv.example".parse()?, Credential::ApiKey("my key".into()));
//! config.durable = false; // so that this example is short
//! let seed = [7; 32]; // from the operating system, in earnest
//! let mut pump = Pump::new(Client::new(config, seed, Time::ZERO));
//!
//! // A call may be made at any time: it waits for a link.
//! let now = Time::from_nanos(1_000_000);
//! let id = pump.command(now, |client, now| client.call(now, Call::increment("visits", 1)))?;
//!
//! // A driver does what the machine asks for. This one has a service that has seen four visits.
//! let answer = loop {
//!     match pump.step(now) {
//!         Step::Perform(Action::Open { link, endpoint }) => {
//!             assert_eq!(endpoint.to_string(), "wss://kv.example/ws?…", "the key is for the service alone");
//!             pump.handle_input(now, Input::Opened { link });
//!         }
//!         Step::Perform(Action::Send { link, frame: Frame::Text(request) }) => {
//!             assert_eq!(request, r#"{"op":6,"key":"visits","value":1,"messageId":1}"#);
//!             let answer = r#"{"code":200,"success":true,"newValue":5,"messageId":1}"#;
//!             pump.handle_input(now, Input::Frame { link, frame: Frame::Text(answer.into()) });
//!         }
//!         Step::Deliver(Event::Answered { id: answered, result }) if answered == id => break result?,
//!         Step::Deliver(event) => println!("{event:?}"),
//!         other => unreachable!("there is nothing else to do: {other:?}"),
//!     }
//! };
//! assert_eq!(answer, Answer::Number(5));
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - Every call that is taken ends once: in an [`Event::Answered`], in the list of [`Event::Terminated`], or by being
//!   [taken back](Client::cancel). It ends in its time, with or without a link.
//! - With a service that grants the **durable dialect** a call that is answered was applied exactly once, whatever happened to links
//!   and sessions, and whether the service was restarted meanwhile. Where the service has lost its memory of this client, and where the
//!   time of a call is over, a change that was sent ends [in doubt](CallError::InDoubt).
//! - With any other service a change that was sent and not answered when the link ended is in doubt. What only reads is asked again,
//!   and what was not sent waits.
//! - Calls are made in the order of priority and, within one, in which they came, and a link keeps that order. A call that is put back
//!   since the service asked to slow down may be overtaken by those that were sent behind it: where the order of two calls matters,
//!   wait for the first.

mod call;
mod config;
mod dialect;
mod durable;
mod ending;
mod error;
mod event;
mod flight;
mod link;
mod replies;
mod state;
mod statistics;
#[cfg(test)]
mod tests;
mod url;

pub use call::{Answer, Call, CallId, Range};
pub use config::{ClientConfig, Credential, Timeouts};
pub use error::{CallError, Refusal, Refused};
pub use event::{Event, Gap, Unsettled};
pub use replies::{NoAnswer, Replies};
pub use state::ConnectionState;
pub use statistics::Statistics;
pub use url::ServiceUrl;

use crate::{
    Action, CloseCode, Deadline, Input, LinkId, Machine, Random, Time,
    kv::{
        ClientId,
        wire::{MAX_NUMBER, Operation, Seen},
    },
    link::Uplink,
    outbox::{Entry, Outbox},
    pacing::{Pacer, Rate},
    response_times::ResponseTimes,
};
use alloc::{boxed::Box, collections::VecDeque};
use core::time::Duration;
use dialect::{Dialect, Peer};
use durable::Durable;
use flight::Flight;
use statistics::Counts;

/// Half a MiB of values in a range, each byte of which may need six in JSON, and their keys.
const LARGEST_FRAME: usize = 4 << 20;

/// The key-value client as a pure state machine.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    random: Random,
    /// What the service knows this object by, in the durable dialect.
    id: ClientId,
    life: Life,
    uplink: Uplink,
    outbox: Outbox<Call>,
    flight: Flight,
    /// What is spoken on the present link.
    dialect: Dialect,
    /// What is known of the service.
    peer: Peer,
    /// It outlives its links.
    session: Option<Box<Durable>>,
    pacer: Pacer,
    /// When the pacer lets the next call go that waits for it.
    paced_until: Option<Time>,
    /// Up to where changes were told.
    seen: Option<Seen>,
    /// A link is wanted although there may be nothing to do.
    is_kept: bool,
    was_connected: bool,
    /// Changes may have been made between the last link and this one.
    has_gap: bool,
    idle_until: Option<Time>,
    next_id: u64,
    next_number: u64,
    state: ConnectionState,
    state_since: Time,
    counts: Counts,
    response_times: ResponseTimes,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum Life {
    Running,
    Draining { until: Time },
    Finished,
}

impl Client {
    /// A client at rest. Equal configurations, seeds and inputs give equal outputs; no two clients may have the same seed, since
    /// a service tells them apart by what comes of it.
    pub fn new(config: ClientConfig, seed: [u8; 32], now: Time) -> Self {
        let config = config.with_timers_that_can_wait();
        let mut random = Random::new(seed);
        Self {
            id: ClientId::random(&mut random),
            random,
            life: Life::Running,
            uplink: Uplink::new(config.uplink()),
            outbox: Outbox::new(config.queue),
            flight: Flight::default(),
            dialect: Dialect::None,
            peer: Peer::Unknown,
            session: None,
            pacer: Pacer::new(now, config.rate),
            paced_until: None,
            config,
            seen: None,
            is_kept: false,
            was_connected: false,
            has_gap: false,
            idle_until: None,
            next_id: 1,
            next_number: 1,
            state: ConnectionState::default(),
            state_since: now,
            counts: Counts::default(),
            response_times: ResponseTimes::default(),
            events: VecDeque::new(),
        }
    }

    /// Makes a call: at once where there is a link, as soon as there is one otherwise. [`Event::Answered`] says how it ended.
    ///
    /// # Errors
    ///
    /// Hands the call back, with the reason, when the queue is full, when what it adds is too large a number, or when the client shuts
    /// down. Nothing has changed then.
    pub fn call(&mut self, now: Time, call: Call) -> Result<CallId, Refused> {
        if let Some(why) = self.refusal(&call) {
            return Err(Refused { call, why });
        }
        let id = CallId(self.next_id);
        self.next_id += 1;
        self.counts.calls += 1;
        let entry = Entry {
            id: id.0,
            priority: call.priority,
            bytes: call.operation.len(),
            expires: Some(now.after(self.config.lifetime(call.timeout))),
            item: call,
        };
        self.outbox.count(&entry);
        self.outbox.enter(entry);
        self.is_kept |= self.config.idle.is_none();
        self.proceed(now);
        Ok(id)
    }

    fn refusal(&self, call: &Call) -> Option<Refusal> {
        if !matches!(self.life, Life::Running) {
            return Some(Refusal::ShuttingDown);
        }
        if let Operation::Increment { by, .. } = call.operation
            && by.unsigned_abs() > MAX_NUMBER.unsigned_abs()
        {
            return Some(Refusal::NumberTooLarge { by });
        }
        (!self.outbox.has_room(call.operation.len())).then(|| Refusal::Full {
            waiting: self.outbox.waiting(),
            bytes: self.outbox.bytes(),
        })
    }

    /// Takes a waiting call back; none where it is unknown, under way, or has ended.
    pub fn cancel(&mut self, now: Time, id: CallId) -> Option<Call> {
        let call = self.outbox.remove(id.0)?;
        self.proceed(now);
        Some(call)
    }

    /// Opens a link where there is none and none is coming, and keeps it although there may be nothing to do, until
    /// [`disconnect`](Self::disconnect).
    pub fn connect(&mut self, now: Time) {
        if matches!(self.life, Life::Running) {
            self.is_kept = true;
            self.proceed(now);
        }
    }

    /// Leaves the link, or the attempt or the wait for one, for good: only another call, or [`connect`](Self::connect), opens one
    /// again. Calls that have not ended end with [`CallError::Disconnected`], in doubt where they change something and were sent.
    pub fn disconnect(&mut self, now: Time) {
        if self.is_over() {
            return;
        }
        self.is_kept = false;
        self.end_all(&CallError::Disconnected);
        self.hang_up(now, CloseCode::NORMAL, "");
        // What the session still holds must not be applied one day.
        self.session = None;
        self.proceed(now);
    }

    /// Limits how often a call is made from now on; none: as often as the service takes it.
    pub fn set_rate(&mut self, now: Time, rate: Option<Rate>) {
        self.pacer.set_limit(now, rate);
        self.proceed(now);
    }

    /// How many calls leave before this one; none where it does not wait.
    ///
    /// Takes time linear in the answer.
    pub fn position(&self, id: CallId) -> Option<usize> {
        self.outbox.position(id.0)
    }

    /// How many calls wait.
    pub fn queue_size(&self) -> usize {
        self.outbox.waiting()
    }

    /// Where the connection stands.
    pub const fn state(&self) -> ConnectionState {
        self.state
    }

    /// The numbers so far.
    pub fn statistics(&self) -> Statistics {
        let (bytes_sent, bytes_received) = self.uplink.traffic();
        let [p50_response, p99_response] = self.response_times.percentiles([50, 99]);
        Statistics {
            calls: self.counts.calls,
            succeeded: self.counts.succeeded,
            failed: self.counts.failed,
            in_doubt: self.counts.in_doubt,
            timed_out: self.counts.timed_out,
            throttled: self.counts.throttled,
            notifications: self.counts.notifications,
            ignored: self.counts.ignored,
            reconnects: self.uplink.opened().saturating_sub(1),
            bytes_sent,
            bytes_received,
            queue_size: self.outbox.waiting(),
            queue_bytes: self.outbox.bytes(),
            under_way: self.flight.len(),
            pace: self.pacer.pace(),
            average_response: self.response_times.average(),
            p50_response,
            p99_response,
            durable: matches!(self.dialect, Dialect::Durable),
            state: self.state,
            state_since: self.state_since,
        }
    }

    /// Takes no more calls, finishes those it has, and ends; after `patience` it ends all the same and hands back what is left in
    /// [`Event::Terminated`].
    pub fn shutdown(&mut self, now: Time, patience: Duration) {
        let until = now.after(patience);
        self.life = match self.life {
            Life::Finished => return,
            Life::Draining { until: earlier } if earlier < until => return,
            Life::Running | Life::Draining { .. } => Life::Draining { until },
        };
        self.proceed(now);
    }

    /// Ends at once and hands back what is left in [`Event::Terminated`].
    pub fn stop(&mut self, now: Time) {
        if self.is_over() {
            return;
        }
        let left = self.take_all();
        self.hang_up(now, CloseCode::GOING_AWAY, "shutting down");
        self.session = None;
        self.life = Life::Finished;
        self.events.push_back(Event::Terminated { left });
    }

    const fn is_over(&self) -> bool {
        matches!(self.life, Life::Finished)
    }

    /// Whether a link is of use.
    fn wants_link(&self) -> bool {
        self.is_kept || self.outbox.waiting() > 0 || !self.flight.is_empty()
    }

    /// Does whatever can be done now: every command, input and timeout ends here.
    fn proceed(&mut self, now: Time) {
        if self.is_over() {
            return;
        }
        self.expire(now);
        self.outbox.promote(now);
        self.fill(now);
        if let Some(session) = &mut self.session {
            session.flush(now, &mut self.uplink);
        }
        if matches!(self.life, Life::Draining { .. }) && self.outbox.is_empty() {
            self.stop(now);
        } else if self.wants_link() {
            self.idle_until = None;
            if self.uplink.open(now) {
                self.enter(now, ConnectionState::Connecting);
            }
        } else if self.state.is_open() {
            self.idle(now);
        } else if self.state == ConnectionState::Reconnecting {
            // What the link was wanted for has ended.
            self.hang_up(now, CloseCode::NORMAL, "idle");
        }
    }

    /// Closes the link once it has been of no use for long enough.
    fn idle(&mut self, now: Time) {
        let Some(idle) = self.config.idle else { return };
        let until = *self.idle_until.get_or_insert(now.after(idle));
        if until <= now {
            self.hang_up(now, CloseCode::NORMAL, "idle");
        }
    }

    fn enter(&mut self, now: Time, to: ConnectionState) {
        let from = self.state;
        if from == to {
            return;
        }
        debug_assert!(from.may_become(to), "{from} may not become {to}");
        self.state = to;
        self.state_since = now;
        self.events.push_back(Event::StateChanged { from, to });
    }
}

impl Machine for Client {
    type Event = Event;

    fn handle_input(&mut self, now: Time, input: Input) {
        if self.is_over() {
            return;
        }
        if let Some(change) = self.uplink.handle_input(now, input) {
            self.apply(now, change);
            self.proceed(now);
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Life::Draining { until } = self.life
            && until <= now
        {
            return self.stop(now);
        }
        if let Some(change) = self.uplink.handle_timeout(now) {
            self.apply(now, change);
        }
        self.introduction_timeout(now);
        if let Some(session) = &mut self.session {
            session.beat(now);
        }
        self.proceed(now);
    }

    fn deadline(&self) -> Option<Deadline> {
        let timer = |timer| move |at| Deadline { at, timer };
        let draining = match self.life {
            Life::Running => None,
            Life::Draining { until } => Some(until),
            Life::Finished => return None,
        };
        Deadline::earliest([
            self.uplink.deadline(),
            self.dialect.deadline(),
            self.session.as_ref().and_then(|session| session.deadline()),
            self.flight.deadline(),
            self.outbox.next_expiry().map(timer("expiry")),
            self.outbox.next_ready().map(timer("retry")),
            self.paced_until.map(timer("rate")),
            self.idle_until.map(timer("idle")),
            draining.map(timer("shutdown")),
        ])
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.uplink.poll_action()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        LARGEST_FRAME
    }

    fn is_finished(&self) -> bool {
        self.is_over()
    }
}
