//! What a client asks for.

use super::{Fields, head};
use alloc::{borrow::ToOwned, format, string::String};
use bytes::Bytes;
use core::fmt;
use percent_encoding::percent_decode_str;

/// A request (RFC 9110, section 3.4), body included.
///
/// `Debug` shows method, path, names of fields and the body's length: queries, values and bodies carry keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    target: String,
    /// Of HTTP/1.
    minor_version: u8,
    fields: Fields,
    body: Bytes,
}

impl Request {
    /// A request without fields and body. `target` is a path, and a query behind a question mark where there is one.
    pub fn new(method: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
            minor_version: 1,
            fields: Fields::default(),
            body: Bytes::new(),
        }
    }

    /// The same with one more field. Line ends and zero bytes in `value` become spaces.
    #[must_use]
    pub fn with_field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push(name, value);
        self
    }

    /// The same with a body. Its length is written by whoever sends the request.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The method, case and all: `GET`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The target as it was sent (RFC 9112, section 3.2).
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path in the target, escapes and all: `/ws`.
    pub fn path(&self) -> &str {
        self.path_and_query().0
    }

    /// The parameters in the target's query, `name=value` with `&` between them, without their percent escapes.
    ///
    /// This is no form: a plus is a plus. What is no escape stays as it is, and what is no UTF-8 becomes U+FFFD.
    pub fn query(&self) -> impl Iterator<Item = (String, String)> {
        let query = self.path_and_query().1.unwrap_or_default();
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(move |parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                (decode(name), decode(value))
            })
    }

    /// The value of the first parameter of this name in the query.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query()
            .find_map(|(found, value)| (found == name).then_some(value))
    }

    /// The fields.
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The body; empty where there is none.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether it asks for a WebSocket in place of an answer: `Upgrade: websocket` (RFC 6455, section 4.2.1), and not in
    /// HTTP/1.0, which has no upgrades (RFC 9110, section 7.8).
    pub fn is_upgrade(&self) -> bool {
        self.minor_version > 0 && self.fields.has_token("Upgrade", "websocket")
    }

    /// The request as it is sent on a connection of its own: with `Connection: close`, the length of a body, and no other
    /// field that would say the like.
    ///
    /// Whatever cannot stand in a request's first line, in its method or its target, is left out of it; write it with percent
    /// escapes.
    pub fn to_bytes(&self) -> Bytes {
        let only_visible = |text: &str| {
            text.chars()
                .filter(char::is_ascii_graphic)
                .collect::<String>()
        };
        let (method, target) = (only_visible(&self.method), only_visible(&self.target));
        let length = match self.body.len() {
            // A method with content says so where there is none (RFC 9110, section 8.6).
            0 if !matches!(&*method, "POST" | "PUT" | "PATCH") => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        head::write(
            &format!("{method} {target} HTTP/1.1"),
            &format!("Connection: close\r\n{length}"),
            &self.fields,
            &self.body,
        )
    }

    /// The minor version of HTTP/1.
    pub(super) const fn minor_version(&self) -> u8 {
        self.minor_version
    }

    /// The head of a request that was received.
    pub(super) fn received(method: &str, target: &str, minor_version: u8, fields: Fields) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            minor_version,
            fields,
            body: Bytes::new(),
        }
    }

    fn path_and_query(&self) -> (&str, Option<&str>) {
        // A target may name the server, too (RFC 9112, section 3.2.2).
        let is_http = |scheme: &str| {
            ["http", "https"]
                .iter()
                .any(|own| own.eq_ignore_ascii_case(scheme))
        };
        let local = match self.target.split_once("://") {
            Some((scheme, rest)) if is_http(scheme) => match rest.find(['/', '?']) {
                Some(end) => &rest[end..],
                None => "/",
            },
            _ => &self.target,
        };
        match local.split_once('?') {
            Some(("", query)) => ("/", Some(query)),
            Some((path, query)) => (path, Some(query)),
            None => (local, None),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("fields", &self.fields)
            .field("body", &self.body.len())
            .finish()
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
