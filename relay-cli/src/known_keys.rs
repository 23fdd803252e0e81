//! The keys that let clients in.

use crate::keys::{self, DIGEST, KeyError};
use relay_proto::{kv::service::KeyDigest, mail::wire::ApiKey};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fmt::Write,
    path::{Path, PathBuf},
    sync::RwLock,
};

/// A key's SHA-256 in hexadecimal: enough to know the key again, and nothing that lets anybody in. As an API key it is compared
/// in the same time wherever it differs, and never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownKey(ApiKey);

impl KnownKey {
    fn of(key: &ApiKey) -> Self {
        let digest = Sha256::digest(key.expose());
        let hex = digest.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self(ApiKey::new(hex))
    }

    /// A line of a key file: the key, or its digest.
    fn from_line(line: &str) -> Option<Self> {
        let Some(digest) = line.strip_prefix(DIGEST) else {
            return Some(Self::of(&ApiKey::new(line)));
        };
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| Self(ApiKey::new(digest.to_ascii_lowercase())))
    }

    /// The digest as the bytes it is.
    fn digest(&self) -> KeyDigest {
        let mut bytes = [0; 32];
        let hex = self.0.expose().as_bytes().chunks(2);
        for (byte, digits) in bytes.iter_mut().zip(hex) {
            let digits = str::from_utf8(digits).expect("the digest is in hexadecimal");
            *byte = u8::from_str_radix(digits, 16).expect("the digest is in hexadecimal");
        }
        KeyDigest::from_bytes(bytes)
    }

    /// Whose key it is: the same over restarts, and nothing the key could be found from, since keys are long and random.
    pub(crate) fn account(&self) -> String {
        self.0.expose()[..32].to_owned()
    }
}

/// What has come of reading the keys again.
pub(crate) struct Reloaded {
    /// How many keys there are.
    pub(crate) keys: usize,
    /// The accounts whose keys were taken away.
    pub(crate) revoked: BTreeSet<String>,
}

/// The keys a relay knows, and where they come from.
#[derive(Debug)]
pub(crate) struct KnownKeys {
    given: Vec<KnownKey>,
    file: Option<PathBuf>,
    known: RwLock<Vec<KnownKey>>,
}

impl KnownKeys {
    /// The keys in the settings and those in this file.
    ///
    /// # Errors
    ///
    /// Where one of the keys, or the file, is of no use.
    pub(crate) fn new(given: &[ApiKey], file: Option<PathBuf>) -> Result<Self, KeyError> {
        given.iter().try_for_each(keys::check)?;
        let keys = Self {
            given: given.iter().map(KnownKey::of).collect(),
            file,
            known: RwLock::default(),
        };
        keys.reload()?;
        Ok(keys)
    }

    /// Whether there is no key at all, so that nobody could come in.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.read().is_ok_and(|known| known.is_empty())
    }

    /// Reads the file again, and says whose keys are no longer among them.
    ///
    /// # Errors
    ///
    /// Where the file is of no use; then the keys are those of before.
    pub(crate) fn reload(&self) -> Result<Reloaded, KeyError> {
        let mut known = self.given.clone();
        if let Some(path) = &self.file {
            known.extend(read(path)?);
        }
        let mut current = self
            .known
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut revoked: BTreeSet<String> = current.iter().map(KnownKey::account).collect();
        for key in &known {
            revoked.remove(&key.account());
        }
        let keys = known.len();
        *current = known;
        Ok(Reloaded { keys, revoked })
    }

    /// The digests of the keys.
    pub(crate) fn digests(&self) -> Vec<KeyDigest> {
        let known = self
            .known
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        known.iter().map(KnownKey::digest).collect()
    }

    /// The key among those that are known. All are compared, so that the time taken says nothing about them.
    pub(crate) fn find(&self, key: &ApiKey) -> Option<KnownKey> {
        let presented = KnownKey::of(key);
        let known = self
            .known
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let same = known.iter().filter(|known| **known == presented).count();
        (same > 0).then_some(presented)
    }
}

fn read(path: &Path) -> Result<Vec<KnownKey>, KeyError> {
    let lines = keys::lines(path)?;
    let known = lines.into_iter().map(|(line, text)| {
        KnownKey::from_line(&text).ok_or_else(|| KeyError::NoDigest {
            path: path.display().to_string(),
            line,
        })
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write};

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn knows(keys: &KnownKeys, key: &str) -> bool {
        keys.find(&ApiKey::new(key)).is_some()
    }

    #[test]
    fn an_account_is_the_same_for_the_same_key_and_does_not_show_it() {
        let account = |key| KnownKey::of(&ApiKey::new(key)).account();
        assert_eq!(account("abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(account("abc"), account("abd"));
    }

    #[test]
    fn a_digest_lets_its_key_in_and_is_no_key_itself() {
        let file = file(&format!("# of abc\nsha256:{}\n", ABC.to_uppercase()));
        let keys = KnownKeys::new(&[ApiKey::new("one")], Some(file.path().to_owned())).unwrap();
        assert!(knows(&keys, "abc") && knows(&keys, "one"));
        assert!(!knows(&keys, ABC) && !knows(&keys, &format!("sha256:{ABC}")));
        assert!(!format!("{keys:?}").contains("ba7816"));
        let plain = KnownKeys::new(&[ApiKey::new("abc")], None).unwrap();
        let account = |keys: &KnownKeys| keys.find(&ApiKey::new("abc")).unwrap().account();
        assert_eq!(account(&keys), account(&plain), "deliveries stay known");
    }

    #[test]
    fn what_is_no_digest_is_named_by_its_line_and_not_shown() {
        let file = file(&format!("first\nsha256:{}x\n", &ABC[1..]));
        let error = KnownKeys::new(&[], Some(file.path().to_owned())).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(":2: "), "{error}");
        assert!(!error.contains("a7816"), "{error}");
    }

    #[test]
    fn a_file_that_is_of_no_use_leaves_the_keys_of_before() {
        let file = file("old\n");
        let keys = KnownKeys::new(&[], Some(file.path().to_owned())).unwrap();
        fs::write(file.path(), "new\n").unwrap();
        assert!(knows(&keys, "old"));
        let reloaded = keys.reload().unwrap();
        let old = KnownKey::of(&ApiKey::new("old")).account();
        assert_eq!((reloaded.keys, reloaded.revoked), (1, [old].into()));
        assert!(keys.reload().unwrap().revoked.is_empty());
        assert!(knows(&keys, "new") && !knows(&keys, "old"));
        for useless in ["", "two words\n", "sha256:abc\n"] {
            fs::write(file.path(), useless).unwrap();
            assert!(keys.reload().is_err());
            assert!(knows(&keys, "new"));
        }
    }
}
