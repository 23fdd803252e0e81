use std::{string::String, vec::Vec};

use proptest::prelude::*;

use super::*;

fn encode(pieces: &[&[u8]]) -> Vec<u8> {
    let mut encoder = ContentEncoder::new();
    let mut output = BytesMut::new();
    for piece in pieces {
        encoder.encode(piece, &mut output);
    }
    encoder.finish(&mut output);
    output.to_vec()
}

/// The content, whether it ended, and how many bytes were consumed.
fn decode(pieces: &[&[u8]]) -> (Vec<u8>, bool, usize) {
    let mut decoder = ContentDecoder::new();
    let mut output = BytesMut::new();
    let (mut ended, mut consumed) = (false, 0);
    for piece in pieces {
        let decoded = decoder.decode(piece, &mut output);
        assert!(decoded.ended || decoded.consumed == piece.len());
        ended = decoded.ended;
        consumed += decoded.consumed;
    }
    (output.to_vec(), ended, consumed)
}

fn bytewise(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

#[test]
fn content_is_stuffed_and_its_line_ends_mended() {
    for (content, wire) in [
        ("", ".\r\n"),
        ("a", "a\r\n.\r\n"),
        ("a\r\n", "a\r\n.\r\n"),
        ("a\r\n\r\n", "a\r\n\r\n.\r\n"),
        (".", "..\r\n.\r\n"),
        ("..", "...\r\n.\r\n"),
        (".\r\n", "..\r\n.\r\n"),
        (".a\r\n.b", "..a\r\n..b\r\n.\r\n"),
        ("a.b\r\n", "a.b\r\n.\r\n"),
        ("a\nb\rc\r\nd", "a\r\nb\r\nc\r\nd\r\n.\r\n"),
        ("a\r", "a\r\n.\r\n"),
        ("a\r\r\nb", "a\r\n\r\nb\r\n.\r\n"),
        ("\n\r", "\r\n\r\n.\r\n"),
        ("a\n.\nQUIT\n", "a\r\n..\r\nQUIT\r\n.\r\n"),
        ("a\r.\rQUIT", "a\r\n..\r\nQUIT\r\n.\r\n"),
        ("a\r\n.\r\r\nQUIT", "a\r\n..\r\n\r\nQUIT\r\n.\r\n"),
        // Some servers do not see a NUL, and some see nothing behind it on its line.
        ("a\r\n\0.\r\n", "a\r\n..\r\n.\r\n"),
        ("a\r\n.\0\r\n", "a\r\n..\0\r\n.\r\n"),
        ("\0\0.\0\r\0\n\0.", "..\0\r\n\r\n..\r\n.\r\n"),
        ("\0a\0", "a\0\r\n.\r\n"),
        ("\0", ".\r\n"),
    ] {
        assert_eq!(
            String::from_utf8(encode(&[content.as_bytes()])).unwrap(),
            wire,
            "{content:?}"
        );
        assert_eq!(
            encode(&bytewise(content.as_bytes())),
            wire.as_bytes(),
            "{content:?} byte by byte"
        );
    }
}

#[test]
fn only_a_dot_on_a_line_of_its_own_ends_content() {
    for (wire, content, rest) in [
        (".\r\n", "", Some("")),
        (".\r\nQUIT\r\n", "", Some("QUIT\r\n")),
        ("a\r\n.\r\nQUIT\r\n", "a\r\n", Some("QUIT\r\n")),
        ("..a\r\n.\r\n", ".a\r\n", Some("")),
        ("...\r\n.\r\n", "..\r\n", Some("")),
        (".a\r\n.\r\n", "a\r\n", Some("")),
        ("a\r\n.", "a\r\n", None),
        ("a\r\n.\r", "a\r\n", None),
        // What others have been made to take for the end is content.
        ("a\n.\nQUIT", "a\n.\nQUIT", None),
        ("a\n.\r\nQUIT", "a\n.\r\nQUIT", None),
        ("a\r\n.\nQUIT", "a\r\n\nQUIT", None),
        ("a\r\n.\rQUIT", "a\r\n\rQUIT", None),
        ("a\r\n.\r\r\nQUIT", "a\r\n\r\r\nQUIT", None),
        ("a\r.\rQUIT", "a\r.\rQUIT", None),
        ("a\r.\r\nQUIT", "a\r.\r\nQUIT", None),
        ("a\r\r\n.\r\r\nQUIT", "a\r\r\n\r\r\nQUIT", None),
        ("a\r\n\0.\r\nQUIT", "a\r\n\0.\r\nQUIT", None),
        ("a\r\n.\0\r\nQUIT", "a\r\n\0\r\nQUIT", None),
    ] {
        for pieces in [Vec::from([wire.as_bytes()]), bytewise(wire.as_bytes())] {
            let (decoded, ended, consumed) = decode(&pieces);
            assert_eq!(String::from_utf8(decoded).unwrap(), content, "{wire:?}");
            assert_eq!(ended.then(|| &wire[consumed..]), rest, "{wire:?}");
        }
    }
}

#[test]
fn behind_the_end_nothing_is_consumed() {
    let mut decoder = ContentDecoder::new();
    let mut output = BytesMut::new();
    decoder.decode(b".\r\n", &mut output);
    let decoded = decoder.decode(b"a\r\n", &mut output);
    assert_eq!(
        (decoded, output.len()),
        (
            Decoded {
                consumed: 0,
                ended: true
            },
            0
        )
    );
}

/// Content rich in what matters: line ends, dots, and their neighbours.
fn any_content() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(b'\r'),
        Just(b'\n'),
        Just(b'.'),
        Just(b'\0'),
        Just(b'a'),
        any::<u8>()
    ];
    proptest::collection::vec(byte, 0..200)
}

fn split<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        let (piece, tail) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = tail;
        if rest.is_empty() {
            return pieces;
        }
    }
    pieces
}

/// The same content with CRLF at the end of every line, the last one included, and no NUL at the start of any, told naively.
fn normalised(content: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut bytes = content.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if_eq(&&b'\n');
                output.extend_from_slice(b"\r\n");
            }
            b'\n' => output.extend_from_slice(b"\r\n"),
            b'\0' if output.is_empty() || output.ends_with(b"\r\n") => {}
            byte => output.push(*byte),
        }
    }
    if !output.is_empty() && !output.ends_with(b"\r\n") {
        output.extend_from_slice(b"\r\n");
    }
    output
}

fn occurrences(haystack: &[u8], needle: &[u8]) -> usize {
    haystack
        .windows(needle.len())
        .filter(|window| *window == needle)
        .count()
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_whatever_the_pieces(
        content in any_content(),
        cuts in proptest::collection::vec(1usize..20, 1..8),
        other_cuts in proptest::collection::vec(1usize..20, 1..8),
    ) {
        let wire = encode(&split(&content, &cuts));
        prop_assert_eq!(&wire, &encode(&[&content]), "pieces make no difference");
        prop_assert_eq!(occurrences(&wire, b"\r"), occurrences(&wire, b"\r\n"), "no bare CR");
        prop_assert_eq!(occurrences(&wire, b"\n"), occurrences(&wire, b"\r\n"), "no bare LF");
        let framed = [b"\r\n", &wire[..]].concat();
        prop_assert_eq!(occurrences(&framed, b"\r\n.\r\n"), 1, "one end");
        prop_assert!(framed.ends_with(b"\r\n.\r\n"));
        prop_assert!(wire.len() <= 2 * content.len() + 5);
        prop_assert_eq!(decode(&split(&wire, &other_cuts)), (normalised(&content), true, wire.len()));
        prop_assert_eq!(normalised_len(&content), normalised(&content).len() as u64);
    }

    #[test]
    fn a_decoder_says_the_same_whatever_the_pieces(
        wire in any_content(),
        cuts in proptest::collection::vec(1usize..20, 1..8),
    ) {
        prop_assert_eq!(decode(&split(&wire, &cuts)), decode(&[&wire]));
    }
}

#[test]
fn for_chunks_line_ends_are_mended_and_dots_left_alone() {
    for (content, expected) in [
        ("", ""),
        (".", ".\r\n"),
        (".\r\n..\r\n", ".\r\n..\r\n"),
        ("a\n.\rb\r\r\n", "a\r\n.\r\nb\r\n\r\n"),
        ("\0.\0\r\n\0", ".\0\r\n"),
    ] {
        for at in 0..=content.len() {
            let (mut encoder, mut output) = (ContentEncoder::for_chunks(), BytesMut::new());
            encoder.encode(&content.as_bytes()[..at], &mut output);
            encoder.encode(&content.as_bytes()[at..], &mut output);
            encoder.finish(&mut output);
            assert_eq!(output, expected.as_bytes(), "{content:?} split at {at}");
        }
    }
}
