//! What a client has done so far, in numbers.

use super::ConnectionState;
use crate::{Time, pacing::Pace};
use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

/// A snapshot of a client's numbers since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Submissions accepted into the queue, or found in the outbox on disk.
    pub queued: u64,
    /// Submissions that succeeded.
    pub processed: u64,
    /// Submissions that failed for good, expired ones and in-doubt ones that are not sent again among them.
    pub failed: u64,
    /// Times a submission was scheduled again after a transient failure.
    pub retried: u64,
    /// Submissions that grew too old before their turn.
    pub expired: u64,
    /// Times a submission was refused because there were too many, and waits for its turn again.
    pub throttled: u64,
    /// How fast submissions may go.
    pub pace: Pace,
    /// Links asked for after the first one, whether they opened or not.
    pub reconnects: u64,
    /// Bytes of frames handed to the transport.
    pub bytes_sent: u64,
    /// Bytes of frames received.
    pub bytes_received: u64,
    /// Submissions waiting now.
    pub queue_size: usize,
    /// Bytes of all submissions not settled yet.
    pub queue_bytes: usize,
    /// Bytes of frames kept until the relay acknowledges them, to be sent again on another link: up to 1 MiB. Zero in the base
    /// dialect.
    pub unacknowledged_bytes: usize,
    /// The mean time from leaving the queue to success, of all that succeeded.
    pub average_response: Option<Duration>,
    /// The median of the last 1,024 response times.
    pub p50_response: Option<Duration>,
    /// The 99th percentile of the last 1,024 response times.
    pub p99_response: Option<Duration>,
    /// The state of the connection.
    pub state: ConnectionState,
    /// Since when it is in that state.
    pub state_since: Time,
}

/// Enough for a 99th percentile of ten samples, little enough to sort at every request.
const SAMPLES: usize = 1024;

/// Response times: all of them summed, the latest kept.
#[derive(Debug, Default)]
pub(super) struct ResponseTimes {
    count: u32,
    sum: Duration,
    latest: VecDeque<Duration>,
}

impl ResponseTimes {
    pub(super) fn record(&mut self, response: Duration) {
        if self.latest.len() == SAMPLES {
            self.latest.pop_front();
        }
        self.latest.push_back(response);
        self.sum = self.sum.saturating_add(response);
        self.count = self.count.saturating_add(1);
    }

    pub(super) fn average(&self) -> Option<Duration> {
        self.sum.checked_div(self.count)
    }

    /// The least of the latest times that is not exceeded by `percent` in a hundred of them.
    pub(super) fn percentiles<const N: usize>(
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
