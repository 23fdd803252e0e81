//! Asking for the durable dialect, of services that know it and of others.

use super::*;

#[test]
fn a_service_is_asked_first_of_all_and_calls_wait_for_its_answer() {
    let mut bench = Bench::by_default();
    bench.call(Call::get("k"));
    bench.opened();
    assert_eq!(bench.state(), ConnectionState::Introducing);
    let (number, hello) = bench.hello();
    assert_eq!((number, hello.resume, hello.after), (1, None, None));
    assert_eq!(hello.client, bench.client().id);
    bench.grants(number, true);
    assert_eq!(bench.state(), ConnectionState::Connected);
    assert!(bench.statistics().durable);
    let connected = Event::Connected {
        durable: true,
        resumed: false,
    };
    assert!(bench.events.contains(&connected));
    assert_eq!(
        bench.sent(),
        [r#"~{"op":1,"key":"k","messageId":2,"settled":1}"#]
    );
}

fn turns_out_plain(bench: &mut Bench) {
    let connected = Event::Connected {
        durable: false,
        resumed: false,
    };
    assert!(bench.events.contains(&connected));
    assert_eq!(bench.sent(), [r#"{"op":1,"key":"k","messageId":2}"#]);
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    // It is not asked again.
    assert_eq!(bench.made(), [3]);
}

#[test]
fn a_service_that_answers_with_an_error_is_plain_and_not_asked_again() {
    let answers = [
        r#"{"code":400,"error":"unknown op","messageId":1}"#,
        r#"{"code":500,"messageId":1}"#,
        r#"{"code":200,"success":true,"messageId":1}"#,
        r#"{"code":200,"durable":{},"messageId":1}"#,
        r#"{"messageId":1}"#,
    ];
    for answer in answers {
        let mut bench = Bench::by_default();
        bench.call(Call::get("k"));
        bench.opened();
        bench.hello();
        bench.text(answer);
        turns_out_plain(&mut bench);
    }
}

#[test]
fn a_service_that_does_not_answer_is_plain_and_not_asked_again() {
    let mut bench = Bench::by_default();
    bench.call(Call::get("k"));
    bench.opened();
    bench.hello();
    // What it says of its own is heard meanwhile.
    bench.text(r#"{"type":"notification","key":"k","value":"v"}"#);
    assert_eq!(bench.statistics().notifications, 1);
    bench.elapse("introduction");
    assert_eq!(bench.now, Time::ZERO.after(2 * SECOND));
    turns_out_plain(&mut bench);
}

#[test]
fn a_service_that_closes_the_link_over_the_question_is_plain() {
    for code in [1002, 1003, 1007, 1008] {
        let mut bench = Bench::by_default();
        bench.call(Call::get("k"));
        bench.opened();
        bench.hello();
        let (link, code, reason) = (bench.link(), Some(CloseCode(code)), String::new());
        let why = Closure::Peer { code, reason };
        bench.input(Input::Closed { link, why });
        bench.elapse("reconnect");
        bench.opened();
        assert_eq!(bench.made(), [2]);
    }
    // One that is cut at that moment is not.
    let mut bench = Bench::by_default();
    bench.call(Call::get("k"));
    bench.opened();
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    assert_eq!(bench.hello().0, 2);
}

#[test]
fn a_grant_that_comes_too_late_costs_the_link_and_no_more() {
    let mut bench = Bench::by_default();
    let (change, read) = (
        bench.call(Call::increment("n", 1)),
        bench.call(Call::get("k")),
    );
    bench.opened();
    let (number, _) = bench.hello();
    bench.elapse("introduction");
    assert_eq!(bench.made(), [2, 3]);
    bench.far = Some(Session::new(bench.now, SECOND, RetentionLimits::default()));
    bench.text(&format!(
        r#"{{"code":200,"messageId":{number},"durable":{{"session":"{:032x}","receiveNext":1,"expiresInMs":60000,"heartbeatMs":20000,
        "maxCalls":10,"known":false,"sequence":0,"store":"{:032x}"}}}}"#,
        1, 2
    ));
    // What was said in between was read as something else.
    let ended = bench.ended();
    assert_eq!(ended.len(), 1);
    assert!(ended[0].0 == change && ended[0].1.as_ref().unwrap_err().is_in_doubt());
    bench.elapse("reconnect");
    bench.opened();
    let (number, _) = bench.hello();
    bench.grants(number, true);
    assert_eq!(bench.made(), [5]);
    bench.answers(5, r#","key":"k","value":"v""#);
    assert_eq!(bench.ended()[0].0, read);
}

#[test]
fn a_service_known_to_be_durable_is_given_more_time_and_never_taken_for_plain_over_silence() {
    let mut bench = Bench::by_default();
    bench.command(|client, now| client.connect(now));
    bench.opened_durable();
    bench.call(Call::increment("n", 1));
    bench.made();
    bench.cut();
    bench.pass(SECOND);
    bench.opened();
    bench.hello();
    bench.call(Call::increment("n", 1).timeout(60 * SECOND));
    bench.elapse("answer");
    bench.elapse("authentication");
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
    bench.elapse("reconnect");
    bench.resumed();
    assert!(bench.statistics().durable);
}

#[test]
fn a_service_that_has_no_room_for_the_client_is_used_plainly_and_asked_again_on_the_next_link() {
    for code in [429, 503] {
        let mut bench = Bench::by_default();
        bench.call(Call::get("k"));
        bench.opened();
        let (number, _) = bench.hello();
        bench.fails(number, code);
        assert_eq!(bench.made(), [2]);
        bench.cut();
        bench.elapse("reconnect");
        bench.opened();
        bench.hello();
        assert_eq!(bench.state(), ConnectionState::Introducing);
    }
}

#[test]
fn a_service_that_has_no_room_at_the_moment_is_asked_once_more_for_what_it_was_sent() {
    let mut bench = Bench::by_default();
    let id = bench.call(Call::increment("n", 1).timeout(600 * SECOND));
    bench.opened_durable();
    bench.made();
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (number, _) = bench.hello();
    bench.text(&format!(
        r#"{{"code":503,"error":"full","retryAfterMs":70000,"messageId":{number}}}"#
    ));
    assert!(bench.ended().is_empty());
    let refused = bench.now;
    bench.elapse("reconnect");
    assert!(bench.now.since(refused) >= 70 * SECOND, "as it was told");
    bench.resumed();
    bench.answers(2, r#","newValue":1"#);
    assert_eq!(bench.ended(), [(id, Ok(Answer::Number(1)))]);
}

#[test]
fn a_service_that_has_become_plain_leaves_changes_in_doubt_and_is_asked_the_reads_again() {
    let mut bench = Bench::by_default();
    let (change, read) = (
        bench.call(Call::increment("n", 1)),
        bench.call(Call::get("k")),
    );
    bench.opened_durable();
    assert_eq!(bench.made(), [2, 3]);
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (number, _) = bench.hello();
    bench.fails(number, 400);
    let in_doubt = CallError::InDoubt(Box::new(CallError::Forgotten));
    assert_eq!(bench.ended(), [(change, Err(in_doubt))]);
    assert_eq!(bench.made(), [5]);
    bench.answers(5, r#","key":"k","value":"v""#);
    assert_eq!(bench.ended()[0].0, read);
}

#[test]
fn a_grant_that_cannot_be_true_is_answered_with_a_close() {
    let mut bench = Bench::by_default();
    bench.call(Call::get("k"));
    bench.opened();
    let (number, _) = bench.hello();
    bench.text(&format!(
        r#"{{"code":200,"messageId":{number},"durable":{{"session":"{:032x}","receiveNext":9,"expiresInMs":60000,"heartbeatMs":20000,
        "maxCalls":10,"known":false,"sequence":0,"store":"{:032x}"}}}}"#,
        1, 2
    ));
    assert_eq!(bench.sent(), ["close 1002"]);
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
    let protocol = |event: &Event| matches!(event, Event::Disconnected { error: Some(error) } if error.to_string().contains("broke the protocol"));
    assert_eq!(bench.count(protocol), 1);
}

/// A service that tells changes to whoever has not said anything yet tells some of them twice, unless they are passed over.
#[test]
fn changes_that_are_told_before_the_dialect_is_decided_are_told_once() {
    let change = |sequence| {
        format!(
            r#"{{"type":"notification","key":"k","value":"v","timestamp":5,"sequence":{sequence}}}"#
        )
    };
    let told = |bench: &Bench| {
        let events = bench.events.iter();
        let told = events.filter_map(|event| match event {
            Event::Notified(notification) => notification.sequence,
            Event::Missed { .. } => Some(0),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let mut bench = Bench::new(token(), |_| {});
    bench.command(|client, now| client.connect(now));
    bench.opened();
    let (number, _) = bench.hello();
    // Nothing was asked for that could bring it again.
    bench.text(&change(7));
    bench.terms.sequence = 7;
    bench.grants(number, true);
    bench.says(&change(8));
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (number, hello) = bench.hello();
    assert_eq!(hello.after.map(|seen| seen.sequence), Some(8));
    bench.text(&change(10));
    (bench.terms.session, bench.terms.sequence) = (2, 10);
    bench.grants(number, true);
    for sequence in 9..=11 {
        bench.says(&change(sequence));
    }
    assert_eq!(told(&bench), [7, 8, 9, 10, 11]);
    // Where nothing is told again, the application learns that something is missing.
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (number, _) = bench.hello();
    bench.text(&change(13));
    bench.fails(number, 400);
    bench.says(&change(14));
    assert_eq!(told(&bench), [7, 8, 9, 10, 11, 0, 14]);
}

#[test]
fn changes_without_numbers_that_may_have_been_missed_are_a_gap_also_where_the_service_becomes_durable()
 {
    let mut bench = Bench::new(token(), |_| {});
    bench.command(|client, now| client.connect(now));
    bench.opened();
    let (number, _) = bench.hello();
    bench.fails(number, 503);
    bench.text(r#"{"type":"notification","key":"k","value":"v"}"#);
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (number, hello) = bench.hello();
    assert_eq!(hello.after, None);
    assert_eq!(
        bench.count(|event| matches!(event, Event::Missed { .. })),
        0
    );
    bench.grants(number, true);
    assert_eq!(
        bench.count(|event| matches!(event, Event::Missed { .. })),
        1
    );
}
