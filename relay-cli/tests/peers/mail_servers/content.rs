//! What is sent is what arrives, for whom it can.

use super::{
    conversation::{Conversation, DIALECTS, Dialect},
    flavours::Flavour,
    server::Server,
    tap::{Blocks, Tap},
};
use crate::support::{RelayServer, send};

/// What is easily mangled in content: dots at the start of lines and alone, empty lines, nothing.
const CONTENTS: [&str; 8] = [
    "Hello, Bob.\r\n",
    "",
    ".\r\n..\r\n...\r\n",
    ".a\r\n..b\r\n. c\r\n .\r\nd.\r\n",
    "\r\n.\r\n",
    "\r\n\r\n\r\n.\r\n\r\n\r\n\r\n",
    ".\r\nQUIT\r\nDATA\r\nRSET\r\nBDAT 5 LAST\r\n.\r\n",
    "no line end\r\n.",
];

/// A message with what servers would add if it was not there.
pub(crate) fn letter(number: usize, content: &str) -> String {
    format!(
        "Subject: {number}\r\nFrom: alice@example.org\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <{number}@example.org>\r\n\r\n{content}"
    )
}

pub(crate) fn arrives_byte_for_byte(flavour: &'static Flavour) {
    let Some(server) = Server::start(flavour) else {
        return;
    };
    let tap = Tap::before(server.port, Blocks::Nothing, "");
    let relay = RelayServer::before(tap.port);
    for dialect in DIALECTS {
        let mut client = Conversation::start(&relay, dialect);
        for (number, content) in CONTENTS.into_iter().enumerate() {
            let letter = letter(number, content);
            // After DATA there is nothing but lines, and dots are doubled.
            let sent = match dialect {
                Dialect::Base => with_line_end(&letter).replace("\r\n.", "\r\n.."),
                Dialect::Durable => letter,
            };
            let delivery = 100 * dialect as usize + number;
            client.is_accepted(delivery, "bob@example.net", &sent);
        }
    }
    let arrived = server.arrived("bob");
    assert_eq!(arrived.len(), DIALECTS.len() * CONTENTS.len());
    for (number, content) in CONTENTS.into_iter().enumerate() {
        let letter = with_line_end(&letter(number, content));
        let same = arrived
            .iter()
            .filter(|message| **message == letter.as_bytes());
        assert_eq!(
            same.count(),
            DIALECTS.len(),
            "{letter:?} of {:#?}",
            readable(&arrived)
        );
    }
    let said = tap.said();
    assert_eq!(
        said.contains("LAST\r\nSubject: "),
        flavour.offers("CHUNKING"),
        "{said}"
    );
    assert_eq!(
        said.contains("DATA\r\nSubject: "),
        !flavour.offers("CHUNKING"),
        "{said}"
    );
}

/// A mail server ends the last line of what came without one.
fn with_line_end(letter: &str) -> String {
    let end = if letter.ends_with("\r\n") { "" } else { "\r\n" };
    format!("{letter}{end}")
}

pub(crate) fn readable(messages: &[Vec<u8>]) -> Vec<String> {
    messages
        .iter()
        .map(|message| String::from_utf8_lossy(message).into_owned())
        .collect()
}

pub(crate) fn ten_mebibytes(flavour: &'static Flavour) {
    let Some(server) = Server::start(flavour) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let mut content = letter(1, "").into_bytes();
    for number in 0_u32.. {
        if content.len() > 10 << 20 {
            break;
        }
        // Lines of all lengths up to 900, with dots at the start of some.
        let length = number.wrapping_mul(2_654_435_761) as usize % 900;
        let line = [b'.', b' ', b'x', b'M'].repeat(225);
        content.extend(&line[number as usize % 4..][..length.min(890)]);
        content.extend(b"\r\n");
    }
    send(&relay.url, &["--to", "bob@example.net"], &content).expect(0, &["accepted: 250"]);
    let [message] = &*server.arrived("bob") else {
        panic!("one message");
    };
    assert!(
        *message == content,
        "{} octets of {} have arrived, or others",
        message.len(),
        content.len()
    );
}

pub(crate) fn one_recipient_is_refused(flavour: &'static Flavour) {
    let Some(server) = Server::start(flavour) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let content = letter(1, "x\r\n");
    let content = content.as_bytes();
    let to = [
        "--to=bob@example.net",
        "--to=carol@example.net",
        "--to=dave@example.net",
    ];
    let sent = send(&relay.url, &to, content);
    sent.expect(7, &["accepted: 250", "refused for <carol@example.net>: 5"]);
    for name in ["bob", "dave"] {
        assert_eq!(server.arrived(name), [content], "{name}");
    }
    assert!(server.arrived("carol").is_empty());
}

pub(crate) fn long_lines(flavour: &'static Flavour) {
    let Some(server) = Server::start(flavour) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    for dialect in DIALECTS {
        for length in [998, 999, 1000, 1001, 2048, 4096, 20_000, 100_000] {
            // A server that does not like one may hang up.
            let mut client = Conversation::start(&relay, dialect);
            let number = length + dialect as usize * 1_000_000;
            let content = letter(number, &format!("{}\r\nnext\r\n", "x".repeat(length)));
            let reply = client
                .send(number, "bob@example.net", content.as_bytes())
                .unwrap();
            let arrived = server.arrived("bob");
            let is_there = arrived.iter().any(|message| *message == content.as_bytes());
            println!("{flavour:?}, {dialect:?}, a line of {length}: {reply}");
            if reply == "250" {
                assert!(is_there, "{length}");
            } else {
                // RFC 5321, section 4.5.3.1.6: 1,000 octets with the line end must do.
                assert!(length > 998 && reply.starts_with('5'), "{length}: {reply}");
                let start = letter(number, "");
                assert!(
                    !arrived
                        .iter()
                        .any(|message| message.starts_with(start.as_bytes()))
                );
            }
        }
    }
}

pub(crate) fn beyond_ascii(flavour: &'static Flavour) {
    let Some(server) = Server::start(flavour) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let content = letter(1, "Grüße\r\n");
    let content = content.as_bytes();
    let sent = send(&relay.url, &["--to", "bob@example.net"], content);
    if flavour.offers("8BITMIME") {
        sent.expect(0, &["accepted: 250"]);
        assert_eq!(server.arrived("bob"), [content]);
    } else {
        sent.expect(5, &["failed: ", "8BITMIME"]);
        assert!(server.arrived("bob").is_empty());
    }
    let content = letter(1, "x\r\n");
    let content = content.as_bytes();
    let sent = send(&relay.url, &["--to", "δοκιμή@example.net"], content);
    if flavour.offers("SMTPUTF8") {
        sent.expect(0, &["accepted: 250"]);
        assert_eq!(server.arrived("δοκιμή"), [content]);
    } else {
        sent.expect(5, &["failed: ", "SMTPUTF8"]);
        assert!(server.arrived("δοκιμή").is_empty());
    }
}
