//! What an application has handed over and is not settled yet, in the order it is to be sent.

use crate::Time;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt;

/// How urgent an item is. Higher ones leave first; within one priority first in is first out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the four priorities are the protocol's"
)]
pub enum Priority {
    /// Before everything else.
    Critical,
    /// Before normal items.
    High,
    /// The default.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        })
    }
}

/// How much an outbox holds. Items that are out for sending count until they are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxLimits {
    /// The most items.
    pub items: usize,
    /// The most bytes in all items together.
    pub bytes: usize,
}

impl OutboxLimits {
    /// At most `items` items and `bytes` bytes.
    pub const fn new(items: usize, bytes: usize) -> Self {
        Self { items, bytes }
    }
}

/// One item on its way through an [`Outbox`].
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) id: u64,
    pub(crate) priority: Priority,
    pub(crate) bytes: usize,
    pub(crate) expires: Option<Time>,
    pub(crate) item: T,
}

/// A bounded queue by priority, with expiry and with items that wait before they may be tried again.
///
/// Every operation but [`position`](Self::position) takes time logarithmic in the number of items.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    limits: OutboxLimits,
    held: OutboxLimits,
    entries: BTreeMap<u64, (Place, Entry<T>)>,
    ready: BTreeMap<(Priority, i64), u64>,
    deferred: BTreeSet<(Time, u64)>,
    /// Where those that are out for sending stood.
    out: BTreeMap<u64, i64>,
    expiring: BTreeSet<(Time, u64)>,
    front: i64,
    back: i64,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Ready(i64),
    Deferred(Time),
}

impl<T> Outbox<T> {
    pub(crate) const fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            held: OutboxLimits::new(0, 0),
            entries: BTreeMap::new(),
            ready: BTreeMap::new(),
            deferred: BTreeSet::new(),
            out: BTreeMap::new(),
            expiring: BTreeSet::new(),
            front: 0,
            back: 0,
        }
    }

    /// Whether an item of `bytes` bytes finds room.
    pub(crate) const fn has_room(&self, bytes: usize) -> bool {
        self.held.items < self.limits.items
            && bytes <= self.limits.bytes.saturating_sub(self.held.bytes)
    }

    /// Counts a new item that cannot be sent before it is [entered](Self::enter). The caller has asked
    /// [`has_room`](Self::has_room), or has no choice.
    pub(crate) const fn count(&mut self, entry: &Entry<T>) {
        self.held.items += 1;
        self.held.bytes += entry.bytes;
    }

    /// Puts an item that was counted behind all of its priority.
    pub(crate) fn enter(&mut self, entry: Entry<T>) {
        self.out.remove(&entry.id);
        self.back += 1;
        self.place(Place::Ready(self.back), entry);
    }

    /// Takes the next item out for sending; it goes on counting until it is settled or put back.
    pub(crate) fn take(&mut self) -> Option<Entry<T>> {
        let ((_, order), id) = self.ready.first_key_value()?;
        let (order, id) = (*order, *id);
        self.out.insert(id, order);
        self.unplace(id)
    }

    /// Puts an item that was taken back: where it stood, which is before all that was not taken yet, or from `not_before` on before
    /// all of its priority.
    pub(crate) fn put_back(&mut self, entry: Entry<T>, not_before: Option<Time>) {
        let stood = self.out.remove(&entry.id);
        let place = match (not_before, stood) {
            (Some(time), _) => Place::Deferred(time),
            (None, Some(order)) => Place::Ready(order),
            (None, None) => self.next_front(),
        };
        self.place(place, entry);
    }

    /// Forgets an item that was taken: it has met its end.
    pub(crate) fn settle(&mut self, entry: Entry<T>) -> T {
        self.out.remove(&entry.id);
        self.held.items -= 1;
        self.held.bytes -= entry.bytes;
        entry.item
    }

    /// An item that is not out for sending.
    pub(crate) fn get(&self, id: u64) -> Option<&T> {
        self.entries.get(&id).map(|(_, entry)| &entry.item)
    }

    /// Takes out and settles an item that is not out for sending.
    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        self.unplace(id).map(|entry| self.settle(entry))
    }

    /// Takes out and settles one item whose time is over at `now`.
    pub(crate) fn expire(&mut self, now: Time) -> Option<(u64, T)> {
        let &(at, id) = self.expiring.first()?;
        if at > now {
            return None;
        }
        self.remove(id).map(|item| (id, item))
    }

    /// Makes the deferred items whose time has come ready.
    pub(crate) fn promote(&mut self, now: Time) {
        let due: Vec<u64> = self
            .deferred
            .range(..=(now, u64::MAX))
            .map(|(_, id)| *id)
            .collect();
        // Each goes to the front, so the one that was due first goes last.
        for id in due.into_iter().rev() {
            if let Some(entry) = self.unplace(id) {
                let place = self.next_front();
                self.place(place, entry);
            }
        }
    }

    /// When the next item expires.
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.expiring.first().map(|(at, _)| *at)
    }

    /// When the next deferred item becomes ready.
    pub(crate) fn next_ready(&self) -> Option<Time> {
        self.deferred.first().map(|(at, _)| *at)
    }

    /// Whether an item could be taken now.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many items wait; those out for sending are not among them.
    pub(crate) fn waiting(&self) -> usize {
        self.entries.len()
    }

    /// Whether everything is settled.
    pub(crate) const fn is_empty(&self) -> bool {
        self.held.items == 0
    }

    /// The bytes of everything that is not settled.
    pub(crate) const fn bytes(&self) -> usize {
        self.held.bytes
    }

    /// How many items leave before this one; deferred items come after all that are ready.
    pub(crate) fn position(&self, id: u64) -> Option<usize> {
        let (place, entry) = self.entries.get(&id)?;
        Some(match *place {
            Place::Ready(order) => self.ready.range(..(entry.priority, order)).count(),
            Place::Deferred(at) => self.ready.len() + self.deferred.range(..(at, id)).count(),
        })
    }

    /// Takes out and settles everything that is not out for sending, in the order it would have left.
    pub(crate) fn drain(&mut self) -> Vec<(u64, T)> {
        let ids: Vec<u64> = self
            .ready
            .values()
            .copied()
            .chain(self.deferred.iter().map(|(_, id)| *id))
            .collect();
        ids.into_iter()
            .filter_map(|id| self.remove(id).map(|item| (id, item)))
            .collect()
    }

    fn next_front(&mut self) -> Place {
        self.front -= 1;
        Place::Ready(self.front)
    }

    fn place(&mut self, place: Place, entry: Entry<T>) {
        match place {
            Place::Ready(order) => {
                self.ready.insert((entry.priority, order), entry.id);
            }
            Place::Deferred(at) => {
                self.deferred.insert((at, entry.id));
            }
        }
        if let Some(at) = entry.expires {
            self.expiring.insert((at, entry.id));
        }
        self.entries.insert(entry.id, (place, entry));
    }

    fn unplace(&mut self, id: u64) -> Option<Entry<T>> {
        let (place, entry) = self.entries.remove(&id)?;
        match place {
            Place::Ready(order) => {
                self.ready.remove(&(entry.priority, order));
            }
            Place::Deferred(at) => {
                self.deferred.remove(&(at, id));
            }
        }
        if let Some(at) = entry.expires {
            self.expiring.remove(&(at, id));
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn entry(id: u64, priority: Priority) -> Entry<u64> {
        Entry {
            id,
            priority,
            bytes: 10,
            expires: None,
            item: id,
        }
    }

    fn push(outbox: &mut Outbox<u64>, entry: Entry<u64>) {
        outbox.count(&entry);
        outbox.enter(entry);
    }

    fn outbox() -> Outbox<u64> {
        Outbox::new(OutboxLimits::new(1000, 1 << 20))
    }

    fn order(outbox: &mut Outbox<u64>) -> Vec<u64> {
        core::iter::from_fn(|| outbox.take().map(|entry| outbox.settle(entry))).collect()
    }

    #[test]
    fn higher_priorities_leave_first_and_each_is_first_in_first_out() {
        let mut outbox = outbox();
        let priorities = [
            Priority::Low,
            Priority::Normal,
            Priority::Critical,
            Priority::High,
            Priority::Normal,
            Priority::Critical,
        ];
        for (id, priority) in (0..).zip(priorities) {
            push(&mut outbox, entry(id, priority));
        }
        assert_eq!(outbox.position(5), Some(1));
        assert_eq!(outbox.position(0), Some(5));
        assert_eq!(order(&mut outbox), [2, 5, 3, 1, 4, 0]);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn what_comes_back_goes_to_the_front_of_its_own_priority() {
        let mut outbox = outbox();
        for id in 0..3 {
            push(&mut outbox, entry(id, Priority::Normal));
        }
        let first = outbox.take().unwrap();
        push(&mut outbox, entry(3, Priority::High));
        outbox.put_back(first, None);
        assert_eq!(order(&mut outbox), [3, 0, 1, 2]);
    }

    #[test]
    fn what_comes_back_one_by_one_stands_where_it_stood() {
        let mut outbox = outbox();
        for id in 0..6 {
            push(&mut outbox, entry(id, Priority::Normal));
        }
        let mut taken: Vec<_> = (0..5).filter_map(|_| outbox.take()).collect();
        taken.rotate_left(2);
        for entry in taken {
            outbox.put_back(entry, None);
        }
        let again = outbox.take().unwrap();
        outbox.put_back(again, None);
        assert_eq!(order(&mut outbox), [0, 1, 2, 3, 4, 5]);
        assert!(outbox.out.is_empty());
    }

    #[test]
    fn deferred_items_wait_for_their_time() {
        let mut outbox = outbox();
        push(&mut outbox, entry(0, Priority::Normal));
        push(&mut outbox, entry(1, Priority::Normal));
        let first = outbox.take().unwrap();
        outbox.put_back(first, Some(Time::from_nanos(50)));
        assert_eq!((outbox.waiting(), outbox.position(0)), (2, Some(1)));
        outbox.promote(Time::from_nanos(49));
        assert_eq!(outbox.next_ready(), Some(Time::from_nanos(50)));
        assert_eq!(outbox.position(1), Some(0));
        outbox.promote(Time::from_nanos(50));
        assert_eq!(order(&mut outbox), [0, 1]);
    }

    #[test]
    fn items_that_become_ready_together_keep_the_order_in_which_they_were_due() {
        let mut outbox = outbox();
        for id in 0..3 {
            push(&mut outbox, entry(id, Priority::Normal));
        }
        for at in [30, 10, 20] {
            let taken = outbox.take().unwrap();
            outbox.put_back(taken, Some(Time::from_nanos(at)));
        }
        push(&mut outbox, entry(3, Priority::Normal));
        outbox.promote(Time::from_nanos(30));
        assert_eq!(order(&mut outbox), [1, 2, 0, 3]);
    }

    #[test]
    fn items_expire_wherever_they_wait() {
        let mut outbox = outbox();
        for (id, at) in [(0, 30), (1, 10), (2, 20)] {
            let expires = Some(Time::from_nanos(at));
            push(
                &mut outbox,
                Entry {
                    expires,
                    ..entry(id, Priority::Normal)
                },
            );
        }
        let taken = outbox.take().unwrap();
        outbox.put_back(taken, Some(Time::from_nanos(1000)));
        assert_eq!(outbox.next_expiry(), Some(Time::from_nanos(10)));
        let now = Time::from_nanos(30);
        let expired: Vec<_> = core::iter::from_fn(|| outbox.expire(now)).collect();
        assert_eq!(expired, [(1, 1), (2, 2), (0, 0)]);
        assert_eq!((outbox.waiting(), outbox.bytes()), (0, 0));
    }

    #[test]
    fn both_bounds_hold_and_items_out_for_sending_count() {
        let mut outbox = Outbox::new(OutboxLimits::new(2, 25));
        assert!(!outbox.has_room(26));
        push(&mut outbox, entry(0, Priority::Normal));
        assert!(outbox.has_room(15) && !outbox.has_room(16));
        push(&mut outbox, entry(1, Priority::Normal));
        assert!(!outbox.has_room(0));
        let taken = outbox.take().unwrap();
        assert!(!outbox.has_room(0));
        outbox.settle(taken);
        assert!(outbox.has_room(15));
    }

    proptest! {
        /// Whatever is done, every item is in exactly one place and the sums agree.
        #[test]
        fn bookkeeping_agrees_with_a_plain_list(operations in prop::collection::vec((0u8..6, 0u64..20), 0..200)) {
            let mut outbox = outbox();
            let mut waiting: BTreeSet<u64> = BTreeSet::new();
            let mut out: Vec<Entry<u64>> = vec![];
            let mut next = 0;
            let mut now = 0;
            for (operation, number) in operations {
                match operation {
                    0 => {
                        let expires = (number % 3 == 0).then(|| Time::from_nanos(now + number));
                        let priority = [Priority::Low, Priority::High][(number % 2) as usize];
                        push(&mut outbox, Entry { expires, ..entry(next, priority) });
                        waiting.insert(next);
                        next += 1;
                    }
                    1 => if let Some(entry) = outbox.take() {
                        prop_assert!(waiting.remove(&entry.id));
                        out.push(entry);
                    },
                    2 => if let Some(entry) = out.pop() {
                        waiting.insert(entry.id);
                        let later = (number % 2 == 0).then(|| Time::from_nanos(now + number));
                        outbox.put_back(entry, later);
                    },
                    3 => if let Some(entry) = out.pop() { outbox.settle(entry); },
                    4 => prop_assert_eq!(outbox.remove(number).is_some(), waiting.remove(&number)),
                    _ => {
                        now += number;
                        outbox.promote(Time::from_nanos(now));
                        while let Some((id, _)) = outbox.expire(Time::from_nanos(now)) {
                            prop_assert!(waiting.remove(&id));
                        }
                    }
                }
                prop_assert_eq!(outbox.waiting(), waiting.len());
                prop_assert_eq!(outbox.bytes(), 10 * (waiting.len() + out.len()));
                let positions: BTreeSet<_> = waiting.iter().map(|id| outbox.position(*id).unwrap()).collect();
                prop_assert_eq!(positions, (0..waiting.len()).collect::<BTreeSet<_>>());
            }
            prop_assert_eq!(outbox.out.len(), out.len());
            let drained: BTreeSet<_> = outbox.drain().into_iter().map(|(id, _)| id).collect();
            prop_assert_eq!(drained, waiting);
        }
    }
}
