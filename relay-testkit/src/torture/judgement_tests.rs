//! What the judge does not let pass.

use super::*;

/// Some number the mail server takes, or refuses.
fn number(state: &State, wanted: Reception) -> u64 {
    let numbers = 0..state.messages.len() as u64;
    let mut wanted = numbers.filter(|number| message::reception(state.seed, *number) == wanted);
    wanted.next().unwrap()
}

/// A run in which a message is on its way.
fn under_way(wanted: Reception) -> (State, u64) {
    let mut state = State::new(7, 500);
    let number = number(&state, wanted);
    state.allow(500);
    state.client_says("ready");
    assert_eq!(state.submit().len(), 500);
    state.client_says(&format!("accepted {number}"));
    state.begun(number);
    (state, number)
}

fn delivered() -> (State, u64) {
    let (mut state, number) = under_way(Reception::Taken);
    assert_eq!(state.arrives(number, &message::content(7, number)), 0);
    state.taken(number);
    state.answered(number, "answered");
    state.client_says(&format!("processed {number}"));
    assert_eq!(state.failure(), None);
    (state, number)
}

#[track_caller]
fn fails(state: &State, what: &str) {
    let failure = state.failure().expect("it is not true");
    assert!(failure.contains(what), "{failure}");
}

#[test]
fn what_arrives_twice_is_double_and_its_story_is_told() {
    let (mut state, number) = delivered();
    state.taken(number);
    fails(&state, "has arrived twice");
    fails(&state, "client: accepted");
}

#[test]
fn what_arrives_changed_is_found_out() {
    let (mut state, number) = under_way(Reception::Taken);
    state.arrives(number, b"Subject: 1\r\n\r\n");
    fails(&state, "has arrived as something else");
}

#[test]
fn what_was_accepted_and_is_not_in_the_outbox_of_the_next_client_is_missing() {
    let (mut state, _) = under_way(Reception::Taken);
    state.client_killed();
    state.client_says("ready");
    fails(&state, "neither in the outbox nor ended");
}

#[test]
fn what_was_submitted_and_is_not_in_the_outbox_is_submitted_again() {
    let (mut state, number) = under_way(Reception::Taken);
    state.client_killed();
    state.client_says(&format!("found {number}"));
    state.client_says("ready");
    let again = state.submit();
    assert_eq!((again.len(), again.contains(&number)), (499, false));
    assert_eq!(state.failure(), None);
}

#[test]
fn what_is_in_the_outbox_twice_was_accepted_twice() {
    let (mut state, number) = under_way(Reception::Taken);
    state.client_killed();
    for _ in 0..2 {
        state.client_says(&format!("found {number}"));
    }
    fails(&state, "is in the outbox twice");
}

#[test]
fn what_has_no_end_is_missing() {
    let (mut state, _) = under_way(Reception::Taken);
    assert_eq!(state.judge().missing, 500);
    assert!(state.is_broken());
    let (mut state, number) = under_way(Reception::Taken);
    state.hangs();
    fails(&state, "nothing goes on any more");
    assert!(number < 500);
}

#[test]
fn a_report_that_is_not_true_is_found_out() {
    let (mut state, number) = under_way(Reception::Taken);
    state.client_says(&format!("processed {number}"));
    fails(&state, "never arrived");
    let (mut state, number) = under_way(Reception::Taken);
    state.client_says(&format!("failed {number} for no reason"));
    fails(&state, "nobody has refused it");
    let (mut state, number) = under_way(Reception::Refused);
    state.refused(number);
    state.client_says(&format!("failed {number} 550"));
    assert_eq!(state.failure(), None);
}

#[test]
fn an_end_may_be_told_again_by_the_next_client_but_not_another_end() {
    let (mut state, number) = delivered();
    state.client_killed();
    state.client_says(&format!("found {number}"));
    state.client_says("ready");
    state.client_says(&format!("processed {number}"));
    assert_eq!((state.failure(), state.told_again), (None, 1));
    state.relay_killed();
    state.client_says(&format!("doubt {number} why"));
    fails(&state, "has ended as Delivered, and then as InDoubt");
}

#[test]
fn a_doubt_is_true_only_where_a_relay_was_killed_in_the_life_of_the_message() {
    let (mut state, number) = under_way(Reception::Taken);
    state.client_says(&format!("doubt {number} why"));
    fails(&state, "no relay was killed");
    let (mut state, number) = under_way(Reception::Taken);
    state.relay_killed();
    state.client_says(&format!("doubt {number} why"));
    assert_eq!(state.failure(), None);
}
