//! Dialogues against servers played by tables of replies.

use super::*;
use crate::smtp::{Address, ContentDecoder, reply};
use alloc::{
    format,
    string::{String, ToString},
    vec,
};
use proptest::prelude::*;

fn envelope(from: &str, to: &[&str]) -> Envelope {
    let address = |text: &str| text.parse::<Address>().unwrap();
    Envelope::new(address(from), to.iter().map(|to| address(to))).unwrap()
}

fn dialogue(to: &[&str], content: &'static [u8]) -> Dialogue {
    let envelope = envelope("alice@example.org", to);
    Dialogue::new(
        "client.example".parse().unwrap(),
        envelope,
        Bytes::from_static(content),
    )
}

fn said(dialogue: &mut Dialogue) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = dialogue.poll_output(1000) {
        all.extend_from_slice(&bytes);
    }
    all
}

/// Gives the replies one by one and takes what is said after each.
fn play(dialogue: &mut Dialogue, replies: &[&str]) -> Vec<String> {
    let answer = |reply: &&str| {
        dialogue.handle_bytes(format!("{reply}\r\n").as_bytes());
        String::from_utf8_lossy(&said(dialogue)).into_owned()
    };
    replies.iter().map(answer).collect()
}

fn error(dialogue: &Dialogue) -> DialogueError {
    match dialogue.outcome() {
        Some(Err(error)) => error.clone(),
        other => panic!("{other:?}"),
    }
}

const GOOD: [&str; 6] = [
    "220 mx",
    "250 mx",
    "250 ok",
    "250 ok",
    "354 go",
    "250 2.0.0 taken",
];

#[test]
fn one_message_in_lockstep() {
    let mut dialogue = dialogue(&["bob@example.net"], b"Subject: x\n\n.dot\nlast");
    assert_eq!(said(&mut dialogue), b"");
    assert_eq!(
        play(&mut dialogue, &GOOD),
        [
            "EHLO client.example\r\n",
            "MAIL FROM:<alice@example.org>\r\n",
            "RCPT TO:<bob@example.net>\r\n",
            "DATA\r\n",
            "Subject: x\r\n\r\n..dot\r\nlast\r\n.\r\n",
            "QUIT\r\n",
        ]
    );
    let Some(Ok(completed)) = dialogue.outcome() else {
        panic!("{dialogue:?}");
    };
    assert_eq!(completed.reply, reply(250, "2.0.0", "taken"));
    assert_eq!(completed.accepted.len(), 1);
    // Goodbye changes nothing.
    play(&mut dialogue, &["221 bye"]);
    assert!(matches!(dialogue.outcome(), Some(Ok(_))));
}

#[test]
fn mail_says_what_the_message_needs_and_the_server_offers() {
    let cases: [(&str, &'static [u8], &str); 4] = [
        ("250-mx\r\n250 SIZE", b"a\n", " SIZE=3"),
        ("250-mx\r\n250 8BITMIME", b"a\n", ""),
        ("250-mx\r\n250 8BITMIME", b"\xe4\n", " BODY=8BITMIME"),
        (
            "250-mx\r\n250-SIZE 1000\r\n250 8BITMIME",
            b"\xe4",
            " SIZE=3 BODY=8BITMIME",
        ),
    ];
    for (hello, content, parameters) in cases {
        let mut dialogue = dialogue(&["bob@example.net"], content);
        let lines = play(&mut dialogue, &["220 mx", hello]);
        assert_eq!(
            lines[1],
            format!("MAIL FROM:<alice@example.org>{parameters}\r\n")
        );
    }
    let international = envelope("jürgen@example.org", &["bob@example.net"]);
    let mut dialogue = Dialogue::new("c.example".parse().unwrap(), international, Bytes::new());
    let lines = play(&mut dialogue, &["220 mx", "250-mx\r\n250 SMTPUTF8"]);
    assert_eq!(lines[1], "MAIL FROM:<jürgen@example.org> SMTPUTF8\r\n");
}

#[test]
fn what_the_server_cannot_carry_is_said_before_anything_is_sent() {
    let mut eight_bit = dialogue(&["bob@example.net"], b"\xe4\r\n");
    assert_eq!(play(&mut eight_bit, &GOOD[..2])[1], "QUIT\r\n");
    assert!(error(&eight_bit).to_string().contains("8BITMIME"));

    let mut large = dialogue(&["bob@example.net"], b"12345678\r\n");
    assert_eq!(
        play(&mut large, &["220 mx", "250-mx\r\n250 SIZE 9"])[1],
        "QUIT\r\n"
    );
    assert_eq!(
        error(&large),
        DialogueError::TooLarge {
            length: 10,
            limit: 9
        }
    );

    let mut international = dialogue(&["jürgen@example.net"], b"");
    assert_eq!(play(&mut international, &GOOD[..2])[1], "QUIT\r\n");
    assert!(error(&international).to_string().contains("SMTPUTF8"));
    assert!(error(&international).is_permanent());
}

#[test]
fn partial_acceptance_is_a_success_with_rejected_recipients() {
    let mut dialogue = dialogue(&["a@x.example", "b@x.example", "c@x.example"], b"");
    let replies = [
        "220 mx",
        "250 mx",
        "250 ok",
        "550 5.1.1 no",
        "250 ok",
        "452 4.5.3 later",
    ];
    let lines = play(&mut dialogue, &replies);
    assert_eq!(lines[5], "DATA\r\n");
    play(&mut dialogue, &["354 go", "250 ok"]);
    let Some(Ok(completed)) = dialogue.outcome() else {
        panic!("{dialogue:?}");
    };
    assert_eq!(completed.accepted[0].to_string(), "<b@x.example>");
    let rejected = completed
        .rejected
        .iter()
        .map(|(path, reply)| format!("{path} {reply}"));
    assert_eq!(
        rejected.collect::<Vec<_>>(),
        [
            "<a@x.example> 550 5.1.1 no",
            "<c@x.example> 452 4.5.3 later"
        ]
    );
}

#[test]
fn no_recipient_is_a_failure_and_transient_as_soon_as_one_refusal_is() {
    for (second, transient) in [("550 no", false), ("450 later", true)] {
        let mut dialogue = dialogue(&["a@x.example", "b@x.example"], b"");
        let lines = play(
            &mut dialogue,
            &["220 mx", "250 mx", "250 ok", "550 no", second],
        );
        assert_eq!(lines[4], "QUIT\r\n");
        let error = error(&dialogue);
        assert_eq!(error.is_transient(), transient);
        assert_eq!(error.rejected().len(), 2);
        assert_eq!(error.reply().unwrap().is_transient(), transient);
        assert!(!dialogue.is_past_end_of_data());
    }
}

/// Every refusal at every stage: where it happened, whether it may pass, whether the client says goodbye, and whether the
/// message may have been delivered.
#[test]
fn refusals_name_their_stage() {
    let stages = [
        Stage::Hello,
        Stage::Hello,
        Stage::Mail,
        Stage::Recipient,
        Stage::Data,
        Stage::EndOfData,
    ];
    for (before, stage) in stages.into_iter().enumerate() {
        for refusal in [
            "421 4.3.2 closing",
            "451 4.3.0 later",
            "554 5.7.1 never",
            "354 what",
        ] {
            let mut dialogue = dialogue(&["bob@example.net"], b"x");
            play(&mut dialogue, &GOOD[..before]);
            let lines = play(&mut dialogue, &[refusal]);
            let (is_recipient, code) = (stage == Stage::Recipient, &refusal[..3]);
            if stage == Stage::Data && code == "354" {
                continue;
            }
            let error = error(&dialogue);
            match &error {
                DialogueError::Refused { stage: at, .. } => assert_eq!(*at, stage),
                DialogueError::NoRecipient { .. } => assert!(is_recipient && code != "421"),
                DialogueError::OutOfTurn { stage: at, .. } => {
                    assert_eq!((*at, code), (stage, "354"));
                }
                other => panic!("{other:?}"),
            }
            let has_quit = lines[0] == "QUIT\r\n";
            assert_eq!(has_quit, code != "421", "{stage} {refusal}");
            assert_eq!(error.is_transient(), code != "554", "{stage} {refusal}");
            assert_eq!(dialogue.is_past_end_of_data(), stage == Stage::EndOfData);
        }
    }
}

#[test]
fn a_refusal_in_the_content_stops_it_and_says_no_quit_into_it() {
    let content: &'static [u8] = &[b'x'; 10_000];
    let mut dialogue = dialogue(&["bob@example.net"], content);
    play(&mut dialogue, &GOOD[..4]);
    dialogue.handle_bytes(b"354 go\r\n");
    let first = dialogue.poll_output(1000).unwrap();
    assert_eq!(first.len(), 1000);
    dialogue.handle_bytes(b"552 5.3.4 too much\r\n");
    assert_eq!(dialogue.poll_output(1000), None);
    assert!(matches!(
        error(&dialogue),
        DialogueError::Refused {
            stage: Stage::Content,
            ..
        }
    ));
    assert!(!dialogue.is_past_end_of_data());
}

#[test]
fn a_server_that_does_not_keep_to_smtp_is_left() {
    // Two replies where one was asked for: the second would answer what is not said yet.
    for (before, surplus) in [
        (0, "220 mx\r\n250 mx"),
        (2, "250 ok\r\n250 ok"),
        (3, "250 ok\r\n354 go"),
    ] {
        let mut dialogue = dialogue(&["bob@example.net"], b"x");
        play(&mut dialogue, &GOOD[..before]);
        let lines = play(&mut dialogue, &[surplus]);
        assert!(
            matches!(error(&dialogue), DialogueError::OutOfTurn { .. }),
            "{surplus}"
        );
        assert_eq!(lines, [""]);
    }
    for garbage in ["hello", "250-a\r\n550 b", "99 x", "250 a\nb"] {
        let mut dialogue = dialogue(&["bob@example.net"], b"x");
        play(&mut dialogue, &GOOD[..5]);
        play(&mut dialogue, &[garbage]);
        let error = error(&dialogue);
        assert!(matches!(
            error,
            DialogueError::Garbled {
                stage: Stage::EndOfData,
                ..
            }
        ));
        // Nobody knows what became of the message: the owner sees it by the missing reply.
        assert!(dialogue.is_past_end_of_data() && error.reply().is_none());
    }
}

#[test]
fn debug_output_shows_no_content() {
    let dialogue = dialogue(&["bob@example.net"], b"private words");
    assert!(!format!("{dialogue:?}").contains("private"));
}

proptest! {
    /// However small the pieces are that the owner asks for, the server reads the same content.
    #[test]
    fn pieces_do_not_change_the_content(content in any::<Vec<u8>>(), most in 0usize..50) {
        let envelope = envelope("a@x.example", &["b@x.example"]);
        let mut dialogue =
            Dialogue::new("c.example".parse().unwrap(), envelope, content.clone().into());
        play(&mut dialogue, &["220 mx", "250-mx\r\n250 8BITMIME", "250 ok", "250 ok"]);
        dialogue.handle_bytes(b"354 go\r\n");
        let mut wire = vec![];
        while let Some(piece) = dialogue.poll_output(most) {
            prop_assert!(!dialogue.is_past_end_of_data() || piece.ends_with(b".\r\n"));
            wire.extend_from_slice(&piece);
        }
        let mut whole = BytesMut::new();
        let mut encoder = ContentEncoder::new();
        encoder.encode(&content, &mut whole);
        encoder.finish(&mut whole);
        prop_assert_eq!(&wire, &whole);
        let mut read = BytesMut::new();
        let decoded = ContentDecoder::new().decode(&wire, &mut read);
        prop_assert!(decoded.ended && decoded.consumed == wire.len());
    }

    #[test]
    fn arbitrary_servers_do_no_harm(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
        let mut dialogue = dialogue(&["bob@example.net"], b"x");
        for piece in pieces {
            dialogue.handle_bytes(&piece);
            said(&mut dialogue);
        }
    }
}
