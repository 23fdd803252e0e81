//! What comes behind the key before it is decided on.

use super::{
    peer::{MODERN, Peer, message, policy, take_message},
    rig::{CLIENT, Rig, pooled},
};
use crate::{
    CloseCode, Frame, Input, LinkId, Priority,
    channels::{Channels, ChannelsConfig},
    mail::{
        DeliveryId,
        relay::RelayConfig,
        wire::{Denied, DurableRequest, Message, Word, encode_word},
    },
    session::{RetentionLimits, Session},
};
use alloc::vec::Vec;
use core::time::Duration;

/// The first frames of a new session, with a message.
fn flight(number: u128) -> Vec<Frame> {
    let mut channels = Channels::new(ChannelsConfig::default());
    let channel = channels.open(Priority::Normal).unwrap();
    let open = Word::Open {
        channel,
        delivery: DeliveryId::from_bits(number),
        sent_under: None,
    };
    channels.announce(encode_word(&open));
    channels.write(channel, message(number).into()).unwrap();
    let mut session = Session::new(crate::Time::ZERO, Duration::MAX, RetentionLimits::default());
    session.attach(CLIENT, 1).unwrap();
    while let Some(body) = channels.poll(session.room()) {
        session.send(body.borrowed()).unwrap();
    }
    core::iter::from_fn(|| session.poll_frame().map(Frame::Binary)).collect()
}

fn asked(config: RelayConfig) -> Rig {
    let mut rig = Rig::new(config);
    rig.accept(CLIENT);
    rig.authenticate_for(CLIENT, Some(DurableRequest::New));
    for frame in flight(1) {
        rig.input(Input::Frame {
            link: CLIENT,
            frame,
        });
    }
    assert_eq!(rig.dialled(), 0, "nothing is done for a key nobody knows");
    rig
}

#[test]
fn a_message_behind_the_key_is_relayed_as_soon_as_the_key_is_good() {
    let mut rig = asked(pooled());
    rig.grant(CLIENT, policy("alice"));
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    assert_eq!(rig.mails, 1);
}

#[test]
fn a_message_behind_a_bad_key_goes_nowhere() {
    let mut rig = asked(pooled());
    let now = rig.now;
    let deny = |relay: &mut crate::mail::relay::Relay, now| {
        relay.deny(now, CLIENT, Denied::for_good("unknown key"));
    };
    rig.pump.command(now, deny);
    rig.run();
    assert!(rig.close_code(CLIENT).is_some());
    assert_eq!((rig.dialled(), rig.mails), (0, 0));
}

#[test]
fn where_the_dialect_is_not_granted_the_link_is_closed_behind_the_answer() {
    let mut rig = asked(RelayConfig {
        durable: false,
        ..pooled()
    });
    rig.grant(CLIENT, policy("alice"));
    assert!(matches!(
        rig.first_message(CLIENT),
        Message::AuthenticateResponse(Ok(granted)) if granted.durable.is_none()
    ));
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::UNSUPPORTED_DATA));
    assert_eq!(rig.mails, 0);
}

#[test]
fn what_comes_ahead_for_a_session_that_is_gone_is_passed_over() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    peer.open(7, None);
    peer.talk(&mut rig);
    peer.cut(&mut rig);
    rig.pass(Duration::from_secs(121));
    // It does not know that yet, and goes on where it was.
    let link = LinkId::accepted(1);
    peer.session
        .attach(link, peer.session.resend_from())
        .unwrap();
    peer.link = link;
    rig.accept(link);
    let request = DurableRequest::Resume {
        session: peer.grant.session,
        receive_next: peer.session.receive_next(),
    };
    rig.authenticate_for(link, Some(request));
    peer.send(8, None);
    peer.flush(&mut rig);
    rig.grant(link, policy("alice"));
    let Message::AuthenticateResponse(Ok(granted)) = rig.first_message(link) else {
        panic!("the key is good");
    };
    assert!(granted.durable.unwrap().gone.is_some());
    // Some of it comes late.
    peer.send(9, None);
    peer.flush(&mut rig);
    assert!(rig.is_open(link) && rig.mails == 0);
    for frame in flight(1) {
        rig.input(Input::Frame { link, frame });
    }
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    assert!(rig.is_open(link) && rig.mails == 1);
}
