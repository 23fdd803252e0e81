//! Every order in which the relay, its upstream and its disk can act on one delivery.

use super::*;

/// A relay that keeps to the ledger's rules, one delivery that is asked for again and again, and a disk whose answers
/// take their time.
#[derive(Clone)]
struct World {
    /// What was done since the last restart, to make the ledger anew; it cannot be cloned.
    steps: Vec<Step>,
    restored: Vec<Record>,
    disk: Disk,
    /// How often the end of data was forwarded while the ledger did not know it.
    forwarded: usize,
    /// What the client was told at last.
    told: Option<Outcome>,
    in_doubt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Begin,
    Withdraw,
    Forward,
    Answer,
    Vanish,
    Stored,
    NotStored,
    /// Answered as a failure, and found on disk all the same.
    NotStoredButThere,
    Wait,
    /// The relay ends; what was under way is not stored.
    Crash,
    /// The relay ends; the oldest batch was stored, but never answered.
    CrashStored,
}

const STEPS: [Step; 11] = [
    Step::Begin,
    Step::Withdraw,
    Step::Forward,
    Step::Answer,
    Step::Vanish,
    Step::Stored,
    Step::NotStored,
    Step::NotStoredButThere,
    Step::Wait,
    Step::Crash,
    Step::CrashStored,
];

/// The relay's side of one delivery.
struct Relay {
    ledger: Ledger,
    now: Time,
    batches: VecDeque<(BatchId, Vec<Write>)>,
    may_forward: bool,
    is_forwarded: bool,
    is_settled: bool,
}

impl Relay {
    fn new(records: Vec<Record>, now: Time) -> Self {
        let ledger = Ledger::restore(LedgerLimits::default(), &mut random(), now, records).unwrap();
        Self {
            ledger,
            now,
            batches: VecDeque::new(),
            may_forward: false,
            is_forwarded: false,
            is_settled: false,
        }
    }

    /// Whether the step was possible.
    fn step(&mut self, step: Step) -> bool {
        let possible = match step {
            Step::Begin => self.ledger.begin(self.now, "alice", id(1)).is_ok(),
            Step::Withdraw if self.may_forward && !self.is_forwarded => {
                self.ledger.withdraw("alice", id(1));
                self.may_forward = false;
                true
            }
            Step::Forward if self.may_forward && !self.is_forwarded => {
                self.is_forwarded = true;
                true
            }
            Step::Answer | Step::Vanish if self.is_forwarded && !self.is_settled => {
                let outcome = match step {
                    Step::Answer => queued("ok"),
                    _ => Outcome::InDoubt,
                };
                self.ledger.settle(self.now, "alice", id(1), outcome);
                self.is_settled = true;
                true
            }
            Step::Stored | Step::NotStored | Step::NotStoredButThere => {
                match self.batches.pop_front() {
                    None => false,
                    Some((batch, _)) => {
                        let result = match step {
                            Step::Stored => Ok(()),
                            _ => Err(full()),
                        };
                        self.ledger.handle_stored(self.now, batch, result);
                        true
                    }
                }
            }
            Step::Wait => match self.ledger.deadline() {
                Some(deadline) if deadline.timer == "storage" => {
                    self.now = deadline.at;
                    self.ledger.handle_timeout(self.now);
                    true
                }
                _ => false,
            },
            _ => false,
        };
        while let Some(batch) = store(&mut self.ledger) {
            self.batches.push_back(batch);
        }
        for event in events(&mut self.ledger) {
            match event {
                LedgerEvent::Begun { .. } => self.may_forward = true,
                LedgerEvent::NotBegun { .. } => assert!(!self.may_forward),
                _ => {}
            }
        }
        possible
    }
}

impl World {
    fn relay(&self) -> Relay {
        let mut relay = Relay::new(self.restored.clone(), Time::ZERO);
        for step in &self.steps {
            relay.step(*step);
        }
        relay
    }

    /// The world after this step; none where it cannot be taken.
    fn after(&self, step: Step) -> Option<Self> {
        let mut next = self.clone();
        let mut relay = self.relay();
        let batch = relay.batches.front().cloned();
        match step {
            Step::Crash | Step::CrashStored => {
                match (step, batch) {
                    (Step::Crash, _) => {}
                    (_, Some((_, writes))) => next.disk.apply(relay.now, writes),
                    _ => return None,
                }
                next.in_doubt |= relay.is_forwarded;
                next.steps.clear();
                next.restored = next.disk.records(relay.now);
                relay = Relay::new(next.restored.clone(), Time::ZERO);
            }
            _ => {
                if !relay.step(step) {
                    return None;
                }
                if matches!(step, Step::Stored | Step::NotStoredButThere) {
                    let (_, writes) = batch.unwrap();
                    next.disk.apply(relay.now, writes);
                }
                next.forwarded += usize::from(step == Step::Forward);
                next.steps.push(step);
            }
        }
        next.check(&relay, step);
        Some(next)
    }

    fn check(&mut self, relay: &Relay, step: Step) {
        let known = relay.ledger.look_up("alice", id(1));
        let on_disk = || Relay::new(self.disk.records(relay.now), Time::ZERO);
        assert!(self.forwarded <= 1, "forwarded twice: {:?}", self.steps);
        if self.forwarded == 1 {
            let restored = on_disk();
            let after_a_crash = restored.ledger.look_up("alice", id(1));
            assert!(
                matches!(after_a_crash, Some(Known::Settled(_))),
                "a crash now would forget it: {after_a_crash:?} after {step:?}"
            );
        }
        match known {
            Some(Known::Settled(outcome)) => {
                if let Some(told) = &self.told {
                    assert_eq!(told, outcome, "the answer has changed");
                }
                let restored = on_disk();
                assert_eq!(
                    restored.ledger.look_up("alice", id(1)),
                    known,
                    "told before it was safe"
                );
                self.told = Some(outcome.clone());
            }
            Some(Known::UnderWay) => assert_eq!(self.told, None),
            None => assert!(self.forwarded == 0 && self.told.is_none()),
        }
    }
}

#[test]
fn in_no_order_of_events_is_a_delivery_sent_twice_or_its_outcome_lost() {
    let mut worlds = vec![World {
        steps: vec![],
        restored: vec![],
        disk: Disk::default(),
        forwarded: 0,
        told: None,
        in_doubt: false,
    }];
    let (mut seen, mut told, mut doubted) = (0, 0, 0);
    for _ in 0..10 {
        worlds = worlds
            .iter()
            .flat_map(|world| STEPS.iter().filter_map(|step| world.after(*step)))
            .collect();
        seen += worlds.len();
        told += worlds.iter().filter(|world| world.told.is_some()).count();
        let is_doubted =
            |world: &&World| world.in_doubt && matches!(world.told, Some(Outcome::InDoubt));
        doubted += worlds.iter().filter(is_doubted).count();
    }
    assert!(
        seen > 10_000 && told > 1_000 && doubted > 100,
        "{seen} {told} {doubted}"
    );
}
