//! Why a file cannot be opened, and why a batch could not be stored.

use redb::{DatabaseError, StorageError as RedbError};
use relay_proto::storage::StorageError;
use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// Why a file cannot be opened. Nothing in it was overwritten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The operating system does not give it: no such directory, no permission, a disk that fails.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// There is no room to open it, or to make it.
    #[error("no room left on the disk of {}; make some and try again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It may only be read.
    #[error("{} may only be read; make it writable, or name another file", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Somebody has it open.
    #[error("{} is in use, by another process or another part of this one; end that, or name another file", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is not a file of this program; name another one, which need not exist yet", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later release has made it.
    #[error("{} has format {found}, newer than the {known} this release knows; use the release that made it, or a later one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: u8,
        /// The newest format that is understood.
        known: u8,
    },
    /// It is cut short, or something has changed it.
    #[error("{} is damaged: {detail}; put back a copy, or keep it aside and name another file", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full { path }
            }
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            // What the database says of a file that ends too early.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => {
                let detail = source.to_string();
                Self::Damaged { path, detail }
            }
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn database(path: &Path, error: DatabaseError) -> Self {
        let owned = path.to_owned();
        match error {
            DatabaseError::Storage(RedbError::Io(error)) => Self::io(path, error),
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                Self::Locked { path: owned }
            }
            // Only much older versions of redb made such files, and this program never used them.
            DatabaseError::UpgradeRequired(_) => Self::Foreign { path: owned },
            error => Self::damaged(path, error),
        }
    }

    pub(crate) fn damaged(path: &Path, detail: impl ToString) -> Self {
        let (path, detail) = (path.to_owned(), detail.to_string());
        Self::Damaged { path, detail }
    }
}

/// What the machine is told when its batch could not be stored.
pub(crate) fn not_stored(path: &Path, error: &redb::Error) -> StorageError {
    let path = path.display();
    match error {
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
            ) =>
        {
            let detail = format!("the disk of {path} is full ({error}); make room there");
            StorageError::Full { detail }
        }
        error => {
            let detail = format!("{path}: {error}");
            StorageError::Failed { detail }
        }
    }
}

pub(crate) fn not_opened(error: &OpenError) -> StorageError {
    let detail = error.to_string();
    match error {
        OpenError::Full { .. } => StorageError::Full { detail },
        _ => StorageError::Failed { detail },
    }
}
