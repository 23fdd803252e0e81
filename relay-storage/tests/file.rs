//! The file as programs use it.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use bytes::Bytes;
use relay_proto::storage::{Record, Storage, StorageError, Write};
use relay_storage::{OpenError, StorageFile};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use tempfile::TempDir;

fn put(table: &'static str, key: &str, value: impl Into<Bytes>) -> Write {
    Write::Put {
        table,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.into(),
    }
}

fn store(file: &mut StorageFile, writes: Vec<Write>) -> Result<(), StorageError> {
    let (tell, told) = mpsc::channel();
    file.store(writes, Box::new(move |result| drop(tell.send(result))));
    told.recv().unwrap()
}

fn directory() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("test.redb");
    (directory, path)
}

/// A file with two records, closed.
fn made(path: &Path) {
    let mut file = StorageFile::open(path).unwrap();
    let large = vec![3; 100_000];
    store(
        &mut file,
        vec![put("t", "small", "value"), put("u", "large", large)],
    )
    .unwrap();
}

#[test]
fn what_was_stored_is_found_again_by_table_and_key_with_its_age() {
    let (_directory, path) = directory();
    let mut file = StorageFile::open(&path).unwrap();
    assert_eq!(file.load().unwrap(), []);
    store(
        &mut file,
        vec![
            put("b", "2", "x"),
            put("b", "1", ""),
            put("a", "9", "gone"),
            put("b", "2", "y"),
        ],
    )
    .unwrap();
    let gone = Write::Delete {
        table: "a",
        key: "9".into(),
    };
    store(&mut file, vec![gone]).unwrap();
    drop(file);
    let records = StorageFile::open(&path).unwrap().load().unwrap();
    assert!(
        records
            .iter()
            .all(|record| record.age < Duration::from_secs(3600))
    );
    let found: Vec<_> = records
        .iter()
        .map(
            |Record {
                 table, key, value, ..
             }| (&**table, &**key, &**value),
        )
        .collect();
    assert_eq!(
        found,
        [("b", &b"1"[..], &b""[..]), ("b", &b"2"[..], &b"y"[..])]
    );
}

#[test]
fn dropping_the_file_stores_what_is_under_way() {
    let (_directory, path) = directory();
    let mut file = StorageFile::open(&path).unwrap();
    for number in 0..50 {
        let write = put("t", &number.to_string(), vec![0; 10_000]);
        file.store(vec![write], Box::new(|result| result.unwrap()));
    }
    drop(file);
    assert_eq!(StorageFile::open(&path).unwrap().load().unwrap().len(), 50);
}

#[test]
fn records_are_read_before_anything_is_written() {
    let (_directory, path) = directory();
    let mut file = StorageFile::open(&path).unwrap();
    store(&mut file, vec![put("t", "1", "")]).unwrap();
    let refused = file.load().unwrap_err().to_string();
    assert!(refused.contains("open it anew"), "{refused}");
}

#[test]
fn a_file_has_one_user_at_a_time() {
    let (_directory, path) = directory();
    let file = StorageFile::open(&path).unwrap();
    let second = StorageFile::open(&path).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    assert!(second.to_string().contains("test.redb is in use"));
    drop(file);
    StorageFile::open(&path).unwrap();
}

#[test]
fn a_file_of_a_newer_format_is_refused_and_left_as_it_is() {
    let (_directory, path) = directory();
    made(&path);
    set_format(&path, 2);
    let newer = StorageFile::open(&path).unwrap_err();
    assert!(
        matches!(
            newer,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{newer}"
    );
    assert!(newer.to_string().contains("test.redb has format 2"));
    set_format(&path, 1);
    assert_eq!(StorageFile::open(&path).unwrap().load().unwrap().len(), 2);
}

fn set_format(path: &Path, format: u8) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&[u8], &[u8]>::new("relay-storage");
    transaction
        .open_table(table)
        .unwrap()
        .insert(&b"format"[..], &[format][..])
        .unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_truncated_file_says_so_wherever_it_is_cut_and_is_left_as_it_is() {
    let (_directory, path) = directory();
    made(&path);
    let whole = fs::read(&path).unwrap();
    let end = whole.len();
    for length in [
        0,
        1,
        8,
        9,
        63,
        64,
        320,
        511,
        512,
        4095,
        4096,
        8192,
        65_536,
        end / 2,
        end - 4096,
        end - 1,
    ] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = StorageFile::open(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("test.redb"), "{length}: {text}");
        match error {
            OpenError::Damaged { .. } => {}
            OpenError::Foreign { .. } if (1..9).contains(&length) => {}
            other => panic!("{length}: {other}"),
        }
        assert!(
            fs::read(&path).unwrap() == whole[..length],
            "cut at {length}, it was written to"
        );
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(StorageFile::open(&path).unwrap().load().unwrap().len(), 2);
}

#[test]
fn a_damaged_file_is_found_out_or_gives_what_was_stored() {
    let (_directory, path) = directory();
    made(&path);
    let whole = fs::read(&path).unwrap();
    let records = |path| StorageFile::open(path).map(|mut file| file.load());
    let good = records(&path).unwrap().unwrap();
    let known = |record: &Record| {
        good.iter().any(|good| {
            (&good.table, &good.key, &good.value) == (&record.table, &record.key, &record.value)
        })
    };
    let mut refused = 0;
    for at in (0..whole.len()).step_by(8191) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, &damaged).unwrap();
        match records(&path) {
            Ok(Ok(records)) => {
                assert!(records.iter().all(known) && records.len() == 2, "at {at}");
            }
            Ok(Err(_)) | Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
}

#[test]
fn other_files_are_not_touched() {
    let (directory, path) = directory();
    fs::write(&path, "Dear diary, today I had cheese.").unwrap();
    let text = StorageFile::open(&path).unwrap_err();
    assert!(matches!(text, OpenError::Foreign { .. }), "{text}");
    assert_eq!(fs::read(&path).unwrap(), b"Dear diary, today I had cheese.");

    let other = directory.path().join("other.redb");
    let database = redb::Database::create(&other).unwrap();
    drop(database);
    let database = StorageFile::open(&other).unwrap_err();
    assert!(matches!(database, OpenError::Foreign { .. }), "{database}");

    let itself = StorageFile::open(directory.path()).unwrap_err();
    assert!(matches!(itself, OpenError::Foreign { .. }), "{itself}");
}

#[test]
fn a_missing_directory_and_a_file_that_may_only_be_read_say_so() {
    let (directory, path) = directory();
    let missing = StorageFile::open(directory.path().join("no/such.redb")).unwrap_err();
    assert!(missing.to_string().contains("no/such.redb"), "{missing}");
    made(&path);
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    let read_only = StorageFile::open(&path).unwrap_err();
    assert!(
        matches!(read_only, OpenError::ReadOnly { .. }),
        "{read_only}"
    );
}

#[test]
fn a_file_that_is_made_leaves_nothing_else_behind_and_is_nobody_elses_to_read() {
    let (directory, path) = directory();
    made(&path);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    }
}

/// Names the file for the child below.
const CHILD: &str = "RELAY_STORAGE_TEST_FILE";

/// Stores for ever, two records a batch, and says which batches were stored; only as a child of the next test.
#[test]
fn child_that_stores_until_it_is_killed() {
    let Some(path) = env::var_os(CHILD) else {
        return;
    };
    let mut file = StorageFile::open(path).unwrap();
    let start = file.load().unwrap().len();
    for number in start.. {
        let (left, right) = (format!("left {number}"), format!("right {number}"));
        let value = vec![0; number % 7 * 1500];
        let writes = vec![put("t", &left, value.clone()), put("t", &right, value)];
        let say = move |result: Result<(), _>| {
            result.unwrap();
            println!("stored {number}");
        };
        file.store(writes, Box::new(say));
        if number % 5 == 0 {
            // Now and then alone, mostly together.
            store(&mut file, vec![]).unwrap();
        }
    }
}

#[test]
fn whenever_the_process_is_killed_what_was_answered_is_there() {
    let (_directory, path) = directory();
    let mut answered = Vec::new();
    for round in 0..12 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "child_that_stores_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stored = lines.map_while(Result::ok).filter_map(|line| {
            let (_, number) = line.rsplit_once("stored ")?;
            number.parse::<usize>().ok()
        });
        answered.extend(stored.by_ref().take(1 + 17 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it was killed, and nobody had read yet.
        answered.extend(stored);
        let records = StorageFile::open(&path).unwrap().load().unwrap();
        let has = |key: &str| records.iter().any(|record| record.key == key);
        for number in &answered {
            let there = has(&format!("left {number}")) && has(&format!("right {number}"));
            assert!(there, "batch {number} is lost in round {round}");
        }
        let half = records.iter().filter(|record| {
            let key = std::str::from_utf8(&record.key).unwrap();
            let (side, number) = key.split_once(' ').unwrap();
            let other = if side == "left" { "right" } else { "left" };
            !has(&format!("{other} {number}"))
        });
        assert_eq!(half.count(), 0, "half a batch is there");
    }
    assert!(answered.len() > 1000);
}

#[test]
fn ages_follow_a_clock_that_was_set_and_are_never_negative() {
    let (_directory, path) = directory();
    made(&path);
    let year = 365 * 24 * 60 * 60 * 1000;
    let now = stored_at(&path, |stored| stored);
    for (moved, ages) in [
        // Since it was stored, the clock was set back by a year, or forward.
        (now + year, 0..3600),
        (now - year, year / 1000..year / 1000 + 3600),
        (u64::MAX, 0..3600),
    ] {
        stored_at(&path, |_| moved);
        let records = StorageFile::open(&path).unwrap().load().unwrap();
        assert_eq!(records.len(), 2);
        for record in records {
            assert!(ages.contains(&record.age.as_secs()), "{:?}", record.age);
        }
    }
}

/// Changes when the records were stored, in milliseconds since 1970; what the last of them said before.
fn stored_at(path: &Path, change: impl Fn(u64) -> u64) -> u64 {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut before = 0;
    for name in ["t", "u"] {
        let definition = redb::TableDefinition::<&[u8], &[u8]>::new(name);
        let mut table = transaction.open_table(definition).unwrap();
        let records: Vec<(Vec<u8>, Vec<u8>)> = redb::ReadableTable::iter(&table)
            .unwrap()
            .map(|entry| {
                let (key, value) = entry.unwrap();
                (key.value().to_vec(), value.value().to_vec())
            })
            .collect();
        for (key, mut value) in records {
            let (time, _) = value.split_first_chunk_mut().unwrap();
            before = u64::from_be_bytes(*time);
            *time = change(before).to_be_bytes();
            table.insert(&*key, &*value).unwrap();
        }
    }
    transaction.commit().unwrap();
    before
}
