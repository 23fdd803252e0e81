//! How long to wait before trying again.

use crate::Random;
use core::time::Duration;

/// How retries are spaced and when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackoffPolicy {
    /// The longest the first wait can be; it doubles with every attempt.
    pub base: Duration,
    /// The longest any wait can be.
    pub cap: Duration,
    /// How many attempts are made before giving up; none: endless.
    pub attempts: Option<u32>,
}

impl BackoffPolicy {
    /// Waits of up to `base`, twice that, four times that … up to `cap`, `attempts` times; endless where none.
    pub const fn new(base: Duration, cap: Duration, attempts: Option<u32>) -> Self {
        Self {
            base,
            cap,
            attempts,
        }
    }
}

/// The shortest wait, so that a policy of zero does not keep a processor busy.
const SHORTEST: Duration = Duration::from_millis(1);

/// The longest wait a peer can ask for: one that says more means "not today".
const LONGEST_HINT: Duration = Duration::from_secs(24 * 60 * 60);

/// Exponential backoff with full jitter: each wait is uniform between a millisecond and a limit that doubles.
///
/// The jitter is full at the cap too, so that many clients that lost the same relay never come back in step.
#[derive(Debug)]
pub struct Backoff {
    policy: BackoffPolicy,
    attempt: u32,
}

impl Backoff {
    /// No attempt made yet.
    pub const fn new(policy: BackoffPolicy) -> Self {
        Self { policy, attempt: 0 }
    }

    /// So many attempts made already.
    pub const fn resumed(policy: BackoffPolicy, attempt: u32) -> Self {
        Self { policy, attempt }
    }

    /// How many attempts were made since the last [`reset`](Self::reset).
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Counts one more attempt and says how long to wait before it; none: give up.
    ///
    /// A `hint` of the peer, of up to a day, is a lower bound: the wait is the hint and up to `base` more, since whoever
    /// gave the hint gave it to many.
    pub fn next_wait(&mut self, random: &mut Random, hint: Option<Duration>) -> Option<Duration> {
        if self
            .policy
            .attempts
            .is_some_and(|most| self.attempt >= most)
        {
            return None;
        }
        let doubled = 1u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        self.attempt = self.attempt.saturating_add(1);
        let wait = match hint {
            Some(hint) => hint
                .min(LONGEST_HINT)
                .saturating_add(random.up_to(self.policy.base)),
            None => random.up_to(
                self.policy
                    .base
                    .saturating_mul(doubled)
                    .min(self.policy.cap),
            ),
        };
        Some(wait.max(SHORTEST))
    }

    /// Starts counting anew: what was retried has proved itself.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const SECOND: Duration = Duration::from_secs(1);

    fn waits(policy: BackoffPolicy, seed: u8, count: usize) -> Vec<Option<Duration>> {
        let mut backoff = Backoff::new(policy);
        let mut random = Random::new([seed; 32]);
        (0..count)
            .map(|_| backoff.next_wait(&mut random, None))
            .collect()
    }

    #[test]
    fn limits_double_up_to_the_cap_and_attempts_end() {
        let policy = BackoffPolicy::new(SECOND, 30 * SECOND, Some(10));
        let mut longest = [Duration::ZERO; 10];
        for seed in 0..=255 {
            let waits = waits(policy, seed, 11);
            assert_eq!(waits[10], None);
            for (longest, wait) in longest.iter_mut().zip(&waits) {
                *longest = (*longest).max(wait.unwrap());
            }
        }
        for (attempt, longest) in longest.iter().enumerate() {
            let limit = (SECOND * (1 << attempt)).min(30 * SECOND);
            assert!(
                *longest <= limit && *longest > limit * 9 / 10,
                "{attempt}: {longest:?}"
            );
        }
    }

    #[test]
    fn endless_means_endless_and_jitter_stays_full_at_the_cap() {
        let waits = waits(BackoffPolicy::new(SECOND, 4 * SECOND, None), 3, 500);
        let late: Vec<_> = waits[100..].iter().map(|wait| wait.unwrap()).collect();
        assert!(late.iter().any(|wait| *wait < SECOND / 2));
        assert!(late.iter().any(|wait| *wait > SECOND * 7 / 2));
    }

    #[test]
    fn a_hint_is_a_lower_bound_and_counts_as_an_attempt() {
        let mut backoff = Backoff::new(BackoffPolicy::new(SECOND, 2 * SECOND, Some(2)));
        let mut random = Random::new([9; 32]);
        let wait = backoff.next_wait(&mut random, Some(60 * SECOND)).unwrap();
        assert!((60 * SECOND..=61 * SECOND).contains(&wait));
        assert!(backoff.next_wait(&mut random, None).is_some());
        assert_eq!(backoff.next_wait(&mut random, Some(SECOND)), None);
        backoff.reset();
        assert!(backoff.next_wait(&mut random, None).is_some());
    }
}
