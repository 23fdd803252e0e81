//! How much a peer may say that comes to nothing.

use crate::{Deadline, Time};
use core::time::Duration;

/// How long a frame counts that comes to nothing: fifty a second are never too many.
const COST: Duration = Duration::from_millis(20);

/// For how much of that time a peer may be ahead, which is a burst of two hundred.
const AHEAD: Duration = Duration::from_secs(4);

/// Watches one link for frames that cost processor time and nothing else: pings, pongs, messages nobody knows, acknowledgements
/// of nothing new.
///
/// Whoever says too many is not read until its time has come (by the algorithm of ITU-T I.371, annex A, the virtual scheduling one). So a
/// flood waits where it comes from, and nobody is cut off for what may be a mistake.
#[derive(Clone, Debug)]
pub(crate) struct Chatter {
    spent_until: Time,
    pause_until: Option<Time>,
}

impl Chatter {
    pub(crate) const fn new() -> Self {
        Self {
            spent_until: Time::ZERO,
            pause_until: None,
        }
    }

    /// A frame has come to nothing.
    pub(crate) fn heard_nothing(&mut self, now: Time) {
        self.spent_until = self.spent_until.max(now).after(COST);
        let ahead = self.spent_until.since(now);
        if let Some(too_far) = ahead.checked_sub(AHEAD).filter(|far| !far.is_zero()) {
            self.pause_until = Some(now.after(too_far));
        }
    }

    /// Whether the link is not to be read for now.
    pub(crate) const fn is_too_much(&self) -> bool {
        self.pause_until.is_some()
    }

    /// Reads on when it is time.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.pause_until = self.pause_until.filter(|until| *until > now);
    }

    /// When it is time to read on.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let timer = "chatter";
        self.pause_until.map(|at| Deadline { at, timer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(milliseconds))
    }

    #[test]
    fn fifty_a_second_are_never_too_many() {
        let mut chatter = Chatter::new();
        for tick in 0..100_000 {
            chatter.heard_nothing(at(20 * tick));
            assert!(!chatter.is_too_much());
        }
    }

    #[test]
    fn a_burst_is_paid_for_later() {
        let mut chatter = Chatter::new();
        for _ in 0..200 {
            chatter.heard_nothing(at(1000));
            assert!(!chatter.is_too_much());
        }
        // What was on its way before the pause counts as well.
        for _ in 0..50 {
            chatter.heard_nothing(at(1000));
        }
        let pause = chatter.deadline().unwrap();
        assert_eq!((pause.at, pause.timer), (at(2000), "chatter"));
        chatter.handle_timeout(at(1999));
        assert!(chatter.is_too_much());
        chatter.handle_timeout(at(2000));
        assert!(!chatter.is_too_much());
        chatter.heard_nothing(at(2000));
        assert_eq!(chatter.deadline().unwrap().at, at(2020));
        chatter.handle_timeout(at(10_000));
        chatter.heard_nothing(at(10_000));
        assert_eq!(chatter.deadline(), None);
    }
}
