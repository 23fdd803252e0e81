//! Messages from `relay send` through `relay serve` into the mailbox.

use crate::harness::{LETTER, Serving, letter, messages, relay, run, run_with_input, send};
use std::fs;

#[test]
fn a_message_reaches_the_mailbox() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap()]);
    let file = letter(directory.path(), "letter.eml");

    let ended = run(send(&serving.url, &["--to", "Bob@Example.net", &file]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        format!("{file}: accepted: 250 2.0.0 Delivered\n")
    );
    assert_eq!(ended.stderr, "");

    let to_both = ["--to", "bob@example.net", "--to", "carol@example.com"];
    let ended = run_with_input(send(&serving.url, &to_both), LETTER);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        "standard input: accepted: 250 2.0.0 Delivered\n"
    );

    let text = LETTER.replace('\n', "\r\n");
    let to_bob = messages(&mail.join("example.net/bob"));
    assert_eq!(to_bob.len(), 2);
    for message in to_bob
        .iter()
        .chain(&messages(&mail.join("example.com/carol")))
    {
        assert!(message.starts_with("Return-Path: <alice@example.org>\r\nReceived: by "));
        assert!(message.ends_with(&format!("+0000\r\n{text}")), "{message}");
    }
}

#[test]
fn many_messages_are_reported_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let keys = directory.path().join("keys");
    fs::write(&keys, "# ours\nkey\n").unwrap();
    let keys = keys.to_str().unwrap();
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap(), "--api-key-file", keys]);
    let files: Vec<_> = (0..12)
        .map(|number| letter(directory.path(), &format!("{number}.eml")))
        .collect();
    let mut command = relay(["send", "--url", &serving.url, "--api-key-file", keys]);
    command.args([
        "--from",
        "<>",
        "--to",
        "bob@example.net",
        "--priority",
        "low",
    ]);
    let ended = run({
        command.args(&files);
        command
    });
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let reported: Vec<_> = ended
        .stdout
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(reported, files);
    let delivered = messages(&mail.join("example.net/bob"));
    assert_eq!(delivered.len(), 12);
    assert!(delivered[0].starts_with("Return-Path: <>\r\n"));
}

#[test]
fn a_key_over_its_rate_is_sent_more_slowly_and_nothing_fails() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap(), "--key-rate", "10/s:1"]);
    let files: Vec<_> = (0..4)
        .map(|number| letter(directory.path(), &format!("{number}.eml")))
        .collect();
    let mut command = send(&serving.url, &["--to", "bob@example.net"]);
    command.args(&files);
    let ended = run(command);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.stdout.matches(": accepted: ").count(), 4);
    let slower = "slower: the relay has no channel for us: this API key sends more messages than 10/s:1; going on in ";
    assert!(ended.stderr.starts_with(slower), "{}", ended.stderr);
    assert_eq!(messages(&mail.join("example.net/bob")).len(), 4);

    // Whoever knows better begins more slowly.
    let ended = run(send(
        &serving.url,
        &["--rate", "0/s", "--to", "bob@example.net", &files[0]],
    ));
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .stderr
            .contains("a rate of zero would let nothing through"),
        "{}",
        ended.stderr
    );
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap(), "--key-rate", "5/s:4"]);
    let mut command = send(
        &serving.url,
        &["--rate", "5/s:2", "--to", "bob@example.net"],
    );
    command.args(&files);
    let ended = run(command);
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
}

#[test]
fn tls_is_trusted_where_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let identity =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = file("cert.pem", identity.cert.pem());
    let key = file("key.pem", identity.signing_key.serialize_pem());
    let mail = directory.path().join("mail");
    let mail = mail.to_str().unwrap();
    let serving = Serving::start(&[
        "--mailbox",
        mail,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ]);
    assert!(serving.url.starts_with("wss://127.0.0.1:"));
    let letter = letter(directory.path(), "letter.eml");

    let ended = run(send(
        &serving.url,
        &["--to", "bob@example.net", "--ca", &certificate, &letter],
    ));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let ended = run(send(
        &serving.url,
        &["--to", "bob@example.net", "--attempts", "1", &letter],
    ));
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("no secure connection"),
        "{}",
        ended.stderr
    );
}
