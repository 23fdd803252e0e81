//! Services that ask to slow down, and limits of our own.

use super::*;

fn connected(configure: impl FnOnce(&mut ClientConfig)) -> Bench {
    let mut bench = Bench::new(key(), |config| {
        config.durable = false;
        config.timeouts.call = 60 * SECOND;
        configure(config);
    });
    bench.command(|client, now| client.connect(now));
    bench.opened();
    bench.sent();
    bench.events.clear();
    bench
}

fn slow_down(bench: &mut Bench, number: u64) {
    bench.says(&format!(
        r#"{{"code":429,"error":"slowly","retryAfterMs":500,"messageId":{number}}}"#
    ));
}

#[test]
fn a_call_that_was_one_too_many_is_made_again_when_it_may_be() {
    let mut bench = connected(|_| {});
    let id = bench.call(Call::increment("n", 1));
    assert_eq!(bench.made(), [1]);
    slow_down(&mut bench, 1);
    assert!(bench.ended().is_empty());
    assert_eq!(bench.statistics().throttled, 1);
    assert!(bench.made().is_empty());
    bench.pass(500 * MILLISECOND);
    assert_eq!(bench.made(), [2], "under another number");
    bench.answers(2, r#","newValue":1"#);
    assert_eq!(bench.ended(), [(id, Ok(Answer::Number(1)))]);
}

#[test]
fn the_application_is_told_once_and_nothing_is_sent_meanwhile() {
    let mut bench = connected(|_| {});
    for _ in 0..4 {
        bench.call(Call::get("k"));
    }
    assert_eq!(bench.made(), [1, 2, 3, 4]);
    for number in 1..=4 {
        slow_down(&mut bench, number);
    }
    let until = bench.now.after(500 * MILLISECOND);
    let told: Vec<_> = bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Throttled { until, .. } => Some(*until),
            _ => None,
        })
        .collect();
    assert_eq!(told, [until]);
    bench.call(Call::get("another"));
    bench.pass(499 * MILLISECOND);
    assert!(bench.made().is_empty());
    // All of them in the end, no two within the time the rate leaves between them.
    let mut made = vec![];
    for _ in 0..100 {
        bench.pass(50 * MILLISECOND);
        let now = bench.made();
        assert!(now.len() <= 1, "{now:?}");
        for number in &now {
            bench.fails(*number, 404);
        }
        made.extend(now);
    }
    assert_eq!(made, [5, 6, 7, 8, 9]);
}

#[test]
fn calls_that_were_put_back_keep_their_order() {
    let mut bench = connected(|_| {});
    for value in ["1", "2", "3"] {
        bench.call(Call::set("k", value));
    }
    bench.made();
    for number in 1..=3 {
        slow_down(&mut bench, number);
    }
    let mut values = vec![];
    for _ in 0..60 {
        bench.pass(100 * MILLISECOND);
        for line in bench.sent() {
            values.push(line.split('"').nth(9).unwrap().to_owned());
        }
    }
    assert_eq!(values, ["1", "2", "3"]);
}

#[test]
fn a_call_that_is_one_too_many_until_its_time_is_over_was_not_applied() {
    let mut bench = connected(|config| config.timeouts.call = 2 * SECOND);
    let id = bench.call(Call::increment("n", 1));
    for _ in 0..100 {
        for number in bench.made() {
            slow_down(&mut bench, number);
        }
        bench.pass(100 * MILLISECOND);
    }
    assert_eq!(bench.ended(), [(id, Err(CallError::Timeout))]);
}

#[test]
fn a_429_without_a_number_slows_down_too() {
    let mut bench = connected(|_| {});
    bench.call(Call::get("k"));
    bench.made();
    bench.says(r#"{"code":429,"error":"slowly"}"#);
    assert!(bench.statistics().pace.backoff_until.is_some());
    assert!(bench.ended().is_empty());
}

#[test]
fn a_limit_of_our_own_holds_and_can_be_changed_at_any_time() {
    let mut bench = connected(|config| config.rate = Some(Rate::per_second(10).with_burst(2)));
    for _ in 0..6 {
        bench.call(Call::get("k"));
    }
    assert_eq!(bench.made(), [1, 2]);
    bench.elapse("rate");
    assert_eq!(bench.made(), [3]);
    assert_eq!(bench.now, Time::ZERO.after(100 * MILLISECOND));
    bench.command(|client, now| client.set_rate(now, None));
    assert_eq!(bench.made(), [4, 5, 6]);
    assert_eq!(bench.statistics().pace.limit, None);
}

#[test]
fn a_429_in_a_session_is_no_end_of_the_call() {
    let mut bench = Bench::by_default();
    let id = bench.call(Call::increment("n", 1));
    bench.opened_durable();
    assert_eq!(bench.made(), [2]);
    slow_down(&mut bench, 2);
    bench.pass(600 * MILLISECOND);
    assert_eq!(
        bench.sent(),
        [r#"~{"op":6,"key":"n","value":1,"messageId":3,"settled":2}"#]
    );
    bench.answers(3, r#","newValue":1"#);
    assert_eq!(bench.end(), Ok(Answer::Number(1)));
    assert!(bench.client().position(id).is_none());
}
