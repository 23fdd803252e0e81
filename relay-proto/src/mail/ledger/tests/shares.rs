//! Accounts in one ledger: whose outcomes make room for whose.

use super::*;
use alloc::{format, string::String, vec};
use proptest::prelude::*;

fn limited(entries: usize) -> LedgerLimits {
    LedgerLimits {
        entries,
        ..LedgerLimits::default()
    }
}

impl Bench {
    fn begin_for(&mut self, account: &str, number: u128) -> Result<(), NotBegun> {
        let begun = self.ledger.begin(self.now, account, id(number));
        self.run();
        begun
    }

    fn deliver_for(&mut self, account: &str, number: u128) {
        self.begin_for(account, number).unwrap();
        self.ledger
            .settle(self.now, account, id(number), queued("ok"));
        self.run();
    }

    /// How many of these the account is still told of.
    fn known(&self, account: &str, numbers: impl IntoIterator<Item = u128>) -> usize {
        let known = |number: &u128| self.ledger.look_up(account, id(*number)).is_some();
        numbers.into_iter().filter(known).count()
    }
}

#[test]
fn a_flood_of_one_account_forgets_nothing_of_another() {
    let mut bench = Bench::new(limited(100));
    let marks = ["alice", "mallory"].map(|account| bench.ledger.mark(account));
    for number in 0..20 {
        bench.deliver_for("alice", number);
    }
    for number in 0..1000 {
        bench.deliver_for("mallory", number);
    }
    assert_eq!(bench.known("alice", 0..20), 20);
    assert_eq!(bench.known("mallory", 0..1000), 80);
    assert_eq!(bench.known("mallory", 920..1000), 80);
    for _ in 0..2 {
        assert!(bench.ledger.covers("alice", &marks[0]));
        assert!(!bench.ledger.covers("mallory", &marks[1]));
        bench.restart(DAY);
    }
    assert_eq!(bench.known("alice", 0..20), 20);
}

#[test]
fn accounts_that_all_want_more_than_there_is_have_equally_much() {
    let mut bench = Bench::new(limited(90));
    for number in 0..500 {
        bench.deliver_for("alice", number);
    }
    assert_eq!(bench.known("alice", 0..500), 90, "alone it has everything");
    for number in 0..500 {
        bench.deliver_for("bob", number);
        bench.deliver_for("carol", number);
        bench.deliver_for("alice", 500 + number);
    }
    assert_eq!(bench.known("alice", 0..1000), 30);
    assert_eq!(bench.known("bob", 0..500), 30);
    assert_eq!(bench.known("carol", 0..500), 30);
}

#[test]
fn large_outcomes_of_one_account_forget_nothing_of_another_either() {
    let limits = LedgerLimits {
        bytes: 100_000,
        ..LedgerLimits::default()
    };
    let mut bench = Bench::new(limits);
    for number in 0..50 {
        bench.deliver_for("alice", number);
    }
    for number in 0..100 {
        bench.begin_for("mallory", number).unwrap();
        let outcome = queued(&"x".repeat(5000));
        bench
            .ledger
            .settle(bench.now, "mallory", id(number), outcome);
        bench.run();
        assert!(bench.ledger.bytes <= 100_000);
    }
    assert_eq!(bench.known("alice", 0..50), 50);
    assert!(bench.known("mallory", 0..100) < 100);
}

#[test]
fn who_has_nothing_to_forget_takes_nothing_from_those_who_have_less() {
    let mut bench = Bench::new(limited(10));
    bench.deliver_for("alice", 1);
    bench.deliver_for("alice", 2);
    for number in 0..8 {
        bench.begin_for("mallory", number).unwrap();
    }
    assert_eq!(bench.begin_for("mallory", 8), Err(NotBegun::Full));
    assert_eq!(bench.known("alice", 1..3), 2);
    bench.begin_for("alice", 3).unwrap();
    assert_eq!(bench.known("alice", 1..4), 2, "it makes room for itself");
    bench
        .ledger
        .settle(bench.now, "mallory", id(0), queued("ok"));
    bench.run();
    bench.begin_for("bob", 1).unwrap();
    assert_eq!(bench.known("mallory", 0..8), 7, "now there is something");
}

#[test]
fn a_mark_says_nothing_under_another_account() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.deliver_for("alice", 1);
    let mark = bench.ledger.mark("alice");
    for other in ["bob", "", "alicf", "alice:"] {
        assert!(!bench.ledger.covers(other, &mark));
    }
    assert!(bench.ledger.covers("alice", &mark));
    let nobody = bench.ledger.mark("");
    assert!(bench.ledger.covers("", &nobody) && !bench.ledger.covers("alice", &nobody));
}

#[test]
fn what_was_forgotten_of_one_is_kept_apart_for_as_long_as_outcomes_are() {
    let mut bench = Bench::new(limited(10));
    let old = bench.ledger.mark("alice");
    bench.deliver_for("alice", 1);
    for number in 0..50 {
        bench.deliver_for("mallory", number);
    }
    let new = bench.ledger.mark("alice");
    let apart = |bench: &Bench| {
        let mut keys = bench.disk.records.keys();
        keys.any(|(table, _)| *table == FORGOTTEN)
    };
    assert!(bench.ledger.covers("alice", &old) && apart(&bench));
    bench.restart(4 * DAY);
    assert!(bench.ledger.covers("alice", &old) && apart(&bench));
    for _ in 0..3 {
        while let Some(due) = bench.ledger.deadline() {
            bench.now = due.at;
            bench.ledger.handle_timeout(bench.now);
            bench.run();
        }
        assert!(!bench.ledger.covers("alice", &old) && bench.ledger.covers("alice", &new));
        assert!(!apart(&bench) && bench.ledger.is_empty());
        bench.restart(Duration::ZERO);
    }
}

#[test]
fn numbers_that_were_forgotten_of_somebody_are_not_given_again() {
    let mut bench = Bench::new(limited(1));
    for number in 0..5 {
        bench.deliver_for("mallory", number);
    }
    // The reservation is lost, the rest is not.
    bench.ledger.register.reserved = 1;
    bench.ledger.write_register();
    bench.run();
    bench.restart(Duration::ZERO);
    bench.run();
    let mark = bench.ledger.mark("mallory");
    bench.deliver_for("mallory", 5);
    assert!(bench.ledger.covers("mallory", &mark));
}

#[test]
fn accounts_without_end_are_not_kept_apart_without_end() {
    let mut bench = Bench::new(limited(1));
    let mark = bench.ledger.mark("0");
    for number in 0..10_100 {
        bench.deliver_for(&format!("{number}"), number);
    }
    let apart = bench.disk.records.keys();
    let apart = apart.filter(|(table, _)| *table == FORGOTTEN).count();
    assert!((9_000..=10_000).contains(&apart), "{apart}");
    assert!(!bench.ledger.covers("0", &mark));
    let last = bench.ledger.mark("x");
    assert!(bench.ledger.covers("x", &last));
}

#[test]
fn records_of_what_was_forgotten_that_are_damaged_are_refused() {
    let mut bench = Bench::new(limited(1));
    bench.deliver_for("alice", 1);
    bench.deliver_for("alice", 2);
    let records = bench.disk.records(bench.now);
    let good = records.iter().find(|record| record.table == FORGOTTEN);
    let good = good.unwrap().clone();
    let restore = |record| {
        let records = vec![record];
        Ledger::restore(limited(1), &mut random(), Time::ZERO, records)
    };
    assert!(restore(good.clone()).is_ok());
    for key in [&b""[..], b"alice", b":\xff"] {
        let key = Bytes::copy_from_slice(key);
        assert!(
            restore(Record {
                key,
                ..good.clone()
            })
            .is_err()
        );
    }
    for length in 0..good.value.len() {
        let value = good.value.slice(..length);
        assert!(
            restore(Record {
                value,
                ..good.clone()
            })
            .is_err()
        );
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Deliver(usize),
    Begin(usize),
    Mark(usize),
    Pass(u32),
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    // The first account floods.
    let account = prop_oneof![6 => Just(0), 1 => 1..4usize];
    prop_oneof![
        12 => account.clone().prop_map(Operation::Deliver),
        1 => account.clone().prop_map(Operation::Begin),
        1 => account.prop_map(Operation::Mark),
        2 => (0..36 * 60u32).prop_map(Operation::Pass),
        1 => Just(Operation::Restart),
    ]
}

const NAMES: [&str; 4] = ["mallory", "alice", "bob", "carol"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is covered is known, and within its equal share nobody loses anything before its time.
    #[test]
    fn no_account_loses_what_is_within_its_share_and_no_mark_hides_a_loss(
        operations in prop::collection::vec(operation(), 0..120),
    ) {
        let limits = limited(24);
        let mut bench = Bench::new(limits);
        let mut begun: [Vec<(u128, Duration)>; 4] = Default::default();
        // What had begun when the mark was given.
        let mut marks: Vec<(usize, String, usize)> = vec![];
        let (mut number, mut age) = (0, Duration::ZERO);
        for operation in operations {
            match operation {
                Operation::Deliver(who) | Operation::Begin(who) => {
                    number += 1;
                    if bench.begin_for(NAMES[who], number).is_ok() {
                        begun[who].push((number, age));
                        if matches!(operation, Operation::Deliver(_)) {
                            bench.ledger.settle(bench.now, NAMES[who], id(number), queued("ok"));
                            bench.run();
                        }
                    }
                }
                Operation::Mark(who) => {
                    marks.push((who, bench.ledger.mark(NAMES[who]), begun[who].len()));
                }
                Operation::Pass(minutes) => {
                    let time = Duration::from_secs(u64::from(minutes) * 60);
                    (bench.now, age) = (bench.now.after(time), age + time);
                    bench.ledger.handle_timeout(bench.now);
                    bench.run();
                }
                Operation::Restart => bench.restart(Duration::ZERO),
            }
            prop_assert!(bench.ledger.len() <= limits.entries);
            for (who, mark, before) in &marks {
                if bench.ledger.covers(NAMES[*who], mark) {
                    for (number, _) in &begun[*who][*before..] {
                        prop_assert!(bench.ledger.look_up(NAMES[*who], id(*number)).is_some());
                    }
                }
            }
            let share = limits.entries / NAMES.len();
            for (who, begun) in begun.iter().enumerate() {
                let young = begun.iter().filter(|(_, at)| age - *at < limits.age);
                let due = share.min(young.count());
                // An intent takes up a place however old it is.
                let known = bench.known(NAMES[who], begun.iter().map(|(number, _)| *number));
                prop_assert!(known >= due, "{} knows {known} of {due}", NAMES[who]);
            }
        }
    }
}
