//! The handle of the key-value client on smol.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;
#[path = "../../relay-async/tests/handles/kv.rs"]
mod handle;

use binding::Smol as Binding;
use relay_smol as tested;
use smol::stream::StreamExt;

#[test]
fn every_call_has_a_method_and_changes_are_a_stream() {
    smol::block_on(handle::every_call_has_a_method_and_changes_are_a_stream());
}

#[test]
fn calls_wait_without_a_link_and_are_taken_back_or_handed_back() {
    smol::block_on(handle::calls_wait_without_a_link_and_are_taken_back_or_handed_back());
}
