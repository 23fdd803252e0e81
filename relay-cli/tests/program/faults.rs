//! Files that are of no use, disks that are full or may only be read, and no descriptors: what is said, and that it is over when it is over.
//!
//! The same while messages are under way, and processes frozen or asked to stop, is in the test `torture`.

use crate::{
    harness::{Serving, relay, run, run_with_input, send, upstream},
    shared::Shared,
};
use relay_proto::{
    mail::{
        client::{ClientConfig, Submission},
        wire::ApiKey,
    },
    smtp::{Address, Envelope},
    storage::{Storage, Write},
};
use relay_storage::StorageFile;
use relay_tokio::{Config, mail::Client};
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

/// `relay serve` with a ledger that is of no use; what it says.
fn complaint(ledger: &Path) -> String {
    let mut command = relay(["serve", "--listen", "127.0.0.1:0", "--api-key", "key"]);
    command.args(["--upstream", "smtp://127.0.0.1:9", "--ledger"]);
    command.arg(ledger);
    let ended = run(command);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let name = ledger.display().to_string();
    assert!(ended.stderr.contains(&name), "{}", ended.stderr);
    ended.stderr
}

/// A ledger that knows of some messages.
fn ledger_with_mail(directory: &Path) -> std::path::PathBuf {
    let ledger = directory.join("ledger.redb");
    let mail = directory.join("mail");
    let serving = Serving::start(&[
        "--mailbox",
        mail.to_str().unwrap(),
        "--ledger",
        ledger.to_str().unwrap(),
    ]);
    let ended = run_with_input(send(&serving.url, &["--to", "bob@example.net"]), "hello\n");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    serving.terminate();
    assert_eq!(serving.wait(), 0);
    ledger
}

#[test]
fn a_ledger_that_is_damaged_or_no_ledger_is_not_taken_for_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = ledger_with_mail(directory.path());
    let whole = fs::read(&ledger).unwrap();
    let mut garbled = whole.clone();
    garbled[9..320].fill(0x55);
    for (content, expected) in [
        (
            &whole[..0],
            "is damaged: it is empty; put back a copy, or keep it aside and name another file",
        ),
        (
            &whole[..whole.len() / 2],
            "; put back a copy, or keep it aside and name another file",
        ),
        (
            &whole[..100],
            "; put back a copy, or keep it aside and name another file",
        ),
        (
            &garbled,
            "; put back a copy, or keep it aside and name another file",
        ),
        (
            b"Dear diary",
            "is not a file of this program; name another one",
        ),
    ] {
        fs::write(&ledger, content).unwrap();
        let said = complaint(&ledger);
        assert!(said.contains(expected), "{said}");
        assert!(fs::read(&ledger).unwrap() == content, "it was written to");
    }
    fs::write(&ledger, &whole).unwrap();
    let serving = Serving::start(&[
        "--upstream",
        "smtp://127.0.0.1:9",
        "--ledger",
        ledger.to_str().unwrap(),
    ]);
    let used = complaint(&ledger);
    assert!(used.contains("is in use, by another process"), "{used}");
    drop(serving);
}

#[test]
fn an_outbox_is_no_ledger_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox.redb");
    let mut outbox = StorageFile::open(&path).unwrap();
    let (tell, told) = mpsc::channel();
    let put = Write::Put {
        table: "outbox",
        key: "k".into(),
        value: "v".into(),
    };
    outbox.store(
        vec![put],
        Box::new(move |stored| tell.send(stored).unwrap()),
    );
    told.recv().unwrap().unwrap();
    drop(outbox);
    let mut command = relay(["serve", "--listen", "127.0.0.1:0", "--api-key", "key"]);
    command.args(["--upstream", "smtp://127.0.0.1:9", "--ledger"]);
    command.arg(&path);
    let ended = run(command);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("\"outbox\""), "{}", ended.stderr);
    let records = StorageFile::open(&path).unwrap().load().unwrap();
    assert_eq!(records.len(), 1);
}

/// A disk of its own, which nobody else sees and which ends with the process that has it.
struct Disk<'a> {
    directory: &'a Path,
    process: u32,
}

impl Disk<'_> {
    const ROOM: &'static str = "size=12m";

    /// A command that runs `relay` with such a disk at `directory`; none where this is not allowed.
    fn behind(directory: &Path) -> Option<Command> {
        let mut trial = Command::new("unshare");
        trial.args(["--mount", "sh", "-c", r#"mount -t tmpfs none "$0""#]);
        let trial = trial.arg(directory).stderr(Stdio::null()).status();
        if !trial.is_ok_and(|status| status.success()) {
            eprintln!("NOT TESTED: a full disk, since nobody may mount one here");
            return None;
        }
        let mut command = Command::new("unshare");
        let script = format!(r#"mount -t tmpfs -o {} none "$0" && exec "$@""#, Self::ROOM);
        command.args(["--mount", "sh", "-c", &script]);
        command.arg(directory).stdin(Stdio::null());
        Some(command)
    }

    fn fill(&self) {
        let inside = format!(
            "/proc/{}/root{}/filler",
            self.process,
            self.directory.display()
        );
        let mut filler = fs::File::create(inside).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    fn empty(&self) {
        let inside = format!(
            "/proc/{}/root{}/filler",
            self.process,
            self.directory.display()
        );
        fs::remove_file(inside).unwrap();
    }

    /// Whether it took effect: a disk is busy while a file on it is open for writing.
    fn remount(&self, how: &str) -> bool {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.process.to_string(), "--mount"]);
        command.args([
            "mount",
            "-o",
            &format!("remount,{how},{}", Self::ROOM),
            "none",
        ]);
        command.arg(self.directory).stderr(Stdio::null());
        command.status().unwrap().success()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_gets_full_and_then_may_only_be_read_costs_no_message_and_needs_no_hand() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("disk");
    fs::create_dir(&place).unwrap();
    let Some(mut command) = Disk::behind(&place) else {
        return;
    };
    let taken = Arc::new(Shared::<usize>::default());
    let taking = Arc::clone(&taken);
    let upstream = upstream(move |stream| {
        taking.change(|taken| *taken += 1);
        // A relay that was killed does not hear it.
        let _ = stream.write_all(b"250 2.0.0 taken\r\n");
    });
    command
        .arg(env!("CARGO_BIN_EXE_relay"))
        .env("RELAY_API_KEY", "key");
    command.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream]);
    command.arg("--ledger").arg(place.join("ledger.redb"));
    let serving = Serving::spawn(command);
    let disk = Disk {
        directory: &place,
        process: serving.process_id(),
    };
    let client = client(&serving);
    client.send(hello()).await.unwrap();

    disk.fill();
    // One after the other, whether it is refused or not. One may have been taken by the mail server before that could be written down:
    // it waits for its answer until there is room.
    let done = Arc::new(AtomicBool::new(false));
    let trying = tokio::spawn({
        let (client, done) = (client.clone(), Arc::clone(&done));
        async move {
            let mut accepted = 0;
            while !done.load(Ordering::SeqCst) {
                accepted += usize::from(client.send(hello()).await.is_ok());
            }
            accepted
        }
    });
    let failed = "the ledger cannot be written, messages are refused for now: no room left";
    serving.wait_for_log(failed);
    serving.wait_for_log("make room there");

    while !disk.remount("ro") {
        thread::yield_now();
    }
    serving.wait_for_log("ledger.redb may only be read; make it writable, or name another file");
    let refused = client.send(hello()).await.unwrap_err().to_string();
    let expected = "the relay cannot write down what it does; try again later";
    assert!(refused.contains(expected), "{refused}");

    assert!(disk.remount("rw"));
    disk.empty();
    done.store(true, Ordering::SeqCst);
    let accepted = trying.await.unwrap() + 2;
    serving.wait_for_log("the ledger can be written again");
    client.send(hello()).await.unwrap();
    assert_eq!(*taken.lock(), accepted, "each that was accepted, once");
    serving.terminate();
    assert_eq!(serving.wait(), 0);
}

#[test]
fn a_disk_that_may_only_be_read_is_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("disk");
    fs::create_dir(&place).unwrap();
    let Some(mut command) = Disk::behind(&place) else {
        return;
    };
    let script = r#"mount -o remount,ro none "$0" && exec "$@""#;
    command.args(["sh", "-c", script]).arg(&place);
    command
        .arg(env!("CARGO_BIN_EXE_relay"))
        .env("RELAY_API_KEY", "key");
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "smtp://127.0.0.1:9",
    ]);
    command.arg("--ledger").arg(place.join("ledger.redb"));
    let ended = run(command);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    let expected = "ledger.redb may only be read; make it writable, or name another file";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}

fn set_descriptors(process: u32, most: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &process.to_string(), &format!("--nofile={most}:")]);
    assert!(command.status().unwrap().success());
}

/// A client that stays, and tries each message once.
fn client(serving: &Serving) -> Client {
    let mut config = ClientConfig::new(serving.url.parse().unwrap(), ApiKey::new("key"));
    config.idle = None;
    config.retry.attempts = Some(0);
    Client::start(config, Config::default())
}

fn hello() -> Submission {
    let [from, to] =
        ["alice@example.org", "bob@example.net"].map(|text| text.parse::<Address>().unwrap());
    Submission::message(Envelope::new(from, [to]).unwrap(), "hello\r\n".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_those_who_are_in_are_served_and_others_get_in_when_there_are_some() {
    let directory = tempfile::tempdir().unwrap();
    let taken = upstream(|stream| stream.write_all(b"250 2.0.0 taken\r\n").unwrap());
    let ledger = directory.path().join("ledger.redb");
    let serving = Serving::start(&["--upstream", &taken, "--ledger", ledger.to_str().unwrap()]);
    let inside = client(&serving);
    inside.send(hello()).await.unwrap();

    let began = Instant::now();
    set_descriptors(serving.process_id(), "3");
    let outside = client(&serving);
    let waiting = tokio::spawn({
        let outside = outside.clone();
        async move { outside.send(hello()).await }
    });
    serving.wait_for_log("cannot accept connections");
    for _ in 0..20 {
        inside.send(hello()).await.unwrap();
    }
    assert!(!waiting.is_finished());
    set_descriptors(serving.process_id(), "1024");
    waiting.await.unwrap().unwrap();
    // It tries again ten times a second, and not as fast as it can.
    let tries = serving
        .so_far()
        .matches("cannot accept connections")
        .count();
    let most = began.elapsed().as_millis() / 100 + 1;
    assert!(tries as u128 <= most, "{tries} tries where {most} are due");
    serving.terminate();
    assert_eq!(serving.wait(), 0);
}
