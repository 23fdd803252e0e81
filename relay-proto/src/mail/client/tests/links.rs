//! What becomes of a link: refused, unreachable, late, silent, in disorder.

use super::*;

#[test]
fn a_refused_key_fails_what_waits_and_the_next_submission_tries_afresh() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    bench.says(&Message::AuthenticateResponse(Err(Denied {
        error: "unknown key".into(),
        retry_after: None,
        permanent: Some(true),
    })));
    let failures = bench.outcomes();
    assert_eq!(failures.len(), 2);
    assert!(failures.iter().all(|(_, result)| {
        matches!(result, Err(error @ Error::Authentication(_)) if error.is_permanent())
    }));
    assert_eq!(bench.state(), ConnectionState::Failed);
    assert_eq!(bench.run(), None);
    bench.send_mail();
    assert_eq!(bench.state(), ConnectionState::Connecting);
}

#[test]
fn a_temporary_refusal_of_the_key_is_not_tried_again_fast() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    bench.says(&Message::AuthenticateResponse(Err(Denied {
        error: "key store is away".into(),
        retry_after: None,
        permanent: Some(false),
    })));
    let waited_from = bench.now;
    bench.elapse("reconnect");
    assert!(bench.now.since(waited_from) >= 30 * SECOND);
}

#[test]
fn statuses_and_close_codes_that_refuse_the_key_are_permanent() {
    let endpoint = String::from("ws://relay.example");
    for status in [401, 403] {
        let mut bench = Bench::new(|_| {});
        bench.send_mail();
        let (link, endpoint) = (bench.link(), endpoint.clone());
        let why = OpenError::Refused {
            endpoint,
            status,
            retry_after: None,
        };
        bench.input(Input::OpenFailed { link, why });
        assert!(matches!(
            bench.outcomes()[..],
            [(1, Err(Error::Authentication(_)))]
        ));
    }
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    let why = Closure::Peer {
        code: Some(CloseCode(4001)),
        reason: "unknown key".into(),
    };
    bench.input(Input::Closed { link, why });
    assert!(matches!(
        bench.outcomes()[..],
        [(1, Err(Error::Authentication(_)))]
    ));
}

#[test]
fn a_relay_that_stays_away_is_given_up_after_the_attempts() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    for attempt in 1..=11 {
        let link = bench.link();
        let why = OpenError::Unreachable {
            endpoint: "ws://relay.example".into(),
            detail: "connection refused".into(),
        };
        bench.input(Input::OpenFailed { link, why });
        if attempt <= 10 {
            assert_eq!(bench.outcomes(), []);
            bench.elapse("reconnect");
        }
    }
    assert!(matches!(
        bench.outcomes()[..],
        [(1, Err(Error::Connection(_)))]
    ));
    assert_eq!(bench.state(), ConnectionState::Failed);
}

#[test]
fn a_server_hint_comes_before_the_backoff() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    let link = bench.link();
    let why = OpenError::Refused {
        endpoint: "ws://relay.example".into(),
        status: 503,
        retry_after: Some(90 * SECOND),
    };
    bench.input(Input::OpenFailed { link, why });
    bench.elapse("reconnect");
    assert!(bench.now >= Time::ZERO.after(90 * SECOND));
}

#[test]
fn each_timeout_is_an_error_of_its_own() {
    let mut bench = Bench::new(|config| {
        config.reconnect = BackoffPolicy::new(SECOND, SECOND, Some(0));
    });
    bench.send_mail();
    bench.elapse("open");
    assert_eq!(bench.now, Time::ZERO.after(10 * SECOND));
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    bench.elapse("authentication");
    assert_eq!(
        bench.outcomes(),
        [
            (1, Err(Error::Connection(LinkError::OpenTimeout))),
            (2, Err(Error::Connection(LinkError::AuthenticationTimeout))),
        ]
    );

    let mut bench = Bench::new(|config| {
        config.retry = BackoffPolicy::new(SECOND, SECOND, Some(0));
        config.heartbeat = Duration::MAX;
    });
    bench.send_mail();
    bench.authenticate();
    bench.elapse("channel");
    assert_eq!(bench.sent().last().unwrap(), "SMTP_CHANNEL_CLOSED");
    assert_eq!(
        bench.outcomes(),
        [(1, Err(Error::Timeout(Timeout::Channel)))]
    );
    // A late READY of the channel given up opens nothing.
    bench.says(&Message::ChannelReady);
    bench.close_channel();
    bench.send_mail();
    bench.says(&Message::ChannelReady);
    bench.elapse("message");
    assert_eq!(
        bench.outcomes()[1..],
        [(2, Err(Error::Timeout(Timeout::Message)))]
    );
    // Nor does a relay that leaves a channel unclosed keep the link.
    bench.elapse("channel close");
    assert_eq!(bench.sent().last().unwrap(), "close 1001");
}

#[test]
fn a_silent_relay_is_pinged_and_then_left() {
    let mut bench = Bench::new(|config| config.idle = None);
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("250 ok");
    bench.close_channel();
    bench.sent();
    bench.elapse("heartbeat");
    assert_eq!(bench.sent(), ["Ping(0 bytes)"]);
    let link = bench.link();
    bench.input(Input::Frame {
        link,
        frame: Frame::Pong(Bytes::new()),
    });
    bench.elapse("heartbeat");
    assert_eq!(bench.sent(), ["Ping(0 bytes)"]);
    bench.elapse("heartbeat");
    assert_eq!(bench.sent(), ["close 1001"]);
    assert!(bench.events.contains(&Event::Disconnected {
        error: Some(Error::Connection(LinkError::Silent))
    }));
    // What the dead link still says concerns nobody.
    bench.input(Input::Frame {
        link,
        frame: Frame::Pong(Bytes::new()),
    });
    bench.input(Input::Closed {
        link,
        why: Closure::Local,
    });
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
}

#[test]
fn a_relay_that_breaks_the_protocol_is_told_so_and_left() {
    let garbage = [
        (Frame::Text(Bytes::from_static(b"{\"type\":")), 1002),
        (Frame::Text(Bytes::from_static(b"[]")), 1002),
        (Frame::Text(Bytes::from_static(b"\xff")), 1007),
        (Frame::Binary(Bytes::from_static(b"x")), 1003),
    ];
    for (frame, code) in garbage {
        let mut bench = Bench::new(|_| {});
        bench.send_mail();
        let link = bench.link();
        bench.input(Input::Opened { link });
        bench.input(Input::Frame { link, frame });
        assert_eq!(bench.sent().last().unwrap(), &format!("close {code}"));
        assert_eq!(bench.state(), ConnectionState::Reconnecting);
        assert_eq!(bench.client().queue_size(), 1);
    }
}
