use super::*;
use crate::pacing::support::{is_never_above, rates};
use alloc::vec::Vec;
use core::time::Duration;
use proptest::prelude::*;

const fn at(nanoseconds: u64) -> Time {
    Time::from_nanos(nanoseconds)
}

/// When events go that all want to go at once.
fn departures(bucket: &mut TokenBucket, mut now: Time, count: usize) -> Vec<Time> {
    (0..count)
        .map(|_| {
            now = bucket.next(now);
            bucket.take(now).unwrap();
            now
        })
        .collect()
}

#[test]
fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
    let mut bucket = TokenBucket::new(at(5), Rate::per_second(10).with_burst(3));
    let departures = departures(&mut bucket, at(5), 6);
    let expected = [0, 0, 0, 100, 200, 300].map(|after| at(5).after(Duration::from_millis(after)));
    assert_eq!(departures, expected);
}

#[test]
fn a_refusal_says_when_to_come_and_then_it_is_true() {
    let mut bucket = TokenBucket::new(at(0), Rate::per_second(3).with_burst(1));
    bucket.take(at(0)).unwrap();
    let next = bucket.take(at(1)).unwrap_err();
    assert_eq!(next, at(333_333_334), "a third of a second, rounded up");
    assert_eq!(bucket.take(at(333_333_333)), Err(next));
    assert_eq!(bucket.take(next), Ok(()));
}

#[test]
fn it_does_not_drift_by_a_nanosecond_in_a_hundred_thousand_events() {
    let mut bucket = TokenBucket::new(at(0), Rate::per_second(3).with_burst(2));
    let departures = departures(&mut bucket, at(0), 100_001);
    for (index, departure) in (0u64..).zip(departures) {
        let exact = index.saturating_sub(1) * 1_000_000_000;
        assert_eq!(departure, at(exact.div_ceil(3)));
    }
}

#[test]
fn a_time_that_does_not_go_on_brings_nothing() {
    let mut bucket = TokenBucket::new(at(1_000_000_000), Rate::per_second(1));
    bucket.take(at(1_000_000_000)).unwrap();
    assert_eq!(bucket.take(at(0)), Err(at(2_000_000_000)));
    assert_eq!(bucket.take(at(2_000_000_000)), Ok(()));
}

#[test]
fn what_was_saved_up_stays_when_the_rate_changes_up_to_the_new_burst() {
    let mut bucket = TokenBucket::new(at(0), Rate::per_second(10));
    assert!(bucket.is_full(at(0)));
    for _ in 0..6 {
        bucket.take(at(0)).unwrap();
    }
    assert!(!bucket.is_full(at(0)));
    bucket.set_rate(at(0), Rate::new(7, Duration::from_secs(60)).with_burst(3));
    assert!(bucket.is_full(at(0)), "four are more than three");
    bucket.set_rate(at(0), Rate::per_second(1000));
    let now = departures(&mut bucket, at(0), 4);
    assert_eq!(now, [at(0), at(0), at(0), at(1_000_000)]);
}

#[test]
fn the_largest_numbers_there_are_do_no_harm() {
    let slowest = Rate::new(1, Duration::MAX).with_burst(u64::MAX);
    let fastest = Rate::new(u64::MAX, Duration::from_nanos(1)).with_burst(u64::MAX);
    for (one, other) in [(slowest, fastest), (fastest, slowest)] {
        let mut bucket = TokenBucket::new(at(0), one);
        bucket.take(at(0)).unwrap();
        bucket.set_rate(at(u64::MAX), other);
        bucket.take(at(u64::MAX)).unwrap();
    }
    let mut bucket = TokenBucket::new(at(7), slowest.with_burst(1));
    bucket.take(at(7)).unwrap();
    assert_eq!(bucket.take(at(7)), Err(at(u64::MAX)), "not in this epoch");
}

proptest! {
    /// Whenever it is asked.
    #[test]
    fn no_window_of_any_length_has_more_than_the_rate_allows(
        rate in rates(),
        steps in prop::collection::vec(0u64..3, 1..200),
        shares in prop::collection::vec(0u64..1_000, 200),
    ) {
        let mut bucket = TokenBucket::new(at(0), rate);
        let (mut now, mut gone) = (at(0), Vec::new());
        for (step, share) in steps.into_iter().zip(shares) {
            // At once, after a part of the time one takes, or when it says.
            let one = rate.per().as_nanos() as u64 / rate.events();
            now = match step {
                0 => now,
                1 => now.after(Duration::from_nanos(one / 500 * share)),
                _ => bucket.next(now),
            };
            let next = bucket.next(now);
            match bucket.take(now) {
                Ok(()) => {
                    prop_assert_eq!(next, now);
                    gone.push(now);
                }
                Err(later) => prop_assert!(later == next && next > now),
            }
        }
        is_never_above(rate, &gone)?;
    }

    /// Nobody waits longer than the rate has it: nothing that was saved up is lost.
    #[test]
    fn whoever_always_waits_gets_exactly_the_rate(rate in rates(), count in 1usize..200) {
        // Otherwise what a nanosecond brings is more than what may be saved up.
        let per = rate.per().as_nanos();
        prop_assume!(u128::from(rate.events()) <= per * u128::from(rate.burst() - 1));
        let mut bucket = TokenBucket::new(at(0), rate);
        let gone = departures(&mut bucket, at(0), count);
        for (index, departure) in (1u64..).zip(gone) {
            let behind = u128::from(index.saturating_sub(rate.burst()));
            let exact = (behind * per).div_ceil(u128::from(rate.events()));
            prop_assert_eq!(u128::from(departure.as_nanos()), exact);
        }
    }

    /// A change of the rate gives nobody anything.
    #[test]
    fn changing_the_rate_and_back_gains_nothing(rate in rates(), other in rates(), taken in 0u64..50) {
        let mut bucket = TokenBucket::new(at(0), rate);
        for _ in 0..taken.min(rate.burst()) {
            bucket.take(at(0)).unwrap();
        }
        let mut changed = bucket.clone();
        changed.set_rate(at(0), other);
        changed.set_rate(at(0), rate);
        prop_assert!(changed.next(at(0)) >= bucket.next(at(0)));
        prop_assert!(changed.level <= bucket.level);
    }
}
