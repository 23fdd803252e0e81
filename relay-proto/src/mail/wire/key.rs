//! The secret that identifies a client.

use crate::secret;
use alloc::string::String;
use core::fmt;

/// An API key.
///
/// `Debug` does not show it. Comparing two of the same length takes the same time wherever they differ.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for sending or hashing; not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        secret::is_same(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl Eq for ApiKey {}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}
