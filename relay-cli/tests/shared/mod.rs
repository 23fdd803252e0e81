//! What all tests of the program share: how it is run, and how a running program is listened to.

pub(crate) mod process;

pub(crate) use process::Process;

use std::{
    env,
    process::Command,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long anything may take. Nothing takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What other threads add to and a test waits for.
#[derive(Default)]
pub(crate) struct Shared<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Shared<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `find` finds something; `None` after [`PATIENCE`].
    pub(crate) fn wait<R>(&self, mut find: impl FnMut(&mut T) -> Option<R>) -> Option<R> {
        let until = Instant::now() + PATIENCE;
        let mut value = self.lock();
        loop {
            if let Some(found) = find(&mut value) {
                return Some(found);
            }
            let left = until.checked_duration_since(Instant::now())?;
            (value, _) = self
                .changed
                .wait_timeout(value, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The program, in an environment without settings for it.
pub(crate) fn relay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        if text.starts_with("relay_") || text.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}
