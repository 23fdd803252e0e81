//! What several tests ask for.

use super::Rate;
use crate::Time;
use core::time::Duration;
use proptest::prelude::*;

/// Rates from one in a month to a million in a second, and those that divide nothing.
pub(super) fn rates() -> impl Strategy<Value = Rate> {
    let per = prop::sample::select(
        &[
            1,
            7,
            1_000,
            999_983,
            1_000_000_000,
            60_000_000_000,
            2_592_000_000_000_000,
        ][..],
    );
    (1u64..2_000, per, 1u64..50).prop_map(|(events, per, burst)| {
        Rate::new(events, Duration::from_nanos(per)).with_burst(burst)
    })
}

/// No time between two events had more of them in it than the rate allows: `burst + events × t / per`.
pub(super) fn is_never_above(rate: Rate, departures: &[Time]) -> Result<(), TestCaseError> {
    let (events, per) = (u128::from(rate.events()), rate.per().as_nanos());
    for (first, from) in departures.iter().enumerate() {
        for (last, to) in departures.iter().enumerate().skip(first) {
            let count = (last - first + 1) as u128;
            let more = count.saturating_sub(u128::from(rate.burst()));
            prop_assert!(
                more * per <= events * to.since(*from).as_nanos(),
                "{count} from {from:?} to {to:?} at {rate}"
            );
        }
    }
    Ok(())
}
