//! Channels: dialogue, policy, and the ways a client ends one.

use super::rig::{CLIENT, POINTS, Point, Rig, config, seconds};
use crate::{
    Input, LinkId, OpenError,
    mail::{
        relay::{Event, Policy, Refused, RelayConfig},
        wire::Message,
    },
    smtp::{ReversePath, malformed_ends::MALFORMED_ENDS},
};
use alloc::{format, string::ToString, vec};

#[test]
fn a_whole_dialogue_in_lockstep() {
    let (mut rig, upstream) = Rig::open(Policy::default());
    let mut step = |client: &str, expected: &str, upstream_says: &str, reply: &str| {
        rig.client_says(client);
        assert_eq!(rig.upstream_hears(upstream), expected, "after {client:?}");
        rig.upstream_says(upstream, upstream_says);
        assert_eq!(rig.client_hears(), reply, "after {client:?}");
    };
    step(
        "EHLO me\r\n",
        "",
        "",
        "250-relay.example\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n",
    );
    step(
        "mail from:<\"a b\"@B.example> size=10 body=8bitmime\r\n",
        "MAIL FROM:<\"a b\"@B.example> SIZE=10 BODY=8BITMIME\r\n",
        "250 2.1.0 fine\r\n",
        "250 2.1.0 fine\r\n",
    );
    step(
        "RCPT TO:<no@d.example>\r\n",
        "RCPT TO:<no@d.example>\r\n",
        "550-5.1.1 no such\r\n550 5.1.1 user\r\n",
        "550-5.1.1 no such\r\n550 5.1.1 user\r\n",
    );
    step(
        "RCPT TO:<c@d.example>\r\n",
        "RCPT TO:<c@d.example>\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
    );
    step("DATA\r\n", "DATA\r\n", "354 go\r\n", "354 go\r\n");
    step("..dot\r\nbare\nlf", "..dot\r\nbare\r\nlf", "", "");
    step(
        "\r\n.\r\n",
        "\r\n.\r\n",
        "250 2.0.0 queued\r\n",
        "250 2.0.0 queued\r\n",
    );
    step("QUIT\r\n", "QUIT\r\n", "", "221 2.0.0 Bye\r\n[closed]");
    rig.upstream_says(upstream, "221 bye\r\n");
    assert!(rig.close_code(upstream).is_some());
    assert_eq!(rig.close_code(CLIENT), None);

    let [
        Event::MessageRefused {
            refused: Refused::Recipient(refused),
            ..
        },
        Event::MessageRelayed {
            link,
            reverse_path,
            recipients,
            bytes,
            reply,
        },
    ] = &rig.events[..]
    else {
        panic!("{:?}", rig.events);
    };
    assert_eq!(refused.to_string(), "<no@d.example>");
    assert_eq!((*link, *recipients, *bytes), (CLIENT, 1, 15));
    assert_eq!(reverse_path.to_string(), "<\"a b\"@B.example>");
    assert_eq!(reply.to_string(), "250 2.0.0 queued");
}

#[test]
fn a_script_in_one_frame_works_without_ehlo_and_before_ready() {
    let mut rig = Rig::serving(Policy::default());
    rig.send(CLIENT, &Message::ChannelOpen);
    rig.client_says(
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
    );
    let upstream = rig.upstream();
    rig.input(Input::Opened { link: upstream });
    for (says, hears) in [
        ("220 hi\r\n", "EHLO relay.example\r\n"),
        ("250 hi\r\n", "MAIL FROM:<a@b.example>\r\n"),
        ("250 ok\r\n", "RCPT TO:<c@d.example>\r\n"),
        ("250 ok\r\n", "DATA\r\n"),
        ("354 go\r\n", "x\r\n.\r\n"),
        ("250 queued\r\n", "QUIT\r\n"),
    ] {
        rig.upstream_says(upstream, says);
        assert_eq!(rig.upstream_hears(upstream), hears, "after {says:?}");
    }
    assert_eq!(
        rig.client_hears(),
        "[SMTP_CHANNEL_READY]220 relay.example ESMTP\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n221 2.0.0 Bye\r\n[closed]"
    );
}

#[test]
fn malformed_ends_of_data_give_one_message() {
    for ending in MALFORMED_ENDS {
        let (mut rig, upstream) = Rig::at(Point::Content);
        rig.client_says(&format!("{ending}MAIL FROM:<evil@e.example>\r\n"));
        rig.client_says("RCPT TO:<v@v.example>\r\nDATA\r\nspoofed\r\n.\r\n");
        let heard = rig.upstream_hears(upstream);
        assert_eq!(heard.matches("\r\n.\r\n").count(), 1, "{ending:?}");
        assert!(heard.ends_with("spoofed\r\n.\r\n"), "{ending:?}");
        let mended = heard.replace("\r\n", "");
        assert!(!mended.contains(['\r', '\n']), "{ending:?}: {heard:?}");
        rig.upstream_says(upstream, "250 one\r\n");
        assert_eq!(rig.client_hears(), "250 one\r\n");
    }
}

#[test]
fn addresses_cannot_smuggle_commands() {
    let (mut rig, upstream) = Rig::open(Policy::default());
    for bad in [
        "MAIL FROM:<a@b.example\rRCPT TO:<x@y.example>>\r\n",
        "MAIL FROM:<a\nQUIT@b.example>\r\n",
        "MAIL FROM:<a@b.example>\0\r\n",
        "MAIL FROM:<a@b.example> SIZE=1\nQUIT\r\n",
    ] {
        rig.client_says(bad);
        assert_eq!(rig.upstream_hears(upstream), "", "{bad:?}");
    }
}

#[test]
fn what_the_upstream_does_not_offer_is_not_offered_on() {
    let policy = Policy {
        max_message_bytes: Some(500),
        ..Policy::default()
    };
    let (mut rig, upstream) = Rig::open_with(config(), policy, "250 mx.example\r\n");
    rig.client_says("EHLO me\r\n");
    assert_eq!(
        rig.client_hears(),
        "250-relay.example\r\n250-PIPELINING\r\n250-SIZE 500\r\n250 CHUNKING\r\n"
    );
    rig.client_says("MAIL FROM:<a@b.example> SIZE=10\r\n");
    assert_eq!(rig.upstream_hears(upstream), "MAIL FROM:<a@b.example>\r\n");
}

#[test]
fn policy_refuses_in_words_people_know() {
    let policy = || Policy {
        sender_domains: vec!["b.example".parse().unwrap()],
        recipients: vec!["d.example".parse().unwrap()],
        max_recipients: 1,
        max_message_bytes: Some(100),
        ..Policy::default()
    };
    let (mut rig, upstream) = Rig::open(policy());
    let refused = "550 5.7.1 Sender domain not authorized for your IP or subnet\r\n";
    for sender in ["a@evil.example", ""] {
        rig.client_says(&format!("MAIL FROM:<{sender}>\r\n"));
        assert_eq!(rig.client_hears(), refused);
    }
    assert_eq!(
        rig.events.pop(),
        Some(Event::MessageRefused {
            link: CLIENT,
            refused: Refused::Sender(ReversePath::Null),
            reply: crate::smtp::reply(550, "5.7.1", &refused[10..refused.len() - 2]),
        })
    );
    rig.client_says("MAIL FROM:<a@b.example> SIZE=101\r\n");
    assert!(rig.client_hears().starts_with("552 5.3.4 "));
    assert_eq!(rig.upstream_hears(upstream), "");
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    rig.client_says("RCPT TO:<c@else.example>\r\nRCPT TO:<c@d.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    rig.client_says("RCPT TO:<e@d.example>\r\n");
    assert_eq!(
        rig.client_hears(),
        "250 ok\r\n550 5.7.1 Recipient not allowed for this API key\r\n250 ok\r\n452 4.5.3 Too many recipients\r\n"
    );
    assert_eq!(
        rig.upstream_hears(upstream),
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
    );
}

#[test]
fn a_client_from_elsewhere_is_refused() {
    let policy = Policy {
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        ..Policy::default()
    };
    let (mut rig, _) = Rig::open(policy);
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    assert!(rig.client_hears().starts_with("550 5.7.1 Sender domain"));
}

#[test]
fn content_that_is_too_large_is_not_delivered() {
    let policy = Policy {
        max_message_bytes: Some(10),
        ..Policy::default()
    };
    let (mut rig, upstream) = Rig::open(policy);
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    rig.client_says("RCPT TO:<c@d.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    rig.client_says("DATA\r\n");
    rig.upstream_says(upstream, "354 go\r\n");
    rig.client_hears();
    rig.upstream_hears(upstream);
    rig.client_says("12345\r\n");
    rig.client_says("12345\r\n");
    assert!(rig.close_code(upstream).is_some());
    assert_eq!(rig.upstream_hears(upstream), "12345\r\n");
    assert!(matches!(
        rig.events.last(),
        Some(Event::MessageAbandoned { .. })
    ));
    assert_eq!(rig.client_hears(), "");
    rig.client_says("more\r\n.\r\n");
    assert!(rig.client_hears().starts_with("552 5.3.4 "));
    // The upstream went with the message; the next one gets another.
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    assert_eq!(rig.dialled(), 2);
    let upstream = rig.greet("250 mx.example\r\n");
    assert_eq!(rig.upstream_hears(upstream), "MAIL FROM:<a@b.example>\r\n");
    assert_eq!(rig.client_hears(), "");
}

#[test]
fn reset_reaches_the_upstream_before_the_next_message() {
    let (mut rig, upstream) = Rig::at(Point::Addressed);
    rig.client_says("RSET\r\nMAIL FROM:<x@b.example>\r\n");
    assert_eq!(rig.upstream_hears(upstream), "RSET\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    assert_eq!(rig.upstream_hears(upstream), "MAIL FROM:<x@b.example>\r\n");
    assert_eq!(rig.client_hears(), "250 2.0.0 Ok\r\n");
}

#[test]
fn there_is_one_channel_at_a_time() {
    let (mut rig, _) = Rig::open(Policy::default());
    rig.send(CLIENT, &Message::ChannelOpen);
    assert!(
        rig.client_hears()
            .contains("[error None: a channel is open already")
    );
    rig.client_says("NOOP\r\n");
    assert_eq!(rig.client_hears(), "250 2.0.0 Ok\r\n");
    assert_eq!(rig.dialled(), 1);
}

#[test]
fn data_without_a_channel_is_an_error_only_where_it_cannot_be_late() {
    let mut rig = Rig::serving(Policy::default());
    rig.client_says("NOOP\r\n");
    assert!(
        rig.client_hears()
            .contains("[error None: no channel is open")
    );
    rig.send(CLIENT, &Message::ChannelClosed { reason: None });
    assert_eq!(rig.client_hears(), "");

    let (mut rig, _) = Rig::open(Policy::default());
    rig.client_says("QUIT\r\n");
    rig.client_hears();
    rig.client_says("late");
    rig.send(CLIENT, &Message::ChannelClosed { reason: None });
    assert_eq!(rig.client_hears(), "");
    assert_eq!(rig.close_code(CLIENT), None);
}

#[test]
fn a_client_may_close_its_channel_at_any_point() {
    for point in POINTS {
        let (mut rig, upstream) = Rig::at(point);
        rig.send(CLIENT, &Message::ChannelClosed { reason: None });
        assert_eq!(rig.client_hears(), "[closed]", "{point:?}");
        rig.client_says("late\r\n.\r\n");
        rig.send(CLIENT, &Message::ChannelClosed { reason: None });
        assert_eq!(rig.client_hears(), "", "{point:?}");
        check_upstream_is_let_go(&mut rig, upstream, point);
        rig.send(CLIENT, &Message::ChannelOpen);
        assert_eq!(rig.dialled(), 2, "{point:?}");
    }
}

#[test]
fn a_client_may_vanish_at_any_point() {
    for point in POINTS {
        let (mut rig, upstream) = Rig::at(point);
        rig.lose(CLIENT);
        check_upstream_is_let_go(&mut rig, upstream, point);
        let events = &rig.events;
        assert!(
            events
                .iter()
                .any(|event| matches!(event, Event::Disconnected { .. })),
            "{point:?}: {events:?}"
        );
        assert_eq!(rig.pump.machine().links(), 0);
        assert_eq!(rig.pump.machine().upstreams(), 0);
    }
}

/// Before the end of data nothing may be delivered; after it the outcome is waited for.
fn check_upstream_is_let_go(rig: &mut Rig, upstream: LinkId, point: Point) {
    let abandoned = rig
        .events
        .iter()
        .filter(|event| matches!(event, Event::MessageAbandoned { .. }))
        .count();
    let heard = rig.upstream_hears(upstream);
    match point {
        Point::Idle => assert_eq!((heard.as_str(), abandoned), ("QUIT\r\n", 0)),
        Point::Transaction | Point::Addressed => {
            assert_eq!((heard.as_str(), abandoned), ("QUIT\r\n", 1), "{point:?}");
        }
        Point::Mail | Point::Recipient | Point::Data | Point::Content => {
            assert_eq!((heard.as_str(), abandoned), ("", 1), "{point:?}");
            assert!(rig.close_code(upstream).is_some(), "{point:?}");
            return;
        }
        Point::Final => {
            assert_eq!((heard.as_str(), abandoned), ("", 0));
            assert_eq!(rig.close_code(upstream), None);
            rig.pass_alive(seconds(599));
            rig.upstream_says(upstream, "250 queued\r\n");
            assert!(
                rig.events
                    .iter()
                    .any(|event| matches!(event, Event::MessageRelayed { .. }))
            );
            assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
        }
    }
    assert_eq!(rig.close_code(upstream), None, "{point:?}");
    rig.upstream_says(upstream, "221 bye\r\n");
    assert!(rig.close_code(upstream).is_some(), "{point:?}");
}

#[test]
fn a_client_that_closes_before_the_channel_is_ready_is_answered() {
    let mut rig = Rig::serving(Policy::default());
    rig.send(CLIENT, &Message::ChannelOpen);
    rig.send(CLIENT, &Message::ChannelClosed { reason: None });
    assert_eq!(rig.client_hears(), "[closed]");
    assert!(rig.close_code(rig.upstream()).is_some());
    assert_eq!(rig.pump.machine().upstreams(), 0);
}

#[test]
fn an_idle_channel_is_closed_with_421() {
    for point in [Point::Idle, Point::Transaction, Point::Content] {
        let (mut rig, upstream) = Rig::at(point);
        rig.pass_alive(seconds(290));
        assert_eq!(rig.client_hears_smtp(), "", "{point:?}");
        rig.pass_alive(seconds(10));
        assert_eq!(
            rig.client_hears_smtp(),
            "421 4.4.2 Idle for too long, closing\r\n[closed]",
            "{point:?}"
        );
        assert_eq!(rig.close_code(CLIENT), None);
        if point == Point::Content {
            assert!(rig.close_code(upstream).is_some());
        } else {
            assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
        }
    }
}

#[test]
fn upstream_connections_are_bounded() {
    let mut rig = Rig::serving_with(
        RelayConfig {
            max_upstreams: 0,
            ..config()
        },
        Policy::default(),
    );
    rig.send(CLIENT, &Message::ChannelOpen);
    let [Message::ChannelError(error)] = &rig.messages(CLIENT)[..] else {
        panic!("no error");
    };
    assert_eq!(error.code, Some(421));
    let retry_after = error.retry_after.unwrap();
    assert!((seconds(5)..=seconds(10)).contains(&retry_after));
    assert!(matches!(rig.events[..], [Event::ChannelFailed { .. }]));
    assert_eq!(rig.close_code(CLIENT), None);
}

#[test]
fn an_abandoned_opening_is_forgotten() {
    let mut rig = Rig::serving(Policy::default());
    rig.send(CLIENT, &Message::ChannelOpen);
    let upstream = rig.upstream();
    rig.lose(CLIENT);
    assert!(rig.close_code(upstream).is_some());
    rig.input(Input::OpenFailed {
        link: upstream,
        why: OpenError::Abandoned,
    });
    assert_eq!(rig.pump.machine().upstreams(), 0);
}
