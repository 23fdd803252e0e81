//! Up to where a ledger has forgotten, for each account.

use crate::Time;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The most accounts for which this is kept apart. More of them are a mistake of whoever hands out keys.
const ACCOUNTS: usize = 10_000;

/// The highest number of a delivery that was forgotten, by account, so that what makes room for one account hides nothing from another.
///
/// After the time for which outcomes are kept it need not be kept apart any more: whoever could ask has been away for so long that
/// its own are forgotten, too.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    accounts: BTreeMap<Arc<str>, (u64, Time)>,
    until: BTreeSet<(Time, Arc<str>)>,
}

impl Forgotten {
    /// The highest number forgotten of this account; 0: none.
    pub(super) fn of(&self, account: &str) -> u64 {
        self.accounts.get(account).map_or(0, |(number, _)| *number)
    }

    /// The highest number forgotten of any account.
    pub(super) fn highest(&self) -> u64 {
        let numbers = self.accounts.values().map(|(number, _)| *number);
        numbers.max().unwrap_or(0)
    }

    /// The delivery of this number is forgotten, which is to be known until then.
    pub(super) fn add(&mut self, account: &Arc<str>, number: u64, until: Time) {
        let before = self.accounts.get(account).copied();
        let highest = before.map_or(number, |(before, _)| before.max(number));
        if let Some((_, until)) = before {
            self.until.remove(&(until, Arc::clone(account)));
        }
        self.accounts.insert(Arc::clone(account), (highest, until));
        self.until.insert((until, Arc::clone(account)));
    }

    /// An account for which it need not be kept any more, and the number.
    pub(super) fn expire(&mut self, now: Time) -> Option<(Arc<str>, u64)> {
        let (until, _) = self.until.first()?;
        if *until > now && self.accounts.len() <= ACCOUNTS {
            return None;
        }
        let (_, account) = self.until.pop_first()?;
        let (number, _) = self.accounts.remove(&account)?;
        Some((account, number))
    }

    /// When the next one expires.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.until.first().map(|(until, _)| *until)
    }
}
