//! What a client asks for.

use super::Fields;
use alloc::{borrow::ToOwned, string::String};
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
    fields: Fields,
    body: Bytes,
}

impl Request {
    /// A request without fields and body. `target` is a path, and a query behind a question mark where there is one.
    pub fn new(method: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
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

    /// Whether it asks for a WebSocket in place of an answer: `Upgrade: websocket` (RFC 6455, section 4.2.1).
    pub fn is_upgrade(&self) -> bool {
        self.fields.has_token("Upgrade", "websocket")
    }

    /// Gives the request what was received of it.
    pub(super) fn received(method: &str, target: &str, fields: Fields, body: Bytes) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            fields,
            body,
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
