use std::{format, string::String, string::ToString, vec, vec::Vec};

use super::super::{Category, ReplyError, reply};
use super::*;

const MESSAGE: &str = "MAIL FROM:<a@b.c>\nRCPT TO:<x@y.z>\nDATA\nSubject: Hi\n\n..dot\n.\nQUIT\n";

fn run_of(script: &str) -> ScriptRun {
    let script = Script::parse(script.as_bytes()).unwrap();
    ScriptRun::new("client.example".parse().unwrap(), script)
}

fn say(run: &mut ScriptRun) -> String {
    let mut said = Vec::new();
    while let Some(bytes) = run.poll_output(7) {
        assert!((1..=7).contains(&bytes.len()));
        said.extend_from_slice(&bytes);
    }
    String::from_utf8(said).unwrap()
}

/// Hears each of `heard`, and tells what was said after each, before the next came.
fn converse(run: &mut ScriptRun, heard: &[&str]) -> Vec<String> {
    assert_eq!(run.poll_output(100), None, "the server speaks first");
    let hear = |text: &&str| {
        run.handle_bytes(text.as_bytes());
        say(run)
    };
    heard.iter().map(hear).collect()
}

fn told(transcript: &[Exchange]) -> Vec<String> {
    transcript
        .iter()
        .map(|exchange| format!("{exchange:?}"))
        .collect()
}

fn failure(run: &ScriptRun) -> &DialogueError {
    run.outcome().unwrap().as_ref().unwrap_err()
}

#[test]
fn what_cannot_be_sent_line_by_line_is_no_script() {
    let long = "x".repeat(MAX_COMMAND + 1);
    for (text, error) in [
        ("", ScriptError::Empty),
        ("\r\n\n", ScriptError::Empty),
        ("QUIT", ScriptError::Empty),
        ("NOOP\nRS\rET", ScriptError::Control { line: 2 }),
        ("NO\0OP", ScriptError::Control { line: 1 }),
        ("NOOP\r\r\n", ScriptError::Control { line: 1 }),
        ("DATA\nx\n.\r.\n.\n", ScriptError::Control { line: 3 }),
        (&long, ScriptError::TooLong { line: 1 }),
        ("DATA", ScriptError::Unfinished),
        ("DATA\nx\nQUIT", ScriptError::Unfinished),
        ("data \nx\n. \n", ScriptError::Unfinished),
        ("quit\n\nNOOP", ScriptError::AfterQuit { line: 3 }),
    ] {
        assert_eq!(Script::parse(text.as_bytes()), Err(error), "{text:?}");
    }
    assert!(Script::parse(&long.as_bytes()[1..]).is_ok());
    // Lines of content have no such bound, and its last line no line end.
    assert!(Script::parse(format!("DATA\n{long}\n.").as_bytes()).is_ok());
}

#[test]
fn a_script_is_the_same_with_either_line_end() {
    let unix = Script::parse(MESSAGE.as_bytes()).unwrap();
    let wire = Script::parse(MESSAGE.replace('\n', "\r\n").as_bytes()).unwrap();
    assert_eq!(unix, wire);
    assert_eq!(
        unix.len(),
        "MAIL FROM:<a@b.c>RCPT TO:<x@y.z>DATASubject: Hi\r\n\r\n..dot\r\n.\r\n".len()
    );
    assert!(!unix.is_empty());
    assert_eq!(format!("{unix:?}"), format!("Script({} bytes)", unix.len()));
}

#[test]
fn a_script_runs_line_by_line_and_is_greeted_for() {
    let mut run = run_of(MESSAGE);
    let heard = [
        "220 mx\r\n",
        "500 what?\r\n",
        "250 mx\r\n",
        "250 2.1.0 ok\r\n",
        "250 2.1.5 ok\r\n",
        "354 go\r\n",
        "250 taken\r\n",
        "221 bye\r\n",
    ];
    assert_eq!(
        converse(&mut run, &heard),
        [
            "EHLO client.example\r\n",
            "HELO client.example\r\n",
            "MAIL FROM:<a@b.c>\r\n",
            "RCPT TO:<x@y.z>\r\n",
            "DATA\r\n",
            "Subject: Hi\r\n\r\n..dot\r\n.\r\n",
            "QUIT\r\n",
            "",
        ]
    );
    let completed = run.outcome().unwrap().as_ref().unwrap();
    assert_eq!(completed.reply, reply(250, "", "taken"));
    assert_eq!(
        told(&completed.transcript),
        [
            " → 220 mx",
            "EHLO client.example → 500 what?",
            "HELO client.example → 250 mx",
            "MAIL FROM:<a@b.c> → 250 2.1.0 ok",
            "RCPT TO:<x@y.z> → 250 2.1.5 ok",
            "DATA → 354 go",
            ". → 250 taken",
        ]
    );
}

#[test]
fn a_script_may_greet_for_itself() {
    for hello in ["EHLO me.example", "helo me.example"] {
        let mut run = run_of(&format!("{hello}\nNOOP"));
        let said = converse(&mut run, &["220 mx\r\n", "250 mx\r\n", "250 ok\r\n"]);
        assert_eq!(said, [&format!("{hello}\r\n"), "NOOP\r\n", "QUIT\r\n"]);
    }
    // A hello inside content is none, nor is a longer word.
    for script in ["DATA\nEHLO me\n.\n", "EHLOX me\n"] {
        let said = converse(&mut run_of(script), &["220 mx\r\n"]);
        assert_eq!(said, ["EHLO client.example\r\n"]);
    }
}

#[test]
fn the_first_refusal_ends_it_with_the_transcript_so_far() {
    let heard = [
        "220 mx\r\n",
        "250 mx\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
    ];
    for (index, stage) in [
        "",
        "EHLO client.example",
        "MAIL FROM:<a@b.c>",
        "RCPT TO:<x@y.z>",
        "DATA",
        ".",
    ]
    .into_iter()
    .enumerate()
    {
        for refusal in ["450 4.2.0 later", "554 5.7.1 no", "421 busy"] {
            let line = format!("{refusal}\r\n");
            let heard: Vec<_> = heard[..index]
                .iter()
                .copied()
                .chain([&line[..], "221 bye\r\n"])
                .collect();
            let mut run = run_of(MESSAGE);
            let said = converse(&mut run, &heard);
            if (index, refusal) == (1, "554 5.7.1 no") {
                // No service at all.
                assert_eq!(said[1], "QUIT\r\n");
            }
            let last_words = if refusal.starts_with("421") {
                ""
            } else {
                "QUIT\r\n"
            };
            assert_eq!(said[index..], [last_words, ""], "{refusal} at {stage:?}");
            let DialogueError::Script {
                reply,
                transcript,
                delivered,
            } = failure(&run)
            else {
                panic!("{:?}", run.outcome());
            };
            assert_eq!(
                (reply.to_string(), transcript.len(), *delivered),
                (refusal.into(), index + 1, false)
            );
            assert_eq!(transcript[index].line, stage.as_bytes());
            assert_eq!(failure(&run).is_transient(), !refusal.starts_with('5'));
            assert_eq!(run.is_past_end_of_data(), stage == ".");
        }
    }
}

#[test]
fn a_script_that_delivered_before_it_failed_is_not_run_again() {
    let twice = format!("{}{}", MESSAGE.replace("QUIT\n", ""), "MAIL FROM:<a@b.c>\n");
    let mut run = run_of(&twice);
    let heard = [
        "220 mx\r\n",
        "250 mx\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
        "250 taken\r\n",
        "450 4.2.0 enough\r\n",
    ];
    assert_eq!(converse(&mut run, &heard)[6], "QUIT\r\n");
    let error = failure(&run);
    assert!(matches!(
        error,
        DialogueError::Script {
            delivered: true,
            ..
        }
    ));
    assert!(error.is_permanent() && error.category() == Some(Category::MailboxUnavailable));
}

#[test]
fn content_is_past_its_end_only_when_all_of_it_was_handed_out() {
    let mut run = run_of("DATA\nxxxxxxx\n.\n");
    let _ = converse(&mut run, &["220 mx\r\n", "250 mx\r\n"]);
    run.handle_bytes(b"354 go\r\n");
    assert_eq!(run.poll_output(9).unwrap(), &b"xxxxxxx\r\n"[..]);
    assert!(!run.is_past_end_of_data());
    assert_eq!(run.poll_output(9).unwrap(), &b".\r\n"[..]);
    assert!(run.is_past_end_of_data() && run.outcome().is_none());
}

#[test]
fn replies_that_do_not_fit_are_no_agreement() {
    let opening = [
        "220 mx\r\n",
        "250 mx\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
    ];
    for (index, last, last_words) in [
        (0, "354 go\r\n", "QUIT\r\n"),
        (4, "250 ok\r\n", "QUIT\r\n"),
        (5, "354 more\r\n", "QUIT\r\n"),
        // Before it is the server's turn.
        (0, "220 mx\r\n250 mx\r\n", ""),
        (2, "250 ok\r\n250 ok\r\n", ""),
        (4, "354 go\r\n250 taken\r\n", ""),
    ] {
        let heard: Vec<_> = opening[..index].iter().copied().chain([last]).collect();
        let mut run = run_of(MESSAGE);
        assert_eq!(converse(&mut run, &heard)[index], last_words, "{last:?}");
        assert!(
            matches!(failure(&run), DialogueError::OutOfTurn { .. }),
            "{last:?}"
        );
    }
    let mut run = run_of(MESSAGE);
    let heard: Vec<_> = opening.into_iter().chain(["250 ok\n"]).collect();
    let _ = converse(&mut run, &heard);
    let (stage, error) = (Stage::EndOfData, ReplyError::BareLineEnd);
    assert_eq!(failure(&run), &DialogueError::Garbled { stage, error });
    assert!(run.is_past_end_of_data());
}

#[test]
fn a_server_that_gives_up_inside_the_content_gets_no_more_of_it() {
    for refusal in ["552 5.3.4 too big", "421 going down"] {
        let mut run = run_of(MESSAGE);
        let _ = converse(
            &mut run,
            &["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n"],
        );
        run.handle_bytes(b"354 go\r\n");
        assert!(run.poll_output(5).is_some());
        run.handle_bytes(format!("{refusal}\r\n").as_bytes());
        assert_eq!(run.poll_output(5), None);
        assert_eq!(failure(&run).reply().unwrap().to_string(), refusal);
        assert!(!run.is_past_end_of_data());
    }
}

#[test]
fn the_outcome_stands_whatever_follows() {
    for late in [
        "",
        "221 bye\r\n",
        "550 no\r\n",
        "nonsense\r\n",
        "421 bye\r\n",
    ] {
        let mut run = run_of("NOOP");
        let _ = converse(&mut run, &["220 mx\r\n", "250 mx\r\n"]);
        run.handle_bytes(format!("250 fine\r\n{late}").as_bytes());
        let completed = run.outcome().unwrap().as_ref().unwrap();
        assert_eq!(completed.reply, reply(250, "", "fine"), "{late:?}");
    }
}

#[test]
fn neither_content_nor_secrets_are_told() {
    let mut run = run_of("AUTH LOGIN c2VjcmV0\nc2VjcmV0\nAUTH PLAIN\nDATA\nc2VjcmV0\n.\n");
    let heard = [
        "220 mx\r\n",
        "250 mx\r\n",
        "334 Password:\r\n",
        "235 ok\r\n",
        "235 ok\r\n",
        "354 go\r\n",
    ];
    assert_eq!(converse(&mut run, &heard)[2], "c2VjcmV0\r\n");
    assert!(!format!("{run:?}").contains("c2VjcmV0"));
    run.handle_bytes(b"550 no\r\n");
    let DialogueError::Script { transcript, .. } = failure(&run) else {
        panic!("{:?}", run.outcome());
    };
    let lines: Vec<_> = transcript[2..]
        .iter()
        .map(|exchange| &exchange.line[..])
        .collect();
    assert_eq!(
        lines,
        vec![&b"AUTH LOGIN"[..], b"***", b"AUTH PLAIN", b"DATA", b"."]
    );
    assert!(!format!("{:?}", run.outcome()).contains("c2VjcmV0"));
}
