//! A disk on virtual time that is sometimes full, and what a process that is killed leaves on it.

use bytes::Bytes;
use relay_proto::{
    Input, LinkId, Time,
    storage::{BatchId, Record, StorageError, Write},
};
use std::collections::{BTreeMap, VecDeque};

/// What the disk answers travels like what comes over a link, and no link has this name.
pub(super) const ANSWERS: LinkId = LinkId::accepted(u64::MAX >> 1);

/// The storage of one host.
#[derive(Default)]
pub struct Disk {
    records: BTreeMap<(&'static str, Bytes), (Bytes, Time)>,
    under_way: VecDeque<Vec<Write>>,
    last: Option<BatchId>,
}

impl Disk {
    /// Takes a batch; what the disk will say to it.
    pub(super) fn take(
        &mut self,
        batch: BatchId,
        writes: Vec<Write>,
        fault: Option<bool>,
    ) -> Input {
        self.under_way.push_back(writes);
        self.last = Some(batch);
        let detail = "by the simulation".into();
        let result = match fault {
            None => Ok(()),
            Some(true) => Err(StorageError::Full { detail }),
            Some(false) => Err(StorageError::Failed { detail }),
        };
        Input::Stored { batch, result }
    }

    /// The oldest batch is answered now.
    pub(super) fn answer(&mut self, now: Time, input: &Input) {
        if let Input::Stored { result, .. } = input {
            let writes = self.under_way.pop_front().expect("it was taken");
            if result.is_ok() {
                self.apply(now, writes);
            }
        }
    }

    /// The process is killed: so many batches were stored and never answered, the others are lost.
    pub(super) fn crash(&mut self, now: Time, stored: usize) {
        let writes = std::mem::take(&mut self.under_way);
        for writes in writes.into_iter().take(stored) {
            self.apply(now, writes);
        }
        self.last = None;
    }

    /// The last batch this life of the host has handed over.
    pub(super) const fn last(&self) -> Option<BatchId> {
        self.last
    }

    /// What a new process finds.
    pub fn records(&self, now: Time) -> Vec<Record> {
        let record = |((table, key), (value, at)): (&(&str, Bytes), &(Bytes, Time))| Record {
            table: (*table).to_owned(),
            key: key.clone(),
            value: value.clone(),
            age: now.since(*at),
        };
        self.records.iter().map(record).collect()
    }

    fn apply(&mut self, now: Time, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put { table, key, value } => self.records.insert((table, key), (value, now)),
                Write::Delete { table, key } => self.records.remove(&(table, key)),
            };
        }
    }
}
