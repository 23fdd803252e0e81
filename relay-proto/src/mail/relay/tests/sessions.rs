//! Sessions of the durable dialect: over links, credit, and to their end.

use super::{
    peer::{MODERN, Peer, delivery, message, policy, take_message},
    rig::{CLIENT, Rig, config, pooled, seconds},
};
use crate::{
    CloseCode, Frame, Input, LinkId, Machine,
    mail::{
        relay::Event,
        wire::{DurableRequest, Message, Word, encode_word},
    },
    session::{Body, RetentionLimits, Session, SessionFrame},
};
use alloc::{format, string::String, vec, vec::Vec};
use bytes::Bytes;
use core::time::Duration;

const REPLIES: &str = "250 2.1.0 fine\r\n250 2.1.5 fine\r\n";

/// A client whose message is with the upstream up to its end of data.
pub(super) fn past_the_end() -> (Rig, Peer, u64, LinkId) {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    (rig, peer, channel, upstream)
}

#[test]
fn a_message_in_one_flight_costs_one_round_trip() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.send(1, None);
    peer.flush(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.receive(&mut rig);
    assert_eq!(
        peer.hears(channel),
        format!("[ready]{REPLIES}250 2.0.0 queued\r\n")
    );
    assert_eq!(peer.flights, 1);
}

#[test]
fn what_the_grant_says_is_what_holds() {
    let mut rig = Rig::new(pooled());
    let peer = Peer::connect(&mut rig, 0);
    assert_eq!(peer.grant.expires_in, seconds(120));
    assert_eq!(peer.grant.heartbeat, seconds(30));
    assert_eq!(
        (peer.grant.max_channels, peer.grant.window),
        (512, 256 * 1024)
    );
    let offered = &peer.grant.capabilities;
    assert!(offered.pipelining && offered.chunking && offered.size.is_some());
    assert!(rig.pump.machine().ledger.covers(&peer.grant.ledger_mark));
}

#[test]
fn many_messages_in_flight_share_a_round_trip_and_connections() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channels: Vec<_> = (1..=5).map(|number| peer.send(number, None)).collect();
    peer.flush(&mut rig);
    assert_eq!(rig.dialled(), 5);
    let upstreams: Vec<_> = (0..5).map(LinkId::dialled).collect();
    for link in &upstreams {
        let link = *link;
        rig.input(Input::Opened { link });
        rig.upstream_says(link, "220 hi\r\n");
        assert_eq!(rig.upstream_hears(link), "EHLO relay.example\r\n");
        rig.upstream_says(link, MODERN);
        take_message(&mut rig, link);
    }
    for link in upstreams {
        rig.upstream_says(link, "250 2.0.0 queued\r\n");
    }
    peer.receive(&mut rig);
    for channel in channels {
        assert!(peer.hears(channel).ends_with("250 2.0.0 queued\r\n"));
    }
    assert_eq!(peer.flights, 1);
}

#[test]
fn a_slow_upstream_holds_back_its_own_channel_and_no_other() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let slow = peer.open(1, None);
    peer.say(
        slow,
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 2000000 LAST\r\n",
    );
    peer.talk(&mut rig);
    let stuck = rig.greet(MODERN);
    rig.slow.insert(stuck);
    rig.upstream_says(stuck, REPLIES);
    let content = "x".repeat(2_000_000);
    peer.say(slow, &content);
    peer.talk(&mut rig);
    let waiting = usize::MAX - peer.channels.room(slow);
    assert!(
        waiting > 1_500_000,
        "all but its window waits at the client"
    );
    assert!(rig.unwritten(stuck) <= 256 * 1024);

    let other = peer.send(2, None);
    peer.talk(&mut rig);
    let quick = rig.greet(MODERN);
    take_message(&mut rig, quick);
    rig.upstream_says(quick, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(other).ends_with("250 2.0.0 queued\r\n"));
    assert!(usize::MAX - peer.channels.room(slow) > 1_500_000);

    while usize::MAX > peer.channels.room(slow) || rig.unwritten(stuck) > 0 {
        assert!(rig.write(stuck), "nothing moves");
        peer.talk(&mut rig);
        assert!(
            rig.unwritten(stuck) <= 300 * 1024,
            "credit bounds what waits"
        );
    }
    let chunks = rig.upstream_hears(stuck).matches("BDAT ").count();
    rig.upstream_says(stuck, &"250 chunk\r\n".repeat(chunks - 1));
    rig.upstream_says(stuck, "250 2.0.0 all of it\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(slow).ends_with("250 2.0.0 all of it\r\n"));
}

/// The upstream agrees to everything, and returns what it heard.
fn answer(rig: &mut Rig, upstream: LinkId) -> String {
    let mut all = String::new();
    loop {
        let heard = rig.upstream_hears(upstream);
        if heard.is_empty() {
            return all;
        }
        for line in heard.lines() {
            rig.upstream_says(
                upstream,
                match line.get(..4) {
                    Some("MAIL") => "250 2.1.0 fine\r\n",
                    Some("RCPT") => "250 2.1.5 fine\r\n",
                    Some("BDAT") => "250 2.0.0 queued\r\n",
                    _ => "",
                },
            );
        }
        all.push_str(&heard);
    }
}

#[test]
fn a_message_goes_on_where_its_link_was_cut() {
    let all = message(1);
    for at in [0, 10, 40, all.len() - 4, all.len()] {
        let mut rig = Rig::new(pooled());
        let mut peer = Peer::connect(&mut rig, 0);
        let channel = peer.open(1, None);
        peer.say(channel, &all[..at]);
        peer.talk(&mut rig);
        let mut heard = String::new();
        let mut upstream = (rig.dialled() > 0).then(|| rig.greet(MODERN));
        heard += &upstream.map_or_else(String::new, |link| answer(&mut rig, link));
        peer.cut(&mut rig);
        peer.say(channel, &all[at..]);
        rig.pass(seconds(50));
        assert_eq!(peer.resume(&mut rig, 1, "alice"), None);
        peer.talk(&mut rig);
        let upstream = *upstream.get_or_insert_with(|| rig.greet(MODERN));
        heard += &answer(&mut rig, upstream);
        assert_eq!(heard, all, "cut at {at}");
        peer.talk(&mut rig);
        assert_eq!(
            peer.hears(channel),
            format!("[ready]{REPLIES}250 2.0.0 queued\r\n"),
            "cut at {at}"
        );
    }
}

#[test]
fn a_reply_that_came_while_the_client_was_away_waits_for_it() {
    for (before, noticed) in [(true, true), (true, false), (false, true)] {
        let (mut rig, mut peer, channel, upstream) = past_the_end();
        if before {
            // The frames go out on a link that is dead, or wait for the next one.
            if noticed {
                peer.cut(&mut rig);
            }
            rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
            rig.sent(peer.link);
        } else {
            peer.cut(&mut rig);
        }
        assert_eq!(peer.resume(&mut rig, 1, "alice"), None);
        if !before {
            rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
        }
        peer.talk(&mut rig);
        let heard = peer.hears(channel);
        assert!(heard.ends_with("250 2.0.0 queued\r\n"), "{heard:?}");
        assert_eq!(heard.matches("queued").count(), 1);
        assert_eq!(rig.mails, 1);
    }
}

#[test]
fn an_older_link_is_closed_before_the_client_is_answered_and_counts_no_more() {
    let (mut rig, mut peer, channel, upstream) = past_the_end();
    let zombie = peer.link;
    assert_eq!(peer.resume(&mut rig, 1, "alice"), None);
    assert_eq!(rig.close_code(zombie), Some(CloseCode::GOING_AWAY));
    assert!(
        rig.events
            .contains(&Event::SessionResumed { link: peer.link })
    );
    // What the driver still had from it.
    let frame = Frame::Binary(Bytes::from_static(&[9, 9, 9]));
    rig.pump.handle_input(
        rig.now,
        Input::Frame {
            link: zombie,
            frame,
        },
    );
    rig.run();
    assert!(rig.is_open(peer.link));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(channel).ends_with("250 2.0.0 queued\r\n"));
}

#[test]
fn a_session_nobody_comes_back_to_ends_and_what_was_not_complete_is_taken_back() {
    let mut rig = Rig::new(config());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.open(1, None);
    let all = message(1);
    peer.say(channel, &all[..all.len() - 4]);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    rig.upstream_says(upstream, REPLIES);
    peer.cut(&mut rig);
    rig.pass(seconds(119));
    assert!(rig.is_open(upstream));
    rig.pass(seconds(2));
    assert!(rig.events.contains(&Event::SessionExpired { link: CLIENT }));
    let abandoned = |event: &Event| matches!(event, Event::MessageAbandoned { .. });
    assert!(rig.events.iter().any(abandoned), "{:?}", rig.events);
    assert!(rig.upstream_hears(upstream).ends_with("QUIT\r\n"));
    assert!(peer.resume(&mut rig, 1, "alice").is_some());
    // Nothing is known of it, so it may go afresh.
    let mut peer = Peer::connect(&mut rig, 2);
    let channel = peer.send(1, Some(&peer.grant.ledger_mark.clone()));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "[ready]");
}

#[test]
fn past_its_end_of_data_a_session_lives_longer_and_its_outcome_is_known_to_the_next() {
    let mut patient = pooled();
    patient.upstream_final_timeout = seconds(3600);
    let mut rig = Rig::new(patient);
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    peer.cut(&mut rig);
    rig.pass(seconds(14 * 60));
    assert_eq!(peer.resume(&mut rig, 1, "alice"), None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), format!("[ready]{REPLIES}"));
    peer.cut(&mut rig);
    rig.pass(seconds(15 * 60 + 1));
    assert!(peer.resume(&mut rig, 2, "alice").is_some());

    // The relay waits for the upstream all the same.
    let mark = peer.grant.ledger_mark.clone();
    let mut peer = Peer::connect(&mut rig, 3);
    let channel = peer.send(1, Some(&mark));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "");
    assert_eq!(rig.mails, 1, "it is under way and not sent again");
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "[outcome 250 2.0.0 queued]");
}

#[test]
fn a_session_answered_while_its_client_is_away_expires_in_the_usual_time() {
    let (mut rig, mut peer, _, upstream) = past_the_end();
    peer.cut(&mut rig);
    rig.pass(seconds(60));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    rig.pass(seconds(59));
    assert!(
        !rig.events
            .iter()
            .any(|event| matches!(event, Event::SessionExpired { .. }))
    );
    rig.pass(seconds(2));
    assert!(
        rig.events
            .iter()
            .any(|event| matches!(event, Event::SessionExpired { .. }))
    );
}

#[test]
fn a_session_is_nothing_to_another_account() {
    let (mut rig, mut peer, _, _) = past_the_end();
    let gone = peer.resume(&mut rig, 1, "mallory");
    assert!(gone.unwrap().contains("no such session"));
    assert!(rig.is_open(peer.link), "the session has its link still");
    let mut other = Peer::connect_as(&mut rig, 2, "mallory");
    let channel = other.send(1, None);
    other.talk(&mut rig);
    assert_eq!(other.hears(channel), "[ready]", "nor is its delivery");
}

#[test]
fn a_resume_that_cannot_be_true_leaves_the_session_alone() {
    let (mut rig, mut peer, channel, upstream) = past_the_end();
    let link = LinkId::accepted(1);
    rig.accept(link);
    let session = peer.grant.session;
    let receive_next = 99;
    rig.authenticate_for(
        link,
        Some(DurableRequest::Resume {
            session,
            receive_next,
        }),
    );
    rig.grant(link, policy("alice"));
    let [Message::AuthenticateResponse(Ok(granted))] = &rig.messages(link)[..] else {
        panic!("no answer");
    };
    let fresh = granted.durable.as_ref().unwrap();
    assert!(fresh.session != session && fresh.gone.as_ref().unwrap().contains("99"));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(channel).ends_with("250 2.0.0 queued\r\n"));
}

fn numbered(seq: u64, ack: u64, body: Body<&[u8]>) -> Bytes {
    let mut session = Session::new(crate::Time::ZERO, Duration::MAX, RetentionLimits::default());
    session.attach(CLIENT, 1).unwrap();
    for _ in 1..seq {
        session.send(Body::Control(b"{}")).unwrap();
        drop(session.poll_frame());
    }
    session.send(body).unwrap();
    let frame = session.poll_frame().unwrap();
    let mut bytes = frame.to_vec();
    assert!(seq < 128 && ack < 128);
    bytes[2] = ack as u8;
    assert!(SessionFrame::decode(&Bytes::from(bytes.clone())).is_ok());
    bytes.into()
}

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
fn what_still_comes_for_a_channel_that_has_ended_is_ignored() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.open(1, None);
    peer.say(channel, "QUIT\r\n");
    peer.flush(&mut rig);
    peer.say(channel, &message(1));
    peer.flush(&mut rig);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "[ready]221 2.0.0 Bye\r\n[closed]");
    assert!(rig.is_open(CLIENT) && rig.mails == 0);
}

#[test]
fn a_client_that_closes_a_channel_takes_its_message_back_unless_it_is_complete() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.open(1, None);
    peer.say(channel, "MAIL FROM:<a@b.example>\r\n");
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    rig.upstream_says(upstream, "250 fine\r\n");
    rig.upstream_hears(upstream);
    peer.close(channel);
    peer.talk(&mut rig);
    assert_eq!(rig.upstream_hears(upstream), "RSET\r\n");

    let (mut rig, mut peer, channel, upstream) = past_the_end();
    peer.close(channel);
    peer.talk(&mut rig);
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    let again = peer.send(1, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(again), "[outcome 250 2.0.0 queued]");
}

#[test]
fn a_relay_that_does_not_grant_the_dialect_speaks_the_base_one() {
    let mut base = pooled();
    base.durable = false;
    let mut rig = Rig::new(base);
    rig.accept(CLIENT);
    rig.authenticate_for(CLIENT, Some(DurableRequest::New));
    rig.grant(CLIENT, policy("alice"));
    let [Message::AuthenticateResponse(Ok(granted))] = &rig.messages(CLIENT)[..] else {
        panic!("no answer");
    };
    assert_eq!(granted.durable, None);
    rig.send(CLIENT, &Message::ChannelOpen);
    rig.greet(MODERN);
    assert!(rig.client_hears().starts_with("[SMTP_CHANNEL_READY]220 "));
}

#[test]
fn frames_right_behind_the_key_are_taken_when_it_is_granted() {
    let mut rig = Rig::new(pooled());
    rig.accept(CLIENT);
    rig.authenticate_for(CLIENT, Some(DurableRequest::New));
    let open = encode_word(&Word::Open {
        channel: 1,
        delivery: delivery(1),
        sent_under: None,
    });
    let all = message(1);
    for (seq, body) in [
        (1, Body::Control(&open[..])),
        (
            2,
            Body::Data {
                channel: 1,
                payload: all.as_bytes(),
            },
        ),
    ] {
        let frame = Frame::Binary(numbered(seq, 0, body));
        rig.input(Input::Frame {
            link: CLIENT,
            frame,
        });
    }
    assert!(rig.pump.machine().read_limit(CLIENT) == 0 && rig.mails == 0);
    rig.grant(CLIENT, policy("alice"));
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
}
