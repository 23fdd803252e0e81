//! Replies off the wire.

use alloc::{string::String, vec::Vec};

use bytes::{Buf, BytesMut};
use memchr::{memchr, memchr2};

use super::reply::{Code, MAX_LINES, Reply};

/// The longest line with its CRLF, in bytes: four times the 512 of RFC 5321 section 4.5.3.1.5, which real servers exceed.
const MAX_LINE: usize = 2_048;
/// The longest reply, in bytes: several times the longest EHLO reply or policy text seen, little enough for thousands of sessions.
const MAX_REPLY: usize = 64 * 1024;

/// What a server may not send as a reply. After it the server and the client no longer agree on where replies begin, so the
/// connection has to be given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// A line does not begin with a reply code followed by a space, a hyphen or the line's end.
    #[error("the server sent a line that is not an SMTP reply")]
    NotAReply,
    /// The lines of one reply have different codes.
    #[error("the server sent a reply whose lines begin with {first} and {other}")]
    CodesDiffer {
        /// The code of the first line.
        first: Code,
        /// The first code that differs.
        other: Code,
    },
    /// A line feed without a carriage return, or a carriage return without a line feed.
    #[error("the server sent a reply with a bare carriage return or line feed")]
    BareLineEnd,
    /// A NUL character.
    #[error("the server sent a reply with a NUL character")]
    Nul,
    /// A line of more than 2,048 bytes.
    #[error("the server sent a reply line of more than {MAX_LINE} bytes")]
    LineTooLong,
    /// A reply of more than 64 KiB or 128 lines.
    #[error("the server sent a reply of more than {MAX_REPLY} bytes or {MAX_LINES} lines")]
    TooLong,
}

/// Cuts a server's bytes into replies (RFC 5321 section 4.2), however they arrive.
///
/// Strict: lines end in CRLF, codes are `[2-5][0-5][0-9]` and equal on all lines of a reply. The text may hold any UTF-8; what
/// is not UTF-8 is replaced by U+FFFD, since servers do send other character sets in text that decides nothing.
#[derive(Debug, Default)]
pub struct ReplyParser {
    buffer: BytesMut,
    lines: Vec<String>,
    first: Option<Code>,
    bytes: usize,
    failed: Option<ReplyError>,
}

impl ReplyParser {
    /// A parser that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes of the server. After an error they are dropped. The owner takes all replies before it pushes more: what
    /// then stays buffered is at most one reply.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole reply, `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// What the server may not send; from then on always the same error.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance().inspect_err(|error| {
            self.failed = Some(*error);
            self.buffer.clear();
            self.lines.clear();
        })
    }

    /// Whether no byte waits: what was pushed was whole replies, and all were taken.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.lines.is_empty()
    }

    fn advance(&mut self) -> Result<Option<Reply>, ReplyError> {
        loop {
            let window = &self.buffer[..self.buffer.len().min(MAX_LINE)];
            let Some(line_feed) = memchr(b'\n', window) else {
                check_text(window.strip_suffix(b"\r").unwrap_or(window))?;
                return if window.len() == MAX_LINE {
                    Err(ReplyError::LineTooLong)
                } else {
                    Ok(None)
                };
            };
            let line = &window[..line_feed];
            check_text(line.strip_suffix(b"\r").unwrap_or(line))?;
            let line = line.strip_suffix(b"\r").ok_or(ReplyError::BareLineEnd)?;
            let (code, last, text) = parse_line(line)?;
            let first = *self.first.get_or_insert(code);
            if first != code {
                return Err(ReplyError::CodesDiffer { first, other: code });
            }
            self.lines.push(String::from_utf8_lossy(text).into_owned());
            self.bytes += line_feed + 1;
            if self.bytes > MAX_REPLY || self.lines.len() > MAX_LINES {
                return Err(ReplyError::TooLong);
            }
            self.buffer.advance(line_feed + 1);
            if last {
                let reply = Reply::from_lines(code, None, self.lines.iter().map(String::as_str));
                self.lines.clear();
                self.first = None;
                self.bytes = 0;
                return Ok(Some(reply));
            }
        }
    }
}

/// Names the first fault, so that it is the same one however the bytes arrive.
fn check_text(text: &[u8]) -> Result<(), ReplyError> {
    match memchr2(0, b'\r', text) {
        None => Ok(()),
        Some(at) if text[at] == 0 => Err(ReplyError::Nul),
        Some(_) => Err(ReplyError::BareLineEnd),
    }
}

/// The code, whether the line is the last of its reply, and the text. `250` alone is taken (RFC 5321 section 4.2 asks for it).
fn parse_line(line: &[u8]) -> Result<(Code, bool, &[u8]), ReplyError> {
    let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::NotAReply)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(ReplyError::NotAReply);
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    let code = Code::new(number).ok_or(ReplyError::NotAReply)?;
    match rest {
        [] => Ok((code, true, rest)),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        _ => Err(ReplyError::NotAReply),
    }
}

#[cfg(test)]
#[path = "reply_parser_tests.rs"]
mod tests;
