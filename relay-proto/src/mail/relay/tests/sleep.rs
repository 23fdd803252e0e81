//! A machine that sleeps: for the relay time stands still and is much later at once.

use super::{
    peer::{MODERN, Peer, take_message},
    rig::{CLIENT, Rig, pooled, seconds, warm},
};
use crate::{CloseCode, Frame, LinkId, Machine, mail::relay::Event};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Time passes at once, and every timer that was due meanwhile is due now.
fn sleep(rig: &mut Rig, time: Duration) {
    rig.now = rig.now.after(time);
    rig.run();
}

#[test]
fn after_a_sleep_each_client_is_asked_once_whether_it_is_there() {
    let mut rig = Rig::new(pooled());
    let links: Vec<_> = (0..20)
        .map(|number| Peer::connect(&mut rig, number).link)
        .collect();
    rig.pass(seconds(1));
    for link in &links {
        rig.sent(*link);
    }
    sleep(&mut rig, DAY);
    for link in &links {
        assert_eq!(rig.sent(*link), [Frame::Ping(Bytes::new())]);
        assert!(rig.is_open(*link));
    }
    rig.pass(seconds(29));
    assert!(links.iter().all(|link| rig.sent(*link).is_empty()));
    // Whoever answers stays.
    let frame = Frame::Pong(Bytes::new());
    rig.input(crate::Input::Frame {
        link: CLIENT,
        frame,
    });
    rig.pass(seconds(1));
    assert!(rig.is_open(CLIENT));
    for link in &links[1..] {
        assert_eq!(rig.close_code(*link), Some(CloseCode::GOING_AWAY));
    }
}

#[test]
fn a_reply_that_waits_to_be_read_when_the_machine_wakes_up_is_not_taken_for_silence_of_the_server()
{
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    peer.talk(&mut rig);
    peer.hears(channel);
    // Shorter than the patience with the server.
    sleep(&mut rig, seconds(9 * 60));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "250 2.0.0 queued\r\n");
    assert_eq!(rig.mails, 1);
}

#[test]
fn a_message_under_way_while_the_machine_sleeps_for_long_is_in_doubt_and_not_sent_again() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    peer.talk(&mut rig);
    peer.hears(channel);
    sleep(&mut rig, DAY);
    let doubts = |event: &&Event| matches!(event, Event::MessageInDoubt { .. });
    assert_eq!(rig.events.iter().filter(doubts).count(), 1);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "[in doubt]");
    let mark = peer.grant.ledger_mark.clone();
    let again = peer.send(1, Some(&mark));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(again), "[in doubt]");
    assert_eq!(rig.mails, 1);
}

#[test]
fn connections_that_were_kept_over_a_sleep_say_goodbye_and_are_not_opened_by_the_dozen() {
    let mut rig = Rig::new(warm());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(channel).ends_with("250 2.0.0 queued\r\n"));
    rig.upstream_hears(upstream);
    let dialled = rig.dialled();
    sleep(&mut rig, DAY);
    assert!(rig.dialled() <= dialled + 1, "{}", rig.dialled());
    assert!(["QUIT\r\n", ""].contains(&&*rig.upstream_hears(upstream)));
    assert!(
        rig.pump
            .machine()
            .deadline()
            .is_some_and(|next| next.at > rig.now)
    );
}

#[test]
fn sessions_nobody_came_back_to_in_a_sleep_end_once_and_together() {
    let mut rig = Rig::new(pooled());
    let mut peers: Vec<_> = (0..20)
        .map(|number| Peer::connect(&mut rig, number))
        .collect();
    for peer in &mut peers {
        peer.cut(&mut rig);
    }
    sleep(&mut rig, DAY);
    let ended: Vec<_> = rig
        .events
        .iter()
        .filter_map(|event| match event {
            Event::SessionExpired { link } => Some(*link),
            _ => None,
        })
        .collect();
    let mut links: Vec<_> = (0..20).map(LinkId::accepted).collect();
    links.sort_unstable();
    let mut sorted = ended;
    sorted.sort_unstable();
    assert_eq!(sorted, links);
    assert_eq!(rig.pump.machine().sessions(), 0);
}
