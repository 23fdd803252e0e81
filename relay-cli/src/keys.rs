//! API keys from files and options.

use relay_proto::mail::wire::ApiKey;
use serde::Deserialize;
use std::{convert::Infallible, fmt, fs, io, path::Path, str::FromStr};

/// What a line of a relay's key file begins with where it holds a key's SHA-256.
pub(crate) const DIGEST: &str = "sha256:";

/// A text that must not show.
///
/// Any text will do: clap and serde repeat what they refuse, so it is looked at where it is used.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// Why there is no usable key. The key itself is never in the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot read the API key file {path}: {error}")]
    Unreadable { path: String, error: io::Error },
    #[error("no API key in {path}; it has one a line")]
    NoneIn { path: String },
    #[error("an API key is empty; check --api-key and RELAY_API_KEY")]
    Empty,
    #[error("an API key has spaces or control characters in it; check --api-key and RELAY_API_KEY")]
    Unprintable,
    #[error("{path}:{line}: an API key has no spaces or control characters in it")]
    UnprintableLine { path: String, line: usize },
    #[error("{path}:{line}: no digest of an API key; one is sha256: and 64 hexadecimal digits")]
    NoDigest { path: String, line: usize },
    #[error("{path}:{line}: a digest lets nobody in; a client needs the API key itself")]
    OnlyDigest { path: String, line: usize },
}

/// Checks a key that did not come from a file.
pub(crate) fn check(key: &ApiKey) -> Result<(), KeyError> {
    match key.expose() {
        "" => Err(KeyError::Empty),
        text if is_printable(text) => Ok(()),
        _ => Err(KeyError::Unprintable),
    }
}

/// Reads the keys in a file: one a line, less empty lines and lines that start with `#`. There is one at least.
pub(crate) fn read(path: &Path) -> Result<Vec<ApiKey>, KeyError> {
    let keys = lines(path)?.into_iter().map(|(line, key)| {
        let path = || path.display().to_string();
        if key.starts_with(DIGEST) {
            return Err(KeyError::OnlyDigest { path: path(), line });
        }
        Ok(ApiKey::new(key))
    });
    keys.collect()
}

/// The lines of a key file that count, with their numbers. There is one at least, and each is one printable word.
pub(crate) fn lines(path: &Path) -> Result<Vec<(usize, String)>, KeyError> {
    let shown = || path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| KeyError::Unreadable {
        path: shown(),
        error,
    })?;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !is_printable(line) {
            return Err(KeyError::UnprintableLine {
                path: shown(),
                line: index + 1,
            });
        }
        lines.push((index + 1, line.to_owned()));
    }
    if lines.is_empty() {
        return Err(KeyError::NoneIn { path: shown() });
    }
    Ok(lines)
}

fn is_printable(text: &str) -> bool {
    !text
        .chars()
        .any(|character| character.is_control() || character.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_file_has_a_key_a_line() {
        let file = file("# production\nfirst\n\n  second # not a comment \r\n");
        let error = read(file.path()).unwrap_err().to_string();
        assert!(error.ends_with(":4: an API key has no spaces or control characters in it"));
        assert!(!error.contains("second"), "{error}");
    }

    #[test]
    fn comments_and_empty_lines_are_no_keys() {
        let keys = read(file("# production\n\nfirst\r\n\tsecond\n").path()).unwrap();
        assert_eq!(keys, [ApiKey::new("first"), ApiKey::new("second")]);
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let file = file("# nothing yet\n");
        let error = read(file.path()).unwrap_err().to_string();
        assert!(
            error.contains(&file.path().display().to_string()),
            "{error}"
        );
        let error = read(Path::new("no/such/keys")).unwrap_err().to_string();
        assert!(error.contains("no/such/keys"), "{error}");
    }

    #[test]
    fn a_client_is_told_that_a_digest_is_not_enough() {
        let file = file(&format!("sha256:{}\n", "0".repeat(64)));
        let error = read(file.path()).unwrap_err().to_string();
        assert!(error.ends_with(":1: a digest lets nobody in; a client needs the API key itself"));
    }

    #[test]
    fn a_key_is_one_printable_word() {
        assert!(check(&ApiKey::new("k-1,2")).is_ok());
        assert!(check(&ApiKey::new("")).is_err());
        assert!(check(&ApiKey::new("two words")).is_err());
        assert!(check(&ApiKey::new("line\nend")).is_err());
    }
}
