//! Servers that say later, die, and come and go: each message is there once, or in doubt and said to be.

use super::{
    content::letter,
    conversation::{Conversation, DIALECTS, Dialect, Ended},
    flavours::Flavour,
    server::Server,
    tap::{Blocks, Tap},
};
use crate::support::{Process, RelayServer, send, sending};
use serde_json::Value;
use std::fs;

pub(crate) fn greylisting(flavour: &'static Flavour) {
    let Some(server) = Server::start(flavour) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let content = letter(1, "x\r\n");
    let content = content.as_bytes();
    let sent = send(&relay.url, &["--to", "grey@example.net"], content);
    sent.expect(0, &["not yet: ", "451", "come again", "accepted: 250"]);
    assert_eq!(server.arrived("grey"), [content]);
}

pub(crate) fn killed_in_the_middle(flavour: &'static Flavour) {
    let Some(mut server) = Server::start(flavour) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    for (dialect, delivery) in DIALECTS.into_iter().zip(1..) {
        let mut client = Conversation::start(&relay, dialect);
        let content = letter(delivery, &"0123456789abcdef\r\n".repeat(5000));
        let (first, second) = content.as_bytes().split_at(content.len() / 2);
        client.begin(delivery, "bob@example.net");
        client.announce(content.len());
        first.chunks(10_000).for_each(|piece| client.write(piece));
        server.kill();
        // What goes out before this is known would be in doubt.
        wait_for(&relay.process, "message abandoned", delivery);
        second.chunks(10_000).for_each(|piece| client.write(piece));
        client.finish();
        match dialect {
            Dialect::Base => {
                assert_eq!(client.reply().unwrap(), "451");
                client.end();
            }
            Dialect::Durable => {
                let Ended(word) = client.reply().unwrap_err();
                assert_eq!(word["code"], 451, "{word}");
            }
        }
        server.start_again();
        client.is_accepted(delivery, "bob@example.net", &content);
        let arrived = server.arrived("bob");
        assert_eq!(arrived.len(), delivery);
        assert!(arrived.iter().any(|message| *message == content.as_bytes()));
    }
}

fn farewell() -> String {
    letter(1, "So long.\r\n")
}

/// Sends a letter over the tap of which nobody will say what has become of it, and kills the server when it has got so many.
fn into_doubt(
    flavour: &'static Flavour,
    dialect: Dialect,
    blocks: Blocks,
    arriving: usize,
) -> Option<(Server, Tap, RelayServer, Conversation)> {
    let mut server = Server::start(flavour)?;
    let tap = Tap::before(server.port, blocks, "So long.\r\n");
    let relay = RelayServer::before(tap.port);
    let mut client = Conversation::start(&relay, dialect);
    client.begin(1, "bob@example.net");
    client.announce(farewell().len());
    client.write(farewell().as_bytes());
    client.finish();
    tap.wait_for_end();
    server.wait_for("bob", arriving);
    server.kill();
    let Ended(word) = client.reply().unwrap_err();
    match dialect {
        // No code: nothing that could be taken for a verdict.
        Dialect::Base => assert_eq!(word["code"], Value::Null, "{word}"),
        Dialect::Durable => assert_eq!(word["outcome"]["inDoubt"], true, "{word}"),
    }
    server.start_again();
    Some((server, tap, relay, client))
}

pub(crate) fn killed_before_the_end(flavour: &'static Flavour) {
    for dialect in DIALECTS {
        let Some((server, tap, _relay, mut client)) =
            into_doubt(flavour, dialect, Blocks::TheEnd, 0)
        else {
            return;
        };
        assert!(server.arrived("bob").is_empty());
        tap.let_through();
        client.is_accepted(2, "bob@example.net", &farewell());
        assert_eq!(server.arrived("bob"), [farewell().as_bytes()]);
    }
}

pub(crate) fn killed_before_the_reply(flavour: &'static Flavour) {
    for dialect in DIALECTS {
        let Some((server, tap, _relay, mut client)) =
            into_doubt(flavour, dialect, Blocks::Replies, 1)
        else {
            return;
        };
        // The relay sends nothing again by itself, and the next message goes its way.
        tap.let_through();
        client.is_accepted(2, "dave@example.net", &farewell());
        assert_eq!(server.arrived("dave"), [farewell().as_bytes()]);
        assert_eq!(server.arrived("bob"), [farewell().as_bytes()]);
    }
}

pub(crate) fn comes_and_goes(flavour: &'static Flavour) {
    const MESSAGES: usize = 50;
    let Some(mut server) = Server::start(flavour) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let directory = tempfile::tempdir().unwrap();
    let mut arguments = vec!["--to".to_owned(), "bob@example.net".to_owned()];
    for number in 0..MESSAGES {
        let path = directory.path().join(format!("{number}.eml"));
        fs::write(&path, letter(number, "x\r\n")).unwrap();
        arguments.push(path.to_str().unwrap().to_owned());
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let sending = sending(&relay.url, &arguments, b"");
    for round in 1..=4 {
        wait_for(&sending, ".eml: ", round * MESSAGES / 10);
        let delays = count(&sending, "not yet: ");
        if round % 2 == 0 {
            server.stop();
        } else {
            server.kill();
        }
        // It is missed before it comes back; where it was slow to go, all messages may have been faster.
        let is_missed = has_said(&sending, "not yet: ", delays + 1);
        assert!(is_missed || round > 1, "{}", sending.so_far());
        server.start_again();
    }
    let ended = sending.wait();
    let arrived = server.arrived("bob");
    for number in 0..MESSAGES {
        let name = format!("/{number}.eml: ");
        let told: Vec<_> = ended
            .output
            .lines()
            .filter_map(|line| line.split_once(&name))
            .map(|(_, told)| told)
            .collect();
        let [told] = told[..] else {
            panic!("one word about {number}: {}", ended.output);
        };
        let content = letter(number, "x\r\n");
        let times = arrived
            .iter()
            .filter(|message| **message == content.as_bytes())
            .count();
        let is_true = match told {
            _ if told.contains("may arrive twice") => (1..=2).contains(&times),
            _ if told.starts_with("accepted: 250") => times == 1,
            _ if told.contains("may or may not have been delivered") => times <= 2,
            _ => times == 0,
        };
        assert!(
            is_true,
            "{number} has arrived {times} times: {}",
            ended.output
        );
    }
    println!("{flavour:?}: {} of {MESSAGES} have arrived", arrived.len());
}

fn count(process: &Process, part: &str) -> usize {
    process
        .so_far()
        .lines()
        .filter(|line| line.contains(part))
        .count()
}

/// Waits until so many lines with this have been said; false if it ends before.
fn has_said(process: &Process, part: &str, wanted: usize) -> bool {
    let mut seen = 0;
    let found = process.find(|line| {
        seen += usize::from(line.contains(part));
        (seen >= wanted).then_some(())
    });
    found.is_some()
}

fn wait_for(process: &Process, part: &str, wanted: usize) {
    let has_said = has_said(process, part, wanted);
    assert!(has_said, "{wanted} times {part:?}: {}", process.so_far());
}
