//! Messages on the channels of a session: round trips, credit, and what closing does.

use super::{
    peer::{MODERN, Peer, message, take_message},
    rig::{CLIENT, Rig, pooled, seconds},
    sessions::past_the_end,
};
use crate::{Input, LinkId};
use alloc::{format, string::String, vec::Vec};

pub(super) const REPLIES: &str = "250 2.1.0 fine\r\n250 2.1.5 fine\r\n";

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
    assert!(
        rig.pump
            .machine()
            .ledger
            .covers("alice", &peer.grant.ledger_mark)
    );
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
pub(super) fn answer(rig: &mut Rig, upstream: LinkId) -> String {
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
