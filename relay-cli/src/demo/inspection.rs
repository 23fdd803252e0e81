//! What lies in the mailbox at the end, compared with what was to arrive.

use super::{
    letters::LETTERS,
    story::{say, size},
};
use crate::failure::Failure;
use bytes::Bytes;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Lists the messages in all mailboxes under `root`.
///
/// # Errors
///
/// Where one is missing, damaged, there twice, or not expected, or something unfinished was left behind.
pub(super) fn inspect(root: &Path, contents: &[Bytes]) -> Result<(), Failure> {
    let mut found = Vec::new();
    for path in files(root).map_err(Failure::running)? {
        let message = fs::read(&path).map_err(Failure::running)?;
        let place = path.strip_prefix(root).unwrap_or(&path).display();
        let is_whole = |content: &Bytes| message.ends_with(content);
        let Some(number) = contents.iter().position(is_whole) else {
            return Err(Failure::running(format_args!(
                "{place} is not a message that was sent"
            )));
        };
        let length = size(message.len() as u64);
        say(format_args!(
            "  {place}  {length:>8}  “{}”",
            LETTERS[number].subject
        ));
        found.push((place.to_string(), number));
    }
    for (number, letter) in LETTERS.iter().enumerate() {
        for person in letter.delivered_to {
            let maildir = maildir(person);
            let arrived = |(place, found): &(String, usize)| {
                *found == number && Path::new(place).starts_with(&maildir)
            };
            let Some(index) = found.iter().position(arrived) else {
                return Err(Failure::running(format_args!(
                    "“{}” has not reached {person}",
                    letter.subject
                )));
            };
            found.swap_remove(index);
        }
    }
    match found.first() {
        None => Ok(()),
        Some((place, _)) => Err(Failure::running(format_args!(
            "{place} should not be there"
        ))),
    }
}

fn maildir(person: &str) -> PathBuf {
    let (local_part, domain) = person.split_once('@').unwrap_or((person, ""));
    [domain, local_part, "new"].iter().collect()
}

/// All files under a directory, by name.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}
