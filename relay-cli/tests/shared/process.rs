//! Child processes whose output is heard and which never outlive a test.

use super::Shared;
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    pub(crate) child: Child,
    heard: Arc<Shared<Heard>>,
}

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    ended: usize,
}

/// How a program ended, and what it said on both streams.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Process {
    /// One that is given this, and no more, on its standard input.
    pub(crate) fn start(command: &mut Command, input: &[u8]) -> Self {
        let mut process = Self::talk(command);
        // A program that ends early need not read it.
        let _ = process.child.stdin.take().unwrap().write_all(input);
        process
    }

    /// One that is told what to do while it runs: see [`say`](Self::say).
    pub(crate) fn talk(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let heard = Arc::new(Shared::default());
        listen(child.stdout.take().unwrap(), &heard);
        listen(child.stderr.take().unwrap(), &heard);
        Self { name, child, heard }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line and returns what `find` makes of it; `None` if the program ends without one.
    pub(crate) fn find<R>(&self, mut find: impl FnMut(&str) -> Option<R>) -> Option<R> {
        let mut seen = 0;
        let found = self.heard.wait(|heard| {
            let new = &heard.lines[seen..];
            seen = heard.lines.len();
            let found = new.iter().find_map(|line| find(line));
            if found.is_none() && heard.ended == 2 {
                return Some(None);
            }
            found.map(Some)
        });
        found.unwrap_or_else(|| panic!("not said: {}", self.so_far()))
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Ended {
        let silent = self.heard.wait(|heard| (heard.ended == 2).then_some(()));
        assert!(silent.is_some(), "does not end: {}", self.so_far());
        Ended {
            code: self.child.wait().unwrap().code(),
            output: self.so_far(),
        }
    }

    /// The command and its output up to now.
    pub(crate) fn so_far(&self) -> String {
        format!("{}\n{}", self.name, self.heard.lock().lines.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.so_far());
        }
    }
}

fn listen(stream: impl Read + Send + 'static, heard: &Arc<Shared<Heard>>) {
    let heard = Arc::clone(heard);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            heard.change(|heard| heard.lines.push(line));
        }
        heard.change(|heard| heard.ended += 1);
    });
}
