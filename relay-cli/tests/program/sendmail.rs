//! `relay sendmail`, called as programs call sendmail.

use crate::harness::{Ended, Serving, messages, relay, run_with_input};
use relay_testkit::deserted;
use std::{fs, path::Path, process::Command};

/// With no settings but those in this directory, and a user called alice.
fn sendmail(home: &Path, arguments: &[&str]) -> Command {
    let mut command = relay(["sendmail"]);
    command.args(arguments);
    command.env("XDG_CONFIG_HOME", home).env("LOGNAME", "alice");
    command
}

fn settings(home: &Path, url: &str, key: &str) {
    fs::create_dir_all(home.join("relay")).unwrap();
    let text = format!("url = '{url}'\napi-key = '{key}'\ndomain = 'example.org'\nattempts = 1\n");
    fs::write(home.join("relay/sendmail.toml"), text).unwrap();
}

struct House {
    home: tempfile::TempDir,
    _serving: Serving,
}

impl House {
    /// A relay with a mailbox that takes mail for these, and settings for it.
    fn new(allowed: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mail = home.path().join("mail");
        let mut arguments = vec!["--mailbox", mail.to_str().unwrap()];
        for rule in allowed {
            arguments.extend(["--allow-rcpt", rule]);
        }
        let serving = Serving::start(&arguments);
        settings(home.path(), &serving.url, "key");
        Self {
            home,
            _serving: serving,
        }
    }

    fn run(&self, arguments: &[&str], input: &str) -> Ended {
        run_with_input(sendmail(self.home.path(), arguments), input)
    }

    fn messages(&self, path: &str) -> Vec<String> {
        messages(&self.home.path().join("mail").join(path))
    }
}

#[track_caller]
fn ends(ended: &Ended, code: i32, said: &str) {
    assert_eq!(ended.code, code, "{}", ended.stderr);
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(ended.stderr.lines().count() <= 2, "{}", ended.stderr);
}

#[test]
fn the_header_names_recipients_and_keeps_blind_ones_to_itself() {
    let house = House::new(&[]);
    let text = "To: Bob <bob@example.net>,\n carol\nBcc: dave@example.net\nSubject: x\n\n.\nend\n";
    let ended = house.run(&["-t", "-i", "-FAlice Doe", "erin@example.net"], text);
    ends(&ended, 0, "");
    assert_eq!(ended.stdout, "");
    for path in [
        "example.net/bob",
        "example.org/carol",
        "example.net/dave",
        "example.net/erin",
    ] {
        let [message] = &*house.messages(path) else {
            panic!("one message for {path}");
        };
        assert!(
            message.starts_with("Return-Path: <alice@example.org>\r\n"),
            "{message}"
        );
        assert!(
            message.contains("\r\nFrom: \"Alice Doe\" <alice@example.org>\r\n"),
            "{message}"
        );
        assert!(message.contains("\r\nDate: ") && message.contains("\r\nMessage-ID: <"));
        assert!(!message.contains("dave"), "{message}");
        let rest = "\r\nTo: Bob <bob@example.net>,\r\n carol\r\nSubject: x\r\n\r\n.\r\nend\r\n";
        assert!(message.ends_with(rest), "{message}");
    }
}

#[test]
fn a_dot_ends_the_message_unless_told_otherwise() {
    let house = House::new(&[]);
    let ended = house.run(
        &["-v", "bob@example.net"],
        "Subject: x\n\nwanted\n.\nunwanted\n",
    );
    ends(&ended, 0, "");
    assert_eq!(ended.stdout, "accepted: 250 2.0.0 Delivered\n");
    assert!(house.messages("example.net/bob")[0].ends_with("\r\n\r\nwanted\r\n"));
}

#[test]
fn exit_codes_are_those_callers_know() {
    let house = House::new(&["bob@example.net", "example.org"]);
    let to_bob = ["bob@example.net"];
    ends(&house.run(&[], "x"), 64, "no recipient");
    ends(&house.run(&["-Z"], "x"), 64, "-Z");
    ends(
        &house.run(&["-t"], "Subject: x\n\nx\n"),
        65,
        "To, Cc and Bcc",
    );
    ends(&house.run(&["-t"], "To: a@b@c\n\nx\n"), 65, "a@b@c");
    ends(&house.run(&["eve@example.net"], "x"), 69, "550 5.1.1");
    ends(&house.run(&["-bd"], ""), 64, "relay bridge");
    assert!(house.messages("example.net/bob").is_empty());

    // For some: who sent it is told by mail.
    let ended = house.run(&["bob@example.net", "eve@example.net"], "Subject: x\n\nx\n");
    ends(&ended, 0, "refused for <eve@example.net>: 550 5.1.1");
    let [report] = &*house.messages("example.org/alice") else {
        panic!("one report");
    };
    assert!(
        report.contains("Final-Recipient: rfc822; eve@example.net"),
        "{report}"
    );
    let ended = house.run(&["-f", "<>", "bob@example.net", "eve@example.net"], "x");
    ends(&ended, 69, "no sender to be told");

    let elsewhere = tempfile::tempdir().unwrap();
    let run = || run_with_input(sendmail(elsewhere.path(), &to_bob), "x");
    ends(&run(), 78, "relay/sendmail.toml");
    let url = format!("ws://{}/", deserted());
    settings(elsewhere.path(), &url, "key");
    ends(&run(), 75, "cannot connect");
    let mut command = sendmail(house.home.path(), &to_bob);
    command.env("RELAY_API_KEY", "wrong-1");
    let ended = run_with_input(command, "x");
    ends(&ended, 77, "refused the API key");
    assert!(!ended.stderr.contains("wrong-1"));
    settings(elsewhere.path(), "http://relay.example/", "key");
    ends(&run(), 78, "ws://");
    let config = house.home.path().join("relay/sendmail.toml");
    let other = ["--config", config.to_str().unwrap(), "bob@example.net"];
    ends(
        &run_with_input(sendmail(elsewhere.path(), &other), "x"),
        0,
        "",
    );
}

#[test]
fn a_session_is_held_on_standard_input() {
    let house = House::new(&["bob@example.net", "example.org"]);
    let script = "EHLO c\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\n\
                  RCPT TO:<eve@example.net>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\n\
                  MAIL FROM:<>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n";
    let ended = house.run(&["-bs"], script);
    ends(&ended, 0, "");
    let last: Vec<_> = ended
        .stdout
        .lines()
        .filter(|line| line.as_bytes()[3] == b' ')
        .collect();
    let codes: Vec<_> = last.iter().map(|line| &line[..3]).collect();
    let expected = [
        "220", "250", "250", "250", "250", "354", "250", "250", "250", "354", "550", "221",
    ];
    assert_eq!(codes, expected, "{}", ended.stdout);
    assert!(house.messages("example.net/bob")[0].ends_with("Subject: x\r\n\r\n.\r\n"));
    assert_eq!(house.messages("example.org/alice").len(), 1);
}

#[cfg(unix)]
#[test]
fn by_the_name_of_sendmail_it_is_sendmail() {
    let house = House::new(&[]);
    let link = house.home.path().join("sendmail");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_relay"), &link).unwrap();
    let mut command = Command::new(&link);
    command.args(["-odi", "-oi", "bob@example.net"]);
    command
        .env("XDG_CONFIG_HOME", house.home.path())
        .env("LOGNAME", "alice");
    ends(&run_with_input(command, "Subject: x\n\nx\n"), 0, "");
    assert_eq!(house.messages("example.net/bob").len(), 1);
}

#[test]
fn help_tells_flags_and_exit_codes() {
    let elsewhere = tempfile::tempdir().unwrap();
    let ended = run_with_input(sendmail(elsewhere.path(), &["--help"]), "");
    assert_eq!(ended.code, 0);
    for part in ["-t ", "/etc/relay/sendmail.toml", "75  not sent"] {
        assert!(ended.stdout.contains(part), "{}", ended.stdout);
    }
}
