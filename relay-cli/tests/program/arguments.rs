//! What is wrong with a command line, the environment or a file is said in one line, with exit code 2.

use crate::harness::{Ended, Serving, letter, relay, run};
use std::{fs, net::TcpListener, process::Command};

fn complains(ended: &Ended, parts: &[&str]) {
    let stderr = &ended.stderr;
    assert_eq!(ended.code, 2, "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_eq!(ended.stdout, "");
    for part in parts {
        assert!(stderr.contains(part), "{part:?} not in {stderr}");
    }
}

fn serve(arguments: &[&str]) -> Command {
    let mut command = relay(["serve", "--listen", "127.0.0.1:0"]);
    command.args(arguments);
    command
}

#[test]
fn serve_says_what_is_missing_or_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mail = directory.path().join("mail");
    let mail = mail.to_str().unwrap();
    let comment = file("comment", "# no key yet\n");
    let unknown = file("unknown.toml", "api-key = ['k']\nmail-box = 'm'\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let upstream = "smtp://127.0.0.1:9";
    let cases: &[(&[&str], &[&str])] = &[
        (&["--mailbox", mail], &["no API key", "--api-key-file"]),
        (&["--api-key", "k"], &["--mailbox", "--upstream"]),
        (
            &["--api-key", "k", "--mailbox", mail, "--upstream", upstream],
            &["--mailbox and --upstream exclude each other"],
        ),
        (
            &["--api-key", "k", "--upstream", "mx.example.org"],
            &["'--upstream <URL>'"],
        ),
        (
            &["--api-key", "k", "--mailbox", mail, "--tls-cert", &comment],
            &["--tls-cert without --tls-key"],
        ),
        (
            &["--api-key-file", "no/such", "--mailbox", mail],
            &["cannot read", "no/such"],
        ),
        (
            &["--api-key-file", &comment, "--mailbox", mail],
            &["no API key in", &comment],
        ),
        (&["--config", "no/such.toml"], &["no/such.toml"]),
        (&["--config", &unknown], &["unknown.toml:2", "mail-box"]),
        (
            &["--api-key", "k", "--mailbox", &comment],
            &["cannot keep mail in", &comment, "not a directory"],
        ),
        (
            &["--api-key", "k", "--mailbox", mail, "--ledger", &comment],
            &["cannot keep the ledger in", &comment],
        ),
        (&["--port", "80"], &["--port"]),
    ];
    for (arguments, parts) in cases {
        complains(&run(serve(arguments)), parts);
    }
    let arguments = [
        "serve",
        "--api-key",
        "k",
        "--upstream",
        upstream,
        "--listen",
        &taken,
    ];
    complains(&run(relay(arguments)), &["cannot listen on", &taken]);
    assert!(!directory.path().join("mail").exists());
}

#[test]
fn the_environment_is_read_and_the_command_line_wins() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let mut command = serve(&["--api-key", "k"]);
    command.env("RELAY_UPSTREAM", "mx.example.org");
    complains(&run(command), &["'--upstream <URL>'", "mx.example.org"]);

    // Of both pairs the environment gives the other half, which is unusable.
    let mut command = serve(&["--api-key", "k", "--upstream", "smtp://127.0.0.1:9"]);
    command
        .env("RELAY_API_KEY_FILE", "no/such")
        .env("RELAY_MAILBOX", &mail);
    drop(Serving::spawn(command));
    assert!(!mail.exists());
}

#[test]
fn the_environment_wins_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let file = directory.path().join("relay.toml");
    fs::write(
        &file,
        "listen = '192.0.2.1:1'\napi-key = 'k'\nupstream = 'smtp://mx.example'\n",
    )
    .unwrap();
    let mut command = relay(["serve"]);
    command
        .env("RELAY_CONFIG", &file)
        .env("RELAY_LISTEN", "127.0.0.1:0")
        .env("RELAY_MAILBOX", &mail);
    drop(Serving::spawn(command));
    assert!(mail.is_dir());
}

#[test]
fn send_looks_at_everything_before_it_connects() {
    let directory = tempfile::tempdir().unwrap();
    let good = letter(directory.path(), "good.eml");
    let base = [
        "send",
        "--url",
        "ws://127.0.0.1:9/",
        "--from",
        "a@example.org",
    ];
    let cases: &[(&[&str], &[&str])] = &[
        (&["--to", "b@example.org", &good], &["no API key"]),
        (&["--api-key", "k", &good], &["--to"]),
        (
            &["--api-key", "k", "--to", "b", &good],
            &["'--to <ADDRESS>'"],
        ),
        (
            &[
                "--api-key",
                "k",
                "--to",
                "b@example.org",
                &good,
                "no/such.eml",
            ],
            &["cannot read no/such.eml"],
        ),
        (
            &["--api-key", "k", "--to", "b@example.org"],
            &["no message in standard input"],
        ),
        (
            &[
                "--api-key",
                "k",
                "--to",
                "b@example.org",
                "--ca",
                &good,
                &good,
            ],
            &["the certificates in", "no certificate"],
        ),
        (
            &[
                "--api-key",
                "k",
                "--api-key-file",
                &good,
                "--to",
                "b@example.org",
                &good,
            ],
            &["exclude each other"],
        ),
    ];
    for (arguments, parts) in cases {
        complains(&run(relay(base.iter().chain(*arguments))), parts);
    }
}

#[test]
fn help_is_on_standard_output_and_tells_no_key() {
    for command in ["serve", "send", "compose", "console"] {
        let mut help = relay([command, "--help"]);
        help.env("RELAY_API_KEY", "hunter2");
        let ended = run(help);
        assert_eq!((ended.code, &*ended.stderr), (0, ""));
        assert!(ended.stdout.contains("Exit codes:"), "{}", ended.stdout);
        assert!(!ended.stdout.contains("hunter2"), "{}", ended.stdout);
    }
    let ended = run(relay([""; 0]));
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("Usage: relay"), "{}", ended.stderr);
}
