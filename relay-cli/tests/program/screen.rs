//! The program on a terminal, and what a person sees there.

use pty_process::{
    Size,
    blocking::{self, Pty},
};
use std::{
    io::{Read, Write},
    num::NonZeroU16,
    process::{Child, Command},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

const ROWS: NonZeroU16 = NonZeroU16::new(24).expect("it is not zero");
const COLUMNS: NonZeroU16 = NonZeroU16::new(60).expect("it is not zero");

/// What ctrl-c and ctrl-d send.
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";

/// What the line editor writes when it begins to read a line: the switch to bracketed paste.
const READS: &[u8] = b"\x1b[?2004h";

/// A program on a terminal of its own; it is killed with this value.
pub(crate) struct Screen {
    child: Child,
    pty: Arc<Pty>,
    output: mpsc::Receiver<Vec<u8>>,
    parser: vt100::Parser,
    raw: Vec<u8>,
    /// Where in `raw` the last line was ended by a key: what the screen shows before that prompt is no new prompt.
    answered: usize,
}

impl Screen {
    pub(crate) fn start(mut command: Command) -> Self {
        let (pty, pts) = blocking::open().unwrap();
        pty.resize(Size::new(ROWS.get(), COLUMNS.get())).unwrap();
        command.env("TERM", "xterm");
        let child = blocking::Command::from(command).spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let (tell, output) = mpsc::channel();
        thread::spawn({
            let pty = Arc::clone(&pty);
            move || {
                let mut piece = [0; 4096];
                // The terminal ends with the last program on it, by an error.
                while let Ok(length @ 1..) = (&*pty).read(&mut piece) {
                    if tell.send(piece[..length].to_vec()).is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            child,
            pty,
            output,
            parser: vt100::Parser::new(ROWS, COLUMNS, 0),
            raw: Vec::new(),
            answered: 0,
        }
    }

    pub(crate) fn write(&mut self, keys: &str) {
        if keys.ends_with(['\r', '\x04']) {
            self.answered = self.raw.len();
        }
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// What is on the screen: lines in one piece that were too long for it, and nothing empty at the end.
    pub(crate) fn contents(&self) -> String {
        self.parser.screen().contents()
    }

    /// The line the cursor is in, up to the cursor.
    fn typed(&self) -> String {
        let (row, column) = self.parser.screen().cursor_position();
        let mut rows = self.parser.screen().rows(0, column);
        rows.nth(row.into()).unwrap()
    }

    /// Waits until this stands on the screen.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |screen| screen.contents().contains(text));
    }

    /// Waits until the line editor reads keys and this stands before the cursor, with nothing else in its line. Behind a line
    /// that was ended it waits for the next: between two the terminal would swallow ctrl-d.
    #[track_caller]
    pub(crate) fn wait_for_prompt(&mut self, line: &str) {
        let line = line.trim_end();
        self.wait_until(line, |screen| {
            let since = &screen.raw[screen.answered..];
            screen.parser.screen().bracketed_paste()
                && since.windows(READS.len()).any(|piece| piece == READS)
                && screen.typed().trim_end() == line
        });
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, is_there: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_there(self) {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(output) => self.process(&output),
                Err(why) => panic!("{why} without {what:?}:\n{}", self.contents()),
            }
        }
    }

    fn process(&mut self, output: &[u8]) {
        self.parser.process(output);
        self.raw.extend_from_slice(output);
    }

    /// Everything that was ever written to the terminal, as it was.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// Waits for its end and returns the exit code.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(output) => self.process(&output),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(why) => panic!("{why} without its end:\n{}", self.contents()),
            }
        }
        assert!(
            !self.parser.screen().bracketed_paste(),
            "the terminal is left as it was not found"
        );
        self.child.wait().unwrap().code().expect("not killed")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
