//! What has arrived, and how far it is taken over.

use alloc::collections::VecDeque;

/// The peer's frames by number: taken over, then delivered to the owner, then not here yet.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, Hash))]
pub(super) struct Arrivals {
    /// All frames up to this number are taken over.
    taken: u64,
    /// The delivered ones behind it: whether each is taken over, the first of them never.
    delivered: VecDeque<bool>,
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
    pub(super) fn next(&self) -> u64 {
        self.taken + self.delivered.len() as u64 + 1
    }

    /// How many frames are delivered and wait to be taken over, or for one before them that is not.
    pub(super) fn waiting(&self) -> usize {
        self.delivered.len()
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
    pub(super) fn deliver(&mut self) {
        self.delivered.push_back(false);
    }

    /// The owner has taken over this frame; one that was not delivered, or is taken over already, changes nothing.
    pub(super) fn take_over(&mut self, seq: u64) {
        let index = seq.checked_sub(self.taken + 1).map(usize::try_from);
        if let Some(Ok(index)) = index
            && let Some(taken) = self.delivered.get_mut(index)
        {
            *taken = true;
        }
        while self.delivered.front() == Some(&true) {
            self.delivered.pop_front();
            self.taken += 1;
        }
    }

    /// Lets go of memory that holds nothing.
    pub(super) fn release(&mut self) {
        self.delivered.shrink_to_fit();
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
