//! A client in another language, which knows only the base dialect, and `relay serve`.

use crate::support::{KEY, Mailbox, RelayServer, Sink, base_client};
use relay_testkit::MALFORMED_ENDS;

const LETTER: &[u8] =
    b"From: alice@example.org\r\nSubject: Hello\r\n\r\n.\r\n..\r\n.dots\r\n\r\nBye.\r\n";

/// Bytes that are not UTF-8, around the places where the client cuts.
fn eight_bit() -> Vec<u8> {
    let mut content = b"Subject: 8 bits\r\n\r\n".to_vec();
    for line in 0..600_u32 {
        content.extend((0..60).map(|column| 0x80 | (line * 7 + column) as u8));
        content.extend(b"\r\n");
    }
    content
}

#[test]
fn a_careful_client_goes_step_by_step() {
    let mailbox = Mailbox::start();
    let Some(client) = base_client(&mailbox.relay.url, &["--key", KEY], &[LETTER]) else {
        return;
    };
    client.expect(0, &["SMTP_CHANNEL_READY", "221 ", "\"closed\": 1000"]);
    assert_eq!(mailbox.messages("bob", "example.net"), [LETTER]);
}

#[test]
fn a_simple_client_sends_its_whole_script_at_once() {
    let mailbox = Mailbox::start();
    let arguments = ["--key", KEY, "--simple"];
    let Some(client) = base_client(&mailbox.relay.url, &arguments, &[LETTER]) else {
        return;
    };
    client.expect(0, &["354 ", "250 2.0.0", "221 ", "\"closed\": 1000"]);
    assert_eq!(mailbox.messages("bob", "example.net"), [LETTER]);
}

#[test]
fn eight_bit_content_comes_as_base64() {
    let mailbox = Mailbox::start();
    let content = eight_bit();
    for arguments in [&["--key", KEY][..], &["--key", KEY, "--simple"]] {
        let Some(client) = base_client(&mailbox.relay.url, arguments, &[&content]) else {
            return;
        };
        client.expect(0, &["250 2.0.0", "\"closed\": 1000"]);
    }
    let messages = mailbox.messages("bob", "example.net");
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|message| *message == content));
}

#[test]
fn a_wrong_key_is_refused_for_good() {
    let mailbox = Mailbox::start();
    let arguments = ["--key", "another key"];
    let Some(client) = base_client(&mailbox.relay.url, &arguments, &[LETTER]) else {
        return;
    };
    client.expect(
        0,
        &["\"success\": false", "unknown API key", "\"closed\": 4001"],
    );
    assert!(!client.output.contains("SMTP_CHANNEL_READY"));
    assert!(mailbox.messages("bob", "example.net").is_empty());
}

#[test]
fn one_link_carries_one_message_after_another() {
    let mailbox = Mailbox::start();
    let other = eight_bit();
    let messages = [LETTER, &other, b"Subject: third\r\n\r\n\r\n"];
    for arguments in [&["--key", KEY][..], &["--key", KEY, "--simple"]] {
        let Some(client) = base_client(&mailbox.relay.url, arguments, &messages) else {
            return;
        };
        client.expect(0, &["\"closed\": 1000"]);
        assert_eq!(client.output.matches("AUTHENTICATE_RESPONSE").count(), 1);
        assert_eq!(client.output.matches("SMTP_CHANNEL_CLOSED").count(), 3);
    }
    let received = mailbox.messages("bob", "example.net");
    assert_eq!(received, [messages, messages].concat());
}

#[test]
fn nobody_smuggles_a_second_message_past_the_relay() {
    // A mail server that takes a lone LF for the end of a line sees no end of data where the relay saw none.
    let Some(sink) = Sink::start(&[]) else {
        return;
    };
    let relay = RelayServer::before(sink.port);
    let mut content = b"Subject: x\r\n\r\n".to_vec();
    for end in MALFORMED_ENDS {
        content.extend(format!("text{end}MAIL FROM:<mallory@example.com>{end}").bytes());
    }
    content.extend(b"\r\n");
    for arguments in [&["--key", KEY][..], &["--key", KEY, "--simple"]] {
        let Some(client) = base_client(&relay.url, arguments, &[&content]) else {
            return;
        };
        client.expect(0, &["250 2.0.0", "\"closed\": 1000"]);
    }
    let messages = sink.messages();
    assert_eq!(messages.len(), 2);
    for message in messages {
        let text = String::from_utf8(message).unwrap();
        assert_eq!(
            text.matches("MAIL FROM:<mallory@example.com>").count(),
            MALFORMED_ENDS.len()
        );
    }
}
