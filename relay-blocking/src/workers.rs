//! Threads for what must wait: each does a piece of work and the next, and ends when there is none.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

type Work = Box<dyn FnOnce() + Send>;

/// How much is done at once; the rest waits.
///
/// Enough for some name lookups that hang, few enough for a machine that opens many links at once.
const THREADS: usize = 16;

#[derive(Clone, Default)]
pub(crate) struct Workers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    threads: usize,
}

impl Workers {
    /// Has the work done; an error where the system gives not even one thread for it.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.state();
        state.waiting.push_back(Box::new(work));
        if state.threads == THREADS {
            return Ok(());
        }
        let workers = self.clone();
        let started = thread::Builder::new()
            .name("relay-worker".to_owned())
            .spawn(move || workers.work());
        match started {
            Ok(_) => state.threads += 1,
            // The others come to it.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                state.waiting.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    fn work(&self) {
        loop {
            let work = {
                let mut state = self.state();
                let Some(work) = state.waiting.pop_front() else {
                    state.threads -= 1;
                    return;
                };
                work
            };
            // Whoever waits for it learns by what the work drops; the others' work goes on.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
