//! WebSockets between a machine and a plain peer, over loopback.

use crate::common::{Peer, Probe, Rig, accept, config, connect, listener, soon, text, websocket};
use futures_util::{SinkExt, StreamExt};
use relay_proto::{CloseCode, Closure, Frame, Input};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::{
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

async fn next(peer: &mut Peer) -> Message {
    soon(peer.next()).await.unwrap().unwrap()
}

/// The close frame the peer gets, past everything else.
async fn close_frame(peer: &mut Peer) -> (u16, String) {
    loop {
        if let Message::Close(close) = next(peer).await {
            let close = close.unwrap();
            return (close.code.into(), close.reason.to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_machines_talk_in_both_directions() {
    let (mut server, address) = Rig::server(echoing(), config()).await;
    let mut client = Rig::new(Probe::new(), config());
    let link = client.opened(websocket(address)).await;
    server.accepted().await;
    let sent = [
        text("Grüße"),
        Frame::Binary(vec![0, 255].into()),
        text(""),
        Frame::Binary(vec![7; 1 << 20].into()),
    ];
    for frame in sent {
        client.send(link, frame.clone()).await;
        assert_eq!(client.next().await, Input::Written { link });
        assert_eq!(client.frame().await, (link, frame));
    }
}

#[tokio::test]
async fn pings_are_answered_and_reported_also_while_reading_pauses() {
    let mut machine = Probe::new();
    machine.pauses_after_frame = true;
    let (mut server, address) = Rig::server(machine, config()).await;
    let mut peer = connect(address).await;
    let link = server.accepted().await;
    peer.send(Message::Ping("1".into())).await.unwrap();
    assert_eq!(next(&mut peer).await, Message::Pong("1".into()));
    assert_eq!(server.frame().await, (link, Frame::Ping("1".into())));

    server.send(link, Frame::Ping("2".into())).await;
    assert_eq!(next(&mut peer).await, Message::Ping("2".into()));
    peer.flush().await.unwrap();
    server.tell(|machine| machine.paused.clear()).await;
    assert_eq!(server.frame().await, (link, Frame::Pong("2".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_send_is_answered_by_written_in_order() {
    let (listener, address) = listener().await;
    let mut client = Rig::new(Probe::new(), config());
    let (link, mut peer) = tokio::join!(client.opened(websocket(address)), accept(&listener));
    for number in 0..100 {
        client.send(link, text(&number.to_string())).await;
    }
    for number in 0..100 {
        assert_eq!(client.next().await, Input::Written { link });
        assert_eq!(next(&mut peer).await, Message::text(number.to_string()));
    }
    assert!(client.has_no_news().await);
}

#[tokio::test]
async fn the_machine_closes_with_its_code_after_what_it_sent() {
    let (listener, address) = listener().await;
    let mut client = Rig::new(Probe::new(), config());
    let (link, mut peer) = tokio::join!(client.opened(websocket(address)), accept(&listener));
    client.send(link, text("last words")).await;
    let reason = "ü".repeat(100);
    client.close(link, CloseCode(4001), &reason).await;
    assert_eq!(next(&mut peer).await, Message::text("last words"));
    assert_eq!(close_frame(&mut peer).await, (4001, "ü".repeat(61)));
    assert!(soon(peer.next()).await.is_none());
    drop(peer);
    assert_eq!(client.next().await, Input::Written { link });
    let why = Closure::Local;
    assert_eq!(client.next().await, Input::Closed { link, why });
    client.send(link, text("too late")).await;
    client.close(link, CloseCode::NORMAL, "").await;
    assert!(client.has_no_news().await, "nothing follows");
}

#[tokio::test]
async fn the_peer_closes_and_gets_its_answer() {
    let (mut server, address) = Rig::server(Probe::new(), config()).await;
    for close in [
        None,
        Some(CloseFrame {
            code: coding::CloseCode::from(4999),
            reason: "enough".into(),
        }),
    ] {
        let mut peer = connect(address).await;
        let link = server.accepted().await;
        peer.close(close.clone()).await.unwrap();
        let expected = Closure::Peer {
            code: close.as_ref().map(|close| CloseCode(close.code.into())),
            reason: close
                .as_ref()
                .map_or(String::new(), |close| close.reason.to_string()),
        };
        assert_eq!(server.closed(link).await, expected);
        assert_eq!(next(&mut peer).await, Message::Close(close));
        assert!(soon(peer.next()).await.is_none(), "a clean end");
    }
}

#[tokio::test]
async fn a_reset_is_a_loss() {
    let (mut server, address) = Rig::server(Probe::new(), config()).await;
    let peer = connect(address).await;
    let link = server.accepted().await;
    let tcp = peer.into_inner();
    tcp.set_zero_linger().unwrap();
    drop(tcp);
    assert!(matches!(server.closed(link).await, Closure::Lost { .. }));
}

#[tokio::test]
async fn an_end_without_goodbye_is_a_loss() {
    let (mut server, address) = Rig::server(Probe::new(), config()).await;
    drop(connect(address).await.into_inner());
    let link = server.accepted().await;
    assert!(matches!(server.closed(link).await, Closure::Lost { .. }));
}

#[tokio::test]
async fn a_peer_that_ignores_the_close_is_dropped() {
    let (listener, address) = listener().await;
    let mut client = Rig::new(Probe::new(), config());
    let (link, peer) = tokio::join!(client.opened(websocket(address)), accept(&listener));
    client.close(link, CloseCode::NORMAL, "").await;
    assert_eq!(client.closed(link).await, Closure::Local);
    let mut tcp = peer.into_inner();
    let mut rest = Vec::new();
    // The close frame, then the end.
    soon(tcp.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest[0], 0x88);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_cannot_hold_up_the_close() {
    let (listener, address) = listener().await;
    let mut client = Rig::new(Probe::new(), config());
    let (link, _peer) = tokio::join!(client.opened(websocket(address)), accept(&listener));
    for _ in 0..64 {
        client
            .send(link, Frame::Binary(vec![0; 1 << 20].into()))
            .await;
    }
    client.close(link, CloseCode::NORMAL, "").await;
    assert_eq!(client.closed(link).await, Closure::Local);
}

#[tokio::test]
async fn what_breaks_the_rules_is_closed_with_the_right_code() {
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
    let (mut server, address) = Rig::server(machine, config()).await;
    for (frame, expected) in cases {
        let mut peer = connect(address).await;
        let link = server.accepted().await;
        let (mut sink, mut stream) = (&mut peer).split();
        let send = async {
            // The server may have seen enough before everything is sent.
            let _ = sink.send(Message::Frame(frame)).await;
        };
        let receive = async {
            loop {
                match soon(stream.next()).await {
                    Some(Ok(Message::Close(close))) => return close.unwrap().code.into(),
                    Some(Ok(_)) => {}
                    other => panic!("no close frame: {other:?}"),
                }
            }
        };
        let (code, ()): (u16, ()) = soon(async { tokio::join!(receive, send) }).await;
        assert_eq!(code, expected);
        match server.closed(link).await {
            Closure::Violation { code, .. } => assert_eq!(code.0, expected),
            other => panic!("{other:?}"),
        }
    }
    // The hub survives all of it.
    let mut peer = connect(address).await;
    let link = server.accepted().await;
    peer.send(Message::text("fine")).await.unwrap();
    assert_eq!(server.frame().await, (link, text("fine")));
}

#[tokio::test]
async fn a_limit_that_grows_is_known_before_the_answer_arrives() {
    let mut machine = Probe::new();
    machine.limit = 100;
    let (mut server, address) = Rig::server(machine, config()).await;
    let mut peer = connect(address).await;
    let link = server.accepted().await;
    server
        .tell(move |machine| {
            machine.limit = 1000;
            machine.actions.push_back(relay_proto::Action::Send {
                link,
                frame: text("go on"),
            });
        })
        .await;
    assert_eq!(next(&mut peer).await, Message::text("go on"));
    peer.send(Message::binary(vec![1; 1000])).await.unwrap();
    assert_eq!(
        server.frame().await,
        (link, Frame::Binary(vec![1; 1000].into()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_limit_is_zero_the_peer_has_to_wait() {
    const FRAMES: usize = 256;
    const LENGTH: usize = 256 * 1024;
    let mut machine = Probe::new();
    machine.pauses_after_frame = true;
    let (mut server, address) = Rig::server(machine, config()).await;
    let mut peer = connect(address).await;
    let link = server.accepted().await;
    let sending = tokio::spawn(async move {
        // Far more than the socket buffers of both sides hold.
        for number in 0..FRAMES {
            let payload = vec![number as u8; LENGTH];
            peer.send(Message::binary(payload)).await.unwrap();
        }
        peer
    });
    let mut received = 0;
    let mut take = |frame: Frame| {
        assert_eq!(frame, Frame::Binary(vec![received as u8; LENGTH].into()));
        received += 1;
        received
    };
    let (_, frame) = server.frame().await;
    let mut taken = take(frame);

    // Another link is served all the while, so the hub has every chance to read more than it may.
    let mut other = connect(address).await;
    let other_link = loop {
        match server.next().await {
            Input::Accepted { link, .. } => break link,
            Input::Frame { frame, .. } => taken = take(frame),
            unexpected => panic!("{unexpected:?}"),
        }
    };
    for _ in 0..50 {
        other.send(Message::text("?")).await.unwrap();
        loop {
            let (from, frame) = server.frame().await;
            if from == other_link {
                break;
            }
            taken = take(frame);
        }
        server
            .tell(move |machine| machine.paused.remove(&other_link))
            .await;
    }
    assert!(taken <= 4, "{taken} frames in spite of the pause");
    assert!(!sending.is_finished());

    server
        .tell(|machine| {
            machine.pauses_after_frame = false;
            machine.paused.clear();
        })
        .await;
    while taken < FRAMES {
        let (from, frame) = server.frame().await;
        assert_eq!(from, link);
        taken = take(frame);
    }
    soon(sending).await.unwrap();
}
