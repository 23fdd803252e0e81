//! Pacing and priorities together: what waits goes in the order of the outbox, at the times of the pacer.

use super::{Pacer, Rate};
use crate::{
    Time,
    outbox::{Entry, Outbox, OutboxLimits, Priority},
};
use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;
use proptest::prelude::*;

/// What goes when. Items come after so long each, in this order.
fn departures(limit: Rate, items: &[(u64, Priority)]) -> Vec<(Time, u64)> {
    let mut outbox = Outbox::new(OutboxLimits::new(1_000, 1_000));
    let mut pacer = Pacer::new(Time::ZERO, Some(limit));
    let mut coming = Vec::new();
    let mut at = Time::ZERO;
    for (id, (after, priority)) in (0..).zip(items) {
        at = at.after(Duration::from_millis(*after));
        coming.push((at, id, *priority));
    }
    let mut coming = coming.into_iter().peekable();
    let (mut now, mut gone) = (Time::ZERO, Vec::new());
    loop {
        while let Some((_, id, priority)) = coming.next_if(|(at, ..)| *at <= now) {
            let entry = Entry {
                id,
                priority,
                bytes: 1,
                expires: None,
                item: (),
            };
            outbox.count(&entry);
            outbox.enter(entry);
        }
        while pacer.is_ready(now)
            && let Some(entry) = outbox.take()
        {
            pacer.sent(now);
            gone.push((now, entry.id));
            outbox.settle(entry);
        }
        let ready = pacer.deadline().filter(|_| outbox.is_ready());
        let comes = coming.peek().map(|(at, ..)| *at);
        let next = [ready.map(|ready| ready.at), comes];
        match next.into_iter().flatten().min() {
            Some(next) => now = next,
            None => return gone,
        }
    }
}

fn items() -> impl Strategy<Value = Vec<(u64, Priority)>> {
    let priority = prop::sample::select(
        &[
            Priority::Critical,
            Priority::High,
            Priority::Normal,
            Priority::Low,
        ][..],
    );
    prop::collection::vec((0u64..300, priority), 0..60)
}

proptest! {
    /// Strictly by priority, and within one in the order in which they came.
    #[test]
    fn whatever_goes_is_the_first_of_the_most_urgent_that_wait(items in items(), burst in 1u64..4) {
        let gone = departures(Rate::per_second(7).with_burst(burst), &items);
        let mut came = Time::ZERO;
        let mut waiting = BTreeSet::new();
        for (id, (after, priority)) in (0u64..).zip(&items) {
            came = came.after(Duration::from_millis(*after));
            waiting.insert((*priority, id, came));
        }
        for (now, id) in gone {
            let first = waiting.iter().find(|(.., came)| *came <= now).copied().unwrap();
            prop_assert_eq!(first.1, id);
            waiting.remove(&first);
        }
        prop_assert!(waiting.is_empty(), "all go in the end");
    }

    /// Pacing makes nobody wait for being of little urgency: the times are the same whatever the priorities are, so that an item
    /// waits for those before it and for nothing else.
    #[test]
    fn the_times_depend_on_how_many_wait_and_not_on_which(items in items(), burst in 1u64..4) {
        let limit = Rate::per_second(7).with_burst(burst);
        let alike: Vec<_> = items.iter().map(|(after, _)| (*after, Priority::Low)).collect();
        let times = |items| departures(limit, items).into_iter().map(|(at, _)| at).collect::<Vec<_>>();
        prop_assert_eq!(times(&items), times(&alike));
    }
}
