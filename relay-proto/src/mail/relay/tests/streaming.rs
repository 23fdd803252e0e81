//! Large content passes in bounded memory.

use super::rig::{CLIENT, Point, Rig, seconds};
use crate::{
    CloseCode, Frame, Input,
    mail::{
        relay::{Event, Policy},
        wire::{Message, data_chunk},
    },
};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;

const MIB: usize = 1024 * 1024;

fn content(length: usize) -> Bytes {
    // Lines of 64 bytes, some beginning with a dot, some with bytes that are not UTF-8.
    let mut content = Vec::with_capacity(length);
    while content.len() < length {
        let line = content.len() / 64;
        content.push(if line.is_multiple_of(7) { b'.' } else { b'x' });
        content.push(if line.is_multiple_of(5) { 0xe9 } else { b'y' });
        content.extend_from_slice(&[b'z'; 60]);
        content.extend_from_slice(b"\r\n");
    }
    content.into()
}

#[test]
fn thirty_mebibytes_pass_a_slow_upstream_in_bounded_memory() {
    let (mut rig, upstream) = Rig::open_unlimited();
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    rig.client_says("RCPT TO:<c@d.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    rig.client_says("DATA\r\n");
    rig.upstream_says(upstream, "354 go\r\n");
    rig.sent(upstream);
    rig.slow.insert(upstream);

    let content = content(30 * MIB);
    let mut stuffed = content
        .split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| {
            let dot = line.starts_with(b".").then_some(b'.');
            dot.into_iter().chain(line.iter().copied())
        })
        .collect::<Vec<u8>>();
    stuffed.extend_from_slice(b".\r\n");
    let stuffed = Bytes::from(stuffed);

    let mut received = 0;
    let (mut at, mut most_unwritten, mut pauses) = (0, 0, 0);
    loop {
        if rig.read_limit(CLIENT) > 0 && at < stuffed.len() {
            let chunk = data_chunk(&stuffed, at, 64 * 1024);
            at += chunk.len();
            rig.send(CLIENT, &Message::ToServer(chunk));
        } else {
            // The driver reads nothing now; the upstream takes a frame, slowly.
            pauses += 1;
            rig.pass(seconds(1));
            if !rig.write(upstream) {
                break;
            }
        }
        for frame in rig.sent(upstream) {
            let Frame::Binary(bytes) = frame else {
                panic!("not bytes")
            };
            assert_eq!(stuffed[received..received + bytes.len()], bytes);
            received += bytes.len();
        }
        most_unwritten = most_unwritten.max(rig.unwritten(upstream));
    }
    assert_eq!(received, stuffed.len());
    assert!(pauses > 100, "{pauses}");
    assert!(most_unwritten <= 256 * 1024, "{most_unwritten}");
    assert_eq!(rig.close_code(CLIENT), None, "cut while it was not read");
    rig.upstream_says(upstream, "250 queued\r\n");
    let Some(Event::MessageRelayed { bytes, .. }) = rig.events.last() else {
        panic!("{:?}", rig.events);
    };
    assert_eq!(*bytes, content.len() as u64);
}

#[test]
fn a_client_that_does_not_take_replies_is_not_read() {
    let (mut rig, _) = Rig::open(Policy::default());
    rig.slow.insert(CLIENT);
    let noops = "NOOP\r\n".repeat(1000);
    let mut frames = 0;
    while rig.read_limit(CLIENT) > 0 {
        rig.client_says(&noops);
        frames += 1;
        assert!(frames < 100, "never paused");
    }
    assert!(rig.unwritten(CLIENT) < 256 * 1024);
    while rig.write(CLIENT) {}
    assert!(rig.read_limit(CLIENT) > 0);
}

#[test]
fn commands_ahead_of_a_slow_upstream_are_not_read_without_end() {
    let (mut rig, _) = Rig::at(Point::Mail);
    let noops = "NOOP\r\n".repeat(1000);
    let mut frames = 0;
    while rig.read_limit(CLIENT) > 0 {
        rig.client_says(&noops);
        frames += 1;
        assert!(frames < 100, "never paused");
    }
    // Not reading is no reason to call the client silent.
    rig.pass(seconds(200));
    assert_eq!(rig.close_code(CLIENT), None);
}

#[test]
fn what_is_sent_before_ready_is_bounded() {
    let mut rig = Rig::serving(Policy::default());
    rig.send(CLIENT, &Message::ChannelOpen);
    let upstream = rig.upstream();
    let noops = "NOOP\r\n".repeat(11_000);
    rig.client_says(&noops);
    assert_eq!(rig.read_limit(CLIENT), 0);
    rig.input(Input::Opened { link: upstream });
    rig.upstream_says(upstream, "220 hi\r\n");
    rig.upstream_says(upstream, "250 hi\r\n");
    assert!(rig.read_limit(CLIENT) > 0);
    assert_eq!(rig.client_hears().matches("250 2.0.0 Ok").count(), 11_000);
}

/// A client that floods the relay with commands and reads none of the replies.
fn deaf() -> (Rig, usize) {
    let (mut rig, _) = Rig::open(Policy::default());
    rig.slow.insert(CLIENT);
    let count = 60_000;
    rig.client_says(&"EHLO a\r\n".repeat(count));
    (rig, count)
}

#[test]
fn a_client_that_takes_no_replies_gets_no_more_of_them() {
    let (mut rig, count) = deaf();
    assert_eq!(rig.read_limit(CLIENT), 0);
    let mut heard = String::new();
    loop {
        assert!(rig.unwritten(CLIENT) < 256 * 1024);
        heard.push_str(&rig.client_hears_smtp());
        if !rig.write(CLIENT) {
            break;
        }
    }
    let replies = heard.matches("\r\n250 ").count();
    assert_eq!(replies, count, "and gets them all once it does");
    assert!(rig.read_limit(CLIENT) > 0);
}

#[test]
fn a_client_that_takes_no_replies_is_cut_and_one_that_takes_them_slowly_is_not() {
    let (mut rig, _) = deaf();
    rig.pass(seconds(59));
    assert_eq!(rig.close_code(CLIENT), None);
    rig.pass(seconds(2));
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::GOING_AWAY));

    let (mut rig, _) = deaf();
    for _ in 0..100 {
        rig.pass(seconds(20));
        assert!(rig.write(CLIENT));
    }
    assert_eq!(rig.close_code(CLIENT), None);
}
