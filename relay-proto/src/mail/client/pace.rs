//! How many messages are under way at once: as many as hide the way to the relay and back, and no more.

use core::time::Duration;

/// As many as at first: they hide a short way behind each other.
const AT_FIRST: usize = 16;

/// What the most channels may have under way together, in windows.
const MOST_WINDOWS: u64 = 64;

/// Finds out how many messages to have under way.
///
/// While messages are answered about as soon as the quickest was, the way is what takes the time, and one more under way costs the
/// others nothing. Once they take much longer they wait for each other at the relay, where nothing urgent can overtake them.
#[derive(Debug)]
pub(super) struct Pace {
    at_least: usize,
    most: usize,
    now: usize,
    window: u64,
    quickest: Option<Duration>,
    /// What is under way, of each message no more than a window.
    bytes: u64,
}

impl Pace {
    /// Never more than `most`; on channels with this window.
    pub(super) fn new(most: usize, window: u64) -> Self {
        let at_least = most.min(AT_FIRST);
        Self {
            at_least,
            most,
            now: at_least,
            window,
            quickest: None,
            bytes: 0,
        }
    }

    /// Whether another may be sent besides so many.
    pub(super) const fn has_room(&self, under_way: usize) -> bool {
        under_way < self.now
            && (under_way < self.at_least || self.bytes < MOST_WINDOWS.saturating_mul(self.window))
    }

    /// A message of this length is under way.
    pub(super) fn begun(&mut self, length: usize) {
        self.bytes += self.weight(length);
    }

    /// A message of this length is not under way any longer.
    pub(super) fn ended(&mut self, length: usize) {
        self.bytes -= self.weight(length);
    }

    fn weight(&self, length: usize) -> u64 {
        (length as u64).min(self.window)
    }

    /// A message was accepted after so long.
    pub(super) fn accepted(&mut self, after: Duration) {
        let quickest = self.quickest.map_or(after, |before| before.min(after));
        self.quickest = Some(quickest);
        if after <= quickest * 2 {
            self.now = (self.now + 1).min(self.most);
        } else if after > quickest * 4 {
            self.now = (self.now - 1).max(self.at_least);
        }
    }

    /// The way may be another now.
    pub(super) const fn start_over(&mut self) {
        self.quickest = None;
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
