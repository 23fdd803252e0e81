//! What has happened so far, for all who add to it and those who wait for something.

use super::judgement::State;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub(super) struct Chronicle {
    began: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

impl Chronicle {
    pub(super) fn new(seed: u64, messages: u64) -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::new(State::new(seed, messages)),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to it, and wakes who waits.
    pub(super) fn add<R>(&self, add: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        state.now = self.began.elapsed();
        let result = add(&mut state);
        drop(state);
        self.changed.notify_all();
        result
    }

    /// A promise is broken that no message can tell of.
    pub(super) fn broken(&self, what: String) {
        self.add(|state| state.broken(None, what));
    }

    /// Waits for `find` to find something, for so long at most.
    pub(super) fn wait<R>(
        &self,
        patience: Duration,
        mut find: impl FnMut(&mut State) -> Option<R>,
    ) -> Option<R> {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            state.now = self.began.elapsed();
            if let Some(found) = find(&mut state) {
                return Some(found);
            }
            let left = until.checked_duration_since(Instant::now())?;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
