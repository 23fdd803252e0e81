//! Clients that break the protocol of a session, or use it to take room.

use super::{
    peer::{Peer, delivery, numbered},
    rig::{CLIENT, Rig, pooled},
};
use crate::{
    CloseCode, Frame, Input,
    mail::{
        relay::Event,
        wire::{Message, Word, encode_word},
    },
    session::{Body, SessionFrame},
};
use alloc::{vec, vec::Vec};
use bytes::Bytes;

#[test]
fn whoever_breaks_the_protocol_loses_link_and_session() {
    let word = |word: &Word| encode_word(word);
    let open = |channel| {
        word(&Word::Open {
            channel,
            delivery: delivery(7),
            sent_under: None,
        })
    };
    let control = |payload: &Bytes| vec![numbered(1, 0, Body::Control(payload))];
    let text = |json: &'static str| control(&Bytes::from_static(json.as_bytes()));
    let beyond = Bytes::from(vec![b'x'; 256 * 1024 + 1]);
    let cases: Vec<(&str, Vec<Bytes>, u16)> = vec![
        ("no frame", vec![Bytes::from_static(&[7, 1, 0])], 1002),
        ("an empty message", vec![Bytes::new()], 1002),
        ("a gap", vec![numbered(2, 0, Body::Control(&open(1)))], 1002),
        (
            "never sent",
            vec![numbered(1, 9, Body::Control(&open(1)))],
            1002,
        ),
        ("no JSON", text("nonsense"), 1002),
        (
            "no UTF-8",
            control(&Bytes::from_static(b"{\"type\":\"\xff\"}")),
            1007,
        ),
        (
            "no delivery",
            text(r#"{"type":"SMTP_CHANNEL_OPEN","channelId":1}"#),
            1002,
        ),
        (
            "a second key",
            text(r#"{"type":"AUTHENTICATE","apiKey":"k"}"#),
            1002,
        ),
        (
            "base SMTP",
            text(r#"{"type":"SMTP_TO_SERVER","data":"x"}"#),
            1002,
        ),
        (
            "the relay's word",
            control(&word(&Word::Ready { channel: 1 })),
            1002,
        ),
        (
            "credit for nothing",
            control(&word(&Word::Credit {
                channel: 1,
                bytes: 1,
            })),
            1002,
        ),
        (
            "data for nothing",
            vec![numbered(
                1,
                0,
                Body::Data {
                    channel: 3,
                    payload: b"x",
                },
            )],
            1002,
        ),
        (
            "a channel twice",
            vec![
                numbered(1, 0, Body::Control(&open(1))),
                numbered(2, 0, Body::Control(&open(1))),
            ],
            1002,
        ),
        (
            "beyond its credit",
            vec![
                numbered(1, 0, Body::Control(&open(1))),
                numbered(
                    2,
                    0,
                    Body::Data {
                        channel: 1,
                        payload: &beyond,
                    },
                ),
            ],
            1002,
        ),
    ];
    for (what, frames, code) in cases {
        let mut rig = Rig::new(pooled());
        let mut peer = Peer::connect(&mut rig, 0);
        for frame in frames {
            assert!(rig.is_open(CLIENT), "{what}: too early");
            let frame = Frame::Binary(frame);
            rig.input(Input::Frame {
                link: CLIENT,
                frame,
            });
        }
        assert_eq!(rig.close_code(CLIENT), Some(CloseCode(code)), "{what}");
        let violation = |event: &Event| matches!(event, Event::Violation { .. });
        assert_eq!(
            rig.events.iter().filter(|event| violation(event)).count(),
            1,
            "{what}"
        );
        assert!(
            peer.resume(&mut rig, 1, "alice").is_some(),
            "{what}: session lives"
        );
    }
}

#[test]
fn more_channels_than_granted_or_text_end_the_session_too() {
    let mut few = pooled();
    few.max_channels = 2;
    let mut rig = Rig::new(few);
    let mut peer = Peer::connect(&mut rig, 0);
    for number in 1..=3 {
        peer.open(number, None);
    }
    peer.talk(&mut rig);
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::PROTOCOL_ERROR));

    let mut peer = Peer::connect(&mut rig, 1);
    rig.send(peer.link, &Message::ChannelOpen);
    assert_eq!(rig.close_code(peer.link), Some(CloseCode::PROTOCOL_ERROR));
    assert!(rig.close_reason(peer.link).contains("text"));
    assert!(peer.resume(&mut rig, 2, "alice").is_some());
}

#[test]
fn words_that_are_not_known_are_ignored_and_counted() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    peer.channels
        .announce(Bytes::from_static(br#"{"type":"LATER","channelId":9}"#));
    peer.talk(&mut rig);
    peer.cut(&mut rig);
    assert!(matches!(
        rig.events.last(),
        Some(Event::Disconnected {
            ignored_frames: 1,
            ..
        })
    ));
}

#[test]
fn a_client_that_never_acknowledges_is_left_when_too_much_waits_for_it() {
    let mut rig = Rig::new(pooled());
    let _ = Peer::connect(&mut rig, 0);
    let says = |seq: u64, word: &Word| {
        let mut bytes = Vec::new();
        let frame = SessionFrame::Numbered {
            seq,
            ack: 0,
            body: Body::Control(encode_word(word)),
        };
        frame.encode(&mut bytes);
        Input::Frame {
            link: CLIENT,
            frame: Frame::Binary(bytes.into()),
        }
    };
    let mut sent = 0;
    while rig.is_open(CLIENT) {
        let channel = sent / 2 + 1;
        sent += 1;
        assert!(sent <= 20_000, "it is kept for ever");
        rig.input(if sent % 2 == 1 {
            // Answered with a word.
            let delivery = delivery(u128::from(channel));
            let sent_under = None;
            says(
                sent,
                &Word::Open {
                    channel,
                    delivery,
                    sent_under,
                },
            )
        } else {
            let (reason, outcome) = (None, None);
            says(
                sent,
                &Word::Closed {
                    channel,
                    reason,
                    outcome,
                },
            )
        });
        rig.sent(CLIENT);
        let held = rig.pump.machine().held_bytes();
        assert!(held <= 1 << 20, "{held} bytes for a client that takes none");
    }
    assert!(sent > 1024, "a client that is only slow is kept: {sent}");
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::POLICY_VIOLATION));
    assert!(rig.close_reason(CLIENT).contains("acknowledged"));
    assert_eq!(rig.pump.machine().sessions(), 0);
    assert!(rig.events.iter().any(|event| matches!(
        event,
        Event::Violation { link: CLIENT, violation } if violation.code == CloseCode::POLICY_VIOLATION
    )));
}
