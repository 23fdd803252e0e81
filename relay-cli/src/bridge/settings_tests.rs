use super::*;
use crate::args::{self, Command};
use std::io::Write;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The settings of `relay bridge` with these arguments. The environment is tested from outside.
fn settings(arguments: &[&str]) -> Result<Settings, String> {
    let arguments = ["relay", "bridge"].iter().chain(arguments).map(Into::into);
    match args::parse(arguments).map_err(|failure| failure.to_string())? {
        Command::Bridge(bridge) => Settings::gather(bridge.layer, bridge.config.as_deref())
            .map_err(|error| error.to_string()),
        other => panic!("{other:?}"),
    }
}

fn complaint(arguments: &[&str]) -> String {
    let Err(complaint) = settings(arguments) else {
        panic!("taken: {arguments:?}");
    };
    assert!(!complaint.contains('\n'), "{complaint}");
    complaint
}

/// A certificate and its key, in files.
fn pair() -> [tempfile::NamedTempFile; 2] {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    [file(&certificate.pem()), file(&key.serialize_pem())]
}

#[test]
fn a_relay_and_a_key_are_enough() {
    let settings = settings(&["--url", "ws://h/", "--api-key", "k"]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:2525");
    assert_eq!(settings.authentication(), None);
    assert_eq!(settings.security(), Security::Clear);
    assert_eq!(settings.max_message_bytes, 64 << 20);
    assert_eq!(settings.max_held_bytes, 256 << 20);
    assert_eq!(settings.uplink.attempts.get(), 3);
    assert!(settings.uplink.configure(0).is_ok());
}

#[test]
fn the_file_says_what_options_say_and_options_win() {
    let ([certificate, key], users) = (pair(), file("alice:sesame\n"));
    let (certificate, key) = (certificate.path().display(), key.path().display());
    let file = file(&format!(
        "listen = '0.0.0.0:587'\nurl = 'wss://relay.example/'\napi-key = 'one'\nattempts = 7\n\
         users-file = '{}'\ntls-cert = '{certificate}'\ntls-key = '{key}'\nimplicit-tls = true\n\
         allow-net = '10.0.0.0/8'\nmax-message-bytes = 1000\nmax-held-bytes = 2000\n\
         host-name = 'mx.example'\nlog = 'debug'\n",
        users.path().display()
    ));
    let file = file.path().to_str().unwrap();
    let from_file = settings(&["--config", file]).unwrap();
    assert_eq!(from_file.listen.to_string(), "0.0.0.0:587");
    assert_eq!(from_file.security(), Security::Tls);
    assert_eq!(from_file.authentication(), Some(Authentication::required()));
    assert_eq!(from_file.uplink.attempts.get(), 7);
    assert_eq!(from_file.allow_net[0].to_string(), "10.0.0.0/8");
    assert_eq!(from_file.max_held_bytes, 2000);
    assert_eq!(from_file.host_name.as_str(), "mx.example");
    let options = [
        "--listen",
        "[::1]:1",
        "--url",
        "ws://h/",
        "--api-key-file",
        "no/such",
    ];
    let over = settings(&[&["--config", file], &options[..]].concat()).unwrap();
    assert_eq!(over.listen.to_string(), "[::1]:1");
    assert_eq!(over.uplink.url.to_string(), "ws://h/");
    // The key of the file does not count where a file of keys is named.
    assert_eq!(over.uplink.key.api_key, None);
    let password = ["--user", "bob", "--password-file", "no/such"];
    let complaint = complaint(&[&["--config", file], &password[..]].concat());
    assert!(complaint.contains("the password no/such"), "{complaint}");
}

#[test]
fn what_is_wrong_is_named() {
    let users = file("alice:sesame\n");
    let users = users.path().to_str().unwrap();
    let beyond = ["--url", "ws://h/", "--listen", "0.0.0.0:0"];
    let cases: [(&[&str], &[&str], &str); 7] = [
        (&[], &[], "no relay: give --url"),
        (&beyond, &[], "--user or --users-file"),
        (&beyond, &["--users-file", users], "--clear-passwords"),
        (&beyond, &["--user", "alice"], "without --password-file"),
        (&beyond[..2], &["--implicit-tls"], "without a certificate"),
        (&beyond[..2], &["--tls-cert", "c"], "without --tls-key"),
        (&beyond[..2], &["--max-held-bytes", "1"], "no room"),
    ];
    for (base, more, part) in cases {
        let complaint = complaint(&[base, more].concat());
        assert!(complaint.contains(part), "{base:?} {more:?}: {complaint}");
    }
    let clear = ["--users-file", users, "--clear-passwords"];
    let clear = settings(&[&beyond, &clear[..]].concat()).unwrap();
    assert!(clear.authentication().unwrap().in_clear);
    assert!(settings(&[&beyond[..], &["--allow-net", "10.0.0.0/8"]].concat()).is_ok());

    for (text, part) in [
        ("\nuser-file = 'x'\n", ":2: unknown field `user-file`"),
        ("api-key = 1234567\n", ":1: expected a text"),
        ("api-key = ['1234567']\n", ":1: expected one key"),
        ("url = 'http://h/'\n", "ws://"),
    ] {
        let file = file(text);
        let complaint = complaint(&["--config", file.path().to_str().unwrap()]);
        assert!(complaint.contains(part), "{text}: {complaint}");
        assert!(!complaint.contains("1234567"), "{complaint}");
    }
}

#[test]
fn keys_do_not_show() {
    let arguments = [
        "relay",
        "bridge",
        "--api-key",
        "hunter2",
        "--proxy",
        "http://me:hunter2@h",
    ];
    let parsed = args::parse(arguments.map(Into::into)).unwrap();
    assert!(!format!("{parsed:?}").contains("hunter2"));
}
