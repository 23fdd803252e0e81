//! The ledger against every order of events, a disk that fails and relays that restart.

use super::*;
use crate::smtp::{ForwardPath, reply};
use alloc::{string::ToString, vec};
use bytes::Bytes;

mod marks;
mod model;
mod orders;
mod shares;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn random() -> Random {
    Random::new([7; 32])
}

fn id(number: u128) -> DeliveryId {
    DeliveryId::from_bits(number)
}

fn queued(text: &str) -> Outcome {
    Outcome::Answered {
        reply: reply(250, "2.0.0", text),
        rejected: vec![
            (ForwardPath::Postmaster, reply(550, "5.1.1", "no such user")),
            (
                ForwardPath::Mailbox("bob@example.net".parse().unwrap()),
                reply(450, "", "busy\nlater"),
            ),
        ],
    }
}

/// What a storage has, and when it was put there.
#[derive(Clone, Default)]
struct Disk {
    records: BTreeMap<(&'static str, Bytes), (Bytes, Duration)>,
    /// How long there was a disk before the clock of the present process began.
    before: Duration,
}

impl Disk {
    fn apply(&mut self, now: Time, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put { table, key, value } => {
                    let at = self.time(now);
                    self.records.insert((table, key), (value, at));
                }
                Write::Delete { table, key } => {
                    self.records.remove(&(table, key));
                }
            }
        }
    }

    /// How many deliveries are there.
    fn entries(&self) -> usize {
        let keys = self.records.keys();
        keys.filter(|(table, key)| *table == TABLE && **key != *outcome::REGISTER)
            .count()
    }

    fn records(&self, now: Time) -> Vec<Record> {
        let record =
            |((table, key), (value, at)): (&(&'static str, Bytes), &(Bytes, Duration))| Record {
                table: table.to_string(),
                key: key.clone(),
                value: value.clone(),
                age: self.time(now).saturating_sub(*at),
            };
        self.records.iter().map(record).collect()
    }

    /// The time of a disk, which goes on while the clocks of processes begin anew.
    fn time(&self, now: Time) -> Duration {
        self.before + now.since(Time::ZERO)
    }
}

fn store(ledger: &mut Ledger) -> Option<(BatchId, Vec<Write>)> {
    match ledger.poll_action()? {
        Action::Store { batch, writes } => Some((batch, writes)),
        other => panic!("a ledger does not {other:?}"),
    }
}

fn events(ledger: &mut Ledger) -> Vec<LedgerEvent> {
    core::iter::from_fn(|| ledger.poll_event()).collect()
}

fn full() -> StorageError {
    StorageError::Full {
        detail: "no space left".into(),
    }
}

/// A stored ledger and its disk, on which every batch succeeds at once.
struct Bench {
    ledger: Ledger,
    disk: Disk,
    now: Time,
}

impl Bench {
    fn new(limits: LedgerLimits) -> Self {
        Self {
            ledger: Ledger::restore(limits, &mut random(), Time::ZERO, vec![]).unwrap(),
            disk: Disk::default(),
            now: Time::ZERO,
        }
    }

    fn run(&mut self) -> Vec<LedgerEvent> {
        while let Some((batch, writes)) = store(&mut self.ledger) {
            self.disk.apply(self.now, writes);
            self.ledger.handle_stored(self.now, batch, Ok(()));
        }
        events(&mut self.ledger)
    }

    fn deliver(&mut self, number: u128) {
        self.ledger.begin(self.now, "alice", id(number)).unwrap();
        self.run();
        self.ledger
            .settle(self.now, "alice", id(number), queued("ok"));
        self.run();
    }

    fn restart(&mut self, later: Duration) {
        let now = self.now.after(later);
        let records = self.disk.records(now);
        self.disk.before = self.disk.time(now);
        self.now = Time::ZERO;
        self.ledger =
            Ledger::restore(self.ledger.limits, &mut random(), self.now, records).unwrap();
    }

    fn knows(&self, number: u128) -> bool {
        self.ledger.look_up("alice", id(number)).is_some()
    }
}

#[test]
fn outcomes_survive_a_restart_as_they_were_and_intents_are_in_doubt() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.deliver(1);
    bench.ledger.begin(bench.now, "alice", id(2)).unwrap();
    bench.ledger.begin(bench.now, "bob", id(1)).unwrap();
    bench.run();
    bench
        .ledger
        .settle(bench.now, "bob", id(1), Outcome::InDoubt);
    bench.run();
    bench.restart(DAY);
    let known = |account, number| bench.ledger.look_up(account, id(number));
    assert_eq!(known("alice", 1), Some(Known::Settled(&queued("ok"))));
    assert_eq!(known("alice", 2), Some(Known::Settled(&Outcome::InDoubt)));
    assert_eq!(known("bob", 1), Some(Known::Settled(&Outcome::InDoubt)));
    assert_eq!(known("bob", 2), None);
    assert_eq!(
        bench.ledger.begin(bench.now, "alice", id(2)),
        Err(NotBegun::Known)
    );
}

#[test]
fn outcomes_are_forgotten_when_they_are_too_old_across_restarts_too() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.deliver(1);
    bench.now = bench.now.after(DAY);
    bench.deliver(2);
    bench.restart(3 * DAY);
    let deadline = bench.ledger.deadline().unwrap();
    assert_eq!(
        (deadline.timer, deadline.at),
        ("ledger", Time::ZERO.after(DAY))
    );
    bench.now = deadline.at;
    bench.ledger.handle_timeout(bench.now);
    assert_eq!(bench.run(), []);
    assert!(!bench.knows(1) && bench.knows(2));
    assert_eq!(bench.disk.entries(), 1);
    bench.restart(30 * DAY);
    assert_eq!(bench.ledger.deadline().unwrap().at, Time::ZERO);
    bench.ledger.handle_timeout(Time::ZERO);
    bench.run();
    assert!(bench.ledger.is_empty() && bench.disk.entries() == 0);
    assert_eq!(bench.ledger.bytes, 0);
}

#[test]
fn the_oldest_outcomes_make_room_and_what_is_under_way_stays() {
    let limits = LedgerLimits {
        entries: 3,
        ..LedgerLimits::default()
    };
    let mut bench = Bench::new(limits);
    bench.ledger.begin(bench.now, "alice", id(9)).unwrap();
    bench.run();
    bench.deliver(1);
    bench.deliver(2);
    bench.ledger.begin(bench.now, "alice", id(3)).unwrap();
    let forgotten = LedgerEvent::Forgotten {
        account: "alice".into(),
        delivery: id(1),
    };
    assert!(bench.run().contains(&forgotten));
    assert!(!bench.knows(1) && bench.knows(2) && bench.knows(9));
    bench.ledger.begin(bench.now, "alice", id(4)).unwrap();
    assert_eq!(
        bench.ledger.begin(bench.now, "alice", id(5)),
        Err(NotBegun::Full)
    );
    bench.run();
    assert_eq!(
        bench.disk.entries(),
        3,
        "what is forgotten is gone from disk"
    );
    bench.ledger.withdraw("alice", id(4));
    assert_eq!(bench.ledger.begin(bench.now, "alice", id(5)), Ok(()));
}

#[test]
fn the_bound_in_bytes_holds_too() {
    let limits = LedgerLimits {
        bytes: 10_000,
        ..LedgerLimits::default()
    };
    let mut bench = Bench::new(limits);
    for number in 0..1000 {
        bench.deliver(number);
        assert!(bench.ledger.bytes <= 10_000);
    }
    assert!(bench.knows(999) && bench.ledger.len() > 10);
    bench.restart(DAY);
    assert!(bench.knows(999) && !bench.knows(0));
}

#[test]
fn a_lowered_limit_holds_after_the_restart() {
    let mut bench = Bench::new(LedgerLimits::default());
    for number in 0..5 {
        bench.now = bench.now.after(DAY / 2);
        bench.deliver(number);
    }
    bench.ledger.limits.entries = 2;
    bench.restart(DAY);
    bench.run();
    assert_eq!(
        (0..5)
            .filter(|number| bench.knows(*number))
            .collect::<Vec<_>>(),
        [3, 4]
    );
    assert_eq!(bench.disk.entries(), 2);
}

#[test]
fn while_the_disk_fails_nothing_begins_and_outcomes_wait_for_it() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.ledger.begin(bench.now, "alice", id(1)).unwrap();
    bench.run();
    bench
        .ledger
        .settle(bench.now, "alice", id(1), queued("held"));
    let (batch, _) = store(&mut bench.ledger).unwrap();
    bench.ledger.begin(bench.now, "alice", id(2)).unwrap();
    bench.ledger.handle_stored(bench.now, batch, Err(full()));
    assert_eq!(
        events(&mut bench.ledger),
        [LedgerEvent::StorageFailed { error: full() }]
    );
    assert_eq!(
        bench.ledger.look_up("alice", id(1)),
        Some(Known::UnderWay),
        "not told before it is safe"
    );
    assert_eq!(
        bench.ledger.begin(bench.now, "alice", id(3)),
        Err(NotBegun::Storage(full()))
    );
    assert!(store(&mut bench.ledger).is_none(), "it pauses");
    assert!(bench.ledger.is_at_rest());
    for _ in 0..3 {
        let deadline = bench.ledger.deadline().unwrap();
        assert_eq!(deadline.timer, "storage");
        bench.now = deadline.at;
        bench.ledger.handle_timeout(bench.now);
        let (batch, _) = store(&mut bench.ledger).unwrap();
        assert!(store(&mut bench.ledger).is_none(), "one try at a time");
        bench.ledger.handle_stored(bench.now, batch, Err(full()));
    }
    let not_begun = LedgerEvent::NotBegun {
        account: "alice".into(),
        delivery: id(2),
        error: full(),
    };
    assert_eq!(events(&mut bench.ledger), [not_begun]);
    bench.now = bench.ledger.deadline().unwrap().at;
    bench.ledger.handle_timeout(bench.now);
    let settled = LedgerEvent::Settled {
        account: "alice".into(),
        delivery: id(1),
    };
    assert_eq!(bench.run(), [LedgerEvent::StorageRecovered, settled]);
    assert_eq!(bench.disk.entries(), 1, "the refused intent is not there");
    assert_eq!(bench.ledger.begin(bench.now, "alice", id(3)), Ok(()));
}

#[test]
fn an_outcome_that_takes_longer_to_store_than_it_is_kept_is_told_all_the_same() {
    let limits = LedgerLimits {
        age: Duration::from_secs(1),
        ..LedgerLimits::default()
    };
    let mut bench = Bench::new(limits);
    bench.ledger.begin(bench.now, "alice", id(1)).unwrap();
    bench.run();
    bench
        .ledger
        .settle(bench.now, "alice", id(1), queued("late"));
    let (batch, writes) = store(&mut bench.ledger).unwrap();
    bench.now = bench.now.after(Duration::from_secs(60));
    bench.ledger.handle_timeout(bench.now);
    assert_eq!(bench.ledger.deadline(), None, "nothing to do but to wait");
    bench.disk.apply(bench.now, writes);
    bench.ledger.handle_stored(bench.now, batch, Ok(()));
    assert!(matches!(
        events(&mut bench.ledger)[..],
        [LedgerEvent::Settled { .. }]
    ));
    let outcome = queued("late");
    assert_eq!(
        bench.ledger.look_up("alice", id(1)),
        Some(Known::Settled(&outcome))
    );
    bench.ledger.handle_timeout(bench.now);
    assert!(!bench.knows(1), "and then its time is over");
}

#[test]
fn without_a_storage_everything_is_as_good_as_stored() {
    let mut ledger = Ledger::in_memory(LedgerLimits::default(), &mut random());
    let told = |ledger: &mut Ledger| events(ledger).len();
    ledger.begin(Time::ZERO, "alice", id(1)).unwrap();
    assert_eq!(told(&mut ledger), 1);
    assert_eq!(ledger.look_up("alice", id(1)), Some(Known::UnderWay));
    ledger.settle(Time::ZERO, "alice", id(1), queued("ok"));
    assert_eq!(told(&mut ledger), 1);
    assert_eq!(
        ledger.look_up("alice", id(1)),
        Some(Known::Settled(&queued("ok")))
    );
    ledger.begin(Time::ZERO, "alice", id(2)).unwrap();
    ledger.withdraw("alice", id(2));
    assert_eq!(ledger.look_up("alice", id(2)), None);
    assert!(ledger.poll_action().is_none() && ledger.is_at_rest());
}

#[test]
fn what_is_settled_is_not_settled_again_and_what_never_began_is_not_settled() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.deliver(1);
    bench
        .ledger
        .settle(bench.now, "alice", id(1), Outcome::InDoubt);
    bench
        .ledger
        .settle(bench.now, "alice", id(2), Outcome::InDoubt);
    bench.ledger.withdraw("alice", id(1));
    assert_eq!(bench.run(), []);
    assert_eq!(
        bench.ledger.look_up("alice", id(1)),
        Some(Known::Settled(&queued("ok")))
    );
    assert!(!bench.knows(2));
}

#[test]
fn of_long_replies_eight_lines_are_kept() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.ledger.begin(bench.now, "alice", id(1)).unwrap();
    let text = vec!["line"; 20].join("\n");
    let outcome = Outcome::Answered {
        reply: reply(250, "2.0.0", text.clone()),
        rejected: vec![(ForwardPath::Postmaster, reply(550, "", text))],
    };
    bench.ledger.settle(bench.now, "alice", id(1), outcome);
    bench.run();
    bench.restart(DAY);
    let Some(Known::Settled(Outcome::Answered { reply, rejected })) =
        bench.ledger.look_up("alice", id(1))
    else {
        panic!("it is settled");
    };
    assert_eq!((reply.lines().len(), rejected[0].1.lines().len()), (8, 8));
}

#[test]
fn records_of_others_of_newer_releases_or_damaged_are_refused() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.deliver(1);
    let good = bench.disk.records(bench.now).remove(0);
    let restore = |record: Record| {
        Ledger::restore(
            LedgerLimits::default(),
            &mut random(),
            Time::ZERO,
            vec![record],
        )
    };
    assert!(restore(good.clone()).is_ok());
    let foreign = Record {
        table: "outbox".into(),
        ..good.clone()
    };
    let table = "outbox".into();
    assert_eq!(
        restore(foreign).unwrap_err(),
        RestoreError::Foreign { table }
    );
    for length in 0..good.value.len() {
        let value = good.value.slice(..length);
        let cut = Record {
            value,
            ..good.clone()
        };
        let damaged = restore(cut).unwrap_err();
        assert!(
            matches!(damaged, RestoreError::Damaged { .. }),
            "{length}: {damaged}"
        );
    }
    let mut newer = good.value.to_vec();
    newer[0] = 2;
    let newer = Record {
        value: newer.into(),
        ..good.clone()
    };
    assert!(matches!(
        restore(newer).unwrap_err(),
        RestoreError::Newer {
            version: 2,
            known: 1,
            ..
        }
    ));
    let key = Bytes::from_static(b"short");
    assert!(restore(Record { key, ..good }).is_err());
}
