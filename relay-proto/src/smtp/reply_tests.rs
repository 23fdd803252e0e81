use std::{format, string::String, vec::Vec};

use proptest::prelude::*;

use super::super::{Category, ReplyParser};
use super::*;

fn parse(wire: &[u8]) -> Reply {
    let mut parser = ReplyParser::new();
    parser.push(wire);
    let reply = parser.next_reply().unwrap().unwrap();
    assert!(parser.is_empty());
    reply
}

#[test]
fn codes_have_three_digits_within_their_ranges() {
    for number in 0..=1_000 {
        let (first, second) = (number / 100, number / 10 % 10);
        let valid = (2..=5).contains(&first) && second <= 5;
        assert_eq!(
            Code::new(number).map(Code::as_u16),
            valid.then_some(number),
            "{number}"
        );
    }
    let class = |number| {
        let code = Code::new(number).unwrap();
        (code.is_positive(), code.is_transient(), code.is_permanent())
    };
    assert_eq!(class(250), (true, false, false));
    assert_eq!(class(354), (true, false, false));
    assert_eq!(class(421), (false, true, false));
    assert_eq!(class(554), (false, false, true));
}

#[test]
fn enhanced_codes_are_read_as_the_rfc_writes_them() {
    for (text, code) in [
        ("2.0.0", Some((2, 0, 0))),
        ("5.7.1", Some((5, 7, 1))),
        ("4.999.999", Some((4, 999, 999))),
        ("3.0.0", None),
        ("5.7", None),
        ("5.7.1.1", None),
        ("5.7.01", None),
        ("5.7.1000", None),
        ("5.7.", None),
        ("5.+7.1", None),
        ("55.7.1", None),
        ("", None),
    ] {
        let expected =
            code.map(|(class, subject, detail)| EnhancedCode::new(class, subject, detail));
        assert_eq!(text.parse().ok(), expected, "{text}");
        if let Some(code) = expected {
            assert_eq!(format!("{code}"), text);
        }
    }
}

#[test]
fn a_reply_is_written_as_it_is_sent_and_as_it_is_told() {
    for (reply, wire, told) in [
        (
            reply(220, "", "relay.example ready"),
            "220 relay.example ready\r\n",
            "220 relay.example ready",
        ),
        (
            reply(550, "5.7.1", "no"),
            "550 5.7.1 no\r\n",
            "550 5.7.1 no",
        ),
        (
            reply(250, "2.0.0", "a\nb"),
            "250-2.0.0 a\r\n250 2.0.0 b\r\n",
            "250 2.0.0 a b",
        ),
        (reply(250, "", ""), "250 \r\n", "250"),
        (reply(250, "", "a\r\nb"), "250-a\r\n250 b\r\n", "250 a b"),
        // The class contradicts the code, so the enhanced code is not sent.
        (reply(250, "5.7.1", "ok"), "250 ok\r\n", "250 ok"),
        (reply(354, "2.0.0", "go"), "354 go\r\n", "354 go"),
        // An enhanced code at the head of the text is one.
        (
            reply(550, "", "5.7.1 no"),
            "550 5.7.1 no\r\n",
            "550 5.7.1 no",
        ),
    ] {
        assert_eq!(reply.to_bytes(), wire.as_bytes());
        assert_eq!(format!("{reply}"), told);
    }
    assert_eq!(
        reply(550, "", "5.7.1 no").enhanced(),
        Some(EnhancedCode::new(5, 7, 1))
    );
    assert_eq!(reply(550, "", "5.7.1 a\nb").enhanced(), None);
    assert_eq!(reply(250, "2.0.0", "a\nb").text(), "a\nb");
}

#[test]
fn text_from_anywhere_cannot_break_out_of_its_reply() {
    let injected = reply(550, "", "no\r\0\x1b[2J\u{9b}\tyes\rQUIT");
    assert_eq!(
        injected.lines(),
        ["no\u{fffd}\u{fffd}\u{fffd}[2J\u{fffd}\tyes\u{fffd}QUIT"]
    );
    assert_eq!(parse(&injected.to_bytes()), injected);

    let long = Reply::new(
        Code::OK,
        Some(EnhancedCode::new(2, 999, 999)),
        "ä".repeat(1_000_000),
    );
    assert_eq!(long.text().len(), MAX_LINE_TEXT);
    assert_eq!(parse(&long.to_bytes()), long);

    let line = "x".repeat(600);
    let many = Reply::new(
        Code::OK,
        Some(EnhancedCode::new(2, 999, 999)),
        [line.as_str(); 1_000].join("\n"),
    );
    assert_eq!(many.lines().len(), MAX_LINES);
    assert_eq!(many.text().len() - (MAX_LINES - 1), MAX_TEXT);
    assert_eq!(parse(&many.to_bytes()), many);
}

#[test]
fn replies_fall_into_categories() {
    use Category::*;
    for (wire, category) in [
        ("250 2.1.0 ok", Accepted),
        ("354 go", Accepted),
        (
            "550 5.7.1 Sender domain not authorized for your IP or subnet",
            SenderNotAuthorized,
        ),
        ("550 5.7.26 unauthenticated mail", SenderNotAuthorized),
        ("450 4.7.1 greylisted", TryAgainLater),
        ("553 5.1.8 no such domain", SenderInvalid),
        ("550 5.1.1 user unknown", RecipientUnknown),
        ("556 no mail here", RecipientUnknown),
        ("550 no", MailboxUnavailable),
        ("550 5.2.1 disabled", MailboxUnavailable),
        ("452 4.2.2 full", MailboxFull),
        ("552 5.3.4 too big", MessageTooLarge),
        ("552 too big", MessageTooLarge),
        ("452 4.5.3 too many", TooManyRecipients),
        ("554 5.6.0 bad content", ContentRefused),
        ("550 5.6.7 no SMTPUTF8", Unsupported),
        ("555 parameter", Unsupported),
        ("550 5.7.9 weak mechanism", PolicyRefused),
        ("530 5.7.0 authenticate first", AuthenticationRequired),
        ("535 5.7.8 wrong", AuthenticationFailed),
        ("503 5.5.1 out of order", ProtocolError),
        ("500 what", ProtocolError),
        ("554 5.4.4 no route", RoutingFailed),
        ("451 4.3.0 disk", TryAgainLater),
        ("451 4.4.1 no answer", TryAgainLater),
        ("554 5.3.0 disk", ServerError),
        ("421 busy", TryAgainLater),
        ("554 5.0.0 no", Refused),
        ("554 no", Refused),
    ] {
        assert_eq!(
            parse(format!("{wire}\r\n").as_bytes()).category(),
            category,
            "{wire}"
        );
    }
    assert_eq!(format!("{SenderNotAuthorized}"), "Sender not authorized");
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let code =
        (2u16..6, 0u16..6, 0u16..10).prop_map(|(x, y, z)| Code::new(x * 100 + y * 10 + z).unwrap());
    let number = prop_oneof![0u16..10, any::<u16>()];
    let enhanced = proptest::option::of(
        (2u8..6, number.clone(), number).prop_map(|(a, b, c)| EnhancedCode::new(a, b, c)),
    );
    let line = prop_oneof![
        "[ -~]{0,40}",
        ".{0,40}",
        "[245]\\.[0-9]\\.[0-9]( x)?",
        "\\PC{0,600}"
    ];
    let lines = proptest::collection::vec(line, 1..6);
    (code, enhanced, lines)
        .prop_map(|(code, enhanced, lines)| Reply::new(code, enhanced, lines.join("\n")))
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(reply in any_reply(), cuts in proptest::collection::vec(1usize..200, 1..20)) {
        let wire = reply.to_bytes();
        let mut parser = ReplyParser::new();
        let (mut rest, mut read) = (&wire[..], Vec::new());
        for size in cuts.iter().cycle() {
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            parser.push(piece);
            read.extend(parser.next_reply().unwrap());
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(parser.is_empty());
        prop_assert_eq!(read, [reply]);
    }

    #[test]
    fn any_text_makes_a_sendable_reply(text in any::<String>()) {
        let reply = Reply::new(Code::OK, None, text);
        prop_assert_eq!(parse(&reply.to_bytes()), reply);
    }
}
