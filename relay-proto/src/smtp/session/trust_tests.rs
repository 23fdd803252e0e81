use super::*;
use crate::smtp::{
    Credentials, Turn,
    session::{
        Authentication, SessionConfig,
        tests::{codes, config, greeted, say},
    },
};
use alloc::{format, vec::Vec};
use base64::{Engine, engine::general_purpose::STANDARD};

/// `\0alice\0sesame`, and what is wrong.
const RIGHT: &str = "AGFsaWNlAHNlc2FtZQ==";
const WRONG: &str = "AGFsaWNlAHdyb25n";

/// A session that asks for credentials on a connection that is secure.
fn asking() -> SessionConfig {
    SessionConfig {
        authentication: Some(Authentication::required()),
        security: Security::Tls,
        ..config()
    }
}

fn start_tls() -> SessionConfig {
    SessionConfig {
        security: Security::StartTls,
        ..asking()
    }
}

/// The reply codes to each of these lines, whose sender waits for the reply.
fn converse(session: &mut Session, lines: &[&str]) -> Vec<u16> {
    lines
        .iter()
        .flat_map(|line| codes(&say(session, format!("{line}\r\n")).1))
        .collect()
}

#[test]
fn both_mechanisms_say_who_the_client_is_in_every_form() {
    let cases: [(&[&str], &[u16]); 5] = [
        (&[&format!("AUTH PLAIN {RIGHT}")], &[235]),
        (&["auth plain", RIGHT], &[334, 235]),
        (&["AUTH LOGIN", "YWxpY2U=", "c2VzYW1l"], &[334, 334, 235]),
        (&["AUTH LOGIN YWxpY2U=", "c2VzYW1l"], &[334, 235]),
        (&[&format!("AUTH PLAIN {WRONG}")], &[535]),
    ];
    for (lines, expected) in cases {
        let mut session = greeted(asking());
        let mail = "MAIL FROM:<a@b>";
        assert_eq!(converse(&mut session, &["EHLO c", mail]), [250, 530]);
        assert_eq!(converse(&mut session, lines), expected, "{lines:?}");
        let is_in = expected.ends_with(&[235]);
        let then: &[u16] = if is_in { &[503, 250] } else { &[535, 530] };
        let again = format!("AUTH PLAIN {WRONG}");
        assert_eq!(converse(&mut session, &[&again, mail]), then, "{lines:?}");
    }
}

#[test]
fn challenges_are_what_mail_programs_expect() {
    let mut session = greeted(asking());
    say(&mut session, "EHLO c\r\n");
    assert_eq!(say(&mut session, "AUTH PLAIN\r\n").1, "334 \r\n");
    assert_eq!(session.turn(), Turn::Command);
    assert!(!session.in_transaction());
    let cancelled = say(&mut session, "*\r\n").1;
    assert_eq!(cancelled, "501 5.7.0 Authentication cancelled\r\n");
    let challenge = say(&mut session, "AUTH LOGIN\r\n").1;
    assert_eq!(challenge, "334 VXNlcm5hbWU6\r\n");
    let challenge = say(&mut session, "YWxpY2U=\r\n").1;
    assert_eq!(challenge, "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(STANDARD.decode("VXNlcm5hbWU6").unwrap(), b"Username:");
    assert_eq!(STANDARD.decode("UGFzc3dvcmQ6").unwrap(), b"Password:");
}

#[test]
fn what_is_no_answer_to_a_challenge_ends_the_exchange() {
    for answer in ["*", "", "QUIT", "MAIL FROM:<a@b>", "c2VzYW1l=", "c2VzYW1l"] {
        let mut session = greeted(asking());
        let lines = ["EHLO c", "AUTH PLAIN", answer, "NOOP"];
        assert_eq!(
            converse(&mut session, &lines),
            [250, 334, 501, 250],
            "{answer}"
        );
    }
}

#[test]
fn auth_has_its_place_and_its_words() {
    let auth = format!("AUTH PLAIN {RIGHT}");
    let cases: [(&[&str], u16); 8] = [
        (&[&auth], 503),
        (&["EHLO c", "AUTH"], 501),
        (&["EHLO c", "AUTH CRAM-MD5"], 504),
        (&["EHLO c", "AUTH PLAIN not-base64"], 501),
        (&["EHLO c", "AUTH PLAIN = ="], 501),
        (&["EHLO c", "AUTH PLAIN ="], 501),
        (&["EHLO c", &auth, &auth], 503),
        (&["EHLO c", &auth, "MAIL FROM:<a@b>", &auth], 503),
    ];
    for (lines, expected) in cases {
        let mut session = greeted(asking());
        let last = converse(&mut session, lines).pop();
        assert_eq!(last, Some(expected), "{lines:?}");
    }
    // Where it is voluntary, it still has no place in a transaction.
    let mut config = asking();
    config.authentication = Some(Authentication {
        required: false,
        ..Authentication::required()
    });
    let lines = ["EHLO c", "MAIL FROM:<a@b>", &auth, "RSET", &auth];
    let mut session = greeted(config);
    assert_eq!(converse(&mut session, &lines), [250, 250, 503, 250, 235]);
}

#[test]
fn what_is_offered_fits_who_reads_along() {
    let offers = |config: SessionConfig| {
        let offered = say(&mut greeted(config), "EHLO c\r\n").1;
        (
            offered.contains("STARTTLS"),
            offered.contains("AUTH PLAIN LOGIN"),
        )
    };
    assert_eq!(offers(config()), (false, false));
    assert_eq!(offers(asking()), (false, true));
    assert_eq!(offers(start_tls()), (true, false));
    let mut clear = asking();
    clear.security = Security::Clear;
    assert_eq!(offers(clear.clone()), (false, false));
    let auth = format!("AUTH PLAIN {RIGHT}");
    let lines = ["EHLO c", &auth, "MAIL FROM:<a@b>"];
    assert_eq!(
        converse(&mut greeted(clear.clone()), &lines),
        [250, 538, 530]
    );
    let authentication = clear.authentication.as_mut().unwrap();
    authentication.in_clear = true;
    assert_eq!(offers(clear.clone()), (false, true));
    assert_eq!(converse(&mut greeted(clear), &lines), [250, 235, 250]);
    // Without credentials to check, there is no AUTH and no parameter of that name.
    let lines = ["EHLO c", &auth, "STARTTLS", "MAIL FROM:<a@b> AUTH=<>"];
    assert_eq!(
        converse(&mut greeted(config()), &lines),
        [250, 502, 502, 555]
    );
    let lines = ["EHLO c", &auth, "MAIL FROM:<a@b> AUTH=e+3Dmc2@example.com"];
    assert_eq!(converse(&mut greeted(asking()), &lines), [250, 235, 250]);
}

#[test]
fn guessing_ends_the_session() {
    let wrong = format!("AUTH PLAIN {WRONG}");
    // `bob` for `alice`: refused without a question.
    let other = format!("AUTH PLAIN {}", STANDARD.encode("bob\0alice\0sesame"));
    let mut session = greeted(asking());
    let lines = ["EHLO c", &wrong, &other, &wrong];
    assert_eq!(converse(&mut session, &lines), [250, 535, 535, 535, 421]);
    assert!(session.is_closed());
}

#[test]
fn an_owner_who_cannot_tell_is_no_refusal() {
    let mut session = greeted(asking());
    say(&mut session, "EHLO c\r\n");
    for _ in 0..10 {
        session.handle_bytes(format!("AUTH PLAIN {RIGHT}\r\n").as_bytes());
        let asked = session.poll_request();
        let alice = Credentials::new("alice", "sesame");
        assert_eq!(asked, Some(Request::Credentials(alice)));
        assert_eq!(session.turn(), Turn::Owner);
        session.respond(reply(454, "4.7.0", "Temporary authentication failure"));
    }
    assert_eq!(session.turn(), Turn::Command);
}

#[test]
fn long_messages_are_bounded() {
    let longest = |prefix: &str| "A".repeat((MAX_MESSAGE_LINE - prefix.len() - 2) / 4 * 4);
    let mut session = greeted(asking());
    say(&mut session, "EHLO c\r\n");
    // Long enough to be read, and not what PLAIN says.
    let line = format!("AUTH PLAIN {}\r\n", longest("AUTH PLAIN "));
    let said = say(&mut session, line).1;
    assert!(said.contains("501 5.5.2 Malformed"), "{said}");
    say(&mut session, "AUTH PLAIN\r\n");
    let said = say(&mut session, format!("{}AAAA\r\n", longest(""))).1;
    assert!(said.starts_with("500 5.5.6 "), "{said}");
    // The exchange is over, and other commands are no longer than they were.
    let noop = format!("NOOP {}", "x".repeat(MAX_LINE));
    assert_eq!(converse(&mut session, &[&noop, "NOOP"]), [500, 250]);
    say(&mut session, "AUTH PLAIN\r\n");
    for _ in 0..100 {
        assert_eq!(say(&mut session, [b'A'; 1000]).1, "");
        assert!(session.buffered() < MAX_MESSAGE_LINE);
    }
}

#[test]
fn everything_begins_anew_behind_tls() {
    let auth = format!("AUTH PLAIN {RIGHT}");
    let mut config = start_tls();
    config.authentication.as_mut().unwrap().in_clear = true;
    let mut session = greeted(config);
    let lines = ["EHLO c", &auth, "MAIL FROM:<a@b>", "STARTTLS", "RSET"];
    assert_eq!(converse(&mut session, &lines), [250, 235, 250, 503, 250]);
    session.handle_bytes(b"STARTTLS\r\n");
    assert_eq!(session.poll_request(), Some(Request::StartTls));
    session.secured();
    session.respond(reply(220, "2.0.0", "Go on"));
    assert_eq!(session.turn(), Turn::Owner);
    assert_eq!(session.poll_output().unwrap(), "220 2.0.0 Go on\r\n");
    session.secured();
    assert_eq!(session.turn(), Turn::Command);
    assert_eq!(session.poll_output(), None);
    let lines = [
        "MAIL FROM:<a@b>",
        &auth,
        "EHLO c",
        "MAIL FROM:<a@b>",
        "STARTTLS",
    ];
    assert_eq!(converse(&mut session, &lines), [503, 503, 250, 530, 503]);
    let offered = say(&mut session, "EHLO c\r\n").1;
    assert!(!offered.contains("STARTTLS"), "{offered}");
    assert_eq!(
        converse(&mut session, &[&auth, "MAIL FROM:<a@b>"]),
        [235, 250]
    );
}

#[test]
fn what_comes_in_clear_behind_starttls_is_never_said_behind_tls() {
    let injected = "RSET\r\nMAIL FROM:<evil@b>\r\n";
    for agrees in [true, false] {
        let mut session = greeted(start_tls());
        say(&mut session, "EHLO c\r\n");
        session.handle_bytes(format!("STARTTLS\r\n{injected}").as_bytes());
        assert_eq!(session.poll_request(), Some(Request::StartTls));
        assert_eq!(session.buffered(), 0);
        session.handle_bytes(injected.as_bytes());
        session.respond(if agrees {
            reply(220, "2.0.0", "Go on")
        } else {
            reply(454, "4.7.0", "TLS is not available")
        });
        if agrees {
            session.handle_bytes(injected.as_bytes());
        }
        assert_eq!(session.buffered(), 0);
        session.secured();
        assert_eq!(session.poll_request(), None);
        let _ = session.poll_output();
        assert_eq!(converse(&mut session, &["NOOP"]), [250]);
    }
}

#[test]
fn mail_waits_for_tls_where_it_waits_for_a_password() {
    let mut session = greeted(start_tls());
    let said = say(&mut session, "EHLO c\r\nMAIL FROM:<a@b>\r\n").1;
    assert!(
        said.ends_with("530 5.7.0 Must issue a STARTTLS command first\r\n"),
        "{said}"
    );
    let auth = format!("AUTH PLAIN {RIGHT}");
    assert_eq!(converse(&mut session, &[&auth]), [538]);
}

#[test]
fn a_session_that_ends_while_tls_starts_says_nothing() {
    let mut session = greeted(start_tls());
    say(&mut session, "EHLO c\r\n");
    session.handle_bytes(b"STARTTLS\r\n");
    assert_eq!(session.poll_request(), Some(Request::StartTls));
    session.respond(reply(220, "2.0.0", "Go on"));
    let _ = session.poll_output();
    session.close(reply(421, "4.3.2", "Shutting down"));
    assert!(session.is_closed());
    assert_eq!(session.turn(), Turn::Over);
}
