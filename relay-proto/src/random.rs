//! Seeded randomness: the same seed gives the same numbers on every machine and in every release.

use core::{fmt, time::Duration};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// The one source of randomness of a machine: ChaCha with 8 rounds, seeded by whoever makes it.
///
/// Bindings seed it from the operating system, tests from a number they print.
pub struct Random(ChaCha8Rng);

impl Random {
    /// A generator that depends on nothing but `seed`.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 128 uniform bits.
    pub(crate) fn next_u128(&mut self) -> u128 {
        let (high, low) = (self.next_u64(), self.next_u64());
        u128::from(high) << 64 | u128::from(low)
    }

    /// A uniform duration between zero and `limit`, both included, in steps of a nanosecond.
    ///
    /// This is the "full jitter" of retry delays: it spreads evenly at every limit, the highest too.
    pub fn up_to(&mut self, limit: Duration) -> Duration {
        let span = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        // The high half of a 128-bit product maps 64 uniform bits onto the span without a division.
        let scaled = (u128::from(self.next_u64()) * (u128::from(span) + 1)) >> 64;
        Duration::from_nanos(scaled as u64)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_fixed_for_ever() {
        let mut random = Random::new([7; 32]);
        assert_eq!(random.next_u64(), GOLDEN);
    }

    const GOLDEN: u64 = 4_115_934_089_738_703_076;

    #[test]
    fn jitter_fills_its_range_and_never_leaves_it() {
        let mut random = Random::new([1; 32]);
        let limit = Duration::from_millis(100);
        let drawn: alloc::vec::Vec<_> = (0..1000).map(|_| random.up_to(limit)).collect();
        assert!(drawn.iter().all(|d| *d <= limit));
        assert!(drawn.iter().any(|d| *d < limit / 10));
        assert!(drawn.iter().any(|d| *d > limit * 9 / 10));
        assert_eq!(random.up_to(Duration::ZERO), Duration::ZERO);
    }
}
