//! One message on its way into mailboxes: complete in all of them, or absent.

use super::directory::Maildir;
use jiff::{Timestamp, fmt::rfc2822};
use relay_proto::smtp::{ForwardPath, ReversePath};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// A message that is being written. Dropping it leaves nothing behind.
///
/// It lies in `tmp` of the last mailbox until it is complete, and is then linked into the others and moved into
/// that one: however many recipients there are, it is written and stored once.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// One at least, none twice.
    maildirs: Vec<Maildir>,
    name: String,
    unfinished: Unfinished,
    file: BufWriter<File>,
}

/// Removes the file it names.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a delivery it is no longer there; left over, it is what mail readers clean up in time.
        let _ = fs::remove_file(&self.0);
    }
}

impl Delivery {
    /// Begins a message for these mailboxes with the header lines of a final delivery (RFC 5321, section 4.4).
    ///
    /// `recipient` is named in the trace only where it is the only one, so that nobody learns of the others.
    /// # Errors
    ///
    /// Where the directories or the file cannot be made, or there is no mailbox.
    pub(crate) fn begin(
        reverse_path: &ReversePath,
        recipients: Vec<(ForwardPath, Maildir)>,
    ) -> io::Result<Self> {
        let only_recipient = match &*recipients {
            [(recipient, _)] => Some(recipient.clone()),
            _ => None,
        };
        let mut maildirs: Vec<_> = recipients.into_iter().map(|(_, maildir)| maildir).collect();
        maildirs.sort();
        maildirs.dedup();
        let last = maildirs.last().ok_or(io::ErrorKind::InvalidInput)?;
        for maildir in &maildirs {
            maildir.create()?;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a date for people, and a part of a name that is random besides"
        )]
        let now = Timestamp::now();
        let name = unique_name(now);
        let path = last.unfinished(&name);
        let mut file = BufWriter::new(private_file(&path)?);
        let unfinished = Unfinished(path);
        file.write_all(trace(reverse_path, only_recipient.as_ref(), &name, now).as_bytes())?;
        Ok(Self {
            maildirs,
            name,
            unfinished,
            file,
        })
    }

    /// Writes the next bytes of the message as they came: line ends stay CRLF.
    pub(crate) fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)
    }

    /// Completes the message. When this returns it is in all mailboxes and survives a power failure.
    ///
    /// # Errors
    ///
    /// Where that failed; the message is then in none of them.
    pub(crate) fn commit(mut self) -> io::Result<Vec<PathBuf>> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        let mut delivered = Vec::new();
        let outcome = self.place(&mut delivered);
        if let Err(error) = outcome {
            for path in delivered {
                let _ = fs::remove_file(path);
            }
            return Err(error);
        }
        Ok(delivered)
    }

    fn place(&self, delivered: &mut Vec<PathBuf>) -> io::Result<()> {
        for (index, maildir) in self.maildirs.iter().enumerate() {
            let path = maildir.delivered(&self.name);
            if index + 1 < self.maildirs.len() {
                fs::hard_link(&self.unfinished.0, &path)?;
            } else {
                fs::rename(&self.unfinished.0, &path)?;
            }
            delivered.push(path);
            maildir.sync()?;
        }
        Ok(())
    }
}

/// A new file that only its owner can read.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A file name no other delivery to these mailboxes has: time, process, and a number within it.
fn unique_name(now: Timestamp) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "{}.M{}P{}Q{count}.relay",
        now.as_second(),
        now.subsec_microsecond(),
        process::id()
    )
}

/// What a final delivery puts before a message. Addresses can hold no line end, so nothing else comes in with them.
fn trace(
    reverse_path: &ReversePath,
    recipient: Option<&ForwardPath>,
    name: &str,
    now: Timestamp,
) -> String {
    let date = rfc2822::to_string(&now.to_zoned(jiff::tz::TimeZone::UTC))
        .expect("the year has four digits");
    let (id, _) = name.rsplit_once('.').unwrap_or((name, ""));
    let recipient = recipient.map_or(String::new(), |path| format!("\r\n\tfor {path}"));
    format!(
        "Return-Path: {reverse_path}\r\nReceived: by localhost (relay mailbox) with ESMTP id {id}{recipient};\r\n\t{date}\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::Directory;

    fn begin(root: &Path, recipients: &[&str]) -> Delivery {
        let directory = Directory::open(root, Vec::new()).unwrap();
        let recipients = recipients.iter().map(|address| {
            let path = ForwardPath::Mailbox(address.parse().unwrap());
            let maildir = directory.maildir(&path).unwrap();
            (path, maildir)
        });
        let sender = ReversePath::Mailbox("alice@example.org".parse().unwrap());
        Delivery::begin(&sender, recipients.collect()).unwrap()
    }

    fn files(root: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.push(path);
            }
        }
        found
    }

    #[test]
    fn a_message_is_there_when_it_is_complete_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let mut delivery = begin(root.path(), &["bob@example.net"]);
        delivery.write(b"Subject: x\r\n\r\n").unwrap();
        delivery.write(b"Hello.\r\n").unwrap();
        let [unfinished] = &*files(root.path()) else {
            panic!("one file");
        };
        assert!(unfinished.starts_with(root.path().join("example.net/bob/tmp")));

        let [path] = &*delivery.commit().unwrap() else {
            panic!("one mailbox");
        };
        assert_eq!(files(root.path()), std::slice::from_ref(path));
        assert!(path.starts_with(root.path().join("example.net/bob/new")));
        let text = fs::read_to_string(path).unwrap();
        let (header, body) = text.split_once("Subject: x").unwrap();
        assert_eq!(body, "\r\n\r\nHello.\r\n");
        let lines: Vec<_> = header.split_terminator("\r\n").collect();
        assert_eq!(lines[0], "Return-Path: <alice@example.org>");
        assert!(lines[1].starts_with("Received: by localhost"), "{lines:?}");
        assert_eq!(lines[2], "\tfor <bob@example.net>;");
        assert!(lines[3].ends_with(" +0000"), "{lines:?}");
        assert_eq!(lines.len(), 4);
        assert!(root.path().join("example.net/bob/cur").is_dir());
    }

    #[test]
    fn a_message_given_up_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut delivery = begin(root.path(), &["bob@example.net", "carol@example.net"]);
        delivery.write(b"half").unwrap();
        drop(delivery);
        assert!(files(root.path()).is_empty());
    }

    #[test]
    fn several_mailboxes_share_one_file_and_its_trace_names_nobody() {
        let root = tempfile::tempdir().unwrap();
        let recipients = ["bob@example.net", "carol@example.com", "BOB@example.net"];
        let delivered = begin(root.path(), &recipients).commit().unwrap();
        assert_eq!(delivered.len(), 2);
        assert_eq!(files(root.path()).len(), 2);
        let [one, other] = [0, 1].map(|index| fs::read_to_string(&delivered[index]).unwrap());
        assert_eq!(one, other);
        assert!(!one.contains(" for "), "{one}");
    }

    #[test]
    fn a_delivery_that_fails_halfway_is_in_no_mailbox() {
        let root = tempfile::tempdir().unwrap();
        let delivery = begin(root.path(), &["bob@example.net", "carol@example.net"]);
        // The first mailbox gets its link, the second has lost its directory.
        fs::remove_dir(root.path().join("example.net/carol/new")).unwrap();
        assert!(delivery.commit().is_err());
        assert!(files(root.path()).is_empty());
    }

    #[test]
    fn names_differ_within_one_moment() {
        #[expect(clippy::disallowed_methods, reason = "any time will do")]
        let now = Timestamp::now();
        assert_ne!(unique_name(now), unique_name(now));
    }
}
