//! What the tests ask of child processes.

use crate::shared::process::{Ended, Process};
use std::io::Write;

impl Ended {
    /// Fails the test unless the program ended with this code and said all of these.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.output);
        for part in said {
            assert!(self.output.contains(part), "no {part:?}: {}", self.output);
        }
        assert!(!self.output.contains("panicked"), "{}", self.output);
    }
}

impl Process {
    /// Waits for a line that ends with `end`.
    #[track_caller]
    pub(crate) fn wait_for(&self, end: &str) {
        let found = self.find(|line| line.ends_with(end).then_some(()));
        assert!(found.is_some(), "no {end:?}: {}", self.so_far());
    }

    /// Gives one that was started to be talked to a line.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is talked to");
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

/// Waits for a line with a port between `before` and `after`.
pub(crate) fn expect_port(process: &Process, before: &str, after: &str) -> u16 {
    let port = process.find(|line| {
        let text = line.strip_prefix(before)?.strip_suffix(after)?;
        text.parse().ok()
    });
    port.unwrap_or_else(|| panic!("has not started: {}", process.so_far()))
}
