//! The durable dialect: sessions and what they survive.

use super::rig::*;
use crate::{
    CloseCode, Frame, LinkId,
    kv::{
        ClientId,
        wire::{Code, Hello, Resume, ServiceMessage, Success},
    },
    session::{Body, SessionId},
};
use alloc::{format, vec, vec::Vec};
use core::time::Duration;

fn hello(client: u128) -> Hello {
    Hello {
        client: ClientId::from_bits(client),
        resume: None,
        after: None,
    }
}

#[test]
fn a_client_is_granted_a_session_and_everything_goes_on_in_it() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    assert!(!peer.grant.known);
    assert_eq!(peer.grant.gone, None);
    assert_eq!((peer.grant.receive_next, peer.grant.sequence), (1, 0));
    assert_eq!(peer.grant.expires_in, world.config.session_expiry);
    assert_eq!(peer.grant.max_calls, 256);
    assert_eq!(
        peer.call(&mut world, set("k", &b"\xff"[..])),
        Ok(Success::Done)
    );
    assert_eq!(
        peer.call(&mut world, increment("n", 3)),
        Ok(Success::Incremented { new_value: 3 })
    );
    assert_eq!(peer.call(&mut world, delete("x")), Err(Code::NOT_FOUND));
    assert!(
        matches!(peer.call(&mut world, get("k")), Ok(Success::Value(record)) if record.value == b"\xff"[..])
    );
    assert_eq!(peer.session.unacknowledged(), (0, 0), "all is acknowledged");
    assert_eq!(world.service.statistics().sessions, 1);
    assert_eq!(world.service.statistics().clients, 1);
}

#[test]
fn a_session_survives_its_link_and_nothing_is_lost_or_told_twice() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    for round in 1..=5 {
        // The request arrives and the answer does not.
        let id = peer.next;
        peer.next += 1;
        peer.write(id, increment("n", 1));
        while let Some(frame) = peer.session.poll_frame() {
            world.send(peer.link, Frame::Binary(frame));
        }
        world.cut(peer.link);
        assert!(peer.come_back(&mut world));
        assert_eq!(
            peer.answer(id),
            Some(Ok(Success::Incremented { new_value: round }))
        );
        // The request does not arrive.
        let id = peer.next;
        peer.next += 1;
        peer.write(id, get("n"));
        let lost = peer.session.poll_frame();
        assert!(lost.is_some());
        world.cut(peer.link);
        assert!(peer.come_back(&mut world));
        assert!(peer.answer(id).unwrap().is_ok());
        assert_eq!(peer.heard, vec![]);
    }
}

#[test]
fn a_client_that_comes_back_on_another_link_leaves_the_old_one() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    let old = peer.link;
    assert!(peer.come_back(&mut world));
    assert_eq!(
        world.closed(old),
        Some((1001, "the session goes on on another link".into()))
    );
    assert!(peer.call(&mut world, set("k", "v")).is_ok());
    world.send(old, Frame::Binary(vec![2, 1, 1].into()));
    assert!(
        peer.call(&mut world, get("k")).is_ok(),
        "nothing from the old one counts"
    );
}

#[test]
fn a_session_that_has_expired_is_replaced_and_the_reason_told() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    world.cut(peer.link);
    world.pass(world.config.session_expiry);
    assert_eq!(world.service.statistics().sessions, 0);
    assert!(!peer.come_back(&mut world));
    assert!(peer.grant.known, "the client is remembered all the same");
    assert!(peer.call(&mut world, set("k", "v")).is_ok());
}

#[test]
fn a_session_is_worth_something_to_its_client_and_its_key_alone() {
    let mut world = World::stored();
    let peer = Peer::new(&mut world, 1);
    let resume = |session| {
        Some(Resume {
            session,
            receive_next: 1,
        })
    };
    for (credential, client, session) in [
        (KEY, 2, peer.id),
        (OTHER, 1, peer.id),
        (KEY, 3, SessionId::from_bits(7)),
    ] {
        let wish = Hello {
            resume: resume(session),
            ..hello(client)
        };
        let (_, grant) = greet(&mut world, &format!("apiKey={credential}"), wish).unwrap();
        assert_ne!(grant.session, peer.id);
        assert!(grant.gone.is_some());
        assert!(!grant.known);
    }
    assert_eq!(world.closed(peer.link), None);
    assert_eq!(world.service.statistics().sessions, 4);
}

#[test]
fn a_client_has_one_session_and_the_younger_one_ends_the_older() {
    let mut world = World::stored();
    let peer = Peer::new(&mut world, 1);
    let (_, grant) = greet(&mut world, &format!("apiKey={KEY}"), hello(1)).unwrap();
    assert!(grant.known);
    assert_eq!(
        world.closed(peer.link),
        Some((1001, "the client goes on in another session".into()))
    );
    assert_eq!(world.service.statistics().sessions, 1);
}

#[test]
fn a_hello_is_the_first_message_or_none() {
    let mut world = World::stored();
    let wish = r#"{"op":7,"messageId":9,"durable":{"client":"00000000000000000000000000000001"}}"#;
    let refused =
        r#"{"code":400,"error":"a hello has to be the first message on a link","messageId":9}"#;
    let link = world.connect(KEY);
    world.call(link, get("k")).unwrap_err();
    assert_eq!(world.asks(link, wish), refused);
    assert_eq!(
        world.call(link, get("k")),
        Err(Code::NOT_FOUND),
        "it goes on in the plain dialect"
    );
    let mut peer = Peer::new(&mut world, 2);
    peer.say(wish.as_bytes());
    peer.exchange(&mut world);
    assert_eq!(peer.answer(9), Some(Err(Code::BAD_REQUEST)));
    assert!(peer.call(&mut world, set("k", "v")).is_ok());
    let mut world = World::with(|config| config.durable = false);
    let link = world.connect(KEY);
    let refused = r#"{"code":400,"error":"there is no op 7; there are 1 to 6","messageId":9}"#;
    assert_eq!(world.asks(link, wish), refused);
}

#[test]
fn nothing_is_said_before_the_hello_is_answered() {
    let mut world = World::stored();
    world.disk.as_mut().unwrap().is_slow = true;
    let link = world.connect(KEY);
    let wish = r#"{"op":7,"messageId":9,"durable":{"client":"00000000000000000000000000000001"}}"#;
    world.say(link, wish);
    assert_eq!(
        world.texts(link),
        Vec::<alloc::string::String>::new(),
        "the client is not stored yet"
    );
    assert_eq!(world.service.read_limit(link), 0);
    world.say(link, r#"{"op":1,"key":"k","messageId":10}"#);
    assert_eq!(
        world.closed(link),
        Some((1008, "wait for the answer to the hello".into()))
    );
    world.disk.as_mut().unwrap().is_slow = false;
    world.run();
    assert_eq!(
        world.service.statistics().sessions,
        0,
        "whose link is gone gets none"
    );
}

use crate::Machine;

#[test]
fn what_breaks_the_rules_of_sessions_ends_them() {
    type Says = fn(&mut World, LinkId);
    let cases: [(Says, u16); 5] = [
        (|world, link| world.say(link, "{}"), 1002),
        (
            |world, link| world.send(link, Frame::Binary(vec![].into())),
            1002,
        ),
        (
            |world, link| world.send(link, Frame::Binary(vec![9, 1].into())),
            1002,
        ),
        (
            |world, link| world.send(link, Frame::Binary(vec![1, 5, 0].into())),
            1002,
        ),
        (
            |world, link| world.send(link, Frame::Binary(vec![0, 100].into())),
            1002,
        ),
    ];
    for (says, code) in cases {
        let mut world = World::stored();
        let peer = Peer::new(&mut world, 1);
        says(&mut world, peer.link);
        assert_eq!(world.closed(peer.link).unwrap().0, code);
        assert_eq!(world.service.statistics().sessions, 0);
    }
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    let data = Body::Data {
        channel: 1,
        payload: &b"x"[..],
    };
    peer.session.send(data).unwrap();
    peer.exchange(&mut world);
    assert_eq!(
        world.closed(peer.link).unwrap().0,
        CloseCode::PROTOCOL_ERROR.0
    );
}

#[test]
fn what_is_wrong_with_a_request_in_a_session_is_answered_and_the_session_goes_on() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    for wrong in [
        "null",
        "42",
        "[]",
        "hello",
        "{}",
        r#"{"op":99,"messageId":7}"#,
    ] {
        peer.say(wrong.as_bytes());
    }
    peer.exchange(&mut world);
    let codes = peer.heard.iter().map(|message| match message {
        ServiceMessage::Answer(answer) => answer.result.as_ref().unwrap_err().code,
        other => panic!("{other:?}"),
    });
    assert_eq!(codes.collect::<Vec<_>>(), [Code::BAD_REQUEST; 6]);
    peer.heard.clear();
    assert!(peer.call(&mut world, set("k", "v")).is_ok());
}

#[test]
fn when_the_service_drains_what_was_asked_is_answered_and_all_links_end() {
    let mut world = World::stored();
    let (mut peer, plain) = (Peer::new(&mut world, 1), world.connect(KEY));
    let idle = world.connect(KEY);
    world.disk.as_mut().unwrap().is_slow = true;
    let id = peer.ask(&mut world, increment("n", 1));
    world.say(plain, r#"{"op":6,"key":"n","value":1,"messageId":1}"#);
    let deadline = world.now.after(Duration::from_secs(10));
    world.service.drain(world.now, deadline);
    world.run();
    assert_eq!(world.closed(idle).unwrap().0, 1012);
    assert_eq!((world.closed(plain), world.closed(peer.link)), (None, None));
    let refused = world.upgrade(&format!("/ws?apiKey={KEY}")).unwrap_err();
    assert_eq!(refused.status(), 503);
    world.say(plain, r#"{"op":1,"key":"n","messageId":2}"#);
    assert!(world.texts(plain)[0].starts_with(r#"{"code":503,"error":"the service restarts","#));
    world.disk.as_mut().unwrap().is_slow = false;
    world.run();
    peer.exchange(&mut world);
    assert_eq!(
        peer.answer(id),
        Some(Ok(Success::Incremented { new_value: 1 }))
    );
    assert_eq!(
        world.texts(plain),
        [r#"{"code":200,"success":true,"newValue":2,"messageId":1}"#]
    );
    assert_eq!(world.closed(plain).unwrap().0, 1012);
    assert_eq!(world.closed(peer.link).unwrap().0, 1012);
    assert!(!world.service.is_finished(), "the links are not closed yet");
    for link in [plain, peer.link, idle] {
        world.cut(link);
    }
    assert!(world.service.is_finished());
}

#[test]
fn a_service_that_cannot_drain_in_time_stops() {
    let mut world = World::stored();
    let plain = world.connect(KEY);
    world.disk.as_mut().unwrap().is_slow = true;
    world.say(plain, r#"{"op":6,"key":"n","value":1,"messageId":1}"#);
    let deadline = world.now.after(Duration::from_secs(10));
    world.service.drain(world.now, deadline);
    world.pass(Duration::from_secs(10));
    assert!(world.service.is_finished());
    assert_eq!(
        world.closed(plain),
        Some((1001, "the service stops".into()))
    );
    assert_eq!(world.service.deadline(), None);
    world.tell(crate::Input::Written { link: plain });
    world.service.stop(world.now);
    world.service.drain(world.now, deadline);
    assert!(world.service.poll_action().is_none());
}

#[test]
fn a_silent_client_is_pinged_and_cut_and_its_session_waits_for_it() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    world.pass(Duration::from_secs(30));
    assert!(
        world
            .frames(peer.link)
            .contains(&Frame::Ping(vec![].into()))
    );
    world.send(peer.link, Frame::Pong(vec![].into()));
    world.pass(Duration::from_secs(59));
    assert_eq!(world.closed(peer.link), None);
    world.pass(Duration::from_secs(1));
    assert_eq!(
        world.closed(peer.link),
        Some((1001, "no sign of life".into()))
    );
    let link = peer.link;
    assert!(peer.come_back(&mut world));
    world.cut(link);
    assert!(peer.call(&mut world, set("k", "v")).is_ok());
}
