//! How many are under way at once: as many as hide the way to the peer and back, and no more.

use core::time::Duration;

/// As many as at first: they hide a short way behind each other.
const AT_FIRST: usize = 16;

/// How many times the credit of one all may have under way together before no more than the first are begun.
const MOST_CREDITS: u64 = 64;

/// Finds out how many messages, calls or whatever else is answered one by one, to have under way at once.
///
/// While they are answered about as soon as the quickest was, the way is what takes the time, and one more under way costs the
/// others nothing. Once they take much longer they wait for each other at the peer, where nothing urgent can overtake them.
///
/// It begins with 16, or as many as there may be at most where that is less, and becomes no smaller.
#[derive(Clone, Debug)]
pub struct Window {
    at_least: usize,
    most: usize,
    now: usize,
    credit: u64,
    quickest: Option<Duration>,
    /// What is under way, of each no more than its credit.
    bytes: u64,
}

impl Window {
    /// Never more than `most`, on channels of which each takes so many bytes of `credit` before the peer has to make room.
    /// Beyond the first 16 another is only begun while those under way take less than 64 times that.
    pub fn new(most: usize, credit: u64) -> Self {
        let at_least = most.min(AT_FIRST);
        Self {
            at_least,
            most,
            now: at_least,
            credit,
            quickest: None,
            bytes: 0,
        }
    }

    /// Whether another may be sent besides so many under way.
    pub const fn has_room(&self, under_way: usize) -> bool {
        under_way < self.now
            && (under_way < self.at_least || self.bytes < MOST_CREDITS.saturating_mul(self.credit))
    }

    /// One of this length, in bytes, is under way.
    pub fn begun(&mut self, length: usize) {
        self.bytes = self.bytes.saturating_add(self.weight(length));
    }

    /// One of this length, in bytes, which was [begun](Self::begun), is not under way any longer.
    pub fn ended(&mut self, length: usize) {
        self.bytes = self.bytes.saturating_sub(self.weight(length));
    }

    fn weight(&self, length: usize) -> u64 {
        (length as u64).min(self.credit)
    }

    /// One was answered so long after it was begun.
    pub fn accepted(&mut self, after: Duration) {
        let quickest = self.quickest.map_or(after, |before| before.min(after));
        self.quickest = Some(quickest);
        if after <= quickest.saturating_mul(2) {
            self.now = (self.now + 1).min(self.most);
        } else if after > quickest.saturating_mul(4) {
            self.now = self.now.saturating_sub(1).max(self.at_least);
        }
    }

    /// The way may be another now: what was the quickest on the old one is forgotten.
    pub const fn start_over(&mut self) {
        self.quickest = None;
    }
}

#[cfg(test)]
#[path = "tests/window.rs"]
mod tests;
