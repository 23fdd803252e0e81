//! News that waits: of each link in the order in which it came, and the links in turn, so that one with much to say does not keep the
//! others waiting.

use relay_proto::LinkId;
use std::collections::{BTreeMap, VecDeque};

/// Whose news it is; none: nobody's in particular.
pub(crate) type Whose = Option<LinkId>;

pub(crate) struct Inbox<T> {
    waiting: BTreeMap<Whose, VecDeque<T>>,
    /// Everybody who has news waiting, the next first.
    turns: VecDeque<Whose>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<T> Inbox<T> {
    /// Puts news behind what waits of the same link.
    pub(crate) fn push(&mut self, whose: Whose, news: T) {
        self.queue(whose).push_back(news);
    }

    /// Puts what was taken back before all that waits of the same link.
    pub(crate) fn put_back(&mut self, whose: Whose, news: T) {
        self.queue(whose).push_front(news);
    }

    /// Puts the rest of what was taken back, whose turn comes after the others', and takes what comes next.
    pub(crate) fn exchange(&mut self, whose: Whose, rest: T) -> Option<T> {
        if self.is_empty() {
            return Some(rest);
        }
        self.put_back(whose, rest);
        self.pop()
    }

    fn queue(&mut self, whose: Whose) -> &mut VecDeque<T> {
        self.waiting.entry(whose).or_insert_with(|| {
            self.turns.push_back(whose);
            VecDeque::new()
        })
    }

    /// The oldest news of whoever's turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let whose = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&whose)?;
        let news = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&whose);
        } else {
            self.turns.push_back(whose);
        }
        news
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Whose = Some(LinkId::accepted(0));
    const B: Whose = Some(LinkId::accepted(1));

    #[test]
    fn links_take_turns_and_each_keeps_its_order() {
        let mut inbox = Inbox::default();
        for (whose, news) in [(A, 1), (A, 2), (A, 3), (B, 11), (None, 21), (B, 12)] {
            inbox.push(whose, news);
        }
        let order: Vec<_> = std::iter::from_fn(|| inbox.pop()).collect();
        assert_eq!(order, [1, 11, 21, 2, 12, 3]);
        assert!(inbox.is_empty());
    }

    #[test]
    fn what_is_put_back_comes_after_the_others_and_before_the_rest_of_its_link() {
        let mut inbox = Inbox::default();
        for (whose, news) in [(A, 1), (A, 2), (B, 11), (B, 12)] {
            inbox.push(whose, news);
        }
        assert_eq!(inbox.pop(), Some(1));
        assert_eq!(inbox.exchange(A, 1), Some(11));
        let order: Vec<_> = std::iter::from_fn(|| inbox.pop()).collect();
        assert_eq!(order, [1, 12, 2]);
        assert_eq!(inbox.exchange(B, 13), Some(13), "nothing else waits");
    }
}
