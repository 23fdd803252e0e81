use super::*;
use crate::pacing::support::{is_never_above, rates};
use alloc::{collections::VecDeque, string::ToString, vec::Vec};
use proptest::prelude::*;

const MILLISECOND: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

const fn at(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

/// As many as may go now, up to so many.
fn send(pacer: &mut Pacer, now: Time, most: usize) -> usize {
    (0..most)
        .take_while(|_| {
            let ready = pacer.is_ready(now);
            if ready {
                pacer.sent(now);
            }
            ready
        })
        .count()
}

fn next(pacer: &mut Pacer, now: Time) -> Time {
    if pacer.is_ready(now) {
        return now;
    }
    let deadline = pacer.deadline().unwrap();
    assert!(deadline.at > now && deadline.timer == "rate");
    deadline.at
}

/// One after the other goes as soon as it may and is taken after 10 ms, so long.
fn all_is_well(pacer: &mut Pacer, mut now: Time, for_so_long: Duration) -> Time {
    let end = now.after(for_so_long);
    while now < end {
        now = next(pacer, now);
        pacer.sent(now);
        let sent = now;
        now = now.after(10 * MILLISECOND);
        pacer.accepted(now, sent);
    }
    now
}

#[test]
fn without_a_limit_anything_goes() {
    let mut pacer = Pacer::new(at(0), None);
    assert_eq!(send(&mut pacer, at(0), 10_000), 10_000);
    assert_eq!(pacer.deadline(), None);
    assert_eq!(pacer.pace(), Pace::default());
}

#[test]
fn a_limit_holds_from_the_beginning() {
    let mut pacer = Pacer::new(at(0), Some("10/s:3".parse().unwrap()));
    assert_eq!(send(&mut pacer, at(0), 10), 3);
    assert_eq!(next(&mut pacer, at(0)), at(100));
    assert_eq!(send(&mut pacer, at(99), 10), 0);
    assert_eq!(send(&mut pacer, at(100), 10), 1);
}

#[test]
fn a_peer_that_complains_is_sent_half_as_much_after_a_second() {
    let mut pacer = Pacer::new(at(0), Some(Rate::per_second(10)));
    assert_eq!(send(&mut pacer, at(0), 20), 10);
    assert!(pacer.throttled(at(50), at(0), None));
    let pace = pacer.pace();
    assert_eq!(pace.limit, Some(Rate::per_second(10)));
    assert_eq!(pace.rate, Some(Rate::per_second(5)));
    assert_eq!((pace.backoff_until, pace.refusals), (Some(at(1050)), 1));
    assert_eq!(next(&mut pacer, at(50)), at(1050));
    assert_eq!(send(&mut pacer, at(1049), 10), 0);
    assert_eq!(send(&mut pacer, at(1050), 10), 1, "one first, and no burst");
    assert_eq!(next(&mut pacer, at(1050)), at(1250));
}

#[test]
fn one_flight_counts_once_however_many_of_it_are_refused() {
    let mut pacer = Pacer::new(at(0), None);
    send(&mut pacer, at(0), 8);
    send(&mut pacer, at(20), 8);
    assert!(pacer.throttled(at(50), at(0), None));
    for sent in [0, 0, 20, 20] {
        assert!(!pacer.throttled(at(70), at(sent), None));
    }
    let pace = pacer.pace();
    assert_eq!(
        pace.rate,
        Some(Rate::per_second(8).with_burst(1)),
        "sixteen in a second were too many"
    );
    assert_eq!((pace.backoff_until, pace.refusals), (Some(at(1050)), 1));
    // But when to come back may be said later.
    assert!(!pacer.throttled(at(80), at(20), Some(5 * SEC)));
    assert_eq!(pacer.pace().backoff_until, Some(at(5080)));
    assert!(!pacer.throttled(at(90), at(20), Some(SEC)));
    assert_eq!(pacer.pace().backoff_until, Some(at(5080)));
    assert_eq!(next(&mut pacer, at(90)), at(5080));
}

#[test]
fn what_is_taken_of_a_flight_of_which_some_was_refused_is_no_recovery() {
    let mut pacer = Pacer::new(at(0), None);
    send(&mut pacer, at(0), 16);
    pacer.throttled(at(50), at(0), None);
    let slowed = pacer.pace();
    assert!(!pacer.accepted(at(5000), at(0)));
    assert_eq!(pacer.pace(), slowed);
}

#[test]
fn waits_double_up_to_a_minute_and_begin_anew_once_something_gets_through() {
    let mut pacer = Pacer::new(at(0), Some(Rate::per_second(10)));
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..40 {
        now = next(&mut pacer, now);
        pacer.sent(now);
        assert!(pacer.throttled(now, now, None));
        waits.push(pacer.pace().backoff_until.unwrap().since(now).as_secs());
    }
    assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(waits[39], 60);
    assert_eq!(pacer.pace().rate.unwrap().to_string(), "0.016666666/s");
    now = all_is_well(&mut pacer, now, SEC);
    assert_eq!(
        (pacer.pace().refusals, pacer.pace().backoff_until),
        (0, None)
    );
    now = next(&mut pacer, now);
    pacer.sent(now);
    pacer.throttled(now, now, None);
    assert_eq!(pacer.pace().backoff_until, Some(now.after(SEC)));
}

#[test]
fn the_peers_word_on_when_to_come_back_counts_for_up_to_a_day() {
    for (asked, waits) in [
        (Duration::ZERO, MILLISECOND),
        (70 * MILLISECOND, 70 * MILLISECOND),
        (3600 * SEC, 3600 * SEC),
        (Duration::MAX, 24 * 3600 * SEC),
    ] {
        let mut pacer = Pacer::new(at(0), None);
        pacer.sent(at(0));
        pacer.throttled(at(1), at(0), Some(asked));
        assert_eq!(next(&mut pacer, at(1)), at(1).after(waits));
    }
}

#[test]
fn a_limit_is_reached_again_in_ten_seconds_from_its_half() {
    let limit = Rate::per_second(10);
    let mut pacer = Pacer::new(at(0), Some(limit));
    let now = all_is_well(&mut pacer, at(0), 3 * SEC);
    pacer.throttled(now, now, Some(MILLISECOND));
    assert_eq!(pacer.pace().rate, Some(Rate::per_second(5)));
    let now = all_is_well(&mut pacer, now, 5 * SEC);
    let rate = pacer.pace().rate.unwrap();
    assert!(
        Rate::per_second(6).is_slower_than(rate) && rate.is_slower_than(limit),
        "{rate}"
    );
    let now = all_is_well(&mut pacer, now, 6 * SEC);
    assert_eq!(pacer.pace().rate, Some(limit));
    assert_eq!(
        send(&mut pacer, now.after(60 * SEC), 20),
        10,
        "with its burst"
    );
}

#[test]
fn what_was_learned_is_forgotten_when_the_peer_takes_much_more() {
    let mut pacer = Pacer::new(at(0), None);
    send(&mut pacer, at(0), 16);
    pacer.throttled(at(10), at(0), None);
    assert_eq!(pacer.pace().rate, Some(Rate::per_second(8).with_burst(1)));
    let now = all_is_well(&mut pacer, at(10), 30 * SEC);
    let rate = pacer.pace().rate.unwrap();
    assert!(Rate::per_second(20).is_slower_than(rate), "{rate}");
    let now = all_is_well(&mut pacer, now, 60 * SEC);
    assert_eq!(pacer.pace(), Pace::default());
    assert_eq!(send(&mut pacer, now, 1000), 1000);
}

#[test]
fn a_high_rate_that_was_learned_makes_up_for_timers_that_are_late() {
    let mut pacer = Pacer::new(at(0), None);
    send(&mut pacer, at(0), 10_000);
    pacer.throttled(at(10), at(0), Some(MILLISECOND));
    let sent: usize = (11..1011)
        .step_by(3)
        .map(|milliseconds| send(&mut pacer, at(milliseconds), 1000))
        .sum();
    assert!((4_900..=5_000).contains(&sent), "{sent}");
}

#[test]
fn another_limit_holds_at_once_and_the_peers_word_goes_on_to_count() {
    let mut pacer = Pacer::new(at(0), None);
    pacer.set_limit(at(0), Some(Rate::per_second(100)));
    assert_eq!(send(&mut pacer, at(0), 1000), 100);
    pacer.throttled(at(10), at(0), Some(MILLISECOND));
    assert_eq!(pacer.pace().rate, Some(Rate::per_second(50)));
    // More is allowed, but the peer has not agreed to it.
    pacer.set_limit(at(20), Some(Rate::per_second(1000)));
    assert!(
        pacer
            .pace()
            .rate
            .unwrap()
            .is_slower_than(Rate::per_second(60))
    );
    // Less is less.
    pacer.set_limit(at(20), Some(Rate::per_second(10)));
    assert_eq!(pacer.pace().rate, Some(Rate::per_second(10)));
    let now = all_is_well(&mut pacer, at(1_000), 3 * SEC);
    // Nobody has complained since.
    pacer.set_limit(now, Some(Rate::per_second(1000)));
    assert_eq!(pacer.pace().rate, Some(Rate::per_second(1000)));
    pacer.set_limit(now, None);
    assert_eq!(pacer.pace(), Pace::default());
}

/// What may happen to a pacer: as a peer, a clock or an owner has it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Send,
    WaitUntilReady,
    Wait(u64),
    Take,
    Refuse(Option<u64>),
    Limit(Option<Rate>),
}

fn steps(limits: bool) -> impl Strategy<Value = Vec<Step>> {
    let nanoseconds = || prop_oneof![0u64..1_000_000, 0u64..3_000_000_000, 0u64..200_000_000_000];
    let step = prop_oneof![
        4 => Just(Step::Send),
        3 => Just(Step::WaitUntilReady),
        2 => nanoseconds().prop_map(Step::Wait),
        4 => Just(Step::Take),
        2 => prop::option::of(nanoseconds()).prop_map(Step::Refuse),
        1 => prop::option::of(rates()).prop_map(move |limit| if limits { Step::Limit(limit) } else { Step::Send }),
    ];
    prop::collection::vec(step, 0..60)
}

/// Plays them. When what has gone went, with the state after each step.
fn play(pacer: &mut Pacer, steps: &[Step]) -> (Time, Vec<Time>, Vec<Pace>) {
    let mut now = Time::ZERO;
    let (mut gone, mut under_way, mut paces) = (Vec::new(), VecDeque::new(), Vec::new());
    for step in steps {
        match *step {
            Step::Send => {
                if pacer.is_ready(now) {
                    assert!(
                        pacer.pace().backoff_until.is_none_or(|until| until <= now),
                        "nothing goes before the peer wants to be asked again"
                    );
                    pacer.sent(now);
                    gone.push(now);
                    under_way.push_back(now);
                }
            }
            Step::WaitUntilReady => now = next(pacer, now),
            Step::Wait(nanoseconds) => now = now.after(Duration::from_nanos(nanoseconds)),
            Step::Take => {
                if let Some(sent) = under_way.pop_front() {
                    pacer.accepted(now, sent);
                }
            }
            Step::Refuse(hint) => {
                if let Some(sent) = under_way.pop_front() {
                    pacer.throttled(now, sent, hint.map(Duration::from_nanos));
                }
            }
            Step::Limit(limit) => pacer.set_limit(now, limit),
        }
        paces.push(pacer.pace());
    }
    (now, gone, paces)
}

proptest! {
    /// However the peer behaves.
    #[test]
    fn the_limit_holds_in_every_window_of_any_length(limit in rates(), steps in steps(false)) {
        let mut pacer = Pacer::new(Time::ZERO, Some(limit));
        let (_, gone, paces) = play(&mut pacer, &steps);
        is_never_above(limit, &gone)?;
        for pace in paces {
            let rate = pace.rate.unwrap();
            prop_assert!(!limit.is_slower_than(rate) && rate.burst() <= limit.burst());
        }
    }

    /// Whatever it asks for.
    #[test]
    fn no_wait_is_longer_than_a_day(steps in steps(true)) {
        let mut pacer = Pacer::new(Time::ZERO, None);
        let (now, _, _) = play(&mut pacer, &steps);
        let until = pacer.pace().backoff_until.unwrap_or_default();
        prop_assert!(until.since(now) <= LONGEST_HINT);
    }

    /// As soon as the peer takes everything again, whatever was before.
    #[test]
    fn it_always_recovers(limit in prop::option::of(rates()), steps in steps(true)) {
        let mut pacer = Pacer::new(Time::ZERO, limit);
        let (mut now, _, _) = play(&mut pacer, &steps);
        let limit = pacer.pace().limit;
        // A second each at least: a limit is reached after twenty, and forgotten after another sixty where it was none.
        let enough = if limit.is_some() { 22 } else { 82 };
        for _ in 0..enough {
            now = next(&mut pacer, now.after(SEC));
            pacer.sent(now);
            pacer.accepted(now, now);
        }
        let pace = pacer.pace();
        prop_assert_eq!((pace.limit, pace.rate), (limit, limit));
        prop_assert_eq!((pace.backoff_until, pace.refusals), (None, 0));
    }

    #[test]
    fn equal_inputs_give_equal_outputs(limit in prop::option::of(rates()), steps in steps(true)) {
        let play = || play(&mut Pacer::new(Time::ZERO, limit), &steps);
        prop_assert_eq!(play(), play());
    }
}
