//! A machine that sleeps: for the client time stands still and is much later at once.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Time passes at once, and every timer that was due meanwhile is due now.
fn sleep(bench: &mut Bench, time: Duration) -> Option<Deadline> {
    bench.now = bench.now.after(time);
    bench.run()
}

#[test]
fn after_a_sleep_the_relay_is_asked_once_whether_it_is_there() {
    let mut bench = Bench::new(|config| config.idle = None);
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("250 ok");
    bench.close_channel();
    bench.sent();
    let next = sleep(&mut bench, DAY).expect("it waits for the answer");
    assert_eq!(bench.sent(), ["Ping(0 bytes)"]);
    assert_eq!(
        (next.timer, next.at),
        ("heartbeat", bench.now.after(30 * SECOND))
    );
    let link = bench.link();
    let frame = Frame::Pong(Bytes::new());
    bench.input(Input::Frame { link, frame });
    assert_eq!(bench.state(), ConnectionState::Authenticated);
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn attempts_that_were_due_in_a_sleep_are_made_up_for_by_one() {
    let mut bench = Bench::new(|config| {
        config.reconnect = BackoffPolicy::new(SECOND, 30 * SECOND, None);
    });
    bench.send_mail();
    bench.cut();
    bench.sent();
    for _ in 0..3 {
        assert_eq!(bench.state(), ConnectionState::Reconnecting);
        sleep(&mut bench, DAY);
        assert_eq!(bench.sent(), ["open ws://relay.example"]);
        assert_eq!(bench.state(), ConnectionState::Connecting);
        let (link, why) = (bench.link(), OpenError::Abandoned);
        bench.input(Input::OpenFailed { link, why });
    }
    assert_eq!(bench.outcomes(), []);
}

#[test]
fn what_became_too_old_in_a_sleep_expires_once_each_and_the_rest_is_sent() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..5 {
        bench.submit(mail("x").with_max_age(60 * SECOND));
    }
    let patient = bench.send_mail();
    sleep(&mut bench, DAY);
    let outcomes = bench.outcomes();
    assert_eq!(outcomes.len(), 5, "{outcomes:?}");
    assert!(
        outcomes
            .iter()
            .all(|(_, result)| matches!(result, Err(Error::Expired { .. })))
    );
    assert_eq!(bench.client().position(patient), Some(0));
    assert_eq!(bench.client().statistics().expired, 5);
}

#[test]
fn a_message_past_its_end_of_data_is_in_doubt_once_where_the_sleep_outlasts_the_patience() {
    let mut bench = Bench::new(|config| config.in_doubt = InDoubtPolicy::Fail);
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.sent();
    sleep(&mut bench, DAY);
    assert!(matches!(
        bench.outcomes()[..],
        [(1, Err(Error::InDoubt(_)))]
    ));
    sleep(&mut bench, DAY);
    assert_eq!(bench.outcomes().len(), 1);
    assert!(!bench.sent().iter().any(|line| line.contains("MAIL")));
}
