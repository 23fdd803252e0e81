//! Calls that wait: bounds, priorities, times, and taking back.

use super::*;

#[test]
fn the_queue_is_bounded_in_calls_and_in_bytes_and_hands_back_what_it_does_not_take() {
    let mut bench = Bench::new(key(), |config| config.queue = OutboxLimits::new(2, 10));
    let call = Call::set("key", "0123456789");
    let refused = bench.command(|client, now| client.call(now, call.clone()).unwrap_err());
    let (waiting, bytes) = (0, 0);
    assert_eq!(refused.why, Refusal::Full { waiting, bytes });
    assert_eq!(refused.call, call);
    bench.call(Call::set("k", "v"));
    bench.call(Call::get("key"));
    let refused = bench.command(|client, now| client.call(now, Call::get("k")).unwrap_err());
    assert_eq!(
        refused.to_string(),
        "the queue is full: 2 calls wait, 5 bytes are held"
    );
    // What is under way counts until it has ended.
    bench.opened_durable();
    bench.made();
    assert!(bench.command(|client, now| client.call(now, Call::get("k")).is_err()));
    bench.answers(2, "");
    assert!(bench.command(|client, now| client.call(now, Call::get("k")).is_ok()));
    assert_eq!(bench.statistics().calls, 3);
}

#[test]
fn what_is_urgent_leaves_first_and_the_rest_in_its_order() {
    let mut bench = Bench::plain();
    let priorities = [
        Priority::Low,
        Priority::Normal,
        Priority::Critical,
        Priority::Normal,
        Priority::High,
    ];
    let mut ids = vec![];
    for (name, priority) in ["low", "normal", "critical", "normal 2", "high"]
        .into_iter()
        .zip(priorities)
    {
        ids.push(bench.call(Call::get(name).priority(priority)));
    }
    let positions: Vec<_> = ids.iter().map(|id| bench.client().position(*id)).collect();
    assert_eq!(positions, [4, 2, 0, 3, 1].map(Some));
    bench.opened();
    let keys: Vec<_> = bench.sent()[1..]
        .iter()
        .map(|json| json.split('"').nth(5).unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["critical", "high", "normal", "normal 2", "low"]);
}

#[test]
fn a_call_without_a_link_ends_in_its_own_time() {
    let mut bench = Bench::by_default();
    let (short, by_default) = (
        bench.call(Call::increment("n", 1).timeout(3 * SECOND)),
        bench.call(Call::increment("n", 1)),
    );
    bench.cut();
    bench.pass(3 * SECOND - MILLISECOND);
    assert!(bench.ended().is_empty());
    bench.pass(MILLISECOND);
    assert_eq!(bench.ended(), [(short, Err(CallError::Timeout))]);
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended(), [(by_default, Err(CallError::Timeout))]);
    assert_eq!(bench.statistics().timed_out, 2);
    // And nobody tries to connect any more.
    bench.pass(100 * SECOND);
    assert_eq!(bench.state(), ConnectionState::Disconnected);
}

#[test]
fn a_call_that_is_not_answered_in_time_is_in_doubt_where_it_changes_something() {
    let mut bench = Bench::new(key(), |config| {
        config.durable = false;
        config.timeouts.call = 5 * SECOND;
    });
    let (read, change) = (
        bench.call(Call::get("k")),
        bench.call(Call::increment("n", 1)),
    );
    bench.opened();
    bench.sent();
    bench.elapse("answer");
    assert_eq!(bench.now, Time::ZERO.after(5 * SECOND));
    let in_doubt = CallError::InDoubt(Box::new(CallError::Timeout));
    assert_eq!(
        bench.ended(),
        [(read, Err(CallError::Timeout)), (change, Err(in_doubt))]
    );
    // The link is as good as before, and late answers change nothing.
    assert_eq!(bench.state(), ConnectionState::Connected);
    bench.answers(2, r#","newValue":1"#);
    assert!(bench.ended().is_empty());
    assert_eq!(bench.statistics().ignored, 1);
}

#[test]
fn no_call_lives_longer_than_an_hour_or_shorter_than_a_millisecond() {
    let mut bench = Bench::by_default();
    bench.call(Call::get("k").timeout(Duration::MAX));
    bench.call(Call::get("k").timeout(Duration::ZERO));
    bench.pass(MILLISECOND);
    assert_eq!(bench.ended().len(), 1);
    bench.pass(3600 * SECOND);
    assert_eq!(bench.ended().len(), 1);
}

#[test]
fn a_waiting_call_is_taken_back_and_a_sent_one_is_not() {
    let mut bench = Bench::plain();
    let sent = bench.call(Call::get("k"));
    bench.opened();
    bench.cut();
    let waiting = sent;
    let back = bench.command(|client, now| client.cancel(now, waiting));
    assert_eq!(back, Some(Call::get("k")));
    assert_eq!(
        bench.state(),
        ConnectionState::Disconnected,
        "what the link was for is gone"
    );
    let sent = bench.call(Call::get("k"));
    bench.opened();
    assert_eq!(bench.command(|client, now| client.cancel(now, sent)), None);
    assert_eq!(bench.ended(), []);
}

#[test]
fn a_number_that_crosses_no_wire_is_refused() {
    let mut bench = Bench::by_default();
    for by in [i64::MIN, -(1 << 53), 1 << 53, i64::MAX] {
        let call = Call::increment("n", by);
        let refused = bench.command(|client, now| client.call(now, call).unwrap_err());
        assert_eq!(refused.why, Refusal::NumberTooLarge { by });
    }
    for by in [-MAX_NUMBER, MAX_NUMBER] {
        bench.call(Call::increment("n", by));
    }
}

#[test]
fn a_shutdown_finishes_what_there_is_and_takes_nothing_new() {
    let mut bench = Bench::plain();
    let id = bench.call(Call::increment("n", 1));
    bench.command(|client, now| client.shutdown(now, 60 * SECOND));
    let refused = bench.command(|client, now| client.call(now, Call::get("k")).unwrap_err());
    assert_eq!(refused.why, Refusal::ShuttingDown);
    bench.opened();
    bench.answers(1, r#","newValue":1"#);
    assert!(bench.client().is_finished());
    assert_eq!(
        bench.events.last(),
        Some(&Event::Terminated { left: vec![] })
    );
    assert_eq!(bench.ended(), [(id, Ok(Answer::Number(1)))]);
}

#[test]
fn what_is_left_when_patience_ends_is_handed_back() {
    let mut bench = Bench::plain();
    let (sent, read) = (bench.call(Call::set("k", "v")), bench.call(Call::get("k")));
    bench.opened();
    bench.sent();
    bench.command(|client, now| client.shutdown(now, SECOND));
    bench.elapse("shutdown");
    let left = vec![
        Unsettled {
            id: sent,
            call: Call::set("k", "v"),
            in_doubt: true,
        },
        Unsettled {
            id: read,
            call: Call::get("k"),
            in_doubt: false,
        },
    ];
    assert_eq!(bench.events.last(), Some(&Event::Terminated { left }));
    assert_eq!(bench.sent(), ["close 1001"]);
}

#[test]
fn no_more_calls_are_under_way_than_may_be() {
    let mut bench = Bench::new(key(), |config| {
        config.durable = false;
        config.max_calls = 2;
    });
    for _ in 0..4 {
        bench.call(Call::get("k"));
    }
    bench.opened();
    assert_eq!(bench.made(), [1, 2]);
    bench.fails(2, 404);
    assert_eq!(bench.made(), [3]);
}

#[test]
fn a_transport_that_takes_nothing_is_given_no_more_than_it_can_hold() {
    let mut bench = Bench::plain();
    for _ in 0..100 {
        bench.call(Call::set("k", vec![b'x'; 16 << 10]));
    }
    bench.opened();
    let handed = bench.actions.len();
    assert!(handed < 20, "{handed} actions");
    assert_eq!(bench.made().len(), 100, "and goes on as it takes some");
}
