//! Replies (RFC 5321 section 4.2) with enhanced status codes (RFC 3463, RFC 2034).

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use bytes::{BufMut, Bytes, BytesMut};

/// The longest text of one line, in bytes: with code, enhanced code and CRLF it stays within what [`super::ReplyParser`] takes.
const MAX_LINE_TEXT: usize = 2_000;
/// The most lines of a reply. EHLO replies, the longest in practice, have about twenty.
pub(super) const MAX_LINES: usize = 128;
/// The most text of a reply, in bytes, so that its wire form stays within what [`super::ReplyParser`] takes.
const MAX_TEXT: usize = 60 * 1024;

/// A reply code (RFC 5321 section 4.2.1): `[2-5][0-5][0-9]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code(u16);

impl Code {
    /// 220, the server is ready.
    pub const READY: Self = Self(220);
    /// 221, the server closes the connection.
    pub const CLOSING: Self = Self(221);
    /// 250, the command is done.
    pub const OK: Self = Self(250);
    /// 252, the address was not verified.
    pub const NOT_VERIFIED: Self = Self(252);
    /// 334, the server waits for the next message of a SASL mechanism.
    pub const CHALLENGE: Self = Self(334);
    /// 354, the server waits for content.
    pub const START_CONTENT: Self = Self(354);
    /// 421, the server closes the connection for now.
    pub const NOT_AVAILABLE: Self = Self(421);

    /// The code with this number, or `None` if no reply can carry it.
    pub const fn new(number: u16) -> Option<Self> {
        if number >= 200 && number <= 559 && number / 10 % 10 <= 5 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number, 200 to 559.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// The first digit: 2, 3, 4 or 5.
    pub const fn class(self) -> u8 {
        (self.0 / 100) as u8
    }

    /// Whether the command was accepted (2yz) or the server asks for more (3yz).
    pub const fn is_positive(self) -> bool {
        self.class() < 4
    }

    /// Whether the command may succeed later as it is (4yz).
    pub const fn is_transient(self) -> bool {
        self.class() == 4
    }

    /// Whether the command will not succeed as it is (5yz).
    pub const fn is_permanent(self) -> bool {
        self.class() == 5
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An enhanced status code (RFC 3463), such as 5.7.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EnhancedCode {
    /// 2 success, 4 transient failure, 5 permanent failure.
    pub class: u8,
    /// What the code is about, 0 to 999: 1 addresses, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 policy.
    pub subject: u16,
    /// The precise condition within the subject, 0 to 999.
    pub detail: u16,
}

impl EnhancedCode {
    /// The code `class.subject.detail`.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }

    /// Whether a reply with this code may carry `self`: the classes agree and all numbers are in range.
    fn suits(self, code: Code) -> bool {
        self.class == code.class() && self.class != 3 && self.subject <= 999 && self.detail <= 999
    }

    /// Takes an enhanced code off the front of a reply's text.
    fn split(text: &str) -> Option<(Self, &str)> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        Some((word.parse().ok()?, rest))
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A text that is not an enhanced status code (RFC 3463 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not an enhanced status code such as 5.7.1: a class (2, 4 or 5), a subject and a detail of one to three digits, no leading zeros"
)]
pub struct ParseEnhancedCodeError;

impl FromStr for EnhancedCode {
    type Err = ParseEnhancedCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn number(text: Option<&str>) -> Option<u16> {
            let text = text?;
            let shortest = text == "0" || !text.starts_with('0');
            let digits = text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            if shortest && digits {
                text.parse().ok()
            } else {
                None
            }
        }
        let mut parts = text.split('.');
        let class = match parts.next() {
            Some("2") => 2,
            Some("4") => 4,
            Some("5") => 5,
            _ => return Err(ParseEnhancedCodeError),
        };
        match (number(parts.next()), number(parts.next()), parts.next()) {
            (Some(subject), Some(detail), None) => Ok(Self::new(class, subject, detail)),
            _ => Err(ParseEnhancedCodeError),
        }
    }
}

/// A reply of a server to a command (RFC 5321 section 4.2).
///
/// Always fit to be sent: no line holds a control character other than a tab, and lines, their number and the whole are bounded,
/// so that text from anywhere can be put into a reply without harm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    code: Code,
    enhanced: Option<EnhancedCode>,
    lines: Vec<String>,
}

impl Reply {
    /// A reply with this text, one line a line of it.
    ///
    /// An enhanced code whose class is not that of the code is left out (RFC 2034 section 4 forbids it); without one, it is
    /// taken off the text if every line begins with the same. Control characters become U+FFFD; text above the bounds
    /// (2,000 bytes a line, 128 lines, 60 KiB in all) is cut.
    pub fn new(code: Code, enhanced: Option<EnhancedCode>, text: impl Into<String>) -> Self {
        Self::from_lines(
            code,
            enhanced,
            text.into()
                .split('\n')
                .map(|line| line.strip_suffix('\r').unwrap_or(line)),
        )
    }

    pub(super) fn from_lines<'a>(
        code: Code,
        enhanced: Option<EnhancedCode>,
        lines: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut lines: Vec<&str> = lines.take(MAX_LINES).collect();
        let mut enhanced = enhanced.filter(|enhanced| enhanced.suits(code));
        if enhanced.is_none()
            && let Some(common) = common_enhanced_code(code, &lines)
        {
            enhanced = Some(common);
            for line in &mut lines {
                *line = EnhancedCode::split(line).map_or("", |(_, rest)| rest);
            }
        }
        let mut room = MAX_TEXT;
        let lines = lines
            .into_iter()
            .map(|line| {
                let line = clean(line, room.min(MAX_LINE_TEXT));
                room -= line.len();
                line
            })
            .collect();
        Self {
            code,
            enhanced,
            lines,
        }
    }

    /// The reply code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The enhanced status code, if every line carries the same one and its class is that of the reply code.
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The text, line by line, without codes. At least one line, which may be empty.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The text without codes, its lines joined by `'\n'`.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// Its first eight lines: all that is kept of a reply where a server can make a client keep many.
    pub(crate) fn shortened(mut self) -> Self {
        self.lines.truncate(8);
        self
    }

    /// Whether this is a 2yz or 3yz reply.
    pub fn is_positive(&self) -> bool {
        self.code.is_positive()
    }

    /// Whether this is a 4yz reply.
    pub fn is_transient(&self) -> bool {
        self.code.is_transient()
    }

    /// Whether this is a 5yz reply.
    pub fn is_permanent(&self) -> bool {
        self.code.is_permanent()
    }

    /// The reply as it is sent, every line with the enhanced code (RFC 2034 section 4) and ended by CRLF.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        for (index, line) in self.lines.iter().enumerate() {
            let last = index + 1 == self.lines.len();
            bytes.put_slice(self.code.to_string().as_bytes());
            bytes.put_u8(if last { b' ' } else { b'-' });
            if let Some(enhanced) = self.enhanced {
                bytes.put_slice(enhanced.to_string().as_bytes());
                bytes.put_u8(b' ');
            }
            bytes.put_slice(line.as_bytes());
            bytes.put_slice(b"\r\n");
        }
        bytes.freeze()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

/// A reply from literals: `reply(550, "5.7.1", "Sender not authorized")`; `""` for no enhanced code.
///
/// # Panics
///
/// If `code` is not a reply code or `enhanced` is neither empty nor an enhanced code: for numbers written in source only.
/// What comes from outside goes through [`Code::new`] and [`Reply::new`].
pub fn reply(code: u16, enhanced: &str, text: impl Into<String>) -> Reply {
    let code = Code::new(code).expect("a literal is a reply code");
    let enhanced =
        (!enhanced.is_empty()).then(|| enhanced.parse().expect("a literal is an enhanced code"));
    Reply::new(code, enhanced, text)
}

fn common_enhanced_code(code: Code, lines: &[&str]) -> Option<EnhancedCode> {
    let (first, _) = EnhancedCode::split(lines.first()?)?;
    let same =
        |line: &&str| EnhancedCode::split(line).is_some_and(|(enhanced, _)| enhanced == first);
    (first.suits(code) && lines.iter().all(same)).then_some(first)
}

/// At most `room` bytes of `line`, its control characters replaced.
fn clean(line: &str, room: usize) -> String {
    let mut cleaned = String::with_capacity(line.len().min(room));
    for character in line.chars() {
        let character = if character.is_control() && character != '\t' {
            '\u{fffd}'
        } else {
            character
        };
        if cleaned.len() + character.len_utf8() > room {
            break;
        }
        cleaned.push(character);
    }
    cleaned
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
