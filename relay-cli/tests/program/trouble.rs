//! What fails, by whose fault, and the exit code that says so.

use crate::harness::{Serving, letter, messages, relay, run, send, upstream};
use relay_testkit::deserted;
use std::{
    io::Write,
    net::{Shutdown, TcpListener},
    thread,
};

#[test]
fn a_wrong_key_is_3() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap()]);
    let letter = letter(directory.path(), "letter.eml");
    let ended = run(send(
        &serving.url,
        &["--api-key", "wrong-1", "--to", "b@example.net", &letter],
    ));
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.contains("refused the API key"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("wrong-1"), "{}", ended.stderr);
    assert!(messages(&mail.join("example.net/b")).is_empty());
}

#[test]
fn no_relay_is_4_and_the_rest_is_not_tried() {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..20)
        .map(|number| letter(directory.path(), &format!("{number}.eml")))
        .collect();
    let url = format!("ws://{}/", deserted());
    let mut command = send(&url, &["--to", "b@example.net", "--attempts", "2"]);
    command.args(&files);
    let ended = run(command);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("cannot connect to"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.ends_with(" more not tried\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_is_no_relay_is_4() {
    let directory = tempfile::tempdir().unwrap();
    let letter = letter(directory.path(), "letter.eml");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", other.local_addr().unwrap());
    thread::spawn(move || {
        for stream in other.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"220 mx.example ESMTP\r\n").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        }
    });
    let ended = run(send(
        &url,
        &["--to", "b@example.net", "--attempts", "1", &letter],
    ));
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("is not a WebSocket server"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_refused_message_is_5_and_a_refused_recipient_7() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let letter = letter(directory.path(), "letter.eml");
    let serving = Serving::start(&[
        "--mailbox",
        mail.to_str().unwrap(),
        "--allow-rcpt",
        "bob@example.net",
        "--allow-sender",
        "example.org",
        "--max-message-bytes",
        "1000",
    ]);

    let ended = run(send(&serving.url, &["--to", "eve@example.net", &letter]));
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("<eve@example.net>: 550 5.1.1"),
        "{}",
        ended.stderr
    );

    let to_both = [
        "--to",
        "eve@example.net",
        "--to",
        "bob@example.net",
        &letter,
    ];
    let ended = run(send(&serving.url, &to_both));
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    let expected = format!(
        "{letter}: accepted: 250 2.0.0 Delivered\n\
         {letter}: refused for <eve@example.net>: 550 5.1.1 No such mailbox here\n"
    );
    assert_eq!(ended.stdout, expected);

    let mallory = [
        "--from",
        "mallory@example.com",
        "--to",
        "bob@example.net",
        &letter,
    ];
    let mut command = relay(["send", "--url", &serving.url, "--api-key", "key"]);
    command.args(mallory);
    let ended = run(command);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    let refusal = "550 5.7.1 Sender domain not authorized for your IP or subnet";
    assert!(ended.stderr.contains(refusal), "{}", ended.stderr);

    let large = directory.path().join("large.eml");
    std::fs::write(&large, "x".repeat(2000)).unwrap();
    let to_bob = ["--to", "bob@example.net", large.to_str().unwrap()];
    let ended = run(send(&serving.url, &to_bob));
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("more than the 1000"),
        "{}",
        ended.stderr
    );
    assert_eq!(messages(&mail.join("example.net/bob")).len(), 1);
}

#[test]
fn a_lost_reply_is_6() {
    let directory = tempfile::tempdir().unwrap();
    let letter = letter(directory.path(), "letter.eml");
    let upstream = upstream(|stream| stream.shutdown(Shutdown::Both).unwrap());
    let serving = Serving::start(&["--upstream", &upstream]);
    let ended = run(send(&serving.url, &["--to", "bob@example.net", &letter]));
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("may or may not have been delivered"),
        "{}",
        ended.stderr
    );
}

#[test]
fn keys_in_the_clear_are_warned_of() {
    let everybody = Serving::spawn(relay([
        "serve",
        "--listen",
        "0.0.0.0:0",
        "--api-key",
        "hunter2",
        "--upstream",
        "smtp://127.0.0.1:9",
    ]));
    everybody.wait_for_log("without TLS: keys and what is sent can be read on the way");
}
