//! Keeps the records of [`relay_proto`]'s machines in a file, so that they outlive the process and the power.
//!
//! ```
//! use relay_proto::storage::{Storage, Write};
//! use relay_storage::StorageFile;
//! use std::sync::mpsc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("outbox.redb");
//! let mut file = StorageFile::open(&path)?;
//! let (tell, told) = mpsc::channel();
//! let put = Write::Put { table: "notes", key: "1".into(), value: "remember".into() };
//! file.store(vec![put], Box::new(move |result| drop(tell.send(result))));
//! told.recv()??;
//! drop(file);
//!
//! let records = StorageFile::open(&path)?.load()?;
//! assert_eq!(records[0].value, "remember");
//! # Ok(())
//! # }
//! ```
//!
//! Programs hand the file to a binding, which hands it to the machine: `Client::start_with_outbox`.
//! There is no runtime below: one thread writes, and whatever waits while the disk is at work is written together next,
//! so that many messages cost little more than one.
//!
//! # What is in the file
//!
//! A [redb](https://docs.rs/redb) database, version 4.5 or later. Every table has byte strings as keys and values.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `relay-storage` | `format` | one byte, the format's number: 1 |
//! | any other | the record's | when it was put, in milliseconds since 1970 as 8 bytes, the highest first; then the record's value |
//!
//! What the other tables mean is their machine's business. A format that is newer than this release is refused and left
//! as it is, and so is whatever else is not as it should be: see [`OpenError`].
//!
//! # What can be relied on
//!
//! - A batch that was answered as stored is there after a crash of the program and, as far as the disk keeps its word, of
//!   the power; one that was not answered is there whole or not at all.
//! - A full disk fails the batches that do not fit. What was stored before is untouched, and it goes on when there
//!   is room.
//! - The file belongs to one storage at a time, whatever the process.
//! - The file may keep room it once needed. A copy of it, made while nobody has it open, is a backup.

mod error;
mod file;
mod worker;

pub use error::OpenError;
pub use file::StorageFile;
