//! One message in is one message out, whatever is in it and whoever reads it.

use super::{
    peer::{MODERN, Peer},
    rig::{CLIENT, Rig, pooled},
};
use crate::{LinkId, mail::relay::Policy, smtp::malformed_ends::MALFORMED_ENDS};
use alloc::{format, string::String, vec::Vec};

const FORGED: &str =
    "MAIL FROM:<mallory@evil.example>\r\nRCPT TO:<victim@d.example>\r\nDATA\r\nforged\r\n";

const SERVERS: [&str; 4] = [
    "250 mx.example\r\n",
    "250-mx.example\r\n250 PIPELINING\r\n",
    "250-mx.example\r\n250 CHUNKING\r\n",
    MODERN,
];

/// The server agrees to the envelope and to content, of which it takes nothing for a command.
fn agree(rig: &mut Rig, upstream: LinkId, heard: &mut String) {
    loop {
        let said = rig.upstream_hears(upstream);
        if said.is_empty() {
            return;
        }
        for line in said.split_inclusive("\r\n") {
            let is_content = heard.contains("DATA\r\n") || heard.contains("BDAT ");
            heard.push_str(line);
            let reply = match line.get(..4) {
                Some("MAIL" | "RCPT") if !is_content => "250 fine\r\n",
                Some("DATA") if !is_content => "354 go\r\n",
                _ => continue,
            };
            rig.upstream_says(upstream, reply);
        }
    }
}

/// What a server has heard is one message for any reader, however it takes line ends.
fn is_one_message(heard: &str) {
    let mended = heard.replace("\r\n", "");
    assert!(!mended.contains(['\r', '\n']), "{heard:?}");
    let (envelope, content) = heard.split_once("DATA\r\n").unwrap();
    if let Some(chunks) = envelope.find("BDAT ") {
        let mut rest = &heard[chunks..];
        // Every octet belongs to a chunk, and the last one is the last.
        while let Some((line, behind)) = rest.split_once("\r\n") {
            let length = line.strip_prefix("BDAT ").unwrap();
            let is_last = length.ends_with(" LAST");
            let length = length.trim_end_matches(" LAST").parse::<usize>().unwrap();
            rest = &behind[length..];
            assert_eq!(is_last, rest.is_empty(), "{heard:?}");
        }
        return;
    }
    assert_eq!(content.matches("\r\n.\r\n").count(), 1, "{heard:?}");
    assert!(content.ends_with("\r\n.\r\n"), "{heard:?}");
}

#[test]
fn nothing_in_a_chunk_of_a_session_ends_its_message_for_any_server() {
    // In a chunk the right end is no end either.
    for end in MALFORMED_ENDS.into_iter().chain(["\r\n.\r\n"]) {
        let before = "Subject: x\r\n\r\nhello";
        let content = format!("{before}{end}{FORGED}");
        let said = format!(
            "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT {} LAST\r\n{content}",
            content.len()
        );
        let at = said.len() - content.len() + before.len();
        for (server, cut) in SERVERS
            .iter()
            .flat_map(|server| (at..=at + end.len()).map(move |cut| (server, cut)))
        {
            let mut rig = Rig::new(pooled());
            let mut peer = Peer::connect(&mut rig, 0);
            let channel = peer.open(1, None);
            peer.say(channel, &said[..cut]);
            peer.talk(&mut rig);
            let upstream = rig.greet(server);
            let mut heard = String::new();
            agree(&mut rig, upstream, &mut heard);
            peer.say(channel, &said[cut..]);
            peer.talk(&mut rig);
            agree(&mut rig, upstream, &mut heard);
            is_one_message(&heard);
            assert!(heard.contains("mallory"), "it is content");
            let (envelope, _) = heard.split_once("Subject").unwrap();
            assert_eq!(envelope.matches("MAIL").count(), 1, "{end:?} cut at {cut}");
        }
    }
}

/// Some servers pass over NULs, and some read no line beyond one.
#[test]
fn a_nul_hides_no_dot_from_any_server() {
    for line in ["\0.", ".\0", "\0\0.\0\0", ".\0.", "\r\0\n.", "\r\n\0\r\n."] {
        let mut rig = Rig::new(pooled());
        let mut peer = Peer::connect(&mut rig, 0);
        let channel = peer.open(1, None);
        let content = format!("Subject: x\r\n\r\n{line}\r\n{FORGED}");
        let envelope = "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";
        let chunk = format!("BDAT {} LAST\r\n{content}", content.len());
        peer.say(channel, &format!("{envelope}{chunk}"));
        peer.talk(&mut rig);
        let upstream = rig.greet(SERVERS[0]);
        let mut heard = String::new();
        agree(&mut rig, upstream, &mut heard);
        is_one_message(&heard);
        is_one_message(&heard.replace('\0', ""));
        let read = |line: &str| format!("{}\r\n", line.split('\0').next().unwrap());
        is_one_message(&heard.lines().map(read).collect::<String>());
    }
}

#[test]
fn what_follows_quit_is_never_a_command() {
    let (mut rig, upstream) = Rig::open(Policy::default());
    rig.client_says(&format!("QUIT\r\n{FORGED}.\r\n"));
    rig.client_says(FORGED);
    let heard = rig.upstream_hears(upstream);
    assert!(!heard.contains("mallory"), "{heard}");
    assert_eq!(rig.mails, 0);
    let heard = rig.client_hears();
    assert!(heard.starts_with("221 "), "{heard}");
    assert_eq!(heard.matches("\r\n").count(), 1, "{heard}");
    assert!(rig.is_open(CLIENT));
}

#[test]
fn commands_on_one_channel_are_not_those_of_another() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channels: Vec<_> = (1..=2).map(|number| peer.open(number, None)).collect();
    // Each says a byte in turn, so that every command is cut everywhere.
    let said = [1, 2].map(|number| {
        format!(
            "MAIL FROM:<a{number}@b.example>\r\nRCPT TO:<c{number}@d.example>\r\nBDAT 8 LAST\r\n{}\r\n",
            format!("{number}").repeat(6)
        )
    });
    for at in 0..said[0].len() {
        for (channel, said) in channels.iter().zip(&said) {
            peer.say(*channel, &said[at..=at]);
            peer.talk(&mut rig);
        }
    }
    for number in [1, 2] {
        let link = LinkId::dialled(number - 1);
        rig.input(crate::Input::Opened { link });
        rig.upstream_says(link, "220 hi\r\n");
        rig.upstream_hears(link);
        rig.upstream_says(link, MODERN);
        let mut heard = String::new();
        agree(&mut rig, link, &mut heard);
        assert_eq!(heard, said[number as usize - 1]);
    }
}
