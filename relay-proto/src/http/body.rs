//! The bodies of messages (RFC 9112, sections 6 and 7).

use super::Fields;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::str;

/// The longest body, in bytes: a token, a list of patterns, an error's explanation.
const MAX_BODY: usize = 64 * 1024;

/// The longest line in front of a chunk, in bytes, extensions included.
const MAX_CHUNK_LINE: usize = 256;

/// The longest trailer section, in bytes. Nobody reads it.
const MAX_TRAILERS: usize = 16 * 1024;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    UntilEnd,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Its framing is none, or can be understood in two ways.
    Malformed,
    /// It is transferred in a way that is not known here.
    UnknownCoding,
    /// It is larger than allowed.
    TooLarge,
}

impl Framing {
    /// What the fields of a message say of its body; none: nothing.
    ///
    /// Whatever two readers could understand in two ways is an error (RFC 9112, sections 6.1 and 6.3; section 11.2).
    ///
    /// # Errors
    ///
    /// As said, and where the body is too large.
    pub(super) fn of(fields: &Fields) -> Result<Option<Self>, BodyError> {
        let mut lengths = fields.get_all("Content-Length");
        let mut codings = fields.get_all("Transfer-Encoding");
        match (lengths.next(), codings.next()) {
            (None, None) => Ok(None),
            (Some(length), None) if lengths.next().is_none() => {
                let digits = str::from_utf8(length).map_err(|_| BodyError::Malformed)?;
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(BodyError::Malformed);
                }
                match digits.parse() {
                    Ok(length) if length <= MAX_BODY => Ok(Some(Self::Length(length))),
                    _ => Err(BodyError::TooLarge),
                }
            }
            (None, Some(coding)) if codings.next().is_none() => {
                if coding.eq_ignore_ascii_case(b"chunked") {
                    Ok(Some(Self::Chunked))
                } else {
                    Err(BodyError::UnknownCoding)
                }
            }
            _ => Err(BodyError::Malformed),
        }
    }
}

/// A body of which more is to come.
pub(super) struct BodyReader {
    state: State,
    body: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    Length { missing: usize },
    ChunkLine,
    Chunk { missing: usize },
    ChunkEnd,
    Trailers { seen: usize },
    UntilEnd,
    Over,
}

impl BodyReader {
    pub(super) const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(missing) => State::Length { missing },
            Framing::Chunked => State::ChunkLine,
            Framing::UntilEnd => State::UntilEnd,
        };
        Self {
            state,
            body: Vec::new(),
        }
    }

    /// Takes from `input` what belongs to the body; whether it is whole. What is left in `input` is to be there the next time, too.
    ///
    /// # Errors
    ///
    /// Where chunks are none, or the body is too large.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<bool, BodyError> {
        loop {
            self.state = match self.state {
                State::Over | State::Length { missing: 0 } => return Ok(true),
                State::Length { missing } => match self.take(input, missing)? {
                    0 => return Ok(false),
                    taken => State::Length {
                        missing: missing - taken,
                    },
                },
                State::UntilEnd => {
                    self.take(input, usize::MAX)?;
                    return Ok(false);
                }
                State::ChunkLine => match line(input, MAX_CHUNK_LINE)? {
                    None => return Ok(false),
                    Some(line) => match chunk_size(&line)? {
                        0 => State::Trailers { seen: 0 },
                        missing if missing > MAX_BODY - self.body.len() => {
                            return Err(BodyError::TooLarge);
                        }
                        missing => State::Chunk { missing },
                    },
                },
                State::Chunk { missing: 0 } => State::ChunkEnd,
                State::Chunk { missing } => match self.take(input, missing)? {
                    0 => return Ok(false),
                    taken => State::Chunk {
                        missing: missing - taken,
                    },
                },
                State::ChunkEnd => match line(input, 0)? {
                    None => return Ok(false),
                    Some(_) => State::ChunkLine,
                },
                State::Trailers { seen } => match line(input, MAX_TRAILERS - seen)? {
                    None => return Ok(false),
                    Some(line) if line.is_empty() => State::Over,
                    Some(line) => State::Trailers {
                        seen: seen + line.len(),
                    },
                },
            }
        }
    }

    /// Whether the end of the connection makes the body whole.
    pub(super) const fn may_end(&self) -> bool {
        matches!(self.state, State::UntilEnd | State::Over)
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.body.into()
    }

    /// Moves up to `most` bytes into the body; how many.
    fn take(&mut self, input: &mut BytesMut, most: usize) -> Result<usize, BodyError> {
        let taken = input.split_to(most.min(input.len()));
        if taken.len() > MAX_BODY - self.body.len() {
            return Err(BodyError::TooLarge);
        }
        self.body.extend_from_slice(&taken);
        Ok(taken.len())
    }
}

/// Takes out a line of up to `most` bytes, without its end; none: it is not whole.
fn line(input: &mut BytesMut, most: usize) -> Result<Option<BytesMut>, BodyError> {
    match memchr::memchr2(b'\r', b'\n', input) {
        Some(length) if length > most => Err(BodyError::Malformed),
        None if input.len() > most => Err(BodyError::Malformed),
        None => Ok(None),
        Some(length) => match &input[length..] {
            [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                let mut line = input.split_to(length + 2);
                line.truncate(length);
                Ok(Some(line))
            }
            _ => Err(BodyError::Malformed),
        },
    }
}

/// The size of a chunk, from the line in front of it (RFC 9112, section 7.1). Extensions say nothing.
fn chunk_size(line: &[u8]) -> Result<usize, BodyError> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // Whitespace is allowed in front of an extension, which some write without one.
    let digits = str::from_utf8(size.trim_ascii_end()).map_err(|_| BodyError::Malformed)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(BodyError::Malformed);
    }
    usize::from_str_radix(digits, 16).map_err(|_| BodyError::TooLarge)
}
