//! The client on virtual time, against a relay played by hand.

use super::*;
use crate::{
    Frame, Pump, Step,
    link::BackoffPolicy,
    mail::wire::{ApiKey, ChannelError, Granted},
    outbox::{OutboxLimits, Priority},
    smtp::Envelope,
};
use alloc::{format, string::String, vec};
use bytes::Bytes;

mod corners;

const SECOND: Duration = Duration::from_secs(1);

/// A client, a clock, and everything the client has said and not been asked about yet.
struct Bench {
    pump: Pump<Client>,
    now: Time,
    actions: VecDeque<Action>,
    events: Vec<Event>,
    link: Option<LinkId>,
}

impl Bench {
    fn new(configure: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::new(
            "ws://relay.example".parse().unwrap(),
            ApiKey::new("secret-key"),
        );
        configure(&mut config);
        Self {
            pump: Pump::new(Client::new(config, [3; 32], Time::ZERO)),
            now: Time::ZERO,
            actions: VecDeque::new(),
            events: Vec::new(),
            link: None,
        }
    }

    fn client(&self) -> &Client {
        self.pump.machine()
    }

    /// Runs the machine until it waits; says what it waits for.
    fn run(&mut self) -> Option<Deadline> {
        loop {
            match self.pump.step(self.now) {
                Step::Perform(action) => {
                    if let Action::Open { link, .. } = &action {
                        self.link = Some(*link);
                    }
                    self.actions.push_back(action);
                }
                Step::Deliver(event) => self.events.push(event),
                Step::Wait { until } => {
                    assert!(until.is_none_or(|deadline| deadline.at > self.now));
                    return until;
                }
                Step::Finished => return None,
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.pump.handle_input(self.now, input);
        self.run();
    }

    /// Lets time pass to the next deadline, which must be of this timer.
    fn elapse(&mut self, timer: &str) {
        let deadline = self.run().expect("a deadline");
        assert_eq!(deadline.timer, timer);
        self.now = deadline.at;
        self.run();
    }

    fn submit(&mut self, submission: Submission) -> SubmissionId {
        let id = self
            .pump
            .command(self.now, |client, now| client.submit(now, submission))
            .unwrap();
        self.run();
        id
    }

    fn send_mail(&mut self) -> SubmissionId {
        self.submit(mail("hello"))
    }

    fn link(&self) -> LinkId {
        self.link.expect("a link was opened")
    }

    fn says(&mut self, message: &Message) {
        let (link, frame) = (self.link(), wire::encode(message));
        self.input(Input::Frame { link, frame });
    }

    fn server_says(&mut self, line: &str) {
        self.says(&Message::FromServer(Bytes::from(format!("{line}\r\n"))));
    }

    /// Everything the client sent since last asked, written at once, as a person would note it down.
    fn sent(&mut self) -> Vec<String> {
        let mut lines = vec![];
        while let Some(action) = self.actions.pop_front() {
            lines.push(match action {
                Action::Open { endpoint, .. } => format!("open {endpoint}"),
                Action::Close { code, .. } => format!("close {code}"),
                Action::Send { link, frame } => {
                    self.input(Input::Written { link });
                    match &frame {
                        Frame::Text(_) => match wire::decode(&frame).unwrap().unwrap() {
                            Message::ToServer(data) => {
                                String::from_utf8_lossy(&data).trim_end().to_string()
                            }
                            message => message.kind().to_string(),
                        },
                        other => format!("{other:?}"),
                    }
                }
            });
        }
        lines
    }

    fn authenticate(&mut self) {
        let link = self.link();
        self.input(Input::Opened { link });
        self.says(&Message::AuthenticateResponse(Ok(Granted::default())));
    }

    /// Walks the message under way to the point where its end of data is sent and the reply outstanding.
    fn until_end_of_data(&mut self) {
        self.says(&Message::ChannelReady);
        for line in ["220 relay", "250 relay", "250 ok", "250 ok", "354 go on"] {
            self.server_says(line);
        }
    }

    fn close_channel(&mut self) {
        self.says(&Message::ChannelClosed { reason: None });
    }

    fn cut(&mut self) {
        let why = Closure::Lost {
            detail: "reset".into(),
        };
        let link = self.link();
        self.input(Input::Closed { link, why });
    }

    fn outcomes(&self) -> Vec<(u64, Result<(), Error>)> {
        let outcome = |event: &Event| {
            let (id, result) = event.outcome()?;
            Some((id.0, result.map(drop).map_err(Clone::clone)))
        };
        self.events.iter().filter_map(outcome).collect()
    }

    fn state(&self) -> ConnectionState {
        self.client().state()
    }
}

fn mail(text: &str) -> Submission {
    let envelope = Envelope::new(
        "alice@example.org".parse::<crate::smtp::Address>().unwrap(),
        ["bob@example.net".parse::<crate::smtp::Address>().unwrap()],
    )
    .unwrap();
    Submission::message(envelope, Bytes::from(format!("Subject: x\n\n{text}\n")))
}

#[test]
fn one_message_from_rest_to_rest() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.run(), None);
    bench.send_mail();
    assert_eq!(bench.sent(), ["open ws://relay.example"]);
    let link = bench.link();
    bench.input(Input::Opened { link });
    assert_eq!(bench.sent(), ["AUTHENTICATE"]);
    bench.says(&Message::AuthenticateResponse(Ok(Granted::default())));
    assert_eq!(bench.sent(), ["SMTP_CHANNEL_OPEN"]);
    bench.says(&Message::ChannelReady);
    assert_eq!(bench.sent(), [""; 0]);
    let dialogue = [
        ("220 relay ready", "EHLO localhost"),
        ("250 relay", "MAIL FROM:<alice@example.org>"),
        ("250 ok", "RCPT TO:<bob@example.net>"),
        ("250 ok", "DATA"),
    ];
    for (reply, command) in dialogue {
        bench.server_says(reply);
        assert_eq!(bench.sent(), [command]);
    }
    bench.server_says("354 go on");
    assert_eq!(bench.sent().concat(), "Subject: x\r\n\r\nhello\r\n.");
    bench.now = bench.now.after(SECOND);
    bench.server_says("250 2.0.0 queued as 42");
    assert_eq!(bench.sent(), ["QUIT", "SMTP_CHANNEL_CLOSED"]);
    assert_eq!(bench.outcomes(), [(1, Ok(()))]);
    let Some(Event::Processed { receipt, .. }) =
        bench.events.iter().find(|e| e.outcome().is_some())
    else {
        panic!("no receipt in {:?}", bench.events);
    };
    assert_eq!(receipt.reply.text(), "queued as 42");
    assert_eq!(receipt.response_time, SECOND);
    assert_eq!(receipt.accepted.len(), 1);
    bench.server_says("221 bye");
    bench.close_channel();
    assert_eq!(bench.state(), ConnectionState::Authenticated);
    bench.elapse("idle");
    assert_eq!(bench.sent(), ["close 1000"]);
    assert_eq!(bench.state(), ConnectionState::Disconnected);
    assert_eq!(bench.run(), None);
    let statistics = bench.client().statistics();
    assert_eq!(
        (statistics.queued, statistics.processed, statistics.failed),
        (1, 1, 0)
    );
    assert_eq!(statistics.p99_response, Some(SECOND));
    assert_eq!((statistics.queue_size, statistics.queue_bytes), (0, 0));
}

#[test]
fn messages_leave_by_priority_each_on_a_channel_of_its_own() {
    let mut bench = Bench::new(|_| {});
    for priority in [Priority::Low, Priority::Normal, Priority::Critical] {
        bench.submit(mail("x").with_priority(priority));
    }
    bench.authenticate();
    for _ in 0..3 {
        bench.until_end_of_data();
        bench.server_says("250 ok");
        bench.close_channel();
    }
    let order: Vec<u64> = bench.outcomes().iter().map(|(id, _)| *id).collect();
    // The low one came alone, but the link was not open yet when the others overtook it.
    assert_eq!(order, [3, 2, 1]);
    let opened = bench
        .sent()
        .iter()
        .filter(|line| *line == "SMTP_CHANNEL_OPEN")
        .count();
    assert_eq!(opened, 3);
}

#[test]
fn a_full_queue_hands_the_submission_back() {
    let mut bench = Bench::new(|config| config.queue = OutboxLimits::new(1, 1000));
    bench.send_mail();
    let late = mail("late");
    let refused = bench
        .pump
        .command(bench.now, |client, now| client.submit(now, late.clone()))
        .unwrap_err();
    assert_eq!(*refused.submission, late);
    assert!(matches!(refused.why, Refusal::Full { waiting: 1, .. }));
    bench.run();
    assert!(
        bench
            .events
            .contains(&Event::QueueOverflow { queue_size: 1 })
    );
    assert_eq!(bench.client().queue_size(), 1);
}

#[test]
fn a_waiting_submission_can_be_taken_back() {
    let mut bench = Bench::new(|_| {});
    let first = bench.send_mail();
    let second = bench.send_mail();
    assert_eq!(bench.client().position(second), Some(1));
    let taken = bench
        .pump
        .command(bench.now, |client, now| client.cancel(now, first));
    assert_eq!(taken, Some(mail("hello")));
    assert_eq!(bench.client().position(second), Some(0));
    let again = bench
        .pump
        .command(bench.now, |client, now| client.cancel(now, first));
    assert_eq!(again, None);
}

#[test]
fn a_message_that_waits_too_long_expires() {
    let mut bench = Bench::new(|_| {});
    bench.submit(mail("x").with_max_age(2 * SECOND));
    bench.elapse("expiry");
    assert_eq!(
        bench.outcomes(),
        [(1, Err(Error::Expired { waited: 2 * SECOND }))]
    );
    assert_eq!(bench.client().statistics().expired, 1);
}

#[test]
fn a_link_nobody_wants_any_more_is_not_sought() {
    let mut bench = Bench::new(|config| {
        config.reconnect = BackoffPolicy::new(60 * SECOND, 60 * SECOND, None);
    });
    bench.submit(mail("x").with_max_age(SECOND / 100));
    bench.cut();
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
    bench.elapse("expiry");
    assert_eq!(bench.state(), ConnectionState::Disconnected);
    assert_eq!(bench.run(), None);
}

#[test]
fn idle_zero_closes_at_once_and_never_stays_and_comes_back() {
    let mut bench = Bench::new(|config| config.idle = Some(Duration::ZERO));
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("250 ok");
    bench.close_channel();
    assert_eq!(bench.sent().last().unwrap(), "close 1000");

    let mut bench = Bench::new(|config| config.idle = None);
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("250 ok");
    bench.close_channel();
    assert_eq!(bench.run().unwrap().timer, "heartbeat");
    bench.cut();
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
    bench.elapse("reconnect");
    assert_eq!(bench.state(), ConnectionState::Connecting);
}

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
fn a_refused_key_fails_what_waits_and_the_next_submission_tries_afresh() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    bench.says(&Message::AuthenticateResponse(Err(Denied {
        error: "unknown key".into(),
        retry_after: None,
        permanent: Some(true),
    })));
    let failures = bench.outcomes();
    assert_eq!(failures.len(), 2);
    assert!(failures.iter().all(|(_, result)| {
        matches!(result, Err(error @ Error::Authentication(_)) if error.is_permanent())
    }));
    assert_eq!(bench.state(), ConnectionState::Failed);
    assert_eq!(bench.run(), None);
    bench.send_mail();
    assert_eq!(bench.state(), ConnectionState::Connecting);
}

#[test]
fn a_temporary_refusal_of_the_key_is_not_tried_again_fast() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    bench.says(&Message::AuthenticateResponse(Err(Denied {
        error: "key store is away".into(),
        retry_after: None,
        permanent: Some(false),
    })));
    let waited_from = bench.now;
    bench.elapse("reconnect");
    assert!(bench.now.since(waited_from) >= 30 * SECOND);
}

#[test]
fn statuses_and_close_codes_that_refuse_the_key_are_permanent() {
    let endpoint = String::from("ws://relay.example");
    for status in [401, 403] {
        let mut bench = Bench::new(|_| {});
        bench.send_mail();
        let (link, endpoint) = (bench.link(), endpoint.clone());
        let why = OpenError::Refused {
            endpoint,
            status,
            retry_after: None,
        };
        bench.input(Input::OpenFailed { link, why });
        assert!(matches!(
            bench.outcomes()[..],
            [(1, Err(Error::Authentication(_)))]
        ));
    }
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    let why = Closure::Peer {
        code: Some(CloseCode(4001)),
        reason: "unknown key".into(),
    };
    bench.input(Input::Closed { link, why });
    assert!(matches!(
        bench.outcomes()[..],
        [(1, Err(Error::Authentication(_)))]
    ));
}

#[test]
fn a_relay_that_stays_away_is_given_up_after_the_attempts() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    for attempt in 1..=11 {
        let link = bench.link();
        let why = OpenError::Unreachable {
            endpoint: "ws://relay.example".into(),
            detail: "connection refused".into(),
        };
        bench.input(Input::OpenFailed { link, why });
        if attempt <= 10 {
            assert_eq!(bench.outcomes(), []);
            bench.elapse("reconnect");
        }
    }
    assert!(matches!(
        bench.outcomes()[..],
        [(1, Err(Error::Connection(_)))]
    ));
    assert_eq!(bench.state(), ConnectionState::Failed);
}

#[test]
fn a_server_hint_comes_before_the_backoff() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    let link = bench.link();
    let why = OpenError::Refused {
        endpoint: "ws://relay.example".into(),
        status: 503,
        retry_after: Some(90 * SECOND),
    };
    bench.input(Input::OpenFailed { link, why });
    bench.elapse("reconnect");
    assert!(bench.now >= Time::ZERO.after(90 * SECOND));
}

#[test]
fn each_timeout_is_an_error_of_its_own() {
    let mut bench = Bench::new(|config| {
        config.reconnect = BackoffPolicy::new(SECOND, SECOND, Some(0));
    });
    bench.send_mail();
    bench.elapse("open");
    assert_eq!(bench.now, Time::ZERO.after(10 * SECOND));
    bench.send_mail();
    let link = bench.link();
    bench.input(Input::Opened { link });
    bench.elapse("authentication");
    assert_eq!(
        bench.outcomes(),
        [
            (1, Err(Error::Connection(LinkError::OpenTimeout))),
            (2, Err(Error::Connection(LinkError::AuthenticationTimeout))),
        ]
    );

    let mut bench = Bench::new(|config| {
        config.retry = BackoffPolicy::new(SECOND, SECOND, Some(0));
        config.heartbeat = Duration::MAX;
    });
    bench.send_mail();
    bench.authenticate();
    bench.elapse("channel");
    assert_eq!(bench.sent().last().unwrap(), "SMTP_CHANNEL_CLOSED");
    assert_eq!(
        bench.outcomes(),
        [(1, Err(Error::Timeout(Timeout::Channel)))]
    );
    // A late READY of the channel given up opens nothing.
    bench.says(&Message::ChannelReady);
    bench.close_channel();
    bench.send_mail();
    bench.says(&Message::ChannelReady);
    bench.elapse("message");
    assert_eq!(
        bench.outcomes()[1..],
        [(2, Err(Error::Timeout(Timeout::Message)))]
    );
    // Nor does a relay that leaves a channel unclosed keep the link.
    bench.elapse("channel close");
    assert_eq!(bench.sent().last().unwrap(), "close 1001");
}

#[test]
fn a_message_timeout_after_the_end_of_data_is_in_doubt() {
    let mut bench = Bench::new(|config| config.heartbeat = Duration::MAX);
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.elapse("message");
    assert!(bench.events.iter().any(|event| matches!(
        event,
        Event::InDoubt {
            sending_again: true,
            error: Error::Timeout(Timeout::Message),
            ..
        }
    )));
}

#[test]
fn a_silent_relay_is_pinged_and_then_left() {
    let mut bench = Bench::new(|config| config.idle = None);
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("250 ok");
    bench.close_channel();
    bench.sent();
    bench.elapse("heartbeat");
    assert_eq!(bench.sent(), ["Ping(0 bytes)"]);
    let link = bench.link();
    bench.input(Input::Frame {
        link,
        frame: Frame::Pong(Bytes::new()),
    });
    bench.elapse("heartbeat");
    assert_eq!(bench.sent(), ["Ping(0 bytes)"]);
    bench.elapse("heartbeat");
    assert_eq!(bench.sent(), ["close 1001"]);
    assert!(bench.events.contains(&Event::Disconnected {
        error: Some(Error::Connection(LinkError::Silent))
    }));
    // What the dead link still says concerns nobody.
    bench.input(Input::Frame {
        link,
        frame: Frame::Pong(Bytes::new()),
    });
    bench.input(Input::Closed {
        link,
        why: Closure::Local,
    });
    assert_eq!(bench.state(), ConnectionState::Reconnecting);
}

#[test]
fn a_relay_that_breaks_the_protocol_is_told_so_and_left() {
    let garbage = [
        (Frame::Text(Bytes::from_static(b"{\"type\":")), 1002),
        (Frame::Text(Bytes::from_static(b"[]")), 1002),
        (Frame::Text(Bytes::from_static(b"\xff")), 1007),
        (Frame::Binary(Bytes::from_static(b"x")), 1003),
    ];
    for (frame, code) in garbage {
        let mut bench = Bench::new(|_| {});
        bench.send_mail();
        let link = bench.link();
        bench.input(Input::Opened { link });
        bench.input(Input::Frame { link, frame });
        assert_eq!(bench.sent().last().unwrap(), &format!("close {code}"));
        assert_eq!(bench.state(), ConnectionState::Reconnecting);
        assert_eq!(bench.client().queue_size(), 1);
    }
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
    bench.says(&Message::AuthenticateResponse(Ok(Granted { limits })));
    let too_large = |why: &Refusal| matches!(why, Refusal::TooLarge { limit: 5, .. });
    assert!(matches!(&bench.outcomes()[..], [(1, Err(Error::Limits(why)))] if too_large(why)));
    let refused = bench
        .pump
        .command(bench.now, |client, now| client.submit(now, mail("x")))
        .unwrap_err();
    assert!(too_large(&refused.why));
}

#[test]
fn shutdown_finishes_the_queue_and_then_ends() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.authenticate();
    bench
        .pump
        .command(bench.now, |client, now| client.shutdown(now, 60 * SECOND));
    let refused = bench
        .pump
        .command(bench.now, |client, now| client.submit(now, mail("late")))
        .unwrap_err();
    assert_eq!(refused.why, Refusal::ShuttingDown);
    bench.until_end_of_data();
    bench.server_says("250 ok");
    assert!(bench.client().is_finished());
    assert_eq!(
        bench.events.last(),
        Some(&Event::Terminated { left: vec![] })
    );
    assert_eq!(bench.sent().last().unwrap(), "close 1001");
}

#[test]
fn shutdown_hands_back_what_the_deadline_leaves() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench
        .pump
        .command(bench.now, |client, now| client.shutdown(now, 5 * SECOND));
    bench.elapse("shutdown");
    let Some(Event::Terminated { left }) = bench.events.last() else {
        panic!("{:?}", bench.events);
    };
    let left: Vec<_> = left.iter().map(|left| (left.id.0, left.in_doubt)).collect();
    assert_eq!(left, [(1, true), (2, false)]);
    assert_eq!(bench.outcomes(), []);
    assert_eq!(bench.run(), None);
}

#[test]
fn secrets_and_content_stay_out_of_debug_output() {
    let mut bench = Bench::new(|_| {});
    bench.submit(mail("private words"));
    bench.authenticate();
    bench.until_end_of_data();
    let debug = format!("{:?} {:?} {:?}", bench.pump, bench.events, bench.actions);
    assert!(
        !debug.contains("secret-key") && !debug.contains("private words"),
        "{debug}"
    );
}

/// Every state, reached by a script, against every input: nothing panics, transitions stay in the table,
/// every deadline lies in the future, and the submission is never lost.
#[test]
fn every_state_withstands_every_input() {
    type Reach = fn(&mut Bench);
    let reach: [(ConnectionState, Reach); 9] = [
        (ConnectionState::Disconnected, |_| {}),
        (ConnectionState::Connecting, |bench| {
            bench.send_mail();
        }),
        (ConnectionState::Authenticating, |bench| {
            bench.send_mail();
            let link = bench.link();
            bench.input(Input::Opened { link });
        }),
        (ConnectionState::Authenticated, |bench| {
            bench.send_mail();
            bench.authenticate();
            bench.until_end_of_data();
            bench.server_says("250 ok");
            bench.close_channel();
        }),
        (ConnectionState::ChannelOpening, |bench| {
            bench.send_mail();
            bench.authenticate();
        }),
        (ConnectionState::ChannelReady, |bench| {
            bench.send_mail();
            bench.authenticate();
            bench.says(&Message::ChannelReady);
        }),
        (ConnectionState::ChannelError, |bench| {
            bench.send_mail();
            bench.authenticate();
            bench.says(&Message::ChannelReady);
            bench.server_says("554 no");
        }),
        (ConnectionState::Reconnecting, |bench| {
            bench.send_mail();
            bench.cut();
        }),
        (ConnectionState::Failed, |bench| {
            bench.send_mail();
            let (link, endpoint) = (bench.link(), "x".into());
            let why = OpenError::Refused {
                endpoint,
                status: 401,
                retry_after: None,
            };
            bench.input(Input::OpenFailed { link, why });
        }),
    ];
    let denied = Denied {
        error: "no".into(),
        retry_after: None,
        permanent: None,
    };
    let error = ChannelError {
        error: "no".into(),
        code: None,
        retry_after: None,
    };
    let frames = [
        wire::encode(&Message::Authenticate {
            api_key: ApiKey::new("x"),
            agent: None,
        }),
        wire::encode(&Message::AuthenticateResponse(Ok(Granted::default()))),
        wire::encode(&Message::AuthenticateResponse(Err(denied))),
        wire::encode(&Message::ChannelOpen),
        wire::encode(&Message::ChannelReady),
        wire::encode(&Message::ToServer(Bytes::from_static(b"QUIT\r\n"))),
        wire::encode(&Message::FromServer(Bytes::from_static(b"250 ok\r\n"))),
        wire::encode(&Message::FromServer(Bytes::from_static(b"550 no\r\n"))),
        wire::encode(&Message::FromServer(Bytes::from_static(
            b"\0\xffgarbage\r\n",
        ))),
        wire::encode(&Message::ChannelClosed { reason: None }),
        wire::encode(&Message::ChannelError(error)),
        Frame::Text(Bytes::from_static(b"{\"type\":\"SOMETHING_NEW\"}")),
        Frame::Text(Bytes::from_static(b"nonsense")),
        Frame::Binary(Bytes::from_static(b"nonsense")),
        Frame::Ping(Bytes::new()),
        Frame::Pong(Bytes::new()),
    ];
    for (state, reach) in reach {
        let inputs: [fn(LinkId) -> Input; 5] = [
            |link| Input::Accepted { link, peer: None },
            |link| Input::Opened { link },
            |link| Input::OpenFailed {
                link,
                why: OpenError::Abandoned,
            },
            |link| Input::Written { link },
            |link| Input::Closed {
                link,
                why: Closure::Local,
            },
        ];
        for case in 0..inputs.len() + frames.len() {
            for ours in [true, false] {
                let mut bench = Bench::new(|_| {});
                reach(&mut bench);
                assert_eq!(bench.state(), state);
                let link = match bench.link {
                    Some(link) if ours => link,
                    _ => LinkId::dialled(99),
                };
                let input = match inputs.get(case) {
                    Some(make) => make(link),
                    None => {
                        let frame = frames[case - inputs.len()].clone();
                        Input::Frame { link, frame }
                    }
                };
                bench.input(input);
                if !ours {
                    assert_eq!(bench.state(), state, "a stranger's input changes nothing");
                }
                // Whatever has happened, the machine comes to an end, and no submission is lost.
                bench
                    .pump
                    .command(bench.now, |client, now| client.stop(now));
                bench.run();
                assert!(bench.client().is_finished());
                let Some(Event::Terminated { left }) = bench.events.last() else {
                    panic!("no terminal event");
                };
                let submitted = bench.client().statistics().queued as usize;
                assert_eq!(left.len() + bench.outcomes().len(), submitted);
            }
        }
    }
}

#[test]
fn the_transition_table_names_every_state_and_reaches_them_all() {
    let mut reached = vec![ConnectionState::Disconnected];
    for index in 0.. {
        let Some(state) = reached.get(index).copied() else {
            break;
        };
        for next in state.successors() {
            assert_ne!(*next, state);
            if !reached.contains(next) {
                reached.push(*next);
            }
        }
    }
    reached.sort_unstable();
    assert_eq!(reached, ConnectionState::ALL);
}

#[test]
fn the_documentation_shows_the_transition_table() {
    let documentation = include_str!("mod.rs");
    for state in ConnectionState::ALL {
        let successors: Vec<_> = state
            .successors()
            .iter()
            .map(|next| format!("{next:?}"))
            .collect();
        let row = format!("//! | {state:?} | {} |\n", successors.join(", "));
        assert!(documentation.contains(&row), "{row}");
    }
}
