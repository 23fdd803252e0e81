//! The mail client: takes submissions, keeps one link to a relay while there is something to send, and
//! settles every submission exactly once.

mod ahead;
mod base;
mod config;
mod dialect;
mod durable;
mod error;
mod event;
mod link;
mod receipts;
mod sending;
mod settlement;
mod spool;
mod state;
mod statistics;
mod submission;
#[cfg(test)]
mod tests;
mod throttle;

pub use config::{ClientConfig, InDoubtPolicy, Timeouts};
pub use error::{Error, Refusal, Refused, Timeout};
pub use event::{Event, Receipt, Unsettled};
pub use receipts::{Receipts, SendError};
pub use state::ConnectionState;
pub use statistics::Statistics;
pub use submission::{Submission, SubmissionId};

use crate::{
    Action, CloseCode, Deadline, Input, LinkId, Machine, Random, Time,
    link::{Backoff, Change, Uplink},
    mail::{DeliveryId, wire::Limits},
    outbox::{Entry, Outbox},
    pacing::Pacer,
    response_times::ResponseTimes,
};
use ahead::Terms;
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::time::Duration;
use dialect::Dialect;
use settlement::Delivery;
use spool::Spool;

/// No frame a relay has reason to send comes near this; it bounds what a hostile one makes us hold.
const LARGEST_FRAME: usize = 1 << 20;

/// The mail client as a pure state machine.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    random: Random,
    life: Life,
    uplink: Uplink,
    outbox: Outbox<Delivery>,
    dialect: Dialect,
    /// What the relay has granted last, where it may be trusted to grant it again.
    promised: Option<Terms>,
    /// How many submissions may be under way at once, where there is more than one channel.
    abreast: usize,
    /// When the next submission may go.
    pacer: Pacer,
    /// None: what is accepted is held in memory only.
    spool: Option<Spool>,
    limits: Limits,
    idle_until: Option<Time>,
    next_id: u64,
    state: ConnectionState,
    state_since: Time,
    counts: Counts,
    response_times: ResponseTimes,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum Life {
    Running,
    Draining {
        until: Time,
    },
    /// Nothing is left but to hear what the storage says.
    Ending {
        left: Vec<Unsettled>,
    },
    Finished,
}

#[derive(Debug, Default)]
struct Counts {
    queued: u64,
    processed: u64,
    failed: u64,
    retried: u64,
    expired: u64,
    throttled: u64,
}

impl Client {
    /// A client at rest. Equal configurations, seeds and inputs give equal outputs.
    pub fn new(config: ClientConfig, seed: [u8; 32], now: Time) -> Self {
        let config = config.with_timers_that_can_wait();
        Self {
            random: Random::new(seed),
            life: Life::Running,
            uplink: Uplink::new(config.uplink()),
            outbox: Outbox::new(config.queue),
            dialect: Dialect::default(),
            promised: None,
            abreast: config.max_channels.max(1),
            pacer: Pacer::new(now, config.rate),
            config,
            spool: None,
            limits: Limits::default(),
            idle_until: None,
            next_id: 1,
            state: ConnectionState::default(),
            state_since: now,
            counts: Counts::default(),
            response_times: ResponseTimes::default(),
            events: VecDeque::new(),
        }
    }

    /// Queues a submission. [`Event::Queued`] says that it is accepted, at once, or as soon as it is on disk where the client
    /// was [restored](Self::restore) from there; [`Event::Refused`], that the disk did not take it.
    ///
    /// # Errors
    ///
    /// Hands the submission back, with the reason, when the queue is full, the relay is known not to take
    /// it, or the client shuts down. Nothing has changed then.
    pub fn submit(&mut self, now: Time, submission: Submission) -> Result<SubmissionId, Refused> {
        if let Some(why) = self.refusal(&submission) {
            if let Refusal::Full { waiting, .. } = why {
                self.events.push_back(Event::QueueOverflow {
                    queue_size: waiting,
                });
            }
            let submission = Box::new(submission);
            return Err(Refused { submission, why });
        }
        let id = SubmissionId(self.next_id);
        self.next_id += 1;
        let entry = Entry {
            id: id.0,
            priority: submission.priority,
            bytes: submission.len(),
            expires: submission.max_age.map(|max_age| now.after(max_age)),
            item: Delivery {
                id: self.new_delivery_id(),
                submission,
                accepted_at: now,
                waited_before: Duration::ZERO,
                retries: Backoff::new(self.config.retry),
                sent_again: 0,
                concluded: 0,
                sent_under: None,
                sent_at: now,
            },
        };
        self.outbox.count(&entry);
        match &mut self.spool {
            Some(spool) => spool.arrive(entry),
            None => self.accept(entry),
        }
        self.proceed(now);
        Ok(id)
    }

    /// One that no submission on disk has: even where a seed is used again, none is overwritten.
    fn new_delivery_id(&mut self) -> DeliveryId {
        loop {
            let id = DeliveryId::random(&mut self.random);
            if !self.spool.as_ref().is_some_and(|spool| spool.has(id)) {
                return id;
            }
        }
    }

    fn accept(&mut self, entry: Entry<Delivery>) {
        self.counts.queued += 1;
        let (id, delivery, priority) = (SubmissionId(entry.id), entry.item.id, entry.priority);
        self.outbox.enter(entry);
        let queue_size = self.outbox.waiting();
        self.events.push_back(Event::Queued {
            id,
            delivery,
            priority,
            queue_size,
        });
    }

    fn refusal(&self, submission: &Submission) -> Option<Refusal> {
        if !matches!(self.life, Life::Running) {
            return Some(Refusal::ShuttingDown);
        }
        if !self.outbox.has_room(submission.len()) {
            return Some(Refusal::Full {
                waiting: self.outbox.waiting(),
                bytes: self.outbox.bytes(),
            });
        }
        let trouble = self.spool.as_ref().and_then(Spool::trouble);
        if let Some(error) = trouble {
            return Some(Refusal::Storage(error.clone()));
        }
        settlement::beyond_limits(submission, &self.limits)
    }

    /// Takes a waiting submission back; none where it is unknown, being sent, or settled, or was sent whole and the relay is yet
    /// to be asked what became of it. One that was in doubt ([`Event::InDoubt`]) and waits to be sent again may have been
    /// delivered.
    pub fn cancel(&mut self, now: Time, id: SubmissionId) -> Option<Submission> {
        if self.outbox.get(id.0)?.sent_under.is_some() {
            return None;
        }
        let delivery = self.outbox.remove(id.0)?;
        self.forget(&delivery);
        self.proceed(now);
        Some(delivery.submission)
    }

    /// How many submissions leave before this one; none where it does not wait.
    ///
    /// Takes time linear in the answer.
    pub fn position(&self, id: SubmissionId) -> Option<usize> {
        self.outbox.position(id.0)
    }

    /// How many submissions wait.
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
            queued: self.counts.queued,
            processed: self.counts.processed,
            failed: self.counts.failed,
            retried: self.counts.retried,
            expired: self.counts.expired,
            throttled: self.counts.throttled,
            pace: self.pacer.pace(),
            reconnects: self.uplink.opened().saturating_sub(1),
            bytes_sent,
            bytes_received,
            queue_size: self.outbox.waiting(),
            queue_bytes: self.outbox.bytes(),
            unacknowledged_bytes: self.dialect.unacknowledged_bytes(),
            average_response: self.response_times.average(),
            p50_response,
            p99_response,
            state: self.state,
            state_since: self.state_since,
        }
    }

    /// Takes no more submissions, finishes those it has, and ends; after `patience` it ends all the same
    /// and hands back what is left in [`Event::Terminated`].
    pub fn shutdown(&mut self, now: Time, patience: Duration) {
        let until = now.after(patience);
        self.life = match self.life {
            Life::Ending { .. } | Life::Finished => return,
            Life::Draining { until: earlier } if earlier < until => return,
            Life::Running | Life::Draining { .. } => Life::Draining { until },
        };
        self.proceed(now);
    }

    /// Ends at once and hands back what is left in [`Event::Terminated`]. What is being written to the outbox on disk is waited
    /// for, so that its end is known.
    pub fn stop(&mut self, now: Time) {
        if self.is_over() {
            return;
        }
        let kept = self.spool.is_some();
        let mut left = Vec::new();
        // What ends properly is told, as far as the link takes it.
        self.flush_all(now);
        let is_base = matches!(self.dialect, Dialect::Base(_));
        for (entry, in_doubt) in self.dialect.abandon() {
            self.keep(&entry, in_doubt && is_base);
            let (id, delivery) = (entry.id, self.outbox.settle(entry));
            left.push(settlement::unsettled(id, delivery, in_doubt, kept));
        }
        let waiting = self.outbox.drain().into_iter();
        left.extend(waiting.map(|(id, delivery)| settlement::unsettled(id, delivery, false, kept)));
        self.hang_up(now, CloseCode::GOING_AWAY, "shutting down");
        self.enter(now, ConnectionState::Disconnected);
        self.life = Life::Ending { left };
        self.end_when_stored();
    }

    const fn is_over(&self) -> bool {
        matches!(self.life, Life::Ending { .. } | Life::Finished)
    }

    /// Does whatever can be done now: every command, input and timeout ends here.
    fn proceed(&mut self, now: Time) {
        if self.is_over() {
            return;
        }
        self.expire(now);
        self.outbox.promote(now);
        let writes = self.spool.as_ref().is_none_or(Spool::works);
        while self.pacer.is_ready(now)
            && writes
            && (self.state.is_authenticated() || self.dialect.is_ahead())
            && self.dialect.has_vacancy(self.abreast)
            && let Some(entry) = self.take_acceptable()
        {
            self.begin(now, entry);
        }
        self.flush(now);
        self.leave_drained(now);
        if self.outbox.is_ready() || self.dialect.has_deliveries() {
            self.idle_until = None;
            let may_go = self.dialect.has_deliveries() || self.pacer.is_ready(now);
            if may_go && self.uplink.open(now) {
                self.apply(now, Change::Opening);
            }
        } else if matches!(self.life, Life::Draining { .. }) && self.outbox.is_empty() {
            self.stop(now);
        } else if self.state.is_authenticated() && self.dialect.is_at_rest() {
            self.idle(now);
        } else if self.state == ConnectionState::Reconnecting
            && self.outbox.waiting() == 0
            && self.config.idle.is_some()
        {
            // What the link was wanted for has expired or was taken back.
            self.hang_up(now, CloseCode::NORMAL, "idle");
            self.enter(now, ConnectionState::Disconnected);
        }
    }

    /// Closes the link once it has been of no use for long enough.
    fn idle(&mut self, now: Time) {
        let Some(idle) = self.config.idle else { return };
        let until = *self.idle_until.get_or_insert(now.after(idle));
        if until <= now {
            self.hang_up(now, CloseCode::NORMAL, "idle");
            self.enter(now, ConnectionState::Disconnected);
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
        if let Input::Stored { batch, result } = input {
            self.handle_stored(now, batch, result);
        } else if let Some(change) = self.uplink.handle_input(now, input) {
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
        if let Some(spool) = &mut self.spool {
            spool.handle_timeout(now);
        }
        if let Some(change) = self.uplink.handle_timeout(now) {
            self.apply(now, change);
        }
        self.dialect_timeout(now);
        self.proceed(now);
    }

    fn deadline(&self) -> Option<Deadline> {
        let timer = |timer| move |at| Deadline { at, timer };
        let draining = match self.life {
            Life::Running => None,
            Life::Draining { until } => Some(until),
            Life::Ending { .. } | Life::Finished => return None,
        };
        Deadline::earliest([
            self.uplink.deadline(),
            self.spool.as_ref().and_then(Spool::deadline),
            self.dialect.deadline(),
            self.idle_until.map(timer("idle")),
            self.pacer.deadline().filter(|_| self.outbox.is_ready()),
            self.outbox.next_ready().map(timer("retry")),
            self.outbox.next_expiry().map(timer("expiry")),
            draining.map(timer("shutdown")),
        ])
    }

    fn poll_action(&mut self) -> Option<Action> {
        // The disk forgets a message when its end is told: a process that is killed in between tells it twice, not never.
        let spool = self.spool.as_mut().filter(|_| self.events.is_empty());
        let (endpoint, promised) = (&self.config.endpoint, self.promised.as_ref());
        spool
            .and_then(|spool| spool.poll_action(endpoint, promised))
            .or_else(|| self.uplink.poll_action())
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        LARGEST_FRAME
    }

    fn is_finished(&self) -> bool {
        matches!(self.life, Life::Finished)
    }
}
