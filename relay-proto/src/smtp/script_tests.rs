//! Raw dialogues, read and run.

use super::*;
use alloc::{
    format,
    string::{String, ToString},
};

const SCRIPT: &str =
    "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\nDATA\nSubject: x\n\n..dot\n.\nQUIT\n";

fn script(text: &str) -> Script {
    Script::parse(text.as_bytes()).unwrap()
}

fn run(text: &str, replies: &[&str]) -> (ScriptRun, Vec<String>) {
    let mut run = ScriptRun::new("client.example".parse().unwrap(), script(text));
    let mut lines = Vec::new();
    for reply in replies {
        run.handle_bytes(format!("{reply}\r\n").as_bytes());
        let mut said = Vec::new();
        while let Some(bytes) = run.poll_output(7) {
            assert!(bytes.len() <= 7);
            said.extend_from_slice(&bytes);
        }
        lines.push(String::from_utf8(said).unwrap());
    }
    (run, lines)
}

#[test]
fn a_script_runs_line_by_line_with_a_greeting_of_ours() {
    let replies = [
        "220 mx",
        "250 mx",
        "250 s",
        "250 r",
        "354 go",
        "250 taken",
        "221 bye",
    ];
    let (run, lines) = run(SCRIPT, &replies);
    assert_eq!(
        lines,
        [
            "EHLO client.example\r\n",
            "MAIL FROM:<a@x.example>\r\n",
            "RCPT TO:<b@x.example>\r\n",
            "DATA\r\n",
            "Subject: x\r\n\r\n..dot\r\n.\r\n",
            "QUIT\r\n",
            ""
        ]
    );
    let Some(Ok(completed)) = run.outcome() else {
        panic!("{run:?}");
    };
    let shown: Vec<_> = completed
        .transcript
        .iter()
        .map(|exchange| format!("{exchange:?}"))
        .collect();
    assert_eq!(shown[1], "EHLO client.example → 250 mx");
    assert_eq!(shown[5], ". → 250 taken");
    assert_eq!(shown.len(), replies.len());
}

#[test]
fn a_script_that_greets_for_itself_is_not_greeted_for_and_quit_is_added() {
    let replies = ["220 mx", "250 me", "250 ok", "221 bye"];
    let (run, lines) = run("HELO me\nNOOP", &replies);
    assert_eq!(lines, ["HELO me\r\n", "NOOP\r\n", "QUIT\r\n", ""]);
    assert!(matches!(run.outcome(), Some(Ok(_))));
}

#[test]
fn a_refusal_ends_the_script_with_code_text_and_transcript() {
    let (run, lines) = run(
        SCRIPT,
        &["220 mx", "250 mx", "250 s", "550 5.1.1 no such user"],
    );
    assert_eq!(lines[3], "QUIT\r\n");
    let Some(Err(
        error @ DialogueError::Script {
            transcript,
            delivered: false,
            ..
        },
    )) = run.outcome()
    else {
        panic!("{run:?}");
    };
    assert_eq!(error.reply().unwrap().code().as_u16(), 550);
    assert!(error.to_string().contains("no such user"), "{error}");
    assert_eq!(transcript.len(), 4);
    assert!(error.is_permanent());
}

#[test]
fn data_that_is_not_answered_with_354_ends_the_script_before_its_content() {
    let (run, lines) = run(SCRIPT, &["220 mx", "250 mx", "250 s", "250 r", "250 what"]);
    assert_eq!(lines[4], "QUIT\r\n");
    assert!(!run.is_past_end_of_data());
    assert!(matches!(run.outcome(), Some(Err(_))));
}

#[test]
fn a_script_that_has_delivered_is_not_transient_any_more() {
    let twice = format!("{}{SCRIPT}", SCRIPT.replace("QUIT\n", ""));
    let replies = [
        "220 mx",
        "250 mx",
        "250 s",
        "250 r",
        "354 go",
        "250 taken",
        "451 later",
    ];
    let (run, _) = run(&twice, &replies);
    let Some(Err(error)) = run.outcome() else {
        panic!("{run:?}");
    };
    assert!(run.is_past_end_of_data());
    assert!(!error.is_transient());
}

#[test]
fn a_server_that_does_not_keep_to_smtp_is_left() {
    for replies in [&["220 mx\r\n250 mx"][..], &["220 mx", "250 mx", "nonsense"]] {
        let (run, _) = run(SCRIPT, replies);
        assert!(matches!(
            run.outcome(),
            Some(Err(
                DialogueError::OutOfTurn { .. } | DialogueError::Garbled { .. }
            ))
        ));
    }
}

#[test]
fn what_cannot_be_one_line_is_no_script() {
    let long = "x".repeat(MAX_COMMAND + 1);
    let cases = [
        ("", ScriptError::Empty),
        ("\n\r\n", ScriptError::Empty),
        ("NOOP\nMAIL\rFROM", ScriptError::Control { line: 2 }),
        ("NO\0OP", ScriptError::Control { line: 1 }),
        (long.as_str(), ScriptError::TooLong { line: 1 }),
        ("DATA\nno end", ScriptError::Unfinished),
    ];
    for (text, error) in cases {
        assert_eq!(Script::parse(text.as_bytes()), Err(error));
    }
    assert!(!format!("{:?}", script(SCRIPT)).contains("Subject"));
}
