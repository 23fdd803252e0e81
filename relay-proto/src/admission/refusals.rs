//! Where wrong keys come from, so that guessing is slow.

use crate::Time;
use alloc::collections::BTreeMap;
use core::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// The second refusal in a row waits so long; each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait: below the patience of clients that made a mistake, who are to read why.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A place that sends no wrong key for so long starts afresh.
const MEMORY: Duration = Duration::from_secs(10 * 60);
/// The most places remembered; where there are more, the one that was quiet for longest is forgotten.
const PLACES: usize = 10_000;

/// The wrong keys of late, by where they came from.
///
/// What waits is the refusal, never the grant: whoever shares an address with somebody that guesses is let in at once.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    places: BTreeMap<Option<IpAddr>, Place>,
    /// The same by the time of their last wrong key, and by a number where that is the same.
    by_age: BTreeMap<(Time, u64), Option<IpAddr>>,
    counted: u64,
}

#[derive(Debug)]
struct Place {
    wrong: u32,
    last: (Time, u64),
}

impl Refusals {
    /// Counts a wrong key from here, and says how long to wait before its client is told.
    pub(crate) fn wait(&mut self, now: Time, peer: Option<IpAddr>) -> Duration {
        self.counted += 1;
        let (place, last) = (peer.map(network), (now, self.counted));
        self.forget_quiet(now);
        let before = self.places.remove(&place);
        let before = before.map_or(0, |before| {
            self.by_age.remove(&before.last);
            before.wrong
        });
        if self.places.len() >= PLACES {
            self.forget_quietest();
        }
        let wrong = before.saturating_add(1);
        self.places.insert(place, Place { wrong, last });
        self.by_age.insert(last, place);
        let Some(doublings) = before.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
    }

    fn forget_quiet(&mut self, now: Time) {
        while let Some((last, _)) = self.by_age.first_key_value()
            && last.0.after(MEMORY) <= now
        {
            self.forget_quietest();
        }
    }

    fn forget_quietest(&mut self) {
        if let Some((_, place)) = self.by_age.pop_first() {
            self.places.remove(&place);
        }
    }
}

/// Whom an address stands for: an IPv6 customer has a /64 to choose from (RFC 6177).
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn peer(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn each_wrong_key_from_a_place_waits_longer_up_to_a_limit() {
        let mut refusals = Refusals::default();
        let mut wait = |address| refusals.wait(Time::ZERO, peer(address)).as_millis();
        let waits: Vec<_> = (0..8).map(|_| wait("192.0.2.1")).collect();
        assert_eq!(waits, [0, 250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(wait("192.0.2.2"), 0, "elsewhere");
        assert_eq!(wait("::ffff:192.0.2.1"), 5000, "the same by another name");
        assert_eq!([wait("2001:db8::1"), wait("2001:db8::2:1")], [0, 250]);
        assert_eq!(wait("2001:db8:0:1::1"), 0);
        for _ in 0..100 {
            assert_eq!(wait("192.0.2.1"), 5000);
        }
    }

    #[test]
    fn a_quiet_place_starts_afresh() {
        let mut refusals = Refusals::default();
        let mut wait = |seconds| {
            let now = Time::ZERO.after(Duration::from_secs(seconds));
            refusals.wait(now, peer("192.0.2.1")).as_millis()
        };
        assert_eq!([wait(0), wait(599), wait(1198)], [0, 250, 500]);
        assert_eq!([wait(1798), wait(1799)], [0, 250]);
    }

    #[test]
    fn places_are_bounded_and_the_quietest_goes_first() {
        let mut refusals = Refusals::default();
        for number in 0..30_000u32 {
            refusals.wait(Time::ZERO, Some(IpAddr::V4(number.into())));
            refusals.wait(Time::ZERO, peer("192.0.2.1"));
        }
        assert_eq!(refusals.places.len(), PLACES);
        assert_eq!(refusals.by_age.len(), PLACES);
        assert_eq!(refusals.wait(Time::ZERO, peer("192.0.2.1")), LONGEST_WAIT);
        assert_eq!(refusals.wait(Time::ZERO, peer("0.0.0.1")), Duration::ZERO);
    }
}
