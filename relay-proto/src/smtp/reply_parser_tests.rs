use std::{format, string::ToString, vec, vec::Vec};

use proptest::prelude::*;
use smtp_proto::response::parser::ResponseReceiver;

use super::super::EnhancedCode;
use super::*;

/// All replies in `wire`, and the error that ends them, pushed in pieces of `size`.
fn read(wire: &[u8], size: usize) -> (Vec<Reply>, Option<ReplyError>, bool) {
    let mut parser = ReplyParser::new();
    let mut replies = Vec::new();
    for piece in wire.chunks(size) {
        parser.push(piece);
        loop {
            match parser.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => {
                    parser.push(b"250 ok\r\n");
                    assert_eq!(parser.next_reply(), Err(error), "an error is for good");
                    return (replies, Some(error), false);
                }
            }
        }
    }
    (replies, None, parser.is_empty())
}

#[test]
fn what_the_grammar_allows_is_taken() {
    for (wire, told) in [
        (&b"250 ok\r\n"[..], vec!["250 ok"]),
        (b"250\r\n", vec!["250"]),
        (b"250 \r\n", vec!["250"]),
        (b"250-a\r\n250 b\r\n", vec!["250 a b"]),
        (b"250-\r\n250\r\n", vec!["250"]),
        (b"250-a\r\n250\r\n", vec!["250 a"]),
        (b"220 a\r\n354 b\r\n", vec!["220 a", "354 b"]),
        (b"250 a\tb\r\n", vec!["250 a\tb"]),
        (b"250 gr\xfc\xdfe\r\n", vec!["250 gr\u{fffd}\u{fffd}e"]),
        ("250 grüße\r\n".as_bytes(), vec!["250 grüße"]),
        (b"250-5.1.1 a\r\n250 b\r\n", vec!["250 5.1.1 a b"]),
        (b"559 last\r\n200 first\r\n", vec!["559 last", "200 first"]),
    ] {
        for size in [1, 2, 3, wire.len()] {
            let (replies, error, empty) = read(wire, size);
            let replies: Vec<_> = replies.iter().map(ToString::to_string).collect();
            assert_eq!(
                (replies, error, empty),
                (vec_of(&told), None, true),
                "{told:?} in pieces of {size}"
            );
        }
    }
}

fn vec_of(told: &[&str]) -> Vec<String> {
    told.iter().map(ToString::to_string).collect()
}

#[test]
fn what_desynchronises_is_refused() {
    let differ = |first, other| ReplyError::CodesDiffer {
        first: Code::new(first).unwrap(),
        other: Code::new(other).unwrap(),
    };
    for (wire, error) in [
        (&b"250-ok\r\n550 really\r\n"[..], differ(250, 550)),
        (b"25 ok\r\n", ReplyError::NotAReply),
        (b"2500 ok\r\n", ReplyError::NotAReply),
        (b"199 ok\r\n", ReplyError::NotAReply),
        (b"600 ok\r\n", ReplyError::NotAReply),
        (b"999 ok\r\n", ReplyError::NotAReply),
        (b"260 ok\r\n", ReplyError::NotAReply),
        (b"250ok\r\n", ReplyError::NotAReply),
        (b"250\tok\r\n", ReplyError::NotAReply),
        (b" 250 ok\r\n", ReplyError::NotAReply),
        (b"\r\n", ReplyError::NotAReply),
        (b"+250 ok\r\n", ReplyError::NotAReply),
        (b"HTTP/1.1 400 Bad Request\r\n", ReplyError::NotAReply),
        (b"250-ok\r\n\r\n", ReplyError::NotAReply),
        (b"250 ok\n", ReplyError::BareLineEnd),
        (b"250-ok\n250 ok\r\n", ReplyError::BareLineEnd),
        (b"250 o\rk\r\n", ReplyError::BareLineEnd),
        (b"250 ok\r\r\n", ReplyError::BareLineEnd),
        (b"250 ok\rx", ReplyError::BareLineEnd),
        (b"250 o\0k\r\n", ReplyError::Nul),
        (b"250 o\0", ReplyError::Nul),
    ] {
        for size in [1, 2, wire.len()] {
            let (replies, found, _) = read(wire, size);
            assert_eq!(
                (replies, found),
                (vec![], Some(error)),
                "{wire:?} in pieces of {size}"
            );
        }
    }
    // What came before the nonsense is still told.
    let (replies, error, _) = read(b"250 ok\r\nnonsense\r\n", 100);
    assert_eq!((replies.len(), error), (1, Some(ReplyError::NotAReply)));
}

#[test]
fn nothing_the_server_sends_grows_without_bound() {
    let line = |length: usize| format!("250 {}\r\n", "x".repeat(length - 6));
    assert_eq!(read(line(MAX_LINE).as_bytes(), 100).0.len(), 1);
    assert_eq!(
        read(line(MAX_LINE + 1).as_bytes(), 100).1,
        Some(ReplyError::LineTooLong)
    );
    assert_eq!(read(&[b'2'; MAX_LINE], 1).1, Some(ReplyError::LineTooLong));
    assert_eq!(
        read(&vec![b'2'; 1_000_000], 1_000_000).1,
        Some(ReplyError::LineTooLong)
    );

    let lines = |count| "250-x\r\n".repeat(count) + "250 x\r\n";
    assert_eq!(read(lines(MAX_LINES - 1).as_bytes(), 1_000).0.len(), 1);
    assert_eq!(
        read(lines(MAX_LINES).as_bytes(), 1_000).1,
        Some(ReplyError::TooLong)
    );
    let long = format!("250-{}\r\n", "x".repeat(2_000)).repeat(40);
    assert_eq!(read(long.as_bytes(), 1_000).1, Some(ReplyError::TooLong));
}

#[test]
fn an_unfinished_reply_is_waited_for() {
    for wire in [&b"250 ok"[..], b"250-ok\r\n", b"250 ok\r", b"2"] {
        assert_eq!(read(wire, 1), (vec![], None, false));
    }
}

#[test]
fn an_enhanced_code_is_taken_if_all_lines_agree_on_it() {
    for (wire, code, lines) in [
        ("550 5.7.1 no\r\n", Some((5, 7, 1)), vec!["no"]),
        ("550 5.7.1\r\n", Some((5, 7, 1)), vec![""]),
        (
            "550-5.7.1 a\r\n550 5.7.1 b\r\n",
            Some((5, 7, 1)),
            vec!["a", "b"],
        ),
        (
            "550-5.7.1 a\r\n550 5.7.2 b\r\n",
            None,
            vec!["5.7.1 a", "5.7.2 b"],
        ),
        ("550-5.7.1 a\r\n550 b\r\n", None, vec!["5.7.1 a", "b"]),
        ("450 5.7.1 a\r\n", None, vec!["5.7.1 a"]),
        ("354 3.0.0 a\r\n", None, vec!["3.0.0 a"]),
        ("550 5.7.1x\r\n", None, vec!["5.7.1x"]),
        ("550 5.7.509 a\r\n", Some((5, 7, 509)), vec!["a"]),
    ] {
        let (replies, ..) = read(wire.as_bytes(), 100);
        let code = code.map(|(class, subject, detail)| EnhancedCode::new(class, subject, detail));
        assert_eq!(
            (replies[0].enhanced(), replies[0].lines()),
            (code, &vec_of(&lines)[..]),
            "{wire}"
        );
    }
}

/// Code, enhanced code (zeros for none) and text as smtp-proto reads them.
fn read_theirs(wire: &[u8]) -> Result<(u16, [u8; 3], String), smtp_proto::Error> {
    let response = ResponseReceiver::default().parse(&mut wire.iter())?;
    Ok((response.code, response.esc, response.message))
}

fn read_ours(wire: &[u8]) -> (u16, [u8; 3], String) {
    let (replies, error, _) = read(wire, wire.len());
    assert_eq!((replies.len(), error), (1, None));
    let numbers = replies[0].enhanced().map_or([0; 3], |code| {
        [
            code.class,
            code.subject.try_into().unwrap(),
            code.detail.try_into().unwrap(),
        ]
    });
    (replies[0].code().as_u16(), numbers, replies[0].text())
}

proptest! {
    #[test]
    fn smtp_proto_reads_well_formed_replies_alike(
        (code, class) in (2u16..6, 0u16..6, 0u16..10).prop_map(|(x, y, z)| (x * 100 + y * 10 + z, x)),
        enhanced in proptest::option::of((0u8..10, 0u8..10)),
        // Text that begins with a digit or a dot may look like an enhanced code to one of the two.
        lines in proptest::collection::vec("[!-\\-/:-~][ -~]{0,80}", 1..6),
    ) {
        let prefix = match enhanced {
            Some((subject, detail)) if class != 3 => format!("{class}.{subject}.{detail} "),
            _ => String::new(),
        };
        let mut wire = String::new();
        for (index, line) in lines.iter().enumerate() {
            let mark = if index + 1 == lines.len() { ' ' } else { '-' };
            wire += &format!("{code}{mark}{prefix}{line}\r\n");
        }
        let (their_code, their_enhanced, their_text) = read_theirs(wire.as_bytes()).unwrap();
        // smtp-proto keeps the CR of every line but its own last LF in the text.
        let their_text = their_text.replace('\r', "").trim_end_matches('\n').to_string();
        prop_assert_eq!(read_ours(wire.as_bytes()), (their_code, their_enhanced, their_text));
    }
}

#[test]
fn where_smtp_proto_is_too_lenient_we_are_not() {
    // Each is taken by smtp-proto as a good reply; the first is a refusal read as success.
    for wire in [
        &b"250-ok\r\n550 really\r\n"[..],
        b"999 ok\r\n",
        b"260 ok\r\n",
        b"250 o\0k\r\n",
        b"250 o\rk\r\n",
        b"250 ok\n",
    ] {
        assert!(
            read_theirs(wire).is_ok(),
            "smtp-proto has mended {wire:?}: compare again"
        );
        assert!(read(wire, wire.len()).1.is_some());
    }
    // An enhanced code of three digits loses its value there.
    assert_ne!(read_theirs(b"550 5.7.509 no\r\n").unwrap().1, [5, 7, 0]);
    assert!(read_theirs(b"550 5.7.509 no\r\n").unwrap().1[2] != 0);
}
