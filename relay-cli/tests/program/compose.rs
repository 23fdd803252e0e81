//! `relay compose`, on a terminal and in scripts.

use crate::{
    harness::{Ended, Serving, messages, relay, run_with_input},
    screen::{CTRL_C, CTRL_D, Screen},
};
use relay_testkit::deserted;
use std::{fs, net::TcpListener, process::Command};

/// A relay whose mailbox knows bob and carol only.
struct House {
    home: tempfile::TempDir,
    serving: Serving,
}

impl House {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mail = home.path().join("mail");
        let known = [
            "--allow-rcpt",
            "bob@example.net",
            "--allow-rcpt",
            "carol@example.net",
        ];
        let mut arguments = vec!["--mailbox", mail.to_str().unwrap()];
        arguments.extend(known);
        let serving = Serving::start(&arguments);
        Self { home, serving }
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        self.compose_to(&self.serving.url, arguments)
    }

    fn compose_to(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = relay(["compose", "--url", url]);
        command.args(arguments);
        command
            .env("RELAY_API_KEY", "key")
            .env("TMPDIR", self.home.path());
        command
    }

    fn messages(&self, name: &str) -> Vec<String> {
        messages(&self.home.path().join("mail/example.net").join(name))
    }

    /// The messages that were kept.
    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }
}

#[test]
fn a_person_is_asked_for_everything_and_told_who_was_refused() {
    let house = House::new();
    let mut screen = Screen::start(house.compose(&[]));
    screen.wait_for_prompt("From: ");
    screen.write("J\u{f6} Doe <jo@example.org>\r");
    screen.wait_for_prompt("To: ");
    screen.write("Bob <bob@example.net>, eve\r");
    screen.wait_for("  \"eve\"");
    // What was wrong is there to be mended.
    screen.wait_for_prompt("To: Bob <bob@example.net>, eve");
    screen.write("@example.net\r");
    screen.wait_for_prompt("Subject: ");
    screen.write("Gr\u{fc}\u{df}e\r");
    screen.wait_for("ctrl-d on a line of its own:");
    screen.wait_for_prompt("");
    screen.write("Hello, Bob.\r");
    screen.wait_for_prompt("");
    screen.write(".\r");
    screen.wait_for_prompt("");
    screen.write(CTRL_D);
    screen.wait_for_prompt("Send it? [Y/n]: ");
    screen.wait_for(
        "  From     J\u{f6} Doe <jo@example.org>\n  \
           To       Bob <bob@example.net>, eve@example.net\n  \
           Subject  Gr\u{fc}\u{df}e\n  \
           Text     2 lines, 14 bytes\n",
    );
    assert!(house.messages("bob").is_empty());
    screen.write("\r");
    assert_eq!(screen.wait(), 7, "{}", screen.contents());
    let contents = screen.contents().replace('\n', " ");
    assert!(
        contents.contains(
            "sending accepted: 250 2.0.0 Delivered refused for <eve@example.net>: 550 5.1.1"
        ),
        "{contents}"
    );

    let [message] = &*house.messages("bob") else {
        panic!("one message");
    };
    assert!(message.is_ascii(), "{message}");
    for part in [
        "Return-Path: <jo@example.org>\r\n",
        "\r\nSubject: =?utf-8?",
        "\r\nMessage-ID: <",
        "\r\nDate: ",
        "\r\n\r\nHello, Bob.\r\n.\r\n",
    ] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    let [kept] = &*house.kept() else {
        panic!("one kept");
    };
    assert!(kept.ends_with("\r\n\r\nHello, Bob.\r\n.\r\n"), "{kept}");
    assert!(contents.contains("--to 'eve@example.net'"), "{contents}");
}

#[test]
fn whoever_has_second_thoughts_has_sent_nothing() {
    let house = House::new();
    let options = [
        "--from",
        "a@example.org",
        "--to",
        "bob@example.net",
        "--subject",
        "x",
    ];
    let cancels = |screen: &mut Screen| {
        assert_eq!(screen.wait(), 130, "{}", screen.contents());
        screen.contents().ends_with("cancelled; nothing was sent")
    };

    let mut screen = Screen::start(house.compose(&[]));
    screen.wait_for_prompt("From: ");
    screen.write(CTRL_C);
    assert!(cancels(&mut screen));

    let mut screen = Screen::start(house.compose(&options));
    screen.wait_for("ctrl-d on a line of its own:");
    screen.wait_for_prompt("");
    screen.write("half a sen");
    screen.wait_for_prompt("half a sen");
    screen.write(CTRL_C);
    assert!(cancels(&mut screen));

    let mut screen = Screen::start(house.compose(&options));
    screen.wait_for("ctrl-d on a line of its own:");
    screen.wait_for_prompt("");
    screen.write("text\r");
    screen.wait_for_prompt("");
    screen.write(CTRL_D);
    screen.wait_for_prompt("Send it? [Y/n]: ");
    screen.write("perhaps\r");
    screen.wait_for("  y sends it, n does not");
    screen.wait_for_prompt("Send it? [Y/n]: perhaps");
    screen.write("\x15n\r");
    assert!(cancels(&mut screen));

    assert!(house.messages("bob").is_empty());
    assert!(house.kept().is_empty());
}

#[test]
fn what_a_person_wrote_outlives_a_relay_that_is_not_there() {
    let house = House::new();
    let url = format!("ws://{}/", deserted());
    let command = house.compose_to(
        &url,
        &[
            "--from",
            "a@example.org",
            "--to",
            "bob@example.net",
            "--subject",
            "x",
            "--attempts",
            "1",
            "-y",
        ],
    );
    let mut screen = Screen::start(command);
    screen.wait_for("ctrl-d on a line of its own:");
    screen.wait_for_prompt("");
    screen.write("hard work\r");
    screen.wait_for_prompt("");
    screen.write(CTRL_D);
    assert_eq!(screen.wait(), 4, "{}", screen.contents());
    assert!(
        screen
            .contents()
            .contains("failed: no connection to the relay: cannot connect to"),
        "{}",
        screen.contents()
    );
    let [kept] = &*house.kept() else {
        panic!("one kept");
    };
    assert!(kept.ends_with("\r\n\r\nhard work\r\n"), "{kept}");
}

#[test]
fn ctrl_c_gives_up_a_relay_that_does_not_answer() {
    let house = House::new();
    // It lets clients connect and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", silent.local_addr().unwrap());
    let options = [
        "--from",
        "a@example.org",
        "--to",
        "bob@example.net",
        "--subject",
        "x",
        "-y",
    ];
    let mut screen = Screen::start(house.compose_to(&url, &options));
    screen.wait_for("ctrl-d on a line of its own:");
    screen.wait_for_prompt("");
    screen.write(CTRL_D);
    screen.wait_for("sending");
    screen.write(CTRL_C);
    assert_eq!(screen.wait(), 130, "{}", screen.contents());
    assert!(
        screen
            .contents()
            .contains("\ncancelled; nothing was sent\nit is kept in "),
        "{}",
        screen.contents()
    );
    assert_eq!(house.kept().len(), 1);
}

#[test]
fn a_script_gives_answers_line_by_line() {
    let house = House::new();
    let script = "Alice <alice@example.org>\nbob@example.net, eve@example.net\nhello\nThe text.\n";
    let ended = run_with_input(house.compose(&[]), script);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        "accepted: 250 2.0.0 Delivered\n\
         refused for <eve@example.net>: 550 5.1.1 No such mailbox here\n"
    );
    assert_eq!(ended.stderr, "");
    assert!(house.messages("bob")[0].ends_with("\r\n\r\nThe text.\r\n"));
    assert!(house.kept().is_empty());

    let mut command = house.compose(&[
        "--to",
        "Carol <carol@example.net>",
        "--bcc",
        "bob@example.net",
        "--subject",
        "given",
    ]);
    command.env("RELAY_FROM", "alice@example.org");
    let ended = run_with_input(command, "only text");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let [message] = &*house.messages("carol") else {
        panic!("one message");
    };
    assert!(message.contains("\r\nSubject: given\r\n"), "{message}");
    assert!(!message.contains("bob"), "{message}");
    assert_eq!(house.messages("bob").len(), 2);
}

#[test]
fn a_script_is_told_what_is_wrong() {
    let house = House::new();
    let complains = |ended: &Ended, parts: &[&str]| {
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert_eq!((ended.stderr.lines().count(), &*ended.stdout), (1, ""));
        for part in parts {
            assert!(ended.stderr.contains(part), "{}", ended.stderr);
        }
    };
    let run = |arguments: &[&str], input| run_with_input(house.compose(arguments), input);
    complains(&run(&[], ""), &["From", "--from"]);
    complains(&run(&[], "a@example.org\n"), &["To", "--to"]);
    complains(
        &run(&[], "a@example.org\nbob@example.net, eve\n"),
        &["To: ", "\"eve\""],
    );
    complains(
        &run(&["--from", "a@b.example, c@d.example"], ""),
        &["--from", "not 2"],
    );
    complains(&run(&["--to", "eve"], ""), &["--to", "eve"]);
    complains(&run(&["--api-key", ""], ""), &["API key"]);
}
