//! Whose keys are good, and what their holders may do.

use crate::pacing::Rate;
use alloc::string::String;
use core::fmt;
use sha2::{Digest, Sha256};

/// The SHA-256 digest of an API key: enough to recognise the key, and too little to use it.
///
/// A key must be long and random: what people think up is found by trying.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of this key.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The digest of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    /// The first bytes, which are enough to tell keys apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "KeyDigest({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// What the holder of a key may do. The default allows everything, in the one store that has no name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// What the key is called in events. No secret. Default: empty.
    pub name: String,
    /// Which store it is for. Stores share nothing: neither keys nor changes nor their numbers. Default: empty, the store that has no
    /// name.
    pub store: String,
    /// Whether it may only look. Default: it may change things.
    pub read_only: bool,
    /// How many calls a second, and how many at once after a pause. Default `None`: as many as the service manages.
    pub rate: Option<Rate>,
    /// The most links at once. Default `None`: its share of [`ServiceConfig::max_links`](super::ServiceConfig::max_links), eight
    /// times as many as it leaves.
    pub max_links: Option<usize>,
    /// The most bytes its store may hold, as [`ServiceConfig::max_store_bytes`](super::ServiceConfig::max_store_bytes) counts them.
    /// Default `None`: all there is room for.
    pub max_store_bytes: Option<usize>,
}

impl Policy {
    /// The default.
    pub const fn new() -> Self {
        Self {
            name: String::new(),
            store: String::new(),
            read_only: false,
            rate: None,
            max_links: None,
            max_store_bytes: None,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}
