use super::*;
use crate::smtp::{Capabilities, malformed_ends::MALFORMED_ENDS};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use proptest::prelude::*;

pub(super) fn config() -> SessionConfig {
    SessionConfig::new("mx.example".parse().unwrap())
}

pub(super) fn greeted(config: SessionConfig) -> Session {
    let mut session = Session::new(config);
    session.greet(reply(220, "", "mx.example ESMTP"));
    assert_eq!(session.poll_output().unwrap(), "220 mx.example ESMTP\r\n");
    session
}

/// Whoever is called `no` is refused; everything else is welcome.
pub(super) fn answer(request: &Request) -> Option<Reply> {
    let is_refused = |path: String| path.starts_with("<no@");
    match request {
        Request::Mail { reverse_path, .. } if is_refused(reverse_path.to_string()) => {
            Some(reply(550, "5.7.1", "Not you"))
        }
        Request::Recipient(path) if is_refused(path.to_string()) => {
            Some(reply(550, "5.1.1", "No such user"))
        }
        Request::Mail { .. } | Request::Recipient(_) | Request::EndOfContent => {
            Some(reply(250, "2.0.0", "Ok"))
        }
        Request::Data => Some(reply(354, "", "Go on")),
        Request::Credentials(credentials) if credentials.expose_password() == "sesame" => {
            Some(reply(235, "2.7.0", "Authentication successful"))
        }
        Request::Credentials(_) => Some(reply(535, "5.7.8", "Wrong")),
        Request::StartTls => Some(reply(454, "4.7.0", "TLS is not available")),
        Request::Content(_) | Request::Reset | Request::Quit => None,
    }
}

/// Works through everything there is, as an owner does.
pub(super) fn drain(session: &mut Session) -> (Vec<Request>, Vec<u8>) {
    let (mut requests, mut output) = (Vec::new(), Vec::new());
    loop {
        while let Some(request) = session.poll_request() {
            if let Some(reply) = answer(&request) {
                session.respond(reply);
            }
            requests.push(request);
        }
        match session.poll_output() {
            Some(bytes) => output.extend_from_slice(&bytes),
            None => return (requests, output),
        }
    }
}

pub(super) fn say(session: &mut Session, bytes: impl AsRef<[u8]>) -> (Vec<Request>, String) {
    session.handle_bytes(bytes.as_ref());
    let (requests, output) = drain(session);
    (requests, String::from_utf8(output).unwrap())
}

/// The code of each reply, those of one reply's lines once.
pub(super) fn codes(output: &str) -> Vec<u16> {
    let last_lines = output.lines().filter(|line| line.as_bytes()[3] == b' ');
    last_lines.map(|line| line[..3].parse().unwrap()).collect()
}

fn names(requests: &[Request]) -> Vec<String> {
    requests
        .iter()
        .map(|request| format!("{request:?}"))
        .collect()
}

#[test]
fn every_command_in_every_state_has_its_reply() {
    // How the state comes about.
    let states = [
        ("fresh", ""),
        ("ready", "EHLO c\r\n"),
        ("mail", "EHLO c\r\nMAIL FROM:<a@b>\r\n"),
        ("mail refused", "EHLO c\r\nMAIL FROM:<no@b>\r\n"),
        (
            "recipient",
            "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n",
        ),
        (
            "recipient refused",
            "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<no@b>\r\n",
        ),
        (
            "done",
            "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\n",
        ),
    ];
    let table = [
        // command           fresh ready mail  mail- rcpt  rcpt- done
        ("EHLO client", [250, 250, 250, 250, 250, 250, 250]),
        ("HELO client", [250, 250, 250, 250, 250, 250, 250]),
        ("EHLO", [501, 501, 501, 501, 501, 501, 501]),
        ("MAIL FROM:<x@y>", [503, 250, 503, 250, 503, 503, 250]),
        ("MAIL FROM:<no@y>", [503, 550, 503, 550, 503, 503, 550]),
        ("MAIL FROM:<>", [503, 250, 503, 250, 503, 503, 250]),
        ("MAIL FROM:x", [501, 501, 501, 501, 501, 501, 501]),
        ("RCPT TO:<x@y>", [503, 503, 250, 503, 250, 250, 503]),
        ("RCPT TO:<no@y>", [503, 503, 550, 503, 550, 550, 503]),
        ("RCPT TO:<\u{e9}@y>", [503, 503, 553, 503, 553, 553, 503]),
        ("RCPT TO:<>", [501, 501, 501, 501, 501, 501, 501]),
        ("DATA", [503, 503, 554, 503, 354, 554, 503]),
        ("RSET", [250, 250, 250, 250, 250, 250, 250]),
        ("NOOP", [250, 250, 250, 250, 250, 250, 250]),
        ("VRFY x", [252, 252, 252, 252, 252, 252, 252]),
        ("EXPN x", [502, 502, 502, 502, 502, 502, 502]),
        ("HELP", [214, 214, 214, 214, 214, 214, 214]),
        ("QUIT", [221, 221, 221, 221, 221, 221, 221]),
        ("BDAT 1 LAST", [500, 500, 500, 500, 500, 500, 500]),
        ("NOOP\0", [500, 500, 500, 500, 500, 500, 500]),
    ];
    for (index, (state, script)) in states.iter().enumerate() {
        for (command, expected) in &table {
            let mut session = greeted(config());
            say(&mut session, script);
            let was_in_transaction = session.in_transaction();
            let (requests, output) = say(&mut session, format!("{command}\r\n"));
            assert_eq!(
                codes(&output),
                [expected[index]],
                "{command} in state {state}"
            );
            // A transaction that ends without an answer from the owner is reported as reset, and only that.
            let was_reset = requests.contains(&Request::Reset);
            let ended = was_in_transaction && !session.in_transaction();
            assert_eq!(was_reset, ended, "{command} in state {state}");
            assert_eq!(session.is_closed(), *command == "QUIT");
        }
    }
}

#[test]
fn nothing_is_answered_while_the_owner_has_not() {
    let mut session = Session::new(config());
    session.handle_bytes(b"EHLO c\r\nMAIL FROM:<a@b>\r\nNOOP\r\n");
    assert_eq!(session.turn(), Turn::Owner);
    assert_eq!(session.poll_request(), None);
    assert_eq!(session.poll_output(), None);
    session.greet(reply(220, "", "ESMTP"));
    assert!(matches!(session.poll_request(), Some(Request::Mail { .. })));
    assert_eq!(session.turn(), Turn::Owner);
    assert_eq!(session.poll_request(), None);
    assert_eq!(codes(&text(session.poll_output())), [220, 250]);
    assert_eq!(session.buffered(), 6);
    session.respond(reply(250, "2.1.0", "Ok"));
    session.respond(reply(250, "2.1.0", "nobody asked"));
    assert_eq!(session.poll_request(), None);
    assert_eq!(codes(&text(session.poll_output())), [250, 250]);
    assert_eq!(session.turn(), Turn::Command);
}

fn text(output: Option<Bytes>) -> String {
    String::from_utf8(output.unwrap().to_vec()).unwrap()
}

#[test]
fn ehlo_offers_what_the_session_keeps() {
    let mut config = config();
    config.max_message_bytes = Some(1000);
    config.capabilities.chunking = true;
    config.capabilities.dsn = true;
    let (_, output) = say(&mut greeted(config), "EHLO c\r\n");
    let offered = [
        "250-mx.example",
        "250-PIPELINING",
        "250-SIZE 1000",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-CHUNKING",
        "250 ENHANCEDSTATUSCODES",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), offered);
}

#[test]
fn what_is_not_offered_is_not_taken() {
    let mut config = config();
    config.capabilities = Capabilities::default();
    config.max_message_bytes = Some(1000);
    config.require_hello = false;
    let mut session = greeted(config);
    let cases = [
        ("MAIL FROM:<a@b> SMTPUTF8", "555 5.5.4"),
        ("MAIL FROM:<a@b> BODY=8BITMIME", "555 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=1001", "552 5.3.4"),
        ("MAIL FROM:<a@b> SIZE=1000", "250 2.0.0"),
    ];
    for (command, expected) in cases {
        let (_, output) = say(&mut session, format!("{command}\r\n"));
        assert!(output.starts_with(expected), "{command}: {output}");
    }
}

#[test]
fn a_pipelined_script_is_worked_through_in_order() {
    let mut config = config();
    config.require_hello = false;
    let mut session = greeted(config);
    let script = "MAIL FROM:<a@b> SIZE=9\r\nRCPT TO:<c@d>\r\nRCPT TO:<no@d>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n\
                  ..dot\r\n.\r\nQUIT\r\nNOOP\r\n";
    let (requests, output) = say(&mut session, script);
    assert_eq!(codes(&output), [250, 250, 550, 250, 354, 250, 221]);
    let expected = [
        "Mail(<a@b> SIZE=9)",
        "Recipient(<c@d>)",
        "Recipient(<no@d>)",
        "Recipient(<Postmaster>)",
        "Data",
        "Content(6 bytes)",
        "EndOfContent",
        "Quit",
    ];
    assert_eq!(names(&requests), expected);
    assert_eq!(
        requests[5],
        Request::Content(Bytes::from_static(b".dot\r\n"))
    );
    assert!(session.is_closed());
    session.handle_bytes(b"NOOP\r\n");
    assert_eq!(drain(&mut session), (Vec::new(), Vec::new()));
    assert_eq!(session.buffered(), 0);
}

#[test]
fn recipients_are_counted_when_accepted() {
    let mut config = config();
    config.max_recipients = 2;
    let mut session = greeted(config);
    let script = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<no@d>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@d>\r\nRCPT TO:<f@d>\r\nDATA\r\n";
    let (_, output) = say(&mut session, script);
    assert_eq!(codes(&output), [250, 250, 550, 250, 250, 452, 354]);
}

#[test]
fn international_recipients_need_what_mail_has_said() {
    let mut session = greeted(config());
    let script = "EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:<\u{e9}@d>\r\nRSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<\u{e9}@d>\r\n";
    let (_, output) = say(&mut session, script);
    assert_eq!(codes(&output), [250, 250, 250, 250, 250, 553]);
}

#[test]
fn content_that_follows_a_refused_data_is_never_a_command() {
    let content = "NOOP\r\nMAIL FROM:<smuggled@x>\r\n.\r\nMAIL FROM:<next@b>\r\n";
    // What comes before DATA, and the replies up to and including DATA's.
    let cases: [(&str, &[u16]); 3] = [
        ("", &[503]),
        ("MAIL FROM:<no@b>\r\nRCPT TO:<c@d>\r\n", &[550, 503, 503]),
        ("MAIL FROM:<a@b>\r\nRCPT TO:<no@d>\r\n", &[250, 550, 554]),
    ];
    for (script, expected) in cases {
        let mut session = greeted(config());
        say(&mut session, "EHLO c\r\n");
        let (requests, output) = say(&mut session, format!("{script}DATA\r\n{content}"));
        assert_eq!(codes(&output), [expected, &[250]].concat(), "{script}");
        let requests = names(&requests);
        assert_eq!(requests.last().unwrap(), "Mail(<next@b>)");
        let is_reset = requests.contains(&"Reset".into());
        assert_eq!(is_reset, script.contains("<a@b>"));
    }
}

#[test]
fn the_owner_may_refuse_data_and_the_transaction_stays() {
    for blind in ["", "content\r\n.\r\n"] {
        let mut session = greeted(config());
        say(
            &mut session,
            "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
        );
        session.handle_bytes(format!("DATA\r\n{blind}").as_bytes());
        assert_eq!(session.poll_request(), Some(Request::Data));
        session.respond(reply(451, "4.3.0", "Not now"));
        let (requests, output) = drain(&mut session);
        assert_eq!(codes(core::str::from_utf8(&output).unwrap()), [451]);
        assert_eq!(session.in_transaction(), blind.is_empty());
        assert_eq!(requests.contains(&Request::Reset), !blind.is_empty());
        assert_eq!(session.turn(), Turn::Command);
    }
}

#[test]
fn too_much_content_is_swallowed_and_refused_at_its_end() {
    let mut config = config();
    config.max_message_bytes = Some(10);
    let open = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
    // The dots of transparency do not count: ten bytes are ten bytes.
    let (requests, output) = say(
        &mut greeted(config.clone()),
        format!("{open}..3456789\r\n.\r\n"),
    );
    assert_eq!(codes(&output), [250, 250, 250, 354, 250]);
    assert_eq!(requests.last(), Some(&Request::EndOfContent));

    let mut session = greeted(config);
    say(&mut session, open);
    let (requests, output) = say(&mut session, "123456789\r\nQUIT\r\n");
    assert_eq!(
        (names(&requests), output.as_str()),
        (Vec::from(["Reset".into()]), "")
    );
    assert_eq!(session.turn(), Turn::Content);
    let (requests, output) = say(&mut session, "more\r\n.\r\nMAIL FROM:<a@b>\r\n");
    assert_eq!(codes(&output), [552, 250]);
    assert_eq!(names(&requests), ["Mail(<a@b>)"]);
}

#[test]
fn nothing_but_the_one_sequence_ends_content() {
    for variant in MALFORMED_ENDS {
        let mut session = greeted(config());
        say(
            &mut session,
            "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        );
        let smuggled = "MAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nevil";
        let (requests, output) = say(&mut session, format!("x{variant}{smuggled}"));
        assert_eq!(output, "", "{variant:?}");
        let [Request::Content(content)] = &requests[..] else {
            panic!("{variant:?}: {requests:?}");
        };
        assert!(content.ends_with(smuggled.as_bytes()), "{variant:?}");
        let (requests, output) = say(&mut session, "\r\n.\r\n");
        assert_eq!(codes(&output), [250], "{variant:?}");
        assert_eq!(requests.last(), Some(&Request::EndOfContent));
    }
}

#[test]
fn empty_content_ends_at_once() {
    let mut session = greeted(config());
    say(
        &mut session,
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
    );
    let (requests, output) = say(&mut session, ".\r\n");
    assert_eq!(requests, [Request::EndOfContent]);
    assert_eq!(codes(&output), [250]);
}

#[test]
fn long_lines_are_skipped_to_their_end() {
    let line = |length: usize| format!("NOOP {}\r\n", "x".repeat(length - 7));
    let mut session = greeted(config());
    assert_eq!(codes(&say(&mut session, line(MAX_LINE)).1), [250]);
    assert_eq!(codes(&say(&mut session, line(MAX_LINE + 1)).1), [500]);
    // What is gone is gone; memory does not grow with the line.
    for _ in 0..100 {
        assert_eq!(say(&mut session, [b'x'; 1000]).1, "");
        assert!(session.buffered() < MAX_LINE);
    }
    // A CR at the end of one piece and the LF at the start of the next are the line's end.
    assert_eq!(say(&mut session, "\n\r").1, "");
    let (_, output) = say(&mut session, "\nNOOP\r\n");
    assert_eq!(codes(&output), [500, 250]);
    assert!(output.starts_with("500 5.5.2 Line too long"));
}

#[test]
fn a_bare_line_feed_ends_no_line() {
    let mut session = greeted(config());
    assert_eq!(say(&mut session, "NOOP\nNOOP\n").1, "");
    assert_eq!(codes(&say(&mut session, "\r\n").1), [500]);
}

#[test]
fn too_many_errors_end_the_session() {
    let mut config = config();
    config.max_errors = 2;
    for (script, is_reset) in [("", false), ("EHLO c\r\nMAIL FROM:<a@b>\r\n", true)] {
        let mut session = greeted(config.clone());
        say(&mut session, script);
        // Commands in the wrong order are no errors of this kind.
        assert_eq!(codes(&say(&mut session, "DATA\r\n").1).len(), 1);
        let (requests, output) = say(&mut session, "GET / HTTP/1.1\r\nHost: x\r\n\r\nNOOP\r\n");
        assert_eq!(codes(&output), [500, 500, 421]);
        assert_eq!(requests.contains(&Request::Reset), is_reset);
        assert!(session.is_closed());
        assert_eq!(session.turn(), Turn::Over);
    }
}

#[test]
fn the_owner_ends_the_session_with_421() {
    let closing = || reply(421, "4.3.2", "Shutting down");
    let mut session = Session::new(config());
    session.greet(closing());
    assert!(!session.is_closed());
    assert_eq!(drain(&mut session).1, b"421 4.3.2 Shutting down\r\n");
    assert!(session.is_closed());

    let mut session = greeted(config());
    say(&mut session, "EHLO c\r\n");
    session.handle_bytes(b"MAIL FROM:<a@b>\r\nNOOP\r\n");
    assert!(session.poll_request().is_some());
    session.respond(closing());
    assert_eq!(drain(&mut session).1, b"421 4.3.2 Shutting down\r\n");
    assert!(session.is_closed());

    let mut session = greeted(config());
    session.close(closing());
    session.close(closing());
    session.handle_bytes(b"NOOP\r\n");
    assert_eq!(drain(&mut session).1, b"421 4.3.2 Shutting down\r\n");
    assert!(session.is_closed());
}

#[test]
fn output_that_nobody_takes_stops_the_work() {
    let mut session = greeted(config());
    session.handle_bytes("EHLO c\r\n".repeat(10_000).as_bytes());
    assert_eq!(session.poll_request(), None);
    let waiting = session.poll_output().unwrap().len();
    assert!(waiting < 2 * MAX_OUTPUT, "{waiting}");
    assert!(session.buffered() > 0);
    let (_, output) = drain(&mut session);
    assert!(output.len() > waiting);
    assert_eq!(session.buffered(), 0);
}

#[test]
fn debug_shows_lengths_and_no_content() {
    let mut session = greeted(config());
    session.handle_bytes(b"NOOP secret");
    assert!(!format!("{session:?}").contains("secret"));
    let content = Request::Content(Bytes::from_static(b"secret"));
    assert_eq!(format!("{content:?}"), "Content(6 bytes)");
}

/// Pieces of a conversation. DATA comes only where it is accepted: whether something has come behind a refused one is
/// what tells a client that does not wait, so there the pieces do matter.
fn conversations() -> impl Strategy<Value = Vec<u8>> {
    let content = "([ab.\r\n\0]|\r\n|\r\n\\.){0,20}";
    let piece = prop_oneof![
        3 => content.prop_map(|content| {
            // The first line takes what an unfinished one before it has left.
            format!("NOOP\r\nEHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<no@d>\r\nRCPT TO:<c@d>\r\nDATA\r\n{content}\r\n.\r\n")
        }),
        2 => (content, content).prop_map(|(one, other)| {
            let (size, rest) = (one.len(), other.len());
            format!("NOOP\r\nEHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT {size}\r\n{one}BDAT {rest} LAST\r\n{other}")
        }),
        1 => content.prop_map(|content| format!("\r\nBDAT {}\r\n{content}", content.len())),
        1 => Just("EHLO c\r\nMAIL FROM:<a@b>\r\n".to_string()),
        1 => Just("RSET\r\n".to_string()),
        1 => Just("RCPT TO:<c@d>\r\n".to_string()),
        1 => "[A-CE-Z\r\n .\0]{0,12}(\r\n)?",
        1 => (2040..2056_usize).prop_map(|length| format!("NOOP {}\r\n", "x".repeat(length - 7))),
        1 => Just("QUIT\r\n".to_string()),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Runs a conversation that arrives in pieces of these lengths, over and over. Content comes joined, and without that of
/// transactions which end in a reset: how much of it comes before depends on the pieces.
fn run(bytes: &[u8], lengths: &[usize], max_message_bytes: u64) -> (Vec<Request>, Vec<u8>) {
    let mut config = config();
    config.max_errors = 3;
    config.capabilities.chunking = true;
    config.max_message_bytes = Some(max_message_bytes);
    let mut session = greeted(config);
    let (mut requests, mut output) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    for length in lengths.iter().cycle() {
        let (piece, next) = rest.split_at((*length).min(rest.len()));
        session.handle_bytes(piece);
        let (new_requests, new_output) = drain(&mut session);
        output.extend(new_output);
        for request in new_requests {
            match (requests.last_mut(), &request) {
                (Some(Request::Content(content)), Request::Content(more)) => {
                    *content = [&content[..], more].concat().into();
                    continue;
                }
                (Some(Request::Content(_)), Request::Reset) => drop(requests.pop()),
                _ => {}
            }
            requests.push(request);
        }
        if next.is_empty() {
            break;
        }
        rest = next;
    }
    (requests, output)
}

proptest! {
    #[test]
    fn how_the_bytes_arrive_does_not_matter(
        bytes in conversations(),
        lengths in proptest::collection::vec(1..40_usize, 1..10),
        max_message_bytes in 5..40_u64,
    ) {
        let whole = run(&bytes, &[usize::MAX], max_message_bytes);
        prop_assert_eq!(&run(&bytes, &[1], max_message_bytes), &whole);
        prop_assert_eq!(&run(&bytes, &lengths, max_message_bytes), &whole);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes: Vec<u8>, lengths in proptest::collection::vec(1..40_usize, 1..10)) {
        let (_, output) = run(&bytes, &lengths, 100);
        prop_assert!(output.is_empty() || output.ends_with(b"\r\n"));
    }
}
