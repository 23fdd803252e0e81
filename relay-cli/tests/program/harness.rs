//! Runs the program, and stands in for a mail server behind it.

use crate::shared::{self, Process};
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

/// The program with these arguments, in an environment without settings for it.
pub(crate) fn relay(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = shared::relay();
    command.args(arguments).stdin(Stdio::null());
    command
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("not killed"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs it to its end.
pub(crate) fn run(mut command: Command) -> Ended {
    command.output().unwrap().into()
}

/// A running `relay serve`; it is killed with this value.
pub(crate) struct Serving {
    process: Process,
    pub(crate) url: String,
}

impl Serving {
    /// Starts it on a free port, with the key `key` where `arguments` give none, and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = relay(["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments);
        if !arguments.contains(&"--api-key-file") {
            command.env("RELAY_API_KEY", "other,key");
        }
        Self::spawn(command)
    }

    /// Starts what listens sooner or later, and waits for that.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let process = Process::start(&mut command, b"");
        let url = process.find(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let url = url.unwrap_or_else(|| panic!("does not listen: {}", process.so_far()));
        Self { process, url }
    }

    /// Waits for a log line with this text.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        let found = self.process.find(|line| line.contains(text).then_some(()));
        assert!(found.is_some(), "no {text:?}: {}", self.process.so_far());
    }

    /// The command and its output up to now.
    #[cfg(target_os = "linux")]
    pub(crate) fn so_far(&self) -> String {
        self.process.so_far()
    }

    #[cfg(unix)]
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        let id = self.process_id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end and returns the exit code.
    #[cfg(unix)]
    pub(crate) fn wait(self) -> i32 {
        let ended = self.process.wait();
        ended
            .code
            .unwrap_or_else(|| panic!("killed: {}", ended.output))
    }
}

/// `relay send` to a relay, with its key, from alice@example.org.
pub(crate) fn send(url: &str, arguments: &[&str]) -> Command {
    let mut command = relay(["send", "--url", url, "--from", "alice@example.org"]);
    command.args(arguments).env("RELAY_API_KEY", "key");
    command
}

/// Runs it with a message on its standard input.
pub(crate) fn run_with_input(mut command: Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that ends early reads no more, and what matters is what it says about that.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap().into()
}

pub(crate) const LETTER: &str = "Subject: hello\n\nHello, Bob.\n.\nA dot was there.\n";

/// A file with a message in it.
pub(crate) fn letter(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, LETTER).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The messages in a Maildir.
pub(crate) fn messages(maildir: &Path) -> Vec<String> {
    let entries = fs::read_dir(maildir.join("new")).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path: PathBuf| fs::read_to_string(path).unwrap())
        .collect()
}

/// A mail server that agrees to everything and, asked whether it has taken a message, does as `at_end` does.
///
/// Returns its URL.
pub(crate) fn upstream(at_end: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A relay that was killed leaves half a conversation behind.
            let _ = converse(stream.unwrap(), &at_end);
        }
    });
    url
}

fn converse(mut stream: TcpStream, at_end: impl Fn(&mut TcpStream)) -> std::io::Result<()> {
    stream.write_all(b"220 upstream.example\r\n")?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(line) = lines.next() {
        let reply = match line?.split([' ', ':']).next() {
            Some("DATA") => {
                stream.write_all(b"354 go on\r\n")?;
                // Without its end it is no message.
                while lines.next().ok_or(ErrorKind::UnexpectedEof)?? != "." {}
                at_end(&mut stream);
                continue;
            }
            Some("QUIT") => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        stream.write_all(reply.as_bytes())?;
    }
    Ok(())
}
