//! The runtime of one's own that relay-proto shows as an example, against the program.

use crate::harness::{Serving, messages};
use relay_proto::{
    mail::{
        client::{ClientConfig, Error, Submission},
        wire::ApiKey,
    },
    smtp::{Address, Envelope},
};
use std::{net::TcpListener, time::Duration};

#[path = "../../../relay-proto/examples/own_runtime.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod example;

fn letter(content: &str) -> Submission {
    let (from, to): (Address, Address) = (
        "alice@example.org".parse().unwrap(),
        "bob@example.net".parse().unwrap(),
    );
    Submission::message(
        Envelope::new(from, [to]).unwrap(),
        content.to_owned().into(),
    )
}

fn config(url: &str, key: &str) -> ClientConfig {
    ClientConfig::new(url.parse().unwrap(), ApiKey::new(key))
}

#[test]
fn it_delivers_a_large_message() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap()]);
    let content = format!(
        "Subject: hello\r\n\r\n{}",
        ".dots\r\n..and äöü\r\n".repeat(100_000)
    );
    let receipt = example::send(config(&serving.url, "key"), letter(&content)).unwrap();
    assert_eq!(receipt.reply.to_string(), "250 2.0.0 Delivered");
    let delivered = messages(&mail.join("example.net/bob"));
    assert_eq!(delivered.len(), 1);
    assert!(delivered[0].ends_with(&content));
}

#[test]
fn it_tries_as_often_as_it_is_told_and_says_what_stopped_it() {
    let directory = tempfile::tempdir().unwrap();
    let serving = Serving::start(&["--mailbox", directory.path().to_str().unwrap()]);
    let refused = example::send(config(&serving.url, "wrong"), letter("")).unwrap_err();
    let refused = refused.downcast_ref::<Error>();
    assert!(
        matches!(refused, Some(Error::Authentication(_))),
        "{refused:?}"
    );

    // Whoever listens here hangs up at once, three times.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&format!("ws://{}/", listener.local_addr().unwrap()), "key");
    let soon = Duration::from_millis(1);
    config.reconnect = relay_proto::BackoffPolicy::new(soon, soon, Some(2));
    let knocks = std::thread::spawn(move || listener.incoming().take(3).count());
    let failed = example::send(config, letter("")).unwrap_err();
    let failed = failed.downcast_ref::<Error>();
    assert!(matches!(failed, Some(Error::Connection(_))), "{failed:?}");
    assert_eq!(knocks.join().unwrap(), 3);
}
