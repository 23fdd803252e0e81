//! Calls that were sent and are not answered, by their number on the wire.

use super::Call;
use crate::{Deadline, Time, outbox::Entry};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// A call that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) entry: Entry<Call>,
    /// When, on the present link or in the present session.
    pub(super) at: Time,
}

/// What is under way, in the order in which it was sent first.
#[derive(Debug, Default)]
pub(super) struct Flight {
    calls: BTreeMap<u64, Sent>,
    /// When each is no longer waited for.
    ends: BTreeSet<(Time, u64)>,
    /// Those to be sent again, in a new session, before anything else.
    again: BTreeSet<u64>,
}

impl Flight {
    /// A call is sent under this number.
    pub(super) fn begin(&mut self, now: Time, number: u64, entry: Entry<Call>) {
        if let Some(at) = entry.expires {
            self.ends.insert((at, number));
        }
        self.calls.insert(number, Sent { entry, at: now });
    }

    /// A call has ended, or goes back to where it came from.
    pub(super) fn take(&mut self, number: u64) -> Option<Sent> {
        let sent = self.calls.remove(&number)?;
        if let Some(at) = sent.entry.expires {
            self.ends.remove(&(at, number));
        }
        self.again.remove(&number);
        Some(sent)
    }

    /// Takes one out whose time is over.
    pub(super) fn overdue(&mut self, now: Time) -> Option<Sent> {
        let (_, number) = *self.ends.first().filter(|(at, _)| *at <= now)?;
        self.take(number)
    }

    /// All of them, in order.
    pub(super) fn drain(&mut self) -> Vec<Sent> {
        self.ends.clear();
        self.again.clear();
        core::mem::take(&mut self.calls).into_values().collect()
    }

    /// Takes out those that change something, in order.
    pub(super) fn drain_changes(&mut self) -> Vec<Sent> {
        let changes = self.calls.iter();
        let changes = changes.filter(|(_, sent)| sent.entry.item.operation.changes());
        let numbers: Vec<_> = changes.map(|(number, _)| *number).collect();
        let taken = numbers.into_iter().filter_map(|number| self.take(number));
        taken.collect()
    }

    /// All of them have to be sent again, under their numbers.
    pub(super) fn begin_again(&mut self) {
        self.again = self.calls.keys().copied().collect();
    }

    /// The next to be sent again.
    pub(super) fn next_again(&self) -> Option<(u64, &Call)> {
        let number = *self.again.first()?;
        self.calls
            .get(&number)
            .map(|sent| (number, &sent.entry.item))
    }

    /// It was sent again.
    pub(super) fn begun_again(&mut self, now: Time, number: u64) {
        self.again.remove(&number);
        if let Some(sent) = self.calls.get_mut(&number) {
            sent.at = now;
        }
    }

    /// Those before this number need no answer any more.
    pub(super) fn first(&self) -> Option<u64> {
        self.calls.first_key_value().map(|(number, _)| *number)
    }

    /// When the earliest of them was sent.
    pub(super) fn oldest(&self) -> Option<Time> {
        self.calls.values().map(|sent| sent.at).min()
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// How many the service has before it.
    pub(super) fn under_way(&self) -> usize {
        self.calls.len() - self.again.len()
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.ends.first().map(|&(at, _)| Deadline {
            at,
            timer: "answer",
        })
    }
}
