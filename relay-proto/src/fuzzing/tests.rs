//! Each target on random inputs that are almost right.

use super::*;
use alloc::string::String;
use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*, sample::select};

/// The examples every fuzz run begins with, among them what earlier runs have found.
#[test]
fn seeds() {
    type Target = fn(&[u8]);
    const TARGETS: [(&str, Target); 15] = [
        ("content", super::content),
        ("endpoint", super::endpoint),
        ("http", super::http),
        ("http_connect", super::http_connect),
        ("kv_service", super::kv_service),
        ("kv_wire", super::kv_wire),
        ("mail_client", super::mail_client),
        ("mail_relay", super::mail_relay),
        ("session_frame", super::session_frame),
        ("session_pair", super::session_pair),
        ("smtp_command", super::smtp_command),
        ("smtp_delivery", super::smtp_delivery),
        ("smtp_reply", super::smtp_reply),
        ("smtp_session", super::smtp_session),
        ("wire", super::wire),
    ];
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    assert_eq!(seeds.read_dir().unwrap().count(), TARGETS.len());
    for (name, target) in TARGETS {
        for seed in seeds.join(name).read_dir().unwrap() {
            target(&fs::read(seed.unwrap().path()).unwrap());
        }
    }
}

/// A piece size, then fragments of the language in any order with arbitrary bytes between them.
fn fragments(of: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        4 => select(of).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    (any::<u8>(), vec(fragment, 0..24)).prop_map(|(size, fragments)| {
        let mut input = Vec::from([size]);
        input.extend(fragments.into_iter().flatten());
        input
    })
}

/// A choice among few.
fn small() -> impl Strategy<Value = u8> {
    prop_oneof![8 => 0u8..12, 1 => any::<u8>()]
}

proptest! {
    #[test]
    fn endpoint(input in "(wss?://)?[a-z0-9.:/@%?#\\[\\]-]{0,30}") {
        super::endpoint(input.as_bytes());
    }

    #[test]
    fn http(input in fragments(&[
        "GET ", "POST ", "/ws?apiKey=a%2Bb&x", " HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: h\r\n", "POST / HTTP/1.1\r\nHost: h\r\n",
        "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 \r\n\r\n", "HTTP/1.0 204\r\n", "Host: h\r\n", "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n", "Upgrade: websocket\r\n", "Expect: 100-continue\r\n", "X: \u{e9}\r\n", "\r\n", "\n", "3\r\n",
        "abc", "\r\n0\r\n\r\n", ";x=y",
    ])) {
        super::http(&input);
    }

    #[test]
    fn http_connect(
        size: u8,
        proxy in "(https?://)?([a-z%:0-9]{1,8}@)?[a-z0-9.:%,*/]{0,20}",
        server in "wss?://[a-z0-9.:]{1,12}",
        answer in fragments(&["HTTP/1.1 ", "200 ", "100 ", "407 ", "OK", "\r\n", "\r\n\r\n", "Via: x", "Proxy-Authenticate: Basic"]),
    ) {
        let lines = [&[size], proxy.as_bytes(), b"\n", server.as_bytes(), b"\n", &answer[1..]];
        super::http_connect(&lines.concat());
    }

    #[test]
    fn smtp_reply(input in fragments(&["250", "550", "-", " ", "5.7.1 ", "2.0.0", "ok", "\r\n", "\n", "\r"])) {
        super::smtp_reply(&input);
    }

    #[test]
    fn smtp_command(input in "(MAIL FROM:|RCPT TO:|EHLO |[A-Z]{4} ?)(<([a-z.]{1,4}@[a-z.-]{1,6}|\"[ -~]{0,4}\"@a)?>)?( SIZE=[0-9]{1,3}| BODY=8BITMIME| SMTPUTF8)*\\PC{0,4}") {
        super::smtp_command(input.as_bytes());
    }

    #[test]
    fn smtp_session(input in fragments(&[
        "EHLO a\r\n", "MAIL FROM:<a@b>\r\n", "MAIL FROM:<a@no>\r\n", "RCPT TO:<a@b>\r\n", "RCPT TO:<a@no>\r\n", "DATA\r\n",
        "hello\r\n", ".\r\n", "..\r\n", "RSET\r\n", "NOOP\r\n", "QUIT\r\n", "\r\n", "\n", "MAIL", "DATA",
        "STARTTLS\r\n", "AUTH PLAIN", "AUTH LOGIN\r\n", " ", "AGFsaWNlAHNlc2FtZQ==\r\n", "AGFsaWNlAHdyb25n\r\n", "YWxpY2U=\r\n", "*\r\n",
    ])) {
        super::smtp_session(&input);
    }

    #[test]
    fn kv_wire(input in fragments(&[
        "{", "}", "\"op\":", "\"messageId\":", "1", "7", ",", "\"key\":", "\"value\":", "\"x\\n\"", "\"encoding\":\"base64\"", "\"code\":200",
        "\"type\":\"notification\"", "\"records\":[", "]", "null", "\"durable\":{", "\"newValue\":-3", "1e3", "\"AA==\"",
    ])) {
        super::kv_wire(&input);
    }

    #[test]
    fn kv_service(input in vec(small(), 0..400)) {
        super::kv_service(&input);
    }

    #[test]
    fn mail_client(input in vec(small(), 0..300)) {
        super::mail_client(&input);
    }

    #[test]
    fn mail_relay(input in vec(small(), 0..300)) {
        super::mail_relay(&input);
    }

    #[test]
    fn session_frame(input in vec(prop_oneof![0u8..4, any::<u8>()], 0..40)) {
        super::session_frame(&input);
    }

    #[test]
    fn session_pair(input in vec(any::<u8>(), 0..600)) {
        super::session_pair(&input);
    }

    #[test]
    fn smtp_delivery(choices in vec(small(), 8), content in fragments(&["a", ".", "..", "\r\n", "\n", "\r", "\r\n.\r\n"])) {
        super::smtp_delivery(&[choices, content].concat());
    }

    #[test]
    fn content(input in fragments(&["a", ".", "..", "\r\n", "\n", "\r", "\r\n.\r\n", "\r\n.\r", "QUIT"])) {
        super::content(&input);
    }

    #[test]
    fn wire(input in fragments(&["{", "}", "\"type\":", "\"SMTP_TO_SERVER\"", ",", "\"data\":", "\"x\\n\"", "é", "null", "[", "]"])) {
        super::wire(&input);
    }

    #[test]
    fn wire_reads_what_it_knows(
        kind in select(&[
            "AUTHENTICATE", "AUTHENTICATE_RESPONSE", "SMTP_CHANNEL_OPEN", "SMTP_CHANNEL_CLOSED", "SMTP_CHANNEL_CREDIT",
            "SMTP_FROM_SERVER", "SMTP_CHANNEL_ERROR", "RELAY_DRAINING",
        ]),
        text: String,
        number: u64,
        small in 0u64..3,
        in_doubt: bool,
    ) {
        let id = alloc::format!("{number:032x}");
        let outcome = if in_doubt {
            serde_json::json!({"inDoubt": true})
        } else {
            serde_json::json!({"replies": ["250 2.1.0 Ok\r\n", "250-a\r\n250 b\r\n"]})
        };
        let input = serde_json::json!({
            "type": kind, "apiKey": text, "data": text, "error": text, "code": number >> 48, "retryAfterMs": number,
            "success": true, "channelId": number >> 10, "deliveryId": id, "bytes": small, "outcome": outcome,
            "deadlineMs": number, "spreadMs": number, "durable": {
                "session": id, "receiveNext": small, "expiresInMs": number, "heartbeatMs": number, "maxChannels": small + 1,
                "window": number >> 10, "capabilities": ["SIZE 5", text], "gone": text,
            },
        });
        super::wire(alloc::format!("\u{7}{input}").as_bytes());
    }
}
