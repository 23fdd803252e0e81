//! How long answers take.

use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

/// Enough for a 99th percentile of ten samples, little enough to sort at every request.
const SAMPLES: usize = 1024;

/// Response times: all of them summed, the latest kept.
#[derive(Debug, Default)]
pub(crate) struct ResponseTimes {
    count: u32,
    sum: Duration,
    latest: VecDeque<Duration>,
}

impl ResponseTimes {
    pub(crate) fn record(&mut self, response: Duration) {
        if self.latest.len() == SAMPLES {
            self.latest.pop_front();
        }
        self.latest.push_back(response);
        self.sum = self.sum.saturating_add(response);
        self.count = self.count.saturating_add(1);
    }

    pub(crate) fn average(&self) -> Option<Duration> {
        self.sum.checked_div(self.count)
    }

    /// The least of the latest times that is not exceeded by `percent` in a hundred of them.
    pub(crate) fn percentiles<const N: usize>(
        &self,
        percents: [usize; N],
    ) -> [Option<Duration>; N] {
        let mut sorted: Vec<Duration> = self.latest.iter().copied().collect();
        sorted.sort_unstable();
        percents.map(|percent| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.checked_sub(1)?).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks_of_the_latest_samples() {
        let mut times = ResponseTimes::default();
        assert_eq!(times.percentiles([50, 99]), [None, None]);
        assert_eq!(times.average(), None);
        for milliseconds in (1..=100).rev() {
            times.record(Duration::from_millis(milliseconds));
        }
        let millis = Duration::from_millis;
        assert_eq!(
            times.percentiles([50, 99]),
            [Some(millis(50)), Some(millis(99))]
        );
        assert_eq!(times.average(), Some(Duration::from_micros(50_500)));
        for _ in 0..SAMPLES {
            times.record(millis(7));
        }
        assert_eq!(
            times.percentiles([50, 99]),
            [Some(millis(7)), Some(millis(7))]
        );
    }
}
