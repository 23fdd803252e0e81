//! What an upstream can do wrong, at every point of a message.

use super::rig::{CLIENT, IN_MESSAGE, POINTS, Point, Rig, seconds};
use crate::{
    Input, LinkId, OpenError,
    mail::{
        relay::{Event, Policy},
        wire::Message,
    },
};
use alloc::{string::String, vec::Vec};

fn opening() -> (Rig, LinkId) {
    let mut rig = Rig::serving(Policy::default());
    rig.send(CLIENT, &Message::ChannelOpen);
    let upstream = rig.upstream();
    (rig, upstream)
}

/// The error's text, code, and whether it says when to come back.
fn channel_error(rig: &mut Rig) -> (String, Option<u16>, bool) {
    let messages: Vec<_> = rig
        .messages(CLIENT)
        .into_iter()
        .filter(|message| !matches!(message, Message::ChannelReady))
        .collect();
    let [Message::ChannelError(error)] = &messages[..] else {
        panic!("{messages:?}");
    };
    (error.error.clone(), error.code, error.retry_after.is_some())
}

#[test]
fn an_unreachable_upstream_is_a_channel_error() {
    let (mut rig, upstream) = opening();
    rig.input(Input::OpenFailed {
        link: upstream,
        why: OpenError::Unreachable {
            endpoint: "mx.example:25".into(),
            detail: "route via 10.9.8.7 down".into(),
        },
    });
    assert_eq!(
        channel_error(&mut rig),
        (
            "the mail server mx.example:25 cannot be reached".into(),
            Some(421),
            true
        )
    );
    let [Event::ChannelFailed { why, .. }] = &rig.events[..] else {
        panic!("{:?}", rig.events);
    };
    assert!(why.contains("10.9.8.7"));
    assert_eq!(rig.close_code(CLIENT), None);
    rig.send(CLIENT, &Message::ChannelOpen);
    assert_eq!(rig.dialled(), 2);
}

#[test]
fn a_greeting_that_refuses_is_passed_on() {
    let cases = [
        ("421 4.3.2 later\r\n", 421, true),
        ("451 later\r\n", 451, true),
        ("554 5.7.1 not you\r\n", 554, false),
    ];
    for (greeting, code, retries) in cases {
        let (mut rig, upstream) = opening();
        rig.input(Input::Opened { link: upstream });
        rig.upstream_says(upstream, greeting);
        let (text, found, retry) = channel_error(&mut rig);
        assert_eq!((found, retry), (Some(code), retries), "{greeting}");
        assert!(text.contains(greeting.trim_end()), "{text}");
        assert!(rig.close_code(upstream).is_some());
    }
}

#[test]
fn an_upstream_that_does_not_greet_is_given_up() {
    for opened in [false, true] {
        let (mut rig, upstream) = opening();
        if opened {
            rig.input(Input::Opened { link: upstream });
            rig.upstream_says(upstream, "220 hi\r\n");
            rig.upstream_says(upstream, "250-never\r\n");
        }
        rig.pass(seconds(8));
        assert_eq!(rig.client_hears(), "");
        rig.pass(seconds(1));
        let (text, code, retries) = channel_error(&mut rig);
        assert!(text.contains("did not answer in time"), "{text}");
        assert_eq!((code, retries), (Some(421), true));
        assert!(rig.close_code(upstream).is_some());
    }
}

#[test]
fn what_is_no_smtp_server_is_a_channel_error() {
    for garbage in [
        "HTTP/1.1 400 Bad Request\r\n",
        "\0\0",
        "220 a\n",
        "999 x\r\n",
        "354 x\r\n",
    ] {
        let (mut rig, upstream) = opening();
        rig.input(Input::Opened { link: upstream });
        rig.upstream_says(upstream, garbage);
        let (text, code, _) = channel_error(&mut rig);
        assert!(text.contains("broke the SMTP protocol"), "{text}");
        assert_eq!(code, Some(421));
    }
}

#[test]
fn a_server_without_ehlo_is_greeted_with_helo() {
    let (mut rig, upstream) = opening();
    rig.input(Input::Opened { link: upstream });
    rig.upstream_says(upstream, "220 old\r\n");
    rig.upstream_says(upstream, "502 what\r\n");
    assert_eq!(
        rig.upstream_hears(upstream),
        "EHLO relay.example\r\nHELO relay.example\r\n"
    );
    rig.upstream_says(upstream, "250 old\r\n");
    assert_eq!(
        rig.client_hears(),
        "[SMTP_CHANNEL_READY]220 relay.example ESMTP\r\n"
    );
}

#[test]
fn a_lost_upstream_is_a_451_or_says_that_the_outcome_is_unknown() {
    for point in IN_MESSAGE {
        let (mut rig, upstream) = Rig::at(point);
        rig.lose(upstream);
        let heard = rig.client_hears();
        match point {
            Point::Idle | Point::Transaction | Point::Addressed => {
                assert!(
                    heard.starts_with("[error Some(421): the mail server mx.example:25 closed")
                );
            }
            Point::Mail | Point::Recipient | Point::Data | Point::Content => {
                assert!(heard.starts_with("451 4.4.2 "), "{point:?}: {heard}");
                assert!(heard.ends_with("\r\n[closed]"), "{point:?}: {heard}");
            }
            Point::Final => {
                assert!(heard.starts_with("[error None: "), "{heard}");
                assert!(heard.contains("whether it is delivered is unknown"));
            }
        }
        check_one_ending(&rig, point);
        assert_eq!(rig.pump.machine().upstreams(), 0);
        // What the client sent before it knew is ignored, and it can go on.
        rig.client_says("late\r\n.\r\n");
        rig.send(CLIENT, &Message::ChannelOpen);
        assert_eq!(rig.dialled(), 2, "{point:?}");
        assert_eq!(rig.client_hears(), "", "{point:?}");
    }
}

/// A message is abandoned or in doubt, never both, and never silently gone.
fn check_one_ending(rig: &Rig, point: Point) {
    let count =
        |wanted: fn(&Event) -> bool| rig.events.iter().filter(|event| wanted(event)).count();
    let abandoned = count(|event| matches!(event, Event::MessageAbandoned { .. }));
    let in_doubt = count(|event| matches!(event, Event::MessageInDoubt { .. }));
    let expected = match point {
        Point::Idle => (0, 0),
        Point::Final => (0, 1),
        _ => (1, 0),
    };
    assert_eq!((abandoned, in_doubt), expected, "{point:?}");
}

#[test]
fn a_421_is_passed_on_and_ends_the_channel() {
    for point in IN_MESSAGE {
        let (mut rig, upstream) = Rig::at(point);
        rig.upstream_says(upstream, "421 4.3.2 going down\r\n");
        assert_eq!(
            rig.client_hears(),
            "421 4.3.2 going down\r\n[closed]",
            "{point:?}"
        );
        rig.lose(upstream);
        assert_eq!(rig.pump.machine().upstreams(), 0);
        assert_eq!(rig.close_code(CLIENT), None);
    }
}

#[test]
fn an_upstream_that_ends_between_messages_costs_nothing() {
    let endings: [fn(&mut Rig, LinkId); 4] = [
        |rig, upstream| rig.lose(upstream),
        |rig, upstream| rig.upstream_says(upstream, "421 4.3.2 idle for too long\r\n"),
        |rig, upstream| rig.upstream_says(upstream, "250 surplus\r\n"),
        |rig, upstream| rig.upstream_says(upstream, "25"),
    ];
    for end in endings {
        let (mut rig, upstream) = Rig::at(Point::Idle);
        end(&mut rig, upstream);
        assert_eq!((rig.client_hears(), rig.events.len()), (String::new(), 0));
        assert!(!rig.is_open(upstream));
        rig.client_says("MAIL FROM:<a@b.example>\r\n");
        let next = rig.greet("250 mx.example\r\n");
        assert_eq!(rig.upstream_hears(next), "MAIL FROM:<a@b.example>\r\n");
        rig.upstream_says(next, "250 ok\r\n");
        assert_eq!(rig.client_hears(), "250 ok\r\n");
    }
}

#[test]
fn an_upstream_that_cannot_be_had_for_the_next_message_is_a_451() {
    let (mut rig, upstream) = Rig::at(Point::Idle);
    rig.lose(upstream);
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    let link = rig.upstream();
    let why = OpenError::Abandoned;
    rig.input(Input::OpenFailed { link, why });
    let heard = rig.client_hears();
    assert!(
        heard.starts_with("451 4.4.2 Nothing was delivered: the mail server"),
        "{heard}"
    );
    assert!(heard.ends_with("cannot be reached\r\n[closed]"), "{heard}");
}

#[test]
fn a_refusal_in_the_middle_of_content_is_final() {
    let (mut rig, upstream) = Rig::at(Point::Content);
    rig.upstream_says(upstream, "552 5.3.4 too much\r\n");
    assert_eq!(rig.client_hears(), "552 5.3.4 too much\r\n[closed]");
    assert!(rig.close_code(upstream).is_some());
    assert_eq!(rig.upstream_hears(upstream), "");
}

#[test]
fn replies_to_each_stage_are_the_upstreams_own() {
    let replies = [
        (Point::Mail, "553 5.1.8 bad sender\r\n"),
        (Point::Mail, "451 4.7.1 greylisted\r\n"),
        (Point::Recipient, "251 2.1.5 will forward\r\n"),
        (Point::Recipient, "450 4.2.1 later\r\n"),
        (Point::Data, "554 5.5.1 no\r\n"),
        (Point::Final, "250 2.6.0 queued\r\n"),
        (Point::Final, "554 5.6.0 spam\r\n"),
        (Point::Final, "452 4.3.1 disk full\r\n"),
    ];
    for (point, reply) in replies {
        let (mut rig, upstream) = Rig::at(point);
        rig.upstream_says(upstream, reply);
        assert_eq!(rig.client_hears(), reply, "{point:?}");
        rig.client_says("NOOP\r\n");
        assert_eq!(rig.client_hears(), "250 2.0.0 Ok\r\n", "{point:?}");
    }
}

#[test]
fn replies_that_do_not_fit_end_the_upstream() {
    let cases = [
        (Point::Transaction, "250 surplus\r\n"),
        (Point::Transaction, "25"),
        (Point::Mail, "354 go\r\n"),
        (Point::Data, "250 ok\r\n"),
        (Point::Content, "250 already\r\n"),
        (Point::Final, "354 more\r\n"),
        (Point::Recipient, "garbage\r\n"),
        (Point::Final, "garbage\r\n"),
    ];
    for (point, reply) in cases {
        let (mut rig, upstream) = Rig::at(point);
        rig.upstream_says(upstream, reply);
        let heard = rig.client_hears();
        if matches!(point, Point::Transaction | Point::Final) {
            assert!(heard.starts_with("[error"), "{point:?} {reply:?}: {heard}");
        } else {
            assert!(
                heard.starts_with("451 4.4.2"),
                "{point:?} {reply:?}: {heard}"
            );
        }
        check_one_ending(&rig, point);
        assert!(rig.close_code(upstream).is_some(), "{point:?} {reply:?}");
    }
}

#[test]
fn a_surplus_reply_is_never_taken_for_the_next_command() {
    let (mut rig, upstream) = Rig::at(Point::Recipient);
    rig.client_says("RCPT TO:<next@d.example>\r\n");
    rig.upstream_says(upstream, "550 no\r\n250 surplus\r\n");
    let heard = rig.client_hears();
    assert!(heard.starts_with("550 no\r\n[error"), "{heard}");
    assert_eq!(rig.upstream_hears(upstream), "");
}

#[test]
fn a_silent_upstream_is_given_up_in_time() {
    let cases = [
        (Point::Mail, 300),
        (Point::Recipient, 300),
        (Point::Data, 300),
        (Point::Final, 600),
    ];
    for (point, timeout) in cases {
        let (mut rig, upstream) = Rig::at(point);
        rig.pass_alive(seconds(timeout - 1));
        assert_eq!(rig.close_code(upstream), None, "{point:?}");
        rig.pass_alive(seconds(1));
        assert!(rig.close_code(upstream).is_some(), "{point:?}");
        check_one_ending(&rig, point);
        let heard = rig.client_hears_smtp();
        if point == Point::Final {
            assert!(heard.contains("is unknown"), "{heard}");
        } else {
            assert!(heard.starts_with("451 4.4.2"), "{heard}");
        }
    }
}

#[test]
fn an_upstream_that_takes_no_content_is_given_up() {
    let (mut rig, upstream) = Rig::at(Point::Content);
    rig.slow.insert(upstream);
    rig.client_says("stuck\r\n");
    rig.pass_alive(seconds(179));
    rig.client_says("still\r\n");
    assert_eq!(rig.close_code(upstream), None);
    rig.pass_alive(seconds(1));
    assert!(rig.close_code(upstream).is_some());
    check_one_ending(&rig, Point::Content);
}

#[test]
fn an_upstream_that_does_not_say_goodbye_is_closed() {
    let (mut rig, upstream) = Rig::open(Policy::default());
    rig.client_says("QUIT\r\n");
    assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
    rig.pass(seconds(5));
    assert!(rig.close_code(upstream).is_some());
    assert_eq!(rig.client_hears(), "221 2.0.0 Bye\r\n[closed]");
}

#[test]
fn stopping_says_what_becomes_of_each_message() {
    for point in POINTS {
        let (mut rig, _) = Rig::at(point);
        let now = rig.now;
        rig.pump.command(now, |relay, now| relay.stop(now));
        rig.run();
        check_one_ending(&rig, point);
        assert!(rig.finished);
    }
}
