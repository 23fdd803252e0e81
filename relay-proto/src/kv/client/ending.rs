//! How calls end.

use super::{Answer, Call, CallError, CallId, Client, Event, Unsettled, flight::Sent};
use crate::{
    Time,
    kv::wire::{self, Code, Failure},
    outbox::Entry,
};
use alloc::vec::Vec;
use core::time::Duration;

impl Client {
    /// A call has met its end.
    fn end(&mut self, entry: Entry<Call>, result: Result<Answer, CallError>) {
        let id = entry.id;
        self.outbox.settle(entry);
        self.tell(id, result);
    }

    fn tell(&mut self, id: u64, result: Result<Answer, CallError>) {
        match &result {
            Ok(_) => self.counts.succeeded += 1,
            Err(error) => {
                self.counts.failed += 1;
                let why = match error {
                    CallError::InDoubt(why) => {
                        self.counts.in_doubt += 1;
                        why
                    }
                    error => error,
                };
                self.counts.timed_out += u64::from(*why == CallError::Timeout);
            }
        }
        let id = CallId(id);
        self.events.push_back(Event::Answered { id, result });
    }

    /// A call that was never sent cannot be.
    pub(super) fn unsendable(&mut self, entry: Entry<Call>, error: CallError) {
        self.end(entry, Err(error));
    }

    /// A call that was sent has no answer, over this.
    pub(super) fn unanswered(&mut self, sent: Sent, error: CallError) {
        let error = error.after_sending(&sent.entry.item);
        self.end(sent.entry, Err(error));
    }

    /// Ends the calls whose time is over.
    pub(super) fn expire(&mut self, now: Time) {
        while let Some(sent) = self.flight.overdue(now) {
            self.unanswered(sent, CallError::Timeout);
        }
        while let Some((id, _)) = self.outbox.expire(now) {
            self.tell(id, Err(CallError::Timeout));
        }
    }

    /// Ends everything, over this.
    pub(super) fn end_all(&mut self, error: &CallError) {
        for sent in self.flight.drain() {
            self.unanswered(sent, error.clone());
        }
        for (id, _) in self.outbox.drain() {
            self.tell(id, Err(error.clone()));
        }
    }

    /// Hands everything back.
    pub(super) fn take_all(&mut self) -> Vec<Unsettled> {
        let mut left = Vec::new();
        for sent in self.flight.drain() {
            let id = CallId(sent.entry.id);
            let call = self.outbox.settle(sent.entry);
            let in_doubt = call.operation.changes();
            left.push(Unsettled { id, call, in_doubt });
        }
        left.extend(self.outbox.drain().into_iter().map(|(id, call)| Unsettled {
            id: CallId(id),
            call,
            in_doubt: false,
        }));
        left
    }

    /// Nobody will answer what was sent: changes are in doubt over this, and what only reads is asked again.
    pub(super) fn ask_reads_again(&mut self, error: &CallError) {
        for sent in self.flight.drain_changes() {
            self.unanswered(sent, error.clone());
        }
        for sent in self.flight.drain().into_iter().rev() {
            self.outbox.put_back(sent.entry, None);
        }
    }

    /// The service has answered a call. What it says about one that is not waited for is too late, or nonsense.
    pub(super) fn handle_answer(&mut self, now: Time, answer: wire::Answer) {
        let Some(number) = answer.message_id else {
            return self.handle_answer_to_nothing(now, answer.result);
        };
        let Some(sent) = self.flight.take(number) else {
            self.counts.ignored += 1;
            return;
        };
        match answer.result {
            Err(failure) if failure.code == Code::TOO_MANY_REQUESTS => {
                self.slow_down(now, sent.at, failure.retry_after);
                self.counts.throttled += 1;
                let until = self.pacer.pace().backoff_until;
                let until = until.filter(|until| *until > now);
                self.outbox.put_back(sent.entry, until);
            }
            Err(failure) => {
                self.pacer.accepted(now, sent.at);
                self.end(sent.entry, Err(CallError::Refused(failure)));
            }
            Ok(success) => {
                self.pacer.accepted(now, sent.at);
                self.response_times.record(now.since(sent.at));
                match sent.entry.item.answer(success) {
                    Some(answer) => self.end(sent.entry, Ok(answer)),
                    None => self.unanswered(sent, CallError::Unintelligible),
                }
            }
        }
    }

    /// The service has answered a call with what makes no sense.
    pub(super) fn handle_nonsense(&mut self, number: Option<u64>) {
        self.counts.ignored += 1;
        if let Some(sent) = number.and_then(|number| self.flight.take(number)) {
            self.unanswered(sent, CallError::Unintelligible);
        }
    }

    /// An answer without a number ends no call; that there are too many calls is worth knowing all the same.
    fn handle_answer_to_nothing(&mut self, now: Time, result: Result<wire::Success, Failure>) {
        self.counts.ignored += 1;
        if let Err(failure) = result
            && failure.code == Code::TOO_MANY_REQUESTS
            && let Some(oldest) = self.flight.oldest()
        {
            self.slow_down(now, oldest, failure.retry_after);
        }
    }

    fn slow_down(&mut self, now: Time, sent: Time, retry_after: Option<Duration>) {
        if !self.pacer.throttled(now, sent, retry_after) {
            return;
        }
        let pace = self.pacer.pace();
        if let (Some(rate), Some(until)) = (pace.rate, pace.backoff_until) {
            self.events.push_back(Event::Throttled { rate, until });
        }
    }
}
