//! Holding to a rate.

use super::Rate;
use crate::Time;

/// Lets through as much as a [`Rate`] allows, and says when the next may go.
///
/// It holds tokens, one for each event, and gains them as time passes, up to the burst. It counts in fractions of a token that
/// make each nanosecond's gain a whole number, so that nothing adds up: after a million events at three a second it is not a
/// nanosecond off. Only where the burst is one, so that no part of a second token can be saved up, each gap is a whole
/// number of nanoseconds.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: Rate,
    /// One event costs as many as there are nanoseconds in the rate's time; each nanosecond brings as many as there are events.
    level: u128,
    at: Time,
}

impl TokenBucket {
    /// A full one.
    pub const fn new(now: Time, rate: Rate) -> Self {
        Self {
            rate,
            level: capacity(rate),
            at: now,
        }
    }

    /// What it holds to.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Holds to another rate from now on. What has been saved up stays, up to the new burst.
    pub fn set_rate(&mut self, now: Time, rate: Rate) {
        self.refill(now);
        let (before, after) = (
            u128::from(self.rate.per_nanos()),
            u128::from(rate.per_nanos()),
        );
        // Rounded down, and in two steps, since the product may be too large.
        let level = self.level / before * after + self.level % before * after / before;
        self.level = level.min(capacity(rate));
        self.rate = rate;
    }

    /// Lets one through.
    ///
    /// # Errors
    ///
    /// When the next may go, where none may now.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        let next = self.next(now);
        if next > now {
            return Err(next);
        }
        self.level -= self.cost();
        Ok(())
    }

    /// When the next may go: `now`, or later.
    pub fn next(&mut self, now: Time) -> Time {
        self.refill(now);
        let missing = self.cost().saturating_sub(self.level);
        let wait = missing.div_ceil(u128::from(self.rate.events()));
        let wait = u64::try_from(wait).unwrap_or(u64::MAX);
        match wait {
            0 => now,
            // It counts from the latest time it was told, should that be later.
            _ => Time::from_nanos(self.at.as_nanos().saturating_add(wait)),
        }
    }

    /// Whether as many may go now as ever may at once: it is then like a new one.
    pub fn is_full(&mut self, now: Time) -> bool {
        self.refill(now);
        self.level == capacity(self.rate)
    }

    /// Goes to that time and has saved up one at most when it comes. What may go before it is for the owner to say.
    pub(super) fn pause(&mut self, until: Time) {
        self.refill(until);
        self.level = self.level.min(self.cost());
    }

    const fn cost(&self) -> u128 {
        self.rate.per_nanos() as u128
    }

    fn refill(&mut self, now: Time) {
        let elapsed = now.as_nanos().saturating_sub(self.at.as_nanos());
        let gained = u128::from(elapsed) * u128::from(self.rate.events());
        let level = self.level.saturating_add(gained);
        self.level = level.min(capacity(self.rate));
        self.at = self.at.max(now);
    }
}

const fn capacity(rate: Rate) -> u128 {
    rate.per_nanos() as u128 * rate.burst() as u128
}

#[cfg(test)]
#[path = "tests/bucket.rs"]
mod tests;
