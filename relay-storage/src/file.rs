//! Opening, and reading what is there.

use crate::{
    error::{OpenError, not_opened, not_stored},
    worker::Worker,
};
use bytes::Bytes;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use relay_proto::storage::{OnStored, Record, Storage, StorageError, Write};
use std::{
    fmt,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What all tables are.
pub(crate) type Table<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// The table of the file's own.
const OWN: &str = "relay-storage";

const FORMAT_KEY: &[u8] = b"format";

const FORMAT: u8 = 1;

/// What redb files begin with.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Memory for pages that are read or not yet written. Records are read once and mostly deleted soon, so more does not help.
const CACHE: usize = 16 << 20;

/// Makes the database anew after a failure.
pub(crate) type Opener = Box<dyn FnMut() -> Result<Database, OpenError> + Send>;

/// A file of records: a [`Storage`].
///
/// Dropping it waits until everything it was given is stored, and closes it.
pub struct StorageFile {
    path: PathBuf,
    state: State,
}

enum State {
    /// Nothing was stored yet.
    Open(Database, Opener),
    Writing(Worker),
    /// It could not be written from the beginning.
    Failed(StorageError),
}

impl StorageFile {
    /// Opens a file, or makes it where there is none. Checks all of it, which takes as long as reading it takes.
    ///
    /// # Errors
    ///
    /// Where it cannot be written, is in use, or is not what it should be. Nothing in it was overwritten then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        match fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => create(&path)?,
            Err(error) => return Err(OpenError::io(&path, error)),
        }
        let again = path.clone();
        Self::with_opener(path, Box::new(move || open_existing(&again)))
    }

    pub(crate) fn with_opener(path: PathBuf, mut opener: Opener) -> Result<Self, OpenError> {
        let state = State::Open(opener()?, opener);
        Ok(Self { path, state })
    }

    /// The file's path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Storage for StorageFile {
    fn load(&mut self) -> Result<Vec<Record>, StorageError> {
        match &self.state {
            State::Open(database, _) => {
                records(database).map_err(|error| not_stored(&self.path, &error))
            }
            State::Writing(_) => {
                let path = self.path.display();
                let detail = format!("{path}: a machine writes to it; open it anew to read it");
                Err(StorageError::Failed { detail })
            }
            State::Failed(error) => Err(error.clone()),
        }
    }

    fn store(&mut self, writes: Vec<Write>, on_stored: OnStored) {
        if let State::Open(..) = self.state {
            let detail = format!("{}: no thread to write it with", self.path.display());
            let failed = State::Failed(StorageError::Failed { detail });
            if let State::Open(database, opener) = std::mem::replace(&mut self.state, failed)
                && let Ok(worker) = Worker::start(self.path.clone(), database, opener)
            {
                self.state = State::Writing(worker);
            }
        }
        match &mut self.state {
            State::Writing(worker) => worker.store(writes, on_stored),
            State::Open(..) => unreachable!("it has just been taken"),
            State::Failed(error) => on_stored(Err(error.clone())),
        }
    }
}

impl fmt::Debug for StorageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Makes a file that is whole from the moment it has its name, and takes no other's.
fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::io(path, error);
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let unfinished = tempfile::Builder::new()
        .prefix(".unfinished-")
        .tempfile_in(directory)
        .map_err(failed)?;
    let made = Builder::new()
        .set_cache_size(CACHE)
        .create(unfinished.path());
    let database = made.map_err(|error| OpenError::database(path, error))?;
    write_format(&database).map_err(|error| match error {
        redb::Error::Io(error) => failed(error),
        error => OpenError::damaged(path, error),
    })?;
    let closed = database.close();
    closed.map_err(|error| OpenError::database(path, error))?;
    match unfinished.persist_noclobber(path) {
        Ok(file) => file.sync_all().map_err(failed)?,
        // Somebody else was faster, with a file as good.
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error.error)),
    }
    sync_directory(directory).map_err(failed)
}

/// Makes the file's name outlive a power failure.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(directory)?.sync_all()
    } else {
        Ok(())
    }
}

fn open_existing(path: &Path) -> Result<Database, OpenError> {
    let failed = |error| OpenError::io(path, error);
    let metadata = fs::metadata(path).map_err(failed)?;
    let foreign = || OpenError::Foreign {
        path: path.to_owned(),
    };
    if !metadata.is_file() {
        return Err(foreign());
    }
    let mut beginning = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAGIC.len() as u64)
        .read_to_end(&mut beginning)
        .map_err(failed)?;
    if beginning.is_empty() {
        return Err(OpenError::damaged(path, "it is empty"));
    }
    if beginning != MAGIC {
        return Err(foreign());
    }
    if metadata.permissions().readonly() {
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
        });
    }
    // The database panics at some damage where its own tests do not expect it.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = Builder::new()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(true)
            .open(path)
            .map_err(|error| OpenError::database(path, error))?;
        check_format(path, &database)?;
        Ok(database)
    }));
    opened.unwrap_or_else(|_| Err(OpenError::damaged(path, "its pages contradict each other")))
}

pub(crate) fn write_format(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction
        .open_table(Table::new(OWN))?
        .insert(FORMAT_KEY, [FORMAT].as_slice())?;
    transaction.commit()?;
    Ok(())
}

fn check_format(path: &Path, database: &Database) -> Result<(), OpenError> {
    let read = || -> Result<Option<Vec<u8>>, redb::Error> {
        let transaction = database.begin_read()?;
        let table = match transaction.open_table(Table::new(OWN)) {
            Ok(table) => table,
            Err(redb::TableError::Storage(error)) => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        Ok(table.get(FORMAT_KEY)?.map(|value| value.value().to_vec()))
    };
    let path = || path.to_owned();
    match read() {
        Ok(Some(value)) => match value[..] {
            [1..=FORMAT] => Ok(()),
            [found] if found > FORMAT => Err(OpenError::Newer {
                path: path(),
                found,
                known: FORMAT,
            }),
            _ => Err(OpenError::damaged(&path(), "its format has no number")),
        },
        Ok(None) => Err(OpenError::Foreign { path: path() }),
        Err(error) => Err(OpenError::damaged(&path(), error)),
    }
}

fn records(database: &Database) -> Result<Vec<Record>, redb::Error> {
    let now = since_1970();
    let transaction = database.begin_read()?;
    let mut names: Vec<String> = transaction
        .list_tables()?
        .map(|table| table.name().to_owned())
        .filter(|name| name != OWN)
        .collect();
    names.sort_unstable();
    let mut records = Vec::new();
    for name in names {
        let table = transaction.open_table(Table::new(&name))?;
        for entry in table.iter()? {
            let (key, value) = entry?;
            let Some((put, value)) = value.value().split_first_chunk() else {
                let detail = format!("a record of {name:?} has no time");
                return Err(redb::Error::Corrupted(detail));
            };
            records.push(Record {
                table: name.clone(),
                key: Bytes::copy_from_slice(key.value()),
                value: Bytes::copy_from_slice(value),
                age: now.saturating_sub(Duration::from_millis(u64::from_be_bytes(*put))),
            });
        }
    }
    Ok(records)
}

/// By the clock on the wall, since no other goes on from one process to the next. Where it is set, what was stored before seems older or
/// younger than it is: it is forgotten, or expires, sooner or later, and its owner says so.
#[expect(clippy::disallowed_methods, reason = "only ages come of it")]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// The machine's answer where the file could not be opened again.
pub(crate) fn reopened(opener: &mut Opener) -> Result<Database, StorageError> {
    opener().map_err(|error| not_opened(&error))
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod disk_tests;
