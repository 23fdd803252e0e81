//! How many messages the holder of a key may send.

use super::{
    peer::{MODERN, Peer, policy, take_message},
    rig::{CLIENT, Rig, config, pooled, seconds},
};
use crate::{
    Input,
    mail::{
        relay::{Event, Policy},
        wire::Message,
    },
};
use core::time::Duration;

fn limited(account: &str, rate: &str) -> Policy {
    Policy {
        rate: Some(rate.parse().unwrap()),
        ..policy(account)
    }
}

#[test]
fn a_message_that_comes_too_early_is_refused_for_the_moment_and_nothing_of_it_goes_on() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect_under(&mut rig, 0, limited("alice", "2/s"));
    let channels: [u64; 3] = core::array::from_fn(|number| peer.send(number as u128, None));
    peer.talk(&mut rig);
    let heard = channels.map(|channel| peer.hears(channel));
    assert_eq!(heard, ["[ready]", "[ready]", "[error 450, later]"]);
    assert_eq!(rig.pump.machine().channels(), 2);
    let why = "this API key sends more messages than 2/s";
    let told =
        |event: &Event| matches!(event, Event::ChannelFailed { why: told, .. } if told == why);
    assert!(rig.events.iter().any(told));
    // What is refused is not counted.
    rig.pass(Duration::from_millis(500));
    let again = peer.send(2, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(again), "[ready]");
}

#[test]
fn an_account_has_one_rate_on_all_its_links_and_others_have_theirs() {
    let mut rig = Rig::new(pooled());
    let mut first = Peer::connect_under(&mut rig, 0, limited("alice", "1/h"));
    let mut second = Peer::connect_under(&mut rig, 1, limited("alice", "1/h"));
    let mut other = Peer::connect_under(&mut rig, 2, limited("bob", "1/h"));
    let mut free = Peer::connect_as(&mut rig, 3, "carol");
    for (peer, expected) in [
        (&mut first, "[ready]"),
        (&mut second, "[error 450, later]"),
        (&mut other, "[ready]"),
        (&mut free, "[ready]"),
    ] {
        let channel = peer.send(1, None);
        peer.talk(&mut rig);
        assert_eq!(peer.hears(channel), expected);
    }
}

#[test]
fn asking_what_became_of_a_delivery_costs_nothing() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect_under(&mut rig, 0, limited("alice", "1/h"));
    let channel = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    let waiting = peer.open(1, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(waiting), "");
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(channel).ends_with("250 2.0.0 queued\r\n"));
    assert_eq!(peer.hears(waiting), "[outcome 250 2.0.0 queued]");
    let known = peer.open(1, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(known), "[outcome 250 2.0.0 queued]");
}

#[test]
fn in_the_base_dialect_each_mail_counts_and_a_channel_for_none_is_refused_with_the_time() {
    let mut rig = Rig::new(config());
    rig.accept(CLIENT);
    rig.authenticate(CLIENT);
    rig.grant(CLIENT, limited("alice", "2/min:2"));
    rig.messages(CLIENT);
    rig.send(CLIENT, &Message::ChannelOpen);
    let upstream = rig.greet("250 mx.example\r\n");
    rig.client_hears();
    for _ in 0..2 {
        rig.client_says("MAIL FROM:<a@b.example>\r\n");
        assert_eq!(rig.upstream_hears(upstream), "MAIL FROM:<a@b.example>\r\n");
        rig.upstream_says(upstream, "250 ok\r\n");
        rig.client_says("RSET\r\n");
        rig.upstream_hears(upstream);
        rig.upstream_says(upstream, "250 ok\r\n");
        rig.client_hears();
    }
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    assert_eq!(rig.upstream_hears(upstream), "");
    let told =
        "450 4.7.1 This API key sends more messages than 2/min:2; the next may come in 30s\r\n";
    assert!(rig.client_hears().ends_with(told));
    rig.send(CLIENT, &Message::ChannelClosed { reason: None });
    rig.messages(CLIENT);
    rig.send(CLIENT, &Message::ChannelOpen);
    let [Message::ChannelError(error)] = &rig.messages(CLIENT)[..] else {
        panic!("it is refused");
    };
    assert_eq!(
        (error.code, error.retry_after),
        (Some(450), Some(seconds(30)))
    );
    rig.pass(seconds(30));
    rig.send(CLIENT, &Message::ChannelOpen);
    let upstream = rig.greet("250 mx.example\r\n");
    rig.client_hears_smtp();
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    assert_eq!(rig.upstream_hears(upstream), "MAIL FROM:<a@b.example>\r\n");
}

#[test]
fn a_sender_that_is_not_allowed_costs_nothing() {
    let policy = Policy {
        sender_domains: ["b.example".parse().unwrap()].into(),
        ..limited("alice", "1/h")
    };
    let (mut rig, upstream) = Rig::open(policy);
    rig.client_says("MAIL FROM:<a@elsewhere.example>\r\n");
    assert_eq!(rig.upstream_hears(upstream), "");
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    assert_eq!(rig.upstream_hears(upstream), "MAIL FROM:<a@b.example>\r\n");
}

#[test]
fn what_a_mail_server_says_to_the_relay_is_not_taken_for_the_rate_of_a_key() {
    let mut rig = Rig::serving(Policy::default());
    rig.send(CLIENT, &Message::ChannelOpen);
    let upstream = rig.upstream();
    rig.input(Input::Opened { link: upstream });
    rig.upstream_says(upstream, "450 4.7.1 too many of you\r\n");
    let [Message::ChannelError(error)] = &rig.messages(CLIENT)[..] else {
        panic!("it is refused");
    };
    assert_eq!(error.code, Some(451));
    assert!(error.retry_after.is_some());
}
