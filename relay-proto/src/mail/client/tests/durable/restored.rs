//! A client with its outbox on disk, and those that come after it.

use super::*;
use crate::storage::{Record, RestoreError};
use alloc::collections::BTreeMap;

fn config() -> ClientConfig {
    let mut config = ClientConfig::new(
        "ws://relay.example".parse().unwrap(),
        ApiKey::new("secret-key"),
    );
    config.in_doubt = InDoubtPolicy::Fail;
    config
}

/// What outlives the clients.
#[derive(Clone, Default)]
struct Disk(BTreeMap<(&'static str, Bytes), Bytes>);

impl Disk {
    /// Takes what there is to be stored.
    fn store(&mut self, world: &mut World) {
        world.bench.run();
        while let Some((batch, writes)) = world.bench.batches.pop_front() {
            for write in writes {
                match write {
                    Write::Put { table, key, value } => {
                        self.0.insert((table, key), value);
                    }
                    Write::Delete { table, key } => {
                        self.0.remove(&(table, key));
                    }
                }
            }
            world.bench.input(Input::Stored {
                batch,
                result: Ok(()),
            });
        }
    }

    /// The next process.
    fn client(&self) -> Client {
        self.client_after(Duration::ZERO, config())
    }

    /// A process that comes so much later.
    fn client_after(&self, age: Duration, config: ClientConfig) -> Client {
        let record = |((table, key), value): (&(&str, Bytes), &Bytes)| Record {
            table: table.to_string(),
            key: key.clone(),
            value: value.clone(),
            age,
        };
        let records = self.0.iter().map(record).collect();
        Client::restore(config, [4; 32], Time::ZERO, records).unwrap()
    }
}

#[test]
fn the_mark_is_on_disk_before_the_message_goes_out_and_the_next_process_asks() {
    let mut disk = Disk::default();
    let mut world = World::of(Bench::of(disk.client()));
    world.answers = false;
    world.bench.send_mail();
    disk.store(&mut world);
    // The grant is there, the mark is being written: only the channel is opened.
    assert!(!world.exchange_without_disk(3));
    assert_eq!((world.opened.len(), world.delivered.len()), (1, 0));
    world.exchange_without_disk(100);
    assert_eq!(world.delivered.len(), 0);
    disk.store(&mut world);
    world.settle();
    assert_eq!(world.delivered.len(), 1);
    // The process is killed.
    let mut next = World::of(Bench::of(disk.client()));
    next.ledger = world.ledger.clone();
    next.terms.ledger_mark = "mark-2".into();
    next.settle();
    assert_eq!(next.opened, [(world.opened[0].0, Some("mark-1".into()))]);
    assert_eq!(next.bench.outcomes(), [(1, Ok(()))]);
    assert_eq!(next.delivered.len(), 0);
}

#[test]
fn without_a_ledger_to_ask_the_next_process_is_in_doubt() {
    let mut disk = Disk::default();
    let mut world = World::of(Bench::of(disk.client()));
    world.answers = false;
    world.bench.send_mail();
    disk.store(&mut world);
    world.exchange_without_disk(100);
    disk.store(&mut world);
    world.settle();
    let mut next = World::of(Bench::of(disk.client()));
    next.durable = false;
    next.settle();
    next.reconnect();
    next.settle();
    let outcomes = next.bench.outcomes();
    assert!(
        matches!(outcomes[..], [(1, Err(Error::InDoubt(_)))]),
        "{outcomes:?}"
    );
}

#[test]
fn a_refused_sending_is_followed_by_another_delivery_across_a_restart() {
    let mut disk = Disk::default();
    let mut world = World::of(Bench::of(disk.client()));
    world.final_reply = "451 4.3.0 later";
    world.bench.send_mail();
    for _ in 0..4 {
        disk.store(&mut world);
        world.exchange_without_disk(100);
    }
    assert!(world.has(|event| matches!(event, Event::RetryScheduled { .. })));
    let mut next = World::of(Bench::of(disk.client()));
    next.ledger = world.ledger.clone();
    next.settle();
    assert_eq!(next.bench.outcomes(), [(1, Ok(()))]);
    assert_ne!(next.opened[0].0, world.opened[0].0);
    assert_eq!(next.opened[0].1, None);
}

// ---- what goes out with the key ----

/// What a process leaves that has sent a message and ended.
fn acquainted() -> Disk {
    let mut disk = Disk::default();
    let mut world = World::of(Bench::of(disk.client()));
    world.bench.send_mail();
    disk.settle(&mut world);
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
    assert_eq!(disk.0.len(), 1, "what was sent is gone");
    disk
}

impl Disk {
    /// Lets everything happen that can.
    fn settle(&mut self, world: &mut World) {
        loop {
            assert!(world.exchange_without_disk(10_000), "it comes to rest");
            if world.bench.batches.is_empty() {
                return;
            }
            self.store(world);
        }
    }

    /// Takes the submission there is, and lets the link open: what goes out on it before anything comes.
    fn first_flight(&mut self, world: &mut World) -> Vec<Frame> {
        self.store(world);
        world.first_flight();
        self.store(world);
        world.waiting()
    }
}

#[test]
fn a_message_goes_out_with_the_key_of_a_process_that_has_never_met_the_relay() {
    let mut disk = acquainted();
    let mut world = World::of(Bench::of(disk.client()));
    world.bench.send_mail();
    let flight = disk.first_flight(&mut world);
    let kind = |frame: &Frame| match frame {
        Frame::Binary(bytes) => bytes[0],
        _ => b'k',
    };
    let kinds: Vec<_> = flight.iter().map(kind).collect();
    assert_eq!(kinds, *b"k\x01\x02", "key, word and content");
    disk.settle(&mut world);
    assert_eq!(world.asked, [Some(DurableRequest::New)]);
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
    assert_eq!(world.delivered.len(), 1);
}

#[test]
fn nothing_goes_ahead_of_the_answer_of_another_relay_or_long_after_the_last_one() {
    let mut elsewhere = config();
    elsewhere.endpoint = "ws://relay.example:81".parse().unwrap();
    let mut without = config();
    without.durable = false;
    let day = 24 * 3600 * SECOND;
    for (age, config, goes_ahead) in [
        (day - SECOND, config(), true),
        (day, config(), false),
        (Duration::MAX, config(), false),
        (Duration::ZERO, elsewhere, false),
        (Duration::ZERO, without, false),
    ] {
        let mut disk = acquainted();
        let mut world = World::of(Bench::of(disk.client_after(age, config)));
        world.bench.send_mail();
        let flight = disk.first_flight(&mut world);
        assert_eq!(flight.len() > 1, goes_ahead, "{age:?}");
    }
}

#[test]
fn what_went_ahead_of_a_process_that_was_killed_is_asked_for_by_the_next() {
    for takes in [true, false] {
        let mut disk = acquainted();
        let mut world = World::of(Bench::of(disk.client()));
        world.is_mute = true;
        world.bench.send_mail();
        disk.first_flight(&mut world);
        if takes {
            disk.settle(&mut world);
        }
        assert_eq!(world.delivered.len(), usize::from(takes));
        // The process is killed.
        let mut next = World::of(Bench::of(disk.client()));
        next.ledger = world.ledger.clone();
        next.terms.ledger_mark = "mark-2".into();
        disk.settle(&mut next);
        let [(_, Some(mark))] = &next.opened[..] else {
            panic!("{:?}", next.opened);
        };
        assert_eq!(mark, "mark-1");
        assert_eq!(next.bench.outcomes(), [(1, Ok(()))]);
        assert_eq!(world.delivered.len() + next.delivered.len(), 1);
    }
}

#[test]
fn a_grant_that_did_not_hold_is_forgotten_on_disk_as_well() {
    type Spoil = fn(&mut World);
    let spoils: [(Spoil, bool); 3] = [
        // It speaks the base dialect by now.
        (|world| world.durable = false, false),
        // The link is lost before it answers.
        (|world| world.is_mute = true, false),
        (|world| world.terms.window = 1000, true),
    ];
    for (index, (spoil, is_known)) in spoils.into_iter().enumerate() {
        let mut disk = acquainted();
        let mut world = World::of(Bench::of(disk.client()));
        spoil(&mut world);
        world.bench.send_mail();
        assert!(disk.first_flight(&mut world).len() > 1);
        disk.settle(&mut world);
        if world.is_mute {
            world.cut();
        }
        disk.settle(&mut world);
        assert_eq!(world.bench.state(), ConnectionState::Reconnecting);
        // The process is killed. The message is still there, and goes out once.
        let mut next = World::of(Bench::of(disk.client()));
        next.ledger = world.ledger.clone();
        next.terms.window = world.terms.window;
        let flight = disk.first_flight(&mut next);
        assert_eq!(flight.len() > 1, is_known, "{index}");
        disk.settle(&mut next);
        assert_eq!(next.bench.outcomes(), [(1, Ok(()))], "{index}");
        assert_eq!(world.delivered.len() + next.delivered.len(), 1, "{index}");
    }
}

#[test]
fn what_is_beyond_the_limits_of_the_last_grant_waits_for_the_next() {
    let mut disk = Disk::default();
    let mut world = World::of(Bench::of(disk.client()));
    world.limits.max_message_bytes = Some(100);
    world.bench.send_mail();
    disk.settle(&mut world);
    for (limit, is_sent) in [(200, true), (100, false)] {
        let mut disk = disk.clone();
        let mut world = World::of(Bench::of(disk.client()));
        world.limits.max_message_bytes = Some(limit);
        world.bench.submit(mail(&"x".repeat(150)));
        assert_eq!(disk.first_flight(&mut world).len(), 1);
        disk.settle(&mut world);
        let outcomes = world.bench.outcomes();
        assert_eq!(outcomes[0].1.is_ok(), is_sent, "{outcomes:?}");
    }
}

#[test]
fn a_last_grant_that_is_damaged_or_newer_says_so() {
    let disk = acquainted();
    let [((table, key), value)] = disk.0.iter().collect::<Vec<_>>()[..] else {
        panic!("{:?}", disk.0.keys());
    };
    let restore = |key: &Bytes, value: Bytes| {
        let record = Record {
            table: table.to_string(),
            key: key.clone(),
            value,
            age: Duration::ZERO,
        };
        Client::restore(config(), [4; 32], Time::ZERO, vec![record])
    };
    assert!(restore(key, value.clone()).is_ok());
    for length in 0..value.len() {
        let error = restore(key, value.slice(..length)).unwrap_err();
        assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
    }
    let mut newer = value.to_vec();
    newer[0] = 2;
    let error = restore(key, newer.into()).unwrap_err();
    assert!(matches!(error, RestoreError::Newer { .. }), "{error}");
    let error = restore(&Bytes::from_static(b"x"), value.clone()).unwrap_err();
    assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
}
