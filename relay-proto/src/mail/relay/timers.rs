//! The deadlines of many links and channels, the earliest at hand.

use super::channel::ChannelId;
use crate::{Deadline, LinkId, Time};
use alloc::collections::{BTreeMap, BTreeSet};

/// What has a deadline. Of those that fall together a link's comes first: it says more about what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timed {
    Link(LinkId),
    Channel(ChannelId),
    /// The channels that wait for a connection.
    Queue,
}

/// One deadline each, sorted.
#[derive(Debug, Default)]
pub(super) struct Timers {
    sorted: BTreeSet<(Time, Timed)>,
    deadlines: BTreeMap<Timed, Deadline>,
}

impl Timers {
    /// Replaces the deadline of one.
    pub(super) fn set(&mut self, timed: Timed, deadline: Option<Deadline>) {
        let old = match deadline {
            Some(deadline) => self.deadlines.insert(timed, deadline),
            None => self.deadlines.remove(&timed),
        };
        let (old, new) = (old.map(|old| old.at), deadline.map(|new| new.at));
        // Most of what happens leaves most deadlines where they are.
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.sorted.remove(&(old, timed));
        }
        if let Some(new) = new {
            self.sorted.insert((new, timed));
        }
    }

    /// The earliest deadline and whose it is.
    pub(super) fn first(&self) -> Option<(Timed, Deadline)> {
        let (_, timed) = self.sorted.first()?;
        Some((*timed, *self.deadlines.get(timed)?))
    }

    pub(super) fn clear(&mut self) {
        self.sorted.clear();
        self.deadlines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_comes_first_and_can_move() {
        let (a, b) = (
            Timed::Link(LinkId::accepted(1)),
            Timed::Channel(ChannelId(0)),
        );
        let at = |nanoseconds, timer| Deadline {
            at: Time::from_nanos(nanoseconds),
            timer,
        };
        let mut timers = Timers::default();
        assert_eq!(timers.first(), None);
        timers.set(a, Some(at(5, "x")));
        timers.set(b, Some(at(3, "y")));
        assert_eq!(timers.first(), Some((b, at(3, "y"))));
        timers.set(b, Some(at(9, "z")));
        assert_eq!(timers.first(), Some((a, at(5, "x"))));
        timers.set(a, None);
        timers.set(a, None);
        assert_eq!(timers.first(), Some((b, at(9, "z"))));
        timers.clear();
        assert_eq!(timers.first(), None);
    }
}
