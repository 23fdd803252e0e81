//! One message in is one message out, whatever it contains and whatever the server takes for the end of data; and no command but
//! those of the relay.

use super::{
    content::{letter, readable},
    conversation::{Conversation, DIALECTS, Dialect},
    flavours::Flavour,
    server::{Server, Session},
    tap::{Blocks, Tap},
};
use crate::support::RelayServer;
use relay_testkit::MALFORMED_ENDS;
use std::io;

/// Asks without a relay between: were nothing taken for an end here, the other test would show nothing.
pub(crate) fn asked_directly(flavour: &'static Flavour) {
    let Some(mut server) = Server::start(flavour) else {
        return;
    };
    let mut replies = Vec::new();
    for (number, end) in MALFORMED_ENDS.iter().enumerate() {
        let reply = ask(&server, number, end).unwrap_or_else(|_| {
            // Commands behind the end are too much for some: OpenSMTPD 6.8 may die of them.
            println!("{flavour:?} has died before {end:?}");
            server.kill();
            server.start_again();
            ask(&server, number, end).unwrap()
        });
        replies.push(reply);
    }
    let arrived = server.arrived("bob");
    let ends_at = |number: usize| {
        let start = letter(number, "");
        let mut arrived = arrived.iter();
        let message = arrived.find(|message| message.starts_with(start.as_bytes()));
        let is_cut = |message: &Vec<u8>| !String::from_utf8_lossy(message).contains("behind");
        // Or it has taken what is behind the end for a command, and does not like that there is one already.
        message.is_some_and(is_cut) || replies[number].contains("Pipelining not supported")
    };
    let taken: Vec<_> = (0..replies.len())
        .filter(|number| ends_at(*number))
        .map(|number| MALFORMED_ENDS[number])
        .collect();
    println!("{flavour:?} takes for the end of data: {taken:?}");
    assert_eq!(!taken.is_empty(), flavour.is_lenient, "{taken:?}");
}

/// Sends a message that may end before its end.
fn ask(server: &Server, number: usize, end: &str) -> io::Result<String> {
    let mut session = Session::connect(server.port)?;
    for line in [
        "EHLO client.example",
        "MAIL FROM:<alice@example.org>",
        "RCPT TO:<bob@example.net>",
        "DATA",
    ] {
        session.say(&format!("{line}\r\n"))?;
    }
    let content = letter(number, &format!("hello{end}Subject: behind\r\n.\r\n"));
    // A server that does not like it may hang up.
    Ok(session.say(&content).unwrap_or_default())
}

pub(crate) fn through_a_relay(flavour: &'static Flavour) {
    let Some(server) = Server::start(flavour) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let mut expected = Vec::new();
    for dialect in DIALECTS {
        let mut client = Conversation::start(&relay, dialect);
        for end in MALFORMED_ENDS {
            for is_split in [false, true] {
                let number = expected.len();
                let before = letter(number, "hello");
                let behind = "MAIL FROM:<mallory@example.com>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\nSubject: forged\r\n\r\nforged\r\n";
                client.begin(number, "bob@example.net");
                client.announce(before.len() + end.len() + behind.len());
                client.write(before.as_bytes());
                let size = if is_split { 1 } else { end.len() };
                for piece in end.as_bytes().chunks(size) {
                    client.write(piece);
                }
                client.write(behind.as_bytes());
                client.finish();
                assert_eq!(client.reply().unwrap(), "250", "{end:?}");
                client.end();
                expected.push(as_sent_on(&format!("{before}{end}{behind}"), dialect));
            }
        }
    }
    let arrived = readable(&server.arrived("bob"));
    assert_eq!(arrived.len(), expected.len());
    for content in expected {
        let found = arrived
            .iter()
            .any(|message| up_to_nuls(message) == up_to_nuls(&content));
        assert!(found, "{content:?} is not among {arrived:#?}");
    }
}

/// What a relay makes of this: without the dots that DATA wants doubled, and with line ends mended.
fn as_sent_on(content: &str, dialect: Dialect) -> String {
    let lines = content.split("\r\n").map(|line| match dialect {
        Dialect::Base => line.strip_prefix('.').unwrap_or(line),
        Dialect::Durable => line,
    });
    let lines = lines.map(|line| line.replace(['\r', '\n'], "\r\n"));
    lines.collect::<Vec<_>>().join("\r\n")
}

/// Without NULs, and what is behind them on a line, which is as far as OpenSMTPD reads it. A relay leaves out those that begin a line.
fn up_to_nuls(content: &str) -> String {
    let lines = content
        .split("\r\n")
        .map(|line| line.trim_start_matches('\0'));
    let lines = lines.map(|line| line.split('\0').next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\r\n")
}

pub(crate) fn injection(flavour: &'static Flavour) {
    const HOSTILE: [&str; 10] = [
        "MAIL FROM:<alice@example.org>\nRCPT TO:<evil@example.net>",
        "MAIL FROM:<alice@example.org\rRCPT TO:<evil@example.net>>",
        "MAIL FROM:<alice@example.org>\0RCPT TO:<evil@example.net>",
        "MAIL FROM:<alice@example.org> SIZE=1\nRCPT TO:<evil@example.net>",
        "MAIL FROM:<alice@example.org> BODY=8BITMIME RET=EVIL",
        "MAIL FROM:<alice@example.org> ENVID=evil+0D+0ARSET+0",
        "RCPT TO:<bob@example.net>\rRCPT TO:<evil@example.net>",
        "RCPT TO:<bob@example.net\nRCPT TO:<evil@example.net>>",
        "RCPT TO:<\"evil\nRSET\"@example.net>",
        "EVIL\nVRFY evil",
    ];
    let Some(server) = Server::start(flavour) else {
        return;
    };
    let tap = Tap::before(server.port, Blocks::Nothing, "");
    let relay = RelayServer::before(tap.port);
    for (dialect, delivery) in DIALECTS.into_iter().zip(1..) {
        for line in HOSTILE {
            let mut client = Conversation::start(&relay, dialect);
            client.open(delivery);
            if line.starts_with("RCPT") {
                client.command("MAIL FROM:<alice@example.org>", "250");
            }
            client.write(format!("{line}\r\n").as_bytes());
            let code = client.reply().unwrap();
            assert!(code.starts_with('5'), "{line:?}: {code}");
            client.end();
        }
        let mut client = Conversation::start(&relay, dialect);
        client.is_accepted(delivery, "bob@example.net", &letter(delivery, "x\r\n"));
    }
    assert_eq!(server.arrived("bob").len(), DIALECTS.len());
    let said = tap.said();
    assert!(!said.to_ascii_lowercase().contains("evil"), "{said}");
}
