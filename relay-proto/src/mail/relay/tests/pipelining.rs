//! What goes to the upstream in one flight, and content in chunks.

use super::rig::{CLIENT, Rig, pooled};
use crate::{
    LinkId,
    mail::{
        relay::{Event, Policy},
        wire::Message,
    },
};
use alloc::{format, vec};

const LOCKSTEP: &str = "250 mx.example\r\n";
const PIPELINING: &str = "250-mx.example\r\n250 PIPELINING\r\n";
const CHUNKING: &str = "250-mx.example\r\n250 CHUNKING\r\n";
const BOTH: &str = "250-mx.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n";

const ENVELOPE: &str =
    "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@f.example>\r\n";

fn open(ehlo: &str) -> (Rig, LinkId) {
    Rig::open_with(pooled(), Policy::default(), ehlo)
}

fn count(rig: &Rig, wanted: fn(&Event) -> bool) -> usize {
    rig.events.iter().filter(|event| wanted(event)).count()
}

/// The next message finds the same connection in order.
fn check_reusable(rig: &mut Rig, upstream: LinkId) {
    rig.client_says("MAIL FROM:<next@b.example>\r\n");
    assert_eq!(
        rig.upstream_hears(upstream),
        "MAIL FROM:<next@b.example>\r\n"
    );
    rig.upstream_says(upstream, "250 next\r\n");
    assert_eq!(rig.client_hears(), "250 next\r\n");
}

#[test]
fn a_flight_of_the_client_is_a_flight_to_the_upstream() {
    let (mut rig, upstream) = open(PIPELINING);
    rig.client_says(&format!("{ENVELOPE}DATA\r\n"));
    assert_eq!(rig.sent(upstream).len(), 1);
    // Replies come in any pieces.
    rig.upstream_says(upstream, "250 one\r\n25");
    assert_eq!(rig.client_hears(), "250 one\r\n");
    rig.upstream_says(upstream, "0 two\r\n550 three\r\n354 four\r\n");
    assert_eq!(rig.client_hears(), "250 two\r\n550 three\r\n354 four\r\n");
    rig.client_says(".dot\r\n.\r\nNOOP\r\n");
    assert_eq!(rig.upstream_hears(upstream), "dot\r\n.\r\n");
    rig.upstream_says(upstream, "250 five\r\n");
    assert_eq!(rig.client_hears(), "250 five\r\n250 2.0.0 Ok\r\n");
    let Some(Event::MessageRelayed { recipients: 1, .. }) = rig.events.last() else {
        panic!("{:?}", rig.events);
    };
    check_reusable(&mut rig, upstream);
}

#[test]
fn the_flight_is_what_has_come_by_then() {
    let (mut rig, upstream) = open(PIPELINING);
    rig.client_says("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:");
    rig.client_says("<e@f.example>\r\nRCPT TO:<g@h.example>\r\nDATA\r\n");
    let first = "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";
    assert_eq!(rig.upstream_hears(upstream), first);
    rig.upstream_says(upstream, "250 a\r\n250 b\r\n");
    let second = "RCPT TO:<e@f.example>\r\nRCPT TO:<g@h.example>\r\nDATA\r\n";
    assert_eq!(rig.upstream_hears(upstream), second);
    rig.upstream_says(upstream, "250 c\r\n250 d\r\n354 e\r\n");
    assert_eq!(
        rig.client_hears(),
        "250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n"
    );
}

#[test]
fn an_upstream_without_pipelining_hears_one_command_at_a_time() {
    for ehlo in [LOCKSTEP, CHUNKING] {
        let (mut rig, upstream) = open(ehlo);
        rig.client_says(&format!("{ENVELOPE}DATA\r\n"));
        for command in ENVELOPE.split_inclusive('\n') {
            assert_eq!(rig.upstream_hears(upstream), command);
            rig.upstream_says(upstream, "250 ok\r\n");
        }
        let data = if ehlo == LOCKSTEP { "DATA\r\n" } else { "" };
        assert_eq!(rig.upstream_hears(upstream), data);
    }
}

#[test]
fn a_recipient_the_policy_refuses_is_not_in_the_flight_and_answered_in_its_place() {
    let policy = Policy {
        recipients: vec!["d.example".parse().unwrap()],
        ..Policy::default()
    };
    let (mut rig, upstream) = Rig::open_with(pooled(), policy, PIPELINING);
    rig.client_says(
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<1@d.example>\r\nRCPT TO:<2@evil.example>\r\n\
         RCPT TO:<3@d.example>\r\nDATA\r\n",
    );
    assert_eq!(
        rig.upstream_hears(upstream),
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<1@d.example>\r\nRCPT TO:<3@d.example>\r\nDATA\r\n"
    );
    rig.upstream_says(upstream, "250 m\r\n250 1\r\n250 3\r\n354 d\r\n");
    assert_eq!(
        rig.client_hears(),
        "250 m\r\n250 1\r\n550 5.7.1 Recipient not allowed for this API key\r\n250 3\r\n354 d\r\n"
    );
}

#[test]
fn what_follows_a_refused_mail_is_void() {
    for data in ["503 no\r\n", "354 go\r\n"] {
        let (mut rig, upstream) = open(PIPELINING);
        rig.client_says(&format!("{ENVELOPE}DATA\r\n"));
        rig.upstream_hears(upstream);
        rig.upstream_says(upstream, "550 5.7.1 not you\r\n503 no\r\n");
        assert_eq!(rig.client_hears(), "550 5.7.1 not you\r\n");
        rig.client_says("MAIL FROM:<next@b.example>\r\n");
        rig.upstream_says(upstream, &format!("503 no\r\n{data}"));
        if data.starts_with("354") {
            assert_eq!(rig.upstream_hears(upstream), ".\r\n");
            rig.upstream_says(upstream, "554 nobody\r\n");
        }
        // The client hears of each that it was for nothing, and its next message goes on.
        let heard = rig.client_hears();
        assert_eq!(heard, "503 5.5.1 Need MAIL command\r\n".repeat(3), "{data}");
        assert_eq!(
            count(&rig, |event| matches!(event, Event::MessageRefused { .. })),
            1
        );
    }
}

#[test]
fn a_server_that_goes_on_after_it_refused_the_sender_gets_no_content() {
    let (mut rig, upstream) = open(PIPELINING);
    rig.client_says(&format!("{ENVELOPE}DATA\r\n"));
    rig.upstream_hears(upstream);
    rig.upstream_says(upstream, "550 not you\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(rig.upstream_hears(upstream), "");
    assert!(!rig.is_open(upstream));
    assert!(rig.client_hears().starts_with("550 not you\r\n503 "));
}

#[test]
fn content_for_nobody_is_a_lone_dot() {
    for (says, hears, then) in [
        ("354 go\r\n", ".\r\n", "554 5.5.1 nobody\r\n"),
        ("554 5.5.1 nobody\r\n", "", ""),
        ("503 nobody\r\n", "", ""),
    ] {
        for begins in ["DATA\r\n", "BDAT 4 LAST\r\nx\r\n."] {
            let (mut rig, upstream) = open(PIPELINING);
            rig.client_says(&format!("{ENVELOPE}{begins}"));
            rig.upstream_hears(upstream);
            rig.upstream_says(upstream, "250 ok\r\n550 a\r\n551 b\r\n");
            assert_eq!(rig.client_hears(), "250 ok\r\n550 a\r\n551 b\r\n");
            rig.upstream_says(upstream, says);
            assert_eq!(rig.upstream_hears(upstream), hears);
            rig.upstream_says(upstream, then);
            assert_eq!(rig.client_hears(), "554 5.5.1 No valid recipients\r\n");
            rig.client_says("RSET\r\n");
            assert_eq!(rig.upstream_hears(upstream), "RSET\r\n");
            rig.upstream_says(upstream, "250 ok\r\n");
            assert_eq!(rig.client_hears(), "250 2.0.0 Ok\r\n");
            check_reusable(&mut rig, upstream);
            assert_eq!(
                count(&rig, |event| matches!(event, Event::MessageRelayed { .. })),
                0
            );
        }
    }
}

#[test]
fn a_421_in_a_flight_is_passed_on_in_its_place() {
    let (mut rig, upstream) = open(PIPELINING);
    rig.client_says(&format!("{ENVELOPE}DATA\r\n"));
    rig.upstream_says(upstream, "250 ok\r\n421 4.3.2 going\r\n");
    assert_eq!(rig.client_hears(), "250 ok\r\n421 4.3.2 going\r\n[closed]");
    assert!(!rig.is_open(upstream));
}

#[test]
fn a_reply_too_many_ends_the_connection() {
    let (mut rig, upstream) = open(PIPELINING);
    rig.client_says(ENVELOPE);
    rig.upstream_says(upstream, "250 a\r\n250 b\r\n250 c\r\n250 surplus\r\n");
    assert!(!rig.is_open(upstream));
    assert!(rig.client_hears().contains("broke the SMTP protocol"));
}

#[test]
fn a_client_that_vanishes_in_a_flight_delivers_nothing() {
    for replies in 0..4 {
        let (mut rig, upstream) = open(PIPELINING);
        rig.client_says(&format!("{ENVELOPE}DATA\r\nx\r\n."));
        rig.upstream_hears(upstream);
        for answer in ["250 ok\r\n", "250 ok\r\n", "250 ok\r\n"]
            .iter()
            .take(replies)
        {
            rig.upstream_says(upstream, answer);
        }
        rig.lose(CLIENT);
        assert_eq!(rig.upstream_hears(upstream), "");
        assert!(!rig.is_open(upstream));
        assert_eq!(
            count(&rig, |event| matches!(
                event,
                Event::MessageAbandoned { .. }
            )),
            1
        );
    }
}

#[test]
fn content_goes_in_chunks_where_they_are_offered() {
    for client_chunks in [false, true] {
        let (mut rig, upstream) = open(BOTH);
        let content = ".dot\r\nbare\nlf";
        let said = match client_chunks {
            false => format!("{ENVELOPE}DATA\r\n"),
            true => format!(
                "{ENVELOPE}BDAT 5\r\n{}BDAT 8 LAST\r\n{}",
                &content[..5],
                &content[5..]
            ),
        };
        rig.client_says(&said);
        // No content before a recipient is taken.
        assert_eq!(rig.upstream_hears(upstream), ENVELOPE);
        rig.upstream_says(upstream, "250 a\r\n550 b\r\n250 c\r\n");
        if !client_chunks {
            assert_eq!(
                rig.client_hears(),
                "250 a\r\n550 b\r\n250 c\r\n354 Start mail input; end with <CRLF>.<CRLF>\r\n"
            );
            rig.client_says(&format!(".{content}\r\n.\r\n"));
        }
        assert_eq!(
            rig.upstream_hears(upstream),
            "BDAT 16 LAST\r\n.dot\r\nbare\r\nlf\r\n"
        );
        rig.client_hears();
        rig.upstream_says(upstream, "250 queued\r\n");
        assert_eq!(rig.client_hears(), "250 queued\r\n");
        check_reusable(&mut rig, upstream);
    }
}

#[test]
fn large_content_goes_in_several_chunks() {
    for (ehlo, waits) in [(BOTH, false), (CHUNKING, true)] {
        let (mut rig, upstream) = open(ehlo);
        rig.client_says("MAIL FROM:<a@b.example>\r\n");
        rig.upstream_says(upstream, "250 ok\r\n");
        rig.client_says("RCPT TO:<c@d.example>\r\nDATA\r\n");
        rig.upstream_says(upstream, "250 ok\r\n");
        rig.upstream_hears(upstream);
        let lines = "0123456789abcde\r\n".repeat(1024);
        let mut chunks = 0;
        for _ in 0..10 {
            rig.client_says(&lines);
            let heard = rig.upstream_hears(upstream);
            let header = heard.split("\r\n").next().unwrap();
            if !heard.is_empty() {
                assert!(
                    header.starts_with("BDAT ") && !header.ends_with("LAST"),
                    "{header}"
                );
                chunks += 1;
                rig.upstream_says(upstream, "250 chunk\r\n");
            }
        }
        assert!(chunks >= 4, "{chunks}");
        rig.client_says(&lines.repeat(3));
        rig.client_says(".\r\n");
        if waits {
            // Without PIPELINING the last chunk waits for the reply to the one before.
            assert_eq!(rig.upstream_hears(upstream).matches("BDAT").count(), 1);
            rig.upstream_says(upstream, "250 chunk\r\n");
            assert!(rig.upstream_hears(upstream).starts_with("BDAT "));
        } else {
            let heard = rig.upstream_hears(upstream);
            assert!(heard.contains(" LAST\r\n"));
            rig.upstream_says(upstream, "250 chunk\r\n");
        }
        rig.client_hears();
        rig.upstream_says(upstream, "250 queued\r\n");
        assert_eq!(rig.client_hears(), "250 queued\r\n");
        let Some(Event::MessageRelayed { bytes, .. }) = rig.events.last() else {
            panic!("{:?}", rig.events);
        };
        assert_eq!(*bytes, 13 * lines.len() as u64);
    }
}

#[test]
fn chunks_of_the_client_wait_for_a_354_where_there_are_none() {
    for ehlo in [LOCKSTEP, PIPELINING] {
        let (mut rig, upstream) = open(ehlo);
        rig.client_says(
            "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 4\r\n.q\r\nBDAT 1 LAST\r\nyMAIL FROM:<next@b.example>\r\n",
        );
        let heard = rig.upstream_hears(upstream);
        assert_eq!(heard.ends_with("DATA\r\n"), ehlo == PIPELINING);
        rig.upstream_says(upstream, "250 m\r\n");
        rig.upstream_says(upstream, "250 r\r\n");
        let heard = rig.upstream_hears(upstream);
        assert_eq!(heard.ends_with("DATA\r\n"), ehlo == LOCKSTEP);
        assert!(!heard.contains('q'));
        rig.upstream_says(upstream, "354 go\r\n");
        assert_eq!(rig.upstream_hears(upstream), "..q\r\ny\r\n.\r\n");
        rig.upstream_says(upstream, "250 queued\r\n");
        assert_eq!(
            rig.client_hears(),
            "250 m\r\n250 r\r\n250 2.0.0 4 bytes received\r\n250 queued\r\n"
        );
        assert_eq!(
            rig.upstream_hears(upstream),
            "MAIL FROM:<next@b.example>\r\n"
        );
    }
}

#[test]
fn a_refusal_of_content_that_did_not_wait_is_the_answer_to_its_end() {
    for (ehlo, content) in [
        (LOCKSTEP, "BDAT 3 LAST\r\nabc"),
        (PIPELINING, "BDAT 3 LAST\r\nabc"),
        (PIPELINING, "BDAT 0 LAST\r\n"),
        (LOCKSTEP, "BDAT 0 LAST\r\n"),
    ] {
        let (mut rig, upstream) = open(ehlo);
        rig.client_says(&format!(
            "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n{content}MAIL FROM:<next@b.example>\r\n"
        ));
        for answer in ["250 m\r\n", "250 r\r\n", "554 5.7.1 no data\r\n"] {
            rig.upstream_says(upstream, answer);
        }
        assert_eq!(
            rig.client_hears(),
            "250 m\r\n250 r\r\n554 5.7.1 no data\r\n"
        );
        assert!(rig.upstream_hears(upstream).ends_with("DATA\r\nRSET\r\n"));
        rig.upstream_says(upstream, "250 reset\r\n");
        assert_eq!(
            rig.upstream_hears(upstream),
            "MAIL FROM:<next@b.example>\r\n"
        );
        assert_eq!(
            count(&rig, |event| matches!(
                event,
                Event::MessageAbandoned { .. }
            )),
            0
        );
    }
}

/// A message in chunks, of which so many are said.
fn in_chunks(said: usize) -> (Rig, LinkId) {
    let (mut rig, upstream) = open(BOTH);
    rig.client_says("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n");
    rig.upstream_says(upstream, "250 m\r\n250 r\r\n");
    for _ in 0..said {
        rig.client_says(&"0123456789abcde\r\n".repeat(2048));
    }
    assert_eq!(rig.upstream_hears(upstream).matches("BDAT").count(), said);
    rig.client_hears();
    rig.events.clear();
    (rig, upstream)
}

#[test]
fn a_refused_chunk_ends_the_message_and_not_the_connection() {
    let (mut rig, upstream) = in_chunks(2);
    rig.upstream_says(upstream, "552 5.3.4 too much\r\n503 no\r\n");
    assert_eq!(rig.client_hears(), "");
    rig.client_says(&"more\r\n".repeat(20_000));
    assert_eq!(rig.upstream_hears(upstream), "");
    rig.client_says(".\r\n");
    assert_eq!(rig.client_hears(), "552 5.3.4 too much\r\n");
    assert_eq!(rig.upstream_hears(upstream), "RSET\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    assert!(matches!(rig.events[..], [Event::MessageRefused { .. }]));
    check_reusable(&mut rig, upstream);
}

#[test]
fn the_first_refusal_is_the_answer_where_the_end_was_said_before_it() {
    let (mut rig, upstream) = in_chunks(2);
    rig.client_says("end\r\n.\r\n");
    rig.upstream_says(upstream, "250 ok\r\n452 4.3.1 disk full\r\n503 no\r\n");
    assert_eq!(rig.client_hears(), "452 4.3.1 disk full\r\n");
    assert!(matches!(rig.events[..], [Event::MessageRefused { .. }]));
    rig.upstream_hears(upstream);
    check_reusable(&mut rig, upstream);

    // A server that takes the end of what it has refused may have delivered anything.
    let (mut rig, upstream) = in_chunks(1);
    rig.client_says("end\r\n.\r\n");
    rig.upstream_says(upstream, "452 4.3.1 disk full\r\n250 queued\r\n");
    assert!(rig.client_hears().contains("is unknown"));
    assert!(matches!(
        rig.events[..],
        [Event::MessageInDoubt { .. }, Event::ChannelFailed { .. }]
    ));
}

#[test]
fn a_message_in_chunks_is_taken_back_without_ending_the_connection() {
    let (mut rig, upstream) = in_chunks(2);
    rig.send(CLIENT, &Message::ChannelClosed { reason: None });
    assert_eq!(rig.upstream_hears(upstream), "RSET\r\n");
    assert!(matches!(rig.events[..], [Event::MessageAbandoned { .. }]));
    rig.upstream_says(upstream, "250 ok\r\n250 ok\r\n250 reset\r\n");
    rig.send(CLIENT, &Message::ChannelOpen);
    rig.client_hears();
    check_reusable(&mut rig, upstream);

    let policy = Policy {
        max_message_bytes: Some(10),
        ..Policy::default()
    };
    let (mut rig, upstream) = Rig::open_with(pooled(), policy, BOTH);
    rig.client_says("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n");
    rig.upstream_says(upstream, "250 m\r\n250 r\r\n");
    rig.client_says("0123456789abc\r\n.\r\n");
    assert!(rig.upstream_hears(upstream).ends_with("e>\r\nRSET\r\n"));
    assert_eq!(
        count(&rig, |event| matches!(
            event,
            Event::MessageAbandoned { .. }
        )),
        1
    );
    rig.upstream_says(upstream, "250 ok\r\n");
    assert!(
        rig.client_hears()
            .ends_with("552 5.3.4 Message size exceeds fixed limit\r\n")
    );
    check_reusable(&mut rig, upstream);
}

#[test]
fn a_chunk_too_large_for_the_client_sends_nothing_ahead() {
    let policy = Policy {
        max_message_bytes: Some(10),
        ..Policy::default()
    };
    let (mut rig, upstream) = Rig::open_with(pooled(), policy, PIPELINING);
    rig.client_says(
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 11 LAST\r\n0123456789a",
    );
    assert!(
        rig.upstream_hears(upstream)
            .ends_with("RCPT TO:<c@d.example>\r\n")
    );
    rig.upstream_says(upstream, "250 m\r\n250 r\r\n");
    assert_eq!(rig.upstream_hears(upstream), "RSET\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    assert!(
        rig.client_hears()
            .ends_with("552 5.3.4 Message size exceeds fixed limit\r\n")
    );
}
