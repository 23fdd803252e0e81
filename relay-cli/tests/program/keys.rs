//! Keys that come and go while the relay runs.

use crate::harness::{Serving, letter, run, send};
use futures_util::{FutureExt, StreamExt};
use relay_proto::{
    mail::{
        client::{ClientConfig, Error, Event, Submission},
        wire::ApiKey,
    },
    smtp::{Address, Envelope},
};
use relay_tokio::{Config, mail::Client};
use std::{fs, process::Command, time::Duration};

fn hang_up(serving: &Serving) {
    let id = serving.process_id().to_string();
    let status = Command::new("kill").args(["-HUP", &id]).status().unwrap();
    assert!(status.success());
}

#[test]
fn keys_are_read_again_on_sighup_and_may_be_digests() {
    let directory = tempfile::tempdir().unwrap();
    let letter = letter(directory.path(), "letter.eml");
    let [keys, mail] = ["keys", "mail"].map(|name| directory.path().join(name));
    fs::write(&keys, "first\n").unwrap();
    let serving = Serving::start(&[
        "--api-key-file",
        keys.to_str().unwrap(),
        "--mailbox",
        mail.to_str().unwrap(),
    ]);
    let code = |key| {
        let to = ["--api-key", key, "--to", "bob@example.net", &letter];
        run(send(&serving.url, &to)).code
    };
    assert_eq!([code("first"), code("abc")], [0, 3]);

    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    fs::write(&keys, format!("# that of abc\nsha256:{digest}\n")).unwrap();
    hang_up(&serving);
    serving.wait_for_log("API keys read again");
    assert_eq!([code("first"), code("abc"), code(digest)], [3, 0, 3]);

    fs::write(&keys, "sha256:abc\n").unwrap();
    hang_up(&serving);
    serving.wait_for_log(":1: no digest of an API key; one is sha256: and 64 hexadecimal digits");
    assert_eq!(code("abc"), 0, "the keys of before");
}

/// A client that stays.
fn client(serving: &Serving, key: &str) -> Client {
    let mut config = ClientConfig::new(serving.url.parse().unwrap(), ApiKey::new(key));
    config.idle = None;
    Client::start(config, Config::default())
}

fn hello() -> Submission {
    let [from, to] =
        ["alice@example.org", "bob@example.net"].map(|text| text.parse::<Address>().unwrap());
    Submission::message(Envelope::new(from, [to]).unwrap(), "hello\r\n".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_key_is_taken_away_is_sent_away_and_nobody_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let [keys, mail] = ["keys", "mail"].map(|name| directory.path().join(name));
    fs::write(&keys, "first\nsecond\n").unwrap();
    let serving = Serving::start(&[
        "--api-key-file",
        keys.to_str().unwrap(),
        "--mailbox",
        mail.to_str().unwrap(),
    ]);
    let [first, second] = ["first", "second"].map(|key| client(&serving, key));
    let (mut of_first, mut of_second) = (
        first.events().await.unwrap(),
        second.events().await.unwrap(),
    );
    first.send(hello()).await.unwrap();
    second.send(hello()).await.unwrap();

    fs::write(&keys, "second\n").unwrap();
    hang_up(&serving);
    loop {
        let event = of_first.next().await.unwrap().unwrap();
        if let Event::Disconnected { error } = event {
            let error = error.unwrap();
            assert!(matches!(error, Error::Authentication(_)), "{error}");
            assert!(
                error.to_string().contains("the API key is no longer good"),
                "{error}"
            );
            break;
        }
    }
    serving.wait_for_log("client refused: the API key is no longer good");
    let refused = first.send(hello()).await.unwrap_err().to_string();
    assert!(refused.contains("unknown API key"), "{refused}");
    second.send(hello()).await.unwrap();
    assert!(second.shutdown(Duration::from_secs(60)).await.is_empty());
    let links = std::iter::from_fn(|| of_second.next().now_or_never().flatten())
        .filter(|event| matches!(event, Ok(Event::Authenticated { .. })));
    assert_eq!(links.count(), 1, "it kept its link");
}
