//! Processes that can be killed at any time.

use super::chronicle::Chronicle;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A running process, whose lines are listened to. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    may_end: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Process {
    pub(super) fn start(
        mut command: Command,
        name: &'static str,
        chronicle: &Arc<Chronicle>,
        mut hear: impl FnMut(&str) + Send + 'static,
    ) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let may_end = Arc::new(AtomicBool::new(false));
        let (expected, chronicle) = (Arc::clone(&may_end), Arc::clone(chronicle));
        let listener = thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n') {
                let Ok(line) = line else { break };
                hear(&String::from_utf8_lossy(&line));
            }
            if !expected.load(Ordering::SeqCst) {
                chronicle.broken(format!("the {name} has ended by itself; see what it said"));
            }
        });
        Self {
            child,
            stdin,
            may_end,
            listener: Some(listener),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says something to it; one that has ended does not hear it.
    pub(super) fn tell(&mut self, words: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(words.as_bytes());
        }
    }

    /// Kills it, without a warning, and hears all it has said.
    pub(super) fn kill(&mut self) {
        self.may_end.store(true, Ordering::SeqCst);
        // It may have ended by itself, which its listener has told.
        let _ = self.child.kill();
        self.end();
    }

    /// From now on it may end.
    pub(super) fn let_end(&self) {
        self.may_end.store(true, Ordering::SeqCst);
    }

    /// Whether it has said its last word.
    pub(super) fn has_ended(&self) -> bool {
        self.listener.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end; whether it was a good one.
    pub(super) fn end(&mut self) -> bool {
        self.stdin = None;
        let status = self.child.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
