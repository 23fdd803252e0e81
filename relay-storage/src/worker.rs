//! The thread that writes.

use crate::{
    error::not_stored,
    file::{Opener, Table, reopened, since_1970},
};
use redb::{Database, Durability};
use relay_proto::storage::{OnStored, StorageError, Write};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

/// The most bytes of values in one transaction, besides what its last batch has: enough to make the wait for the disk cheap
/// for each, little enough to answer the first of many large messages soon.
const GROUP: usize = 8 << 20;

type Batch = (Vec<Write>, OnStored);

pub(crate) struct Worker {
    batches: Option<Sender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(path: PathBuf, database: Database, opener: Opener) -> io::Result<Self> {
        let (batches, waiting) = mpsc::channel();
        let writer = Writer {
            path,
            database: Some(database),
            opener,
        };
        let thread = thread::Builder::new()
            .name("relay-storage".to_owned())
            .spawn(move || writer.run(&waiting))?;
        Ok(Self {
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    pub(crate) fn store(&self, writes: Vec<Write>, on_stored: OnStored) {
        let batches = self.batches.as_ref();
        let batches = batches.expect("the sender is there until the worker is dropped");
        if let Err(mpsc::SendError((_, on_stored))) = batches.send((writes, on_stored)) {
            let detail = "the thread that writes has ended".to_owned();
            on_stored(Err(StorageError::Failed { detail }));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The thread ends when it has written what is left.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // It catches its own panics.
            let _ = thread.join();
        }
    }
}

struct Writer {
    path: PathBuf,
    /// None: closed after a failure, since nothing is certain then but what is found when it is opened anew.
    database: Option<Database>,
    opener: Opener,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Batch>) {
        while let Ok(first) = waiting.recv() {
            let mut bytes = size(&first);
            let mut group = vec![first];
            while bytes < GROUP
                && let Ok(next) = waiting.try_recv()
            {
                bytes += size(&next);
                group.push(next);
            }
            let (writes, tell): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let result = self.write(&writes);
            for on_stored in tell {
                let result = result.clone();
                // What others do with the news must not end the writing.
                let _ = catch_unwind(AssertUnwindSafe(move || on_stored(result)));
            }
        }
    }

    fn write(&mut self, batches: &[Vec<Write>]) -> Result<(), StorageError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => reopened(&mut self.opener)?,
        };
        let writes = batches.iter().flatten();
        let committed = catch_unwind(AssertUnwindSafe(|| commit(&database, writes)));
        match committed {
            Ok(Ok(())) => {
                self.database = Some(database);
                Ok(())
            }
            Ok(Err(error)) => Err(not_stored(&self.path, &error)),
            Err(_) => {
                let path = self.path.display();
                let detail = format!("{path}: the database broke off; see what it said");
                Err(StorageError::Failed { detail })
            }
        }
    }
}

fn commit<'a>(
    database: &Database,
    writes: impl Iterator<Item = &'a Write>,
) -> Result<(), redb::Error> {
    let now = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    for write in writes {
        match write {
            Write::Put { table, key, value } => {
                let mut table = transaction.open_table(Table::new(table))?;
                let mut place = table.insert_reserve(&**key, size_of::<u64>() + value.len())?;
                let (time, rest) = place.as_mut().split_at_mut(size_of::<u64>());
                time.copy_from_slice(&now.to_be_bytes());
                rest.copy_from_slice(value);
            }
            Write::Delete { table, key } => {
                transaction.open_table(Table::new(table))?.remove(&**key)?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn size((writes, _): &Batch) -> usize {
    let length = |write: &Write| match write {
        Write::Put { value, .. } => value.len(),
        Write::Delete { .. } => 0,
    };
    writes.iter().map(length).sum()
}
