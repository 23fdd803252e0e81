//! What others say, for a terminal that must not obey it.

/// The text without what would move the cursor, change colours or turn the direction of reading.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        if turns || character.is_control() && character != '\t' {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    shown
}
