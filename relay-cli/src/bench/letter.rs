//! The messages: each has a number, by which it is known where it arrives.

use bytes::Bytes;

/// The smallest message there is room for a header in, in bytes.
pub(crate) const SMALLEST: usize = 128;

const LINE: &[u8] = b"It is a truth universally acknowledged, that a single line in want of an\r\n";

/// A message (RFC 5322) of `size` bytes, [`SMALLEST`] at least, that says which it is.
pub(crate) fn letter(number: usize, size: usize) -> Bytes {
    let head = format!(
        "Message-ID: <{number:08}@bench>\r\nFrom: alice@example.org\r\nTo: bob@example.net\r\nSubject: bench\r\n\r\n"
    );
    let mut letter = Vec::with_capacity(size.max(SMALLEST));
    letter.extend_from_slice(head.as_bytes());
    let end = size.max(SMALLEST) - 2;
    while letter.len() < end {
        let room = end - letter.len();
        // No line ends in the middle of a line end.
        let piece = if room < LINE.len() {
            room.min(LINE.len() - 2)
        } else {
            LINE.len()
        };
        letter.extend_from_slice(&LINE[..piece]);
    }
    letter.extend_from_slice(b"\r\n");
    Bytes::from(letter)
}

/// Which message begins like this.
pub(crate) fn number(start: &[u8]) -> Option<usize> {
    let rest = start.strip_prefix(b"Message-ID: <")?;
    let digits = rest.split(|byte| *byte == b'@').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_its_size_and_its_number() {
        for size in [SMALLEST, 129, 200, 201, 202, 203, 1024, 100_000] {
            let letter = letter(4711, size);
            assert_eq!(letter.len(), size);
            assert!(letter.ends_with(b"\r\n") && !letter.ends_with(b"\r\n\r\n"));
            assert_eq!(number(&letter), Some(4711));
            let is_bare = |pair: &[u8]| (pair[0] == b'\r') != (pair[1] == b'\n');
            assert!(!letter.windows(2).any(is_bare), "{size}");
        }
        assert_eq!(number(b"Subject: other\r\n"), None);
    }
}
