//! Events for any number of readers, none of which can hold up the machine.

use relay_proto::Missed;
use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
};

/// Events kept for a reader that is behind; beyond that it is told how many it has missed.
const KEPT: usize = 1024;

/// The machine's end.
pub(crate) struct News<E>(Vec<Weak<Inbox<E>>>);

/// A reader's end: waits for the next event, and ends with the machine.
///
/// A reader that falls more than 1,024 events behind gets [`Missed`] with their number in their place.
pub struct Events<E>(Arc<Inbox<E>>);

struct Inbox<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    events: VecDeque<E>,
    missed: u64,
    ended: bool,
}

impl<E> Inbox<E> {
    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Clone> News<E> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The events from now on.
    pub(crate) fn subscribe(&mut self) -> Events<E> {
        let inbox = Arc::new(Inbox {
            state: Mutex::new(State {
                events: VecDeque::new(),
                missed: 0,
                ended: false,
            }),
            changed: Condvar::new(),
        });
        self.0.push(Arc::downgrade(&inbox));
        Events(inbox)
    }

    /// Tells all who listen, and forgets those who do not any more.
    pub(crate) fn send(&mut self, event: &E) {
        self.0.retain(|inbox| {
            let Some(inbox) = inbox.upgrade() else {
                return false;
            };
            let mut state = inbox.state();
            if state.events.len() == KEPT {
                state.events.pop_front();
                state.missed += 1;
            }
            state.events.push_back(event.clone());
            inbox.changed.notify_one();
            true
        });
    }
}

impl<E> Drop for News<E> {
    fn drop(&mut self) {
        for inbox in self.0.iter().filter_map(Weak::upgrade) {
            inbox.state().ended = true;
            inbox.changed.notify_one();
        }
    }
}

impl<E> Iterator for Events<E> {
    type Item = Result<E, Missed>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut state = self.0.state();
        loop {
            if state.missed > 0 {
                return Some(Err(Missed(mem::take(&mut state.missed))));
            }
            if let Some(event) = state.events.pop_front() {
                return Some(Ok(event));
            }
            if state.ended {
                return None;
            }
            state = self
                .0
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("waiting", &self.0.state().events.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_is_told_what_it_has_missed() {
        let mut news = News::new();
        let mut events = news.subscribe();
        for number in 0..KEPT + 7 {
            news.send(&number);
        }
        drop(news);
        assert_eq!(events.next(), Some(Err(Missed(7))));
        let rest: Vec<_> = events.map(Result::unwrap).collect();
        assert_eq!(rest, (7..KEPT + 7).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_has_gone_is_forgotten() {
        let mut news = News::new();
        drop(news.subscribe());
        let mut stays = news.subscribe();
        news.send(&1);
        assert_eq!(news.0.len(), 1);
        assert_eq!(stays.next(), Some(Ok(1)));
    }
}
