//! Full and broken storages, restarts, and records that are not what they should be.

use super::rig::*;
use crate::{
    Machine, Time,
    http::{Answer, Request},
    kv::{
        service::{Event, Service},
        wire::{Code, Success},
    },
    storage::{Record, RestoreError},
};
use alloc::{borrow::ToOwned, string::ToString, vec::Vec};
use bytes::Bytes;
use core::time::Duration;

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let mut world = World::stored();
    let link = world.connect(KEY);
    for number in 0..100 {
        let key = alloc::format!("key {number}");
        world.call(link, set(&key, key.clone())).unwrap();
    }
    world.call(link, delete("key 7")).unwrap();
    world.call(link, increment("n", 41)).unwrap();
    let before = world.service.statistics();
    let token = world.token("{}");
    world.restart();
    assert_eq!(world.service.statistics().keys, before.keys);
    assert_eq!(world.service.statistics().bytes, before.bytes);
    let link = world.upgrade(&alloc::format!("/ws?token={token}")).unwrap();
    assert_eq!(world.call(link, get("key 7")), Err(Code::NOT_FOUND));
    assert!(
        matches!(world.call(link, get("key 8")), Ok(Success::Value(record)) if record.value == "key 8")
    );
    assert_eq!(
        world.call(link, increment("n", 1)),
        Ok(Success::Incremented { new_value: 42 })
    );
}

#[test]
fn while_nothing_can_be_stored_changes_are_refused_taken_back_and_never_seen() {
    let mut world = World::stored();
    let link = world.connect(KEY);
    let watcher = world.connect_with_token(r#"{"subscribePatterns":["*"]}"#);
    world.call(link, set("k", "before")).unwrap();
    world.texts(watcher);
    let mut peer = Peer::new(&mut world, 1);
    let disk = world.disk.as_mut().unwrap();
    (disk.is_full, disk.is_slow) = (true, true);
    // All in one turn: what is read in it sees what is then taken back.
    world.say(
        link,
        r#"{"op":2,"key":"first","value":"in the turn before","messageId":1}"#,
    );
    world.say(link, r#"{"op":2,"key":"k","value":"after","messageId":2}"#);
    world.say(link, r#"{"op":1,"key":"k","messageId":3}"#);
    world.say(link, r#"{"op":4,"key":"k","messageId":4}"#);
    let id = peer.ask(&mut world, increment("n", 1));
    assert_eq!(world.texts(link), Vec::<alloc::string::String>::new());
    world.disk.as_mut().unwrap().is_slow = false;
    world.run();
    peer.exchange(&mut world);
    let refused = |id| {
        alloc::format!(
            r#"{{"code":503,"error":"it cannot be stored at the moment","retryAfterMs":1000,"messageId":{id}}}"#
        )
    };
    let read = r#"{"code":200,"key":"k","value":"before","messageId":3}"#.to_owned();
    assert_eq!(
        world.texts(link),
        [refused(1), refused(2), read, refused(4)]
    );
    assert_eq!(peer.answer(id), Some(Err(Code::UNAVAILABLE)));
    assert!(matches!(
        world.events.last(),
        Some(Event::StorageFailed { .. })
    ));
    // From now on it is said at once, and what is there can be read.
    assert_eq!(world.call(link, set("k", "x")), Err(Code::UNAVAILABLE));
    assert!(
        matches!(world.call(link, get("k")), Ok(Success::Value(record)) if record.value == "before")
    );
    assert_eq!(world.call(link, get("first")), Err(Code::NOT_FOUND));
    assert!(peer.come_back(&mut world), "who is known goes on");
    world.pass(Duration::from_secs(5));
    world.disk.as_mut().unwrap().is_full = false;
    world.pass(Duration::from_secs(1));
    assert!(matches!(world.events.last(), Some(Event::StorageRecovered)));
    peer.ask_as(&mut world, id, increment("n", 1));
    assert_eq!(
        peer.answer(id),
        Some(Ok(Success::Incremented { new_value: 1 })),
        "it was not applied"
    );
    let told = world.texts(watcher);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(r#""key":"n","value":"1""#) && told[0].contains(r#""sequence":2"#));
    world.restart();
    let link = world.connect(KEY);
    assert!(
        matches!(world.call(link, get("k")), Ok(Success::Value(record)) if record.value == "before")
    );
    assert_eq!(world.call(link, get("first")), Err(Code::NOT_FOUND));
}

/// A batch that failed may lie on the disk all the same; it must be gone when the storage works again.
#[test]
fn what_was_taken_back_is_taken_from_the_disk_too() {
    let mut world = World::stored();
    let link = world.connect(KEY);
    world.call(link, set("k", "before")).unwrap();
    let before = world.disk.as_ref().unwrap().records.clone();
    world.disk.as_mut().unwrap().is_slow = true;
    world.say(link, r#"{"op":2,"key":"k","value":"after","messageId":1}"#);
    world.say(link, r#"{"op":2,"key":"l","value":"after","messageId":2}"#);
    let disk = world.disk.as_mut().unwrap();
    for (_, writes) in &disk.waiting {
        for write in writes {
            if let crate::storage::Write::Put { table, key, value } = write {
                disk.records.insert((table, key.clone()), value.clone());
            }
        }
    }
    (disk.is_full, disk.is_slow) = (true, false);
    world.run();
    world.disk.as_mut().unwrap().is_full = false;
    world.pass(Duration::from_secs(2));
    assert_eq!(world.disk.as_ref().unwrap().records, before);
}

#[test]
fn nobody_is_welcomed_who_cannot_be_remembered() {
    let mut world = World::stored();
    world.disk.as_mut().unwrap().is_full = true;
    let link = world.connect(KEY);
    let hello = r#"{"op":7,"messageId":0,"durable":{"client":"00000000000000000000000000000001"}}"#;
    let refused = r#"{"code":503,"error":"it cannot be stored at the moment","retryAfterMs":1000,"messageId":0}"#;
    assert_eq!(world.asks(link, hello), refused, "in the turn that fails");
    assert_eq!(
        world.call(link, get("k")),
        Err(Code::NOT_FOUND),
        "it speaks the plain dialect"
    );
    let link = world.connect(KEY);
    assert_eq!(world.asks(link, hello), refused, "and after it");
    assert_eq!(world.service.statistics().clients, 0);
    world.disk.as_mut().unwrap().is_full = false;
    world.pass(Duration::from_secs(2));
    assert!(!Peer::new(&mut world, 1).grant.known);
}

#[test]
fn two_hellos_of_one_client_at_once_are_one_client() {
    let mut world = World::stored();
    world.disk.as_mut().unwrap().is_slow = true;
    let hello = r#"{"op":7,"messageId":0,"durable":{"client":"00000000000000000000000000000001"}}"#;
    let links = [world.connect(KEY), world.connect(KEY)];
    for link in links {
        world.say(link, hello);
    }
    let disk = world.disk.as_mut().unwrap();
    (disk.is_slow, disk.is_full) = (false, true);
    world.run();
    for link in links {
        assert!(world.texts(link)[0].starts_with(r#"{"code":503,"#));
    }
    assert_eq!(world.service.statistics().clients, 0);
}

#[test]
fn nobody_gets_a_token_before_the_secret_is_stored() {
    let mut world = World::stored();
    world.disk.as_mut().unwrap().records.clear();
    world.disk.as_mut().unwrap().is_slow = true;
    world.restart();
    let request = Request::new("POST", "/token/websocket")
        .with_field("x-api-key", KEY)
        .with_body("{}");
    let status = |answer| match answer {
        Answer::Respond(response) => response.status(),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(world.request(&request)), 503);
    world.disk.as_mut().unwrap().is_slow = false;
    world.run();
    assert_eq!(status(world.request(&request)), 200);
}

fn restore(records: Vec<Record>) -> Result<Service, RestoreError> {
    Service::restore(config(), [3; 32], Time::ZERO, records)
}

fn records(world: &World) -> Vec<Record> {
    let records = world.disk.as_ref().unwrap().records.iter();
    let record = |((table, key), value): (&(&str, Bytes), &Bytes)| Record {
        table: (*table).to_owned(),
        key: key.clone(),
        value: value.clone(),
        age: Duration::ZERO,
    };
    records.map(record).collect()
}

#[test]
fn records_that_are_not_ours_newer_or_damaged_are_refused_by_name() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    peer.call(&mut world, increment("n", 1)).unwrap();
    peer.call(&mut world, delete("x")).unwrap_err();
    peer.call(&mut world, delete("n")).unwrap();
    peer.call(&mut world, set("m", "1")).unwrap();
    let good = records(&world);
    let tables = [
        "kv-changes",
        "kv-clients",
        "kv-results",
        "kv-service",
        "kv-values",
    ];
    for table in tables {
        assert!(good.iter().any(|record| record.table == table), "{table}");
    }
    assert!(restore(good.clone()).is_ok());
    for index in 0..good.len() {
        let table = good[index].table.clone();
        let with = |change: fn(&mut Record)| {
            let mut records = good.clone();
            change(&mut records[index]);
            restore(records).err().map(|error| error.to_string())
        };
        let error = with(|record| {
            let mut value = record.value.to_vec();
            value[0] = 2;
            record.value = value.into();
        });
        assert!(error.unwrap().contains("newer than the 1"), "{table}");
        for damage in [
            |record: &mut Record| record.value = record.value.slice(..record.value.len() - 1),
            |record: &mut Record| record.value = Bytes::new(),
            |record: &mut Record| {
                if record.table == "kv-service" {
                    record.value = Bytes::from_static(b"\x01\0\0\0\0\0\0\0\0");
                } else {
                    record.key = Bytes::from_static(b"\xff");
                }
            },
        ] {
            let error = with(damage).unwrap();
            assert!(
                error.contains(&table) && error.contains("is damaged"),
                "{error}"
            );
        }
        let error = with(|record| record.table = "ledger".into());
        assert!(error.unwrap().contains("\"ledger\""));
    }
}

/// What no service leaves behind does no harm.
#[test]
fn results_of_nobody_and_gaps_in_the_log_are_passed_over() {
    let mut world = World::stored();
    let mut peer = Peer::new(&mut world, 1);
    for number in 0..5 {
        peer.call(&mut world, increment("n", number)).unwrap();
    }
    let disk = world.disk.as_mut().unwrap();
    disk.records.retain(|(table, _), _| *table != "kv-clients");
    let mut third = disk
        .records
        .keys()
        .filter(|(table, _)| *table == "kv-changes");
    let third = third.nth(2).cloned().unwrap();
    disk.records.remove(&third);
    world.restart();
    assert!(!peer.come_back(&mut world));
    assert_eq!((peer.grant.known, peer.grant.sequence), (false, 5));
    peer.call(&mut world, set("x", "1")).unwrap();
    let results = world.disk.as_ref().unwrap().records.keys();
    let results = results.filter(|(table, _)| *table == "kv-results").count();
    assert_eq!(results, 1, "those of nobody are gone");
    assert_eq!(
        world.service.deadline().map(|deadline| deadline.timer),
        Some("heartbeat")
    );
}
