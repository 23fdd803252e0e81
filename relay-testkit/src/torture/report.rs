//! What a run has come to, in figures.

use std::{fmt, time::Duration};

/// What a run has come to.
#[derive(Default)]
pub(super) struct Report {
    pub(super) client_kills: u64,
    pub(super) relay_kills: u64,
    /// Closed, reset, silent.
    pub(super) cuts: [u64; 3],
    pub(super) faults: u64,
    pub(super) took: Duration,
    pub(super) delivered: u64,
    pub(super) failed: u64,
    pub(super) missing: u64,
    pub(super) double: u64,
    pub(super) doubts_delivered: u64,
    pub(super) doubts_not_delivered: u64,
    pub(super) doubts_before_end: u64,
    pub(super) doubts_before_answer: u64,
    pub(super) doubts_after_answer: u64,
    pub(super) longest_after_answer: Duration,
    pub(super) found: u64,
    pub(super) told_again: u64,
    pub(super) untold: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [closed, reset, silent] = self.cuts;
        let doubts = self.doubts_delivered + self.doubts_not_delivered;
        writeln!(
            f,
            "{:.0} s, client killed {} times, relay {} times, {} cuts ({closed} closed, {reset} reset, {silent} silent), {} other faults",
            self.took.as_secs_f64(),
            self.client_kills,
            self.relay_kills,
            closed + reset + silent,
            self.faults,
        )?;
        writeln!(
            f,
            "  {} missing, {} double: {} delivered, {} refused by the server and reported failed, {doubts} in doubt",
            self.missing, self.double, self.delivered, self.failed,
        )?;
        writeln!(
            f,
            "  in doubt: {} had arrived and {} had not; the relay was killed before the server had all of {}, before the \
             server's answer to {}, after it to {}, by {:.1} ms at most",
            self.doubts_delivered,
            self.doubts_not_delivered,
            self.doubts_before_end,
            self.doubts_before_answer,
            self.doubts_after_answer,
            self.longest_after_answer.as_secs_f64() * 1000.0,
        )?;
        write!(
            f,
            "  found in the outbox {} times; the end of {} was told again, of {} not any more",
            self.found, self.told_again, self.untold,
        )
    }
}
