//! The core alone: no socket, no runtime, one thread.

use crate::measure::{Report, Stopwatch};
use bytes::Bytes;
use relay_proto::{
    LinkId, Random, Time,
    mail::{
        DeliveryId, Outcome,
        client::{Client, ClientConfig, Submission, SubmissionId},
        ledger::{Ledger, LedgerLimits},
        wire::{ApiKey, Message, decode, encode},
    },
    session::{Body, RetentionLimits, Session},
    smtp::{Address, Envelope, reply},
};
use std::{error::Error, hint::black_box, time::Duration};

/// Operations between two looks at the clock, which costs about as much as one of them.
const FLIGHT: usize = 64;
const LINK: LinkId = LinkId::accepted(0);

/// One hot path.
pub struct Case {
    /// What is done, as a word for the command line and the baseline.
    pub name: &'static str,
    /// What is done, for people.
    row: &'static str,
    /// Does it so many times a flight, for each flight.
    pub run: fn(usize, &mut Stopwatch),
}

/// All of them.
pub const CASES: [Case; 10] = [
    Case {
        name: "session-send",
        row: "send a data frame of 200 bytes",
        run: session_send,
    },
    Case {
        name: "session-receive",
        row: "receive a data frame of 200 bytes",
        run: session_receive,
    },
    Case {
        name: "session-acknowledge",
        row: "acknowledge a data frame",
        run: session_acknowledge,
    },
    Case {
        name: "mail-encode",
        row: "write SMTP bytes as a base frame, 1 KiB",
        run: mail_encode,
    },
    Case {
        name: "mail-decode",
        row: "read SMTP bytes from a base frame, 1 KiB",
        run: mail_decode,
    },
    Case {
        name: "outbox-submit",
        row: "submit, 100,000 queued",
        run: |n, w| outbox_submit(100_000, n, w),
    },
    Case {
        name: "outbox-cancel",
        row: "cancel, 100,000 queued",
        run: |n, w| outbox_cancel(100_000, n, w),
    },
    Case {
        name: "ledger-begin",
        row: "begin a delivery, 10,000 known",
        run: |n, w| ledger_begin(10_000, n, w),
    },
    Case {
        name: "ledger-settle",
        row: "settle a delivery, 10,000 known",
        run: |n, w| ledger_settle(10_000, n, w),
    },
    Case {
        name: "ledger-look-up",
        row: "look a delivery up, 10,000 known",
        run: |n, w| ledger_look_up(10_000, n, w),
    },
];

/// How long each takes.
pub fn times(repetitions: u32, flights: usize) -> Result<(), Box<dyn Error>> {
    for repetition in 0..repetitions {
        let report = Report {
            table: "core",
            repetition,
        };
        for case in &CASES {
            let mut watch = Stopwatch::default();
            (case.run)(flights, &mut watch);
            let each = watch.total().as_nanos() as f64 / (flights * FLIGHT) as f64;
            report.cost(case.row, "relay-proto", None, "ns", each)?;
        }
    }
    Ok(())
}

/// How the outbox and the ledger grow.
pub fn growth(repetitions: u32, most: usize, flights: usize) -> Result<(), Box<dyn Error>> {
    type Grows = fn(usize, usize, &mut Stopwatch);
    let rows: [(&str, Grows); 4] = [
        ("submit, messages queued", outbox_submit),
        ("cancel, messages queued", outbox_cancel),
        ("begin, deliveries known", ledger_begin),
        ("settle, deliveries known", ledger_settle),
    ];
    for repetition in 0..repetitions {
        let report = Report {
            table: "growth of the core",
            repetition,
        };
        for (row, run) in rows {
            let mut size = 1;
            while size <= most {
                let mut watch = Stopwatch::default();
                run(size, flights, &mut watch);
                let each = watch.total().as_nanos() as f64 / (flights * FLIGHT) as f64;
                report.cost(row, "relay-proto", Some(size as f64), "ns", each)?;
                size *= 10;
            }
        }
    }
    Ok(())
}

// ---- the session ----

struct Ends {
    sender: Session,
    receiver: Session,
}

impl Ends {
    fn new() -> Self {
        let end = || {
            let mut session = Session::new(Time::ZERO, Duration::MAX, RetentionLimits::default());
            session
                .attach(LINK, 1)
                .expect("a new session begins with 1");
            session
        };
        Self {
            sender: end(),
            receiver: end(),
        }
    }

    /// What a link does with a frame: it is dropped when it is written.
    fn send(&mut self) -> Bytes {
        let body = Body::Data {
            channel: 1,
            payload: black_box([7; 200].as_slice()),
        };
        self.sender.send(body).expect("there is room");
        self.sender.poll_frame().expect("there is a link")
    }

    /// The bytes as they come out of the read buffer of a socket: one piece of memory for several frames.
    fn receive(&mut self, frame: &Bytes) {
        let delivery = self
            .receiver
            .handle_frame(LINK, frame)
            .expect("it is a frame");
        self.receiver
            .take_over(black_box(delivery).expect("it is new").seq);
    }

    fn acknowledge(&mut self, acknowledgement: &Bytes) {
        let new = self.sender.handle_frame(LINK, acknowledgement);
        assert_eq!(new, Ok(None));
    }
}

fn session(flights: usize, mut each: impl FnMut(&mut Ends, &mut Vec<Bytes>)) {
    let (mut ends, mut frames) = (Ends::new(), Vec::with_capacity(FLIGHT));
    for _ in 0..flights {
        each(&mut ends, &mut frames);
    }
}

fn session_send(flights: usize, watch: &mut Stopwatch) {
    session(flights, |ends, frames| {
        watch.run(|| (0..FLIGHT).for_each(|_| frames.push(ends.send())));
        frames.drain(..).for_each(|frame| ends.receive(&frame));
        let acknowledgement = ends
            .receiver
            .poll_frame()
            .expect("there is something to say");
        ends.acknowledge(&acknowledgement);
    });
}

fn session_receive(flights: usize, watch: &mut Stopwatch) {
    session(flights, |ends, frames| {
        frames.extend((0..FLIGHT).map(|_| ends.send()));
        watch.run(|| frames.iter().for_each(|frame| ends.receive(frame)));
        frames.clear();
        let acknowledgement = ends
            .receiver
            .poll_frame()
            .expect("there is something to say");
        ends.acknowledge(&acknowledgement);
    });
}

fn session_acknowledge(flights: usize, watch: &mut Stopwatch) {
    session(flights, |ends, frames| {
        frames.extend((0..FLIGHT).map(|_| ends.send()));
        frames.drain(..).for_each(|frame| ends.receive(&frame));
        watch.run(|| {
            let acknowledgement = ends
                .receiver
                .poll_frame()
                .expect("there is something to say");
            ends.acknowledge(&acknowledgement);
        });
    });
}

// ---- mail ----

/// As much of a letter as fits, with its line ends.
fn letter(bytes: usize) -> Bytes {
    let line = "The quick brown fox jumps over the lazy dog, and does so once more.\r\n";
    line.bytes().cycle().take(bytes).collect()
}

fn mail_encode(flights: usize, watch: &mut Stopwatch) {
    let message = Message::ToServer(letter(1024));
    for _ in 0..flights {
        watch.run(|| (0..FLIGHT).for_each(|_| drop(black_box(encode(black_box(&message))))));
    }
}

fn mail_decode(flights: usize, watch: &mut Stopwatch) {
    let frame = encode(&Message::ToServer(letter(1024)));
    for _ in 0..flights {
        watch.run(|| (0..FLIGHT).for_each(|_| drop(black_box(decode(black_box(&frame))))));
    }
}

fn submission() -> Submission {
    let address = |text: &str| text.parse::<Address>().expect("it is an address");
    let envelope = Envelope::new(address("alice@example.org"), [address("bob@example.net")]);
    Submission::message(envelope.expect("there is a recipient"), letter(200))
}

/// A client with so many messages waiting, as it is while its relay cannot be reached.
fn client(queued: usize) -> (Client, Vec<SubmissionId>) {
    let endpoint = "wss://relay.example/".parse().expect("it is a URL");
    let mut config = ClientConfig::new(endpoint, ApiKey::new("key"));
    config.queue = relay_proto::OutboxLimits::new(usize::MAX, usize::MAX);
    let mut client = Client::new(config, [7; 32], Time::ZERO);
    let submission = submission();
    let ids = (0..queued)
        .map(|_| submit(&mut client, submission.clone()))
        .collect();
    (client, ids)
}

fn submit(client: &mut Client, submission: Submission) -> SubmissionId {
    let id = client
        .submit(Time::ZERO, submission)
        .expect("there is room");
    while client_event(client) {}
    id
}

fn client_event(client: &mut Client) -> bool {
    use relay_proto::Machine;
    black_box(client.poll_event()).is_some()
}

fn outbox_submit(queued: usize, flights: usize, watch: &mut Stopwatch) {
    let (mut client, _) = client(queued);
    let submission = submission();
    for _ in 0..flights {
        let more = vec![submission.clone(); FLIGHT];
        let ids: Vec<_> = watch.run(|| {
            more.into_iter()
                .map(|one| submit(&mut client, one))
                .collect()
        });
        for id in ids {
            client.cancel(Time::ZERO, id).expect("it waits");
            while client_event(&mut client) {}
        }
    }
}

fn outbox_cancel(queued: usize, flights: usize, watch: &mut Stopwatch) {
    let (mut client, mut ids) = client(queued + FLIGHT);
    let submission = submission();
    for flight in 0..flights {
        // From all over the queue, and as many are put back.
        let chosen: Vec<_> = (0..FLIGHT)
            .map(|index| ids.swap_remove((flight + index * 7919) * 104_729 % ids.len()))
            .collect();
        watch.run(|| {
            for id in chosen {
                black_box(client.cancel(Time::ZERO, id)).expect("it waits");
                while client_event(&mut client) {}
            }
        });
        ids.extend((0..FLIGHT).map(|_| submit(&mut client, submission.clone())));
    }
}

fn ledger(known: usize) -> (Ledger, Random, Vec<DeliveryId>) {
    let mut random = Random::new([7; 32]);
    let mut ledger = Ledger::in_memory(LedgerLimits::default(), &mut random);
    let ids: Vec<_> = (0..known)
        .map(|_| DeliveryId::random(&mut random))
        .collect();
    for id in &ids {
        begin(&mut ledger, *id);
        settle(&mut ledger, *id, outcome());
    }
    (ledger, random, ids)
}

fn begin(ledger: &mut Ledger, id: DeliveryId) {
    ledger
        .begin(Time::ZERO, "alice", id)
        .expect("there is room");
    black_box(ledger.poll_event());
}

fn outcome() -> Outcome {
    Outcome::Answered {
        reply: reply(250, "2.0.0", "queued"),
        rejected: vec![],
    }
}

fn settle(ledger: &mut Ledger, id: DeliveryId, outcome: Outcome) {
    ledger.settle(Time::ZERO, "alice", id, outcome);
    black_box(ledger.poll_event());
}

fn ledger_flights(
    known: usize,
    flights: usize,
    mut each: impl FnMut(&mut Ledger, Vec<DeliveryId>),
) {
    let (mut ledger, mut random, _) = ledger(known);
    for _ in 0..flights {
        each(
            &mut ledger,
            (0..FLIGHT)
                .map(|_| DeliveryId::random(&mut random))
                .collect(),
        );
    }
}

fn ledger_begin(known: usize, flights: usize, watch: &mut Stopwatch) {
    ledger_flights(known, flights, |ledger, ids| {
        watch.run(|| ids.iter().for_each(|id| begin(ledger, *id)));
        ids.iter().for_each(|id| ledger.withdraw("alice", *id));
    });
}

fn ledger_settle(known: usize, flights: usize, watch: &mut Stopwatch) {
    ledger_flights(known, flights, |ledger, ids| {
        ids.iter().for_each(|id| begin(ledger, *id));
        let outcomes = vec![outcome(); FLIGHT];
        watch.run(|| {
            ids.iter()
                .zip(outcomes)
                .for_each(|(id, outcome)| settle(ledger, *id, outcome));
        });
    });
}

fn ledger_look_up(known: usize, flights: usize, watch: &mut Stopwatch) {
    let (ledger, _, ids) = ledger(known);
    for flight in 0..flights {
        watch.run(|| {
            for index in 0..FLIGHT {
                let id = ids[(flight + index * 7919) * 104_729 % ids.len()];
                black_box(ledger.look_up("alice", id)).expect("it is known");
            }
        });
    }
}
