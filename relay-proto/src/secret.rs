//! Comparing what is secret.

/// Whether two secrets are the same. Takes the same time wherever those of the same length differ.
pub(crate) fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let difference = ours
        .iter()
        .zip(theirs)
        .fold(0, |difference, (a, b)| difference | (a ^ b));
    // Keeps the compiler from leaving the loop early.
    ours.len() == theirs.len() && core::hint::black_box(difference) == 0
}
