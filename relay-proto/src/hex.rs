//! 128 bits as text.

/// The bits that 32 lower-case hexadecimal digits stand for; none where the text is anything else.
pub(crate) fn bits(text: &str) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(is_digit) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}
