//! Calls that change something are applied once, whatever becomes of links, sessions and the service.

use super::rig::*;
use crate::kv::{
    ClientId,
    wire::{Code, Hello, Success},
};
use alloc::format;
use core::time::Duration;

const fn is(new_value: i64) -> Option<Result<Success, Code>> {
    Some(Ok(Success::Incremented { new_value }))
}

#[test]
fn a_call_that_is_asked_again_after_a_restart_gets_the_result_it_had() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    let id = peer.ask(&mut world, increment("n", 5));
    assert_eq!(peer.answer(id), is(5));
    for _ in 0..3 {
        world.restart();
        assert!(!peer.come_back(&mut world));
        assert!(peer.grant.known);
        peer.ask_as(&mut world, id, increment("n", 5));
        assert_eq!(peer.answer(id), is(5), "not applied again");
        peer.ask_as(&mut world, id, increment("n", 5));
        assert_eq!(peer.answer(id), is(5), "nor within a session");
    }
    assert_eq!(peer.call(&mut world, increment("n", 1)), is(6).unwrap());
}

#[test]
fn what_was_not_stored_when_the_service_died_is_applied_when_it_is_asked_again() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    assert_eq!(peer.call(&mut world, increment("n", 1)), is(1).unwrap());
    world.disk.as_mut().unwrap().is_slow = true;
    let id = peer.ask(&mut world, increment("n", 5));
    assert_eq!(peer.answer(id), None, "nobody is told what is not stored");
    world.restart();
    world.disk.as_mut().unwrap().is_slow = false;
    assert!(!peer.come_back(&mut world));
    peer.ask_as(&mut world, id, increment("n", 5));
    assert_eq!(peer.answer(id), is(6));
}

/// Deleting what is not there fails, and then somebody makes it be there.
#[test]
fn also_a_refusal_is_remembered_so_that_calls_keep_their_order() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    assert_eq!(peer.call(&mut world, delete("k")), Err(Code::NOT_FOUND));
    assert_eq!(peer.call(&mut world, set("k", "v")), Ok(Success::Done));
    world.restart();
    assert!(!peer.come_back(&mut world));
    peer.ask_as(&mut world, 1, delete("k"));
    peer.ask_as(&mut world, 2, set("k", "v"));
    assert_eq!(peer.answer(1), Some(Err(Code::NOT_FOUND)));
    assert_eq!(peer.answer(2), Some(Ok(Success::Done)));
    assert!(peer.call(&mut world, get("k")).is_ok());
}

#[test]
fn results_are_forgotten_when_their_client_has_settled_them() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    let results = |world: &World| {
        let records = world.disk.as_ref().unwrap().records.keys();
        records.filter(|(table, _)| *table == "kv-results").count()
    };
    for _ in 0..10 {
        assert!(peer.call(&mut world, increment("n", 1)).is_ok());
    }
    assert_eq!(results(&world), 10);
    peer.settled = 9;
    assert!(peer.call(&mut world, increment("n", 1)).is_ok());
    assert_eq!(results(&world), 2);
    world.restart();
    assert!(!peer.come_back(&mut world));
    peer.ask_as(&mut world, 10, increment("n", 1));
    assert_eq!(peer.answer(10), is(10));
    peer.settled = 0;
    peer.ask_as(&mut world, 9, increment("n", 1));
    assert_eq!(
        peer.answer(9),
        Some(Err(Code::BAD_REQUEST)),
        "going back means nothing"
    );
    peer.settled = 12;
    peer.ask_as(&mut world, 12, increment("n", 1));
    assert_eq!(
        peer.answer(12),
        Some(Err(Code::BAD_REQUEST)),
        "a call does not settle itself"
    );
    peer.settled = 11;
    peer.ask_as(&mut world, 12, increment("n", 1));
    assert_eq!(peer.answer(12), is(12), "11 were applied before");
}

#[test]
fn a_client_that_settles_nothing_is_told_to() {
    let mut world = World::with(|config| config.max_calls = 3);
    let mut peer = Peer::new(&mut world, 1);
    for _ in 0..3 {
        assert!(peer.call(&mut world, increment("n", 1)).is_ok());
    }
    assert_eq!(
        peer.call(&mut world, increment("n", 1)),
        Err(Code::TOO_MANY_REQUESTS)
    );
    assert!(
        peer.call(&mut world, get("n")).is_ok(),
        "what changes nothing is not kept"
    );
    peer.settled = 3;
    peer.ask_as(&mut world, 4, increment("n", 1));
    assert_eq!(peer.answer(4), is(4), "it was not applied before");
}

#[test]
fn a_store_that_has_lost_its_records_does_not_know_its_clients_and_has_another_name() {
    let mut world = World::in_memory();
    let mut peer = Peer::new(&mut world, 1);
    assert!(peer.call(&mut world, increment("n", 1)).is_ok());
    let store = peer.grant.store;
    world.restart();
    assert!(!peer.come_back(&mut world));
    assert!(!peer.grant.known);
    assert_ne!(peer.grant.store, store);
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    let store = peer.grant.store;
    world.restart();
    peer.come_back(&mut world);
    assert_eq!((peer.grant.known, peer.grant.store), (true, store));
}

#[test]
fn a_client_is_forgotten_after_a_day_away_and_not_while_it_has_a_session() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    assert!(peer.call(&mut world, increment("n", 1)).is_ok());
    let day = world.config.client_memory;
    for _ in 0..48 * 60 * 3 {
        world.pass(Duration::from_secs(20));
        peer.exchange(&mut world);
        world.send(peer.link, crate::Frame::Pong(bytes::Bytes::new()));
    }
    assert_eq!(world.service.statistics().clients, 1);
    world.cut(peer.link);
    world.pass(world.config.session_expiry);
    world.pass(day - Duration::from_secs(1));
    assert_eq!(world.service.statistics().clients, 1);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.service.statistics().clients, 0);
    assert!(!peer.come_back(&mut world));
    assert!(!peer.grant.known);
    let disk = world.disk.as_ref().unwrap();
    let of_client = disk
        .records
        .keys()
        .filter(|(table, _)| *table == "kv-results");
    assert_eq!(of_client.count(), 0, "its results went with it");
}

#[test]
fn where_a_key_has_as_many_clients_as_may_be_the_one_away_for_longest_makes_room() {
    let mut world = World::with(|config| {
        config.max_clients_per_key = 2;
        config.heartbeat_interval = Duration::MAX;
    });
    let first = Peer::new(&mut world, 1);
    let second = Peer::new(&mut world, 2);
    let hello = |client| Hello {
        client: ClientId::from_bits(client),
        resume: None,
        after: None,
    };
    let credential = format!("apiKey={KEY}");
    let refused = greet(&mut world, &credential, hello(3));
    assert_eq!(refused.unwrap_err(), Code::UNAVAILABLE, "both are there");
    let other = greet(&mut world, &format!("apiKey={OTHER}"), hello(3));
    assert!(other.is_ok(), "one key does not cost another its clients");
    world.cut(first.link);
    world.pass(world.config.session_expiry);
    assert!(greet(&mut world, &credential, hello(3)).is_ok());
    assert_eq!(world.closed(second.link), None);
    // Now the third is there and the first is not.
    let result = greet(&mut world, &credential, hello(1));
    assert_eq!(result.unwrap_err(), Code::UNAVAILABLE);
}
