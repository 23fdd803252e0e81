//! JSON, one field a line.

use serde::de::IgnoredAny;

/// The same JSON with line breaks and indentation; none where it is no JSON object or array.
///
/// Everything else stays as the peer wrote it: the order of fields, those given twice, every digit of a number.
pub(super) fn pretty(text: &str) -> Option<String> {
    if !text.trim_start().starts_with(['{', '['])
        || serde_json::from_str::<IgnoredAny>(text).is_err()
    {
        return None;
    }
    let mut pretty = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                pretty.push('"');
                while let Some(character) = characters.next() {
                    pretty.push(character);
                    match character {
                        '\\' => pretty.extend(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                pretty.push(character);
                while characters
                    .next_if(|next| next.is_ascii_whitespace())
                    .is_some()
                {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    pretty.push(end);
                } else {
                    depth += 1;
                    break_line(&mut pretty, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                break_line(&mut pretty, depth);
                pretty.push(character);
            }
            ',' => {
                pretty.push(',');
                break_line(&mut pretty, depth);
            }
            ':' => pretty.push_str(": "),
            _ if character.is_ascii_whitespace() => {}
            _ => pretty.push(character),
        }
    }
    Some(pretty)
}

fn break_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_gets_a_line_and_nothing_else_changes() {
        let text = r#"{"b":1.10e400, "a" : ["x,\"{]", {}, [ ]],"b":{"c":null}}"#;
        let expected = r#"{
  "b": 1.10e400,
  "a": [
    "x,\"{]",
    {},
    []
  ],
  "b": {
    "c": null
  }
}"#;
        assert_eq!(pretty(text).unwrap(), expected);
        assert_eq!(pretty(expected).unwrap(), expected);
    }

    #[test]
    fn what_is_no_object_or_array_stays_alone() {
        for text in ["", "12", "\"x\"", "{\"a\":", "[1] 2", "{a}", "hello"] {
            assert_eq!(pretty(text), None, "{text}");
        }
    }
}
