//! Whether the peer is still there.

use crate::{Deadline, Time};
use core::time::Duration;

/// Watches one link for signs of life.
///
/// A peer silent for one interval is due a ping; one that stays silent for another interval is gone. Any
/// frame counts as life. While the owner itself does not read from the link the peer's silence
/// proves nothing, and the watch rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    interval: Duration,
    watch: Watch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Watch {
    Listening { heard: Time },
    Pinged { at: Time },
    Resting,
}

/// What a due heartbeat asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an owner that ignored a pulse would keep dead links"
)]
pub enum Pulse {
    /// Send a ping.
    Ping,
    /// The peer has not answered for a whole interval: cut the link.
    Dead,
}

impl Heartbeat {
    /// A watch over a link that is alive at `now`; [`Duration::MAX`] never asks for anything.
    pub const fn new(interval: Duration, now: Time) -> Self {
        Self {
            interval,
            watch: Watch::Listening { heard: now },
        }
    }

    /// Something arrived on the link.
    pub fn heard(&mut self, now: Time) {
        if self.watch != Watch::Resting {
            self.watch = Watch::Listening { heard: now };
        }
    }

    /// Whether the owner reads from the link from now on. When it starts again the peer gets a whole interval.
    pub fn set_reading(&mut self, now: Time, reading: bool) {
        match (&self.watch, reading) {
            (Watch::Resting, true) => self.watch = Watch::Listening { heard: now },
            (_, false) => self.watch = Watch::Resting,
            (_, true) => {}
        }
    }

    /// What is due at `now`, if anything; afterwards the deadline lies in the future, unless the peer is dead.
    pub fn handle_timeout(&mut self, now: Time) -> Option<Pulse> {
        if self.deadline()?.at > now {
            return None;
        }
        match self.watch {
            Watch::Listening { .. } => {
                self.watch = Watch::Pinged { at: now };
                Some(Pulse::Ping)
            }
            Watch::Pinged { .. } => Some(Pulse::Dead),
            Watch::Resting => None,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next; never while the owner does not read.
    pub fn deadline(&self) -> Option<Deadline> {
        let (Watch::Listening { heard: from } | Watch::Pinged { at: from }) = self.watch else {
            return None;
        };
        Some(Deadline {
            at: from.after(self.interval),
            timer: "heartbeat",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Time {
        Time::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_silent_peer_is_pinged_and_then_given_up() {
        let mut heartbeat = Heartbeat::new(INTERVAL, at(0));
        assert_eq!(heartbeat.handle_timeout(at(29)), None);
        assert_eq!(heartbeat.handle_timeout(at(30)), Some(Pulse::Ping));
        assert_eq!(heartbeat.handle_timeout(at(30)), None);
        assert_eq!(heartbeat.deadline().unwrap().at, at(60));
        assert_eq!(heartbeat.handle_timeout(at(60)), Some(Pulse::Dead));
    }

    #[test]
    fn any_sign_of_life_starts_over() {
        let mut heartbeat = Heartbeat::new(INTERVAL, at(0));
        assert_eq!(heartbeat.handle_timeout(at(30)), Some(Pulse::Ping));
        heartbeat.heard(at(31));
        assert_eq!(heartbeat.handle_timeout(at(60)), None);
        assert_eq!(heartbeat.handle_timeout(at(61)), Some(Pulse::Ping));
    }

    #[test]
    fn after_a_long_sleep_the_peer_is_asked_before_it_is_given_up() {
        let mut heartbeat = Heartbeat::new(INTERVAL, at(0));
        assert_eq!(heartbeat.handle_timeout(at(3600)), Some(Pulse::Ping));
        assert_eq!(heartbeat.handle_timeout(at(3629)), None);
        assert_eq!(heartbeat.handle_timeout(at(3630)), Some(Pulse::Dead));
    }

    #[test]
    fn silence_is_not_held_against_a_peer_we_do_not_read() {
        let mut heartbeat = Heartbeat::new(INTERVAL, at(0));
        assert_eq!(heartbeat.handle_timeout(at(30)), Some(Pulse::Ping));
        heartbeat.set_reading(at(40), false);
        heartbeat.heard(at(45));
        assert_eq!(heartbeat.deadline(), None);
        assert_eq!(heartbeat.handle_timeout(at(600)), None);
        heartbeat.set_reading(at(600), true);
        heartbeat.set_reading(at(610), true);
        assert_eq!(heartbeat.deadline().unwrap().at, at(630));
        assert_eq!(heartbeat.handle_timeout(at(630)), Some(Pulse::Ping));
    }

    #[test]
    fn the_longest_interval_switches_it_off() {
        let mut heartbeat = Heartbeat::new(Duration::MAX, at(0));
        assert_eq!(heartbeat.handle_timeout(at(1_000_000_000)), None);
    }
}
