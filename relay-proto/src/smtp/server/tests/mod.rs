mod happenings;
mod rig;
mod trust;

use super::*;
use crate::{Closure, smtp::SessionConfig};
use alloc::vec::Vec;
use core::time::Duration;
use rig::Rig;

const MINUTE: Duration = Duration::from_secs(60);
const ENVELOPE: &str = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";

fn link(index: u64) -> LinkId {
    LinkId::accepted(index)
}

fn config() -> ServerConfig {
    ServerConfig::new(SessionConfig::new("mx.example".parse().unwrap()))
}

#[test]
fn a_message_goes_through() {
    let mut rig = Rig::new(config());
    rig.accept(0);
    rig.run();
    assert_eq!(rig.sent(0), "220 mx.example ESMTP\r\n");
    rig.say(0, ENVELOPE);
    assert_eq!(rig.codes(0), [250, 250, 250, 354]);
    rig.say(0, "Subject: x\r\n\r\n..\r\n.\r\nQUIT\r\n");
    assert_eq!(rig.codes(0), [250, 221]);
    let expected = [
        "in-0 Opened from 192.0.2.1",
        "in-0 Mail(<a@b>)",
        "in-0 Recipient(<c@d>)",
        "in-0 Content(17 bytes)",
        "in-0 EndOfContent",
        "in-0 Closed(closed by this side)",
    ];
    let events: Vec<_> = rig
        .events
        .iter()
        .map(|event| format!("{event:?}"))
        .collect();
    assert_eq!(events, expected);
    assert_eq!(rig.pump.machine().links(), 0);
    assert!(!rig.finished);
}

#[test]
fn a_client_waits_for_the_application() {
    let mut rig = Rig::new(config());
    rig.agrees = false;
    rig.accept(0);
    rig.say(0, format!("{ENVELOPE}.\r\nQUIT\r\n"));
    assert_eq!(rig.codes(0), [220, 250]);
    let yes = || reply(250, "2.0.0", "Ok");
    for (question, codes) in [
        ("in-0 Mail(<a@b>)", &[250][..]),
        ("in-0 Recipient(<c@d>)", &[250, 354]),
        ("in-0 EndOfContent", &[250, 221]),
    ] {
        // However long it takes.
        assert_eq!(rig.wait(60 * MINUTE), None);
        assert_eq!(rig.news(), [question]);
        assert!(rig.respond(link(0), yes()));
        assert!(!rig.respond(link(0), yes()));
        rig.act();
        assert_eq!(rig.codes(0), codes);
    }
    assert!(!rig.respond(link(0), yes()));
}

#[test]
fn a_lost_link_ends_its_transaction_once() {
    for content in ["", "half a messa", "all of it\r\n.\r\n"] {
        let mut rig = Rig::new(config());
        rig.agrees = content.is_empty();
        rig.accept(0);
        rig.say(0, ENVELOPE);
        while !rig.agrees && rig.respond(link(0), reply(250, "", "Ok")) {
            rig.run();
        }
        rig.say(0, content);
        rig.news();
        rig.lose(0);
        rig.run();
        assert_eq!(rig.news(), ["in-0 Closed(connection lost: reset)"]);
        assert!(!rig.respond(link(0), reply(250, "", "Too late")));
        // What a driver may still have in its hands.
        rig.say(0, "RSET\r\n");
        rig.input(Input::Written { link: link(0) });
        rig.run();
        assert!(rig.news().is_empty());
    }
}

#[test]
fn a_link_is_closed_once_whatever_still_comes() {
    let mut server = Server::new(config());
    let (now, link) = (Time::ZERO, link(0));
    server.handle_input(now, Input::Accepted { link, peer: None });
    let mut closed = 0;
    for bytes in ["QUIT\r\n", "NOOP\r\n"] {
        let frame = Frame::Binary(Bytes::from(bytes));
        server.handle_input(now, Input::Frame { link, frame });
        server.handle_input(now, Input::Written { link });
        server.shutdown(now);
        while let Some(action) = server.poll_action() {
            closed += usize::from(matches!(action, Action::Close { .. }));
        }
    }
    assert_eq!(closed, 1);
    assert!(!server.is_finished());
    let why = Closure::Local;
    server.handle_input(now, Input::Closed { link, why });
    assert!(server.is_finished());
}

#[test]
fn what_a_client_gives_up_is_reset() {
    let mut config = config();
    config.session.max_message_bytes = Some(5);
    let mut rig = Rig::new(config);
    rig.accept(0);
    rig.say(0, format!("{ENVELOPE}too large\r\n.\r\n"));
    rig.say(0, "MAIL FROM:<a@b>\r\nRSET\r\n");
    rig.say(0, "MAIL FROM:<a@b>\r\nQUIT\r\n");
    assert_eq!(
        rig.codes(0),
        [220, 250, 250, 250, 354, 552, 250, 250, 250, 221]
    );
    let resets: Vec<_> = rig
        .news()
        .into_iter()
        .filter(|news| news.contains("Reset"))
        .collect();
    assert_eq!(resets.len(), 3);
}

#[test]
fn a_slow_command_times_out() {
    let mut rig = Rig::new(config());
    rig.accept(0);
    let deadline = rig.run().unwrap();
    assert_eq!(
        (deadline.timer, deadline.at),
        ("command", Time::ZERO.after(5 * MINUTE))
    );
    rig.wait(4 * MINUTE);
    rig.say(0, "NOOP\r\n");
    // Bytes that make no command buy no time.
    rig.wait(4 * MINUTE);
    rig.say(0, "NOO");
    rig.codes(0);
    rig.wait(MINUTE);
    assert_eq!(rig.sent(0), "421 4.4.2 Timeout, closing connection\r\n");
    assert_eq!(rig.news(), ["in-0 Closed(closed by this side)"]);
}

#[test]
fn content_that_stops_times_out() {
    let mut rig = Rig::new(config());
    rig.accept(0);
    rig.say(0, ENVELOPE);
    for _ in 0..5 {
        assert_eq!(
            rig.wait(2 * MINUTE).map(|deadline| deadline.timer),
            Some("content")
        );
        rig.say(0, "x");
    }
    rig.codes(0);
    rig.news();
    rig.wait(3 * MINUTE);
    assert_eq!(rig.codes(0), [421]);
    assert_eq!(rig.news(), ["in-0 Closed(closed by this side)"]);
}

#[test]
fn a_slow_application_stops_the_reading_and_not_the_client_s_clock() {
    for piece in [1, 1000, MAX_READ] {
        let mut rig = Rig::new(config());
        rig.accept(0);
        rig.say(0, ENVELOPE);
        let mut read = 0;
        while rig.read_limit(0) > 0 {
            read += piece;
            assert!(read <= MAX_HELD + MAX_READ);
            rig.frame(0, &alloc::vec![b'x'; piece]);
        }
        let server = rig.pump.machine();
        assert!(server.events.len() <= MAX_HELD / EVENT_BYTES + 1);
        assert_eq!(server.deadline(), None);
        rig.now = rig.now.after(60 * MINUTE);
        let resumed = rig.run().unwrap();
        assert_eq!(resumed.at, rig.now.after(3 * MINUTE));
        assert!(rig.read_limit(0) > 0);
        rig.codes(0);
        rig.wait(3 * MINUTE);
        assert_eq!(rig.codes(0), [421]);
    }
}

#[test]
fn a_client_that_takes_no_replies_is_not_read() {
    let mut rig = Rig::new(config());
    rig.writes = false;
    rig.accept(0);
    while rig.read_limit(0) > 0 {
        rig.say(0, "EHLO c\r\n".repeat(1000));
    }
    let sent = rig.sent(0).len();
    assert!(sent < 3 * MAX_HELD, "{sent}");
    rig.wait(MINUTE);
    assert_eq!(rig.sent(0), "");
    // It goes on where it stopped.
    rig.writes = true;
    rig.write();
    rig.run();
    assert!(!rig.sent(0).is_empty());
    assert!(rig.read_limit(0) > 0);
    // Or it never does.
    rig.writes = false;
    while rig.read_limit(0) > 0 {
        rig.say(0, "EHLO c\r\n".repeat(1000));
    }
    rig.wait(5 * MINUTE);
    assert!(
        rig.sent(0)
            .ends_with("421 4.4.2 Timeout, closing connection\r\n")
    );
    assert_eq!(rig.news(), ["in-0 Closed(closed by this side)"]);
}

#[test]
fn links_above_the_bound_are_refused() {
    let mut config = config();
    config.max_links = 2;
    let mut rig = Rig::new(config);
    for index in 0..5 {
        rig.accept(index);
    }
    assert_eq!((rig.codes(0), rig.codes(1)), ([220].into(), [220].into()));
    assert_eq!(
        rig.sent(2),
        "421 4.3.2 Too many connections, try again later\r\n"
    );
    rig.run();
    assert_eq!(rig.news(), ["Refused(3)"]);
    rig.say(3, "NOOP\r\n");
    assert_eq!(rig.codes(3), [421]);
    // Room is made when the application knows of it, so that its queue stays bounded.
    rig.lose(0);
    rig.accept(5);
    assert_eq!(rig.codes(5), [421]);
    rig.run();
    rig.accept(6);
    assert_eq!(rig.codes(6), [220]);
}

#[test]
fn shutdown_lets_a_message_finish() {
    let mut rig = Rig::new(config());
    for index in 0..3 {
        rig.accept(index);
    }
    rig.say(0, ENVELOPE);
    rig.say(1, "EHLO c\r\n");
    rig.codes(0);
    rig.codes(1);
    rig.codes(2);
    rig.shutdown();
    assert_eq!(rig.sent(1), "421 4.3.2 Service shutting down\r\n");
    assert_eq!(rig.codes(2), [421]);
    rig.accept(3);
    assert_eq!(rig.codes(3), [421]);
    rig.news();
    rig.say(0, "x\r\n.\r\nMAIL FROM:<a@b>\r\n");
    assert!(rig.finished);
    // The next message came with the last, and does not begin.
    assert_eq!(rig.codes(0), [250, 421]);
}

#[test]
fn shutdown_ends_in_one_event() {
    let mut rig = Rig::new(config());
    rig.shutdown();
    assert!(rig.finished);
    assert_eq!(rig.news(), ["Finished"]);
    rig.shutdown();
    rig.accept(0);
    rig.run();
    assert!(rig.news().is_empty());
    assert_eq!(rig.sent(0), "");

    let mut rig = Rig::new(config());
    rig.accept(0);
    rig.say(0, ENVELOPE);
    rig.shutdown();
    assert!(!rig.finished);
    rig.codes(0);
    rig.news();
    rig.shutdown();
    assert_eq!(rig.codes(0), [421]);
    assert_eq!(rig.news(), ["in-0 Closed(closed by this side)", "Finished"]);
}
