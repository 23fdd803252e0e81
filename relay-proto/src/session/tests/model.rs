//! All that can happen to two sessions, not a sample of it: the real code, through every interleaving.

use crate::fuzzing::sessions::{Budget, Event, Seen, World};
use alloc::{collections::BTreeSet, vec::Vec};
use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

/// The bytes a state hashes.
#[derive(Default)]
struct Record(Vec<u8>);

impl Hasher for Record {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        hasher.finish()
    }
}

/// Two different 64-bit hashes of a state: among millions of states no two share both.
fn fingerprint(world: &World) -> (u64, u64) {
    let mut record = Record::default();
    world.hash(&mut record);
    let first = record.finish();
    record.write_u8(1);
    (first, record.finish())
}

/// What the owners do when something has happened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owners {
    /// Take over and hand out frames one by one, when they get round to it.
    Slow,
    /// Send all they have before anything else; take over and hand out everything at once, as they should.
    Prompt,
}

/// Visits every state that can be reached; from each of them, all must come to a good end once nothing more goes wrong.
fn explore(owners: Owners, early: bool, budget: Budget) -> (usize, BTreeSet<Seen>) {
    let mut start = World::new(early, budget);
    if owners == Owners::Prompt {
        while let Some(event) = start
            .events()
            .into_iter()
            .find(|event| matches!(event, Event::Send(_)))
        {
            start.happen(event);
        }
    }
    let mut visited = BTreeSet::from([fingerprint(&start)]);
    let mut seen = BTreeSet::new();
    let mut open = Vec::from([start]);
    while let Some(world) = open.pop() {
        world.clone().heal();
        for event in world.events() {
            let mut next = world.clone();
            next.happen(event);
            if owners == Owners::Prompt {
                next.settle();
            }
            seen.insert(core::mem::take(&mut next.seen));
            if visited.insert(fingerprint(&next)) {
                open.push(next);
            }
        }
    }
    (visited.len(), seen)
}

const FULL: Budget = Budget {
    client_messages: 2,
    relay_messages: 2,
    cuts: 2,
    zombies: 1,
    expiries: 0,
};

/// What was seen on any way through.
fn anywhere(seen: &BTreeSet<Seen>, what: fn(&Seen) -> bool) -> bool {
    seen.iter().any(what)
}

#[test]
fn four_messages_two_cuts_and_a_zombie() {
    let (states, seen) = explore(Owners::Prompt, false, FULL);
    assert!(states > 20_000, "{states}");
    assert!(anywhere(&seen, |seen| seen.fenced));
    assert!(anywhere(&seen, |seen| seen.refused_as_old));
    // Whoever waits for the other's word sends nothing it has, and is never turned away.
    assert!(!anywhere(&seen, |seen| seen.repeated || seen.told_gone));
}

#[test]
fn four_messages_two_cuts_and_a_zombie_where_the_client_does_not_wait() {
    let (states, seen) = explore(Owners::Prompt, true, FULL);
    assert!(states > 50_000, "{states}");
    assert!(anywhere(&seen, |seen| seen.fenced));
    assert!(anywhere(&seen, |seen| seen.repeated));
    assert!(!anywhere(&seen, |seen| seen.told_gone));
}

#[test]
fn owners_that_take_their_time() {
    let budget = Budget {
        client_messages: 1,
        relay_messages: 1,
        cuts: 1,
        ..FULL
    };
    for (early, least) in [(false, 10_000), (true, 30_000)] {
        let (states, seen) = explore(Owners::Slow, early, budget);
        assert!(states > least, "{states}");
        assert!(anywhere(&seen, |seen| seen.fenced));
        assert!(!anywhere(&seen, |seen| seen.told_gone));
    }
}

#[test]
fn sessions_that_expire_on_either_side() {
    let budget = Budget {
        client_messages: 1,
        relay_messages: 1,
        cuts: 1,
        expiries: 1,
        ..FULL
    };
    for early in [false, true] {
        let (_, seen) = explore(Owners::Prompt, early, budget);
        assert!(anywhere(&seen, |seen| seen.told_gone));
    }
}
