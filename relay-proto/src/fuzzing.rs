//! What must hold for every input, whatever it is: the bodies of the fuzz targets.
//!
//! They live here and not in `fuzz/`, so that they are compiled and run (on random inputs) with the tests.

use crate::WebSocketUrl;
use alloc::string::ToString;
use core::str;

/// A URL that parses is written as it was read, and has a host.
pub fn endpoint(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    if let Ok(url) = text.parse::<WebSocketUrl>() {
        assert_eq!(url.to_string(), text);
        assert!(!url.host().is_empty());
        assert_ne!(url.port(), 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn endpoint(input in "(wss?://)?[a-z0-9.:/@%?#\\[\\]-]{0,30}") {
            super::endpoint(input.as_bytes());
        }
    }
}
