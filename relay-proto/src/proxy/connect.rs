//! The dialogue with a proxy: one request, one answer, and the connection is a tunnel (RFC 9110, section 9.3.6).

use super::Proxy;
use crate::{
    WebSocketUrl,
    http::{
        Fields,
        head::{self, HeadError, HeadReader},
    },
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use bytes::Bytes;
use core::fmt;

/// The longest reason phrase repeated in an error, in bytes.
const MAX_REASON: usize = 100;

/// A proxy that was asked for a tunnel and has not yet answered.
pub struct Connect {
    request: Bytes,
    has_credentials: bool,
    answer: HeadReader,
}

/// What the bytes received so far mean.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would hang"
)]
pub enum Answer {
    /// The answer is not whole: read on.
    Incomplete(Connect),
    /// The connection is a tunnel to the server from here on.
    Established {
        /// What came behind the answer: the first bytes from the server.
        early: Bytes,
    },
}

impl Connect {
    /// Asks `proxy` for a tunnel to the host and port of `server`.
    pub fn new(server: &WebSocketUrl, proxy: &Proxy) -> Self {
        let (host, port) = (server.host(), server.port());
        let target = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = proxy.authorization() {
            request.push_str("Proxy-Authorization: ");
            request.push_str(authorization);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        Self {
            request: request.into(),
            has_credentials: proxy.authorization().is_some(),
            answer: HeadReader::default(),
        }
    }

    /// What is to be sent before anything else.
    pub const fn request(&self) -> &Bytes {
        &self.request
    }

    /// Takes what the proxy has sent, cut anywhere.
    ///
    /// # Errors
    ///
    /// Where the proxy refuses, or what answers is no proxy. The connection is of no use then.
    pub fn handle_bytes(mut self, bytes: &[u8]) -> Result<Answer, ConnectError> {
        self.answer.push(bytes);
        let Some(answer) = head::final_head(&mut self.answer)? else {
            return Ok(Answer::Incomplete(self));
        };
        match answer.status() {
            // Whatever it says of a body: there is none (RFC 9110, section 9.3.6).
            200..=299 => Ok(Answer::Established {
                early: self.answer.take_rest().freeze(),
            }),
            407 => Err(unauthorized(answer.fields(), self.has_credentials)),
            status => {
                let reason = answer.reason();
                let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
                Err(ConnectError::Refused {
                    status,
                    reason: reason.to_owned(),
                })
            }
        }
    }

    /// What it means that the proxy has ended the connection.
    pub fn handle_end(self) -> ConnectError {
        ConnectError::Ended
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("request", &self.request.len())
            .field("received", &self.answer.len())
            .finish_non_exhaustive()
    }
}

/// Why a 407 was given (RFC 9110, sections 11.7 and 15.5.8).
fn unauthorized(fields: &Fields, has_credentials: bool) -> ConnectError {
    let mut schemes: Vec<&str> = Vec::new();
    for value in fields.get_all("Proxy-Authenticate") {
        let value = str::from_utf8(value).unwrap_or_default();
        for part in value.split(',') {
            // A part that is no challenge is a parameter of the one before.
            let scheme = part.split_whitespace().next().unwrap_or_default();
            let is_token = scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if is_token && !scheme.is_empty() && !schemes.contains(&scheme) {
                schemes.push(scheme);
            }
        }
    }
    let offers_basic = schemes
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case("Basic"));
    if !schemes.is_empty() && !offers_basic {
        let mut offered = schemes.join(", ");
        offered.truncate(offered.floor_char_boundary(MAX_REASON));
        return ConnectError::Scheme { offered };
    }
    match has_credentials {
        true => ConnectError::CredentialsRefused,
        false => ConnectError::CredentialsMissing,
    }
}

/// Why there is no tunnel. The subject of each sentence is the proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// It answered with a status that is no success, and not 407 either.
    #[error("{} (HTTP status {status}{}{reason})", meaning(*status), if reason.is_empty() { "" } else { " " })]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The reason phrase; may be empty.
        reason: String,
    },
    /// It wants credentials, and was given none.
    #[error(
        "demands a user name and a password: give them in its URL, as in http://user:password@host:port"
    )]
    CredentialsMissing,
    /// It does not know these credentials.
    #[error("does not accept the user name and password in its URL")]
    CredentialsRefused,
    /// It wants credentials in another way.
    #[error("demands authentication by {offered}; only Basic is supported")]
    Scheme {
        /// What it offers, as it calls it.
        offered: String,
    },
    /// What answers does not speak HTTP/1.
    #[error("does not answer in HTTP; is it a proxy, and is http:// or https:// in its URL right?")]
    NotHttp,
    /// The answer is longer than an answer can be.
    #[error("answers with too many or too long headers; is it a proxy?")]
    TooLong,
    /// It ended the connection before its answer was whole.
    #[error(
        "ended the connection without an answer; is it a proxy, and does it allow this server?"
    )]
    Ended,
    /// It did not answer while the driver was patient.
    #[error("does not answer in time; can it reach this server?")]
    Silent,
}

impl From<HeadError> for ConnectError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::NotHttp => Self::NotHttp,
            HeadError::TooLong => Self::TooLong,
        }
    }
}

/// What a proxy says with a status.
const fn meaning(status: u16) -> &'static str {
    match status {
        401 | 403 | 451 => "does not allow connections to this server",
        400 | 404 | 405 | 501 => "is none that connects to servers, or to this one",
        502..=504 => "cannot reach this server",
        _ => "refuses to connect to this server",
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
