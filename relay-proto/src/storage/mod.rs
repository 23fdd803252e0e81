//! Records that outlive the process: what a machine asks to be stored, and who stores it.
//!
//! A machine that must not forget asks for [`Action::Store`](crate::Action::Store) and goes on only after
//! [`Input::Stored`](crate::Input::Stored). What was stored is handed to the constructor of the next machine, as
//! [`Record`]s. A driver passes batches on to a [`Storage`]; `relay-storage` is one on disk.
//!
//! A record is a small key and a value in a named table. Its machine chooses all three and is the only one to understand them;
//! the storage adds how old it is, since a machine's clock knows no yesterday.

pub(crate) mod encoding;
mod recorder;

pub(crate) use recorder::Recorder;

use alloc::{boxed::Box, string::String, vec::Vec};
use bytes::Bytes;
use core::{fmt, time::Duration};

/// Names one batch of writes for as long as the machine lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub(crate) u64);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One change of a record.
///
/// `Debug` shows the table and lengths, never content.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a storage that ignored a write would lose it"
)]
pub enum Write {
    /// Makes the record be this, whether it was there before or not.
    Put {
        /// In which table.
        table: &'static str,
        /// Under which key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Makes the record be gone, whether it was there before or not.
    Delete {
        /// From which table.
        table: &'static str,
        /// Under which key.
        key: Bytes,
    },
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { table, key, value } => {
                let (key, value) = (key.len(), value.len());
                write!(f, "Put({table}, key of {key} bytes, {value} bytes)")
            }
            Self::Delete { table, key } => write!(f, "Delete({table}, key of {} bytes)", key.len()),
        }
    }
}

/// A record that was stored before.
///
/// `Debug` shows the table, lengths and age, never content.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "any storage must make them")]
pub struct Record {
    /// In which table it is.
    pub table: String,
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// How long ago it was put; zero where the clock was set back since.
    pub age: Duration,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("table", &self.table)
            .field("key", &format_args!("{} bytes", self.key.len()))
            .field("value", &format_args!("{} bytes", self.value.len()))
            .field("age", &self.age)
            .finish()
    }
}

/// Told once whether a batch is stored.
pub type OnStored = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// Keeps one machine's records, on disk or wherever they outlive the process. For those who write a driver or a storage.
///
/// Dropping it may wait until everything it was given is stored.
pub trait Storage: Send + 'static {
    /// All records there are, in the order of table and key. Called once, before the machine is made; may wait for the disk.
    ///
    /// # Errors
    ///
    /// Where they cannot be read.
    fn load(&mut self) -> Result<Vec<Record>, StorageError>;

    /// Stores a batch, whole or not at all, and then tells. Does not wait.
    ///
    /// `on_stored` is called exactly once, on any thread, and batches in the order they were given. "Stored" means that
    /// the records are there after the power has failed.
    fn store(&mut self, writes: Vec<Write>, on_stored: OnStored);
}

/// Why a batch was not stored. Nothing of it was, and what was stored before is untouched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no room. It goes on as soon as there is.
    #[error("no room left to store it: {detail}")]
    Full {
        /// Where, and what to do.
        detail: String,
    },
    /// The storage does not work.
    #[error("it cannot be stored: {detail}")]
    Failed {
        /// Where, and what was wrong.
        detail: String,
    },
    /// The machine's driver was given no storage.
    #[error("it cannot be stored, since this machine was started without a storage")]
    Absent,
}

/// Why stored records are of no use to a machine. They are left as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// They are another machine's.
    #[error(
        "there are records of {table:?}, which this is not the storage for; use the file it was written for, or a new one"
    )]
    Foreign {
        /// The table that is not known.
        table: String,
    },
    /// A later release has written them.
    #[error(
        "a record of {table:?} has format {version}, newer than the {known} this release knows; use the release that wrote it, or a later one"
    )]
    Newer {
        /// The record's table.
        table: &'static str,
        /// The record's format.
        version: u8,
        /// The newest format that is understood.
        known: u8,
    },
    /// They are not what was written.
    #[error("the record {key} of {table:?} is damaged: {problem}")]
    Damaged {
        /// The record's table.
        table: &'static str,
        /// The record's key in hexadecimal digits.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// They could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
