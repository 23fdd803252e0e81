//! What the published client does wrong, by its number in our notes about it, and this one does not. (2, 9, 11 and 19 are about
//! callbacks, interval timers and `fetch`, which a machine has none of; 12 and 16 have pages of their own, `durable` and `throttling`.)

use super::*;

fn connected(credential: Credential) -> Bench {
    let mut bench = Bench::new(credential, |config| config.durable = false);
    bench.command(|client, now| client.connect(now));
    bench.opened();
    bench.sent();
    bench
}

#[test]
fn weakness_1_frames_that_are_no_messages_are_counted_and_passed_over() {
    for credential in [key(), token()] {
        let mut bench = connected(credential);
        let id = bench.call(Call::get("k"));
        let frames = [
            "null",
            "42",
            "\"x\"",
            "true",
            "[]",
            "[1,2]",
            "{}",
            "hello",
            "",
            "{\"code\":200,",
            r#"{"type":"notification"}"#,
            r#"{"type":null}"#,
        ];
        for frame in frames {
            bench.text(frame);
        }
        let (link, frame) = (bench.link(), Frame::Binary(Bytes::from_static(b"\xff")));
        bench.input(Input::Frame { link, frame });
        assert_eq!(bench.statistics().ignored, frames.len() as u64 + 1);
        assert_eq!(bench.state(), ConnectionState::Connected);
        bench.fails(1, 404);
        assert_eq!(bench.ended()[0].0, id);
    }
}

#[test]
fn weakness_1_a_number_of_another_kind_answers_nothing() {
    let mut bench = connected(key());
    let id = bench.call(Call::get("k"));
    for number in [
        "\"1\"", "-1", "1.5", "null", "true", "[1]", "{}", "1e300", "0", "2",
    ] {
        bench.text(&format!(
            r#"{{"code":200,"messageId":{number},"key":"k","value":"v"}}"#
        ));
    }
    bench.text(r#"{"code":200,"key":"k","value":"v"}"#);
    assert!(bench.ended().is_empty());
    assert_eq!(bench.statistics().ignored, 11);
    bench.answers(1, r#","key":"k","value":"v""#);
    assert_eq!(bench.ended(), [(id, Ok(Answer::Value("v".into())))]);
}

#[test]
fn weakness_3_what_comes_from_a_link_after_its_time_does_nothing() {
    let mut bench = Bench::plain();
    bench.call(Call::get("k").timeout(600 * SECOND));
    let late = bench.link();
    bench.elapse("open");
    let before = bench.state();
    let why = OpenError::Abandoned;
    bench.input(Input::OpenFailed { link: late, why });
    bench.input(Input::Opened { link: late });
    let frame = Frame::Text(Bytes::from_static(b"null"));
    bench.input(Input::Frame { link: late, frame });
    let why = Closure::Local;
    bench.input(Input::Closed { link: late, why });
    assert_eq!(bench.state(), before);
    assert_eq!(bench.statistics().ignored, 0);
}

#[test]
fn weakness_4_disconnecting_during_the_wait_for_another_attempt_is_final() {
    let mut bench = connected(token());
    bench.cut();
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
    bench.command(|client, now| client.disconnect(now));
    assert_eq!(bench.state(), ConnectionState::Disconnected);
    bench.pass(10_000 * SECOND);
    assert_eq!(bench.state(), ConnectionState::Disconnected);
    assert!(bench.sent().is_empty());
}

#[test]
fn weakness_5_disconnecting_while_connecting_ends_what_waits() {
    let mut bench = Bench::plain();
    let id = bench.call(Call::set("k", "v"));
    bench.command(|client, now| client.disconnect(now));
    assert_eq!(bench.ended(), [(id, Err(CallError::Disconnected))]);
    assert_eq!(bench.sent(), ["open", "close 1000"]);
    bench.opened();
    assert_eq!(bench.state(), ConnectionState::Disconnected);
}

#[test]
fn weakness_6_a_link_that_does_not_open_in_time_is_closed() {
    let mut bench = Bench::plain();
    bench.call(Call::get("k").timeout(600 * SECOND));
    bench.elapse("open");
    assert_eq!(bench.now, Time::ZERO.after(10 * SECOND));
    assert_eq!(bench.sent(), ["open", "close 1001"]);
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
}

#[test]
fn weakness_7_the_end_of_a_link_is_told_whatever_the_peer_does() {
    let mut bench = connected(key());
    bench.events.clear();
    bench.command(|client, now| client.disconnect(now));
    // No answer to the close has come, and none will.
    assert_eq!(
        bench.count(|event| matches!(event, Event::Disconnected { error: None })),
        1
    );
    assert_eq!(bench.state(), ConnectionState::Disconnected);
}

#[test]
fn weakness_8_looking_changes_nothing_and_a_clean_close_by_the_service_is_a_loss_like_any_other() {
    let mut bench = connected(token());
    for _ in 0..3 {
        assert_eq!(bench.state(), ConnectionState::Connected);
        assert_eq!(bench.statistics().state, ConnectionState::Connected);
    }
    let (link, code) = (bench.link(), Some(CloseCode::NORMAL));
    let reason = "bye".into();
    let why = Closure::Peer { code, reason };
    bench.input(Input::Closed { link, why });
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
    assert_eq!(bench.statistics().state, ConnectionState::Reconnecting);
}

#[test]
fn weakness_10_each_link_is_told_once() {
    let mut bench = connected(key());
    for links in 2..5 {
        bench.cut();
        bench.elapse("reconnect");
        bench.opened();
        let connected = bench.count(|event| matches!(event, Event::Connected { .. }));
        assert_eq!(connected, links);
        let disconnected = bench.count(|event| matches!(event, Event::Disconnected { .. }));
        assert_eq!(disconnected, links - 1);
    }
}

#[test]
fn weakness_13_changes_that_may_have_been_missed_are_not_missed_silently() {
    let mut bench = connected(token());
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (after, first) = (None, None);
    assert_eq!(bench.events.last(), Some(&Event::Missed { after, first }));
}

#[test]
fn weakness_14_attempts_go_on_for_as_long_as_anybody_wants_a_link() {
    let mut bench = connected(token());
    bench.cut();
    for _ in 0..100 {
        bench.elapse("reconnect");
        bench.cut();
    }
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
}

#[test]
fn weakness_15_a_half_open_link_is_found_out_and_left() {
    let mut bench = connected(token());
    bench.pass(30 * SECOND);
    assert!(matches!(
        bench.actions.pop_front(),
        Some(Action::Send {
            frame: Frame::Ping(_),
            ..
        })
    ));
    bench.pass(30 * SECOND);
    assert_eq!(bench.sent(), ["close 1001"]);
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
}

#[test]
fn weakness_17_a_new_call_never_runs_ahead_of_those_that_wait() {
    let mut bench = Bench::new(key(), |config| {
        config.durable = false;
        config.rate = Some(Rate::per_second(1).with_burst(1));
        config.timeouts.call = 600 * SECOND;
    });
    bench.command(|client, now| client.connect(now));
    bench.opened();
    for _ in 0..3 {
        bench.call(Call::get("old"));
    }
    assert_eq!(bench.made(), [1]);
    // The driver is late: the rate would let one go at once.
    bench.now = bench.now.after(10 * SECOND);
    bench.call(Call::get("new"));
    let sent = bench.sent();
    assert!(sent[0].contains("old"), "{sent:?}");
}
