//! The client's side of one exchange: a request goes out, a response comes in.

use super::{
    Request, Response,
    body::{BodyError, BodyReader, Framing},
    head::{self, HeadError, HeadReader},
};
use bytes::BytesMut;
use core::fmt;

/// One request on a connection of its own, and its response (RFC 9112).
///
/// As pure as the machines, and below them: its owner sends [`to_bytes`](Request::to_bytes) of the request, hands over what
/// comes, and closes the connection once the response is there. A response's head has at most 16 KiB, interim ones included,
/// and 64 fields, its body at most 64 KiB.
///
/// ```
/// use relay_proto::http::{Exchange, Progress, Request};
///
/// let request = Request::new("GET", "/").with_field("Host", "relay.example");
/// let exchange = Exchange::new(&request);
/// let Progress::Incomplete(exchange) = exchange.handle_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")? else {
///     panic!("half a response");
/// };
/// let Progress::Complete(response) = exchange.handle_bytes(b"lo")? else {
///     panic!("a whole response");
/// };
/// assert_eq!((response.status(), &response.body()[..]), (200, &b"hello"[..]));
/// # Ok::<(), relay_proto::http::ExchangeError>(())
/// ```
pub struct Exchange {
    has_body: bool,
    part: Part,
}

enum Part {
    Head(HeadReader),
    Body {
        response: Response,
        body: BodyReader,
        received: BytesMut,
    },
}

/// What the bytes received so far mean.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an owner that ignored one would hang"
)]
pub enum Progress {
    /// The response is not whole: read on.
    Incomplete(Exchange),
    /// The response is whole, and the connection of no more use.
    Complete(Response),
}

impl Exchange {
    /// The exchange that begins with this request.
    pub fn new(request: &Request) -> Self {
        Self {
            has_body: request.method() != "HEAD",
            part: Part::Head(HeadReader::default()),
        }
    }

    /// Takes what the server has sent, cut anywhere.
    ///
    /// # Errors
    ///
    /// Where this is no response. The connection is of no use then.
    pub fn handle_bytes(mut self, bytes: &[u8]) -> Result<Progress, ExchangeError> {
        match self.part {
            Part::Head(mut reader) => {
                reader.push(bytes);
                let Some(response) = head::final_head(&mut reader)? else {
                    self.part = Part::Head(reader);
                    return Ok(Progress::Incomplete(self));
                };
                // What says nothing of its length goes on to the end (RFC 9112, section 6.3).
                let framing = match response.status() {
                    _ if !self.has_body => Framing::Length(0),
                    101 | 204 | 304 => Framing::Length(0),
                    _ => Framing::of(response.fields())?.unwrap_or(Framing::UntilEnd),
                };
                Self::read_body(response, BodyReader::new(framing), reader.take_rest())
            }
            Part::Body {
                response,
                body,
                mut received,
            } => {
                received.extend_from_slice(bytes);
                Self::read_body(response, body, received)
            }
        }
    }

    /// Takes note that the server has ended the connection.
    ///
    /// # Errors
    ///
    /// Where the response is not whole.
    pub fn handle_end(self) -> Result<Response, ExchangeError> {
        match self.part {
            Part::Body { response, body, .. } if body.may_end() => {
                Ok(response.with_body(body.into_bytes()))
            }
            _ => Err(ExchangeError::Ended),
        }
    }

    fn read_body(
        response: Response,
        mut body: BodyReader,
        mut received: BytesMut,
    ) -> Result<Progress, ExchangeError> {
        if body.read(&mut received)? {
            return Ok(Progress::Complete(response.with_body(body.into_bytes())));
        }
        let part = Part::Body {
            response,
            body,
            received,
        };
        // A body is read, so there may be one.
        let has_body = true;
        Ok(Progress::Incomplete(Self { has_body, part }))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Exchange");
        match &self.part {
            Part::Head(head) => shown.field("head", &head.len()),
            Part::Body { response, .. } => shown.field("response", response),
        };
        shown.finish_non_exhaustive()
    }
}

/// Why there is no response. The subject of each sentence is the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// What answers does not speak HTTP/1.
    #[error("does not answer in HTTP; is http:// or https:// right?")]
    NotHttp,
    /// The response is larger than one can be.
    #[error("answers with more than is expected of it: 16 KiB of fields, and 64 KiB behind them")]
    TooLarge,
    /// It ended the connection before its response was whole.
    #[error("ended the connection before its answer was whole")]
    Ended,
}

impl From<HeadError> for ExchangeError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::NotHttp => Self::NotHttp,
            HeadError::TooLong => Self::TooLarge,
        }
    }
}

impl From<BodyError> for ExchangeError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Malformed | BodyError::UnknownCoding => Self::NotHttp,
            BodyError::TooLarge => Self::TooLarge,
        }
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
