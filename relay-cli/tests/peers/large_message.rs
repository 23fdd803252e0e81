//! A relay streams: what goes through it does not stay in its memory.

use crate::support::{RelayServer, Sink, send};
use std::fs;

const SIZE: usize = 30 << 20;

#[test]
fn thirty_mebibytes_go_through_in_bounded_memory() {
    let Some(sink) = Sink::start(&[]) else {
        return;
    };
    let relay = RelayServer::before(sink.port);
    let mut content = b"Subject: large\r\n\r\n".to_vec();
    while content.len() < SIZE {
        // Not UTF-8, so that it travels as base64.
        let line = content.len() as u32;
        content.extend((0..74).map(|column| 0x80 | (line.wrapping_mul(31) + column) as u8));
        content.extend(b"\r\n");
    }
    send(&relay.url, &["--to", "bob@example.net"], &content).expect(0, &["accepted"]);

    let [dump] = &*sink.dumps() else {
        panic!("one message");
    };
    let lines = content.iter().filter(|byte| **byte == b'\n').count();
    let received = fs::read(dump).unwrap();
    let body = received.len() - (content.len() - lines);
    assert!(body < 1024, "{body} bytes more than were sent");
    let expected: Vec<u8> = content
        .iter()
        .copied()
        .filter(|byte| *byte != b'\r')
        .collect();
    assert!(received[..received.len() - 1].ends_with(&expected));

    if let Some(grown) = relay.memory_grown() {
        eprintln!("more memory for the relay: {} KiB", grown >> 10);
        assert!(grown < 16 << 20, "{grown} bytes");
    }
}
