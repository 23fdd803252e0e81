//! How often something may happen.

use core::{fmt, str::FromStr, time::Duration};

pub(super) const SECOND: u64 = 1_000_000_000;

/// Nobody who sets a rate means "never".
const fn at_least_one(number: u64) -> u64 {
    if number == 0 { 1 } else { number }
}

/// How often something may happen: so many times in a time, and so many of these at once.
///
/// In any time `t`, however short and whenever it begins, it happens at most `burst + events × t / per` times. All arithmetic is in
/// whole numbers.
///
/// It is written as `10/s`, `2.5/s`, `600/min`, `5/h`, `1000/d` or `3/250ms`, with `:` and the burst behind it where that is not
/// [as many as in a second](Self::new): `10/s:20`.
///
/// ```
/// use relay_proto::pacing::Rate;
///
/// let rate: Rate = "600/min:20".parse()?;
/// assert_eq!(rate, Rate::per_second(10).with_burst(20));
/// assert_eq!(rate.to_string(), "10/s:20");
/// # Ok::<(), relay_proto::pacing::ParseRateError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    events: u64,
    /// Nanoseconds. It has no common divisor with the events.
    per: u64,
    burst: u64,
}

impl Rate {
    /// So many `events` in that time, of which as many may happen at once as in a second, and one at least.
    ///
    /// Zero of either counts as one, of the time as one nanosecond; more than 584 years count as that.
    pub const fn new(events: u64, per: Duration) -> Self {
        let per = per.as_nanos();
        let per = if per > u64::MAX as u128 {
            u64::MAX
        } else {
            per as u64
        };
        Self::of(at_least_one(events), at_least_one(per))
    }

    /// So many events in a second. Zero counts as one.
    pub const fn per_second(events: u64) -> Self {
        Self::new(events, Duration::from_secs(1))
    }

    /// Neither may be zero.
    const fn of(events: u64, per: u64) -> Self {
        let (events, per) = in_lowest_terms(events as u128, per as u128);
        let mut rate = Self {
            events: events as u64,
            per: per as u64,
            burst: 0,
        };
        rate.burst = at_least_one(rate.events_in(SECOND));
        rate
    }

    /// The same with so many events at once. Zero counts as one.
    #[must_use]
    pub const fn with_burst(mut self, burst: u64) -> Self {
        self.burst = at_least_one(burst);
        self
    }

    /// How many events happen [in the time](Self::per), in lowest terms: 1 for twice in two seconds.
    pub const fn events(self) -> u64 {
        self.events
    }

    /// The time the [events](Self::events) are counted in.
    pub const fn per(self) -> Duration {
        Duration::from_nanos(self.per)
    }

    /// How many events may happen at once.
    pub const fn burst(self) -> u64 {
        self.burst
    }

    pub(super) const fn per_nanos(self) -> u64 {
        self.per
    }

    /// How many whole events happen in so many nanoseconds.
    const fn events_in(self, nanoseconds: u64) -> u64 {
        let events = self.events as u128 * nanoseconds as u128 / self.per as u128;
        if events > u64::MAX as u128 {
            u64::MAX
        } else {
            events as u64
        }
    }

    /// In events in 10⁹ seconds, rounded down.
    pub(super) const fn nano(self) -> u64 {
        self.events_in(SECOND * SECOND)
    }

    /// So many events in 10⁹ seconds.
    pub(super) const fn from_nano(events: u64) -> Self {
        Self::of(at_least_one(events), SECOND * SECOND)
    }

    /// Whether it is slower than the other; bursts don't count.
    pub(super) const fn is_slower_than(self, other: Self) -> bool {
        (self.events as u128 * other.per as u128) < (other.events as u128 * self.per as u128)
    }
}

/// Neither may be zero.
const fn in_lowest_terms(one: u128, other: u128) -> (u128, u128) {
    let (mut divisor, mut rest) = (one, other);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (one / divisor, other / divisor)
}

const UNITS: [(&str, u64); 7] = [
    ("s", SECOND),
    ("min", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
    ("ms", SECOND / 1_000),
    ("us", SECOND / 1_000_000),
    ("ns", 1),
];

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exactly_in = |nanoseconds: u64| {
            let events = u128::from(self.events) * u128::from(nanoseconds);
            (events % u128::from(self.per) == 0).then(|| events / u128::from(self.per))
        };
        let [second, others @ ..] = UNITS;
        let mut others = others[..3].iter();
        if let Some(nano) = exactly_in(SECOND * SECOND) {
            let (whole, nano) = (nano / u128::from(SECOND), nano % u128::from(SECOND));
            write!(f, "{whole}")?;
            if nano > 0 {
                let (mut digits, mut nano) = (9, nano);
                while nano % 10 == 0 {
                    (digits, nano) = (digits - 1, nano / 10);
                }
                write!(f, ".{nano:0digits$}")?;
            }
            write!(f, "/{}", second.0)?;
        } else if let Some((unit, events)) =
            others.find_map(|(unit, length)| Some((unit, exactly_in(*length)?)))
        {
            write!(f, "{events}/{unit}")?;
        } else {
            write!(f, "{}/{}ns", self.events, self.per)?;
        }
        if *self != Self::of(self.events, self.per) {
            write!(f, ":{}", self.burst)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseRateError {
    /// It has another form.
    #[error("not a rate: write 10/s, 600/min or 5/h, and 10/s:20 for up to 20 at once")]
    Form,
    /// It is zero of something.
    #[error("a rate of zero would let nothing through: leave it out where there is no limit")]
    Zero,
    /// A number in it is too large to be meant.
    #[error("a number of this rate is too large")]
    TooLarge,
}

fn number(text: &str) -> Result<u128, ParseRateError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseRateError::Form);
    }
    text.parse().map_err(|_| ParseRateError::TooLarge)
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let (text, burst) = match text.split_once(':') {
            Some((text, burst)) => (text, Some(number(burst)?)),
            None => (text, None),
        };
        let (events, per) = text.split_once('/').ok_or(ParseRateError::Form)?;
        let (whole, decimals) = events.split_once('.').unwrap_or((events, "0"));
        let (whole, parts) = (number(whole)?, number(decimals)?);
        let digits = per.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = per.split_at(digits);
        let count = if count.is_empty() { 1 } else { number(count)? };
        let unit = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, unit) = unit.ok_or(ParseRateError::Form)?;
        let product = |one: u128, other| one.checked_mul(other).ok_or(ParseRateError::TooLarge);
        let places = u32::try_from(decimals.len()).unwrap_or(u32::MAX);
        let shift = 10u128.checked_pow(places).ok_or(ParseRateError::TooLarge)?;
        let events = product(whole, shift)?.checked_add(parts);
        let events = events.ok_or(ParseRateError::TooLarge)?;
        let per = product(product(count, u128::from(*unit))?, shift)?;
        if events == 0 || per == 0 || burst == Some(0) {
            return Err(ParseRateError::Zero);
        }
        let (events, per) = in_lowest_terms(events, per);
        let small = |number: u128| u64::try_from(number).map_err(|_| ParseRateError::TooLarge);
        let rate = Self::of(small(events)?, small(per)?);
        Ok(match burst {
            Some(burst) => rate.with_burst(small(burst)?),
            None => rate,
        })
    }
}

#[cfg(test)]
#[path = "tests/rate.rs"]
mod tests;
