//! The outbox on disk: what is accepted is there, and what happens after a crash.

use super::*;
use crate::{
    smtp::{ReversePath, Script},
    storage::{Record, RestoreError, StorageError},
};
use alloc::collections::BTreeMap;

/// What is on disk, by table and key, and when it was put there.
#[derive(Clone, Default)]
struct Disk(BTreeMap<(&'static str, Bytes), (Bytes, Time)>);

impl Disk {
    fn apply(&mut self, now: Time, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put { table, key, value } => self.0.insert((table, key), (value, now)),
                Write::Delete { table, key } => self.0.remove(&(table, key)),
            };
        }
    }

    fn records(&self, now: Time) -> Vec<Record> {
        let record = |((table, key), (value, at)): (&(&str, Bytes), &(Bytes, Time))| Record {
            table: table.to_string(),
            key: key.clone(),
            value: value.clone(),
            age: now.since(*at),
        };
        self.0.iter().map(record).collect()
    }
}

/// A client with its outbox on a disk that survives it.
struct Durable {
    bench: Bench,
    disk: Disk,
    config: ClientConfig,
}

impl Durable {
    fn new(configure: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::new(
            "ws://relay.example".parse().unwrap(),
            ApiKey::new("secret-key"),
        );
        configure(&mut config);
        let client = Client::restore(config.clone(), [3; 32], Time::ZERO, vec![]).unwrap();
        Self {
            bench: Bench::of(client),
            disk: Disk::default(),
            config,
        }
    }

    /// Answers the oldest batch.
    fn answer(&mut self, result: Result<(), StorageError>) {
        self.bench.run();
        let (batch, writes) = self.bench.batches.pop_front().expect("a batch");
        if result.is_ok() {
            self.disk.apply(self.bench.now, writes);
        }
        self.bench.input(Input::Stored { batch, result });
    }

    fn store_all(&mut self) {
        self.bench.run();
        while !self.bench.batches.is_empty() {
            self.answer(Ok(()));
        }
    }

    fn send_mail(&mut self) -> SubmissionId {
        let id = self.bench.send_mail();
        self.store_all();
        id
    }

    fn until_end_of_data(&mut self) {
        self.store_all();
        self.bench.until_end_of_data();
    }

    /// The process is killed; the next one comes so much later.
    fn crash(&mut self, later: Duration) {
        let records = self.disk.records(self.bench.now.after(later));
        let client = Client::restore(self.config.clone(), [4; 32], Time::ZERO, records).unwrap();
        self.bench = Bench::of(client);
        self.bench.run();
        // What this disk holds is as old for the next crash as for this one, on a clock that begins anew.
        for (_, at) in self.disk.0.values_mut() {
            *at = Time::ZERO;
        }
    }

    fn restored(&self) -> Vec<u64> {
        let restored = |event: &Event| match event {
            Event::Restored { id, .. } => Some(id.0),
            _ => None,
        };
        self.bench.events.iter().filter_map(restored).collect()
    }

    fn queued(&self) -> Vec<(u64, DeliveryId)> {
        let queued = |event: &Event| match event {
            Event::Queued { id, delivery, .. } => Some((id.0, *delivery)),
            _ => None,
        };
        self.bench.events.iter().filter_map(queued).collect()
    }

    fn deliver(&mut self) {
        self.until_end_of_data();
        self.bench.server_says("250 ok");
        self.bench.close_channel();
        self.store_all();
    }
}

fn full() -> StorageError {
    StorageError::Full {
        detail: "no space left".into(),
    }
}

#[test]
fn a_submission_is_accepted_when_it_is_on_disk_and_is_gone_when_it_is_settled() {
    let mut durable = Durable::new(|_| {});
    durable.bench.send_mail();
    assert_eq!(
        (durable.queued().len(), durable.bench.client().queue_size()),
        (0, 0)
    );
    assert_eq!(durable.bench.sent(), [""; 0], "nothing is sent before");
    durable.answer(Ok(()));
    assert_eq!((durable.queued().len(), durable.disk.0.len()), (1, 2));
    durable.bench.authenticate();
    durable.deliver();
    assert_eq!(durable.bench.outcomes(), [(1, Ok(()))]);
    assert_eq!(durable.disk.0.len(), 0);
}

#[test]
fn the_end_of_a_submission_is_told_before_it_is_gone_from_disk() {
    let mut durable = Durable::new(|_| {});
    durable.send_mail();
    durable.bench.authenticate();
    durable.until_end_of_data();
    let link = durable.bench.link();
    let reply = Message::FromServer("550 not this one\r\n".into());
    let frame = wire::encode(&reply);
    let (pump, now) = (&mut durable.bench.pump, durable.bench.now);
    pump.handle_input(now, Input::Frame { link, frame });
    let mut is_told = false;
    loop {
        match pump.step(now) {
            Step::Deliver(event) => is_told |= event.outcome().is_some(),
            Step::Perform(Action::Store { writes, .. }) => {
                let deletes = |write: &Write| matches!(write, Write::Delete { .. });
                assert!(writes.iter().all(deletes));
                break assert!(is_told, "killed now, nobody would ever hear of it");
            }
            Step::Perform(_) => {}
            other => panic!("it is not deleted: {other:?}"),
        }
    }
}

#[test]
fn nothing_is_said_before_it_is_written_down_that_it_may_have_been() {
    let mut durable = Durable::new(|_| {});
    durable.send_mail();
    durable.bench.authenticate();
    durable.bench.says(&Message::ChannelReady);
    durable.bench.server_says("220 relay");
    assert_eq!(durable.bench.sent().last().unwrap(), "SMTP_CHANNEL_OPEN");
    durable.answer(Ok(()));
    assert_eq!(durable.bench.sent(), ["EHLO localhost"]);
    assert_eq!(durable.disk.0.len(), 3);
}

#[test]
fn what_was_accepted_survives_a_crash_in_order_with_its_name_priority_and_age() {
    let mut durable = Durable::new(|_| {});
    let submissions = [
        ("a", Priority::Low),
        ("b", Priority::Normal),
        ("c", Priority::Normal),
    ]
    .map(|(text, priority)| mail(text).with_priority(priority).with_max_age(60 * SECOND));
    for submission in &submissions {
        durable.bench.submit(submission.clone());
    }
    durable.store_all();
    let names = durable.queued();
    durable.crash(10 * SECOND);
    let restored: Vec<_> = durable
        .bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Restored {
                id,
                delivery,
                submission,
                age,
            } => Some((id.0, *delivery, (**submission).clone(), *age)),
            _ => None,
        })
        .collect();
    let expected: Vec<_> = names
        .into_iter()
        .zip(submissions)
        .map(|((id, delivery), submission)| (id, delivery, submission, 10 * SECOND))
        .collect();
    assert_eq!(restored, expected);
    assert_eq!(durable.bench.client().position(SubmissionId(1)), Some(2));
    let next = durable.send_mail();
    assert_eq!(next, SubmissionId(4), "numbers go on");
    durable.bench.authenticate();
    for _ in 0..4 {
        durable.deliver();
    }
    let order: Vec<u64> = durable.bench.outcomes().iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [2, 3, 4, 1]);
    assert_eq!(durable.disk.0.len(), 0);
}

#[test]
fn what_reached_the_disk_and_was_never_told_is_found_with_what_it_says() {
    let mut durable = Durable::new(|_| {});
    let submission = mail("order 4711");
    durable.bench.submit(submission.clone());
    let (_, writes) = durable.bench.batches.pop_front().unwrap();
    durable.disk.apply(durable.bench.now, writes);
    // Killed before the disk's word has come.
    assert_eq!(durable.queued(), []);
    durable.crash(SECOND);
    let found = |event: &Event| matches!(event, Event::Restored { submission: found, .. } if **found == submission);
    assert!(durable.bench.events.iter().any(found));
}

#[test]
fn what_has_grown_too_old_meanwhile_expires_and_says_how_long_it_waited() {
    let mut durable = Durable::new(|_| {});
    durable.bench.submit(mail("x").with_max_age(5 * SECOND));
    durable.store_all();
    durable.crash(60 * SECOND);
    assert_eq!(
        durable.bench.outcomes(),
        [(
            1,
            Err(Error::Expired {
                waited: 60 * SECOND
            })
        )]
    );
    durable.store_all();
    assert_eq!(durable.disk.0.len(), 0);
}

#[test]
fn a_crash_while_it_is_sent_leaves_it_in_doubt_and_it_is_sent_again_once() {
    let mut durable = Durable::new(|_| {});
    durable.send_mail();
    for sending_again in [true, false] {
        durable.bench.authenticate();
        durable.until_end_of_data();
        durable.crash(SECOND);
        let said = durable.bench.events.iter().any(|event| {
            matches!(event, Event::InDoubt { sending_again: again, error: Error::Interrupted, .. } if *again == sending_again)
        });
        assert!(said, "{sending_again}: {:?}", durable.bench.events);
        durable.store_all();
    }
    let [(1, Err(Error::InDoubt(why)))] = &durable.bench.outcomes()[..] else {
        panic!("{:?}", durable.bench.events);
    };
    assert_eq!(**why, Error::Interrupted);
    assert_eq!(durable.disk.0.len(), 0);
}

#[test]
fn after_a_crash_doubt_can_be_a_failure_at_once() {
    let mut durable = Durable::new(|config| config.in_doubt = InDoubtPolicy::Fail);
    durable.send_mail();
    durable.bench.authenticate();
    durable.until_end_of_data();
    durable.crash(SECOND);
    assert!(matches!(
        durable.bench.outcomes()[..],
        [(1, Err(Error::InDoubt(_)))]
    ));
}

#[test]
fn a_crash_before_it_is_sent_or_between_two_tries_is_no_doubt() {
    let mut durable = Durable::new(|config| config.in_doubt = InDoubtPolicy::Fail);
    durable.send_mail();
    durable.crash(SECOND);
    durable.bench.authenticate();
    durable.until_end_of_data();
    durable.bench.server_says("451 4.3.0 later");
    durable.bench.close_channel();
    durable.store_all();
    durable.crash(SECOND);
    assert_eq!(durable.restored(), [1]);
    assert_eq!(durable.bench.outcomes(), []);
    durable.bench.authenticate();
    durable.store_all();
    durable.bench.cut();
    durable.store_all();
    durable.crash(SECOND);
    assert_eq!(durable.bench.outcomes(), []);
    durable.bench.authenticate();
    durable.deliver();
    assert_eq!(durable.bench.outcomes(), [(1, Ok(()))]);
}

#[test]
fn tries_are_counted_over_restarts() {
    let mut durable = Durable::new(|config| {
        config.retry = BackoffPolicy::new(SECOND, SECOND, Some(2));
    });
    durable.send_mail();
    for attempt in 1..=3 {
        durable.bench.authenticate();
        durable.until_end_of_data();
        durable.bench.server_says("451 4.3.0 later");
        durable.bench.close_channel();
        durable.store_all();
        if attempt < 3 {
            durable.crash(SECOND);
        }
    }
    assert_eq!(durable.bench.outcomes().len(), 1);
}

#[test]
fn a_full_disk_hands_the_submission_back_and_loses_nothing() {
    let mut durable = Durable::new(|_| {});
    durable.send_mail();
    durable.bench.submit(mail("late"));
    durable.answer(Err(full()));
    let Some(Event::Refused { id, refused }) = durable
        .bench
        .events
        .iter()
        .find(|event| matches!(event, Event::Refused { .. }))
    else {
        panic!("{:?}", durable.bench.events);
    };
    assert_eq!((id.0, &*refused.submission), (2, &mail("late")));
    assert_eq!(refused.why, Refusal::Storage(full()));
    assert!(
        durable
            .bench
            .events
            .contains(&Event::StorageFailed { error: full() })
    );
    let refused = durable
        .bench
        .pump
        .command(durable.bench.now, |client, now| {
            client.submit(now, mail("later"))
        })
        .unwrap_err();
    assert_eq!(refused.why, Refusal::Storage(full()));
    durable.bench.elapse("storage");
    durable.answer(Ok(()));
    assert!(durable.bench.events.contains(&Event::StorageRecovered));
    durable.send_mail();
    durable.crash(SECOND);
    assert_eq!(durable.restored(), [1, 3]);
}

#[test]
fn while_the_disk_fails_nothing_is_sent_and_then_it_goes_on() {
    let mut durable = Durable::new(|_| {});
    durable.send_mail();
    durable.bench.authenticate();
    durable.bench.says(&Message::ChannelReady);
    durable.bench.server_says("220 relay");
    durable.answer(Err(full()));
    let sent = durable.bench.sent();
    assert_eq!(sent.last().unwrap(), "SMTP_CHANNEL_CLOSED");
    assert!(!sent.contains(&"EHLO localhost".to_string()));
    durable.bench.close_channel();
    assert_eq!(durable.bench.state(), ConnectionState::Authenticated);
    assert_eq!(durable.bench.client().queue_size(), 1);
    for _ in 0..3 {
        durable.bench.elapse("storage");
        durable.answer(Err(full()));
        assert_eq!(durable.bench.sent(), [""; 0]);
    }
    durable.bench.elapse("storage");
    durable.answer(Ok(()));
    durable.deliver();
    assert_eq!(durable.bench.outcomes(), [(1, Ok(()))]);
    assert_eq!(durable.disk.0.len(), 0);
}

#[test]
fn what_could_not_be_deleted_is_deleted_later() {
    let mut durable = Durable::new(|config| config.idle = None);
    durable.send_mail();
    durable.bench.authenticate();
    durable.until_end_of_data();
    durable.bench.server_says("250 ok");
    durable.bench.close_channel();
    durable.answer(Err(full()));
    assert_eq!(durable.disk.0.len(), 3);
    durable.bench.elapse("storage");
    durable.answer(Ok(()));
    assert_eq!(durable.disk.0.len(), 0);
}

#[test]
fn what_is_taken_back_is_gone_from_disk() {
    let mut durable = Durable::new(|_| {});
    let id = durable.send_mail();
    let now = durable.bench.now;
    let taken = durable
        .bench
        .pump
        .command(now, |client, now| client.cancel(now, id));
    assert_eq!(taken, Some(mail("hello")));
    durable.store_all();
    assert_eq!(durable.disk.0.len(), 0);
}

#[test]
fn stopping_waits_for_the_disk_and_leaves_what_was_accepted_there() {
    let mut durable = Durable::new(|_| {});
    durable.send_mail();
    durable.bench.authenticate();
    durable.until_end_of_data();
    durable.bench.submit(mail("written"));
    durable.bench.submit(mail("refused"));
    let now = durable.bench.now;
    durable.bench.pump.command(now, Client::stop);
    durable.bench.run();
    assert!(!durable.bench.client().is_finished());
    durable.answer(Ok(()));
    durable.answer(Err(full()));
    assert!(durable.bench.client().is_finished());
    let Some(Event::Terminated { left }) = durable.bench.events.last() else {
        panic!("{:?}", durable.bench.events);
    };
    let left: Vec<_> = left
        .iter()
        .map(|left| (left.id.0, left.in_doubt, left.kept))
        .collect();
    assert_eq!(left, [(1, true, true), (2, false, true)]);
    let refused = |event: &Event| matches!(event, Event::Refused { id, .. } if id.0 == 3);
    assert!(durable.bench.events.iter().any(refused));
    durable.crash(SECOND);
    assert_eq!(durable.restored(), [1, 2]);
    assert_eq!(durable.bench.client().statistics().queued, 2);
}

#[test]
fn shutting_down_sends_what_is_still_on_its_way_to_the_disk() {
    let mut durable = Durable::new(|_| {});
    durable.bench.send_mail();
    let now = durable.bench.now;
    durable
        .bench
        .pump
        .command(now, |client, now| client.shutdown(now, 60 * SECOND));
    durable.bench.run();
    durable.answer(Ok(()));
    durable.bench.authenticate();
    durable.deliver();
    assert_eq!(durable.bench.outcomes(), [(1, Ok(()))]);
    assert!(durable.bench.client().is_finished());
    assert_eq!(
        durable.disk.0.len(),
        0,
        "also the last deletion is waited for"
    );
}

#[test]
fn a_client_whose_driver_has_no_storage_refuses_and_ends() {
    let mut durable = Durable::new(|_| {});
    durable.bench.send_mail();
    durable.answer(Err(StorageError::Absent));
    let refused = |event: &Event| matches!(event, Event::Refused { refused, .. } if refused.why == Refusal::Storage(StorageError::Absent));
    assert!(durable.bench.events.iter().any(refused));
    let now = durable.bench.now;
    durable.bench.pump.command(now, Client::stop);
    durable.bench.run();
    assert!(durable.bench.client().is_finished());
}

#[test]
fn every_kind_of_submission_is_read_back_as_it_was_written() {
    let paths = [
        crate::smtp::ForwardPath::Postmaster,
        "\"b o b\"@example.net"
            .parse::<crate::smtp::Address>()
            .unwrap()
            .into(),
        "jos\u{e9}@example.net"
            .parse::<crate::smtp::Address>()
            .unwrap()
            .into(),
    ];
    let envelope = Envelope::new(ReversePath::Null, paths).unwrap();
    let script = b"EHLO x\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\n..dot\n\nhello\n.\nNOOP\nQUIT\n";
    let submissions = [
        Submission::message(envelope, Bytes::from_static(b"\xff\x00\r\n.\n"))
            .with_priority(Priority::Critical),
        Submission::script(Script::parse(script).unwrap()).with_max_age(Duration::MAX),
        mail("")
            .with_priority(Priority::High)
            .with_max_age(SECOND * 1000),
    ];
    let mut durable = Durable::new(|_| {});
    for submission in &submissions {
        durable.bench.submit(submission.clone());
    }
    durable.store_all();
    durable.crash(Duration::ZERO);
    let now = durable.bench.now;
    durable.bench.pump.command(now, Client::stop);
    durable.bench.run();
    durable.store_all();
    let Some(Event::Terminated { left }) = durable.bench.events.last() else {
        panic!("{:?}", durable.bench.events);
    };
    for (left, submission) in left
        .iter()
        .zip([&submissions[0], &submissions[2], &submissions[1]])
    {
        let mut expected = submission.clone();
        expected.max_age = expected
            .max_age
            .map(|age| age.min(Duration::from_nanos(u64::MAX)));
        assert_eq!(left.submission, expected);
    }
    assert_eq!(left.len(), 3);
}

#[test]
fn damaged_records_say_so_and_nothing_is_changed() {
    let mut durable = Durable::new(|_| {});
    durable.send_mail();
    durable.bench.authenticate();
    durable.store_all();
    let good = durable.disk.records(durable.bench.now);
    assert_eq!(good.len(), 3);
    let restore = |records| Client::restore(durable.config.clone(), [0; 32], Time::ZERO, records);
    for index in 0..good.len() {
        let mut missing = good.clone();
        let gone = missing.remove(index);
        assert_eq!(
            restore(missing).is_ok(),
            gone.table == "outbox-progress",
            "{gone:?}"
        );
        if good[index].table == "outbox-content" {
            continue;
        }
        for length in 0..good[index].value.len() {
            let mut cut = good.clone();
            cut[index].value = cut[index].value.slice(..length);
            let error = restore(cut).unwrap_err();
            assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
        }
        let mut newer = good.clone();
        let mut value = newer[index].value.to_vec();
        value[0] = 9;
        newer[index].value = value.into();
        assert!(matches!(
            restore(newer).unwrap_err(),
            RestoreError::Newer { version: 9, .. }
        ));
    }
    let mut foreign = good;
    foreign[0].table = "ledger".into();
    assert!(matches!(
        restore(foreign).unwrap_err(),
        RestoreError::Foreign { .. }
    ));
}

#[test]
fn secrets_and_content_stay_out_of_debug_output_on_their_way_to_the_disk() {
    let mut durable = Durable::new(|_| {});
    durable.bench.submit(mail("private words"));
    let debug = format!("{:?} {:?}", durable.bench.pump, durable.bench.batches);
    assert!(!debug.contains("private words"), "{debug}");
    durable.store_all();
    let records = durable.disk.records(durable.bench.now);
    assert!(!format!("{records:?}").contains("private words"));
}
