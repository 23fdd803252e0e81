//! Mail servers of others, each running in a directory of its own.

use super::flavours::{Flavour, Program};
use crate::{
    shared::{PATIENCE, Process},
    support::{files, free_port, peer, python, skip},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A mail server that knows bob, dave, δοκιμή and, from the second time on, grey at example.net, and nobody else.
pub(crate) struct Server {
    flavour: &'static Flavour,
    pub(crate) port: u16,
    process: Option<Process>,
    /// Its root directory, where it has one.
    home: TempDir,
}

impl Server {
    /// One that is ready; `None` where it cannot be had.
    pub(crate) fn start(flavour: &'static Flavour) -> Option<Self> {
        let home = match flavour.program.root() {
            None => tempfile::tempdir().unwrap(),
            Some(name) => copy_of_root(name)?,
        };
        let mut server = Self {
            flavour,
            port: 0,
            process: None,
            home,
        };
        // Another process may be faster with a port that is free.
        for _ in 0..10 {
            server.port = free_port();
            flavour.configure(server.home.path(), server.port);
            if server.try_to_run()? {
                return Some(server);
            }
        }
        panic!("{flavour:?} does not start: {}", server.so_far());
    }

    /// Starts it where it was, with what it had.
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none());
        let is_running = self.try_to_run().unwrap();
        assert!(is_running, "does not start again: {}", self.so_far());
    }

    /// Runs it until it is ready, or has ended.
    fn try_to_run(&mut self) -> Option<bool> {
        let mut process = Process::start(&mut self.command()?, b"");
        let until = Instant::now() + PATIENCE;
        let is_ready = loop {
            match self.offers() {
                Ok(offers) => {
                    let known = ["PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8"];
                    let offers: Vec<_> = known
                        .into_iter()
                        .filter(|name| offers.iter().any(|offer| offer == name))
                        .collect();
                    assert_eq!(offers, self.flavour.offers, "{:?}", self.flavour);
                    break process.is_running();
                }
                Err(_) if !process.is_running() => break false,
                Err(error) => assert!(Instant::now() < until, "{error}: {}", process.so_far()),
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.process = Some(process);
        Some(is_ready)
    }

    fn command(&self) -> Option<Command> {
        let home = self.home.path();
        let mut command = match self.flavour.program {
            Program::Aiosmtpd { is_old } => {
                let mut command = python("mail_server.py")?;
                if is_old {
                    command.env("PYTHONPATH", peer("aiosmtpd-1.4.4")?);
                }
                command.args([
                    "--port",
                    &self.port.to_string(),
                    "--refuse",
                    "carol@example.net",
                ]);
                command
                    .args(self.flavour.settings.split_whitespace())
                    .arg(home);
                // Grey is refused once, and not once more after a restart.
                if files(home, "eml").is_empty() {
                    command.args(["--defer", "grey@example.net"]);
                }
                command
            }
            ref program => {
                // It ends with the test, also where that is killed; all but Exim, which becomes another user.
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "chroot"]);
                command.arg(home).args(program.command());
                command
            }
        };
        // Postfix ends its whole process group, which is not to be ours.
        command.process_group(0);
        Some(command)
    }

    /// What its reply to EHLO says, in a session of its own.
    fn offers(&self) -> io::Result<Vec<String>> {
        let mut session = Session::connect(self.port)?;
        let offers = session.say("EHLO client.example\r\n")?;
        session.say("QUIT\r\n")?;
        Ok(offers
            .lines()
            .filter_map(|line| line.get(4..))
            .map(str::to_owned)
            .collect())
    }

    fn so_far(&self) -> String {
        self.process
            .as_ref()
            .map(Process::so_far)
            .unwrap_or_default()
    }

    /// Ends it and all of its processes in the middle of whatever they do.
    pub(crate) fn kill(&mut self) {
        if !self.flavour.program.has_root() {
            self.process = None;
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let processes = processes_in(self.home.path());
            if processes.is_empty() {
                break;
            }
            for process in processes {
                // It may have ended by itself.
                let _ = kill(process, Signal::SIGKILL);
            }
            assert!(
                Instant::now() < until,
                "cannot be killed: {}",
                self.so_far()
            );
        }
        self.process = None;
    }

    /// Asks it and all of its processes to end, as service managers do, and waits for the first.
    pub(crate) fn stop(&mut self) {
        let process = self.process.as_mut().expect("it runs");
        let mut asked = processes_in(self.home.path());
        asked.push(Pid::from_raw(process.id().try_into().unwrap()));
        for id in asked {
            // It may have ended by itself.
            let _ = kill(id, Signal::SIGTERM);
        }
        let until = Instant::now() + PATIENCE;
        while process.is_running() {
            assert!(Instant::now() < until, "does not end: {}", process.so_far());
            thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    /// What has come for this name, without trace, when all that was accepted has been delivered. In no order.
    pub(crate) fn arrived(&self, name: &str) -> Vec<Vec<u8>> {
        let home = self.home.path();
        if !self.flavour.program.has_root() {
            return received_by_aiosmtpd(home, &format!("\nRCPT {name}@example.net"));
        }
        self.wait_for_delivery();
        let paths = files(&home.join("var/mail").join(name).join("new"), "");
        // A server that was killed may deliver again what it has taken once, with the same name and time in its trace.
        let once: BTreeSet<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let messages = once.iter().map(|file| without_trace(&with_crlf(file)));
        messages.collect()
    }

    /// Waits until so many have come for this name.
    pub(crate) fn wait_for(&self, name: &str, count: usize) {
        let until = Instant::now() + PATIENCE;
        while self.arrived(name).len() < count {
            assert!(Instant::now() < until, "does not arrive: {}", self.so_far());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until nothing is left in its queue.
    fn wait_for_delivery(&self) {
        let until = Instant::now() + PATIENCE;
        let is_queued = || {
            let program = &self.flavour.program;
            let mut queues = program.queues().iter();
            queues.any(|queue| {
                holds(&self.home.path().join(queue), &|file| {
                    program.is_accepted(file)
                })
            })
        };
        while is_queued() {
            assert!(
                Instant::now() < until,
                "does not deliver: {}",
                self.so_far()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self
                .flavour
                .program
                .log()
                .map(|log| fs::read(self.home.path().join(log)));
            if let Some(Ok(log)) = log {
                eprintln!("{}", String::from_utf8_lossy(&log));
            }
        }
        self.kill();
    }
}

/// A session with a mail server that waits for each reply.
pub(crate) struct Session(BufReader<TcpStream>);

impl Session {
    /// One that has been greeted.
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut session = Self(BufReader::new(stream));
        session.hear()?;
        Ok(session)
    }

    /// Says this; the whole reply.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<String> {
        self.0.get_mut().write_all(text.as_bytes())?;
        self.hear()
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            if self.0.read_line(&mut reply)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if reply.as_bytes().get(start + 3) != Some(&b'-') {
                return Ok(reply.replace("\r\n", "\n"));
            }
        }
    }
}

/// A root directory like this one, beside it: programs are shared, everything else is its own.
fn copy_of_root(name: &str) -> Option<TempDir> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        skip("Postfix, Exim and OpenSMTPD run as root only");
        return None;
    }
    let servers = peer("mail-servers/installed")?;
    let servers = servers.parent().unwrap();
    let home = tempfile::Builder::new()
        .prefix("running-")
        .tempdir_in(servers)
        .unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-al")
        .arg(servers.join(name).join("."))
        .arg(home.path());
    assert!(copy.status().unwrap().success(), "{copy:?}");
    // Where it is must not be hidden from the users it becomes.
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some(home)
}

/// The processes whose root is in this directory.
fn processes_in(root: &Path) -> Vec<Pid> {
    let root = root.canonicalize().unwrap();
    let entries = fs::read_dir("/proc").unwrap();
    let ids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    // Those that have just ended have no root any more.
    let is_in = |id: &i32| {
        fs::read_link(format!("/proc/{id}/root")).is_ok_and(|link| link.starts_with(&root))
    };
    ids.filter(is_in).map(Pid::from_raw).collect()
}

/// Whether there is such a file somewhere below this directory.
fn holds(directory: &Path, such: &impl Fn(&Path) -> bool) -> bool {
    let Ok(entries) = fs::read_dir(directory) else {
        return false;
    };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds(&entry.path(), such),
        kind => kind.is_ok() && such(&entry.path()),
    })
}

fn received_by_aiosmtpd(directory: &Path, recipient: &str) -> Vec<Vec<u8>> {
    let mut paths = files(directory, "eml");
    paths.retain(|path| {
        let envelope = fs::read_to_string(path.with_extension("envelope")).unwrap();
        format!("{envelope}\n").contains(&format!("{recipient}\n"))
    });
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Maildirs have LF for line ends.
fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut crlf = Vec::with_capacity(message.len() + message.len() / 64);
    for &byte in message {
        if byte == b'\n' {
            crlf.push(b'\r');
        }
        crlf.push(byte);
    }
    crlf
}

/// The message without the header fields that were put before it on its way.
fn without_trace(mut message: &[u8]) -> Vec<u8> {
    const TRACE: [&[u8]; 4] = [
        b"Return-Path:",
        b"X-Original-To:",
        b"Delivered-To:",
        b"Received:",
    ];
    while TRACE.iter().any(|name| message.starts_with(name)) {
        loop {
            let end = message
                .windows(2)
                .position(|bytes| bytes == b"\r\n")
                .unwrap();
            message = &message[end + 2..];
            if !message.starts_with(b"\t") && !message.starts_with(b" ") {
                break;
            }
        }
    }
    message.to_vec()
}
