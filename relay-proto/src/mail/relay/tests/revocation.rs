//! Keys that are taken away while their clients are in.

use super::{
    messages::REPLIES,
    peer::{MODERN, Peer, message, policy, take_message},
    rig::{CLIENT, Rig, config, pooled, seconds},
};
use crate::{
    CloseCode, LinkId, Time,
    mail::{
        relay::{Event, Policy},
        wire::Message,
    },
};

const REFUSED: CloseCode = CloseCode(4001);

fn revoke(rig: &mut Rig, account: &str) {
    let now: Time = rig.now;
    rig.pump
        .command(now, |relay, now| relay.revoke(now, account));
    rig.run();
}

fn refused(rig: &Rig, link: LinkId) -> bool {
    rig.events.iter().any(|event| {
        matches!(event, Event::AuthenticationRefused { link: of, error } if *of == link && error.contains("no longer good"))
    })
}

#[test]
fn a_key_that_is_taken_away_ends_all_links_and_sessions_of_its_account_and_of_no_other() {
    let mut rig = Rig::new(pooled());
    let alices = [0, 1].map(|number| Peer::connect(&mut rig, number));
    let mut away = Peer::connect(&mut rig, 2);
    away.cut(&mut rig);
    let mut bob = Peer::connect_as(&mut rig, 3, "bob");
    revoke(&mut rig, "alice");
    for alice in &alices {
        assert_eq!(rig.close_code(alice.link), Some(REFUSED));
        assert_eq!(
            rig.close_reason(alice.link),
            "the API key is no longer good"
        );
        assert!(refused(&rig, alice.link));
    }
    assert!(rig.is_open(bob.link) && !refused(&rig, bob.link));
    assert_eq!(rig.pump.machine().sessions(), 1);
    assert!(away.resume(&mut rig, 4, "alice").is_some(), "it is gone");

    let channel = bob.send(1, None);
    bob.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    bob.talk(&mut rig);
    assert!(bob.hears(channel).ends_with("250 2.0.0 queued\r\n"));
}

#[test]
fn what_is_not_past_its_end_of_data_is_abandoned_when_its_key_is_taken_away() {
    let mut rig = Rig::new(config());
    let mut alice = Peer::connect(&mut rig, 0);
    let channel = alice.open(1, None);
    let all = message(1);
    alice.say(channel, &all[..all.len() - 4]);
    alice.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    rig.upstream_says(upstream, REPLIES);
    rig.upstream_hears(upstream);
    revoke(&mut rig, "alice");
    let abandoned = |event: &Event| matches!(event, Event::MessageAbandoned { .. });
    assert!(rig.events.iter().any(abandoned), "{:?}", rig.events);
    assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
    rig.upstream_says(upstream, "221 bye\r\n");
    let relay = rig.pump.machine();
    assert_eq!((relay.channels(), relay.sessions()), (0, 0));
    assert_eq!(relay.held_bytes(), 0);
}

#[test]
fn what_is_past_its_end_of_data_goes_on_and_is_known_when_the_key_is_back() {
    let mut rig = Rig::new(pooled());
    let mut alice = Peer::connect(&mut rig, 0);
    alice.send(1, None);
    alice.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    let mark = alice.grant.ledger_mark.clone();
    revoke(&mut rig, "alice");
    assert!(rig.is_open(upstream));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");

    let mut alice = Peer::connect(&mut rig, 1);
    let again = alice.send(1, Some(&mark));
    alice.talk(&mut rig);
    assert_eq!(alice.hears(again), "[outcome 250 2.0.0 queued]");
    assert_eq!(rig.mails, 1);
}

#[test]
fn in_the_base_dialect_the_link_ends_the_same_way() {
    let alice = Policy {
        account: "alice".into(),
        ..Policy::default()
    };
    let (mut rig, upstream) = Rig::open(alice);
    rig.client_says("MAIL FROM:<a@example.org>\r\n");
    rig.upstream_hears(upstream);
    revoke(&mut rig, "bob");
    assert!(rig.is_open(CLIENT));
    revoke(&mut rig, "alice");
    assert_eq!(rig.close_code(CLIENT), Some(REFUSED));
    assert!(refused(&rig, CLIENT));
    revoke(&mut rig, "alice");
    let told = |event: &&Event| matches!(event, Event::AuthenticationRefused { .. });
    assert_eq!(rig.events.iter().filter(told).count(), 1);
}

#[test]
fn a_decision_that_is_older_than_the_change_lets_nobody_in() {
    let mut rig = Rig::new(pooled());
    rig.accept(CLIENT);
    rig.authenticate(CLIENT);
    revoke(&mut rig, "alice");
    rig.grant(CLIENT, policy("alice"));
    let [Message::AuthenticateResponse(Err(denied))] = &rig.messages(CLIENT)[..] else {
        panic!("it is not refused");
    };
    assert!(!denied.is_permanent() && denied.retry_after.is_some());
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::POLICY_VIOLATION));
    rig.pass(seconds(60));
    assert_eq!(rig.pump.machine().links(), 0);
}
