//! The deadlines of many links, the earliest at hand.

use crate::{Deadline, LinkId, Time};
use alloc::collections::{BTreeMap, BTreeSet};

/// One deadline a link, sorted.
#[derive(Debug, Default)]
pub(super) struct Timers {
    sorted: BTreeSet<(Time, LinkId)>,
    deadlines: BTreeMap<LinkId, Deadline>,
}

impl Timers {
    /// Replaces the link's deadline.
    pub(super) fn set(&mut self, link: LinkId, deadline: Option<Deadline>) {
        let old = match deadline {
            Some(deadline) => self.deadlines.insert(link, deadline),
            None => self.deadlines.remove(&link),
        };
        if let Some(old) = old {
            self.sorted.remove(&(old.at, link));
        }
        if let Some(deadline) = deadline {
            self.sorted.insert((deadline.at, link));
        }
    }

    /// The earliest deadline and whose it is.
    pub(super) fn first(&self) -> Option<(LinkId, Deadline)> {
        let (_, link) = self.sorted.first()?;
        Some((*link, *self.deadlines.get(link)?))
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
        let (a, b) = (LinkId::accepted(1), LinkId::accepted(2));
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
