//! A rate that heeds the peer.

use super::{Rate, TokenBucket, rate::SECOND};
use crate::{Deadline, Time};
use core::time::Duration;

/// The first wait after a slow-down the peer names no time for; it doubles as long as nothing gets through.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest such wait. One try a minute tells soon enough that it is over.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest wait a peer can ask for: one that says more means "not today".
const LONGEST_HINT: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest wait, so that a peer that asks for none does not keep a processor busy.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// It becomes no slower than once in the longest wait, in events in 10⁹ seconds.
const SLOWEST: u64 = SECOND / 60;

/// A rate grows at most so often,
const STEP: Duration = Duration::from_secs(1);

/// by the so-many-th part of what it grows towards: from the half to the whole takes ten seconds.
const STEPS: u64 = 20;

/// A limit that was only learned is forgotten when the rate has become so many times as fast and the peer still takes it.
const FORGOTTEN_AT: u64 = 16;

/// Timers are late by about so much. A rate the peer has not been asked about makes up for that, and no more.
const LATE: u64 = SECOND / 50;

/// Decides when the next of whatever a client sends may go: a limit that is set, or none, and a rate below it that is found out by
/// how the peer takes it.
///
/// - The **limit** is a [`Rate`] and holds always. None: anything goes, until the peer is heard to complain.
/// - When the peer asks to [slow down](Self::throttled), the rate becomes half of what it was, or of what went in a second,
///   if that was less. Nothing goes at all for as long as the peer says, or for 1 s, 2 s, 4 s … 60 s while nothing gets
///   through; then one, and the next when the rate allows it. Whatever was sent before that and is refused as well is part
///   of it, and slows nothing down further.
/// - When the peer [takes](Self::accepted) what was sent since, the waits begin anew at one second, and the rate grows, once in a
///   second, by a twentieth of the limit, until it is the limit.
/// - Where there is no limit, it grows likewise towards the rate at which the peer complained, and on from there by a
///   twentieth of itself; at sixteen times that rate it is forgotten that there was one.
///
/// It has no queue and decides no order: that is its owner's business.
///
/// What its owner does:
///
/// 1. Where something waits, ask [`is_ready`](Self::is_ready); where that says yes, send it and say so ([`sent`](Self::sent)).
/// 2. Where it says no, ask again at the [`deadline`](Self::deadline).
/// 3. Tell it how each fared, with the time at which it was sent.
#[derive(Clone, Debug)]
pub struct Pacer {
    limit: Option<Rate>,
    /// Holds to the rate in force; none: anything goes.
    bucket: Option<TokenBucket>,
    slowed: Option<Slowed>,
    backoff_until: Option<Time>,
    /// How often it was slowed down since something got through last.
    refusals: u32,
    /// When to ask again, where the last answer was no.
    asks_again: Option<Time>,
    observed: Observed,
}

/// The peer takes less than the limit. Rates are events in 10⁹ seconds.
#[derive(Clone, Copy, Debug)]
struct Slowed {
    /// When: what was sent until then tells nothing about the rate since.
    at: Time,
    rate: u64,
    /// What it grows towards: the limit, or what was too much.
    towards: u64,
    stepped_at: Time,
}

/// How a [`Pacer`] stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pace {
    /// The limit that is set; none: none.
    pub limit: Option<Rate>,
    /// The rate in force: the limit, or a lower one since the peer asked for it. None: anything goes.
    pub rate: Option<Rate>,
    /// Until when nothing goes, or went, since the peer asked to slow down; none once it has taken something since.
    pub backoff_until: Option<Time>,
    /// How often the peer has asked to slow down since it took something last. The wait doubles with each where the peer names none.
    pub refusals: u32,
}

impl Pacer {
    /// Holds to this limit; none: to none, until the peer asks for it.
    pub fn new(now: Time, limit: Option<Rate>) -> Self {
        Self {
            limit,
            bucket: limit.map(|limit| TokenBucket::new(now, limit)),
            slowed: None,
            backoff_until: None,
            refusals: 0,
            asks_again: None,
            observed: Observed::new(now),
        }
    }

    /// Sets another limit, or none. Where the peer has asked for less than that, its word goes on to count: the rate grows to the
    /// new limit from where it is.
    pub fn set_limit(&mut self, now: Time, limit: Option<Rate>) {
        self.limit = limit;
        if let Some(slowed) = &mut self.slowed {
            slowed.towards = limit.map_or(slowed.towards, Rate::nano);
        }
        self.apply(now);
    }

    /// Whether the next may go now. Where not, [`deadline`](Self::deadline) says when.
    pub fn is_ready(&mut self, now: Time) -> bool {
        let by_rate = self.bucket.as_mut().map(|bucket| bucket.next(now));
        let next = by_rate.max(self.backoff_until);
        self.asks_again = next.filter(|next| *next > now);
        self.asks_again.is_none()
    }

    /// One has gone. Its owner has [asked](Self::is_ready).
    pub fn sent(&mut self, now: Time) {
        self.observed.count(now);
        if let Some(bucket) = &mut self.bucket {
            // None is there only where nobody asked.
            let _ = bucket.take(now);
        }
    }

    /// When the next may go, where the answer to [`is_ready`](Self::is_ready) was no. It is worth waking up for where something
    /// waits.
    pub fn deadline(&self) -> Option<Deadline> {
        self.asks_again.map(|at| Deadline { at, timer: "rate" })
    }

    /// The peer did not take one that was sent then, since there were too many: to come back after so long, where it says.
    /// More than a day counts as a day.
    ///
    /// Whether that is news: false for what was sent before it was slowed down last.
    pub fn throttled(&mut self, now: Time, sent: Time, retry_after: Option<Duration>) -> bool {
        let hint = retry_after.map(|hint| hint.clamp(SHORTEST_WAIT, LONGEST_HINT));
        if self.slowed.is_some_and(|slowed| sent <= slowed.at) {
            if let Some(hint) = hint {
                self.back_off(now.after(hint));
            }
            return false;
        }
        let in_force = self.bucket.as_ref().map(|bucket| bucket.rate().nano());
        let observed = self.observed.in_a_second().saturating_mul(SECOND);
        let too_much = in_force.map_or(observed, |rate| rate.min(observed));
        self.slowed = Some(Slowed {
            at: now,
            rate: (too_much / 2).max(SLOWEST),
            towards: self.limit.map_or(too_much, Rate::nano),
            stepped_at: now,
        });
        self.apply(now);
        let wait = hint.unwrap_or_else(|| {
            let doubled = 1u32.checked_shl(self.refusals).unwrap_or(u32::MAX);
            FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT)
        });
        self.refusals = self.refusals.saturating_add(1);
        self.back_off(now.after(wait));
        true
    }

    fn back_off(&mut self, until: Time) {
        self.backoff_until = self.backoff_until.max(Some(until));
        if let Some(bucket) = &mut self.bucket {
            bucket.pause(until);
        }
    }

    /// The peer took one that was sent then.
    ///
    /// Whether the rate is the limit again by that, or, without one, anything goes again.
    pub fn accepted(&mut self, now: Time, sent: Time) -> bool {
        let Some(slowed) = self.slowed.as_mut().filter(|slowed| sent > slowed.at) else {
            return false;
        };
        self.refusals = 0;
        self.backoff_until = None;
        if now.since(slowed.stepped_at) < STEP {
            return false;
        }
        slowed.stepped_at = now;
        let towards = match self.limit {
            Some(_) => slowed.towards,
            None => slowed.towards.max(slowed.rate),
        };
        slowed.rate = slowed.rate.saturating_add((towards / STEPS).max(1));
        let enough = match self.limit {
            Some(_) => slowed.towards,
            None => slowed.towards.saturating_mul(FORGOTTEN_AT),
        };
        let recovered = slowed.rate >= enough;
        self.slowed = self.slowed.filter(|_| !recovered);
        self.apply(now);
        recovered
    }

    /// How it stands.
    pub fn pace(&self) -> Pace {
        Pace {
            limit: self.limit,
            rate: self.bucket.as_ref().map(TokenBucket::rate),
            backoff_until: self.backoff_until,
            refusals: self.refusals,
        }
    }

    /// Puts the rate in force that follows from the limit and the peer.
    fn apply(&mut self, now: Time) {
        let found = self.slowed.map(|slowed| {
            let rate = Rate::from_nano(readable(slowed.rate));
            rate.with_burst(match self.limit {
                // As much less as the rate is.
                Some(limit) => {
                    let share = u128::from(limit.burst()) * u128::from(slowed.rate);
                    let burst = share / u128::from(slowed.towards.max(1));
                    u64::try_from(burst).unwrap_or(u64::MAX).min(limit.burst())
                }
                None => slowed.rate / (SECOND * (SECOND / LATE)),
            })
        });
        let rate = match (self.limit, found) {
            (Some(limit), Some(found)) if found.is_slower_than(limit) => Some(found),
            (Some(limit), _) => Some(limit),
            (None, found) => found,
        };
        match (&mut self.bucket, rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(now, rate),
            (bucket, rate) => *bucket = rate.map(|rate| TokenBucket::new(now, rate)),
        }
    }
}

/// Three decimals are as good as nine, and shorter to read.
const fn readable(nano: u64) -> u64 {
    if nano < SECOND {
        nano
    } else {
        nano - nano % (SECOND / 1_000)
    }
}

/// How many have gone in a second.
#[derive(Clone, Copy, Debug)]
struct Observed {
    since: Time,
    count: u64,
    /// In the second before.
    before: u64,
}

impl Observed {
    const fn new(now: Time) -> Self {
        Self {
            since: now,
            count: 0,
            before: 0,
        }
    }

    fn count(&mut self, now: Time) {
        let second = Duration::from_nanos(SECOND);
        let elapsed = now.since(self.since);
        if elapsed >= 2 * second {
            *self = Self::new(now);
        } else if elapsed >= second {
            self.since = self.since.after(second);
            (self.before, self.count) = (self.count, 0);
        }
        self.count = self.count.saturating_add(1);
    }

    /// As many as when the latest went, one at least: an answer may come long after that.
    const fn in_a_second(&self) -> u64 {
        let most = if self.count > self.before {
            self.count
        } else {
            self.before
        };
        if most == 0 { 1 } else { most }
    }
}

#[cfg(test)]
#[path = "tests/pacer.rs"]
mod tests;
