//! How a service behaves.

use core::time::Duration;

/// How a [`Service`](super::Service) behaves. [`new`](Self::new) fills in the defaults; every field may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceConfig {
    /// The Unix time at [`Time::ZERO`](crate::Time::ZERO), for the timestamps of changes. No default: only the driver knows.
    pub epoch: Duration,
    /// The longest key, in bytes. Default 1 KiB.
    pub max_key_bytes: usize,
    /// The longest value, in bytes. Default 512 KiB. A message has up to twice as many, so that what needs escapes fits in.
    pub max_value_bytes: usize,
    /// The most bytes of all keys and values together; each pair counts for 64 more. Default 256 MiB, since all of it is in memory.
    pub max_store_bytes: usize,
    /// The most records in an answer to RANGE. Default 1,000.
    pub max_range_records: usize,
    /// The most bytes of keys and values in an answer to RANGE, above which it ends, but one record in any case. Default 512 KiB.
    pub max_range_bytes: usize,
    /// The most changes that are kept in each store for those who have missed some; at least one. Default 10,000.
    pub max_log_changes: usize,
    /// The most bytes of keys and values in those changes. Default 16 MiB.
    pub max_log_bytes: usize,
    /// The most links at once; further ones are refused with 503. Default 10,000. A key takes up to eight times as many as it leaves.
    pub max_links: usize,
    /// The most bytes held for links and sessions: calls that wait, answers that are not taken. Default 256 MiB. A key takes up to eight
    /// times as many as it leaves; what comes in addition is answered with 429.
    pub max_held_bytes: usize,
    /// Whether clients that ask for the durable dialect get it. Default: they do.
    pub durable: bool,
    /// How long a session lives without a link. Default 2 min: longer than most networks take to come back.
    pub session_expiry: Duration,
    /// The most calls of a client that wait for their answer, and the most that are answered and not settled. Default 256: on a path
    /// of 100 ms 2,500 calls a second.
    pub max_calls: usize,
    /// The most clients of the durable dialect that are remembered. Default 100,000.
    pub max_clients: usize,
    /// The most clients of one key that are remembered; the one that was away for longest makes room for another. Default 1,000.
    pub max_clients_per_key: usize,
    /// How long a client is remembered that has no session. Default 1 day; a call lives for an hour at most.
    pub client_memory: Duration,
    /// How long a client may be silent before it is pinged, and again before it is cut. Default 30 s, below the minute after which
    /// proxies drop quiet connections.
    pub heartbeat_interval: Duration,
}

impl ServiceConfig {
    /// A service whose driver's clock began at `epoch` of Unix time, with defaults for everything else.
    pub const fn new(epoch: Duration) -> Self {
        Self {
            epoch,
            max_key_bytes: 1024,
            max_value_bytes: 512 * 1024,
            max_store_bytes: 256 << 20,
            max_range_records: 1_000,
            max_range_bytes: 512 * 1024,
            max_log_changes: 10_000,
            max_log_bytes: 16 << 20,
            max_links: 10_000,
            max_held_bytes: 256 << 20,
            durable: true,
            session_expiry: Duration::from_secs(2 * 60),
            max_calls: 256,
            max_clients: 100_000,
            max_clients_per_key: 1_000,
            client_memory: Duration::from_secs(24 * 60 * 60),
            heartbeat_interval: Duration::from_secs(30),
        }
    }

    /// The largest message that is taken.
    pub(super) const fn frame_limit(&self) -> usize {
        self.max_value_bytes
            .saturating_mul(2)
            .saturating_add(self.max_key_bytes.saturating_mul(4))
            .saturating_add(4096)
    }
}
