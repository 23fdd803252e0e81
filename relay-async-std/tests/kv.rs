//! The handle of the key-value client on async-std.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;
#[path = "../../relay-async/tests/handles/kv.rs"]
mod handle;

use async_std::stream::StreamExt;
use binding::AsyncStd as Binding;
use relay_async_std as tested;

#[test]
fn every_call_has_a_method_and_changes_are_a_stream() {
    async_std::task::block_on(handle::every_call_has_a_method_and_changes_are_a_stream());
}

#[test]
fn calls_wait_without_a_link_and_are_taken_back_or_handed_back() {
    async_std::task::block_on(
        handle::calls_wait_without_a_link_and_are_taken_back_or_handed_back(),
    );
}
