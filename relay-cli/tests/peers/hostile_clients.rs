//! Clients that break the rules of TCP's tenants, HTTP, WebSocket, JSON or the protocol. The relay tells them, and
//! serves the next one.

use crate::support::{KEY, Mailbox, Opcode, WebSocket};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
};

/// A client whose key was accepted.
fn authenticated(address: SocketAddr) -> WebSocket {
    let mut socket = WebSocket::connect(address);
    socket.send_text(&authenticate());
    socket.wait_for("\"success\":true");
    socket
}

fn authenticate() -> String {
    format!(r#"{{"type":"AUTHENTICATE","apiKey":"{KEY}"}}"#)
}

/// Does something after authentication for which the relay closes with this code and a reason with this in it.
#[track_caller]
fn expect(code: u16, part: &str, misbehave: impl FnOnce(&mut WebSocket)) {
    let mailbox = Mailbox::start();
    let mut socket = authenticated(mailbox.relay.address);
    misbehave(&mut socket);
    let (closed, reason) = socket.closed();
    assert_eq!(closed, code, "{reason}");
    assert!(reason.contains(part), "{reason}");
    mailbox.serves_the_next();
}

/// The same before authentication.
#[track_caller]
fn expect_early(code: u16, part: &str, misbehave: impl FnOnce(&mut WebSocket)) {
    let mailbox = Mailbox::start();
    let mut socket = WebSocket::connect(mailbox.relay.address);
    misbehave(&mut socket);
    let (closed, reason) = socket.closed();
    assert_eq!(closed, code, "{reason}");
    assert!(reason.contains(part), "{reason}");
    mailbox.serves_the_next();
}

#[test]
fn bytes_that_are_not_http_are_answered_and_forgotten() {
    let mailbox = Mailbox::start();
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    let requests: [&[u8]; 3] = [
        tls_hello,
        b"EHLO client.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n",
    ];
    for request in requests {
        let mut stream = TcpStream::connect(mailbox.relay.address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        mailbox.serves_the_next();
    }
}

#[test]
fn a_request_of_a_mebibyte_is_too_large() {
    let mailbox = Mailbox::start();
    let mut stream = TcpStream::connect(mailbox.relay.address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let header = [b"X-Header: ", &[b'x'; 1024][..], b"\r\n"].concat();
    stream.write_all(&header.repeat(1024)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    mailbox.serves_the_next();
}

#[test]
fn whoever_only_occupies_a_place_loses_it() {
    let mailbox = Mailbox::start();
    let mut half_a_request = TcpStream::connect(mailbox.relay.address).unwrap();
    half_a_request.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    let mut silent = WebSocket::connect(mailbox.relay.address);
    mailbox.serves_the_next();

    let (code, reason) = silent.closed();
    assert_eq!(code, 4008, "{reason}");
    let mut answer = Vec::new();
    half_a_request.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty());
    mailbox.serves_the_next();
}

#[test]
fn half_a_json() {
    expect(1002, "ends early", |socket| {
        socket.send_text(r#"{"type":"SMTP_CHANNEL_OPEN""#);
    });
}

#[test]
fn a_json_array() {
    expect(1002, "not a JSON object", |socket| {
        socket.send_text(r#"["SMTP_CHANNEL_OPEN"]"#);
    });
}

#[test]
fn a_mistyped_field() {
    expect(1002, "data", |socket| {
        socket.send_text(r#"{"type":"SMTP_TO_SERVER","data":1}"#);
    });
}

#[test]
fn a_deep_json() {
    const DEPTH: usize = 30_000;
    let deep = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
    expect_early(1002, "not JSON", |socket| {
        // A field that is unknown is ignored, whatever is in it; one that is known is read, but not so deep.
        socket.send_text(&format!(r#"{{"type":"X","x":{deep}}}"#));
        socket.send_text(&format!(r#"{{"type":{deep}}}"#));
    });
}

#[test]
fn a_binary_frame() {
    expect(1003, "binary", |socket| {
        socket.send_frame(Opcode::Binary, br#"{"type":"SMTP_CHANNEL_OPEN"}"#);
    });
}

#[test]
fn text_that_is_not_utf8() {
    expect(1007, "UTF-8", |socket| {
        socket.send_frame(Opcode::Text, b"{\"type\":\"\xFF\"}");
    });
}

#[test]
fn a_frame_that_is_not_masked() {
    expect(1002, "", |socket| {
        socket.masks = false;
        socket.send_text(r#"{"type":"SMTP_CHANNEL_OPEN"}"#);
    });
}

#[test]
fn a_frame_of_no_known_kind() {
    expect(1002, "", |socket| socket.send(b"\x83\x80\0\0\0\0"));
}

#[test]
fn a_continuation_of_nothing() {
    expect(1002, "", |socket| socket.send(b"\x80\x80\0\0\0\0"));
}

#[test]
fn a_close_frame_with_half_a_code() {
    expect(1002, "", |socket| socket.send_frame(Opcode::Close, b"\x03"));
}

#[test]
fn a_second_authentication() {
    expect(1002, "", |socket| socket.send_text(&authenticate()));
}

#[test]
fn smtp_without_a_channel() {
    let mailbox = Mailbox::start();
    let mut socket = authenticated(mailbox.relay.address);
    socket.send_text(r#"{"type":"SMTP_TO_SERVER","data":"MAIL FROM:<>\r\n"}"#);
    socket.wait_for("SMTP_CHANNEL_ERROR");
    // The link is as good as before.
    socket.send_text(r#"{"type":"SMTP_CHANNEL_OPEN"}"#);
    socket.wait_for("220 ");
    mailbox.serves_the_next();
}

#[test]
fn a_frame_before_authentication() {
    expect_early(1008, "", |socket| {
        socket.send_text(r#"{"type":"SMTP_CHANNEL_OPEN"}"#);
    });
}

#[test]
fn a_large_frame_before_authentication() {
    expect_early(1009, "", |socket| {
        let key = "x".repeat(65 << 10);
        socket.send_text(&format!(r#"{{"type":"AUTHENTICATE","apiKey":"{key}"}}"#));
    });
}

#[test]
fn a_head_that_claims_a_hundred_mebibytes() {
    expect(1009, "", |socket| socket.send_head(Opcode::Text, 100 << 20));
}

#[test]
fn a_head_that_claims_more_than_there_is_memory() {
    expect(1009, "", |socket| socket.send_head(Opcode::Text, 1 << 62));
}

#[test]
fn a_hundred_mebibytes_that_really_come() {
    let mailbox = Mailbox::start();
    for opcode in [Opcode::Text, Opcode::Binary] {
        let mut socket = authenticated(mailbox.relay.address);
        let mebibyte = vec![b'x'; 1 << 20];
        socket.send_head(opcode, 100 << 20);
        for _ in 0..100 {
            socket.send(&mebibyte);
        }
        socket.drain();
        mailbox.serves_the_next();
    }
    if let Some(grown) = mailbox.relay.memory_grown() {
        assert!(grown < 16 << 20, "{grown} bytes");
    }
}

#[test]
fn a_frame_in_pieces_is_one_frame() {
    let mailbox = Mailbox::start();
    let mut socket = WebSocket::connect(mailbox.relay.address);
    let frame = authenticate().into_bytes();
    let (first, second) = frame.split_at(7);
    socket.send(&[0x01, 0x80 | first.len() as u8, 0, 0, 0, 0]);
    socket.send(first);
    // A control frame may come in between.
    socket.send_frame(Opcode::Ping, b"?");
    socket.send(&[0x80, 0x80 | second.len() as u8, 0, 0, 0, 0]);
    socket.send(second);
    socket.wait_for("\"success\":true");
}

#[test]
fn whoever_leaves_in_the_middle_of_a_message_has_sent_none() {
    let mailbox = Mailbox::start();
    let mut socket = authenticated(mailbox.relay.address);
    socket.send_text(r#"{"type":"SMTP_CHANNEL_OPEN"}"#);
    let begun =
        r"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\nSubject: x\r\n\r\n";
    socket.send_text(&format!(r#"{{"type":"SMTP_TO_SERVER","data":"{begun}"}}"#));
    socket.wait_for("354 ");
    drop(socket);
    mailbox.relay.process.wait_for("from=<alice@example.org>");
    assert!(mailbox.relay.process.so_far().contains("message abandoned"));
    mailbox.serves_the_next();
    assert!(mailbox.messages("bob", "example.net").is_empty());
}

#[test]
fn a_message_in_endless_pieces() {
    let mailbox = Mailbox::start();
    let mut socket = authenticated(mailbox.relay.address);
    // The first piece of a text, and then continuations, none of which is the last.
    let mut pieces = b"\x01\x80\0\0\0\0".to_vec();
    let piece = [b"\x00\xFE\xFF\xFF\0\0\0\0", &[b'x'; 0xFFFF][..]].concat();
    pieces.extend(piece.repeat(17));
    socket.send(&pieces);
    assert_eq!(socket.closed().0, 1009);
    mailbox.serves_the_next();
}

#[test]
fn a_key_with_too_many_links_is_told_when_to_come_back() {
    let mailbox = Mailbox::with(&["--key-links", "2"]);
    let mut links = [(); 2].map(|()| authenticated(mailbox.relay.address));
    let mut third = WebSocket::connect(mailbox.relay.address);
    third.send_text(&authenticate());
    third.wait_for("\"retryAfterMs\":");
    let (code, reason) = third.closed();
    assert_eq!(
        (code, &*reason),
        (1008, "this API key has as many links as it may")
    );
    for link in &mut links {
        link.send_text(r#"{"type":"SMTP_CHANNEL_OPEN"}"#);
        link.wait_for("SMTP_CHANNEL_READY");
    }
}

#[test]
fn a_relay_that_may_hold_nothing_takes_no_message() {
    let mailbox = Mailbox::with(&["--max-held-bytes", "1", "--key-messages", "1"]);
    let mut first = authenticated(mailbox.relay.address);
    first.send_text(r#"{"type":"SMTP_CHANNEL_OPEN"}"#);
    first.wait_for("SMTP_CHANNEL_READY");
    let mut second = authenticated(mailbox.relay.address);
    second.send_text(r#"{"type":"SMTP_CHANNEL_OPEN"}"#);
    second.wait_for("\"code\":421,\"retryAfterMs\":");
    // What the first has begun it may finish.
    first.send_text(r#"{"type":"SMTP_TO_SERVER","data":"NOOP\r\n"}"#);
    first.wait_for("250 2.0.0 Ok");
}

#[test]
fn a_flood_of_pings() {
    const PINGS: usize = 400_000;
    let mailbox = Mailbox::start();
    let mut socket = authenticated(mailbox.relay.address);
    let mut sender = socket.sender();
    let flooding = thread::spawn(move || {
        // More than the sockets hold, and most of it is never read.
        let flooded = sender.write_all(&pings(PINGS));
        assert!(flooded.is_err(), "the relay has read it all");
    });
    for _ in 0..3 {
        mailbox.serves_the_next();
    }
    for _ in 0..200 {
        assert_eq!(socket.read_frame().unwrap(), pong());
    }
    socket.sender().shutdown(Shutdown::Both).unwrap();
    flooding.join().unwrap();
    mailbox.serves_the_next();
    if let Some(grown) = mailbox.relay.memory_grown() {
        assert!(grown < 16 << 20, "{grown} bytes");
    }
}

#[test]
fn a_burst_of_pings_is_answered_and_what_follows_waits_for_a_moment() {
    const PINGS: usize = 300;
    let mailbox = Mailbox::start();
    let mut socket = authenticated(mailbox.relay.address);
    socket.sender().write_all(&pings(PINGS)).unwrap();
    socket.send_text(r#"{"type":"SMTP_CHANNEL_OPEN"}"#);
    for _ in 0..PINGS {
        assert_eq!(socket.read_frame().unwrap(), pong());
    }
    socket.wait_for("SMTP_CHANNEL_READY");
}

fn pings(count: usize) -> Vec<u8> {
    let mut ping = b"\x89\xFD\0\0\0\0".to_vec();
    ping.extend([b'p'; 125]);
    ping.repeat(count)
}

fn pong() -> (Opcode, Vec<u8>) {
    (Opcode::Pong, vec![b'p'; 125])
}

#[test]
fn a_flood_of_commands_without_reading_the_replies() {
    let mailbox = Mailbox::start();
    let mut socket = authenticated(mailbox.relay.address);
    socket.send_text(r#"{"type":"SMTP_CHANNEL_OPEN"}"#);
    socket.wait_for("220 ");
    let commands = r"NOOP\r\n".repeat(10_000);
    let frame = format!(r#"{{"type":"SMTP_TO_SERVER","data":"{commands}"}}"#);
    let mut sender = socket.sender();
    let flooding = thread::spawn(move || {
        let mut head = vec![0x81, 0xFF];
        head.extend((frame.len() as u64).to_be_bytes());
        head.extend([0; 4]);
        // Until the relay reads no more, and then until it hangs up with the test.
        while sender.write_all(&head).is_ok() && sender.write_all(frame.as_bytes()).is_ok() {}
    });
    mailbox.serves_the_next();
    mailbox.serves_the_next();
    if let Some(grown) = mailbox.relay.memory_grown() {
        assert!(grown < 16 << 20, "{grown} bytes");
    }
    drop(mailbox);
    flooding.join().unwrap();
}
