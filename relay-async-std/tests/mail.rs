//! The handles of client and relay on async-std.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;
#[path = "../../relay-async/tests/handles/mail.rs"]
mod handles;

use binding::AsyncStd as Binding;
use relay_async_std as tested;

#[test]
fn a_message_goes_the_whole_way_over_tls() {
    async_std::task::block_on(handles::a_message_goes_the_whole_way_over_tls());
}

#[test]
fn what_was_accepted_is_sent_by_the_next_client() {
    async_std::task::block_on(handles::what_was_accepted_is_sent_by_the_next_client());
}
