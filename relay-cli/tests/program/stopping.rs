//! SIGTERM: once to finish, twice to stop.

use crate::harness::{Ended, Serving, letter, send, upstream};
use std::{
    io::Write,
    process::Stdio,
    sync::{Mutex, mpsc},
};

#[test]
fn the_first_sigterm_lets_a_message_finish() {
    let directory = tempfile::tempdir().unwrap();
    let letter = letter(directory.path(), "letter.eml");
    let (arrived, message_arrived) = mpsc::channel();
    let (go, may_go_on) = mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    let upstream = upstream(move |stream| {
        arrived.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
        stream.write_all(b"250 2.0.0 taken\r\n").unwrap();
    });
    let serving = Serving::start(&["--upstream", &upstream]);
    let sending = send(&serving.url, &["--to", "bob@example.net", &letter])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    message_arrived.recv().unwrap();
    serving.terminate();
    serving.wait_for_log("SIGTERM: finishing");
    go.send(()).unwrap();

    let ended = Ended::from(sending.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        format!("{letter}: accepted: 250 2.0.0 taken\n")
    );
    serving.wait_for_log("stopped");
    assert_eq!(serving.wait(), 0);
}

#[test]
fn the_second_sigterm_stops_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let letter = letter(directory.path(), "letter.eml");
    let (arrived, message_arrived) = mpsc::channel();
    let (keep, never) = mpsc::channel::<()>();
    let never = Mutex::new(never);
    let upstream = upstream(move |_| {
        arrived.send(()).unwrap();
        let _ = never.lock().unwrap().recv();
    });
    let serving = Serving::start(&["--upstream", &upstream]);
    let mut sending = send(&serving.url, &["--to", "bob@example.net", &letter])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    message_arrived.recv().unwrap();
    serving.terminate();
    serving.wait_for_log("SIGTERM: finishing");
    serving.terminate();
    serving.wait_for_log("SIGTERM again");
    assert_eq!(serving.wait(), 0);
    sending.kill().unwrap();
    sending.wait().unwrap();
    drop(keep);
}
