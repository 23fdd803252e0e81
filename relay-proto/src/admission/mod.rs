//! Who gets how much of what a service has: what every protocol's service shares.

mod refusals;

pub(crate) use refusals::Refusals;
pub use refusals::network;

/// One gets up to so many times as much as it leaves, of whatever is bounded. Whoever comes next thus finds some at once, however
/// little is left, and one alone has eight of nine.
const TIMES_WHAT_IS_LEFT: usize = 8;

/// How much more somebody may take who has `taken` where so much is `free`.
pub(crate) const fn allowance(taken: usize, free: usize) -> usize {
    let times = free.saturating_mul(TIMES_WHAT_IS_LEFT);
    let most = times.saturating_sub(taken) / (TIMES_WHAT_IS_LEFT + 1);
    // The first may be the last there is.
    if taken == 0 && most == 0 && free > 0 {
        1
    } else {
        most
    }
}
