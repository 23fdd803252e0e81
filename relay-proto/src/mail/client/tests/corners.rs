//! Rare turns: nothing left to do in an odd moment, timers of zero, slow links.

use super::*;

#[test]
fn a_link_whose_last_work_was_beyond_the_limits_is_closed_when_idle() {
    let mut bench = Bench::new(|config| config.heartbeat = Duration::MAX);
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
    assert!(matches!(bench.outcomes()[..], [(1, Err(Error::Limits(_)))]));
    bench.elapse("idle");
    assert_eq!(bench.state(), ConnectionState::Disconnected);
}

#[test]
fn shutdown_ends_as_soon_as_the_limits_have_emptied_the_queue() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    bench
        .pump
        .command(bench.now, |client, now| client.shutdown(now, Duration::MAX));
    let limits = Limits {
        max_message_bytes: None,
        max_recipients: Some(0),
    };
    bench.says(&Message::AuthenticateResponse(Ok(Granted {
        limits,
        ..Granted::default()
    })));
    assert!(bench.client().is_finished());
}

/// Every timer at zero: whatever the relay does or leaves undone, no deadline is due after it was served.
#[test]
fn timers_of_zero_neither_panic_nor_spin() {
    for silence_at in 0..5 {
        let mut bench = Bench::new(|config| {
            config.idle = Some(Duration::ZERO);
            config.heartbeat = Duration::ZERO;
            config.reconnect = BackoffPolicy::new(Duration::ZERO, Duration::ZERO, None);
            config.retry = BackoffPolicy::new(Duration::ZERO, Duration::ZERO, None);
            config.timeouts.open = Duration::ZERO;
            config.timeouts.authentication = Duration::ZERO;
            config.timeouts.channel = Duration::ZERO;
            config.timeouts.message = Duration::ZERO;
        });
        bench.send_mail();
        for _ in 0..50 {
            let link = bench.link();
            let steps: [&dyn Fn(&mut Bench); 4] = [
                &|bench| bench.input(Input::Opened { link }),
                &|bench| bench.says(&Message::AuthenticateResponse(Ok(Granted::default()))),
                &|bench| bench.says(&Message::ChannelReady),
                &|bench| bench.server_says("220 relay"),
            ];
            for step in steps.iter().take(silence_at) {
                step(&mut bench);
            }
            let due = bench.run().expect("it goes on trying");
            bench.now = due.at;
            bench.run();
        }
    }
}

#[test]
fn a_relay_that_reads_slowly_is_not_taken_for_dead() {
    let mut bench = Bench::new(|config| config.timeouts.message = 3600 * SECOND);
    bench.submit(mail(&"x".repeat(1 << 20)));
    bench.authenticate();
    bench.sent();
    bench.says(&Message::ChannelReady);
    for line in ["220 relay", "250 relay", "250 ok", "250 ok"] {
        bench.server_says(line);
        bench.sent();
    }
    bench.server_says("354 go on");
    // One frame of content leaves every 20 s, and the relay has no reason to say anything.
    let mut frames = 0;
    while let Some(action) = bench.actions.pop_front() {
        let Action::Send { link, frame } = action else {
            panic!("{action:?}");
        };
        frames += 1;
        bench.now = bench.now.after(20 * SECOND);
        bench.run();
        bench.input(Input::Written { link });
        assert_ne!(frame.len(), 0, "no need to ask");
    }
    assert!(frames > 60, "{frames}");
    // Afterwards silence counts again; that a ping has left proves nothing.
    bench.elapse("heartbeat");
    assert_eq!(bench.sent(), ["Ping(0 bytes)"]);
    bench.elapse("heartbeat");
    assert_eq!(bench.sent(), ["close 1001"]);
}

#[test]
fn a_new_submission_has_all_its_attempts_after_an_older_one_was_given_up() {
    let mut bench = Bench::new(|config| {
        config.reconnect = BackoffPolicy::new(SECOND, SECOND, Some(2));
    });
    bench.submit(mail("x").with_max_age(5 * SECOND));
    bench.cut();
    bench.elapse("reconnect");
    bench.cut();
    bench.elapse("reconnect");
    bench.now = bench.now.after(5 * SECOND);
    bench.run();
    bench.cut();
    assert_eq!(bench.state(), ConnectionState::Disconnected);
    bench.send_mail();
    bench.cut();
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
    assert_eq!(bench.client().queue_size(), 1);
}

#[test]
fn a_relay_cannot_send_the_client_away_for_ever() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    bench.says(&Message::AuthenticateResponse(Err(Denied {
        error: "later".into(),
        retry_after: Some(Duration::MAX),
        permanent: None,
    })));
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
    let due = bench.run().unwrap();
    assert!(due.at.since(bench.now) <= 25 * 3600 * SECOND, "{due:?}");
}

#[test]
fn a_channel_refused_with_5yz_is_not_asked_for_again() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.authenticate();
    bench.says(&Message::ChannelError(ChannelError {
        error: "the mail server said: 554 no service here".into(),
        code: Some(554),
        retry_after: None,
    }));
    let [(1, Err(error))] = &bench.outcomes()[..] else {
        panic!("{:?}", bench.events);
    };
    assert!(matches!(error, Error::Channel(_)) && error.is_permanent());
}
