//! The heads of messages: a first line, fields, an empty line (RFC 9112, section 2.1).

use super::{Fields, Request, Response};
use alloc::{string::String, vec::Vec};
use bytes::{Bytes, BytesMut};
use core::mem;
use httparse::{EMPTY_HEADER, Error, Header, Status};

/// The longest head, in bytes. Browsers and proxies send a few KiB.
const MAX_HEAD: usize = 16 * 1024;

/// The most fields in it.
const MAX_FIELDS: usize = 64;

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// They are something else than HTTP/1.
    NotHttp,
    /// They are more than a head can be.
    TooLong,
}

/// A kind of head.
pub(crate) trait Head: Sized {
    /// The head at the beginning of these bytes and its length; none: they are but a part of one.
    ///
    /// # Errors
    ///
    /// Where no more bytes make a head of them.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError>;
}

/// The first bytes of a connection, of which more is to come.
#[derive(Default)]
pub(crate) struct HeadReader {
    received: BytesMut,
    /// How many bytes of heads were taken out in front of them.
    taken: usize,
}

impl HeadReader {
    /// Takes what has arrived, cut anywhere.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Takes out the next head once it is whole. All the heads of one reader together have the length of one.
    ///
    /// # Errors
    ///
    /// Where what has arrived is no head, and will not become one.
    pub(crate) fn next<H: Head>(&mut self) -> Result<Option<H>, HeadError> {
        let allowed = MAX_HEAD - self.taken;
        let end = self.received.len().min(allowed);
        match H::parse(&self.received[..end])? {
            Some((head, length)) => {
                let _ = self.received.split_to(length);
                self.taken += length;
                Ok(Some(head))
            }
            None if end < allowed => Ok(None),
            None => Err(HeadError::TooLong),
        }
    }

    /// What has arrived behind the heads.
    pub(crate) fn take_rest(&mut self) -> BytesMut {
        mem::take(&mut self.received)
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.received.len()
    }
}

/// What the parser says of bytes that are no whole head.
fn outcome(result: Result<Status<usize>, Error>) -> Result<Option<usize>, HeadError> {
    match result {
        Ok(Status::Complete(length)) => Ok(Some(length)),
        Ok(Status::Partial) => Ok(None),
        Err(Error::TooManyHeaders) => Err(HeadError::TooLong),
        Err(_) => Err(HeadError::NotHttp),
    }
}

fn fields(headers: &[Header<'_>]) -> Fields {
    let mut fields = Fields::default();
    for header in headers {
        fields.push_received(header.name, header.value);
    }
    fields
}

/// A request without its body, as it was received.
impl Head for Request {
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut headers = [EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut headers);
        let Some(length) = outcome(parsed.parse(bytes))? else {
            return Ok(None);
        };
        let (Some(method), Some(target), Some(minor_version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(HeadError::NotHttp);
        };
        let request = Self::received(method, target, minor_version, fields(parsed.headers));
        Ok(Some((request, length)))
    }
}

/// A response without its body, as it was received.
impl Head for Response {
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut headers = [EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut headers);
        let Some(length) = outcome(parsed.parse(bytes))? else {
            return Ok(None);
        };
        let Some(status) = parsed.code else {
            return Err(HeadError::NotHttp);
        };
        let reason = parsed.reason.unwrap_or_default();
        let response = Self::received(status, reason, fields(parsed.headers));
        Ok(Some((response, length)))
    }
}

/// The next response head that is no interim one (RFC 9110, section 15.2), once it is whole.
///
/// Nobody asks for another protocol here, so 101 is none.
///
/// # Errors
///
/// Where what has arrived is no head, and will not become one.
pub(crate) fn final_head(reader: &mut HeadReader) -> Result<Option<Response>, HeadError> {
    loop {
        match reader.next::<Response>()? {
            Some(response) if matches!(response.status(), 100 | 102..=199) => {}
            other => return Ok(other),
        }
    }
}

/// Writes a message: its first line, `framing`, its own fields but those that frame messages, and its body.
pub(super) fn write(first_line: &str, framing: &str, fields: &Fields, body: &[u8]) -> Bytes {
    let mut text = String::with_capacity(first_line.len() + framing.len() + 128);
    text.push_str(first_line);
    text.push_str("\r\n");
    text.push_str(framing);
    let mut bytes = Vec::from(text);
    let frames = |name: &str| {
        let framing = ["connection", "content-length", "transfer-encoding"];
        framing.iter().any(|own| own.eq_ignore_ascii_case(name))
    };
    for (name, value) in fields.iter().filter(|(name, _)| !frames(name)) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes.into()
}
