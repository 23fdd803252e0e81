use std::{format, string::String, string::ToString, vec::Vec};

use proptest::prelude::*;

use super::super::{Address, Request, Session, SessionConfig, reply};
use super::*;

const EHLO_OFFERS: &str = "250-mx\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn dialogue_of(from: &str, to: &[&str], content: &[u8]) -> Dialogue {
    let recipients = to.iter().map(|to| address(to));
    let envelope = Envelope::new(address(from), recipients).unwrap();
    let host_name = "client.example".parse().unwrap();
    Dialogue::new(host_name, envelope, Bytes::copy_from_slice(content))
}

fn dialogue() -> Dialogue {
    dialogue_of("a@b.c", &["x@y.z"], b"Hi\r\n")
}

/// Everything the dialogue has to say now.
fn say(dialogue: &mut Dialogue, most: usize) -> String {
    let mut said = Vec::new();
    while let Some(bytes) = dialogue.poll_output(most) {
        assert!(!bytes.is_empty());
        said.extend_from_slice(&bytes);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Hears each of `heard` in pieces of `size`, and tells what was said after each, before the next came.
fn converse(dialogue: &mut Dialogue, heard: &[&str], size: usize) -> Vec<String> {
    assert_eq!(dialogue.poll_output(100), None, "the server speaks first");
    let mut said = Vec::new();
    for text in heard {
        for piece in text.as_bytes().chunks(size) {
            dialogue.handle_bytes(piece);
        }
        said.push(say(dialogue, 100));
    }
    said
}

fn failure(dialogue: &Dialogue) -> &DialogueError {
    dialogue.outcome().unwrap().as_ref().unwrap_err()
}

#[test]
fn a_message_goes_out_line_by_line() {
    let heard = [
        "220 mx\r\n",
        EHLO_OFFERS,
        "250 2.1.0 ok\r\n",
        "250 2.1.5 ok\r\n",
        "354 go\r\n",
        "250 2.0.0 taken as 7\r\n",
        "221 bye\r\n",
    ];
    for size in [1, 2, 100] {
        let mut dialogue = dialogue_of("a@b.c", &["x@y.z"], b".Hi\nyou");
        let said = converse(&mut dialogue, &heard, size);
        assert_eq!(
            said,
            [
                "EHLO client.example\r\n",
                "MAIL FROM:<a@b.c> SIZE=10\r\n",
                "RCPT TO:<x@y.z>\r\n",
                "DATA\r\n",
                "..Hi\r\nyou\r\n.\r\n",
                "QUIT\r\n",
                "",
            ]
        );
        let completed = dialogue.outcome().unwrap().as_ref().unwrap();
        assert_eq!(completed.reply, reply(250, "2.0.0", "taken as 7"));
        assert_eq!(completed.accepted, [address("x@y.z").into()]);
        assert_eq!(
            (&completed.rejected[..], &completed.transcript[..]),
            (&[][..], &[][..])
        );
    }
}

#[test]
fn what_the_message_needs_is_asked_for_where_it_is_offered() {
    for (from, content, offers, said) in [
        ("a@b.c", "Hi", "250 mx\r\n", "MAIL FROM:<a@b.c>\r\n"),
        (
            "a@b.c",
            "Hi",
            "250-mx\r\n250 SIZE\r\n",
            "MAIL FROM:<a@b.c> SIZE=4\r\n",
        ),
        (
            "a@b.c",
            "Hé",
            EHLO_OFFERS,
            "MAIL FROM:<a@b.c> SIZE=5 BODY=8BITMIME\r\n",
        ),
        (
            "é@b.c",
            "Hi",
            EHLO_OFFERS,
            "MAIL FROM:<é@b.c> SIZE=4 SMTPUTF8\r\n",
        ),
    ] {
        let mut dialogue = dialogue_of(from, &["x@y.z"], content.as_bytes());
        assert_eq!(
            converse(&mut dialogue, &["220 mx\r\n", offers], 100)[1],
            said
        );
    }
}

#[test]
fn what_the_server_cannot_take_is_not_sent() {
    for (from, to, content, offers, told) in [
        (
            "a@b.c",
            "x@y.z",
            "Hé".to_string(),
            "250-mx\r\n250 SMTPUTF8\r\n",
            "the server does not offer 8BITMIME, which content with bytes beyond ASCII needs",
        ),
        (
            "a@b.c",
            "é@y.z",
            "Hi".to_string(),
            "250-mx\r\n250 8BITMIME\r\n",
            "the server does not offer SMTPUTF8, which an address with characters beyond ASCII needs",
        ),
        // 998 bytes and one line feed are 1000 with CRLF, one more is too much.
        (
            "a@b.c",
            "x@y.z",
            "x".repeat(998) + "x\n",
            EHLO_OFFERS,
            "1001 bytes are more than the 1000 the server takes",
        ),
    ] {
        let mut dialogue = dialogue_of(from, &[to], content.as_bytes());
        let said = converse(&mut dialogue, &["220 mx\r\n", offers], 100);
        assert_eq!(said[1], "QUIT\r\n");
        let error = failure(&dialogue);
        assert_eq!(error.to_string(), told);
        assert!(error.is_permanent() && !error.is_transient() && error.reply().is_none());
    }
    let mut fits = dialogue_of("a@b.c", &["x@y.z"], ("x".repeat(998) + "\n").as_bytes());
    let said = converse(&mut fits, &["220 mx\r\n", EHLO_OFFERS], 100);
    assert_eq!(said[1], "MAIL FROM:<a@b.c> SIZE=1000\r\n");
}

#[test]
fn a_refusal_at_any_stage_ends_it_politely() {
    let positive = [
        "220 mx\r\n",
        "250 mx\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
    ];
    for (index, stage) in [
        Stage::Hello,
        Stage::Hello,
        Stage::Mail,
        Stage::Recipient,
        Stage::Data,
        Stage::EndOfData,
    ]
    .into_iter()
    .enumerate()
    {
        for (refusal, transient) in [
            ("451 4.3.0 later", true),
            ("554 5.7.1 no", false),
            ("421 busy", true),
        ] {
            let line = format!("{refusal}\r\n");
            let heard: Vec<_> = positive[..index]
                .iter()
                .copied()
                .chain([&line[..], "221 bye\r\n"])
                .collect();
            let mut dialogue = dialogue();
            let said = converse(&mut dialogue, &heard, 100);
            // Behind 421 nobody listens.
            let last_words = if refusal.starts_with("421") {
                ""
            } else {
                "QUIT\r\n"
            };
            assert_eq!(&said[index..], [last_words, ""], "{refusal} {stage}");
            let error = failure(&dialogue);
            match error {
                DialogueError::NoRecipient { rejected } => {
                    assert_eq!((stage, rejected.len()), (Stage::Recipient, 1));
                }
                DialogueError::Refused { stage: at, .. } => assert_eq!(*at, stage),
                other => panic!("{other:?}"),
            }
            assert_eq!(error.reply().unwrap().to_string(), refusal);
            assert_eq!(
                (error.is_transient(), error.is_permanent()),
                (transient, !transient)
            );
            assert_eq!(dialogue.is_past_end_of_data(), stage == Stage::EndOfData);
        }
    }
}

#[test]
fn a_server_without_ehlo_gets_helo() {
    let heard = ["220 mx\r\n", "502 what?\r\n", "250 mx\r\n"];
    let said = converse(&mut dialogue(), &heard, 100);
    assert_eq!(
        said,
        [
            "EHLO client.example\r\n",
            "HELO client.example\r\n",
            "MAIL FROM:<a@b.c>\r\n"
        ]
    );
}

fn to_three(replies: [&str; 3]) -> (Dialogue, Vec<String>) {
    let mut dialogue = dialogue_of("a@b.c", &["1@y.z", "2@y.z", "3@y.z"], b"Hi\r\n");
    let opening = ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n"];
    let heard: Vec<_> = opening.into_iter().chain(replies).collect();
    let said = converse(&mut dialogue, &heard, 100);
    (dialogue, said)
}

#[test]
fn one_accepted_recipient_is_enough() {
    let (mut dialogue, said) = to_three(["550 5.1.1 no\r\n", "251 forwarded\r\n", "450 busy\r\n"]);
    assert_eq!(
        said[2..],
        [
            "RCPT TO:<1@y.z>\r\n",
            "RCPT TO:<2@y.z>\r\n",
            "RCPT TO:<3@y.z>\r\n",
            "DATA\r\n"
        ]
    );
    dialogue.handle_bytes(b"354 go\r\n");
    assert_eq!(say(&mut dialogue, 100), "Hi\r\n.\r\n");
    dialogue.handle_bytes(b"250 taken\r\n");
    let completed = dialogue.outcome().unwrap().as_ref().unwrap();
    assert_eq!(completed.accepted, [address("2@y.z").into()]);
    assert_eq!(
        completed.rejected,
        [
            (address("1@y.z").into(), reply(550, "5.1.1", "no")),
            (address("3@y.z").into(), reply(450, "", "busy")),
        ]
    );
}

#[test]
fn without_a_recipient_nothing_goes_out() {
    for (replies, transient, decisive) in [
        (["550 a\r\n", "551 b\r\n", "553 c\r\n"], false, "550 a"),
        (["550 a\r\n", "450 b\r\n", "553 c\r\n"], true, "450 b"),
    ] {
        let (dialogue, said) = to_three(replies);
        assert_eq!(said[5], "QUIT\r\n");
        let error = failure(&dialogue);
        assert_eq!(
            (error.rejected().len(), error.is_transient()),
            (3, transient)
        );
        assert_eq!(error.reply().unwrap().to_string(), decisive);
        assert!(
            error.to_string().contains("<1@y.z>: 550 a, <2@y.z>: "),
            "{error}"
        );
    }
    // 421 is about the connection: the other recipients are not blamed.
    let (dialogue, said) = to_three(["250 ok\r\n", "421 busy\r\n", ""]);
    assert_eq!(said[4..], ["", ""]);
    let error = failure(&dialogue);
    assert!(
        matches!(error, DialogueError::Refused { stage: Stage::Recipient, rejected, .. } if rejected.is_empty())
    );
}

#[test]
fn many_refused_recipients_stay_readable_and_bounded() {
    let recipients: Vec<_> = (0..100).map(|number| format!("{number}@y.z")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let mut dialogue = dialogue_of("a@b.c", &recipients, b"Hi");
    let refusal = "550-long\r\n".repeat(100) + "550 long\r\n";
    let opening = ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n"];
    let heard: Vec<_> = opening.into_iter().chain([&refusal[..]; 100]).collect();
    let _ = converse(&mut dialogue, &heard, 10_000);
    let error = failure(&dialogue);
    assert_eq!(error.rejected().len(), 100);
    assert!(
        error
            .rejected()
            .iter()
            .all(|(_, reply)| reply.lines().len() == 8)
    );
    assert!(error.to_string().ends_with(", and 97 more"), "{error}");
}

#[test]
fn replies_that_answer_nothing_end_it_at_once() {
    let opening = ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n"];
    for (number, last, stage) in [
        (0, "220 mx\r\n250 mx\r\n", Stage::Hello),
        (1, "250 mx\r\n250 ok\r\n", Stage::Mail),
        (2, "250 ok\r\n250 ok\r\n", Stage::Recipient),
        (3, "250 ok\r\n354 go\r\n", Stage::Data),
        (4, "354 go\r\n250 taken\r\n", Stage::Content),
    ] {
        let heard: Vec<_> = opening[..number].iter().copied().chain([last]).collect();
        let mut dialogue = dialogue();
        let said = converse(&mut dialogue, &heard, 1000);
        assert_eq!(said[number], "", "no QUIT, no content: {last:?}");
        let error = failure(&dialogue);
        assert!(
            matches!(error, DialogueError::OutOfTurn { stage: at, .. } if *at == stage),
            "{error:?}"
        );
        assert!(!dialogue.is_past_end_of_data() && error.reply().is_none());
    }
}

#[test]
fn a_reply_of_the_wrong_kind_is_no_agreement() {
    let positive = [
        "220 mx\r\n",
        "250 mx\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
    ];
    for (index, wrong) in [
        (0, "354 go\r\n"),
        (1, "354 go\r\n"),
        (2, "354 go\r\n"),
        (3, "354 go\r\n"),
        (4, "250 ok\r\n"),
        (4, "334 challenge\r\n"),
        (5, "354 more\r\n"),
    ] {
        let heard: Vec<_> = positive[..index].iter().copied().chain([wrong]).collect();
        let mut dialogue = dialogue();
        let said = converse(&mut dialogue, &heard, 100);
        assert_eq!(said[index], "QUIT\r\n", "{wrong:?}");
        assert!(
            matches!(failure(&dialogue), DialogueError::OutOfTurn { .. }),
            "{wrong:?}"
        );
    }
}

#[test]
fn nonsense_ends_it_at_once_and_leaves_doubt_only_behind_the_content() {
    let positive = [
        "220 mx\r\n",
        "250 mx\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
    ];
    for index in 0..=positive.len() {
        let heard: Vec<_> = positive[..index]
            .iter()
            .copied()
            .chain(["250-ok\r\n550 really\r\n"])
            .collect();
        let mut dialogue = dialogue();
        let said = converse(&mut dialogue, &heard, 100);
        assert_eq!(said[index], "");
        let error = failure(&dialogue);
        assert!(matches!(
            error,
            DialogueError::Garbled {
                error: super::super::ReplyError::CodesDiffer { .. },
                ..
            }
        ));
        assert_eq!(dialogue.is_past_end_of_data(), index == positive.len());
    }
}

fn at_content(content: &[u8]) -> Dialogue {
    let mut dialogue = dialogue_of("a@b.c", &["x@y.z"], content);
    let _ = converse(
        &mut dialogue,
        &["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n"],
        100,
    );
    dialogue.handle_bytes(b"354 go\r\n");
    dialogue
}

#[test]
fn content_is_produced_only_as_it_is_asked_for() {
    let mut dialogue = at_content(&[b'x'; 100]);
    for _ in 0..9 {
        assert_eq!(dialogue.poll_output(10).unwrap().len(), 10);
        assert!(!dialogue.is_past_end_of_data());
    }
    assert_eq!(
        dialogue.poll_output(10).unwrap(),
        &b"xxxxxxxxxx\r\n.\r\n"[..]
    );
    assert!(dialogue.is_past_end_of_data());
    assert_eq!(dialogue.poll_output(10), None);

    let mut empty = at_content(b"");
    assert_eq!(empty.poll_output(10).unwrap(), &b".\r\n"[..]);
    assert!(empty.is_past_end_of_data());
}

#[test]
fn a_server_that_gives_up_inside_the_content_gets_no_more_of_it() {
    for (line, transient) in [("552 5.3.4 too big", false), ("421 4.3.2 going down", true)] {
        let mut dialogue = at_content(&[b'x'; 100]);
        assert!(dialogue.poll_output(10).is_some());
        dialogue.handle_bytes(format!("{line}\r\n").as_bytes());
        assert_eq!(dialogue.poll_output(10), None);
        let error = failure(&dialogue);
        assert!(
            matches!(
                error,
                DialogueError::Refused {
                    stage: Stage::Content,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(
            (error.reply().unwrap().to_string(), error.is_transient()),
            (line.into(), transient)
        );
        assert!(!dialogue.is_past_end_of_data());
    }
}

#[test]
fn a_server_that_goes_is_believed_even_out_of_turn() {
    let mut dialogue = dialogue();
    dialogue.handle_bytes(b"220 mx\r\n421 going down\r\n");
    assert_eq!(dialogue.poll_output(100), None);
    assert_eq!(
        failure(&dialogue).reply(),
        Some(&reply(421, "", "going down"))
    );
}

#[test]
fn the_outcome_stands_whatever_follows() {
    for late in [
        "",
        "550 really\r\n",
        "nonsense\r\n",
        "421 bye\r\n",
        "250-\r\n550 x\r\n",
    ] {
        let mut dialogue = at_content(b"Hi");
        let _ = say(&mut dialogue, 100);
        dialogue.handle_bytes(format!("250 taken\r\n{late}").as_bytes());
        dialogue.handle_bytes(b"221 bye\r\n\0\0\0");
        let completed = dialogue.outcome().unwrap().as_ref().unwrap();
        assert_eq!(completed.reply, reply(250, "", "taken"));
    }
}

#[test]
fn debug_tells_no_content() {
    let mut dialogue = at_content(b"secret");
    assert!(!format!("{dialogue:?}").contains("secret"));
    let _ = dialogue.poll_output(3);
    let told = format!("{dialogue:?}");
    assert!(
        !told.contains("secret") && told.contains("content_bytes: 6"),
        "{told}"
    );
}

/// A dialogue and our own server, joined: what arrives, and the outcome.
fn deliver(mut dialogue: Dialogue, most: usize) -> (Vec<u8>, Dialogue) {
    let mut session = Session::new(SessionConfig::new("mx.example".parse().unwrap()));
    session.greet(reply(220, "", "mx.example"));
    let mut arrived = Vec::new();
    loop {
        while let Some(request) = session.poll_request() {
            match request {
                Request::Content(bytes) => arrived.extend_from_slice(&bytes),
                Request::Data => session.respond(reply(354, "", "go")),
                Request::Reset | Request::Quit => {}
                _ => session.respond(reply(250, "2.0.0", "ok")),
            }
        }
        let heard = session.poll_output();
        if let Some(bytes) = &heard {
            dialogue.handle_bytes(bytes);
        }
        let said = dialogue.poll_output(most);
        if let Some(bytes) = &said {
            session.handle_bytes(bytes);
        }
        if heard.is_none() && said.is_none() {
            return (arrived, dialogue);
        }
    }
}

proptest! {
    #[test]
    fn our_own_server_gets_what_was_given(
        content in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a'), any::<u8>()],
            0..300,
        ),
        most in 1usize..50,
    ) {
        let (arrived, dialogue) = deliver(dialogue_of("a@b.c", &["x@y.z", "é@y.z"], &content), most);
        let completed = dialogue.outcome().unwrap().as_ref().unwrap();
        prop_assert_eq!(completed.accepted.len(), 2);
        prop_assert_eq!(arrived.len() as u64, crate::smtp::content::normalised_len(&content));
        let visible = |bytes: &[u8]| -> Vec<u8> {
            bytes.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | b'\0')).collect()
        };
        prop_assert_eq!(visible(&arrived), visible(&content));
        prop_assert!(arrived.is_empty() || arrived.ends_with(b"\r\n"));
    }

    #[test]
    fn whatever_the_server_says_nothing_breaks(
        heard in proptest::collection::vec(
            prop_oneof![
                Just(b"220 a\r\n".to_vec()),
                Just(b"250 a\r\n".to_vec()),
                Just(b"250-a\r\n250 SIZE 3\r\n".to_vec()),
                Just(b"354 a\r\n".to_vec()),
                Just(b"450 a\r\n".to_vec()),
                Just(b"550 a\r\n".to_vec()),
                Just(b"421 a\r\n".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..8),
            ],
            0..12,
        ),
        polls in proptest::collection::vec(0usize..4, 12),
    ) {
        let mut dialogue = dialogue_of("a@b.c", &["x@y.z", "w@y.z"], b"Hello\r\n.\r\nyou");
        let (mut said, mut decided) = (Vec::new(), None);
        for (bytes, polls) in heard.iter().zip(polls) {
            dialogue.handle_bytes(bytes);
            for _ in 0..polls {
                said.extend(dialogue.poll_output(5).unwrap_or_default());
            }
            // Past the end of data exactly when the end was said.
            let ended = said.windows(5).filter(|window| window == b"\r\n.\r\n").count();
            prop_assert_eq!(usize::from(dialogue.is_past_end_of_data()), ended);
            // The outcome never changes, and is no success without the end of data.
            let outcome = dialogue.outcome().cloned();
            prop_assert!(decided.is_none() || decided == outcome);
            prop_assert!(!matches!(outcome, Some(Ok(_))) || ended == 1);
            decided = outcome;
        }
    }
}
