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
    bench.says(&Message::AuthenticateResponse(Ok(Granted { limits })));
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
    bench.says(&Message::AuthenticateResponse(Ok(Granted { limits })));
    assert!(bench.client().is_finished());
}
