//! The ledger against a small model: a map of what must be known.

use super::*;
use alloc::collections::BTreeSet;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Operation {
    Begin(u128),
    Settle(u128),
    Withdraw(u128),
    Answer(bool),
    Pass(u32),
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    let number = 0..6u128;
    prop_oneof![
        3 => number.clone().prop_map(Operation::Begin),
        3 => number.clone().prop_map(Operation::Settle),
        1 => number.prop_map(Operation::Withdraw),
        6 => prop::bool::weighted(0.8).prop_map(Operation::Answer),
        2 => (0..2 * 24 * 60u32).prop_map(Operation::Pass),
        1 => Just(Operation::Restart),
    ]
}

/// What must be so, whatever the ledger says.
#[derive(Default)]
struct Model {
    /// Begun and told so; and those among them that were not settled when the relay ended.
    under_way: BTreeSet<u128>,
    settled: BTreeMap<u128, (Outcome, Time)>,
    told: BTreeSet<u128>,
}

proptest! {
    #[test]
    fn it_agrees_with_a_plain_map(operations in prop::collection::vec(operation(), 0..80)) {
        let limits = LedgerLimits::default();
        let mut ledger = Ledger::restore(limits, &mut random(), Time::ZERO, vec![]).unwrap();
        let (mut model, mut disk) = (Model::default(), Disk::default());
        let mut batches = VecDeque::new();
        // The disk's clock goes on over restarts, the ledger's begins anew.
        let (mut now, mut started) = (Time::ZERO, Time::ZERO);
        for operation in operations {
            let own = Time::ZERO.after(now.since(started));
            match operation {
                Operation::Begin(number) => {
                    let known = ledger.look_up("a", id(number)).is_some();
                    let begun = ledger.begin(own, "a", id(number));
                    prop_assert_eq!(known, begun == Err(NotBegun::Known));
                }
                Operation::Settle(number) => if model.under_way.remove(&number) {
                    let outcome = queued(&alloc::format!("{number} at {now:?}"));
                    ledger.settle(own, "a", id(number), outcome.clone());
                    model.settled.insert(number, (outcome, now));
                    model.told.remove(&number);
                },
                Operation::Withdraw(number) => if model.under_way.remove(&number) {
                    ledger.withdraw("a", id(number));
                    prop_assert_eq!(ledger.look_up("a", id(number)), None);
                },
                Operation::Answer(good) => if let Some((batch, writes)) = batches.pop_front() {
                    let result = if good { disk.apply(now, writes); Ok(()) } else { Err(full()) };
                    ledger.handle_stored(own, batch, result);
                },
                Operation::Pass(minutes) => {
                    now = now.after(Duration::from_secs(u64::from(minutes) * 60));
                    let own = Time::ZERO.after(now.since(started));
                    ledger.handle_timeout(own);
                    prop_assert!(ledger.deadline().is_none_or(|deadline| deadline.at > own));
                    model.settled.retain(|number, (_, at)| {
                        // An outcome that is put again later, since the disk failed, is kept the longer for it.
                        now.since(*at) < limits.age || ledger.look_up("a", id(*number)).is_some()
                    });
                }
                Operation::Restart => {
                    ledger = Ledger::restore(limits, &mut random(), Time::ZERO, disk.records(now)).unwrap();
                    batches.clear();
                    started = now;
                    let told = core::mem::take(&mut model.told);
                    model.settled.retain(|number, _| told.contains(number));
                    model.told = told;
                    for number in core::mem::take(&mut model.under_way) {
                        // Withdrawn intents may still be on disk; those under way must be.
                        prop_assert_eq!(ledger.look_up("a", id(number)), Some(Known::Settled(&Outcome::InDoubt)));
                    }
                }
            }
            while let Some(batch) = store(&mut ledger) {
                batches.push_back(batch);
            }
            for event in events(&mut ledger) {
                match event {
                    LedgerEvent::Begun { delivery, .. } => {
                        prop_assert!(model.under_way.insert(delivery.to_bits()));
                        let restored = Ledger::restore(limits, &mut random(), Time::ZERO, disk.records(now)).unwrap();
                        prop_assert!(restored.look_up("a", delivery).is_some(), "begun before it was safe");
                    }
                    LedgerEvent::Settled { delivery, .. } => {
                        model.told.insert(delivery.to_bits());
                    }
                    _ => {}
                }
            }
            for (number, (outcome, _)) in &model.settled {
                match ledger.look_up("a", id(*number)) {
                    Some(Known::Settled(known)) => prop_assert_eq!(known, outcome),
                    Some(Known::UnderWay) => prop_assert!(!model.told.contains(number)),
                    None => prop_assert!(now.since(model.settled[number].1) >= limits.age),
                }
            }
            prop_assert_eq!(ledger.bytes == 0, ledger.is_empty());
        }
    }
}
