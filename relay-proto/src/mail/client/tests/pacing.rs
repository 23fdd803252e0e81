//! How fast submissions go, and whose word slows them down.

use super::*;
use crate::pacing::{Pace, Rate};

pub(super) fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

pub(super) fn over_rate(retry_after: Duration) -> ChannelError {
    ChannelError {
        error: "this API key sends more messages than 1/s".into(),
        code: Some(450),
        retry_after: Some(retry_after),
    }
}

/// The events that are about pace.
pub(super) fn changes(bench: &Bench) -> Vec<&Event> {
    let is_change =
        |event: &&Event| matches!(event, Event::Throttled { .. } | Event::RateRecovered { .. });
    bench.events.iter().filter(is_change).collect()
}

pub(super) fn ends(bench: &Bench) -> Vec<u64> {
    let ends = bench.outcomes();
    assert!(ends.iter().all(|(_, end)| end.is_ok()), "{ends:?}");
    ends.into_iter().map(|(id, _)| id).collect()
}

/// Takes a message on a channel of the base dialect.
pub(super) fn take_one(bench: &mut Bench) {
    bench.until_end_of_data();
    bench.server_says("250 ok");
    bench.close_channel();
}

#[test]
fn a_limit_holds_in_the_base_dialect_and_can_be_changed_at_any_time() {
    let mut bench = Bench::new(|config| {
        config.rate = Some(rate("1/min"));
        config.heartbeat = 3600 * SECOND;
    });
    for _ in 0..4 {
        bench.send_mail();
    }
    bench.authenticate();
    take_one(&mut bench);
    let begun = bench.now;
    bench.elapse("rate");
    assert_eq!(bench.now.since(begun), 60 * SECOND);
    take_one(&mut bench);
    assert_eq!(bench.state(), ConnectionState::Authenticated);
    let set = |bench: &mut Bench, rate| {
        let set = |client: &mut Client, now| client.set_rate(now, rate);
        bench.pump.command(bench.now, set);
        bench.run();
    };
    set(&mut bench, Some(rate("1/s")));
    bench.elapse("rate");
    assert_eq!(bench.now.since(begun), 61 * SECOND);
    take_one(&mut bench);
    set(&mut bench, None);
    assert_eq!(bench.state(), ConnectionState::ChannelOpening);
    take_one(&mut bench);
    assert_eq!(ends(&bench), [1, 2, 3, 4]);
    assert_eq!(bench.client().statistics().pace, Pace::default());
}

/// What a relay that refuses the first channel for the rate makes of a client of the base dialect.
#[test]
fn the_base_dialect_learns_as_well() {
    let mut bench = Bench::new(|config| config.retry = BackoffPolicy::new(SECOND, SECOND, Some(0)));
    bench.send_mail();
    bench.send_mail();
    bench.authenticate();
    bench.says(&Message::ChannelError(over_rate(SECOND / 10)));
    bench.run();
    assert_eq!(bench.state(), ConnectionState::Authenticated);
    let begun = bench.now;
    bench.elapse("rate");
    assert_eq!(bench.now.since(begun), SECOND / 10);
    take_one(&mut bench);
    bench.elapse("rate");
    assert_eq!(
        bench.now.since(begun),
        SECOND / 10 + 2 * SECOND,
        "one in a second was too much"
    );
    take_one(&mut bench);
    assert_eq!(ends(&bench), [1, 2]);
    assert_eq!(changes(&bench).len(), 1);
}

/// Refuses the message at MAIL.
fn refuse_mail(bench: &mut Bench, reply: &str) {
    bench.says(&Message::ChannelReady);
    for line in ["220 relay", "250-relay\r\n250 ENHANCEDSTATUSCODES", reply] {
        bench.server_says(line);
    }
    bench.close_channel();
}

#[test]
fn a_server_that_wants_less_is_waited_for_and_if_it_takes_nothing_at_all_that_is_a_failure_like_others()
 {
    let mut bench = Bench::new(|config| {
        config.retry = BackoffPolicy::new(SECOND, SECOND, Some(1));
        config.heartbeat = 3600 * SECOND;
    });
    bench.send_mail();
    bench.authenticate();
    let begun = bench.now;
    // A second, and from then on as long as the rate asks for.
    for wait in [1, 4, 8, 16, 32] {
        let now = bench.now;
        refuse_mail(&mut bench, "450 4.7.1 Error: too much mail from 192.0.2.1");
        assert_eq!(bench.client().statistics().retried, 0);
        while bench.state() == ConnectionState::Authenticated {
            bench.elapse("rate");
        }
        assert_eq!(bench.now.since(now), wait * SECOND);
    }
    assert_eq!(bench.now.since(begun), 61 * SECOND);
    assert_eq!(changes(&bench).len(), 5);
    refuse_mail(&mut bench, "450 4.7.1 Error: too much mail from 192.0.2.1");
    assert_eq!(bench.client().statistics().retried, 1);
    while bench.state() == ConnectionState::Authenticated {
        let due = bench.run().unwrap();
        bench.now = due.at;
    }
    refuse_mail(&mut bench, "450 4.7.1 Error: too much mail from 192.0.2.1");
    let [(1, Err(Error::Message(error)))] = &bench.outcomes()[..] else {
        panic!("{:?}", bench.outcomes());
    };
    assert!(error.asks_to_slow_down());
}

#[test]
fn greylisting_holds_up_nobody_else() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.send_mail();
    bench.authenticate();
    bench.says(&Message::ChannelReady);
    for line in ["220 relay", "250 relay", "250 ok", "450 4.7.1 Greylisted"] {
        bench.server_says(line);
    }
    bench.close_channel();
    take_one(&mut bench);
    assert_eq!(ends(&bench), [2]);
    assert_eq!(changes(&bench), [] as [&Event; 0]);
}

#[test]
fn nothing_is_dialled_for_what_may_not_go_yet() {
    let mut bench = Bench::new(|config| {
        config.rate = Some(rate("1/min"));
        config.idle = Some(Duration::ZERO);
    });
    bench.send_mail();
    bench.authenticate();
    take_one(&mut bench);
    assert_eq!(bench.state(), ConnectionState::Disconnected);
    bench.sent();
    let begun = bench.now;
    bench.send_mail();
    assert_eq!(bench.sent(), [""; 0]);
    bench.elapse("rate");
    assert_eq!(bench.now.since(begun), 60 * SECOND);
    assert_eq!(bench.sent(), ["open ws://relay.example"]);
    bench.authenticate();
    take_one(&mut bench);
    assert_eq!(ends(&bench), [1, 2]);
}
