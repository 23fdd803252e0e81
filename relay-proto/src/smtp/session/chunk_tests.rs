use crate::smtp::{Request, Session, Turn, session::tests::*};
use alloc::{format, string::String, vec::Vec};

fn session() -> Session {
    let mut config = config();
    config.capabilities.chunking = true;
    config.max_message_bytes = Some(20);
    let mut session = greeted(config);
    say(&mut session, "EHLO c\r\n");
    session
}

const BEGIN: &str = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";

/// The content of each message that came to its end.
fn messages(requests: &[Request]) -> Vec<Vec<u8>> {
    let (mut messages, mut content) = (Vec::new(), Vec::new());
    for request in requests {
        match request {
            Request::Content(piece) => content.extend_from_slice(piece),
            Request::EndOfContent => messages.push(core::mem::take(&mut content)),
            Request::Reset => content.clear(),
            _ => {}
        }
    }
    messages
}

#[test]
fn chunks_are_joined_and_nothing_in_them_ends_them() {
    let mut session = session();
    let script = format!("{BEGIN}BDAT 5\r\n\r\n.\r\nbdat 0\r\nBDAT 6 last\r\n.QUIT\nNOOP\r\n");
    let (requests, output) = say(&mut session, script);
    assert_eq!(codes(&output), [250, 250, 250, 250, 250, 250]);
    assert!(output.contains("250 2.0.0 5 bytes received\r\n"));
    assert_eq!(messages(&requests), [b"\r\n.\r\n.QUIT\n"]);
    assert!(!requests.contains(&Request::Data));
}

#[test]
fn an_empty_last_chunk_ends_a_message_and_may_be_all_of_it() {
    let mut session = session();
    let script = format!("{BEGIN}BDAT 1\r\nxBDAT 0 LAST\r\n{BEGIN}BDAT 0 LAST\r\n");
    let (requests, output) = say(&mut session, script);
    assert_eq!(codes(&output), [250; 7]);
    assert_eq!(messages(&requests), [&b"x"[..], b""]);
    assert!(!session.in_transaction());
}

#[test]
fn a_refused_chunk_is_never_commands() {
    let injected = "RSET\r\nMAIL FROM:<m@x>\r\n";
    let cases = [
        // No transaction; no recipient; a second message behind LAST; too large, and what follows of it.
        (String::new(), injected.len(), [503].as_slice()),
        (
            "MAIL FROM:<a@b>\r\nRCPT TO:<no@d>\r\n".into(),
            injected.len(),
            &[250, 550, 554],
        ),
        (
            format!("{BEGIN}BDAT 0 LAST\r\n"),
            injected.len(),
            &[250, 250, 250, 503],
        ),
        (BEGIN.into(), injected.len(), &[250, 250, 552]),
    ];
    for (before, size, expected) in cases {
        let mut session = session();
        let script = format!("{before}BDAT {size} LAST\r\n{injected}");
        let (requests, output) = say(&mut session, &script);
        assert_eq!(codes(&output), expected, "{script}");
        let senders = requests
            .iter()
            .filter(|request| matches!(request, Request::Mail { .. }));
        assert!(senders.count() <= 1, "{requests:?}");
        let (_, output) = say(&mut session, "RSET\r\nMAIL FROM:<a@b>\r\n");
        assert_eq!(codes(&output), [250, 250]);
    }
}

#[test]
fn too_much_in_several_chunks_is_refused_once_and_the_rest_passed_over() {
    let mut session = session();
    let chunk = |last| format!("BDAT 11{last}\r\n{}", "x".repeat(11));
    let script = format!(
        "{BEGIN}{}{}{}NOOP\r\n",
        chunk(""),
        chunk(""),
        chunk(" LAST")
    );
    let (requests, output) = say(&mut session, script);
    assert_eq!(codes(&output), [250, 250, 250, 552, 503, 250]);
    assert!(requests.contains(&Request::Reset));
    assert!(messages(&requests).is_empty());
}

#[test]
fn a_size_that_is_none_ends_the_session() {
    let sizes = [
        "",
        " ",
        " -1",
        " +1",
        " 0x10",
        " 1.0",
        " LAST",
        " 1 LAST LAST",
        " 1 FIRST",
        " 1 2",
        " 99999999999999999999999",
        " 18446744073709551616 LAST",
        "  ",
    ];
    for size in sizes {
        let mut session = session();
        let script = format!("{BEGIN}BDAT{size}\r\nMAIL FROM:<m@x>\r\n");
        let (requests, output) = say(&mut session, script);
        assert_eq!(codes(&output), [250, 250, 501], "{size}");
        assert_eq!(requests.last(), Some(&Request::Reset));
        assert!(session.is_closed());
    }
    // The largest there is, of which nothing fits.
    let mut session = session();
    let (_, output) = say(
        &mut session,
        format!("{BEGIN}BDAT 18446744073709551615\r\nNOOP\r\n"),
    );
    assert_eq!(codes(&output), [250, 250]);
    assert_eq!(session.turn(), Turn::Content);
}

#[test]
fn between_chunks_a_message_goes_on_or_is_given_up() {
    let cases = [
        ("NOOP", 250, true),
        ("MAIL FROM:<x@y>", 503, true),
        ("RCPT TO:<x@y>", 503, true),
        ("DATA", 503, true),
        ("RSET", 250, false),
        ("EHLO c", 250, false),
        ("QUIT", 221, false),
    ];
    for (command, code, goes_on) in cases {
        let mut session = session();
        say(&mut session, format!("{BEGIN}BDAT 1\r\nx"));
        assert_eq!(session.turn(), Turn::Command);
        let (requests, output) = say(&mut session, format!("{command}\r\n"));
        assert_eq!(codes(&output), [code], "{command}");
        assert_eq!(requests.contains(&Request::Reset), !goes_on, "{command}");
        if goes_on {
            let (requests, output) = say(&mut session, "BDAT 1 LAST\r\ny");
            assert_eq!(
                (codes(&output), messages(&requests).len()),
                ([250].into(), 1)
            );
        }
    }
    // Content that comes behind a DATA that was refused is none.
    let mut session = session();
    say(&mut session, format!("{BEGIN}BDAT 1\r\nx"));
    let (requests, output) = say(&mut session, "DATA\r\nMAIL FROM:<m@x>\r\n.\r\n");
    assert_eq!(codes(&output), [503]);
    assert_eq!(requests, [Request::Reset]);
}

#[test]
fn a_chunk_that_is_cut_off_is_no_message() {
    let mut session = session();
    let (requests, _) = say(&mut session, format!("{BEGIN}BDAT 10 LAST\r\n123456789"));
    assert_eq!(session.turn(), Turn::Content);
    assert!(session.in_transaction());
    assert!(messages(&requests).is_empty());
}

#[test]
fn where_chunks_are_not_offered_there_is_no_such_command() {
    let mut session = greeted(config());
    let (_, output) = say(&mut session, "EHLO c\r\nBDAT 0 LAST\r\nBDAT -1\r\n");
    assert_eq!(codes(&output), [250, 500, 500]);
    assert!(!session.is_closed());
}
