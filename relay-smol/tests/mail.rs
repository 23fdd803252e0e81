//! The handles of client and relay on smol.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;
#[path = "../../relay-async/tests/handles/mail.rs"]
mod handles;

use binding::Smol as Binding;
use relay_smol as tested;

#[test]
fn a_message_goes_the_whole_way_over_tls() {
    smol::block_on(handles::a_message_goes_the_whole_way_over_tls());
}

#[test]
fn what_was_accepted_is_sent_by_the_next_client() {
    smol::block_on(handles::what_was_accepted_is_sent_by_the_next_client());
}
