//! A disk on virtual time that is sometimes full, and what a process that is killed leaves on it.

use bytes::Bytes;
use relay_proto::{
    Input, LinkId, Time,
    storage::{BatchId, Record, StorageError, Write},
};
use std::collections::{BTreeMap, VecDeque};

/// What the disk answers travels like what comes over a link, and no link has this name.
pub(crate) const ANSWERS: LinkId = LinkId::accepted(u64::MAX >> 1);

#[derive(Default)]
pub(crate) struct Disk {
    records: BTreeMap<(&'static str, Bytes), (Bytes, Time)>,
    under_way: VecDeque<Vec<Write>>,
}

impl Disk {
    /// Takes a batch; what the disk will say to it.
    pub(crate) fn take(&mut self, batch: BatchId, writes: Vec<Write>, full: bool) -> Input {
        self.under_way.push_back(writes);
        let detail = "full by the test".into();
        let result = match full {
            true => Err(StorageError::Full { detail }),
            false => Ok(()),
        };
        Input::Stored { batch, result }
    }

    /// The oldest batch is answered now.
    pub(crate) fn answer(&mut self, now: Time, input: &Input) {
        if let Input::Stored { result, .. } = input {
            let writes = self.under_way.pop_front().expect("it was taken");
            if result.is_ok() {
                self.apply(now, writes);
            }
        }
    }

    /// The process is killed: so many batches were stored and never answered, the others are lost.
    pub(crate) fn crash(&mut self, now: Time, stored: usize) {
        let writes = std::mem::take(&mut self.under_way);
        for writes in writes.into_iter().take(stored) {
            self.apply(now, writes);
        }
    }

    pub(crate) fn records(&self, now: Time) -> Vec<Record> {
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
