//! Time as the machines see it: a number they are told.

use core::{fmt, time::Duration};

/// A point in time: nanoseconds since an epoch the driver picks.
///
/// Only differences mean anything. A driver typically takes the instant it started as the epoch.
/// Unlike `std::time::Instant` it can be written in a constant, a test vector or a fuzz input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);

    /// The point `nanoseconds` after the epoch.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point `duration` later; the last representable point (584 years on) where that overflows.
    pub const fn after(self, duration: Duration) -> Self {
        let nanoseconds = duration.as_nanos();
        if nanoseconds > u64::MAX as u128 {
            return Self(u64::MAX);
        }
        Self(self.0.saturating_add(nanoseconds as u64))
    }

    /// How long after `earlier` this is; zero where it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let end = Time::from_nanos(u64::MAX);
        assert_eq!(end.after(Duration::from_secs(1)), end);
        assert_eq!(Time::ZERO.after(Duration::MAX), end);
        assert_eq!(Time::ZERO.since(end), Duration::ZERO);
        assert_eq!(
            Time::ZERO.after(Duration::from_millis(3)).since(Time::ZERO),
            Duration::from_millis(3)
        );
    }
}
