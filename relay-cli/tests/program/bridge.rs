//! Mail that comes by SMTP and goes through a relay: what the mail program is told is what happened.

use crate::harness::{Ended, Serving, messages, relay, run, upstream};
use base64::{Engine, engine::general_purpose::STANDARD};
use relay_testkit::{MALFORMED_ENDS, deserted};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{Mutex, mpsc},
};

fn bridge(url: &str, arguments: &[&str]) -> Serving {
    let mut command = relay(["bridge", "--url", url]);
    if !arguments.contains(&"--api-key") {
        command.args(["--api-key", "key"]);
    }
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.args(arguments);
    Serving::spawn(command)
}

/// A mail program that waits for each reply.
struct Mailer(BufReader<TcpStream>);

impl Mailer {
    fn connect(bridge: &Serving) -> Self {
        let address = bridge.url.strip_prefix("smtp://").unwrap();
        let address = address.replace("0.0.0.0", "127.0.0.1");
        let mut mailer = Self(BufReader::new(TcpStream::connect(address).unwrap()));
        assert!(mailer.hear().starts_with("220 "));
        mailer
    }

    /// The last line of a reply.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn say(&mut self, line: &str) -> String {
        self.write(&format!("{line}\r\n"));
        self.hear()
    }

    /// Everything up to the content, which is agreed to.
    fn begin(&mut self, recipients: &[&str]) {
        assert!(self.say("EHLO client.example").starts_with("250 "));
        assert!(
            self.say("MAIL FROM:<alice@example.org>")
                .starts_with("250 ")
        );
        for recipient in recipients {
            let reply = self.say(&format!("RCPT TO:<{recipient}>"));
            assert!(reply.starts_with("250 "), "{reply}");
        }
        assert!(self.say("DATA").starts_with("354 "));
    }

    fn send(&mut self, recipients: &[&str], content: &str) -> String {
        self.begin(recipients);
        self.say(&format!("{content}\r\n."))
    }
}

#[test]
fn the_reply_is_what_happened_and_who_was_refused_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let allowed = [
        "--allow-rcpt",
        "bob@example.net",
        "--allow-rcpt",
        "example.org",
    ];
    let serving = Serving::start(&[&["--mailbox", mail.to_str().unwrap()], &allowed[..]].concat());
    let bridge = bridge(&serving.url, &["--host-name", "bridge.example"]);
    let mut mailer = Mailer::connect(&bridge);

    let reply = mailer.send(&["bob@example.net"], "Subject: 1\r\n\r\n..\r\nx");
    assert_eq!(reply, "250 2.0.0 Delivered");
    let reply = mailer.send(&["eve@example.net"], "Subject: 2\r\n\r\nx");
    assert_eq!(reply, "550 5.1.1 No such mailbox here");
    let reply = mailer.send(
        &["bob@example.net", "eve@example.net"],
        "Subject: 3\r\n\r\nx",
    );
    assert_eq!(reply, "250 2.0.0 The sender gets a report of that");
    bridge.wait_for_log("report to the sender relayed: 250");

    let to_bob = messages(&mail.join("example.net/bob"));
    assert_eq!(to_bob.len(), 2);
    assert!(
        to_bob
            .iter()
            .any(|text| text.ends_with("Subject: 1\r\n\r\n.\r\nx\r\n"))
    );
    let [report] = &*messages(&mail.join("example.org/alice")) else {
        panic!("one report");
    };
    assert!(report.starts_with("Return-Path: <>\r\n"), "{report}");
    for part in [
        "MAILER-DAEMON@bridge.example",
        "Final-Recipient: rfc822; eve@example.net\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 No such mailbox here\r\n",
        "\r\nSubject: 3",
    ] {
        assert!(report.contains(part), "no {part:?}: {report}");
    }
}

#[test]
fn content_may_come_in_chunks() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap()]);
    let bridge = bridge(&serving.url, &[]);
    let mut mailer = Mailer::connect(&bridge);
    // The second chunk is what DATA would take for the end and for a command.
    mailer.write(
        "EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<bob@example.net>\r\n\
         BDAT 14\r\nSubject: x\r\n\r\nBDAT 9 LAST\r\n.\r\nQUIT\r\n",
    );
    let replies = [(); 5].map(|()| mailer.hear());
    assert_eq!(replies[3], "250 2.0.0 14 bytes received");
    assert_eq!(replies[4], "250 2.0.0 Delivered");
    let [message] = &*messages(&mail.join("example.net/bob")) else {
        panic!("one message");
    };
    assert!(
        message.ends_with("Subject: x\r\n\r\n.\r\nQUIT\r\n"),
        "{message}"
    );
}

#[test]
fn no_mail_program_smuggles_a_second_message_past_the_bridge() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap()]);
    let bridge = bridge(&serving.url, &[]);
    let mut mailer = Mailer::connect(&bridge);
    for end in MALFORMED_ENDS {
        let content = format!(
            "Subject: x\r\n\r\nhello{end}MAIL FROM:<mallory@evil.example>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\nforged"
        );
        let reply = mailer.send(&["bob@example.net"], &content);
        assert_eq!(reply, "250 2.0.0 Delivered", "{end:?}");
    }
    let messages = messages(&mail.join("example.net/bob"));
    assert_eq!(messages.len(), MALFORMED_ENDS.len());
    for message in messages {
        assert!(message.contains("hello"), "{message:?}");
        assert!(message.ends_with("DATA\r\nforged\r\n"), "{message:?}");
    }
}

#[test]
fn without_a_relay_the_mail_program_is_to_try_again() {
    let url = format!("ws://{}/", deserted());
    let bridge = bridge(&url, &["--attempts", "1"]);
    let mut mailer = Mailer::connect(&bridge);
    let reply = mailer.send(&["bob@example.net"], "x");
    assert!(
        reply.starts_with("451 4.4.1 no connection to the relay"),
        "{reply}"
    );
}

#[test]
fn with_a_wrong_key_too_and_the_log_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap()]);
    let bridge = bridge(&serving.url, &["--api-key", "wrong-1"]);
    let reply = Mailer::connect(&bridge).send(&["bob@example.net"], "x");
    assert!(
        reply.starts_with("451 4.3.5 the relay refused the API key"),
        "{reply}"
    );
    assert!(!reply.contains("wrong-1"));
    bridge.wait_for_log("the relay refused the API key");
}

#[test]
fn what_there_is_no_room_for_is_refused_for_now_or_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap()]);
    let limits = ["--max-message-bytes", "100", "--max-held-bytes", "150"];
    let bridge = bridge(&serving.url, &limits);
    let mut large = Mailer::connect(&bridge);
    let reply = large.send(&["bob@example.net"], &"x".repeat(101));
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    assert!(large.say("MAIL FROM:<> SIZE=101").starts_with("552 5.3.4 "));

    // One message is held half way; there is no room for a second of its size.
    let mut first = Mailer::connect(&bridge);
    first.begin(&["bob@example.net"]);
    first.write(&"x".repeat(90));
    let mut second = Mailer::connect(&bridge);
    second.say("EHLO client.example");
    while second.say("MAIL FROM:<> SIZE=90").starts_with("250 ") {
        // The first one's content has not been read yet.
        assert!(second.say("RSET").starts_with("250 "));
    }
    let reply = second.say("MAIL FROM:<> SIZE=90");
    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
    let reply = second.send(&["bob@example.net"], &"y".repeat(90));
    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
    assert_eq!(first.say("\r\n."), "250 2.0.0 Delivered");
    assert_eq!(
        second.send(&["bob@example.net"], "y"),
        "250 2.0.0 Delivered"
    );
    assert_eq!(messages(&mail.join("example.net/bob")).len(), 2);
}

#[test]
fn beyond_this_machine_only_the_allowed_may_send() {
    let ended: Ended = run(relay([
        "bridge",
        "--url",
        "ws://127.0.0.1:9/",
        "--api-key",
        "k",
        "--listen",
        "0.0.0.0:0",
    ]));
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--allow-net"), "{}", ended.stderr);

    let elsewhere = ["--listen", "0.0.0.0:0", "--allow-net", "192.0.2.0/24"];
    let bridge = bridge("ws://127.0.0.1:9/", &elsewhere);
    let mut mailer = Mailer::connect(&bridge);
    mailer.say("EHLO client.example");
    let reply = mailer.say("MAIL FROM:<alice@example.org>");
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
}

#[test]
fn a_mail_program_that_leaves_takes_its_unsent_message_along() {
    let (arrived, message_arrived) = mpsc::channel();
    let (go, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let upstream = upstream(move |stream| {
        arrived.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
        stream.write_all(b"250 2.0.0 taken\r\n").unwrap();
    });
    // One message at a time, so that the second has to wait.
    let serving = Serving::start(&["--base-only", "--upstream", &upstream]);
    let bridge = bridge(&serving.url, &[]);
    let mut first = Mailer::connect(&bridge);
    first.begin(&["bob@example.net"]);
    first.write("first\r\n.\r\n");
    message_arrived.recv().unwrap();
    let mut second = Mailer::connect(&bridge);
    second.begin(&["bob@example.net"]);
    second.write("second\r\n.\r\n");
    drop(second);
    bridge.wait_for_log("Not sent: the client left before");
    go.send(()).unwrap();
    assert_eq!(first.hear(), "250 2.0.0 taken");
    go.send(()).unwrap();
    assert_eq!(first.send(&["bob@example.net"], "third"), "250 2.0.0 taken");
    message_arrived.recv().unwrap();
    assert!(message_arrived.try_recv().is_err(), "the second was sent");
}

#[cfg(unix)]
#[test]
fn sigterm_lets_a_message_finish() {
    let (arrived, message_arrived) = mpsc::channel();
    let (go, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let upstream = upstream(move |stream| {
        arrived.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
        stream.write_all(b"250 2.0.0 taken\r\n").unwrap();
    });
    let serving = Serving::start(&["--upstream", &upstream]);
    let bridge = bridge(&serving.url, &[]);
    let mut idle = Mailer::connect(&bridge);
    let mut busy = Mailer::connect(&bridge);
    busy.begin(&["bob@example.net"]);
    busy.write("x\r\n.\r\n");
    message_arrived.recv().unwrap();
    bridge.terminate();
    bridge.wait_for_log("SIGTERM: finishing");
    assert!(idle.hear().starts_with("421 "));
    go.send(()).unwrap();
    assert_eq!(busy.hear(), "250 2.0.0 taken");
    assert!(busy.hear().starts_with("421 "));
    bridge.wait_for_log("stopped");
    assert_eq!(bridge.wait(), 0);
}

#[cfg(unix)]
#[test]
fn the_second_sigterm_answers_and_stops_at_once() {
    let (arrived, message_arrived) = mpsc::channel();
    let (keep, never) = mpsc::channel::<()>();
    let never = Mutex::new(never);
    let upstream = upstream(move |_| {
        arrived.send(()).unwrap();
        let _ = never.lock().unwrap().recv();
    });
    let serving = Serving::start(&["--upstream", &upstream]);
    let bridge = bridge(&serving.url, &[]);
    let mut mailer = Mailer::connect(&bridge);
    mailer.begin(&["bob@example.net"]);
    mailer.write("x\r\n.\r\n");
    message_arrived.recv().unwrap();
    bridge.terminate();
    bridge.wait_for_log("SIGTERM: finishing");
    bridge.terminate();
    // It was sent whole, so that nobody knows; or the goodbye comes before that is found out.
    let reply = mailer.hear();
    assert!(
        reply.starts_with("554 5.4.2 ") || reply.starts_with("421 "),
        "{reply}"
    );
    assert_eq!(bridge.wait(), 0);
    drop(keep);
}

#[test]
fn a_user_whose_password_is_hashed_logs_in_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let [mail, users] = ["mail", "users"].map(|name| directory.path().join(name));
    // Of `sesame`.
    let hash = "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQxMjM0NTY3OA$W1o3KmZoC5Pz8oEWwQZO2n4wuoIvqj2hJCO75Hj53xM";
    std::fs::write(&users, format!("alice:{hash}\n")).unwrap();
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap()]);
    let bridge = bridge(&serving.url, &["--users-file", users.to_str().unwrap()]);
    let mut mailer = Mailer::connect(&bridge);
    mailer.say("EHLO client.example");
    let plain = |password| {
        let message = format!("\0alice\0{password}");
        format!("AUTH PLAIN {}", STANDARD.encode(message))
    };
    for wrong in ["Sesame", hash] {
        let refused = mailer.say(&plain(wrong));
        assert!(refused.starts_with("535 5.7.8 "), "{refused}");
    }
    let welcome = mailer.say(&plain("sesame"));
    assert!(welcome.starts_with("235 2.7.0 "), "{welcome}");
    let sent = mailer.send(&["bob@example.net"], "hello");
    assert!(sent.starts_with("250 "), "{sent}");
    assert_eq!(messages(&mail.join("example.net/bob")).len(), 1);
}
