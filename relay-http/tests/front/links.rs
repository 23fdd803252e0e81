//! Behind the upgrade.

use crate::desk::{Desk, Ledger, PEER, SWITCHING, UPGRADE, lost, masked, text};
use relay_http::Front;
use relay_proto::{
    Action, CloseCode, Closure, Endpoint, Frame, Input, LinkId, Pump, Step, StreamAddress, Time,
    storage::{BatchId, StorageError},
};
use relay_transport::Config;
use std::time::Duration;

fn send(link: LinkId, frame: Frame) -> Action {
    Action::Send { link, frame }
}

fn close(link: LinkId) -> Action {
    Action::Close {
        link,
        code: CloseCode::POLICY_VIOLATION,
        reason: "no key".to_owned(),
    }
}

fn frame(link: LinkId, frame: Frame) -> Input {
    Input::Frame { link, frame }
}

fn closed(link: LinkId, why: Closure) -> Input {
    Input::Closed { link, why }
}

/// A close frame as a server sends it.
fn goodbye(code: u16, reason: &str) -> Vec<u8> {
    let length = u8::try_from(reason.len() + 2).unwrap();
    [&[0x88, length][..], &code.to_be_bytes(), reason.as_bytes()].concat()
}

#[test]
fn frames_go_both_ways_and_each_of_the_sites_is_written_once() {
    let mut desk = Desk::new();
    let link = desk.open();
    desk.say(
        link,
        [masked(0x81, b"hello"), masked(0x82, &[0; 200])].concat(),
    );
    let expected = [
        frame(link, text("hello")),
        frame(link, Frame::Binary(vec![0; 200].into())),
    ];
    assert_eq!(desk.heard(), expected);

    desk.act(send(link, text("hi")));
    desk.act(send(link, Frame::Binary(vec![7; 300].into())));
    desk.act(send(link, Frame::Ping("p".into())));
    desk.act(send(link, Frame::Pong("q".into())));
    let sent = [
        &b"\x81\x02hi"[..],
        b"\x82\x7e\x01\x2c",
        &[7; 300],
        b"\x89\x01p",
        b"\x8a\x01q",
    ];
    assert_eq!(desk.sent(link), sent.concat());
    for _ in 0..4 {
        assert_eq!(desk.heard(), []);
        assert!(desk.write_one(link));
        assert_eq!(desk.heard(), [Input::Written { link }]);
    }
    assert!(!desk.write_one(link));
}

#[test]
fn fragments_are_one_message() {
    let mut desk = Desk::new();
    let link = desk.open();
    desk.say(link, masked(0x01, b"he"));
    desk.say(link, masked(0x89, b"ping"));
    desk.say(link, masked(0x80, b"llo"));
    assert_eq!(
        desk.heard(),
        [
            frame(link, Frame::Ping("ping".into())),
            frame(link, text("hello"))
        ]
    );
}

#[test]
fn pings_are_answered_and_reported_and_the_answers_are_none_of_the_sites() {
    let mut desk = Desk::new();
    let link = desk.open();
    desk.say(
        link,
        [masked(0x89, b"a"), masked(0x89, b"b"), masked(0x8a, b"c")].concat(),
    );
    assert_eq!(
        desk.heard(),
        [
            frame(link, Frame::Ping("a".into())),
            frame(link, Frame::Ping("b".into())),
            frame(link, Frame::Pong("c".into())),
        ]
    );
    assert_eq!(desk.sent(link), b"\x8a\x01a\x8a\x01b");
    desk.act(send(link, text("x")));
    desk.write(link);
    assert_eq!(desk.heard(), [Input::Written { link }]);
}

#[test]
fn a_pong_of_the_sites_own_is_not_in_place_of_the_answer() {
    let mut desk = Desk::new();
    let link = desk.open();
    desk.command(|site| site.echoes = true);
    desk.say(link, masked(0x89, b"a"));
    assert_eq!(desk.sent(link), b"\x8a\x01a\x8a\x01!");
    desk.write(link);
    let heard = desk.heard();
    assert_eq!(heard[1..], [Input::Written { link }], "{heard:?}");
}

#[test]
fn a_client_need_not_wait_for_the_answer_to_its_upgrade() {
    let mut desk = Desk::new();
    desk.command(|site| site.echoes = true);
    let link = desk.accept();
    desk.say(
        link,
        [UPGRADE.as_bytes(), &masked(0x81, b"first"), b"\x81"].concat(),
    );
    let peer = Some(PEER);
    assert_eq!(
        desk.heard(),
        [Input::Accepted { link, peer }, frame(link, text("first"))]
    );
    assert_eq!(
        desk.sent(link),
        [SWITCHING.as_bytes(), b"\x81\x05first"].concat()
    );
    desk.say(link, &masked(0x81, b"second")[1..]);
    assert_eq!(desk.heard(), [frame(link, text("second"))]);
}

#[test]
fn the_site_closes_with_its_code_and_the_peer_has_two_seconds() {
    let mut desk = Desk::new();
    let link = desk.open();
    desk.act(send(link, text("x")));
    desk.act(close(link));
    let said = [b"\x81\x01x", &goodbye(1008, "no key")[..]].concat();
    assert_eq!(desk.sent(link), said);
    // What is on its way is written, and what comes is too late.
    desk.write(link);
    desk.say(link, masked(0x81, b"too late"));
    desk.act(send(link, text("nowhere")));
    desk.act(close(link));
    assert_eq!(desk.heard(), [Input::Written { link }]);
    assert_eq!((desk.sent(link), desk.is_closed(link)), (vec![], false));
    assert_eq!(desk.deadline().unwrap().timer, "close");

    desk.say(link, masked(0x88, &1008_u16.to_be_bytes()));
    assert!(desk.is_closed(link) && desk.deadline().is_none());
    assert_eq!(desk.heard(), [closed(link, Closure::Local)]);
    desk.end(link);
    assert_eq!(desk.heard(), []);

    let link = desk.open();
    desk.act(close(link));
    desk.pass(Duration::from_millis(1999));
    assert!(!desk.is_closed(link));
    desk.pass(Duration::from_millis(1));
    assert!(desk.is_closed(link));
    assert_eq!(desk.heard(), [closed(link, Closure::Local)]);

    let link = desk.open();
    desk.act(close(link));
    desk.end(link);
    assert_eq!(
        desk.heard(),
        [closed(link, Closure::Local)],
        "though it did not answer"
    );
    assert!(desk.deadline().is_none());
}

#[test]
fn the_peer_closes_and_nothing_follows() {
    let mut desk = Desk::new();
    let link = desk.open();
    desk.act(send(link, text("x")));
    let bye = [&3000_u16.to_be_bytes()[..], b"bye"].concat();
    desk.say(
        link,
        [
            masked(0x81, b"last"),
            masked(0x88, &bye),
            masked(0x81, b"never"),
        ]
        .concat(),
    );
    let why = Closure::Peer {
        code: Some(CloseCode(3000)),
        reason: "bye".to_owned(),
    };
    assert_eq!(desk.heard(), [frame(link, text("last")), closed(link, why)]);
    assert_eq!(
        desk.sent(link),
        [b"\x81\x01x", &goodbye(3000, "bye")[..]].concat()
    );
    assert!(desk.is_closed(link));
    desk.act(send(link, text("nowhere")));
    desk.act(close(link));
    desk.say(link, masked(0x81, b"never"));
    desk.write(link);
    desk.end(link);
    assert_eq!(desk.heard(), []);
}

#[test]
fn what_breaks_the_rules_is_closed_with_the_right_code() {
    let mut config = Config::default();
    config.max_frame_bytes = 2000;
    let mut desk = Desk::with(config);
    for (said, expected) in [
        (b"\x81\x02hi".to_vec(), 1002),
        (masked(0xc1, b"reserved bit"), 1002),
        (masked(0x83, b"reserved opcode"), 1002),
        (masked(0x80, b"nothing to continue"), 1002),
        (masked(0x09, b"a fragment of a ping"), 1002),
        (masked(0x89, &[0; 126]), 1002),
        (masked(0x88, b"x"), 1002),
        (masked(0x81, b"\xff"), 1007),
        // Above what the site takes now, and above what is read at all.
        (masked(0x82, &[0; 1001]), 1009),
        (masked(0x82, &[0; 2001])[..8].to_vec(), 1009),
    ] {
        let link = desk.open();
        desk.say(link, &said);
        let heard = desk.heard();
        let [
            Input::Closed {
                why: Closure::Violation { code, .. },
                ..
            },
        ] = &heard[..]
        else {
            panic!("{said:x?}: {heard:?}");
        };
        assert_eq!(code.0, expected, "{said:x?}");
        assert_eq!(desk.sent(link)[2..4], expected.to_be_bytes());
        assert!(desk.is_closed(link));
        desk.end(link);
        assert_eq!(desk.heard(), []);
    }
}

#[test]
fn a_connection_that_breaks_is_told_as_it_is() {
    let mut desk = Desk::new();
    let link = desk.open();
    desk.say(link, &masked(0x81, b"half")[..5]);
    desk.end(link);
    assert_eq!(desk.heard(), [closed(link, lost())]);
    desk.act(send(link, text("nowhere")));
    assert_eq!(desk.sent(link), b"");
}

#[test]
fn what_the_site_does_not_take_the_peer_has_to_keep() {
    let mut desk = Desk::new();
    let link = desk.open();
    assert!(desk.read_limit(link) > 0);
    desk.command(|site| site.limit = 0);
    assert_eq!(desk.read_limit(link), 0);
    // What the driver has read before it knew.
    for part in ["a", "b", "c"] {
        desk.say(link, masked(0x81, part.as_bytes()));
        desk.say(link, masked(0x89, part.as_bytes()));
    }
    assert_eq!((desk.heard(), desk.sent(link)), (vec![], vec![]));
    desk.command(|site| site.limit = 1);
    let both = |part: &'static str| {
        [
            frame(link, text(part)),
            frame(link, Frame::Ping(part.into())),
        ]
    };
    assert_eq!(desk.heard(), [both("a"), both("b"), both("c")].concat());
    assert_eq!(desk.sent(link), b"\x8a\x01a\x8a\x01b\x8a\x01c");
    assert!(desk.read_limit(link) > 0);
}

#[test]
fn a_peer_that_pings_and_does_not_read_is_not_read_from() {
    let mut desk = Desk::new();
    let link = desk.open();
    let pings = masked(0x89, &[0; 125]).repeat(100);
    let mut said = 0;
    while desk.read_limit(link) > 0 {
        desk.say(link, &pings);
        said += 1;
        assert!(said < 10, "for ever");
    }
    // As many as the driver may have read by then.
    for _ in 0..4 {
        desk.say(link, &pings);
    }
    assert!(desk.unwritten(link) < 17 * 1024, "{}", desk.unwritten(link));
    assert!(desk.heard().len() < 140);
    // Once it reads, it gets all of them.
    desk.write(link);
    assert_eq!(desk.sent(link).len(), (said + 4) * 100 * 127);
    assert!(desk.read_limit(link) > 0);
}

#[test]
fn the_sites_mistakes_end_its_link() {
    let mut desk = Desk::new();
    for action in [
        |link| send(link, Frame::Text("\u{ff}".as_bytes()[..1].to_vec().into())),
        |link| Action::StartTls { link },
    ] {
        let link = desk.open();
        desk.act(action(link));
        let heard = desk.heard();
        assert!(
            matches!(
                &heard[..],
                [Input::Closed {
                    why: Closure::Lost { .. },
                    ..
                }]
            ),
            "{heard:?}"
        );
        assert!(desk.is_closed(link));
    }
}

#[test]
fn the_end_of_the_site_says_goodbye_everywhere_once() {
    let mut desk = Desk::new();
    let (open, closing, asking) = (desk.open(), desk.open(), desk.accept());
    let over = desk.accept();
    desk.say(over, "GET /plain HTTP/1.1\r\nHost: h\r\n\r\n");
    desk.act(close(closing));
    desk.sent(closing);
    desk.command(|site| site.finished = true);
    assert!(desk.finished && desk.deadline().is_none());
    assert_eq!(desk.sent(open), goodbye(1001, ""));
    assert_eq!((desk.sent(closing), desk.sent(asking)), (vec![], vec![]));
    for link in [open, closing, asking, over] {
        assert!(desk.is_closed(link));
        desk.say(link, masked(0x81, b"too late"));
        desk.end(link);
    }
    assert_eq!(desk.heard(), []);
}

#[test]
fn what_is_no_connection_passes_through() {
    let mut desk = Desk::new();
    let link = LinkId::dialled(0);
    let endpoint = Endpoint::Stream(StreamAddress::new("h", 1, false));
    let batch = BatchId::new(0);
    let actions = [
        Action::Open { link, endpoint },
        send(link, text("x")),
        Action::StartTls { link },
        Action::Store {
            batch,
            writes: vec![],
        },
        close(link),
    ];
    for action in &actions {
        desk.act(action.clone());
    }
    assert_eq!(desk.other, actions);
    let result = Err(StorageError::Absent);
    let inputs = [
        Input::Opened { link },
        frame(link, text("y")),
        Input::Written { link },
        Input::Secured { link },
        closed(link, lost()),
        Input::Stored { batch, result },
    ];
    for input in &inputs {
        desk.tell(input.clone());
    }
    assert_eq!(desk.heard(), inputs);
    assert_eq!(desk.read_limit(link), 1000);
}

#[test]
fn what_the_site_wants_from_the_beginning_is_done() {
    let mut site = Ledger::default();
    let writes = vec![];
    let batch = BatchId::new(0);
    site.actions.push_back(Action::Store { batch, writes });
    let mut pump = Pump::new(Front::new(site, Config::default()));
    assert!(matches!(
        pump.step(Time::ZERO),
        Step::Perform(Action::Store { .. })
    ));
}

#[test]
fn the_sites_timers_are_its_own() {
    let mut desk = Desk::new();
    desk.accept();
    let alarm = desk.now.after(Duration::from_secs(1));
    desk.command(|site| site.alarm = Some(alarm));
    assert_eq!(desk.deadline().unwrap().timer, "alarm");
    desk.pass(Duration::from_secs(1));
    assert_eq!(desk.site().rang, 1);
    assert_eq!(desk.deadline().unwrap().timer, "request");
}
