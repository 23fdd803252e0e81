//! `relay console`, on a terminal and in scripts.

use crate::{
    harness::{Ended, Serving, relay, run_with_input},
    screen::{CTRL_C, CTRL_D, Screen},
};
use relay_testkit::deserted;
use std::{
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    thread,
};
use tungstenite::{
    Message, WebSocket, accept,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

type Socket = WebSocket<TcpStream>;

/// A WebSocket server that treats its only client as `treat` does, and then hears it out. Returns its URL.
fn peer(treat: impl FnOnce(&mut Socket) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut socket = accept(listener.accept().unwrap().0).unwrap();
        treat(&mut socket);
        while socket.read().is_ok() {}
    });
    url
}

/// Sends back what is text or binary.
fn echo(socket: &mut Socket) {
    while let Ok(message) = socket.read() {
        if message.is_text() || message.is_binary() {
            socket.send(message).unwrap();
        }
    }
}

fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).unwrap();
}

fn close(socket: &mut Socket, code: u16, reason: &'static str) {
    let code = CloseCode::from(code);
    let reason = reason.into();
    socket.close(Some(CloseFrame { code, reason })).unwrap();
}

fn console(url: &str, arguments: &[&str]) -> Command {
    let mut command = relay(["console", url]);
    command.args(arguments);
    command
}

/// In a script, where answers may take their time.
fn run(url: &str, arguments: &[&str], input: &str) -> Ended {
    let mut command = console(url, arguments);
    command.args(["--wait", "3600"]);
    run_with_input(command, input)
}

#[test]
fn frames_leave_a_line_that_is_half_typed_as_it_is() {
    let (go, gone) = mpsc::channel();
    let url = peer(move |socket| {
        for round in 1..=2 {
            gone.recv().unwrap();
            say(socket, "one");
            say(socket, &"two ".repeat(20));
            say(socket, &format!("\u{1b}[2Jthree {round}"));
        }
        echo(socket);
    });
    let mut screen = Screen::start(console(&url, &[]));
    screen.wait_for_prompt("> ");
    screen.write("half a l");
    screen.wait_for_prompt("> half a l");
    go.send(()).unwrap();
    screen.wait_for("three 1");
    screen.wait_for_prompt("> half a l");
    let frames = |round| {
        format!(
            "< one\n< {}\n< \\u{{1b}}[2Jthree {round}\n",
            "two ".repeat(20)
        )
    };
    let before = format!(
        "* connected to {url}; /help lists what to type\n{}",
        frames(1)
    );
    assert_eq!(screen.contents(), format!("{before}> half a l"));

    // A line that is longer than the screen is wide, with the cursor in the middle of its second row.
    screen.write(&format!("ine{}", " and more".repeat(8)));
    screen.write(&"\x1b[D".repeat("more".len()));
    let rows = [
        "> half a line and more and more and more and more and more a",
        "nd more and more and ",
    ];
    screen.wait_for_prompt(rows[1]);
    go.send(()).unwrap();
    screen.wait_for("three 2");
    screen.wait_for_prompt(rows[1]);
    let typed = format!("{}{}more", rows[0], rows[1]);
    let before = format!("{before}{}", frames(2));
    assert_eq!(screen.contents(), format!("{before}{typed}"));

    screen.write("no \r");
    let line = format!("half a line{} and no more", " and more".repeat(7));
    screen.wait_for(&format!("< {line}"));
    // What was sent before comes back with the key that goes up.
    screen.wait_for_prompt("> ");
    screen.write("\x1b[A");
    screen.wait_for_prompt("nd more and more and no more");
    screen.write(CTRL_C);
    assert_eq!(screen.wait(), 0, "{}", screen.contents());
    assert!(screen.contents().ends_with("\n* closed by this side"));
}

#[test]
fn when_the_peer_says_goodbye_so_does_the_console() {
    let (go, gone) = mpsc::channel::<()>();
    let url = peer(move |socket| {
        gone.recv().unwrap();
        for number in 0..200 {
            say(socket, &format!("frame {number}"));
        }
        close(socket, 1001, "good night");
    });
    let mut screen = Screen::start(console(&url, &[]));
    screen.wait_for_prompt("> ");
    screen.write("half");
    screen.wait_for_prompt("> half");
    go.send(()).unwrap();
    assert_eq!(screen.wait(), 1, "{}", screen.contents());
    let output = screen.output();
    let frames: Vec<_> = output
        .lines()
        .filter_map(|line| line.split_once("< frame "))
        .collect();
    let numbers: Vec<_> = frames.iter().map(|(_, number)| number.parse()).collect();
    assert_eq!(numbers, (0..200).map(Ok).collect::<Vec<_>>());
    let expected = "\n< frame 198\n< frame 199\n\
                    * closed by the peer: 1001 (going away): \"good night\"\n> half";
    assert!(
        screen.contents().ends_with(expected),
        "{}",
        screen.contents()
    );
}

#[test]
fn commands_do_what_help_says() {
    let url = peer(echo);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, [0xff, 1]).unwrap();
    let mut screen = Screen::start(console(&url, &[]));
    let mut answer = |line: &str, answer: &str| {
        screen.wait_for_prompt("> ");
        screen.write(line);
        screen.write("\r");
        screen.wait_for(answer);
        screen.wait_for_prompt("> ");
    };
    answer("/help", "  /binary HEX ");
    answer("/binary 68 69 07", "< binary, 3 bytes\n  0000  68 69 07 ");
    answer(&format!("/file {}", file.display()), "< binary, 2 bytes");
    answer("/text /x", "< /x");
    answer("/ping abc", "< pong \"abc\" after ");
    answer("{\"a\":[1]}", "< {\"a\":[1]}");
    answer("/json", "* JSON is shown one field a line");
    answer("{\"a\":[1]}", "< {\n    \"a\": [\n      1\n");
    answer("/nothing", "* there is no /nothing");
    answer("/close 1005", "* \"1005\" is no close code");
    screen.write("/close 4321 so long\r");
    assert_eq!(screen.wait(), 0);
    let contents = screen.contents();
    assert!(
        contents.ends_with("> /close 4321 so long\n* closed by this side"),
        "{contents}"
    );
}

#[test]
fn ctrl_d_ends_it_and_lines_typed_ahead_are_not_lost() {
    let url = peer(echo);
    let mut screen = Screen::start(console(&url, &[]));
    screen.wait_for_prompt("> ");
    screen.write("one\rtwo\rthree\r");
    screen.wait_for("< three");
    screen.wait_for_prompt("> ");
    for line in ["> one", "> two", "> three", "< one\n", "< two\n"] {
        assert!(screen.contents().contains(line), "{}", screen.contents());
    }
    screen.write(CTRL_D);
    assert_eq!(screen.wait(), 0);
}

#[test]
fn a_script_gets_frames_on_standard_output_and_the_rest_on_standard_error() {
    let url = peer(|socket| {
        for _ in 0..2 {
            let message = socket.read().unwrap();
            socket.send(message).unwrap();
        }
        close(socket, 1000, "");
    });
    let ended = run(&url, &["--json"], "{\"a\":1}\n/binary 00\n");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let stdout = ended.stdout.lines().collect::<Vec<_>>();
    let first = ["< {", "    \"a\": 1", "  }", "< binary, 1 byte"];
    assert_eq!(stdout[..4], first, "{}", ended.stdout);
    let expected = format!("* connected to {url}\n* closed by the peer: 1000 (normal closure)\n");
    assert_eq!(ended.stderr, expected);
}

#[test]
fn a_script_waits_no_longer_than_it_is_told() {
    let url = peer(echo);
    let mut command = console(&url, &[]);
    command.args(["--wait", "0"]);
    let ended = run_with_input(command, "");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.ends_with("* closed by this side\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_script_is_told_what_is_wrong_and_goes_on() {
    let url = peer(|socket| {
        assert_eq!(socket.read().unwrap(), Message::text("hello"));
        close(socket, 1000, "");
    });
    let ended = run(&url, &[], "/binary 0\n/file no/such\nhello\n");
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    for part in ["* a byte has two", "* cannot read no/such"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn a_relay_is_told_the_key_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    let serving = Serving::start(&["--mailbox", mail.to_str().unwrap()]);
    let script = "{\"type\":\"SMTP_CHANNEL_OPEN\"}\n\
                  {\"type\":\"SMTP_TO_SERVER\",\"data\":\"QUIT\\r\\n\"}\n";
    let mut command = console(&serving.url, &["--authenticate", "--wait", "2"]);
    command.env("RELAY_API_KEY", "key");
    let ended = run_with_input(command, script);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for part in ["\"success\":true", "SMTP_CHANNEL_READY", "220 ", "221 "] {
        assert!(
            ended.stdout.contains(part),
            "{}{}",
            ended.stdout,
            ended.stderr
        );
    }

    let ended = run(&serving.url, &["--api-key", "hunter2"], "");
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("\"success\":false"),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stderr
            .contains("4001 (from a relay: authentication refused)"),
        "{}",
        ended.stderr
    );
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("hunter2"));

    // Not even where the peer says it.
    let url = peer(echo);
    let mut screen = Screen::start(console(&url, &["--api-key", "hunter2"]));
    screen.wait_for("< {\"type\":\"AUTHENTICATE\",\"apiKey\":\"[API key]\"");
    screen.wait_for_prompt("> ");
    screen.write(CTRL_D);
    assert_eq!(screen.wait(), 0);
    assert!(!screen.output().contains("hunter2"));

    // A key in the environment is for relays, and this may be none.
    let url = peer(|socket| {
        let first = socket.read().unwrap();
        assert_eq!(first, Message::text("hello"));
        close(socket, 1000, "");
    });
    let mut command = console(&url, &["--wait", "3600"]);
    command.env("RELAY_API_KEY", "hunter2");
    assert_eq!(run_with_input(command, "hello\n").code, 0);
}

#[test]
fn what_does_not_connect_is_4_and_what_breaks_1() {
    let url = format!("ws://{}/", deserted());
    let ended = run(&url, &["--attempts", "2"], "x\n");
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("* not yet: cannot connect to"),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .contains("\n* not connected: cannot connect to"),
        "{}",
        ended.stderr
    );

    let url = peer(|socket| {
        socket.read().unwrap();
        socket.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
    });
    let ended = run(&url, &[], "x\n");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("* connection lost: "),
        "{}",
        ended.stderr
    );

    for (arguments, part) in [
        (&["console", "http://h/"][..], "must start with ws://"),
        (&["console", "ws://h/", "--authenticate"], "no API key"),
        (&["console"], "<URL>"),
        (&["console", "ws://h/", "--wait=-1"], "--wait"),
    ] {
        let ended = run_with_input(relay(arguments), "");
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}
