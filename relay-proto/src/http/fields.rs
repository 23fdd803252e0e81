//! What stands between the first line of a message and its body.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::{fmt, str};

/// The fields of a request or a response (RFC 9110, section 5), in the order they were given.
///
/// Names are found whatever their case. `Debug` shows names and no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

#[derive(Clone, PartialEq, Eq)]
struct Field {
    name: String,
    /// Opaque but for what each field says of it; mostly ASCII (RFC 9110, section 5.5).
    value: Vec<u8>,
}

impl Fields {
    /// The value of the first field of this name; none where there is none, or where it is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.get_all(name).next()?).ok()
    }

    /// The values of all fields of this name.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_named = move |field: &&Field| field.name.eq_ignore_ascii_case(name);
        self.0
            .iter()
            .filter(is_named)
            .map(|field| field.value.as_slice())
    }

    /// Whether one of the comma-separated members of the fields of this name is `token`, whatever its case (RFC 9110, section 5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|member| member.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Each name and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|field| (field.name.as_str(), field.value.as_slice()))
    }

    /// Adds a field that came in a message.
    pub(super) fn push_received(&mut self, name: &str, value: &[u8]) {
        self.0.push(Field {
            name: name.to_owned(),
            value: value.to_owned(),
        });
    }

    /// Adds a field that is to be sent. What would end it early counts as a space (RFC 9110, section 5.5).
    pub(super) fn push(&mut self, name: &'static str, value: &str) {
        let replace = |byte: u8| match byte {
            b'\r' | b'\n' | 0 => b' ',
            other => other,
        };
        self.0.push(Field {
            name: name.to_owned(),
            value: value.bytes().map(replace).collect(),
        });
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|field| &field.name))
            .finish()
    }
}
