//! What a server answers.

use super::{Fields, head};
use alloc::{borrow::ToOwned, format, string::String};
use bytes::Bytes;
use core::fmt;

/// A response (RFC 9110, section 3.4), body included.
///
/// `Debug` shows the status, names of fields and the body's length: bodies carry tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    reason: String,
    fields: Fields,
    body: Bytes,
}

impl Response {
    /// A response of this status code without fields and body; its reason phrase is the usual one.
    ///
    /// One that is no final code, below 200 or above 599, is sent as 500.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            reason: usual_reason(status).to_owned(),
            fields: Fields::default(),
            body: Bytes::new(),
        }
    }

    /// A response of this status code whose body is this JSON text.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status)
            .with_field("Content-Type", "application/json")
            .with_body(body)
    }

    /// The same with one more field. Line ends and zero bytes in `value` become spaces.
    #[must_use]
    pub fn with_field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push(name, value);
        self
    }

    /// The same with a body. Its length is written by whoever sends the response.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The status code (RFC 9110, section 15).
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, for people; may be empty.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The fields.
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The body; empty where there is none.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The response as it is sent to a request of this method, at the end of the connection: with `Connection: close`, the
    /// length of the body, and no other field that would say the like. `HEAD` gets no body, and no request gets one with a status
    /// that has none (RFC 9110, sections 9.3.2 and 15.3.5).
    pub fn to_bytes(&self, method: &str) -> Bytes {
        // What is no final status would leave the client waiting for one.
        let other = Self::new(500);
        let sent = match self.status {
            200..=599 => self,
            _ => &other,
        };
        let (length, body) = match sent.status {
            204 | 304 => (String::new(), &[][..]),
            _ => {
                let length = format!("Content-Length: {}\r\n", sent.body.len());
                let body = match method {
                    "HEAD" => &[],
                    _ => &sent.body[..],
                };
                (length, body)
            }
        };
        head::write(
            &format!("HTTP/1.1 {} {}", sent.status, sent.reason),
            &format!("Connection: close\r\n{length}"),
            &sent.fields,
            body,
        )
    }

    /// The head of a response that was received.
    pub(super) fn received(status: u16, reason: &str, fields: Fields) -> Self {
        Self {
            status,
            reason: reason.trim().to_owned(),
            fields,
            body: Bytes::new(),
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("fields", &self.fields)
            .field("body", &self.body.len())
            .finish()
    }
}

/// The phrase that RFC 9110, section 15, and RFC 6585 give a status code, for those that services of ours use.
const fn usual_reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "",
    }
}
