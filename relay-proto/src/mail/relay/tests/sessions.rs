//! Sessions of the durable dialect: over links, credit, and to their end.

use super::{
    messages::{REPLIES, answer},
    peer::{MODERN, Peer, delivery, message, numbered, policy, take_message},
    rig::{CLIENT, Rig, config, pooled, seconds, warm},
};
use crate::{
    CloseCode, Frame, Input, LinkId, Machine,
    mail::{
        relay::Event,
        wire::{DurableRequest, Message, Word, encode_word},
    },
    session::Body,
};
use alloc::{format, string::String, vec::Vec};
use bytes::Bytes;

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
fn what_was_granted_before_the_upstream_was_heard_is_refused_by_name() {
    for (parameter, refusal) in [
        ("SMTPUTF8", "[ready]553 5.6.7 "),
        ("BODY=8BITMIME", "[ready]555 5.6.3 "),
    ] {
        let mut rig = Rig::new(warm());
        let mut peer = Peer::connect(&mut rig, 0);
        let granted = &peer.grant.capabilities;
        assert!(granted.smtputf8 && granted.eight_bit_mime);
        let upstream = rig.greet("250 mx.example\r\n");
        let channel = peer.open(1, None);
        peer.say(channel, &format!("MAIL FROM:<a@b.example> {parameter}\r\n"));
        peer.talk(&mut rig);
        let heard = peer.hears(channel);
        assert!(heard.starts_with(refusal), "{heard}");
        assert_eq!(rig.upstream_hears(upstream), "", "{parameter}");
    }
}

#[test]
fn every_link_a_relay_takes_may_have_a_session_though_all_are_of_one_account() {
    let mut config = pooled();
    // Of which an account takes eight ninths.
    config.max_links = 1_700;
    let mut rig = Rig::new(config);
    for number in 0..1_500 {
        // It sees to it that the relay grants a session.
        Peer::connect(&mut rig, number);
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

#[test]
fn what_goes_on_in_a_session_is_reported_under_the_link_it_is_on() {
    let (mut rig, mut peer, channel, upstream) = past_the_end();
    let abandoned = peer.open(2, None);
    peer.say(abandoned, "MAIL FROM:<other@b.example>\r\n");
    peer.talk(&mut rig);
    let second = rig.greet(MODERN);
    rig.upstream_says(second, "250 fine\r\n");
    peer.cut(&mut rig);
    assert_eq!(peer.resume(&mut rig, 1, "alice"), None);
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.close(abandoned);
    peer.talk(&mut rig);
    assert!(peer.hears(channel).ends_with("250 2.0.0 queued\r\n"));
    let link_of = |event: &Event| match event {
        Event::MessageRelayed { link, .. } | Event::MessageAbandoned { link, .. } => Some(*link),
        _ => None,
    };
    let links: Vec<_> = rig.events.iter().filter_map(link_of).collect();
    assert_eq!(links, [peer.link; 2], "{:?}", rig.events);
}
