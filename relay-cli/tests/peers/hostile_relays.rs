//! Relays that are none, or break the protocol: `relay send` says so and ends.

use crate::support::{Opcode, WebSocket, WebSocketServer, send};
use std::io::{Read, Write};

const LETTER: &[u8] = b"Subject: x\r\n\r\ny\r\n";
const GRANTED: &str = r#"{"type":"AUTHENTICATE_RESPONSE","success":true}"#;

/// Sends a message to something at this URL: connection failure, with all of this said.
#[track_caller]
fn unreachable(url: &str, said: &[&str]) {
    send(url, &["--to", "bob@example.net"], LETTER).expect(4, said);
}

/// The same to a relay that does this instead of answering AUTHENTICATE, and to one that does it later.
#[track_caller]
fn expect(said: &[&str], misbehave: impl Fn(&mut WebSocket) + Clone + Send + 'static) {
    let early = misbehave.clone();
    let relay = WebSocketServer::start(move |socket| {
        socket.wait_for("AUTHENTICATE");
        early(socket);
    });
    unreachable(&relay.url, said);

    let relay = WebSocketServer::start(move |socket| {
        socket.wait_for("AUTHENTICATE");
        socket.send_text(GRANTED);
        socket.wait_for("SMTP_CHANNEL_OPEN");
        misbehave(socket);
    });
    unreachable(&relay.url, said);
}

#[test]
fn a_host_that_does_not_exist() {
    unreachable("ws://relay.invalid/", &["failed: ", "relay.invalid"]);
}

#[test]
fn something_that_is_no_websocket() {
    let answers = [
        "220 mx.example ESMTP\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "\0\0\0\r\n\r\n",
        "",
    ];
    for answer in answers {
        let server = WebSocketServer::start_tcp(move |mut stream| {
            // Enough of the request not to reset the connection with the answer.
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        });
        unreachable(&server.url, &["failed: no connection to the relay"]);
    }
}

#[test]
fn garbage() {
    expect(&["failed: ", "not JSON"], |socket| {
        socket.send_text("garbage");
    });
}

#[test]
fn half_a_json() {
    expect(&["failed: ", "ends early"], |socket| {
        socket.send_text(r#"{"type":"AUTHENTICATE_RESPONSE","success""#);
    });
}

#[test]
fn a_missing_field() {
    expect(&["failed: ", "success"], |socket| {
        socket.send_text(r#"{"type":"AUTHENTICATE_RESPONSE"}"#);
    });
}

#[test]
fn a_binary_frame() {
    expect(&["failed: ", "binary"], |socket| {
        socket.send_frame(Opcode::Binary, GRANTED.as_bytes());
    });
}

#[test]
fn text_that_is_not_utf8() {
    expect(&["failed: ", "UTF-8"], |socket| {
        socket.send_frame(Opcode::Text, b"\xFF");
    });
}

#[test]
fn a_huge_frame() {
    expect(&["failed: ", "104857600 bytes"], |socket| {
        socket.send_head(Opcode::Text, 100 << 20);
        let mebibyte = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            socket.send(&mebibyte);
        }
    });
}

#[test]
fn a_masked_frame() {
    expect(&["failed: "], |socket| {
        socket.masks = true;
        socket.send_text(GRANTED);
    });
}

#[test]
fn a_goodbye() {
    expect(&["failed: ", "1013", "try later"], |socket| {
        socket.send_frame(Opcode::Close, b"\x03\xF5try later");
    });
}

#[test]
fn a_refused_key() {
    let relay = WebSocketServer::start(|socket| {
        socket.wait_for("AUTHENTICATE");
        socket.send_text(r#"{"type":"AUTHENTICATE_RESPONSE","success":false,"error":"not you"}"#);
    });
    let sent = send(&relay.url, &["--to", "bob@example.net"], LETTER);
    sent.expect(3, &["failed: the relay refused the API key: not you"]);
}

/// What comes out of every channel of a relay that is otherwise good: the message fails with this.
#[track_caller]
fn expect_of_channel(smtp: String, said: &[&str]) {
    let relay = WebSocketServer::start(move |socket| {
        socket.wait_for("AUTHENTICATE");
        socket.send_text(GRANTED);
        while socket.hears("SMTP_CHANNEL_OPEN") {
            socket.send_text(r#"{"type":"SMTP_CHANNEL_READY"}"#);
            socket.send_text(&format!(r#"{{"type":"SMTP_FROM_SERVER","data":"{smtp}"}}"#));
            if socket.hears("SMTP_CHANNEL_CLOSED") {
                socket.send_text(r#"{"type":"SMTP_CHANNEL_CLOSED"}"#);
            }
        }
    });
    send(&relay.url, &["--to", "bob@example.net"], LETTER).expect(5, said);
}

#[test]
fn a_channel_out_of_which_comes_no_smtp() {
    expect_of_channel(r"hello\r\n".to_owned(), &["failed: "]);
}

#[test]
fn a_line_without_end() {
    expect_of_channel("2".repeat(100_000), &["failed: "]);
}

#[test]
fn a_reply_without_end() {
    expect_of_channel(r"220-x\r\n".repeat(100_000), &["failed: "]);
}
