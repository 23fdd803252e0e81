//! Queues have bounds, and no key takes what others need.

use super::rig::*;
use crate::{
    Frame, Machine,
    kv::wire::{ClientMessage, Code, Operation, Request, ServiceMessage, Success, encode_client},
    session::{Body, SessionFrame},
    storage::Write,
};
use alloc::{string::String, vec::Vec};
use bytes::{Bytes, BytesMut};
use core::time::Duration;

fn encoded(message_id: u64, operation: Operation) -> Frame {
    Frame::Text(encode_client(&ClientMessage::Call(Request {
        message_id,
        settled: None,
        operation,
    })))
}

#[test]
fn a_client_that_asks_faster_than_it_is_answered_is_not_read() {
    let mut world = World::with(|config| config.max_calls = 10);
    let link = world.connect(KEY);
    world.disk.as_mut().unwrap().is_slow = true;
    // One is in the turn that waits for the disk.
    for number in 0..11 {
        assert!(world.service.read_limit(link) > 0, "{number}");
        world.send(link, encoded(number, increment("n", 1)));
    }
    assert_eq!(world.service.read_limit(link), 0);
    world.pass(Duration::from_secs(600));
    assert_eq!(
        world.closed(link),
        None,
        "its silence is not held against it"
    );
    world.disk.as_mut().unwrap().is_slow = false;
    world.run();
    assert!(world.service.read_limit(link) > 0);
    assert_eq!(world.texts(link).len(), 11);
}

#[test]
fn so_is_one_that_asks_for_much_and_takes_little() {
    let mut world = World::stored();
    let link = world.connect(KEY);
    world
        .call(link, set("large", "x".repeat(512 * 1024)))
        .unwrap();
    world.wire(link).takes = false;
    let mut asked = 0;
    while world.service.read_limit(link) > 0 {
        world.send(link, encoded(asked, get("large")));
        asked += 1;
        assert!(asked < 1000);
    }
    let out = world.wire(link).unwritten.iter().sum::<usize>();
    assert!(out < 1024 * 1024, "{out}");
    assert!(world.service.read_limit(link) == 0 && asked < 10, "{asked}");
    world.wire(link).takes = true;
    world.run();
    assert_eq!(
        world.texts(link).len() as u64,
        asked,
        "then all of it is answered"
    );
}

#[test]
fn in_a_session_too_many_calls_are_refused_and_what_is_acknowledged_is_read_all_the_same() {
    let mut world = World::with(|config| config.max_calls = 10);
    let mut peer = Peer::new(&mut world, 1);
    world.disk.as_mut().unwrap().is_slow = true;
    let ids: Vec<_> = (0..20)
        .map(|_| peer.ask(&mut world, increment("n", 1)))
        .collect();
    assert!(world.service.read_limit(peer.link) > 0);
    for id in &ids[11..] {
        assert_eq!(peer.answer(*id), Some(Err(Code::TOO_MANY_REQUESTS)));
    }
    world.disk.as_mut().unwrap().is_slow = false;
    world.run();
    peer.exchange(&mut world);
    let answers: Vec<_> = ids[..11]
        .iter()
        .map(|id| peer.answer(*id).unwrap())
        .collect();
    assert!(answers.iter().filter(|answer| answer.is_ok()).count() >= 10);
}

#[test]
fn a_client_that_acknowledges_nothing_loses_its_session() {
    let mut world = World::stored();
    let peer = Peer::new(&mut world, 1);
    let mut seq = 0;
    while world.closed(peer.link).is_none() && seq < 20_000 {
        seq += 1;
        let (ack, body) = (0, Body::Control(Bytes::from_static(b"{}")));
        let mut frame = BytesMut::new();
        SessionFrame::Numbered { seq, ack, body }.encode(&mut frame);
        world.send(peer.link, Frame::Binary(frame.freeze()));
        world.frames(peer.link);
    }
    let closed = world.closed(peer.link);
    assert_eq!(
        closed,
        Some((1008, "what the service says has to be taken".into()))
    );
    assert_eq!(world.service.statistics().sessions, 0);
}

#[test]
fn keys_take_turns_so_that_a_flood_of_one_does_not_hold_up_another() {
    let mut world = World::stored();
    let flood: Vec<_> = (0..4).map(|_| world.connect(KEY)).collect();
    let other = world.connect(OTHER);
    world.disk.as_mut().unwrap().is_slow = true;
    for number in 0..250 {
        for link in &flood {
            world.send(*link, encoded(number, increment("flood", 1)));
        }
    }
    for number in 0..20 {
        world.send(other, encoded(number, increment("other", 1)));
    }
    // The first call went alone; in the next batch everybody has a share.
    world.store_one();
    world.run();
    world.store_one();
    world.run();
    let answered = world.texts(other).len();
    assert_eq!(answered, 20, "of a thousand calls before them");
    assert!(flood.iter().all(|link| !world.texts(*link).is_empty()));
}

#[test]
fn bytes_under_way_are_shared_too() {
    let mut world = World::with(|config| config.max_held_bytes = 900_000);
    world.disk.as_mut().unwrap().is_slow = true;
    let (mine, other) = (world.connect(KEY), world.connect(OTHER));
    let mut answers = Vec::new();
    for number in 0..30 {
        world.send(mine, encoded(number, set("k", "x".repeat(50_000))));
        answers.extend(world.messages(mine));
    }
    let is_refused = |message: &ServiceMessage| matches!(message, ServiceMessage::Answer(answer) if answer.result.as_ref().is_err_and(|failure| failure.code == Code::TOO_MANY_REQUESTS));
    assert!(!answers.is_empty() && answers.iter().all(is_refused));
    assert!(answers.len() < 20);
    world.send(other, encoded(1, set("k", "x".repeat(50_000))));
    assert_eq!(
        world.texts(other),
        Vec::<String>::new(),
        "there is some left for it"
    );
    world.disk.as_mut().unwrap().is_slow = false;
    world.run();
    assert_eq!(world.texts(other).len(), 1);
    world.texts(mine);
    assert_eq!(
        world.call(mine, set("k", "v")),
        Ok(Success::Done),
        "all is given back"
    );
}

#[test]
fn answers_that_wait_in_a_session_are_bounded() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    peer.call(&mut world, set("large", "x".repeat(100 * 1024)))
        .unwrap();
    let mut kept = 0;
    for _ in 0..100 {
        let id = peer.next;
        peer.next += 1;
        peer.write(id, get("large"));
        let frame = peer.session.poll_frame().unwrap();
        world.send(peer.link, Frame::Binary(frame));
        // What comes is taken from the link, and never acknowledged.
        for frame in world.frames(peer.link) {
            kept += frame.len();
        }
    }
    assert!(kept < 3 * 1024 * 1024, "{kept}");
    assert_eq!(world.closed(peer.link), None);
    assert!(
        peer.come_back(&mut world),
        "then it acknowledges, and gets the rest"
    );
    let answered = (2..=101).filter(|id| peer.answer(*id).is_none()).count();
    assert_eq!(answered, 0);
}

#[test]
fn what_is_kept_of_a_message_is_no_more_than_its_value() {
    let mut world = World::stored();
    world.disk.as_mut().unwrap().is_slow = true;
    let link = world.connect(KEY);
    let junk = "x".repeat(500_000);
    let mut messages = Vec::new();
    for number in 0..10 {
        let request = alloc::format!(
            r#"{{"op":2,"key":"{number}","value":"v","messageId":{number},"junk":"{junk}"}}"#
        );
        let message = Bytes::from(request);
        messages.push(message.clone());
        world.send(link, Frame::Text(message));
    }
    assert!(messages.iter().all(Bytes::is_unique));
}

#[test]
fn a_batch_is_bounded_also_where_small_calls_make_large_values() {
    let mut world = World::stored();
    let link = world.connect(KEY);
    let large = "x".repeat(500 * 1024);
    world.call(link, set("large", large)).unwrap();
    world.disk.as_mut().unwrap().is_slow = true;
    for number in 0..100 {
        let (key, value) = ("large".into(), "y".into());
        world.send(link, encoded(number, Operation::Patch { key, value }));
    }
    let mut batches = 0;
    while let Some((_, writes)) = world.disk.as_ref().unwrap().waiting.front() {
        let bytes = writes.iter().map(|write| match write {
            Write::Put { value, .. } => value.len(),
            Write::Delete { .. } => 0,
        });
        assert!(bytes.sum::<usize>() < 6 * 1024 * 1024);
        batches += 1;
        world.store_one();
        world.run();
    }
    assert!(batches > 20);
    assert_eq!(world.texts(link).len(), 100);
}

#[test]
fn pings_are_read_at_fifty_a_second_and_calls_go_on_after_them() {
    let mut world = World::stored();
    let link = world.connect(KEY);
    for _ in 0..250 {
        world.send(link, Frame::Ping("?".into()));
    }
    assert_eq!(world.service.read_limit(link), 0);
    world.pass(Duration::from_secs(1));
    assert!(world.service.read_limit(link) > 0);
    world.call(link, set("still", "here")).unwrap();
}
