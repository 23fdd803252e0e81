//! What a client has done so far, in numbers.

use super::ConnectionState;
use crate::{Time, pacing::Pace};
use core::time::Duration;

/// A snapshot of a client's numbers since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Calls taken.
    pub calls: u64,
    /// Calls that succeeded.
    pub succeeded: u64,
    /// Calls that ended otherwise, those in doubt among them.
    pub failed: u64,
    /// Calls that ended in doubt.
    pub in_doubt: u64,
    /// Calls that were not answered in time, those in doubt among them.
    pub timed_out: u64,
    /// Times a call was put back since the service asked to slow down.
    pub throttled: u64,
    /// Changes that were told.
    pub notifications: u64,
    /// Frames that made no sense, or came too late, and were passed over.
    pub ignored: u64,
    /// Links asked for after the first one, whether they opened or not.
    pub reconnects: u64,
    /// Bytes of frames handed to the transport.
    pub bytes_sent: u64,
    /// Bytes of frames received.
    pub bytes_received: u64,
    /// Calls waiting now.
    pub queue_size: usize,
    /// Bytes of all calls that have not ended.
    pub queue_bytes: usize,
    /// Calls sent and not answered yet.
    pub under_way: usize,
    /// How fast calls are made at the most, and until when none is.
    pub pace: Pace,
    /// The mean time from sending a call to its answer, of all that were answered.
    pub average_response: Option<Duration>,
    /// The median of the last 1,024 response times.
    pub p50_response: Option<Duration>,
    /// The 99th percentile of the last 1,024 response times.
    pub p99_response: Option<Duration>,
    /// Whether the durable dialect is spoken on the present link.
    pub durable: bool,
    /// The state of the connection.
    pub state: ConnectionState,
    /// Since when it is in that state.
    pub state_since: Time,
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) in_doubt: u64,
    pub(super) timed_out: u64,
    pub(super) throttled: u64,
    pub(super) notifications: u64,
    pub(super) ignored: u64,
}
