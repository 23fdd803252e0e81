//! WebSockets between a machine and a plain peer, over loopback.

use crate::common::{HANGS, Peer, Probe, Rig, config, connect, listener, opened, text, websocket};
use relay_proto::{CloseCode, Closure, Frame, Input};
use std::{io::Read, thread};
use tungstenite::{
    Message,
    protocol::{
        CloseFrame,
        frame::{self, coding},
    },
};

fn echoing() -> Probe {
    let mut machine = Probe::new();
    machine.echoes = true;
    machine
}

fn next(peer: &mut Peer) -> Message {
    peer.next().unwrap().unwrap()
}

/// The close frame the peer gets, past everything else.
fn close_frame(peer: &mut Peer) -> (u16, String) {
    loop {
        if let Message::Close(close) = next(peer) {
            let close = close.unwrap();
            return (close.code.into(), close.reason.to_string());
        }
    }
}

#[test]
fn two_machines_talk_in_both_directions() {
    let (server, address) = Rig::server(echoing(), config());
    let client = Rig::new(Probe::new(), config());
    let link = client.opened(websocket(address));
    server.accepted();
    let sent = [
        text("Grüße"),
        Frame::Binary(vec![0, 255].into()),
        text(""),
        Frame::Binary(vec![7; 1 << 20].into()),
    ];
    for frame in sent {
        client.send(link, frame.clone());
        assert_eq!(client.next(), Input::Written { link });
        assert_eq!(client.frame(), (link, frame));
    }
}

#[test]
fn pings_are_answered_and_reported_also_while_reading_pauses() {
    let mut machine = Probe::new();
    machine.pauses_after_frame = true;
    let (server, address) = Rig::server(machine, config());
    let mut peer = connect(address);
    let link = server.accepted();
    peer.send(Message::Ping("1".into())).unwrap();
    assert_eq!(next(&mut peer), Message::Pong("1".into()));
    assert_eq!(server.frame(), (link, Frame::Ping("1".into())));

    server.send(link, Frame::Ping("2".into()));
    assert_eq!(next(&mut peer), Message::Ping("2".into()));
    peer.flush().unwrap();
    server.tell(|machine| machine.paused.clear());
    assert_eq!(server.frame(), (link, Frame::Pong("2".into())));
}

#[test]
fn every_send_is_answered_by_written_in_order() {
    let (listener, address) = listener();
    let client = Rig::new(Probe::new(), config());
    let (link, mut peer) = opened(&client, address, &listener);
    for number in 0..100 {
        client.send(link, text(&number.to_string()));
    }
    for number in 0..100 {
        assert_eq!(client.next(), Input::Written { link });
        assert_eq!(next(&mut peer), Message::text(number.to_string()));
    }
    assert!(client.has_no_news());
}

#[test]
fn the_machine_closes_with_its_code_after_what_it_sent() {
    let (listener, address) = listener();
    let client = Rig::new(Probe::new(), config());
    let (link, mut peer) = opened(&client, address, &listener);
    client.send(link, text("last words"));
    let reason = "ü".repeat(100);
    client.close(link, CloseCode(4001), &reason);
    assert_eq!(next(&mut peer), Message::text("last words"));
    assert_eq!(close_frame(&mut peer), (4001, "ü".repeat(61)));
    assert!(peer.next().is_none());
    drop(peer);
    assert_eq!(client.next(), Input::Written { link });
    let why = Closure::Local;
    assert_eq!(client.next(), Input::Closed { link, why });
    client.send(link, text("too late"));
    client.close(link, CloseCode::NORMAL, "");
    assert!(client.has_no_news(), "nothing follows");
}

#[test]
fn the_peer_closes_and_gets_its_answer() {
    let (server, address) = Rig::server(Probe::new(), config());
    for close in [
        None,
        Some(CloseFrame {
            code: coding::CloseCode::from(4999),
            reason: "enough".into(),
        }),
    ] {
        let mut peer = connect(address);
        let link = server.accepted();
        peer.close(close.clone()).unwrap();
        let expected = Closure::Peer {
            code: close.as_ref().map(|close| CloseCode(close.code.into())),
            reason: close
                .as_ref()
                .map_or(String::new(), |close| close.reason.to_string()),
        };
        assert_eq!(server.closed(link), expected);
        assert_eq!(next(&mut peer), Message::Close(close));
        assert!(peer.next().is_none(), "a clean end");
    }
}

#[test]
fn a_reset_is_a_loss() {
    let (server, address) = Rig::server(Probe::new(), config());
    let peer = connect(address);
    let link = server.accepted();
    // What is dropped with unread bytes in it is reset.
    server.send(link, text("unread"));
    assert_eq!(server.next(), Input::Written { link });
    let tcp = peer.into_inner();
    assert_eq!(tcp.peek(&mut [0]).unwrap(), 1);
    drop(tcp);
    assert!(matches!(server.closed(link), Closure::Lost { .. }));
}

#[test]
fn an_end_without_goodbye_is_a_loss() {
    let (server, address) = Rig::server(Probe::new(), config());
    drop(connect(address).into_inner());
    let link = server.accepted();
    assert!(matches!(server.closed(link), Closure::Lost { .. }));
}

#[test]
fn a_peer_that_ignores_the_close_is_dropped() {
    let (listener, address) = listener();
    let client = Rig::new(Probe::new(), config());
    let (link, peer) = opened(&client, address, &listener);
    client.close(link, CloseCode::NORMAL, "");
    assert_eq!(client.closed(link), Closure::Local);
    let mut tcp = peer.into_inner();
    let mut rest = Vec::new();
    // The close frame, then the end.
    tcp.read_to_end(&mut rest).unwrap();
    assert_eq!(rest[0], 0x88);
}

#[test]
fn a_peer_that_reads_nothing_cannot_hold_up_the_close() {
    let (listener, address) = listener();
    let client = Rig::new(Probe::new(), config());
    let (link, _peer) = opened(&client, address, &listener);
    for _ in 0..64 {
        client.send(link, Frame::Binary(vec![0; 1 << 20].into()));
    }
    client.close(link, CloseCode::NORMAL, "");
    assert_eq!(client.closed(link), Closure::Local);
}

#[test]
fn what_breaks_the_rules_is_closed_with_the_right_code() {
    let raw = |opcode, payload: Vec<u8>| frame::Frame::message(payload, opcode, true);
    let data = |kind| coding::OpCode::Data(kind);
    let mut reserved_bit = raw(data(coding::Data::Text), b"hello".to_vec());
    reserved_bit.header_mut().rsv1 = true;
    let cases = [
        // Above the machine's limit, and above the transport's.
        (raw(data(coding::Data::Binary), vec![0; 101]), 1009),
        (raw(data(coding::Data::Binary), vec![0; 2 << 20]), 1009),
        (raw(data(coding::Data::Text), vec![b'a', 0xff]), 1007),
        (raw(data(coding::Data::Continue), vec![b'a']), 1002),
        (reserved_bit, 1002),
    ];
    let mut machine = Probe::new();
    machine.limit = 100;
    let mut patient = config();
    patient.close_timeout = HANGS;
    let (server, address) = Rig::server(machine, patient);
    for (frame, expected) in cases {
        let mut peer = connect(address);
        let link = server.accepted();
        // The server may have seen enough before everything is sent, and hears the rest out.
        let _ = peer.send(Message::Frame(frame));
        assert_eq!(close_frame(&mut peer).0, expected);
        drop(peer);
        match server.closed(link) {
            Closure::Violation { code, .. } => assert_eq!(code.0, expected),
            other => panic!("{other:?}"),
        }
    }
    // The hub survives all of it.
    let mut peer = connect(address);
    let link = server.accepted();
    peer.send(Message::text("fine")).unwrap();
    assert_eq!(server.frame(), (link, text("fine")));
}

#[test]
fn a_limit_that_grows_is_known_before_the_answer_arrives() {
    let mut machine = Probe::new();
    machine.limit = 100;
    let (server, address) = Rig::server(machine, config());
    let mut peer = connect(address);
    let link = server.accepted();
    server.tell(move |machine| {
        machine.limit = 1000;
        machine.actions.push_back(relay_proto::Action::Send {
            link,
            frame: text("go on"),
        });
    });
    assert_eq!(next(&mut peer), Message::text("go on"));
    peer.send(Message::binary(vec![1; 1000])).unwrap();
    assert_eq!(server.frame(), (link, Frame::Binary(vec![1; 1000].into())));
}

#[test]
fn while_the_limit_is_zero_the_peer_has_to_wait() {
    const FRAMES: usize = 256;
    const LENGTH: usize = 256 * 1024;
    let mut machine = Probe::new();
    machine.pauses_after_frame = true;
    let (server, address) = Rig::server(machine, config());
    let mut peer = connect(address);
    let link = server.accepted();
    let sending = thread::spawn(move || {
        // Far more than the socket buffers of both sides hold.
        for number in 0..FRAMES {
            let payload = vec![number as u8; LENGTH];
            peer.send(Message::binary(payload)).unwrap();
        }
        peer
    });
    let mut received = 0;
    let mut take = |frame: Frame| {
        assert_eq!(frame, Frame::Binary(vec![received as u8; LENGTH].into()));
        received += 1;
        received
    };
    let (_, frame) = server.frame();
    let mut taken = take(frame);

    // Another link is served all the while, so the hub has every chance to read more than it may.
    let mut other = connect(address);
    let other_link = loop {
        match server.next() {
            Input::Accepted { link, .. } => break link,
            Input::Frame { frame, .. } => taken = take(frame),
            unexpected => panic!("{unexpected:?}"),
        }
    };
    for _ in 0..50 {
        other.send(Message::text("?")).unwrap();
        loop {
            let (from, frame) = server.frame();
            if from == other_link {
                break;
            }
            taken = take(frame);
        }
        server.tell(move |machine| machine.paused.remove(&other_link));
    }
    assert!(taken <= 4, "{taken} frames in spite of the pause");
    assert!(!sending.is_finished());

    server.tell(|machine| {
        machine.pauses_after_frame = false;
        machine.paused.clear();
    });
    while taken < FRAMES {
        let (from, frame) = server.frame();
        assert_eq!(from, link);
        taken = take(frame);
    }
    sending.join().unwrap();
}
