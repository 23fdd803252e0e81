//! What is stored: keys with their values, and the changes of late.

use super::config::ServiceConfig;
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};
use bytes::Bytes;
use core::{mem, ops::Bound};

/// What a pair takes up besides its key and its value, in bytes: about what the map needs.
pub(super) const OVERHEAD: usize = 64;

/// All that is stored. What is changed can be taken back until it is [committed](Self::commit), all of it together.
#[derive(Debug, Default)]
pub(super) struct Store {
    spaces: BTreeMap<Arc<str>, Space>,
    bytes: usize,
    /// What was changed since the last commit, and what was there before.
    undo: Vec<Undo>,
}

/// One of the stores that share nothing.
#[derive(Debug, Default)]
pub(super) struct Space {
    values: BTreeMap<Arc<str>, Bytes>,
    bytes: usize,
    /// The last ones, in order and without gaps; at least one where there was any.
    changes: VecDeque<Change>,
    change_bytes: usize,
    /// The number of the last change.
    sequence: u64,
    /// The number of the last change that was committed.
    committed: u64,
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Change {
    pub(super) sequence: u64,
    /// In milliseconds of Unix time.
    pub(super) timestamp: u64,
    pub(super) key: Arc<str>,
    /// None: the key is gone.
    pub(super) value: Option<Bytes>,
}

impl Change {
    fn bytes(&self) -> usize {
        OVERHEAD + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

#[cfg(not(test))]
impl core::fmt::Debug for Change {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Change({})", self.sequence)
    }
}

#[derive(Debug)]
struct Undo {
    space: Arc<str>,
    key: Arc<str>,
    value: Option<Bytes>,
}

/// Why a change was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Store {
    /// The store of this name, if anything was ever changed in it.
    pub(super) fn space(&self, name: &str) -> Option<&Space> {
        self.spaces.get(name)
    }

    /// The bytes of all keys and values.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.spaces.values().map(|space| space.values.len()).sum()
    }

    pub(super) fn get(&self, space: &str, key: &str) -> Option<&Bytes> {
        self.spaces.get(space)?.values.get(key)
    }

    /// Makes the value be this one, or the key be gone, and returns the number of the change. What makes a store smaller always
    /// finds room.
    pub(super) fn change(
        &mut self,
        config: &ServiceConfig,
        most: Option<usize>,
        (name, key): (&Arc<str>, &str),
        value: Option<Bytes>,
        timestamp: u64,
    ) -> Result<u64, Full> {
        let space = self.spaces.entry(Arc::clone(name)).or_default();
        let known = space.values.get_key_value(key);
        let before = known.map_or(0, |(key, value)| pair_bytes(key, value));
        let after = value.as_ref().map_or(0, |value| pair_bytes(key, value));
        let total = self.bytes - before + after;
        let of_space = space.bytes - before + after;
        if after > before
            && (total > config.max_store_bytes || most.is_some_and(|most| of_space > most))
        {
            return Err(Full);
        }
        let key: Arc<str> = known.map_or_else(|| key.into(), |(key, _)| Arc::clone(key));
        (self.bytes, space.bytes) = (total, of_space);
        let undo = Undo {
            space: Arc::clone(name),
            key: Arc::clone(&key),
            value: put(&mut space.values, &key, value.clone()),
        };
        self.undo.push(undo);
        space.sequence += 1;
        // A clock that was set back is not followed.
        let latest = space.changes.back().map_or(0, |change| change.timestamp);
        let change = Change {
            sequence: space.sequence,
            timestamp: timestamp.max(latest),
            key,
            value,
        };
        space.change_bytes += change.bytes();
        space.changes.push_back(change);
        Ok(space.sequence)
    }

    /// What was changed stays, and is known to be stored. Returns the changes that are forgotten to make room for younger ones.
    pub(super) fn commit(&mut self, config: &ServiceConfig) -> Vec<(Arc<str>, u64)> {
        let mut forgotten = Vec::new();
        for name in mem::take(&mut self.undo).into_iter().map(|undo| undo.space) {
            let Some(space) = self.spaces.get_mut(&name) else {
                continue;
            };
            space.committed = space.sequence;
            while space.changes.len() > 1
                && (space.changes.len() > config.max_log_changes
                    || space.change_bytes > config.max_log_bytes)
                && let Some(change) = space.changes.pop_front()
            {
                space.change_bytes -= change.bytes();
                forgotten.push((Arc::clone(&name), change.sequence));
            }
        }
        forgotten
    }

    /// Takes back what was changed since the last commit.
    pub(super) fn roll_back(&mut self) {
        while let Some(Undo {
            space: name,
            key,
            value,
        }) = self.undo.pop()
        {
            let Some(space) = self.spaces.get_mut(&name) else {
                continue;
            };
            let before = value.as_ref().map_or(0, |value| pair_bytes(&key, value));
            let after = put(&mut space.values, &key, value);
            let after = after.map_or(0, |value| pair_bytes(&key, &value));
            self.bytes = self.bytes - after + before;
            space.bytes = space.bytes - after + before;
            if let Some(change) = space.changes.pop_back() {
                space.change_bytes -= change.bytes();
            }
            space.sequence -= 1;
        }
    }

    // ---- what was stored before ----

    pub(super) fn restore_value(&mut self, space: &str, key: &str, value: Bytes) {
        let bytes = pair_bytes(key, &value);
        let space = self.spaces.entry(space.into()).or_default();
        if space.values.insert(key.into(), value).is_none() {
            space.bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// Changes have to come in the order of their numbers.
    pub(super) fn restore_change(&mut self, space: &str, change: Change) {
        let space = self.spaces.entry(space.into()).or_default();
        // Behind a gap, which no service leaves, the log begins anew.
        if change.sequence != space.sequence + 1 {
            space.changes.clear();
            space.change_bytes = 0;
        }
        (space.sequence, space.committed) = (change.sequence, change.sequence);
        space.change_bytes += change.bytes();
        space.changes.push_back(change);
    }
}

fn put(
    values: &mut BTreeMap<Arc<str>, Bytes>,
    key: &Arc<str>,
    value: Option<Bytes>,
) -> Option<Bytes> {
    match value {
        Some(value) => values.insert(Arc::clone(key), value),
        None => values.remove(key),
    }
}

fn pair_bytes(key: &str, value: &Bytes) -> usize {
    OVERHEAD + key.len() + value.len()
}

impl Space {
    /// Keys from `first` to `last`, both included, with their values, in order.
    pub(super) fn range(&self, first: &str, last: &str) -> impl Iterator<Item = (&str, &Bytes)> {
        let bounds = (Bound::Included(first), Bound::Included(last));
        // The map would panic where they are the wrong way round.
        let range = (first <= last).then(|| self.values.range::<str, _>(bounds));
        range
            .into_iter()
            .flatten()
            .map(|(key, value)| (&**key, value))
    }

    /// The number of the last change that is stored.
    pub(super) const fn committed(&self) -> u64 {
        self.committed
    }

    /// The number of the oldest change that is known, or of the next one.
    pub(super) fn first_change(&self) -> u64 {
        let first = self.changes.front();
        first.map_or(self.sequence + 1, |change| change.sequence)
    }

    /// The change of this number, if it is stored and not forgotten.
    pub(super) fn stored_change(&self, sequence: u64) -> Option<&Change> {
        if sequence > self.committed {
            return None;
        }
        self.any_change(sequence)
    }

    /// The change of this number, stored or not.
    pub(super) fn any_change(&self, sequence: u64) -> Option<&Change> {
        let index = sequence.checked_sub(self.first_change())?;
        self.changes.get(usize::try_from(index).ok()?)
    }
}
