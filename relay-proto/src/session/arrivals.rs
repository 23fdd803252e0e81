//! What has arrived, and how far it is taken over.

use alloc::collections::VecDeque;

/// The peer's frames by number: taken over, then delivered to the owner, then not here yet.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, Hash))]
pub(super) struct Arrivals {
    /// All frames up to this number are taken over.
    taken: u64,
    /// So many are delivered behind it, the first of them not taken over.
    waiting: usize,
    /// Whether each of those is taken over, as far as the last that is: nothing where the owner keeps to the order.
    early: VecDeque<bool>,
}

/// What a frame's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Seen,
    Next,
    /// Frames before it are missing; this is the number of the first.
    Gap(u64),
}

impl Arrivals {
    /// All frames up to this number are taken over.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// The number of the next frame to arrive.
    pub(super) const fn next(&self) -> u64 {
        self.taken + self.waiting as u64 + 1
    }

    /// How many frames are delivered and wait to be taken over, or for one before them that is not.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn order(&self, seq: u64) -> Order {
        let next = self.next();
        match seq.cmp(&next) {
            core::cmp::Ordering::Less => Order::Seen,
            core::cmp::Ordering::Equal => Order::Next,
            core::cmp::Ordering::Greater => Order::Gap(next),
        }
    }

    /// The next frame goes to the owner.
    pub(super) const fn deliver(&mut self) {
        self.waiting += 1;
    }

    /// The owner has taken over this frame; one that was not delivered, or is taken over already, changes nothing.
    pub(super) fn take_over(&mut self, seq: u64) {
        let index = seq.checked_sub(self.taken + 1).map(usize::try_from);
        let Some(Ok(index)) = index else {
            return;
        };
        if index >= self.waiting {
            return;
        }
        if index == 0 {
            self.early.pop_front();
            self.taken += 1;
            self.waiting -= 1;
        } else {
            if self.early.len() <= index {
                self.early.resize(index + 1, false);
            }
            self.early[index] = true;
        }
        while self.early.front() == Some(&true) {
            self.early.pop_front();
            self.taken += 1;
            self.waiting -= 1;
        }
    }

    /// Lets go of memory that holds nothing.
    pub(super) fn release(&mut self) {
        self.early.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_over_in_any_order_and_acknowledged_without_gaps() {
        let mut arrivals = Arrivals::default();
        for _ in 0..4 {
            arrivals.deliver();
        }
        for (seq, taken) in [(3, 0), (1, 1), (1, 1), (9, 1), (0, 1), (2, 3), (4, 4)] {
            arrivals.take_over(seq);
            assert_eq!(arrivals.taken(), taken, "after {seq}");
            assert_eq!(arrivals.next(), 5);
        }
        assert_eq!(arrivals.waiting(), 0);
    }

    #[test]
    fn only_the_next_number_is_new() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.order(2), Order::Gap(1));
        assert_eq!(arrivals.order(1), Order::Next);
        arrivals.deliver();
        assert_eq!(arrivals.order(1), Order::Seen);
        assert_eq!(arrivals.order(2), Order::Next);
        assert_eq!(arrivals.order(u64::MAX), Order::Gap(2));
    }
}
