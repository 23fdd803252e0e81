//! WebSockets between a machine and a plain peer.

use super::{Group, named};
use crate::{
    Binding, Probe, Transcript,
    conformance::rig::Rig,
    peer::{HANGS, Peer, binary, config, connect, listener, text, websocket},
    transcript,
};
use relay_proto::{Action, CloseCode, Frame, Input};
use std::{io::Read, thread};
use tungstenite::{
    Message,
    protocol::{
        CloseFrame,
        frame::{self, coding},
    },
};

pub(super) fn all<B: Binding>() -> Group {
    named![
        two_machines_talk_in_both_directions,
        pings_are_answered_and_reported_also_while_reading_pauses,
        every_send_is_answered_by_written_in_order,
        the_machine_closes_with_its_code_after_what_it_sent,
        the_peer_closes_with_any_code_and_gets_its_answer,
        a_reset_is_a_loss,
        an_end_without_goodbye_is_a_loss,
        a_peer_that_ignores_the_close_is_dropped,
        a_peer_that_reads_nothing_cannot_hold_up_the_close,
        both_sides_close_at_once,
        what_breaks_the_rules_is_closed_with_the_right_code,
        a_limit_that_grows_is_known_before_the_answer_arrives,
        while_the_limit_is_zero_the_peer_has_to_wait,
    ]
}

fn two_machines_talk_in_both_directions<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Rig::<B>::server(Probe::echoing(), config());
    let client = Rig::<B>::new(Probe::default(), config());
    let link = client.opened(websocket(address));
    server.accepted();
    let sent = [
        text("Grüße"),
        binary([0, 255]),
        text(""),
        binary(vec![7; 1 << 20]),
    ];
    for frame in sent {
        client.send(link, frame.clone());
        assert_eq!(client.next(), Input::Written { link });
        assert_eq!(client.frame(), (link, frame));
    }
    transcript.saw("client", client.finish());
    server.finish();
}

fn pings_are_answered_and_reported_also_while_reading_pauses<B: Binding>(
    transcript: &mut Transcript,
) {
    let (server, address) = Rig::<B>::server(Probe::pausing(), config());
    let mut peer = connect(address);
    let link = server.accepted();
    peer.send(Message::Ping("1".into())).unwrap();
    assert_eq!(peer.message(), Message::Pong("1".into()));
    assert_eq!(server.frame(), (link, Frame::Ping("1".into())));

    server.send(link, Frame::Ping("2".into()));
    assert_eq!(peer.message(), Message::Ping("2".into()));
    peer.flush().unwrap();
    server.tell(|machine, _| machine.paused.clear());
    assert_eq!(server.frame(), (link, Frame::Pong("2".into())));
    transcript.saw("server", server.finish());
}

fn every_send_is_answered_by_written_in_order<B: Binding>(transcript: &mut Transcript) {
    let (listener, _) = listener();
    let client = Rig::<B>::new(Probe::default(), config());
    let (link, mut peer) = client.opened_to(&listener);
    for number in 0..10 {
        client.send(link, text(&number.to_string()));
    }
    for number in 0..10 {
        assert_eq!(client.next(), Input::Written { link });
        assert_eq!(peer.message(), Message::text(number.to_string()));
    }
    assert!(client.has_no_news());
    transcript.saw("client", client.finish());
}

fn the_machine_closes_with_its_code_after_what_it_sent<B: Binding>(transcript: &mut Transcript) {
    let (listener, _) = listener();
    let client = Rig::<B>::new(Probe::default(), config());
    let (link, mut peer) = client.opened_to(&listener);
    client.send(link, text("last words"));
    client.close(link, CloseCode(4001), &"ü".repeat(100));
    assert_eq!(peer.message(), Message::text("last words"));
    let close = peer.close_frame();
    // What is longer than a close frame holds is cut between two characters.
    let heard = transcript::goodbye(CloseCode(close.code.into()), &close.reason);
    transcript.note("peer", format!("< close {heard}"));
    assert!(peer.ends_cleanly());
    client.closed(link);
    client.send(link, text("too late"));
    client.close(link, CloseCode::NORMAL, "");
    assert!(client.has_no_news(), "nothing follows");
    transcript.saw("client", client.finish());
}

fn the_peer_closes_with_any_code_and_gets_its_answer<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Rig::<B>::server(Probe::default(), config());
    let close = |close: Option<CloseFrame>| {
        let mut peer = connect(address);
        let link = server.accepted();
        peer.close(close.clone()).unwrap();
        server.closed(link);
        assert_eq!(peer.message(), Message::Close(close));
        assert!(peer.ends_cleanly());
    };
    close(None);
    for code in [1000, 1001, 1008, 1011, 1012, 1013, 3000, 4001, 4999] {
        close(Some(CloseFrame {
            code: code.into(),
            reason: "enough".into(),
        }));
    }
    transcript.saw("server", server.finish());
}

fn a_reset_is_a_loss<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Rig::<B>::server(Probe::default(), config());
    let peer = connect(address);
    let link = server.accepted();
    // What is dropped with unread bytes in it is reset.
    server.send(link, text("unread"));
    assert_eq!(server.next(), Input::Written { link });
    let tcp = peer.into_inner();
    assert_eq!(tcp.peek(&mut [0]).unwrap(), 1);
    drop(tcp);
    server.closed(link);
    transcript.saw("server", server.finish());
}

fn an_end_without_goodbye_is_a_loss<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Rig::<B>::server(Probe::default(), config());
    drop(connect(address).into_inner());
    let link = server.accepted();
    server.closed(link);
    transcript.saw("server", server.finish());
}

fn a_peer_that_ignores_the_close_is_dropped<B: Binding>(transcript: &mut Transcript) {
    let (listener, _) = listener();
    let client = Rig::<B>::new(Probe::default(), config());
    let (link, peer) = client.opened_to(&listener);
    client.close(link, CloseCode::NORMAL, "");
    client.closed(link);
    let mut rest = Vec::new();
    peer.into_inner().read_to_end(&mut rest).unwrap();
    assert_eq!(rest[0], 0x88);
    transcript.note("peer", "< close, then the end");
    transcript.saw("client", client.finish());
}

fn a_peer_that_reads_nothing_cannot_hold_up_the_close<B: Binding>(transcript: &mut Transcript) {
    let (listener, _) = listener();
    let client = Rig::<B>::new(Probe::default(), config());
    let (link, _peer) = client.opened_to(&listener);
    client.tell(move |machine, _| {
        let frame = binary(vec![0; 64 << 20]);
        machine.actions.push_back(Action::Send { link, frame });
    });
    client.close(link, CloseCode::NORMAL, "");
    client.closed(link);
    transcript.saw("client", client.finish());
}

fn both_sides_close_at_once<B: Binding>(transcript: &mut Transcript) {
    let (listener, _) = listener();
    let client = Rig::<B>::new(Probe::pausing(), config());
    let (link, mut peer) = client.opened_to(&listener);
    // Not read from then on, the link learns of the peer's goodbye only after it has said its own.
    peer.send(Message::text("pause")).unwrap();
    client.frame();
    // Once a call is answered, the driver has learnt of the pause.
    assert!(client.has_no_news());
    peer.close(None).unwrap();
    client.close(link, CloseCode::GOING_AWAY, "");
    client.closed(link);
    transcript.saw("client", client.finish());
}

fn what_breaks_the_rules_is_closed_with_the_right_code<B: Binding>(transcript: &mut Transcript) {
    let raw = |opcode, payload: Vec<u8>| frame::Frame::message(payload, opcode, true);
    let data = |kind| coding::OpCode::Data(kind);
    let mut reserved_bit = raw(data(coding::Data::Text), b"hello".to_vec());
    reserved_bit.header_mut().rsv1 = true;
    let broken = [
        // Above the machine's limit, and above the transport's.
        raw(data(coding::Data::Binary), vec![0; 101]),
        raw(data(coding::Data::Binary), vec![0; 2 << 20]),
        raw(data(coding::Data::Text), vec![b'a', 0xff]),
        raw(data(coding::Data::Continue), vec![b'a']),
        reserved_bit,
    ];
    let mut patient = config();
    patient.close_timeout = HANGS;
    let (server, address) = Rig::<B>::server(Probe::limited(100), patient);
    for frame in broken {
        let mut peer = connect(address);
        let link = server.accepted();
        // The server may have seen enough before everything is sent, and hears the rest out.
        let _ = peer.send(Message::Frame(frame));
        let code = u16::from(peer.close_frame().code);
        transcript.note("peer", format!("< close {code}"));
        drop(peer);
        server.closed(link);
    }
    // The machine survives all of it.
    let mut peer = connect(address);
    let link = server.accepted();
    peer.send(Message::text("fine")).unwrap();
    assert_eq!(server.frame(), (link, text("fine")));
    drop(peer);
    server.closed(link);
    transcript.saw("server", server.finish());
}

fn a_limit_that_grows_is_known_before_the_answer_arrives<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Rig::<B>::server(Probe::limited(100), config());
    let mut peer = connect(address);
    let link = server.accepted();
    server.tell(move |machine, _| {
        machine.limit = 1000;
        let frame = text("go on");
        machine.actions.push_back(Action::Send { link, frame });
    });
    assert_eq!(peer.message(), Message::text("go on"));
    peer.send(Message::binary(vec![1; 1000])).unwrap();
    server.frame();
    transcript.saw("server", server.finish());
}

fn while_the_limit_is_zero_the_peer_has_to_wait<B: Binding>(transcript: &mut Transcript) {
    const FRAMES: usize = 256;
    const LENGTH: usize = 256 * 1024;
    let (server, address) = Rig::<B>::server(Probe::pausing(), config());
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
        assert_eq!(frame, binary(vec![received as u8; LENGTH]));
        received += 1;
        received
    };
    let (_, frame) = server.frame();
    let mut taken = take(frame);

    // Another link is served all the while, so the driver has every chance to read more than it may.
    let mut other: Peer = connect(address);
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
        server.tell(move |machine, _| machine.paused.remove(&other_link));
    }
    assert!(taken <= 4, "{taken} frames in spite of the pause");
    assert!(!sending.is_finished());

    server.tell(|machine, _| {
        machine.pauses_after_frame = false;
        machine.paused.clear();
    });
    while taken < FRAMES {
        let (from, frame) = server.frame();
        assert_eq!(from, link);
        taken = take(frame);
    }
    drop(sending.join().unwrap());
    server.finish();
    transcript.note("server", format!("{taken} frames, in order"));
}
