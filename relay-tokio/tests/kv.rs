//! The handle of the key-value client on tokio.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;
#[path = "../../relay-async/tests/handles/kv.rs"]
mod handle;

use binding::Tokio as Binding;
use futures_util::StreamExt;
use relay_tokio as tested;

#[tokio::test]
async fn every_call_has_a_method_and_changes_are_a_stream() {
    handle::every_call_has_a_method_and_changes_are_a_stream().await;
}

#[tokio::test]
async fn calls_wait_without_a_link_and_are_taken_back_or_handed_back() {
    handle::calls_wait_without_a_link_and_are_taken_back_or_handed_back().await;
}
