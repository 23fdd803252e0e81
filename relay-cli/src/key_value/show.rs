//! What is printed of keys and values.

use super::print;
use crate::printable::printable;
use base64::{Engine, engine::general_purpose::STANDARD};
use relay_proto::kv::{client::Range, wire::Notification};
use serde::Serialize;
use std::str;

/// A value, with a line end behind it unless it is wanted raw.
pub(super) fn value(value: &[u8], raw: bool) {
    if raw {
        print(value);
    } else {
        print(&[value, b"\n"].concat());
    }
}

/// A line.
pub(super) fn line(text: &str) {
    print(format!("{text}\n").as_bytes());
}

/// Keys with their values, and a word if there are more.
pub(super) fn range(range: &Range, json: bool) {
    for record in &range.records {
        let value = Some(&*record.value);
        line(&if json {
            Object::new(&record.key, value).to_json()
        } else {
            columns(&record.key, value)
        });
    }
    if range.truncated {
        match range.records.last() {
            Some(last) => eprintln!("there are more: go on behind {:?}", printable(&last.key)),
            None => eprintln!("there are more"),
        }
    }
}

/// A change.
pub(super) fn change(change: &Notification, json: bool) {
    let value = change.value.as_deref();
    line(&if json {
        let mut object = Object::new(&change.key, value);
        object.timestamp = change.timestamp;
        object.sequence = change.sequence;
        object.to_json()
    } else {
        columns(&change.key, value)
    });
}

/// Key and value with a tab between them, each on one line; a key that is gone stands alone.
fn columns(key: &str, value: Option<&[u8]>) -> String {
    let escaped = |text: &str| printable(&text.replace('\t', "\\t"));
    match value {
        Some(value) => format!(
            "{}\t{}",
            escaped(key),
            escaped(&String::from_utf8_lossy(value))
        ),
        None => escaped(key),
    }
}

/// What a program reads.
#[derive(Serialize)]
struct Object<'a> {
    key: &'a str,
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
}

impl<'a> Object<'a> {
    fn new(key: &'a str, value: Option<&[u8]>) -> Self {
        let (value, encoding) = match value.map(|value| (value, str::from_utf8(value))) {
            None => (None, None),
            Some((_, Ok(text))) => (Some(text.to_owned()), None),
            Some((bytes, Err(_))) => (Some(STANDARD.encode(bytes)), Some("base64")),
        };
        Self {
            key,
            value,
            encoding,
            timestamp: None,
            sequence: None,
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers can be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        assert_eq!(columns("a", Some(b"one")), "a\tone");
        assert_eq!(
            columns("a\tb", Some(b"1\n2\x1b[2J")),
            "a\\tb\t1\\n2\\u{1b}[2J"
        );
        assert_eq!(columns("gone", None), "gone");
    }

    #[test]
    fn json_tells_bytes_from_text_and_gone_from_empty() {
        let json = |value| Object::new("k", value).to_json();
        assert_eq!(json(Some(b"v")), r#"{"key":"k","value":"v"}"#);
        assert_eq!(json(Some(b"")), r#"{"key":"k","value":""}"#);
        assert_eq!(json(None), r#"{"key":"k","value":null}"#);
        assert_eq!(
            json(Some(b"\xff")),
            r#"{"key":"k","value":"/w==","encoding":"base64"}"#
        );
    }
}
