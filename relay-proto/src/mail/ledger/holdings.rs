//! How much of a ledger each account takes up, and whose outcomes make room.

use crate::Time;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// When an outcome is forgotten, and its number, since several may be at the same time.
pub(super) type Place = (Time, u64);

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    Entries,
    Bytes,
}

/// What each account has in a ledger.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    accounts: BTreeMap<Arc<str>, Holding>,
    /// Those of them that have an outcome to forget, the largest last.
    largest: BTreeSet<(Measure, usize, Arc<str>)>,
}

#[derive(Debug, Default)]
struct Holding {
    entries: usize,
    bytes: usize,
    /// Its outcomes that may be forgotten, those that are forgotten first in front.
    ageing: BTreeSet<Place>,
}

impl Holding {
    const fn size(&self, measure: Measure) -> usize {
        match measure {
            Measure::Entries => self.entries,
            Measure::Bytes => self.bytes,
        }
    }
}

impl Holdings {
    /// The account has an entry more.
    pub(super) fn add(&mut self, account: &Arc<str>, bytes: usize) {
        self.change(account, |holding| {
            holding.entries += 1;
            holding.bytes += bytes;
        });
    }

    /// The account has an entry less. If it was an outcome that could be forgotten, it was there.
    pub(super) fn remove(&mut self, account: &Arc<str>, bytes: usize, place: Option<Place>) {
        self.change(account, |holding| {
            holding.entries -= 1;
            holding.bytes -= bytes;
            if let Some(place) = place {
                holding.ageing.remove(&place);
            }
        });
    }

    /// The outcome may be forgotten from now on.
    pub(super) fn may_forget(&mut self, account: &Arc<str>, place: Place) {
        self.change(account, |holding| {
            holding.ageing.insert(place);
        });
    }

    /// Which outcome makes room for this account: the oldest of whoever has most, if that is more than the account has itself, or
    /// else the oldest of its own. None where it would have to be that of a smaller one. Without an account, of whoever has most.
    pub(super) fn oldest_of_largest(
        &self,
        measure: Measure,
        account: Option<&str>,
    ) -> Option<Place> {
        let all = self
            .largest
            .range((measure, 0, Arc::from(""))..)
            .take_while(|(of, ..)| *of == measure);
        let own = account.and_then(|account| self.accounts.get(account));
        let size = own.map_or(0, |own| own.size(measure));
        let largest = all.last().filter(|(_, most, _)| *most > size);
        let holding = match largest {
            Some((.., name)) => self.accounts.get(name),
            None => own,
        };
        holding?.ageing.first().copied()
    }

    /// Changes what an account has, and its place among the others; one that has nothing is forgotten.
    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Holding)) {
        let mut holding = self.accounts.remove(name).unwrap_or_default();
        for measure in [Measure::Entries, Measure::Bytes] {
            let place = (measure, holding.size(measure), Arc::clone(name));
            self.largest.remove(&place);
        }
        change(&mut holding);
        if !holding.ageing.is_empty() {
            for measure in [Measure::Entries, Measure::Bytes] {
                let place = (measure, holding.size(measure), Arc::clone(name));
                self.largest.insert(place);
            }
        }
        if holding.entries > 0 {
            self.accounts.insert(Arc::clone(name), holding);
        }
    }
}
