//! The server's side of one exchange: a request comes in, whole.

use super::{
    Fields, Request, Response,
    body::{BodyError, BodyReader, Framing},
    head::{HeadError, HeadReader},
};
use alloc::format;
use bytes::{Bytes, BytesMut};
use core::fmt;

/// A connection on which a client has not yet said all it asks for.
///
/// A head has at most 16 KiB and 64 fields, a body at most 64 KiB. Whatever two readers could understand in two ways is refused
/// (RFC 9112, section 11.2).
#[derive(Default)]
pub struct RequestReader {
    part: Part,
}

enum Part {
    Head(HeadReader),
    Body {
        request: Request,
        body: BodyReader,
        received: BytesMut,
        /// The client waits to be told to send the body.
        waits: bool,
    },
}

impl Default for Part {
    fn default() -> Self {
        Self::Head(HeadReader::default())
    }
}

/// What the bytes received so far mean.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a server that ignored one would hang"
)]
pub enum Reading {
    /// The request is not whole: read on.
    Incomplete(RequestReader),
    /// The request is whole.
    Complete {
        /// The request.
        request: Request,
        /// What came behind it.
        rest: Bytes,
    },
}

impl RequestReader {
    /// A connection on which nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the client has sent, cut anywhere.
    ///
    /// # Errors
    ///
    /// Where this is no request, or one that is not served. After the answer the connection is of no use.
    pub fn handle_bytes(self, bytes: &[u8]) -> Result<Reading, RequestError> {
        match self.part {
            Part::Head(mut head) => {
                head.push(bytes);
                match head.next::<Request>()? {
                    None => Ok(Reading::Incomplete(Self {
                        part: Part::Head(head),
                    })),
                    Some(request) => Self::begin_body(request, head.take_rest()),
                }
            }
            Part::Body {
                request,
                body,
                mut received,
                waits,
            } => {
                received.extend_from_slice(bytes);
                Self::read_body(request, body, received, waits)
            }
        }
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110, section 10.1.1). Asked once, it is answered.
    pub fn take_wait(&mut self) -> bool {
        match &mut self.part {
            Part::Body { waits, .. } => core::mem::take(waits),
            Part::Head(_) => false,
        }
    }

    fn begin_body(request: Request, received: BytesMut) -> Result<Reading, RequestError> {
        let is_first = request.minor_version() == 0;
        let framing = Framing::of(request.fields())?;
        let hosts = request.fields().get_all("Host").count();
        if hosts > 1 || (hosts == 0 && !is_first) || (is_first && framing == Some(Framing::Chunked))
        {
            return Err(RequestError::Malformed);
        }
        let framing = framing.unwrap_or(Framing::Length(0));
        // Its bytes could be taken for what the WebSocket begins with.
        if request.is_upgrade() && framing != Framing::Length(0) {
            return Err(RequestError::Malformed);
        }
        let waits = !is_first && expects_continue(request.fields());
        Self::read_body(request, BodyReader::new(framing), received, waits)
    }

    fn read_body(
        request: Request,
        mut body: BodyReader,
        mut received: BytesMut,
        waits: bool,
    ) -> Result<Reading, RequestError> {
        if body.read(&mut received)? {
            let request = request.with_body(body.into_bytes());
            let rest = received.freeze();
            return Ok(Reading::Complete { request, rest });
        }
        let part = Part::Body {
            request,
            body,
            received,
            waits,
        };
        Ok(Reading::Incomplete(Self { part }))
    }
}

fn expects_continue(fields: &Fields) -> bool {
    fields.has_token("Expect", "100-continue")
}

impl fmt::Debug for RequestReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RequestReader");
        match &self.part {
            Part::Head(head) => shown.field("head", &head.len()),
            Part::Body { request, .. } => shown.field("request", request),
        };
        shown.finish_non_exhaustive()
    }
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not HTTP/1, or it can be understood in two ways.
    #[error("this is no well-formed HTTP/1 request")]
    Malformed,
    /// Its head is too large.
    #[error("the head of the request has more than 16 KiB or 64 fields")]
    HeadTooLarge,
    /// Its body is too large.
    #[error("the body of the request has more than 64 KiB")]
    BodyTooLarge,
    /// Its body is transferred in an unknown way.
    #[error("the only transfer coding that is known here is chunked")]
    UnknownCoding,
}

impl RequestError {
    /// What the client is told.
    pub fn to_response(self) -> Response {
        let status = match self {
            Self::Malformed => 400,
            Self::HeadTooLarge => 431,
            Self::BodyTooLarge => 413,
            Self::UnknownCoding => 501,
        };
        Response::json(status, format!(r#"{{"error":"{self}"}}"#))
    }
}

impl From<HeadError> for RequestError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::NotHttp => Self::Malformed,
            HeadError::TooLong => Self::HeadTooLarge,
        }
    }
}

impl From<BodyError> for RequestError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Malformed => Self::Malformed,
            BodyError::UnknownCoding => Self::UnknownCoding,
            BodyError::TooLarge => Self::BodyTooLarge,
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
