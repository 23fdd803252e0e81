//! Message content on its way through DATA: line ends and transparency (RFC 5321 sections 2.3.8 and 4.5.2).

use bytes::{BufMut, BytesMut};
use memchr::{memchr, memchr2, memchr2_iter, memrchr2};

/// Writes content in the form DATA wants: every line end a CRLF, a second dot before a dot that begins a line. Content that goes
/// by BDAT (RFC 3030) has the line ends alone: [`for_chunks`](Self::for_chunks).
///
/// A bare CR or a bare LF becomes CRLF, so the output holds neither (RFC 5321 section 2.3.8 forbids them, and some servers end
/// content at them) and `<CRLF>.<CRLF>` appears in it once, at its end. A NUL that begins a line is left out, since to servers that pass
/// over NULs a dot behind it would begin the line. Content may come in pieces of any size; the output is at most twice as long as the
/// input, plus five bytes.
#[derive(Clone, Debug, Default)]
pub struct ContentEncoder {
    at: EncoderAt,
    /// Whether the length says where the content ends, so that no dot does.
    is_chunked: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum EncoderAt {
    #[default]
    LineStart,
    InLine,
    /// Behind a CR, for which CRLF is written already: a LF that follows belongs to it.
    BehindCarriageReturn,
}

impl ContentEncoder {
    /// An encoder at the beginning of content.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder at the beginning of content that goes by BDAT: it mends lines, and there is no transparency and no final dot.
    pub fn for_chunks() -> Self {
        Self {
            is_chunked: true,
            ..Self::default()
        }
    }

    /// Appends the wire form of the next piece of content.
    pub fn encode(&mut self, content: &[u8], output: &mut BytesMut) {
        let mut rest = content;
        while let Some(first) = rest.first() {
            match self.at {
                EncoderAt::BehindCarriageReturn => {
                    self.at = EncoderAt::LineStart;
                    if *first == b'\n' {
                        rest = &rest[1..];
                    }
                }
                EncoderAt::LineStart if *first == b'\0' => rest = &rest[1..],
                EncoderAt::LineStart => {
                    self.at = EncoderAt::InLine;
                    if *first == b'.' && !self.is_chunked {
                        output.put_u8(b'.');
                    }
                }
                EncoderAt::InLine => {
                    let Some(end) = memchr2(b'\r', b'\n', rest) else {
                        output.put_slice(rest);
                        return;
                    };
                    output.put_slice(&rest[..end]);
                    output.put_slice(b"\r\n");
                    self.at = if rest[end] == b'\r' {
                        EncoderAt::BehindCarriageReturn
                    } else {
                        EncoderAt::LineStart
                    };
                    rest = &rest[end + 1..];
                }
            }
        }
    }

    /// Ends the content: the CRLF of a last line that has none, then, for DATA, `.` CRLF. Nothing else: content that ends in CRLF does
    /// not gain an empty line, and empty content is the end alone.
    pub fn finish(self, output: &mut BytesMut) {
        if matches!(self.at, EncoderAt::InLine) {
            output.put_slice(b"\r\n");
        }
        if !self.is_chunked {
            output.put_slice(b".\r\n");
        }
    }
}

/// Reads content in the form DATA has: undoes the dots and finds the end.
///
/// Strict: `<CRLF>.<CRLF>` alone ends content, or `.<CRLF>` as its very first line. Any other sequence with a bare CR or LF is
/// content and is passed on as it is; [`ContentEncoder`] mends it before it is sent anywhere.
#[derive(Clone, Debug, Default)]
pub struct ContentDecoder {
    at: DecoderAt,
}

#[derive(Clone, Copy, Debug, Default)]
enum DecoderAt {
    #[default]
    LineStart,
    InLine,
    /// Behind a CR that is passed on already.
    BehindCarriageReturn,
    /// Behind a dot that begins a line and is not passed on: it is either the end or a dot too many.
    BehindDot,
    /// Behind a dot and a CR, neither passed on.
    BehindDotCarriageReturn,
    Ended,
}

/// What [`ContentDecoder::decode`] did with its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// How many bytes of the input were content or its end, from the front. All of them, unless the content ended.
    pub consumed: usize,
    /// Whether the content has ended; what is not consumed is the client's next commands.
    pub ended: bool,
}

impl ContentDecoder {
    /// A decoder at the beginning of content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the content in `input` to `output`, at most as many bytes as the input has, plus one. Behind the end it
    /// consumes nothing.
    pub fn decode(&mut self, input: &[u8], output: &mut BytesMut) -> Decoded {
        let mut rest = input;
        while let Some(&first) = rest.first() {
            match self.at {
                DecoderAt::Ended => break,
                DecoderAt::LineStart if first == b'.' => {
                    rest = &rest[1..];
                    self.at = DecoderAt::BehindDot;
                }
                DecoderAt::BehindDot if first == b'\r' => {
                    rest = &rest[1..];
                    self.at = DecoderAt::BehindDotCarriageReturn;
                }
                DecoderAt::BehindDotCarriageReturn if first == b'\n' => {
                    rest = &rest[1..];
                    self.at = DecoderAt::Ended;
                }
                DecoderAt::BehindDotCarriageReturn => {
                    output.put_u8(b'\r');
                    self.at = DecoderAt::BehindCarriageReturn;
                }
                DecoderAt::BehindCarriageReturn if first == b'\n' => {
                    output.put_u8(b'\n');
                    rest = &rest[1..];
                    self.at = DecoderAt::LineStart;
                }
                DecoderAt::LineStart
                | DecoderAt::BehindDot
                | DecoderAt::BehindCarriageReturn
                | DecoderAt::InLine => {
                    let taken = match memchr(b'\r', rest) {
                        None => {
                            self.at = DecoderAt::InLine;
                            rest.len()
                        }
                        Some(end) => {
                            self.at = DecoderAt::BehindCarriageReturn;
                            end + 1
                        }
                    };
                    output.put_slice(&rest[..taken]);
                    rest = &rest[taken..];
                }
            }
        }
        Decoded {
            consumed: input.len() - rest.len(),
            ended: matches!(self.at, DecoderAt::Ended),
        }
    }
}

/// How many bytes content has once its lines are mended, without doubled dots: what SIZE counts (RFC 1870 section 3).
pub(super) fn normalised_len(content: &[u8]) -> u64 {
    let mut length = content.len() - leading_nuls(content);
    for end in memchr2_iter(b'\r', b'\n', content) {
        let paired = match content[end] {
            b'\r' => content.get(end + 1) == Some(&b'\n'),
            _ => end > 0 && content[end - 1] == b'\r',
        };
        length += usize::from(!paired);
        length -= leading_nuls(&content[end + 1..]);
    }
    let last_line = memrchr2(b'\r', b'\n', content).map_or(0, |end| end + 1);
    let last_line = &content[last_line..];
    if leading_nuls(last_line) < last_line.len() {
        length += 2;
    }
    length as u64
}

fn leading_nuls(line: &[u8]) -> usize {
    line.iter().take_while(|byte| **byte == b'\0').count()
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
