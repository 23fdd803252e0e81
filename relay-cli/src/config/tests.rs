use super::*;
use crate::args::{self, Command};
use relay_proto::smtp::Credentials;
use std::{io::Write, path::Path};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// What `relay serve` is to do with these arguments. The environment is tested from outside.
fn plan(arguments: &[&str]) -> Result<Plan, String> {
    let arguments = ["relay", "serve"].iter().chain(arguments).map(Into::into);
    match args::parse(arguments).map_err(|failure| failure.to_string())? {
        Command::Serve(serve) => {
            Plan::gather(serve.layer, serve.config.as_deref()).map_err(|error| error.to_string())
        }
        other => panic!("{other:?}"),
    }
}

/// Those for mail.
fn settings(arguments: &[&str]) -> Result<Settings, String> {
    Ok(plan(arguments)?.mail.expect("there is a destination"))
}

fn known(settings: &Settings, keys: [&str; 2]) -> [bool; 2] {
    keys.map(|key| settings.api_keys.find(&ApiKey::new(key)).is_some())
}

fn complaint(arguments: &[&str]) -> String {
    let Err(complaint) = settings(arguments) else {
        panic!("taken: {arguments:?}");
    };
    assert!(!complaint.contains('\n'), "{complaint}");
    complaint
}

#[test]
fn a_key_and_a_destination_are_enough() {
    let plan = plan(&["--api-key", "k,1", "--mailbox", "mail"]).unwrap();
    assert_eq!(plan.log.to_string(), "info");
    assert!(plan.key_value.is_none());
    let settings = plan.mail.unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8025");
    assert_eq!(known(&settings, ["k,1", "k"]), [true, false]);
    assert_eq!(settings.destination, Destination::Mailbox("mail".into()));
    assert_eq!(settings.max_message_bytes, 64 << 20);
    assert!(settings.tls.is_none());
}

#[test]
fn keys_and_values_need_a_directory_and_no_mail() {
    let alone = plan(&["--api-key", "k", "--kv", "d"]).unwrap();
    assert!(alone.mail.is_none());
    let key_value = alone.key_value.unwrap();
    assert_eq!(key_value.listen.to_string(), "127.0.0.1:8026");
    assert_eq!(
        (key_value.directory.as_path(), key_value.rate),
        (Path::new("d"), None)
    );

    let more = ["--kv-listen", "127.0.0.1:1", "--kv-rate", "100/s:200"];
    let both = ["--api-key", "k", "--kv", "d", "--mailbox", "m"];
    let both = plan(&[&both[..], &more].concat()).unwrap();
    assert!(both.mail.is_some());
    let key_value = both.key_value.unwrap();
    assert_eq!(key_value.listen.port(), 1);
    assert_eq!(key_value.rate, Some("100/s:200".parse().unwrap()));
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    let cases: [(&[&str], &str); 10] = [
        (&["--mailbox", "m"], "no API key"),
        (&["--api-key", "k"], "nothing to serve"),
        (
            &[
                "--api-key",
                "k",
                "--mailbox",
                "m",
                "--kv-listen",
                "127.0.0.1:1",
            ],
            "--kv-listen without --kv",
        ),
        (
            &["--api-key", "k", "--mailbox", "m", "--kv-rate", "1/s"],
            "--kv-rate without --kv",
        ),
        (
            &["--api-key", "k", "--mailbox", "m", "--upstream", "smtp://h"],
            "--mailbox and --upstream exclude each other",
        ),
        (&["--api-key", "", "--mailbox", "m"], "an API key is empty"),
        (
            &["--api-key", "a b", "--mailbox", "m"],
            "an API key has spaces",
        ),
        (
            &["--api-key", "k", "--mailbox", "m", "--tls-cert", "c"],
            "without --tls-key",
        ),
        (
            &["--api-key", "k", "--mailbox", "m", "--tls-key", "c"],
            "without --tls-cert",
        ),
        (
            &["--api-key", "k", "--upstream", "mx.example:25"],
            "'--upstream <URL>': \"mx.example:25\" must start with smtp://, smtp+starttls:// or smtps://",
        ),
    ];
    for (arguments, part) in cases {
        let complaint = complaint(arguments);
        assert!(complaint.contains(part), "{arguments:?}: {complaint}");
    }
}

#[test]
fn unreadable_files_are_named() {
    let base = ["--api-key", "k", "--mailbox", "m"];
    let pem = file("nothing");
    let pem = pem.path().to_str().unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--config", "no/such.toml"], "the settings no/such.toml"),
        (&["--api-key-file", "no/such"], "API key file no/such"),
        (
            &["--tls-cert", "no/such", "--tls-key", pem],
            "the certificate no/such",
        ),
        (
            &["--tls-cert", pem, "--tls-key", "no/such"],
            "the private key no/such",
        ),
        (
            &["--tls-cert", pem, "--tls-key", pem],
            "no certificate in PEM form",
        ),
    ];
    for (arguments, part) in cases {
        let complaint = complaint(&[&base, arguments].concat());
        assert!(complaint.contains(part), "{arguments:?}: {complaint}");
    }
}

#[test]
fn the_file_says_what_options_say() {
    let keys = file("two\n");
    let file = file(&format!(
        "listen = '[::1]:0'\napi-key = ['one']\napi-key-file = '{}'\nupstream = 'smtps://mx.example'\n\
         allow-sender = 'example.org'\nallow-net = ['10.0.0.0/8']\nallow-origin = 'https://mail.example'\nallow-rcpt = ['a@b.example', 'c.example']\n\
         max-message-bytes = 1000\nlog = 'debug'\nupstream-connections = 20\nupstream-idle = 0\nmax-held-bytes = 5000\nkey-links = 6\nkey-messages = 7\nkey-rate = '600/min:20'\nledger = 'l.redb'\nbase-only = true\nkv = 'd'\nkv-listen = '[::1]:1'\nkv-rate = '5/h'\n",
        keys.path().display()
    ));
    let plan = plan(&["--config", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(plan.log.to_string(), "debug");
    let key_value = plan.key_value.unwrap();
    assert_eq!(key_value.directory, Path::new("d"));
    assert_eq!(key_value.listen.to_string(), "[::1]:1");
    assert_eq!(key_value.rate, Some("5/h".parse().unwrap()));
    let settings = plan.mail.unwrap();
    assert_eq!(settings.listen.to_string(), "[::1]:0");
    assert_eq!(known(&settings, ["one", "two"]), [true, true]);
    let upstream = StreamAddress::new("mx.example", 465, true);
    assert_eq!(
        settings.destination,
        Destination::Upstream(upstream, Access::NONE)
    );
    assert_eq!(settings.allow_sender, ["example.org".parse().unwrap()]);
    assert_eq!(settings.allow_net[0].to_string(), "10.0.0.0/8");
    assert!(settings.origins.allow("https://mail.example"));
    assert_eq!(settings.allow_rcpt.len(), 2);
    assert_eq!(settings.max_message_bytes, 1000);
    assert_eq!(settings.upstream_connections, Some(20));
    assert_eq!(settings.upstream_idle, Some(0));
    assert_eq!(settings.max_held_bytes, Some(5000));
    assert_eq!(
        (settings.key_links, settings.key_messages),
        (Some(6), Some(7))
    );
    assert_eq!(settings.key_rate, Some("10/s:20".parse().unwrap()));
    assert_eq!(settings.ledger.as_deref(), Some(Path::new("l.redb")));
    assert!(settings.base_only);
}

#[test]
fn options_win_over_the_file_setting_by_setting() {
    let file = file(
        "listen = '127.0.0.1:1'\napi-key-file = 'no/such'\nupstream = 'smtp://mx.example'\nlog = 'debug'\n",
    );
    let file = file.path().to_str().unwrap();
    let plan = plan(&[
        "--config",
        file,
        "--api-key",
        "k",
        "--mailbox",
        "m",
        "--listen",
        "127.0.0.1:2",
    ])
    .unwrap();
    assert_eq!(plan.log.to_string(), "debug");
    let settings = plan.mail.unwrap();
    assert_eq!(settings.listen.port(), 2);
    // The file's key file does not exist: it is not even looked at.
    assert_eq!(known(&settings, ["k", ""]), [true, false]);
    assert_eq!(settings.destination, Destination::Mailbox("m".into()));
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line() {
    let cases = [
        ("\nmail-box = 'm'\n", ":2: unknown field `mail-box`"),
        (
            "\n\nlisten = 'here'\n",
            ":3: \"here\": invalid socket address",
        ),
        ("upstream = 'http://h'\n", "must start with smtp://"),
        ("allow-net = ['10.0.0.0/99']\n", "not a network"),
        (
            "allow-origin = 'mail.example'\n",
            "an origin is a scheme and a host",
        ),
        ("api-key = [1234567]\n", ":1: expected a text or a list"),
        ("listen = \n", ":1: "),
        ("max-message-bytes = 0\n", ":1: "),
        ("upstream-connections = 0\n", ":1: "),
        ("key-links = 0\n", ":1: "),
        (
            "key-rate = '0/s'\n",
            "a rate of zero would let nothing through",
        ),
        (
            "mailbox = 'm'\nupstream = 'smtp://h'\napi-key = ['k']\n",
            "exclude each other",
        ),
    ];
    for (text, part) in cases {
        let file = file(text);
        let complaint = complaint(&["--config", file.path().to_str().unwrap()]);
        assert!(complaint.contains(part), "{text}: {complaint}");
        assert!(!complaint.contains("1234567"), "{complaint}");
    }
}

#[test]
fn a_login_to_the_upstream_is_whole_and_not_in_clear() {
    let password = file("sesame\n");
    let password = password.path().to_str().unwrap();
    let base = ["--api-key", "k", "--upstream"];
    let login = [
        "--upstream-user",
        "alice",
        "--upstream-password-file",
        password,
    ];
    for (upstream, start_tls) in [
        ("smtp+starttls://mx.example", true),
        ("smtps://mx.example", false),
        ("smtp://127.0.0.1:25", false),
    ] {
        let settings = settings(&[&base[..], &[upstream], &login].concat()).unwrap();
        let Destination::Upstream(_, access) = settings.destination else {
            panic!("no upstream");
        };
        let credentials = Some(Credentials::new("alice", "sesame"));
        assert_eq!(
            access,
            Access {
                start_tls,
                credentials
            },
            "{upstream}"
        );
    }
    let tls = "smtp+starttls://mx.example";
    let cases: [(&str, &[&str], &str); 5] = [
        (
            "smtp://mx.example",
            &login,
            "could be read on the way to mx.example:25",
        ),
        (tls, &login[..2], "give both or neither"),
        (tls, &login[2..], "give both or neither"),
        (
            tls,
            &[&login[..3], &["no/such"]].concat(),
            "the password no/such",
        ),
        (
            tls,
            &["--upstream-ca", password],
            "no certificate in PEM form",
        ),
    ];
    for (upstream, more, part) in cases {
        let complaint = complaint(&[&base[..], &[upstream], more].concat());
        assert!(complaint.contains(part), "{more:?}: {complaint}");
        assert!(!complaint.contains("sesame"), "{complaint}");
    }
}
