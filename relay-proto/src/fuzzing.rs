//! What must hold for every input, whatever it is: the bodies of the fuzz targets.
//!
//! They live here and not in `fuzz/`, so that they are compiled and run (on random inputs) with the tests.
//! Where pieces matter, the first byte of the input is their length, so that 1 means byte by byte.

use crate::{
    Frame, WebSocketUrl,
    mail::wire::{self, Message},
    smtp::{Command, ContentDecoder, ContentEncoder, Reply, ReplyError, ReplyParser},
};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::str;

mod client;
mod delivery;
mod driver;
mod http;
mod http_connect;
mod kv;
mod numbers;
mod relay;
mod session;
pub(crate) mod sessions;
#[cfg(test)]
mod tests;

pub use client::mail_client;
pub use delivery::smtp_delivery;
pub use http::http;
pub use http_connect::http_connect;
pub use kv::{kv_service, kv_wire};
pub use relay::mail_relay;
pub use session::smtp_session;
pub use sessions::{session_frame, session_pair};

/// A URL that parses is written as it was read, and leads somewhere.
pub fn endpoint(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    if let Ok(url) = text.parse::<WebSocketUrl>() {
        assert_eq!(url.as_str(), text);
        assert!(!url.host().is_empty());
        assert_ne!(url.port(), 0);
    }
}

/// Replies are the same however their bytes arrive, and survive being sent on.
pub fn smtp_reply(input: &[u8]) {
    let (size, input) = piece_size(input);
    let (whole, error) = replies([input].into_iter());
    assert_eq!(replies(input.chunks(size)), (whole.clone(), error));
    for reply in whole {
        let bytes = reply.to_bytes();
        assert_eq!(replies(bytes.chunks(size)), (Vec::from([reply]), None));
    }
}

fn replies<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<ReplyError>) {
    let mut parser = ReplyParser::new();
    let mut replies = Vec::new();
    for piece in pieces {
        parser.push(piece);
        loop {
            match parser.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

/// A command that parses is one line when written, and reads as the same command; a refusal is an error reply.
pub fn smtp_command(input: &[u8]) {
    match Command::parse(input) {
        Ok(command) => {
            let bytes = command.to_bytes();
            let line = bytes.strip_suffix(b"\r\n").expect("a line ends in CRLF");
            assert!(!line.iter().any(|byte| b"\r\n\0".contains(byte)));
            assert_eq!(Command::parse(line), Ok(command));
        }
        Err(reply) => assert!(reply.is_permanent()),
    }
}

/// Content arrives as it was sent, but for its line ends; nothing but its end looks like an end;
/// and neither side cares how it is cut.
pub fn content(input: &[u8]) {
    let (size, input) = piece_size(input);

    let encoded = encode(input.chunks(size));
    assert_eq!(encoded, encode([input].into_iter()));
    let (content, consumed) = decode(encoded.chunks(size));
    assert_eq!(consumed, Some(encoded.len()));
    assert_eq!(content, with_line_ends_mended(input));

    // What a stranger sends need not be well-formed, but one who cuts it differently must get the same.
    assert_eq!(decode(input.chunks(size)), decode([input].into_iter()));
}

fn encode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> BytesMut {
    let mut encoder = ContentEncoder::new();
    let mut output = BytesMut::new();
    for piece in pieces {
        encoder.encode(piece, &mut output);
    }
    encoder.finish(&mut output);
    output
}

/// The content, and after how many bytes it ended, if it did.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (BytesMut, Option<usize>) {
    let mut decoder = ContentDecoder::new();
    let mut output = BytesMut::new();
    let mut consumed = 0;
    for piece in pieces {
        let decoded = decoder.decode(piece, &mut output);
        consumed += decoded.consumed;
        if decoded.ended {
            return (output, Some(consumed));
        }
        assert_eq!(decoded.consumed, piece.len());
    }
    (output, None)
}

/// What [`ContentEncoder`] promises of lines, said as plainly as possible.
fn with_line_ends_mended(content: &[u8]) -> Vec<u8> {
    let mut mended = Vec::new();
    for (index, byte) in content.iter().enumerate() {
        match byte {
            b'\n' if index > 0 && content[index - 1] == b'\r' => {}
            b'\r' | b'\n' => mended.extend(b"\r\n"),
            b'\0' if mended.is_empty() || mended.ends_with(b"\r\n") => {}
            other => mended.push(*other),
        }
    }
    if !mended.is_empty() && !mended.ends_with(b"\r\n") {
        mended.extend(b"\r\n");
    }
    mended
}

/// Any frame is read without harm; what was read is written as a frame that says the same; SMTP bytes arrive as
/// they were sent, however long the pieces.
pub fn wire(input: &[u8]) {
    let (size, input) = piece_size(input);
    let bytes = Bytes::copy_from_slice(input);

    assert!(wire::decode(&Frame::Binary(bytes.clone())).is_err());
    if let Ok(Some(message)) = wire::decode(&Frame::Text(bytes.clone())) {
        assert_eq!(wire::decode(&wire::encode(&message)), Ok(Some(message)));
    }
    if let Ok(Some(word)) = wire::decode_word(&bytes) {
        assert_eq!(wire::decode_word(&wire::encode_word(&word)), Ok(Some(word)));
    }

    let mut at = 0;
    while at < bytes.len() {
        let piece = wire::data_chunk(&bytes, at, size);
        assert!(!piece.is_empty() && piece.len() <= size);
        assert_eq!(piece, bytes[at..at + piece.len()]);
        at += piece.len();
        let message = Message::ToServer(piece);
        assert_eq!(wire::decode(&wire::encode(&message)), Ok(Some(message)));
    }
}

/// The length of pieces, from 1 to 255, and what is to be cut.
fn piece_size(input: &[u8]) -> (usize, &[u8]) {
    let (first, rest) = input.split_first().unwrap_or((&1, &[]));
    (usize::from(*first).max(1), rest)
}
