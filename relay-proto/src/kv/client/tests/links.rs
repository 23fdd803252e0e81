//! Links: opened for a reason, kept, left, lost, and given up.

use super::*;

#[test]
fn nothing_is_opened_before_there_is_a_reason() {
    let mut bench = Bench::by_default();
    assert_eq!(bench.run(), None);
    assert!(bench.sent().is_empty());
    bench.call(Call::get("k"));
    assert_eq!(bench.sent(), ["open"]);
}

#[test]
fn a_link_with_nothing_to_do_is_closed_after_a_while_and_opened_for_the_next_call() {
    let mut bench = Bench::plain();
    bench.call(Call::get("k"));
    bench.opened();
    bench.fails(1, 404);
    bench.sent();
    bench.events.clear();
    bench.pass(30 * SECOND - MILLISECOND);
    assert_eq!(bench.state(), ConnectionState::Connected);
    bench.pass(MILLISECOND);
    assert_eq!(bench.sent(), ["close 1000"]);
    assert_eq!(bench.state(), ConnectionState::Disconnected);
    assert!(bench.events.contains(&Event::Disconnected { error: None }));
    bench.call(Call::get("k"));
    assert_eq!(bench.sent(), ["open"]);
}

#[test]
fn a_session_goes_on_after_an_idle_time_without_a_link() {
    let mut bench = Bench::by_default();
    bench.call(Call::get("k"));
    bench.opened_durable();
    bench.made();
    bench.fails(2, 404);
    bench.pass(40 * SECOND);
    assert_eq!(bench.state(), ConnectionState::Disconnected);
    bench.far_leaves();
    let id = bench.call(Call::get("k"));
    bench.resumed();
    let made = bench.made();
    bench.fails(made[0], 404);
    assert_eq!(bench.ended().pop().unwrap().0, id);
}

#[test]
fn connect_keeps_the_link_and_disconnect_lets_it_go() {
    for credential in [key(), token()] {
        let mut bench = Bench::new(credential, |config| config.durable = false);
        bench.command(|client, now| client.connect(now));
        bench.opened();
        bench.pass(1000 * MILLISECOND);
        bench.command(|client, now| client.connect(now));
        assert_eq!(bench.sent(), ["open"], "once");
        bench.cut();
        bench.elapse("reconnect");
        bench.opened();
        assert_eq!(bench.state(), ConnectionState::Connected);
        bench.sent();
        bench.command(|client, now| client.disconnect(now));
        assert_eq!(bench.sent(), ["close 1000"]);
        bench.pass(1000 * SECOND);
        assert_eq!(bench.state(), ConnectionState::Disconnected);
        assert!(bench.sent().is_empty());
    }
}

#[test]
fn a_client_with_a_token_keeps_the_link_its_first_call_has_opened() {
    let mut bench = Bench::new(token(), |config| config.durable = false);
    bench.call(Call::get("k"));
    bench.opened();
    bench.fails(1, 404);
    bench.cut();
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
}

#[test]
fn the_first_link_is_tried_again_like_any_other() {
    let mut bench = Bench::new(key(), |config| {
        config.reconnect = BackoffPolicy::new(SECOND, 30 * SECOND, Some(2));
        config.timeouts.call = 600 * SECOND;
    });
    let id = bench.call(Call::get("k"));
    for attempt in 1..=2 {
        bench.cut();
        let reconnecting = bench.count(|event| {
            matches!(event, Event::Reconnecting { attempt: a, of: Some(2), .. } if *a == attempt)
        });
        assert_eq!(reconnecting, 1);
        bench.elapse("reconnect");
    }
    bench.cut();
    assert_eq!(bench.state(), ConnectionState::Failed);
    assert_eq!(bench.ended(), [(id, Err(lost()))]);
    // Another call tries afresh.
    bench.call(Call::get("k"));
    assert_eq!(bench.state(), ConnectionState::Connecting);
}

#[test]
fn a_refused_credential_ends_everything_and_is_not_tried_again_by_itself() {
    for status in [401, 403] {
        let mut bench = Bench::new(token(), |_| {});
        let (change, read) = (bench.call(Call::set("k", "v")), bench.call(Call::get("k")));
        bench.refused(status);
        let error = CallError::Credential { status };
        assert_eq!(
            bench.ended(),
            [(change, Err(error.clone())), (read, Err(error))]
        );
        assert_eq!(bench.state(), ConnectionState::Failed);
        bench.sent();
        bench.pass(10_000 * SECOND);
        assert!(bench.sent().is_empty());
        bench.command(|client, now| client.connect(now));
        assert_eq!(bench.sent(), ["open"]);
    }
}

#[test]
fn a_credential_that_is_refused_later_leaves_what_was_sent_in_doubt() {
    let mut bench = Bench::by_default();
    let sent = bench.call(Call::set("k", "v"));
    bench.opened_durable();
    bench.made();
    bench.cut();
    let unsent = bench.call(Call::set("k", "v"));
    bench.elapse("reconnect");
    bench.refused(403);
    let error = CallError::Credential { status: 403 };
    let in_doubt = CallError::InDoubt(Box::new(error.clone()));
    assert_eq!(bench.ended(), [(sent, Err(in_doubt)), (unsent, Err(error))]);
}

#[test]
fn another_status_is_no_verdict_and_its_retry_after_is_heeded() {
    let mut bench = Bench::by_default();
    bench.call(Call::get("k").timeout(600 * SECOND));
    let why = OpenError::Refused {
        endpoint: "x".into(),
        status: 503,
        retry_after: Some(100 * SECOND),
    };
    let link = bench.link();
    bench.input(Input::OpenFailed { link, why });
    bench.elapse("reconnect");
    assert!(bench.now >= Time::ZERO.after(100 * SECOND));
    assert_eq!(bench.state(), ConnectionState::Connecting);
}

#[test]
fn links_that_open_and_end_at_once_are_tried_ever_less_often_and_an_answer_resets_that() {
    let mut bench = Bench::new(token(), |config| config.durable = false);
    bench.command(|client, now| client.connect(now));
    let attempt = |bench: &Bench| {
        bench.events.iter().rev().find_map(|event| match event {
            Event::Reconnecting { attempt, .. } => Some(*attempt),
            _ => None,
        })
    };
    for expected in 1..=3 {
        bench.opened();
        bench.cut();
        assert_eq!(attempt(&bench), Some(expected));
        bench.elapse("reconnect");
    }
    bench.opened();
    bench.says(r#"{"type":"notification","key":"k","value":null}"#);
    bench.cut();
    assert_eq!(attempt(&bench), Some(1));
}

#[test]
fn nobody_is_shown_key_or_token() {
    for credential in [key(), token()] {
        let mut bench = Bench::new(credential, |_| {});
        bench.call(Call::set("secret-key", "secret-value"));
        bench.opened();
        let shown = format!(
            "{:?} {:?} {:?}",
            bench.client(),
            bench.actions,
            bench.events
        );
        for secret in ["the-key", "the-token", "secret-key", "secret-value"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        let Some(Action::Open { endpoint, .. }) = bench.actions.front() else {
            panic!("no link");
        };
        assert_eq!(endpoint.to_string(), "ws://kv.example/ws?…");
    }
}
