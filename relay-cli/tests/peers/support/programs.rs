//! The program under test and those it talks to.

use super::{Ended, PATIENCE, Process, process::expect_port};
use crate::shared;
use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The key of every relay here.
pub(crate) const KEY: &str = "key-of-these-tests";

/// `relay` with the key.
pub(crate) fn relay() -> Command {
    let mut command = shared::relay();
    command.env("RELAY_API_KEY", KEY);
    command
}

/// A running `relay serve`.
pub(crate) struct RelayServer {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    /// What it took up before the first client came, most of which is the program itself.
    idle_memory: Option<u64>,
}

impl RelayServer {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), arguments)
    }

    /// One that listens here; port 0 is any.
    pub(crate) fn start_at(listen: SocketAddr, arguments: &[&str]) -> Self {
        let serve = ["serve", "--listen", &listen.to_string()];
        let process = Process::start(relay().args(serve).args(arguments), b"");
        let port = expect_port(&process, "listening on ws://127.0.0.1:", "/");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let url = format!("ws://{address}/");
        let idle_memory = peak_memory(process.id());
        Self {
            process,
            url,
            address,
            idle_memory,
        }
    }

    /// One with this mail server behind it.
    pub(crate) fn before(upstream: u16) -> Self {
        Self::start(&["--upstream", &format!("smtp://127.0.0.1:{upstream}")])
    }

    /// Kills it, and starts one in its place with this mail server behind it.
    pub(crate) fn replace(self, upstream: u16) -> Self {
        let listen = self.address;
        drop(self);
        Self::start_at(
            listen,
            &["--upstream", &format!("smtp://127.0.0.1:{upstream}")],
        )
    }

    /// How many bytes more it has ever had resident than before the first client came; `None` where the system does not tell.
    pub(crate) fn memory_grown(&self) -> Option<u64> {
        let peak = peak_memory(self.process.id());
        let (Some(idle), Some(peak)) = (self.idle_memory, peak) else {
            eprintln!("SKIPPED: the part about memory, which only Linux tells");
            return None;
        };
        Some(peak - idle)
    }
}

/// The most memory a process has ever had resident, in bytes.
fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}

/// A running `relay bridge`.
pub(crate) struct Bridge {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Bridge {
    /// One that sends through this relay.
    pub(crate) fn before(relay_url: &str) -> Self {
        Self::with(relay_url, "smtp", &[])
    }

    /// One with these arguments, whose address has this scheme.
    pub(crate) fn with(relay_url: &str, scheme: &str, arguments: &[&str]) -> Self {
        let fixed = ["bridge", "--listen", "127.0.0.1:0", "--url", relay_url];
        let process = Process::start(relay().args(fixed).args(arguments), b"");
        let port = expect_port(&process, &format!("listening on {scheme}://127.0.0.1:"), "");
        Self { process, port }
    }
}

/// A program in this directory that is called as sendmail is, and sends through this relay.
pub(crate) fn sendmail(directory: &Path, relay_url: &str) -> PathBuf {
    let settings = directory.join("sendmail.toml");
    let text = format!("url = '{relay_url}'\napi-key = '{KEY}'\ndomain = 'example.org'\n");
    fs::write(&settings, text).unwrap();
    let path = directory.join("sendmail");
    let program = env!("CARGO_BIN_EXE_relay");
    let settings = settings.display();
    let script = format!("#!/bin/sh\nexec '{program}' sendmail --config '{settings}' \"$@\"\n");
    fs::write(&path, script).unwrap();
    #[cfg(unix)]
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// A running `relay serve --mailbox`.
pub(crate) struct Mailbox {
    pub(crate) relay: RelayServer,
    directory: TempDir,
}

impl Mailbox {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One whose relay has these settings as well.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let relay = RelayServer::start(&[&["--mailbox", path], arguments].concat());
        Self { relay, directory }
    }

    /// What has come for an address, oldest first, without the header lines the delivery puts before it.
    pub(crate) fn messages(&self, local_part: &str, domain: &str) -> Vec<Vec<u8>> {
        let new = self
            .directory
            .path()
            .join(domain)
            .join(local_part)
            .join("new");
        let mut files = files(&new, "relay");
        files.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
        let messages = files.iter().map(|path| fs::read(path).unwrap());
        messages.map(|message| without_trace(&message)).collect()
    }

    /// Fails the test unless a good client is served now.
    #[track_caller]
    pub(crate) fn serves_the_next(&self) {
        let before = self.messages("next", "example.net").len();
        let content = b"Subject: next\r\n\r\nStill there?\r\n";
        send(&self.relay.url, &["--to", "next@example.net"], content).expect(0, &["accepted"]);
        let messages = self.messages("next", "example.net");
        assert_eq!(messages.len(), before + 1);
        assert_eq!(messages[before], content);
    }
}

/// Takes off `Return-Path:` and `Received:` with its continuation lines.
fn without_trace(message: &[u8]) -> Vec<u8> {
    let text = message.strip_prefix(b"Return-Path: <alice@example.org>\r\nReceived: by ");
    let mut rest = text.expect("a trace");
    loop {
        let end = rest.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        rest = &rest[end + 2..];
        if !rest.starts_with(b"\t") {
            return rest.to_vec();
        }
    }
}

/// Runs `relay send` from Alice, which connects only once, with one message on standard input.
pub(crate) fn send(url: &str, arguments: &[&str], message: &[u8]) -> Ended {
    sending(url, &[&["--attempts", "1"], arguments].concat(), message).wait()
}

/// A running `relay send` from Alice with one message on standard input.
pub(crate) fn sending(url: &str, arguments: &[&str], message: &[u8]) -> Process {
    let fixed = ["send", "--url", url, "--from", "alice@example.org"];
    Process::start(relay().args(fixed).args(arguments), message)
}

/// A test cannot be: says so, or fails where all must be.
pub(crate) fn skip(why: &str) {
    assert!(env::var_os("RELAY_TEST_REQUIRE_PEERS").is_none(), "{why}");
    eprintln!("SKIPPED: {why}");
}

pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = workspace.join("target/peers").join(name);
    if !path.exists() {
        skip(&format!("{} is missing; run .ci/setup", path.display()));
        return None;
    }
    Some(path)
}

pub(crate) fn python(script: &str) -> Option<Command> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let mut command = Command::new(peer("venv/bin/python")?);
    command.arg(scripts.join(script));
    Some(command)
}

/// The Python client that knows only the base dialect, from Alice to Bob; `None` where there is no Python.
pub(crate) fn base_client(url: &str, arguments: &[&str], messages: &[&[u8]]) -> Option<Ended> {
    let directory = tempfile::tempdir().unwrap();
    let mut command = python("base_client.py")?;
    command.args(["--url", url, "--sender", "alice@example.org"]);
    command.args(["--to", "bob@example.net"]).args(arguments);
    for (index, message) in messages.iter().enumerate() {
        let path = directory.path().join(index.to_string());
        fs::write(&path, message).unwrap();
        command.arg(path);
    }
    Some(Process::start(&mut command, b"").wait())
}

/// A running aiosmtpd that keeps what it gets.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    directory: TempDir,
    _process: Process,
}

impl MailServer {
    /// One that refuses these recipients; `None` where there is no Python.
    pub(crate) fn start(refused: &[&str]) -> Option<Self> {
        let refused = refused.iter().flat_map(|address| ["--refuse", address]);
        Self::with(&refused.collect::<Vec<_>>())
    }

    /// One with these arguments; `None` where there is no Python.
    pub(crate) fn with(arguments: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut command = python("mail_server.py")?;
        command.args(arguments);
        let process = Process::start(command.arg(directory.path()), b"");
        Some(Self {
            port: expect_port(&process, "listening on ", ""),
            directory,
            _process: process,
        })
    }

    /// Envelope and content of what has come, in order.
    pub(crate) fn messages(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = files(self.directory.path(), "eml");
        files.sort();
        let read = |path: &PathBuf| {
            let envelope = fs::read_to_string(path.with_extension("envelope")).unwrap();
            (envelope, fs::read(path).unwrap())
        };
        files.iter().map(read).collect()
    }
}

/// A running smtp-sink, which misbehaves as told.
pub(crate) struct Sink {
    pub(crate) port: u16,
    pub(crate) process: Process,
    directory: TempDir,
}

impl Sink {
    /// One with these options; `None` where there is none.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let program = peer("smtp-sink")?;
        let directory = tempfile::tempdir().unwrap();
        let dump = directory.path().join("message.");
        let until = Instant::now() + PATIENCE;
        loop {
            let port = free_port();
            let mut command = Command::new(&program);
            command.arg("-d").arg(&dump).args(options);
            command.args([&format!("127.0.0.1:{port}"), "100"]);
            let mut process = Process::start(&mut command, b"");
            // It does not say when it is ready. Another process may have been faster with the port.
            while process.is_running() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Self {
                        port,
                        process,
                        directory,
                    });
                }
                assert!(Instant::now() < until, "{}", process.so_far());
                thread::sleep(Duration::from_millis(5));
            }
            assert!(Instant::now() < until, "{}", process.so_far());
        }
    }

    /// The files of what has been received up to the final dot, also where that was not acknowledged.
    pub(crate) fn dumps(&self) -> Vec<PathBuf> {
        files(self.directory.path(), "")
    }

    /// What was received as content, in no order. Line ends are LF here, since that is how they are dumped.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let read = |path: &PathBuf| {
            let dump = fs::read(path).unwrap();
            let received = find(&dump, b"\nReceived: from ").expect("a dump has this line") + 1;
            // Its two continuation lines end what is not the message; an empty line follows that.
            let ends = dump[received..].iter().enumerate();
            let mut ends = ends.filter(|(_, byte)| **byte == b'\n');
            let (header, _) = ends.nth(2).unwrap();
            let message = &dump[received + header + 1..];
            message.strip_suffix(b"\n").unwrap().to_vec()
        };
        self.dumps().iter().map(read).collect()
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A port that nobody listens at now, that the system gives nobody by itself, and that is given out once.
pub(crate) fn free_port() -> u16 {
    static GIVEN_OUT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = GIVEN_OUT.fetch_add(1, Ordering::Relaxed);
        // Other tests that run now begin elsewhere.
        let number = number.wrapping_add(std::process::id().wrapping_mul(97));
        let port = 20_000 + u16::try_from(number % 12_000).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// The files in a directory, which may not exist; with this extension where that is not empty.
pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let wanted = |path: &PathBuf| {
        extension.is_empty() || path.extension().is_some_and(|found| found == extension)
    };
    paths.filter(wanted).collect()
}
