//! What becomes of a submission: another try, failure, doubt.

use super::*;

#[test]
fn a_cut_before_the_end_of_data_sends_the_message_again_from_the_front() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.authenticate();
    bench.says(&Message::ChannelReady);
    bench.server_says("220 relay");
    bench.send_mail();
    bench.cut();
    assert_eq!(bench.client().position(SubmissionId(1)), Some(0));
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
    bench.elapse("reconnect");
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("250 ok");
    assert_eq!(bench.outcomes(), [(1, Ok(()))]);
    assert!(
        !bench
            .events
            .iter()
            .any(|event| matches!(event, Event::InDoubt { .. }))
    );
    assert_eq!(bench.client().statistics().reconnects, 1);
}

#[test]
fn a_cut_after_the_end_of_data_is_in_doubt_and_sent_again_once() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    for sending_again in [true, false] {
        bench.authenticate();
        bench.until_end_of_data();
        bench.cut();
        let said = bench.events.iter().any(|event| {
            matches!(event, Event::InDoubt { sending_again: again, .. } if *again == sending_again)
        });
        assert!(said, "{sending_again}: {:?}", bench.events);
        if sending_again {
            bench.elapse("reconnect");
        }
    }
    assert!(matches!(
        bench.outcomes()[..],
        [(1, Err(Error::InDoubt(_)))]
    ));
    assert_eq!(bench.state(), ConnectionState::Disconnected);
}

#[test]
fn doubt_can_be_a_failure_at_once() {
    let mut bench = Bench::new(|config| config.in_doubt = InDoubtPolicy::Fail);
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.close_channel();
    assert!(matches!(
        bench.outcomes()[..],
        [(1, Err(Error::InDoubt(_)))]
    ));
    assert_eq!(bench.state(), ConnectionState::Authenticated);
}

#[test]
fn a_refusal_after_doubt_stays_in_doubt() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.cut();
    bench.elapse("reconnect");
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("550 5.7.1 no");
    let [(1, Err(Error::InDoubt(cause)))] = &bench.outcomes()[..] else {
        panic!("{:?}", bench.events);
    };
    assert!(matches!(**cause, Error::Message(_)));
}

#[test]
fn transient_failures_are_retried_a_bounded_number_of_times() {
    let mut bench = Bench::new(|config| {
        config.retry = BackoffPolicy::new(SECOND, SECOND, Some(2));
        config.idle = None;
    });
    bench.send_mail();
    bench.authenticate();
    for attempt in 1..=3 {
        bench.until_end_of_data();
        bench.server_says("451 4.3.0 try later");
        bench.close_channel();
        if attempt < 3 {
            let scheduled = |event: &Event| matches!(event, Event::RetryScheduled { attempt: a, of: Some(2), .. } if *a == attempt);
            assert!(bench.events.iter().any(scheduled), "{attempt}");
            bench.elapse("retry");
        }
    }
    let [(1, Err(error))] = &bench.outcomes()[..] else {
        panic!("{:?}", bench.events);
    };
    assert!(error.is_transient());
    assert_eq!(error.reply().unwrap().code().as_u16(), 451);
    assert_eq!(bench.client().statistics().retried, 2);
}

#[test]
fn permanent_failures_are_not_retried() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("550 5.7.1 Sender domain not authorized");
    let [(1, Err(error))] = &bench.outcomes()[..] else {
        panic!("{:?}", bench.events);
    };
    assert!(error.is_permanent() && !error.is_transient());
    assert_eq!(bench.state(), ConnectionState::ChannelError);
    bench.close_channel();
    assert_eq!(bench.state(), ConnectionState::Authenticated);
}

#[test]
fn a_channel_error_is_retried_after_the_time_the_relay_names() {
    let mut bench = Bench::new(|config| config.idle = None);
    bench.send_mail();
    bench.authenticate();
    bench.says(&Message::ChannelError(ChannelError {
        error: "upstream refuses".into(),
        code: Some(421),
        retry_after: Some(20 * SECOND),
    }));
    assert_eq!(bench.state(), ConnectionState::Authenticated);
    let failed_at = bench.now;
    bench.elapse("retry");
    assert!(bench.now.since(failed_at) >= 20 * SECOND);
    assert_eq!(bench.state(), ConnectionState::ChannelOpening);
}

#[test]
fn no_answer_to_the_end_of_data_in_time_is_in_doubt() {
    let mut bench = Bench::new(|config| config.heartbeat = Duration::MAX);
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.elapse("outcome");
    assert_eq!(bench.now, Time::ZERO.after(600 * SECOND));
    assert!(bench.events.iter().any(|event| matches!(
        event,
        Event::InDoubt {
            sending_again: true,
            error: Error::Timeout(Timeout::Outcome),
            ..
        }
    )));
}

#[test]
fn limits_are_kept_before_and_after_they_are_known() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    let limits = Limits {
        max_message_bytes: Some(5),
        max_recipients: None,
    };
    bench.says(&Message::AuthenticateResponse(Ok(Granted {
        limits,
        ..Granted::default()
    })));
    let too_large = |why: &Refusal| matches!(why, Refusal::TooLarge { limit: 5, .. });
    assert!(matches!(&bench.outcomes()[..], [(1, Err(Error::Limits(why)))] if too_large(why)));
    let refused = bench
        .pump
        .command(bench.now, |client, now| client.submit(now, mail("x")))
        .unwrap_err();
    assert!(too_large(&refused.why));
}

#[test]
fn a_message_at_which_every_link_breaks_lets_the_others_go_first() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.send_mail();
    for _ in 0..4 {
        assert_eq!(bench.client().position(SubmissionId(1)), Some(0));
        bench.authenticate();
        bench.says(&Message::ChannelReady);
        bench.server_says("220 relay");
        bench.cut();
        bench.elapse("reconnect");
    }
    assert_eq!(bench.client().position(SubmissionId(1)), Some(1));
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("250 ok");
    assert_eq!(bench.outcomes(), [(2, Ok(()))]);
    assert_eq!(bench.client().statistics().retried, 1);
}
