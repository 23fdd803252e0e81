//! Sees to it that records become what their owner wants them to be, whatever the storage does.

use super::{BatchId, StorageError, Write};
use crate::{Action, Deadline, Time};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use core::{mem, time::Duration};

/// How long to wait before a storage that has failed is tried again: soon enough after somebody has made room, and seldom
/// enough to cost nothing until then.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes the records of `K`s until they are stored as they are wanted.
///
/// The owner says which records have changed, and what each shall be is asked when it is written. A batch that was not stored
/// makes its records changed again: also one that failed may be found on disk later, if the power fails at the wrong
/// moment, so that even a record that was given up has to be deleted.
#[derive(Debug)]
pub(crate) struct Recorder<K> {
    next: u64,
    /// Changed, and in no batch since.
    changed: BTreeSet<K>,
    /// In which batch a record was written last, while that is not answered.
    latest: BTreeMap<K, BatchId>,
    outstanding: VecDeque<(BatchId, Vec<K>)>,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    error: StorageError,
    /// When to try again; none: a try is under way.
    retry_at: Option<Time>,
}

/// What a storage has made of a batch.
pub(crate) struct Answer<K> {
    /// Whose records were in it.
    pub(crate) keys: Vec<K>,
    pub(crate) result: Result<(), StorageError>,
    /// Whether the storage has begun to fail, or works again.
    pub(crate) turned: bool,
}

impl<K: Ord + Clone> Recorder<K> {
    pub(crate) const fn new() -> Self {
        Self {
            next: 0,
            changed: BTreeSet::new(),
            latest: BTreeMap::new(),
            outstanding: VecDeque::new(),
            trouble: None,
        }
    }

    /// The record of this key is to be written.
    pub(crate) fn change(&mut self, key: K) {
        self.changed.insert(key);
    }

    /// Whether the record is stored as it is wanted.
    pub(crate) fn is_stored(&self, key: &K) -> bool {
        !self.changed.contains(key) && !self.latest.contains_key(key)
    }

    /// Why the storage does not work at present.
    pub(crate) fn trouble(&self) -> Option<&StorageError> {
        self.trouble.as_ref().map(|trouble| &trouble.error)
    }

    /// Whether nothing is under way, and nothing will be before the storage works again.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.outstanding.is_empty() && (self.changed.is_empty() || self.trouble.is_some())
    }

    /// One batch of all that has changed. `writes` adds what the record of a key shall be.
    pub(crate) fn poll_action(
        &mut self,
        mut writes: impl FnMut(&K, &mut Vec<Write>),
    ) -> Option<Action> {
        let pauses = self
            .trouble
            .as_ref()
            .is_some_and(|trouble| trouble.retry_at.is_some() || !self.outstanding.is_empty());
        if pauses || self.changed.is_empty() {
            return None;
        }
        let batch = BatchId(self.next);
        self.next += 1;
        let mut all = Vec::new();
        let keys: Vec<K> = mem::take(&mut self.changed).into_iter().collect();
        for key in &keys {
            writes(key, &mut all);
            self.latest.insert(key.clone(), batch);
        }
        self.outstanding.push_back((batch, keys));
        Some(Action::Store { batch, writes: all })
    }

    /// Takes the answer to the oldest batch that has none; any other is ignored.
    pub(crate) fn handle_stored(
        &mut self,
        now: Time,
        batch: BatchId,
        result: Result<(), StorageError>,
    ) -> Option<Answer<K>> {
        let (_, keys) = self
            .outstanding
            .pop_front_if(|(oldest, _)| *oldest == batch)?;
        for key in &keys {
            if self.latest.get(key) == Some(&batch) {
                self.latest.remove(key);
            }
        }
        let before = self.trouble.take();
        if let Err(error) = &result {
            self.changed.extend(keys.iter().cloned());
            let (error, retry_at) = (error.clone(), Some(now.after(PAUSE)));
            self.trouble = Some(Trouble { error, retry_at });
        }
        let turned = before.is_some() != self.trouble.is_some();
        Some(Answer {
            keys,
            result,
            turned,
        })
    }

    /// Lets the storage be tried again when its pause is over.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if let Some(trouble) = &mut self.trouble
            && trouble.retry_at.is_some_and(|at| at <= now)
        {
            trouble.retry_at = None;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let at = self.trouble.as_ref()?.retry_at?;
        let timer = "storage";
        Some(Deadline { at, timer })
    }
}
