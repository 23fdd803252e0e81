//! `relay send` and `relay serve` before aiosmtpd: what arrives is what was sent, for whom it can.

use crate::support::{MailServer, RelayServer, Sink, send};

/// Everything that is easily mangled: dots, long lines, all bytes but NUL, CR and LF, empty lines at the end.
fn tricky() -> Vec<u8> {
    let mut content =
        b"Subject: tricky\r\n\r\n.\r\n..\r\n...\r\n.leading\r\ntrailing.\r\n".to_vec();
    content.extend((1..=255).filter(|byte| !b"\r\n".contains(byte)));
    content.extend(b"\r\n");
    content.extend([b'x'; 998]);
    content.extend(b"\r\n.");
    content.extend([0xE9; 100_000]);
    content.extend(b"\r\n\r\n\r\n");
    content
}

#[test]
fn content_arrives_byte_for_byte() {
    let Some(server) = MailServer::start(&[]) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let content = tricky();
    let sent = send(&relay.url, &["--to", "bob@example.net"], &content);
    sent.expect(0, &["accepted: 250 2.0.0 kept as 0"]);
    let [(envelope, received)] = &*server.messages() else {
        panic!("one message");
    };
    assert!(
        envelope.starts_with("MAIL alice@example.org "),
        "{envelope}"
    );
    assert!(envelope.contains("BODY=8BITMIME"), "{envelope}");
    assert!(envelope.ends_with("\nRCPT bob@example.net"), "{envelope}");
    assert_eq!(*received, content);
}

#[test]
fn an_address_beyond_ascii_arrives_where_the_server_knows_such() {
    let Some(server) = MailServer::start(&[]) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let to = ["--to", "δοκιμή@παράδειγμα.example"];
    send(&relay.url, &to, b"Subject: x\r\n\r\ny\r\n").expect(0, &["accepted"]);
    let [(envelope, _)] = &*server.messages() else {
        panic!("one message");
    };
    assert!(envelope.contains("SMTPUTF8"), "{envelope}");
    assert!(
        envelope.ends_with("\nRCPT δοκιμή@παράδειγμα.example"),
        "{envelope}"
    );
}

#[test]
fn an_address_beyond_ascii_is_refused_where_the_server_does_not() {
    let Some(sink) = Sink::start(&[]) else {
        return;
    };
    let relay = RelayServer::before(sink.port);
    let to = ["--to", "δοκιμή@παράδειγμα.example"];
    let sent = send(&relay.url, &to, b"Subject: x\r\n\r\ny\r\n");
    sent.expect(5, &["failed: ", "SMTPUTF8"]);
    assert!(sink.dumps().is_empty());
}

#[test]
fn a_refused_recipient_is_named_and_the_others_get_the_message() {
    let Some(server) = MailServer::start(&["carol@example.net"]) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let to = ["bob", "carol", "dave"].map(|name| format!("--to={name}@example.net"));
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    let sent = send(&relay.url, &to, b"Subject: x\r\n\r\ny\r\n");
    let refused = "refused for <carol@example.net>: 550 5.1.1 carol@example.net is unknown here";
    sent.expect(7, &["accepted: 250 2.0.0", refused]);
    let [(envelope, _)] = &*server.messages() else {
        panic!("one message");
    };
    assert!(
        envelope.ends_with("\nRCPT bob@example.net\nRCPT dave@example.net"),
        "{envelope}"
    );
}

#[test]
fn with_all_recipients_refused_nothing_is_sent() {
    let Some(server) = MailServer::start(&["bob@example.net", "carol@example.net"]) else {
        return;
    };
    let relay = RelayServer::before(server.port);
    let to = ["--to", "bob@example.net", "--to", "carol@example.net"];
    let sent = send(&relay.url, &to, b"Subject: x\r\n\r\ny\r\n");
    sent.expect(5, &["failed: ", "550", "is unknown here"]);
    assert!(server.messages().is_empty());
}
