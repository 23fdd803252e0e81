//! How submissions end: success, failure, another try, doubt.

use super::{
    Client, Error, Event, InDoubtPolicy, Receipt, Refusal, Submission, SubmissionId, Unsettled,
    dialect::Dialect,
};
use crate::{
    Time,
    link::Backoff,
    mail::{DeliveryId, wire::Limits},
    outbox::Entry,
    smtp::Completed,
};
use alloc::{boxed::Box, string::String};
use core::time::Duration;

/// A submission on its way.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) id: DeliveryId,
    pub(super) submission: Submission,
    pub(super) accepted_at: Time,
    /// How long it had waited then, with an earlier client.
    pub(super) waited_before: Duration,
    pub(super) retries: Backoff,
    pub(super) sent_again: u32,
    /// How many of its sendings have come to an end, known or given up. Each is a delivery of its own to a relay's ledger.
    pub(super) concluded: u32,
    /// Where a relay's ledger stood before its end of data was first sent. Some: it may have been delivered, and a relay that
    /// keeps a ledger can be asked.
    pub(super) sent_under: Option<String>,
    /// When it went out last; until it has, when it was accepted.
    pub(super) sent_at: Time,
}

impl Delivery {
    /// What a relay knows this sending by. The bits are random, so that ones next to each other are nobody else's.
    pub(super) const fn name(&self) -> DeliveryId {
        DeliveryId::from_bits(self.id.to_bits().wrapping_add(self.concluded as u128))
    }

    /// The sending has ended, known or given up. If there is another one, it is a new delivery.
    pub(super) fn conclude(&mut self) {
        self.concluded = self.concluded.wrapping_add(1);
        self.sent_under = None;
    }

    /// Whether it may have been delivered already.
    const fn may_be_delivered(&self) -> bool {
        self.sent_again > 0 || self.sent_under.is_some()
    }
}

pub(super) fn unsettled(id: u64, delivery: Delivery, in_doubt: bool, kept: bool) -> Unsettled {
    Unsettled {
        id: SubmissionId(id),
        in_doubt: in_doubt || delivery.may_be_delivered(),
        delivery: delivery.id,
        submission: delivery.submission,
        kept,
    }
}

/// What of a submission is more than the relay announced to take.
pub(super) fn beyond_limits(submission: &Submission, limits: &Limits) -> Option<Refusal> {
    let envelope = submission.envelope()?;
    let bytes = submission.len();
    let recipients = envelope.forward_paths().len();
    if let Some(limit) = limits.max_message_bytes
        && bytes as u64 > limit
    {
        return Some(Refusal::TooLarge { bytes, limit });
    }
    if let Some(limit) = limits.max_recipients
        && recipients as u64 > limit
    {
        return Some(Refusal::TooManyRecipients { recipients, limit });
    }
    None
}

impl Client {
    /// The next submission the relay's limits admit; those they do not are failed on the way.
    pub(super) fn take_acceptable(&mut self) -> Option<Entry<Delivery>> {
        while let Some(entry) = self.outbox.take() {
            match beyond_limits(&entry.item.submission, &self.limits) {
                // There is nobody to ask what became of it.
                None if entry.item.sent_under.is_some()
                    && matches!(self.dialect, Dialect::Base(_)) =>
                {
                    self.in_doubt(entry, Error::NotKnown);
                }
                None => return Some(entry),
                // That was its word some time ago; it may say otherwise now.
                Some(_) if self.dialect.is_ahead() => {
                    self.put_back(entry);
                    return None;
                }
                Some(refusal) => self.fail(entry, Error::Limits(refusal)),
            }
        }
        None
    }

    pub(super) fn expire(&mut self, now: Time) {
        while let Some((id, delivery)) = self.outbox.expire(now) {
            self.counts.expired += 1;
            let waited = delivery.waited_before + now.since(delivery.accepted_at);
            self.failed(id, &delivery, Error::Expired { waited });
        }
    }

    /// The submission has reached its purpose.
    pub(super) fn succeed(
        &mut self,
        now: Time,
        entry: Entry<Delivery>,
        started: Time,
        completed: Completed,
    ) {
        self.note_taken(now, &entry);
        let response_time = now.since(started);
        self.counts.processed += 1;
        self.response_times.record(response_time);
        let id = SubmissionId(entry.id);
        let delivery = self.outbox.settle(entry);
        self.forget(&delivery);
        let receipt = Receipt {
            reply: completed.reply,
            accepted: completed.accepted,
            rejected: completed.rejected,
            transcript: completed.transcript,
            response_time,
            sent_again: delivery.sent_again > 0,
        };
        self.events.push_back(Event::Processed { id, receipt });
    }

    /// A try was without success: try again, or not, or nobody knows.
    pub(super) fn unsuccessful(
        &mut self,
        now: Time,
        mut entry: Entry<Delivery>,
        in_doubt: bool,
        error: Error,
    ) {
        if in_doubt {
            return self.in_doubt(entry, error);
        }
        if error.asks_to_slow_down() {
            if self.throttle(now, &entry, &error) {
                return self.put_back(entry);
            }
        } else if error.reply().is_some() {
            self.note_taken(now, &entry);
        }
        let retry = error.is_transient().then(|| {
            entry
                .item
                .retries
                .next_wait(&mut self.random, error.retry_after())
        });
        let Some(Some(wait)) = retry else {
            return self.fail(entry, error);
        };
        let at = now.after(wait);
        self.counts.retried += 1;
        self.events.push_back(Event::RetryScheduled {
            id: SubmissionId(entry.id),
            attempt: entry.item.retries.attempt(),
            of: self.config.retry.attempts,
            at,
            error,
        });
        self.keep(&entry, false);
        self.outbox.put_back(entry, Some(at));
    }

    /// Links were lost again and again while it was being sent: that was a try, and all others come first now.
    pub(super) fn send_last(&mut self, now: Time, mut entry: Entry<Delivery>, error: Error) {
        let retries = &mut entry.item.retries;
        if retries.next_wait(&mut self.random, None).is_none() {
            return self.fail(entry, error);
        }
        self.counts.retried += 1;
        self.events.push_back(Event::RetryScheduled {
            id: SubmissionId(entry.id),
            attempt: entry.item.retries.attempt(),
            of: self.config.retry.attempts,
            at: now,
            error,
        });
        self.keep(&entry, false);
        self.outbox.enter(entry);
    }

    /// The message was sent whole and nobody knows what became of it, or will.
    pub(super) fn in_doubt(&mut self, mut entry: Entry<Delivery>, error: Error) {
        let sending_again = match self.config.in_doubt {
            InDoubtPolicy::SendAgain(times) => entry.item.sent_again < times,
            InDoubtPolicy::Fail => false,
        };
        let id = SubmissionId(entry.id);
        self.events.push_back(Event::InDoubt {
            id,
            sending_again,
            error: error.clone(),
        });
        if sending_again {
            entry.item.sent_again += 1;
            entry.item.conclude();
            self.put_back(entry);
        } else {
            self.fail(entry, Error::InDoubt(Box::new(error)));
        }
    }

    fn fail(&mut self, entry: Entry<Delivery>, error: Error) {
        let id = entry.id;
        let delivery = self.outbox.settle(entry);
        self.failed(id, &delivery, error);
    }

    /// Reports a failure. Where an earlier sending was left in doubt, that is the outcome, whatever the
    /// last try said.
    pub(super) fn failed(&mut self, id: u64, delivery: &Delivery, error: Error) {
        self.counts.failed += 1;
        self.forget(delivery);
        let error = match error {
            Error::InDoubt(_) => error,
            _ if delivery.may_be_delivered() => Error::InDoubt(Box::new(error)),
            _ => error,
        };
        let id = SubmissionId(id);
        self.events.push_back(Event::Failed { id, error });
    }
}
