//! How fast submissions go in the durable dialect, and whose word slows them down.

use super::{
    super::pacing::{changes, ends, over_rate, rate},
    *,
};

#[test]
fn a_limit_holds_in_the_durable_dialect() {
    let mut world = World::new(|config| config.rate = Some(rate("10/s:2")));
    for _ in 0..5 {
        world.bench.send_mail();
    }
    world.settle();
    assert_eq!(world.delivered.len(), 2);
    let begun = world.bench.now;
    for count in 3..=5 {
        world.bench.elapse("rate");
        world.settle();
        assert_eq!(world.delivered.len(), count);
    }
    assert_eq!(world.bench.now.since(begun), 3 * SECOND / 10);
    let statistics = world.bench.client().statistics();
    assert_eq!(statistics.pace.rate, Some(rate("10/s:2")));
    assert_eq!((statistics.throttled, statistics.processed), (0, 5));
    assert_eq!(changes(&world.bench), [] as [&Event; 0]);
    assert_eq!(
        world.bench.run().unwrap().timer,
        "idle",
        "nobody waits for its turn"
    );
}

#[test]
fn what_a_relay_refuses_for_the_rate_waits_for_its_turn_and_has_not_failed() {
    let mut world = World::new(|config| config.retry = BackoffPolicy::new(SECOND, SECOND, Some(0)));
    world.answers = false;
    for _ in 0..4 {
        world.bench.send_mail();
    }
    world.settle();
    world.say(1, "250 2.0.0 queued");
    // The others of the flight come back one by one, the first of them last.
    for channel in [4, 3, 2] {
        world.delivered.clear();
        world.ledger.clear();
        world.far.as_mut().unwrap().channels.close(channel);
        world.word(&Word::Error {
            channel,
            error: over_rate(2 * SECOND),
        });
        world.settle();
    }
    let pace = world.bench.client().statistics().pace;
    let until = pace.backoff_until.unwrap();
    let said_last = world.bench.now.after(2 * SECOND);
    assert!(until <= said_last && said_last.since(until) < SECOND / 10);
    let [
        Event::Throttled {
            rate: now,
            until: told,
            error,
        },
    ] = changes(&world.bench)[..]
    else {
        panic!("{:?}", changes(&world.bench));
    };
    assert_eq!(*now, rate("2/s:1"), "half of four in a second");
    assert!(*told <= until);
    assert!(error.asks_to_slow_down() && error.is_transient());
    let statistics = world.bench.client().statistics();
    assert_eq!((statistics.throttled, statistics.retried), (3, 0));
    let client = world.bench.client();
    let positions = [2, 3, 4].map(|id| client.position(SubmissionId(id)));
    assert_eq!(
        positions,
        [0, 1, 2].map(Some),
        "nobody has overtaken anybody"
    );
    assert_eq!(world.bench.client().state(), ConnectionState::Authenticated);
    world.answers = true;
    world.bench.elapse("rate");
    assert_eq!(world.bench.now, until);
    world.settle();
    assert_eq!(ends(&world.bench), [1, 2]);
    for _ in 0..2 {
        world.bench.elapse("rate");
        world.settle();
    }
    assert_eq!(ends(&world.bench), [1, 2, 3, 4]);
    assert_eq!(world.opened.len(), 7);
    for (again, first) in [(4, 1), (5, 2), (6, 3)] {
        assert_eq!(
            world.opened[again], world.opened[first],
            "the same deliveries"
        );
    }
}

#[test]
fn a_rate_is_found_again_when_everything_is_taken() {
    let mut world = World::new(|config| config.rate = Some(rate("10/s")));
    world.answers = false;
    world.bench.send_mail();
    world.settle();
    world.ledger.clear();
    world.answers = true;
    world.far.as_mut().unwrap().channels.close(1);
    let error = over_rate(SECOND);
    world.word(&Word::Error { channel: 1, error });
    world.settle();
    while changes(&world.bench).len() < 2 {
        if world.bench.client().queue_size() > 0 {
            world.bench.elapse("rate");
        } else {
            world.bench.now = world.bench.now.after(SECOND);
            world.bench.send_mail();
        }
        world.settle();
    }
    let limit = Some(rate("10/s"));
    assert_eq!(changes(&world.bench)[1], &Event::RateRecovered { limit });
    let pace = world.bench.client().statistics().pace;
    assert_eq!(
        (pace.rate, pace.backoff_until, pace.refusals),
        (limit, None, 0)
    );
    let sent = world.opened.len();
    assert!((20..30).contains(&sent), "{sent}");
}

#[test]
fn a_channel_that_cannot_be_had_slows_nobody_else_down() {
    let mut world = World::new(|_| {});
    world.answers = false;
    world.bench.send_mail();
    world.settle();
    world.far.as_mut().unwrap().channels.close(1);
    let error = ChannelError {
        code: Some(421),
        ..over_rate(60 * SECOND)
    };
    world.word(&Word::Error { channel: 1, error });
    world.settle();
    world.answers = true;
    world.bench.send_mail();
    world.settle();
    assert_eq!(ends(&world.bench), [2]);
    assert_eq!(changes(&world.bench), [] as [&Event; 0]);
    assert_eq!(world.bench.client().statistics().retried, 1);
}
