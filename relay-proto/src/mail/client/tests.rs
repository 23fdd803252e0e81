//! The client on virtual time, against a relay played by hand.

use super::*;
use crate::{
    Closure, Frame, OpenError, Pump, Step,
    link::BackoffPolicy,
    link::LinkError,
    mail::wire::{self, ApiKey, ChannelError, Denied, Granted, Message},
    outbox::{OutboxLimits, Priority},
    smtp::Envelope,
    storage::{BatchId, Write},
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
};
use bytes::Bytes;

mod corners;
mod diagram;
mod durable;
mod links;
mod pacing;
mod settlement;
mod sleep;
mod spool;
mod states;

const SECOND: Duration = Duration::from_secs(1);

/// A client, a clock, and everything the client has said and not been asked about yet.
struct Bench {
    pump: Pump<Client>,
    now: Time,
    actions: VecDeque<Action>,
    events: Vec<Event>,
    link: Option<LinkId>,
    /// What is to be stored and was not answered yet.
    batches: VecDeque<(BatchId, Vec<Write>)>,
}

impl Bench {
    fn new(configure: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::new(
            "ws://relay.example".parse().unwrap(),
            ApiKey::new("secret-key"),
        );
        configure(&mut config);
        Self::of(Client::new(config, [3; 32], Time::ZERO))
    }

    fn of(client: Client) -> Self {
        Self {
            pump: Pump::new(client),
            now: Time::ZERO,
            actions: VecDeque::new(),
            events: Vec::new(),
            link: None,
            batches: VecDeque::new(),
        }
    }

    fn client(&self) -> &Client {
        self.pump.machine()
    }

    /// Runs the machine until it waits; says what it waits for.
    fn run(&mut self) -> Option<Deadline> {
        loop {
            match self.pump.step(self.now) {
                Step::Perform(action) => match action {
                    Action::Store { batch, writes } => self.batches.push_back((batch, writes)),
                    Action::Open { link, .. } => {
                        self.link = Some(link);
                        self.actions.push_back(action);
                    }
                    action => self.actions.push_back(action),
                },
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
        while self.acknowledges() {}
        let deadline = self.run().expect("a deadline");
        assert_eq!(deadline.timer, timer);
        self.now = deadline.at;
        self.run();
    }

    /// Lets what waits for something to ride on go alone; whether there was any.
    fn acknowledges(&mut self) -> bool {
        let deadline = self.run();
        let Some(deadline) = deadline.filter(|deadline| deadline.timer == "acknowledgement") else {
            return false;
        };
        self.now = deadline.at;
        self.run();
        true
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
                Action::StartTls { .. } => "start TLS".to_string(),
                Action::Store { .. } => unreachable!("it is among the batches"),
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
    assert_eq!(left[1].submission, mail("hello"));
    let content = left[1].submission.content().expect("it is a message");
    assert_eq!(content, "Subject: x\n\nhello\n", "all of it can be kept");
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
