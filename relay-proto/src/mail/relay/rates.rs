//! How many messages each account sends.

use crate::{
    Time,
    pacing::{Rate, TokenBucket},
};
use alloc::{collections::BTreeMap, sync::Arc};
use core::time::Duration;

/// So many accounts are remembered before those are looked for that need not be.
const FEW: usize = 64;

/// What each account with a rate has left of it. One that has all of it is not remembered.
#[derive(Debug)]
pub(super) struct Rates {
    accounts: BTreeMap<Arc<str>, TokenBucket>,
    /// The number of accounts at which to look for those that need not be remembered.
    look_at: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::new(),
            look_at: FEW,
        }
    }
}

impl Rates {
    /// A message comes.
    ///
    /// # Errors
    ///
    /// After how long the next may come, where this one may not.
    pub(super) fn take(&mut self, now: Time, account: &str, rate: Rate) -> Result<(), Duration> {
        self.bucket(now, account, rate)
            .take(now)
            .map_err(|next| whole_milliseconds(next.since(now)))
    }

    /// Whether a message may come.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub(super) fn check(&mut self, now: Time, account: &str, rate: Rate) -> Result<(), Duration> {
        let next = self.bucket(now, account, rate).next(now);
        match next.since(now) {
            Duration::ZERO => Ok(()),
            wait => Err(whole_milliseconds(wait)),
        }
    }

    fn bucket(&mut self, now: Time, account: &str, rate: Rate) -> &mut TokenBucket {
        if !self.accounts.contains_key(account) {
            if self.accounts.len() >= self.look_at {
                self.accounts.retain(|_, bucket| !bucket.is_full(now));
                self.look_at = FEW.max(2 * self.accounts.len());
            }
            self.accounts
                .insert(account.into(), TokenBucket::new(now, rate));
        }
        let bucket = self.accounts.get_mut(account).expect("it is there by now");
        if bucket.rate() != rate {
            bucket.set_rate(now, rate);
        }
        bucket
    }
}

/// What a client is told is in milliseconds; one that comes too early comes in vain.
fn whole_milliseconds(wait: Duration) -> Duration {
    let milliseconds = wait.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn each_account_has_its_own_and_is_told_when_to_come() {
        let rate = Rate::per_second(3).with_burst(1);
        let mut rates = Rates::default();
        for account in ["one", "two"] {
            assert_eq!(rates.check(Time::ZERO, account, rate), Ok(()));
            assert_eq!(rates.take(Time::ZERO, account, rate), Ok(()));
            let wait = Err(Duration::from_millis(334));
            assert_eq!(rates.take(Time::ZERO, account, rate), wait);
            assert_eq!(rates.check(Time::ZERO, account, rate), wait);
        }
        let then = Time::ZERO.after(Duration::from_millis(334));
        assert_eq!(rates.take(then, "one", rate), Ok(()));
    }

    #[test]
    fn another_rate_holds_at_once() {
        let mut rates = Rates::default();
        let slow = Rate::new(1, Duration::from_secs(60));
        assert_eq!(rates.take(Time::ZERO, "one", slow), Ok(()));
        let minute = Err(Duration::from_secs(60));
        assert_eq!(rates.check(Time::ZERO, "one", slow), minute);
        let fast = Rate::per_second(1);
        assert_eq!(
            rates.check(Time::ZERO, "one", fast),
            Err(Duration::from_secs(1))
        );
    }

    #[test]
    fn accounts_that_owe_nothing_are_forgotten() {
        let mut rates = Rates::default();
        let rate = Rate::per_second(1);
        for number in 0..100_000u64 {
            let now = Time::ZERO.after(Duration::from_millis(20 * number));
            rates.take(now, &format!("{number}"), rate).unwrap();
        }
        assert!(rates.accounts.len() <= 2 * FEW);
    }
}
