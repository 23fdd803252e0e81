//! Marks: what a ledger can say of deliveries it does not know.

use super::*;
use alloc::{format, vec};

impl Bench {
    /// A ledger that is another's, with nothing on its disk.
    fn other() -> Self {
        let limits = LedgerLimits::default();
        let mut random = Random::new([8; 32]);
        Self {
            ledger: Ledger::restore(limits, &mut random, Time::ZERO, vec![]).unwrap(),
            ..Self::new(limits)
        }
    }
}

#[test]
fn a_mark_is_short_printable_and_covered_until_something_younger_is_forgotten() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.deliver(1);
    let mark = bench.ledger.mark("alice");
    assert!(mark.len() <= 64 && mark.bytes().all(|byte| byte.is_ascii_graphic()));
    bench.now = bench.now.after(DAY);
    bench.deliver(2);
    assert!(bench.ledger.covers("alice", &mark));
    bench.now = Time::ZERO.after(5 * DAY);
    bench.ledger.handle_timeout(bench.now);
    assert!(!bench.knows(1) && bench.knows(2));
    assert!(
        bench.ledger.covers("alice", &mark),
        "what is older does not matter"
    );
    bench.now = bench.now.after(DAY);
    bench.ledger.handle_timeout(bench.now);
    assert!(!bench.knows(2) && !bench.ledger.covers("alice", &mark));
    assert!(bench.ledger.covers("alice", &bench.ledger.mark("alice")));
}

#[test]
fn what_has_to_make_room_is_no_longer_covered() {
    let limits = LedgerLimits {
        entries: 2,
        ..LedgerLimits::default()
    };
    let mut bench = Bench::new(limits);
    let first = bench.ledger.mark("alice");
    bench.deliver(1);
    let second = bench.ledger.mark("alice");
    bench.deliver(2);
    assert!(bench.ledger.covers("alice", &first));
    bench.deliver(3);
    assert!(
        !bench.knows(1)
            && !bench.ledger.covers("alice", &first)
            && bench.ledger.covers("alice", &second)
    );
}

#[test]
fn an_older_delivery_that_settles_late_and_is_kept_longer_hides_nothing() {
    let limits = LedgerLimits {
        entries: 2,
        ..LedgerLimits::default()
    };
    let mut bench = Bench::new(limits);
    bench.ledger.begin(bench.now, "alice", id(1)).unwrap();
    bench.run();
    let mark = bench.ledger.mark("alice");
    bench.deliver(2);
    bench
        .ledger
        .settle(bench.now, "alice", id(1), queued("late"));
    bench.run();
    bench.deliver(3);
    assert_eq!(
        [1, 2, 3].map(|number| bench.knows(number)),
        [false, true, true],
        "those of one moment are forgotten as they began"
    );
    assert!(bench.ledger.covers("alice", &mark));
    bench.deliver(4);
    assert!(!bench.knows(2) && !bench.ledger.covers("alice", &mark));
}

#[test]
fn marks_hold_over_restarts_and_so_does_what_was_forgotten() {
    let mut bench = Bench::new(LedgerLimits::default());
    let before = bench.ledger.mark("alice");
    bench.deliver(1);
    let mark = bench.ledger.mark("alice");
    bench.now = bench.now.after(2 * DAY);
    bench.deliver(2);
    let last = bench.ledger.mark("alice");
    bench.restart(DAY);
    for mark in [&before, &mark, &last] {
        assert!(bench.ledger.covers("alice", mark));
    }
    assert_ne!(
        bench.ledger.mark("alice"),
        last,
        "numbers are not given twice"
    );
    bench.now = bench.now.after(2 * DAY);
    bench.ledger.handle_timeout(bench.now);
    bench.run();
    bench.restart(Duration::ZERO);
    assert!(!bench.ledger.covers("alice", &before) && bench.ledger.covers("alice", &mark));
    bench.restart(30 * DAY);
    bench.ledger.handle_timeout(bench.now);
    bench.run();
    bench.restart(Duration::ZERO);
    assert!(bench.ledger.is_empty());
    assert!(!bench.ledger.covers("alice", &mark) && bench.ledger.covers("alice", &last));
}

#[test]
fn an_intent_whose_relay_crashed_is_counted_where_it_began() {
    let limits = LedgerLimits {
        entries: 1,
        ..LedgerLimits::default()
    };
    let mut bench = Bench::new(limits);
    let mark = bench.ledger.mark("alice");
    bench.ledger.begin(bench.now, "alice", id(1)).unwrap();
    bench.run();
    bench.restart(Duration::ZERO);
    assert_eq!(
        bench.ledger.look_up("alice", id(1)),
        Some(Known::Settled(&Outcome::InDoubt))
    );
    assert!(bench.ledger.covers("alice", &mark));
    bench.deliver(2);
    assert!(!bench.knows(1) && !bench.ledger.covers("alice", &mark));
}

#[test]
fn a_ledger_in_memory_covers_nothing_of_the_one_before() {
    let mut random = random();
    let limits = LedgerLimits::default();
    let mark = Ledger::in_memory(limits, &mut random).mark("alice");
    let ledger = Ledger::in_memory(limits, &mut random);
    assert!(!ledger.covers("alice", &mark) && ledger.covers("alice", &ledger.mark("alice")));
}

#[test]
fn what_is_no_mark_of_this_ledger_is_not_covered() {
    let bench = Bench::new(LedgerLimits::default());
    let mark = bench.ledger.mark("alice");
    let (id, _) = mark.split_once(':').unwrap();
    for nonsense in [
        "",
        ":",
        "1",
        ":1",
        id,
        &format!("{id}:"),
        &format!("{id}:0"),
        &format!("{id}:-1"),
        &format!("{id}:2"),
        &format!("{id}:99999999999999999999999"),
        &format!("{id}:1:1"),
        &format!("{}:1", id.to_uppercase()),
        &Bench::other().ledger.mark("alice"),
    ] {
        assert!(!bench.ledger.covers("alice", nonsense), "{nonsense:?}");
    }
    assert!(bench.ledger.covers("alice", &mark));
}

/// The number in a mark.
fn number(mark: &str) -> u64 {
    mark.split_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn a_mark_given_away_while_the_disk_failed_holds_over_a_crash_and_is_not_counted_anew() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.deliver(1);
    let mut marks = vec![bench.ledger.mark("alice")];
    for run in 0..4 {
        bench.restart(Duration::ZERO);
        for delivery in 0..3 {
            bench
                .ledger
                .begin(bench.now, "alice", id(1000 + 100 * run + delivery))
                .unwrap();
            marks.push(bench.ledger.mark("alice"));
        }
        let (batch, _) = store(&mut bench.ledger).unwrap();
        bench.ledger.handle_stored(bench.now, batch, Err(full()));
        marks.push(bench.ledger.mark("alice"));
    }
    bench.restart(Duration::ZERO);
    bench.run();
    for mark in &marks {
        assert!(bench.ledger.covers("alice", mark), "{mark}");
        assert!(number(mark) <= bench.ledger.next, "{mark}");
    }
    bench.deliver(2);
    assert!(bench.ledger.entries[&("alice".into(), id(2))].number >= number(marks.last().unwrap()));
}

#[test]
fn no_mark_is_above_the_reservation_that_is_stored() {
    let mut bench = Bench::new(LedgerLimits::default());
    bench.run();
    let reserved = bench.ledger.register.reserved;
    bench.ledger.next = reserved - 1;
    for delivery in 0..5 {
        bench
            .ledger
            .begin(bench.now, "alice", id(delivery))
            .unwrap();
        assert_eq!(number(&bench.ledger.mark("alice")), reserved);
    }
    bench.run();
    assert_eq!(number(&bench.ledger.mark("alice")), reserved + 4);
    let mark = bench.ledger.mark("alice");
    bench.restart(Duration::ZERO);
    assert!(bench.ledger.covers("alice", &mark));
}
