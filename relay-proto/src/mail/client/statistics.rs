//! What a client has done so far, in numbers.

use super::ConnectionState;
use crate::Time;
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
