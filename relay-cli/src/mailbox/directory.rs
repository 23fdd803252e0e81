//! Which addresses have a mailbox, and where it is.

use super::name::file_name;
use relay_proto::{
    mail::relay::RecipientPattern,
    smtp::{Address, ForwardPath, Reply, reply},
};
use std::{
    fs::DirBuilder,
    io,
    path::{Path, PathBuf},
};

/// The domain whose mailboxes are those of this server itself, for `<Postmaster>`.
const LOCAL_DOMAIN: &str = "localhost";

/// All mailboxes under one directory.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    /// Empty: any address has a mailbox.
    allowed: Vec<RecipientPattern>,
}

impl Directory {
    /// Mailboxes under `root`, which is created where it does not exist, for the addresses in `allowed`; for
    /// any address where that is empty.
    ///
    /// # Errors
    ///
    /// Where there is no such directory and none can be created, or nothing can be written into it.
    pub(crate) fn open(root: &Path, allowed: Vec<RecipientPattern>) -> io::Result<Self> {
        create(root)?;
        // Finds out now, and not with the first message, whether it can be written to.
        tempfile::tempfile_in(root)?;
        let root = root.to_owned();
        Ok(Self { root, allowed })
    }

    /// The mailbox of a recipient.
    ///
    /// The case of ASCII letters makes no difference, in local parts either, as is usual. `<Postmaster>` has a mailbox
    /// always, and so has the postmaster of every domain that has any (RFC 5321, section 4.5.1).
    ///
    /// # Errors
    ///
    /// The reply for a recipient without one.
    pub(crate) fn maildir(&self, recipient: &ForwardPath) -> Result<Maildir, Reply> {
        let (local_part, domain) = match recipient.address() {
            None => ("postmaster", LOCAL_DOMAIN),
            Some(address) if self.allows(address) => (address.local_part(), address.domain()),
            Some(_) => return Err(reply(550, "5.1.1", "No such mailbox here")),
        };
        match (file_name(domain), file_name(local_part)) {
            (Some(domain), Some(local_part)) => {
                Ok(Maildir(self.root.join(domain).join(local_part)))
            }
            _ => Err(reply(553, "5.1.3", "Address too long for a mailbox")),
        }
    }

    fn allows(&self, address: &Address) -> bool {
        let is_postmaster = address.local_part().eq_ignore_ascii_case("postmaster");
        let hosts = |pattern: &RecipientPattern| match pattern {
            RecipientPattern::Address(allowed) => address.has_domain(allowed.domain()),
            RecipientPattern::Domain(domain) => domain.has(address),
        };
        let mut allowed = self.allowed.iter();
        self.allowed.is_empty()
            || allowed.any(|pattern| pattern.has(address) || is_postmaster && hosts(pattern))
    }
}

/// The mailbox of one address: a directory with `tmp`, `new` and `cur`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Maildir(PathBuf);

impl Maildir {
    /// Makes it, durably, where it does not exist.
    pub(super) fn create(&self) -> io::Result<()> {
        for part in ["tmp", "new", "cur"] {
            create(&self.0.join(part))?;
        }
        Ok(())
    }

    /// Where a message is written.
    pub(super) fn unfinished(&self, name: &str) -> PathBuf {
        self.0.join("tmp").join(name)
    }

    /// Where a message is once it is complete.
    pub(super) fn delivered(&self, name: &str) -> PathBuf {
        self.0.join("new").join(name)
    }

    /// Makes what was put into `new` survive a power failure.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_directory(&self.0.join("new"))
    }
}

/// Creates a directory and those above it, each durably.
fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            create(parent)?;
            parent
        }
        _ => Path::new("."),
    };
    match private_directory().create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Where it is one, somebody else was faster.
            let other = || io::ErrorKind::NotADirectory.into();
            path.is_dir().then_some(()).ok_or_else(other)
        }
        Err(error) => Err(error),
        Ok(()) => sync_directory(parent),
    }
}

/// Mail is nobody's business but its owner's.
fn private_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// Elsewhere directories can't be opened as files, and the file system keeps names by itself.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(allowed: &[&str]) -> (tempfile::TempDir, Directory) {
        let root = tempfile::tempdir().unwrap();
        let allowed = allowed.iter().map(|rule| rule.parse().unwrap()).collect();
        let directory = Directory::open(root.path(), allowed).unwrap();
        (root, directory)
    }

    fn to(address: &str) -> ForwardPath {
        ForwardPath::Mailbox(address.parse().unwrap())
    }

    #[test]
    fn only_the_allowed_have_a_mailbox() {
        let (root, directory) = directory(&["Bob@example.org", "example.net"]);
        let under = |path| Ok(Maildir(root.path().join(path)));
        let find = |address| directory.maildir(&to(address));
        assert_eq!(find("bob@EXAMPLE.org"), under("example.org/bob"));
        assert_eq!(find("Anybody@Example.Net"), under("example.net/anybody"));
        assert_eq!(
            find("\"a/../b\"@example.net"),
            under("example.net/a%2f..%2fb")
        );
        for stranger in ["eve@example.org", "bob@example.com", "bob@sub.example.net"] {
            let reply = find(stranger).unwrap_err();
            assert_eq!(reply.to_string(), "550 5.1.1 No such mailbox here");
        }
    }

    #[test]
    fn the_postmaster_has_a_mailbox_always() {
        let (root, directory) = directory(&["bob@example.org"]);
        assert_eq!(
            directory.maildir(&ForwardPath::Postmaster),
            Ok(Maildir(root.path().join("localhost/postmaster")))
        );
        assert!(directory.maildir(&to("Postmaster@example.org")).is_ok());
        assert!(directory.maildir(&to("postmaster@example.com")).is_err());
    }

    #[test]
    fn without_a_list_everybody_has_a_mailbox() {
        let (_root, directory) = directory(&[]);
        assert!(directory.maildir(&to("a@[192.0.2.1]")).is_ok());
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Directory::open(file.path(), Vec::new()).is_err());
        assert!(Directory::open(&file.path().join("mail"), Vec::new()).is_err());
    }
}
