//! When a session says what nobody waits for.

use crate::{Deadline, Time};
use core::time::Duration;

/// How long an acknowledgement, or a word nobody waits for, waits for something to ride on. With one message after the other on a
/// near link the next is there sooner; and whoever does wait for such a word loses little.
const PATIENCE: Duration = Duration::from_millis(5);

/// So many frames are acknowledged without waiting, so that the peer's memory for them is free long before it is full.
const MOST_UNTOLD: u64 = 16;

/// Whether what a session has to say goes out now, or may wait for what is said next: each frame that goes alone costs a write, a
/// read and a few wake-ups, which together are much of what a small message costs.
#[derive(Debug, Default)]
pub(crate) struct Haste {
    /// The peer waits for some of it.
    hurries: bool,
    /// When the rest has waited for long enough.
    until: Option<Time>,
}

impl Haste {
    /// The peer waits for what there is to say.
    pub(crate) const fn hurry(&mut self) {
        self.hurries = true;
    }

    /// Whether it goes out now; so many frames of the peer have not been acknowledged to it.
    pub(crate) fn is_now(&self, now: Time, untold: u64) -> bool {
        self.hurries || untold >= MOST_UNTOLD || self.until.is_some_and(|until| until <= now)
    }

    /// What goes out now has gone, as far as link and session take it; whether something is left that could not.
    pub(crate) const fn went_out(&mut self, is_held_up: bool) {
        // What makes room brings it back here.
        self.hurries = is_held_up;
        self.until = None;
    }

    /// Nothing has gone out; whether there is something that waits.
    pub(crate) fn held_back(&mut self, now: Time, waits: bool) {
        if waits {
            self.until.get_or_insert_with(|| now.after(PATIENCE));
        } else {
            self.until = None;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.until.map(|at| Deadline {
            at,
            timer: "acknowledgement",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_goes_out_when_its_time_is_over_and_everything_else_at_once() {
        let (now, later) = (Time::ZERO, Time::ZERO.after(PATIENCE));
        let mut haste = Haste::default();
        assert!(!haste.is_now(now, MOST_UNTOLD - 1));
        assert!(haste.is_now(now, MOST_UNTOLD));
        haste.held_back(now, true);
        haste.held_back(later, true);
        assert_eq!(haste.deadline().map(|deadline| deadline.at), Some(later));
        assert!(!haste.is_now(now, 1) && haste.is_now(later, 1));
        haste.went_out(false);
        assert!(haste.deadline().is_none() && !haste.is_now(later, 1));
        haste.hurry();
        assert!(haste.is_now(now, 0));
        haste.went_out(true);
        assert!(haste.is_now(now, 0), "it could not all go");
        haste.went_out(false);
        haste.held_back(now, true);
        haste.held_back(now, false);
        assert!(haste.deadline().is_none());
    }
}
