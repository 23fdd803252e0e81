use super::*;
use crate::smtp::{Request, SessionConfig, reply};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};

fn session(input: &str) -> Session {
    let mut config = SessionConfig::new("mx.example".parse().unwrap()).with_chunking();
    config.require_hello = false;
    config.max_recipients = 3;
    config.max_message_bytes = Some(10);
    let mut session = Session::new(config);
    session.greet(reply(220, "", "hi"));
    session.handle_bytes(input.as_bytes());
    session
}

fn told(session: &Session) -> Vec<String> {
    session
        .ahead()
        .map(|ahead| match ahead {
            Ahead::Recipient(forward_path) => forward_path.to_string(),
            Ahead::Content => "content".to_string(),
        })
        .collect()
}

/// What is told behind MAIL where this follows it.
fn behind_mail(input: &str) -> Vec<String> {
    let mut session = session(&alloc::format!("MAIL FROM:<a@b.example>\r\n{input}"));
    assert!(matches!(session.poll_request(), Some(Request::Mail { .. })));
    told(&session)
}

#[test]
fn recipients_and_the_beginning_of_the_content_are_told() {
    let cases: [(&str, &[&str]); 6] = [
        ("", &[]),
        ("RCPT TO:<c@d.example>\r", &[]),
        ("RCPT TO:<c@d.example>\r\n", &["<c@d.example>"]),
        (
            "RCPT TO:<c@d.example>\r\nrcpt to:<e@f.example>\r\nDATA\r\nx\r\n.\r\n",
            &["<c@d.example>", "<e@f.example>", "content"],
        ),
        (
            "RCPT TO:<c@d.example>\r\nBDAT 3 LAST\r\nabcRCPT TO:<x@y.example>\r\n",
            &["<c@d.example>", "content"],
        ),
        (
            "RCPT TO:<c@d.example>\r\nBDAT 3\r\nabc",
            &["<c@d.example>", "content"],
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(behind_mail(input), expected, "{input:?}");
    }
}

#[test]
fn it_ends_before_what_the_session_settles_by_itself() {
    let one = "RCPT TO:<c@d.example>\r\n";
    for next in [
        "RSET\r\n",
        "NOOP\r\n",
        "QUIT\r\n",
        "MAIL FROM:<a@b.example>\r\n",
        "nonsense\r\n",
        "RCPT TO:<bad\r\n",
        "RCPT TO:<jos\u{e9}@d.example>\r\n",
        "BDAT 11 LAST\r\n",
        "BDAT x\r\n",
    ] {
        let input = alloc::format!("{one}{next}{one}DATA\r\n");
        assert_eq!(behind_mail(&input), ["<c@d.example>"], "{next:?}");
    }
    assert_eq!(
        behind_mail(&one.repeat(4)).len(),
        3,
        "no more than are taken"
    );
    assert!(behind_mail("DATA\r\n").is_empty(), "nobody to go to");
    let long = alloc::format!("RCPT TO:<c@d.example>{}\r\n", " ".repeat(MAX_LINE));
    assert!(behind_mail(&long).is_empty());
}

#[test]
fn recipients_that_were_taken_count() {
    let mut session = session(&alloc::format!(
        "MAIL FROM:<a@b.example>\r\n{}DATA\r\n",
        "RCPT TO:<c@d.example>\r\n".repeat(3)
    ));
    for expected in [4, 3, 2, 1] {
        assert!(session.poll_request().is_some());
        assert_eq!(told(&session).len(), expected);
        session.respond(reply(250, "", "ok"));
    }
    // DATA is asked for; what follows it is no command.
    assert_eq!(session.poll_request(), Some(Request::Data));
    assert!(told(&session).is_empty());
}

#[test]
fn between_requests_nothing_is_told() {
    let mut session = session("RCPT TO:<c@d.example>\r\n");
    assert!(told(&session).is_empty());
    assert_eq!(session.poll_request(), None);
}
