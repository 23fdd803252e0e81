//! The file on a disk that gets full and loses power.

use super::*;
use crate::error::OpenError;
use proptest::prelude::*;
use redb::StorageBackend;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, mpsc},
};

/// A disk with so much room that forgets what was not synced when its power fails.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Platters>>);

#[derive(Clone, Default)]
struct Platters {
    data: Vec<u8>,
    synced: Vec<u8>,
    /// Since the last sync: where, and what.
    unsynced: Vec<(usize, Vec<u8>)>,
    room: Option<usize>,
    syncs: usize,
    sync_fails: bool,
}

impl Disk {
    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.0.lock().unwrap()
    }

    fn open(&self) -> Result<StorageFile, OpenError> {
        let disk = self.clone();
        let opener = move || {
            let path = Path::new("virtual");
            let new = disk.platters().data.is_empty();
            let database = Builder::new()
                .create_with_backend(disk.clone())
                .map_err(|error| OpenError::database(path, error))?;
            if new {
                write_format(&database).unwrap();
            }
            check_format(path, &database)?;
            Ok(database)
        };
        StorageFile::with_opener("virtual".into(), Box::new(opener))
    }

    /// What is left after the power failed: what was synced, and of the rest what chance has let through.
    fn after_power_failure(&self, luck: impl Fn(usize) -> bool) -> Self {
        let mut left = self.platters().clone();
        left.data = left.synced.clone();
        for (index, (at, bytes)) in left.unsynced.drain(..).enumerate() {
            if luck(index) {
                let end = at + bytes.len();
                left.data.resize(left.data.len().max(end), 0);
                left.data[at..end].copy_from_slice(&bytes);
            }
        }
        left.synced = left.data.clone();
        (left.room, left.sync_fails) = (None, false);
        Self(Arc::new(Mutex::new(left)))
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platters().data.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let platters = self.platters();
        let bytes = platters.data.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (length, mut platters) = (usize::try_from(len).unwrap(), self.platters());
        if platters.room.is_some_and(|room| length > room) {
            return Err(ErrorKind::StorageFull.into());
        }
        platters.data.resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.platters();
        if platters.sync_fails {
            return Err(io::Error::other("the disk has come loose"));
        }
        platters.syncs += 1;
        platters.synced = platters.data.clone();
        platters.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let mut platters = self.platters();
        let end = start + data.len();
        if platters.room.is_some_and(|room| end > room) {
            return Err(ErrorKind::StorageFull.into());
        }
        platters.data[start..end].copy_from_slice(data);
        platters.unsynced.push((start, data.to_vec()));
        Ok(())
    }

    fn try_lock_range(
        &self,
        _: std::ops::Bound<u64>,
        _: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        Ok(true)
    }
}

fn put(key: &str, value: impl Into<Bytes>) -> Write {
    Write::Put {
        table: "t",
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.into(),
    }
}

fn delete(key: &str) -> Write {
    Write::Delete {
        table: "t",
        key: Bytes::copy_from_slice(key.as_bytes()),
    }
}

fn store(file: &mut StorageFile, writes: Vec<Write>) -> Result<(), StorageError> {
    let (tell, told) = mpsc::channel();
    file.store(writes, Box::new(move |result| drop(tell.send(result))));
    told.recv().unwrap()
}

fn contents(disk: &Disk) -> BTreeMap<Bytes, Bytes> {
    let records = disk.open().unwrap().load().unwrap();
    records
        .into_iter()
        .map(|record| (record.key, record.value))
        .collect()
}

#[test]
fn a_full_disk_loses_nothing_and_works_again_when_there_is_room() {
    let disk = Disk::default();
    let mut file = disk.open().unwrap();
    store(&mut file, vec![put("accepted", "kept")]).unwrap();
    let room = disk.platters().data.len() + (64 << 10);
    disk.platters().room = Some(room);
    let large = Bytes::from(vec![7; 2 << 20]);
    for _ in 0..3 {
        let refused = store(&mut file, vec![put("large", large.clone())]).unwrap_err();
        assert!(matches!(refused, StorageError::Full { .. }), "{refused}");
        let text = refused.to_string();
        assert!(
            text.contains("virtual") && text.contains("make room"),
            "{text}"
        );
    }
    assert_eq!(contents(&disk.after_power_failure(|_| false)).len(), 1);
    store(&mut file, vec![put("small", "fits")]).unwrap();
    disk.platters().room = None;
    store(&mut file, vec![put("large", large.clone())]).unwrap();
    drop(file);
    let left = contents(&disk);
    assert_eq!(left.len(), 3);
    assert_eq!(
        (
            &left["large".as_bytes()],
            left["accepted".as_bytes()].clone()
        ),
        (&large, "kept".into())
    );
}

#[test]
fn what_a_disk_that_fails_has_answered_is_there_and_it_works_again_later() {
    let disk = Disk::default();
    let mut file = disk.open().unwrap();
    store(&mut file, vec![put("a", "1")]).unwrap();
    disk.platters().sync_fails = true;
    let failed = store(&mut file, vec![put("b", "2")]).unwrap_err();
    assert!(
        matches!(&failed, StorageError::Failed { detail } if detail.contains("come loose")),
        "{failed}"
    );
    assert_eq!(
        contents(&disk.after_power_failure(|_| false))["a".as_bytes()],
        "1"
    );
    disk.platters().sync_fails = false;
    store(&mut file, vec![delete("b"), put("c", "3")]).unwrap();
    drop(file);
    let keys: Vec<_> = contents(&disk).into_keys().collect();
    assert_eq!(keys, ["a", "c"]);
}

#[test]
fn batches_that_wait_share_the_wait_for_the_disk() {
    let disk = Disk::default();
    let mut file = disk.open().unwrap();
    store(&mut file, vec![put("first", "")]).unwrap();
    let before = disk.platters().syncs;
    let (tell, told) = mpsc::channel();
    {
        // The writer finds the disk busy with the first until all are there.
        let _busy = disk.platters();
        for number in 0..100 {
            let tell = tell.clone();
            let on_stored = move |result: Result<(), _>| drop(tell.send(result.map(|()| number)));
            file.store(vec![put(&number.to_string(), "")], Box::new(on_stored));
        }
    }
    drop(tell);
    let answers: Vec<i32> = told.iter().map(Result::unwrap).collect();
    assert_eq!(answers, (0..100).collect::<Vec<_>>(), "in order");
    let syncs = disk.platters().syncs - before;
    assert!(syncs < 20, "{syncs} waits for 100 batches");
    drop(file);
    assert_eq!(contents(&disk).len(), 101);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whenever the power fails: what was answered is there, and no batch is there in part.
    #[test]
    fn a_power_failure_loses_nothing_that_was_stored(
        batches in prop::collection::vec((0..8u8, prop::bool::ANY, 0..20_000usize), 1..12),
        luck: u64,
    ) {
        let disk = Disk::default();
        let mut file = disk.open().unwrap();
        let mut expected = BTreeMap::new();
        for (step, (key, puts, size)) in batches.into_iter().enumerate() {
            // Each batch changes two records together.
            let keys = [format!("left {key}"), format!("right {key}")];
            let value = Bytes::from(vec![step as u8; size]);
            let writes = keys.iter().map(|key| if puts { put(key, value.clone()) } else { delete(key) });
            store(&mut file, writes.collect()).unwrap();
            for key in keys {
                if puts { expected.insert(Bytes::from(key), value.clone()); } else { expected.remove(key.as_bytes()); }
            }
            let lucky = |index: usize| luck >> (index % 64) & 1 == 1;
            prop_assert_eq!(&contents(&disk.after_power_failure(lucky)), &expected);
        }
        // In the middle of a batch: as before it or as behind it.
        let before = expected.clone();
        let (tell, told) = mpsc::channel();
        let on_stored = Box::new(move |result| drop(tell.send(result)));
        file.store(vec![put("left 0", "new"), put("right 0", "new")], on_stored);
        let during = disk.after_power_failure(|index| luck >> (index % 64) & 1 == 1);
        told.recv().unwrap().unwrap();
        expected.extend([("left 0".into(), "new".into()), ("right 0".into(), "new".into())]);
        let found = contents(&during);
        prop_assert!(found == before || found == expected);
    }
}
