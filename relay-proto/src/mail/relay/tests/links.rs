//! Links and keys: who may stay, for how long, and how many.

use super::{
    peer::policy,
    rig::{CLIENT, Rig, config, seconds},
};
use crate::{
    CloseCode, Closure, Frame, Input, LinkId, Machine,
    mail::{
        relay::{Event, Policy, RelayConfig},
        wire::{ApiKey, Denied, Message, encode},
    },
};
use alloc::{format, string::ToString, vec, vec::Vec};
use bytes::Bytes;
use core::time::Duration;

fn text(json: &str) -> Frame {
    Frame::Text(Bytes::copy_from_slice(json.as_bytes()))
}

#[test]
fn a_granted_key_is_answered_with_its_limits() {
    let mut rig = Rig::new(config());
    rig.accept(CLIENT);
    assert_eq!(rig.read_limit(CLIENT), 64 * 1024);
    rig.authenticate(CLIENT);
    let Some(Event::KeyPresented { link, key, .. }) = rig.events.last() else {
        panic!("{:?}", rig.events);
    };
    assert_eq!((*link, key), (CLIENT, &ApiKey::new("k")));
    assert_eq!(rig.read_limit(CLIENT), 0);
    rig.grant(
        CLIENT,
        Policy {
            max_message_bytes: Some(5),
            ..Policy::default()
        },
    );
    let [Message::AuthenticateResponse(Ok(granted))] = &rig.messages(CLIENT)[..] else {
        panic!("no response");
    };
    assert_eq!(granted.limits.max_message_bytes, Some(5));
    assert_eq!(granted.limits.max_recipients, Some(100));
    assert_eq!(rig.read_limit(CLIENT), 1024 * 1024);
    // A second decision changes nothing.
    rig.grant(CLIENT, Policy::default());
    assert!(rig.messages(CLIENT).is_empty());
}

#[test]
fn guessing_keys_is_slow_and_a_good_key_is_not() {
    let mut rig = Rig::new(config());
    let mut links = (1..).map(LinkId::accepted);
    let mut present = |rig: &mut Rig| {
        let link = links.next().unwrap();
        rig.accept(link);
        rig.authenticate(link);
        link
    };
    let mut waited = Vec::new();
    for _ in 0..5 {
        let guess = present(&mut rig);
        let (from, denied) = (rig.now, Denied::for_good("unknown key"));
        rig.pump
            .command(from, |relay, now| relay.deny(now, guess, denied));
        rig.run();
        while rig.close_code(guess).is_none() {
            assert!(rig.messages(guess).is_empty());
            assert_eq!(rig.read_limit(guess), 0);
            rig.pass(Duration::from_millis(50));
        }
        assert!(matches!(
            rig.messages(guess)[..],
            [Message::AuthenticateResponse(Err(_))]
        ));
        waited.push(rig.now.since(from).as_millis());
    }
    assert_eq!(waited, [0, 250, 500, 1000, 2000]);
    let good = present(&mut rig);
    rig.grant(good, Policy::default());
    assert!(matches!(
        rig.messages(good)[..],
        [Message::AuthenticateResponse(Ok(_))]
    ));
}

#[test]
fn a_denied_key_is_answered_before_the_link_is_closed() {
    for (permanent, code) in [(Some(true), 4001), (Some(false), 1008), (None, 4001)] {
        let mut rig = Rig::new(config());
        rig.accept(CLIENT);
        rig.authenticate(CLIENT);
        let denied = Denied {
            error: "unknown key".into(),
            retry_after: None,
            permanent,
        };
        let now = rig.now;
        rig.pump
            .command(now, |relay, now| relay.deny(now, CLIENT, denied.clone()));
        rig.run();
        assert_eq!(
            rig.messages(CLIENT),
            [Message::AuthenticateResponse(Err(denied))]
        );
        assert_eq!(rig.close_code(CLIENT), Some(CloseCode(code)));
        assert!(matches!(
            rig.events[..],
            [
                ..,
                Event::AuthenticationRefused { .. },
                Event::Disconnected { .. }
            ]
        ));
        assert_eq!(rig.read_limit(CLIENT), 0);
    }
}

#[test]
fn a_client_that_does_not_authenticate_is_cut() {
    let mut rig = Rig::new(config());
    rig.accept(CLIENT);
    rig.pass(seconds(9));
    assert_eq!(rig.close_code(CLIENT), None);
    rig.pass(seconds(1));
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode(4008)));
}

#[test]
fn a_key_nobody_decides_on_is_not_kept_waiting_for_ever() {
    let mut rig = Rig::new(config());
    rig.accept(CLIENT);
    rig.pass(seconds(9));
    rig.authenticate(CLIENT);
    rig.pass(seconds(9));
    assert_eq!(rig.close_code(CLIENT), None);
    rig.pass(seconds(1));
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::TRY_AGAIN_LATER));
    rig.grant(CLIENT, Policy::default());
    assert!(rig.messages(CLIENT).is_empty());
}

#[test]
fn before_authentication_nothing_else_is_processed() {
    let cases = [
        (encode(&Message::ChannelOpen), CloseCode::POLICY_VIOLATION),
        (
            encode(&Message::ToServer(Bytes::from_static(b"x"))),
            CloseCode::POLICY_VIOLATION,
        ),
        (
            Frame::Binary(Bytes::from_static(b"x")),
            CloseCode::UNSUPPORTED_DATA,
        ),
        (
            Frame::Text(Bytes::from_static(b"\xff")),
            CloseCode::INVALID_PAYLOAD,
        ),
        (text("{\"type\":\"AUTH"), CloseCode::PROTOCOL_ERROR),
        (text("GET / HTTP/1.1"), CloseCode::PROTOCOL_ERROR),
        (
            text(&format!("{{\"x\":\"{}\"}}", "y".repeat(64 * 1024))),
            CloseCode::MESSAGE_TOO_BIG,
        ),
    ];
    for (frame, code) in cases {
        let mut rig = Rig::new(config());
        rig.accept(CLIENT);
        rig.input(Input::Frame {
            link: CLIENT,
            frame: frame.clone(),
        });
        assert_eq!(rig.close_code(CLIENT), Some(code), "{frame:?}");
        assert!(matches!(
            rig.events[..],
            [_, Event::Violation { .. }, Event::Disconnected { .. }]
        ));
        // The next one is served.
        let next = LinkId::accepted(1);
        rig.accept(next);
        rig.authenticate(next);
        assert!(matches!(
            rig.events.last(),
            Some(Event::KeyPresented { .. })
        ));
    }
}

#[test]
fn an_authenticated_client_that_breaks_the_protocol_is_cut() {
    let again = Message::Authenticate {
        api_key: ApiKey::new("k"),
        agent: None,
        durable: None,
    };
    let cases = [
        (encode(&again), "a second AUTHENTICATE"),
        (
            encode(&Message::ChannelReady),
            "SMTP_CHANNEL_READY is for relays to send",
        ),
        (
            encode(&Message::FromServer(Bytes::new())),
            "SMTP_FROM_SERVER is for relays to send",
        ),
        (text("{\"type\":5}"), "\"type\" must be a string"),
        (Frame::Binary(Bytes::new()), "binary"),
        (
            Frame::Text(Bytes::from(vec![b' '; 100 * 1024 * 1024])),
            "frames have up to 1048576 bytes here",
        ),
    ];
    for (frame, reason) in cases {
        let mut rig = Rig::serving(Policy::default());
        rig.input(Input::Frame {
            link: CLIENT,
            frame,
        });
        assert!(rig.close_reason(CLIENT).contains(reason), "{reason}");
        let Event::Violation { link, violation } = &rig.events[0] else {
            panic!("{:?}", rig.events);
        };
        assert_eq!(*link, CLIENT);
        assert_eq!(Some(violation.code), rig.close_code(CLIENT));
    }
}

#[test]
fn a_driver_that_refuses_a_huge_frame_is_believed() {
    let mut rig = Rig::serving(Policy::default());
    rig.input(Input::Closed {
        link: CLIENT,
        why: Closure::Violation {
            code: CloseCode::MESSAGE_TOO_BIG,
            detail: "100 MiB".into(),
        },
    });
    let [Event::Disconnected { why, .. }] = &rig.events[..] else {
        panic!("{:?}", rig.events);
    };
    assert!(why.contains("100 MiB"));
}

#[test]
fn unknown_types_are_ignored_and_counted() {
    let mut rig = Rig::serving(Policy::default());
    for _ in 0..3 {
        rig.input(Input::Frame {
            link: CLIENT,
            frame: text("{\"type\":\"HELLO\"}"),
        });
    }
    rig.lose(CLIENT);
    let [Event::Disconnected { ignored_frames, .. }] = &rig.events[..] else {
        panic!("{:?}", rig.events);
    };
    assert_eq!(*ignored_frames, 3);
}

#[test]
fn frames_that_come_while_the_key_is_decided_are_kept_within_bounds() {
    let mut rig = Rig::new(config());
    rig.accept(CLIENT);
    rig.authenticate(CLIENT);
    rig.send(CLIENT, &Message::ChannelOpen);
    assert_eq!(rig.dialled(), 0);
    rig.grant(CLIENT, Policy::default());
    assert_eq!(rig.dialled(), 1);

    let mut rig = Rig::new(config());
    rig.accept(CLIENT);
    rig.authenticate(CLIENT);
    for _ in 0..65 {
        rig.send(CLIENT, &Message::ChannelOpen);
    }
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::POLICY_VIOLATION));
}

#[test]
fn a_silent_client_is_pinged_and_then_cut() {
    let mut rig = Rig::serving(Policy::default());
    rig.pass(seconds(30));
    assert_eq!(rig.sent(CLIENT), [Frame::Ping(Bytes::new())]);
    rig.pass(seconds(10));
    rig.input(Input::Frame {
        link: CLIENT,
        frame: Frame::Pong(Bytes::new()),
    });
    rig.pass(seconds(30));
    assert_eq!(rig.sent(CLIENT), [Frame::Ping(Bytes::new())]);
    assert_eq!(rig.close_code(CLIENT), None);
    rig.pass(seconds(30));
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::GOING_AWAY));
}

#[test]
fn an_idle_client_that_answers_pings_stays() {
    let mut rig = Rig::serving(Policy::default());
    for _ in 0..1000 {
        rig.pass(seconds(30));
        rig.input(Input::Frame {
            link: CLIENT,
            frame: Frame::Pong(Bytes::new()),
        });
    }
    assert_eq!(rig.close_code(CLIENT), None);
}

#[test]
fn links_are_bounded() {
    let mut rig = Rig::new(RelayConfig {
        max_links: 3,
        max_unauthenticated_links: 2,
        ..config()
    });
    let links: Vec<_> = (0..6).map(LinkId::accepted).collect();
    rig.accept(links[0]);
    rig.accept_from(links[1], "192.0.2.8");
    rig.accept(links[2]);
    assert_eq!(rig.close_code(links[2]), Some(CloseCode::TRY_AGAIN_LATER));
    rig.authenticate(links[0]);
    rig.grant(links[0], policy("alice"));
    rig.accept(links[3]);
    assert_eq!(rig.close_code(links[3]), None);
    rig.authenticate(links[1]);
    rig.grant(links[1], policy("bob"));
    rig.accept(links[4]);
    assert_eq!(rig.close_code(links[4]), Some(CloseCode::TRY_AGAIN_LATER));
    rig.lose(links[3]);
    rig.accept(links[5]);
    assert_eq!(rig.close_code(links[5]), None);
}

#[test]
fn a_drain_lets_open_channels_finish() {
    let mut rig = Rig::serving(Policy::default());
    let idle = LinkId::accepted(1);
    rig.accept(idle);
    rig.send(CLIENT, &Message::ChannelOpen);
    let upstream = rig.upstream();
    let (now, deadline) = (rig.now, rig.now.after(seconds(60)));
    rig.pump
        .command(now, |relay, now| relay.drain(now, deadline));
    rig.run();
    assert_eq!(rig.close_code(idle), Some(CloseCode::SERVICE_RESTART));
    let late = LinkId::accepted(2);
    rig.accept(late);
    assert_eq!(rig.close_code(late), Some(CloseCode::SERVICE_RESTART));

    rig.input(Input::Opened { link: upstream });
    rig.upstream_says(upstream, "220 hi\r\n");
    rig.upstream_says(upstream, "250 hi\r\n");
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    assert!(!rig.finished);
    rig.client_says("QUIT\r\n");
    assert!(rig.client_hears().ends_with("221 2.0.0 Bye\r\n[closed]"));
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::SERVICE_RESTART));
    assert!(!rig.finished);
    rig.upstream_says(upstream, "221 bye\r\n");
    assert!(rig.finished);
    assert_eq!(rig.events.last(), Some(&Event::Finished));
    assert_eq!(rig.pump.machine().deadline(), None);
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let (mut rig, upstream) = Rig::open(Policy::default());
    let (now, deadline) = (rig.now, rig.now.after(seconds(5)));
    rig.pump
        .command(now, |relay, now| relay.drain(now, deadline));
    rig.pass(seconds(4));
    assert!(!rig.finished);
    rig.pass(seconds(1));
    assert!(rig.finished);
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::GOING_AWAY));
    assert!(rig.close_code(upstream).is_some());
}

#[test]
fn an_idle_relay_drains_and_stops_at_once() {
    for drain in [true, false] {
        let mut rig = Rig::new(config());
        let now = rig.now;
        rig.pump.command(now, |relay, now| match drain {
            true => relay.drain(now, now.after(seconds(60))),
            false => relay.stop(now),
        });
        rig.run();
        assert_eq!(rig.events, [Event::Finished]);
        // Nothing wakes it any more.
        rig.pump.command(now, |relay, now| {
            relay.stop(now);
            relay.drain(now, now);
        });
        rig.accept(CLIENT);
        rig.pass(seconds(1000));
        assert_eq!(rig.events.len(), 1);
    }
}

#[test]
fn events_show_no_key() {
    let mut rig = Rig::new(config());
    rig.accept(CLIENT);
    let key = "very-secret";
    rig.send(
        CLIENT,
        &Message::Authenticate {
            api_key: ApiKey::new(key),
            agent: Some("agent".to_string()),
            durable: None,
        },
    );
    assert!(!format!("{:?}", rig.events).contains(key));
}

/// With every timer at zero whatever waits is given up at once, and nothing is due after it was served.
#[test]
fn timers_of_zero_neither_panic_nor_spin() {
    let mut config = config();
    for timer in [
        &mut config.heartbeat_interval,
        &mut config.channel_idle_timeout,
        &mut config.upstream_open_timeout,
        &mut config.upstream_reply_timeout,
        &mut config.upstream_content_timeout,
        &mut config.upstream_final_timeout,
    ] {
        let was = core::mem::take(timer);
        assert_ne!(was, Duration::ZERO);
    }
    config.heartbeat_interval = seconds(1);
    let mut rig = Rig::serving_with(config.clone(), Policy::default());
    rig.send(CLIENT, &Message::ChannelOpen);
    assert!(rig.client_hears_smtp().starts_with("[error Some(421)"));
    config.heartbeat_interval = Duration::ZERO;
    config.authentication_timeout = Duration::ZERO;
    let mut rig = Rig::new(config);
    rig.accept(CLIENT);
    assert!(rig.close_code(CLIENT).is_some());
}
