//! How a relay ends with clients in sessions.

use super::{
    peer::{Peer, policy},
    rig::seconds,
    sessions::past_the_end,
};
use crate::{
    CloseCode, LinkId,
    mail::{relay::Event, wire::Word},
};

#[test]
fn a_relay_that_drains_says_so_finishes_and_closes() {
    let (mut rig, mut peer, channel, upstream) = past_the_end();
    let mut idle = Peer::connect(&mut rig, 5);
    let mut away = Peer::connect(&mut rig, 6);
    away.cut(&mut rig);
    let base = LinkId::accepted(7);
    rig.accept(base);
    rig.authenticate(base);
    rig.grant(base, policy("alice"));
    let now = rig.now;
    rig.pump
        .command(now, |relay, now| relay.drain(now, now.after(seconds(25))));
    rig.run();
    assert_eq!(rig.close_code(base), Some(CloseCode::SERVICE_RESTART));
    idle.talk(&mut rig);
    let draining = Word::Draining {
        deadline: seconds(25),
        spread: Some(seconds(10)),
    };
    assert_eq!(idle.words, [draining]);
    assert_eq!(rig.close_code(idle.link), Some(CloseCode::SERVICE_RESTART));

    peer.talk(&mut rig);
    assert!(rig.is_open(peer.link));
    let refused = peer.send(2, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(refused), "[error 421, later]");
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(channel).ends_with("250 2.0.0 queued\r\n"));
    assert!(rig.is_open(peer.link), "its channel is still open");
    peer.close(channel);
    peer.talk(&mut rig);
    assert_eq!(rig.close_code(peer.link), Some(CloseCode::SERVICE_RESTART));
    rig.upstream_says(upstream, "221 bye\r\n");
    assert!(rig.finished);
}

#[test]
fn a_drain_ends_at_its_deadline_whoever_is_left() {
    let (mut rig, _peer, _, _) = past_the_end();
    let now = rig.now;
    rig.pump
        .command(now, |relay, now| relay.drain(now, now.after(seconds(25))));
    rig.run();
    rig.pass(seconds(24));
    assert!(!rig.finished);
    rig.pass(seconds(1));
    assert!(rig.finished);
    let doubt = |event: &Event| matches!(event, Event::MessageInDoubt { .. });
    assert!(rig.events.iter().any(doubt));
}
