//! File names from addresses.

use std::fmt::Write;

/// The longest file name common file systems take, in bytes.
const LONGEST: usize = 255;

/// A file name for a domain or a local part: ASCII letters in lower case, and whatever could mean something to a file system
/// written as `%` and hexadecimal digits. Different texts have different names, but for case.
///
/// None where the name would be too long for a file system.
pub(super) fn file_name(text: &str) -> Option<String> {
    let mut name = String::new();
    for (index, character) in text.to_ascii_lowercase().chars().enumerate() {
        if is_harmless(character) && !(character == '.' && index == 0) {
            name.push(character);
        } else {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                write!(name, "%{byte:02x}").expect("a string takes all");
            }
        }
    }
    (1..=LONGEST).contains(&name.len()).then_some(name)
}

/// A dot is, behind the first letter: neither `.` nor `..` nor a hidden file comes of it.
fn is_harmless(character: char) -> bool {
    character.is_alphanumeric() || "+-._=".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component_and_visible() {
        let cases = [
            ("bob", "bob"),
            ("Bob.Smith+News", "bob.smith+news"),
            ("..", "%2e."),
            (".hidden", "%2ehidden"),
            ("../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd"),
            ("a\\b:c", "a%5cb%3ac"),
            ("100%", "100%25"),
            ("[192.0.2.1]", "%5b192.0.2.1%5d"),
            ("Jürgen", "jürgen"),
            ("two words", "two%20words"),
        ];
        for (text, name) in cases {
            assert_eq!(file_name(text).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_does_not_fit_has_no_name() {
        assert_eq!(file_name(""), None);
        assert!(file_name(&"a".repeat(255)).is_some());
        assert_eq!(file_name(&"a".repeat(256)), None);
        assert_eq!(file_name(&"/".repeat(86)), None);
    }
}
