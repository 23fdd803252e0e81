//! Keys that come and go while the relay runs.

use crate::harness::{Serving, letter, run, send};
use std::{fs, process::Command};

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
