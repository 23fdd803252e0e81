//! The service against models that are as plain as can be.

use super::rig::*;
use crate::kv::wire::{Code, Operation, Record, Seen, ServiceMessage, Success};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use bytes::Bytes;
use core::{str, time::Duration};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::Value;

// ---- one client, all operations ----

#[derive(Clone, Debug)]
enum Step {
    Do(Operation),
    /// The service dies with the batch that is under way, and another begins.
    Crash,
    /// From now on the disk is full, or is not.
    Full(bool),
}

fn key() -> impl Strategy<Value = String> {
    select(&["a", "b", "b1", "c", "n", "ü"][..]).prop_map(String::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => select(&[r#"{"a":1}"#, r#"{"a":{"b":2},"c":[1]}"#, r#"{"a":null}"#, r#"{"c":null,"d":"x"}"#, "text", "7", "-3", "[1]"][..]).prop_map(Bytes::from),
        1 => vec(any::<u8>(), 1..4).prop_map(Bytes::from),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        key().prop_map(|key| Operation::Get { key }),
        (key(), value()).prop_map(|(key, value)| Operation::Set { key, value }),
        (key(), value()).prop_map(|(key, value)| Operation::Patch { key, value }),
        key().prop_map(|key| Operation::Delete { key }),
        (key(), key(), option::of(1..4_u64)).prop_map(|(key, end_key, limit)| Operation::Range {
            key,
            end_key,
            limit
        }),
        (key(), -3..4_i64).prop_map(|(key, by)| Operation::Increment { key, by }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => operation().prop_map(Step::Do),
        1 => Just(Step::Crash),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

#[derive(Default)]
struct Model {
    values: BTreeMap<String, Vec<u8>>,
    changes: u64,
}

impl Model {
    fn perform(&mut self, operation: &Operation) -> Result<Success, Code> {
        let found = self.values.get(operation.key()).cloned();
        let (after, success) = match operation {
            Operation::Get { key } => {
                let (key, value) = (key.clone(), found.ok_or(Code::NOT_FOUND)?.into());
                return Ok(Success::Value(Record { key, value }));
            }
            Operation::Range {
                key,
                end_key,
                limit,
            } => {
                let within = |(found, _): &(&String, _)| *found >= key && *found <= end_key;
                let all: Vec<_> = self.values.iter().filter(within).collect();
                let limit = limit
                    .map_or(all.len(), |limit| limit as usize)
                    .min(all.len());
                let record = |(key, value): &(&String, &Vec<u8>)| Record {
                    key: (*key).clone(),
                    value: Bytes::copy_from_slice(value),
                };
                return Ok(Success::Records {
                    records: all[..limit].iter().map(record).collect(),
                    truncated: limit < all.len(),
                });
            }
            Operation::Set { value, .. } => (Some(value.to_vec()), Success::Done),
            Operation::Patch { value, .. } => {
                let before = found.ok_or(Code::NOT_FOUND)?;
                (Some(patched(&before, value)), Success::Done)
            }
            Operation::Delete { .. } => {
                found.ok_or(Code::NOT_FOUND)?;
                (None, Success::Done)
            }
            Operation::Increment { by, .. } => {
                let before = match &found {
                    Some(value) => str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok()),
                    None => Some(0),
                };
                let new_value: i64 = before.ok_or(Code::BAD_REQUEST)? + by;
                let success = Success::Incremented { new_value };
                (Some(new_value.to_string().into()), success)
            }
        };
        self.changes += 1;
        match after {
            Some(value) => self.values.insert(operation.key().into(), value),
            None => self.values.remove(operation.key()),
        };
        Ok(success)
    }
}

/// Numbers are small and names sorted here, so that the library's own reading and writing of JSON loses nothing.
fn patched(before: &[u8], patch: &[u8]) -> Vec<u8> {
    let object = |json: &[u8]| {
        serde_json::from_slice::<Value>(json)
            .ok()
            .filter(Value::is_object)
    };
    match (object(before), object(patch)) {
        (Some(before), Some(patch)) => merged(before, patch).to_string().into(),
        _ => [before, patch].concat(),
    }
}

fn merged(mut before: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    if !before.is_object() {
        before = Value::Object(serde_json::Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            before.as_object_mut().unwrap().remove(&name);
        } else {
            before[&name] = merged(before[&name].take(), value);
        }
    }
    before
}

/// Equal where values are, as JSON where they are JSON: members may stand in another order.
fn same(one: &Result<Success, Code>, other: &Result<Success, Code>) -> bool {
    let bytes = |one: &Bytes, other: &Bytes| {
        let json = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).ok();
        one == other || json(one).is_some_and(|one| Some(one) == json(other))
    };
    let record =
        |(one, other): (&Record, &Record)| one.key == other.key && bytes(&one.value, &other.value);
    match (one, other) {
        (Ok(Success::Value(one)), Ok(Success::Value(other))) => record((one, other)),
        (
            Ok(Success::Records {
                records: one,
                truncated: a,
            }),
            Ok(Success::Records {
                records: other,
                truncated: b,
            }),
        ) => a == b && one.len() == other.len() && one.iter().zip(other).all(record),
        (one, other) => one == other,
    }
}

proptest! {
    #[test]
    fn the_store_does_what_a_model_does_over_crashes_and_full_disks(steps in vec(step(), 1..60)) {
        let mut world = World::stored();
        let (mut model, mut is_full) = (Model::default(), false);
        let mut link = world.connect(KEY);
        for step in steps {
            match step {
                Step::Do(operation) => {
                    let result = world.call(link, operation.clone());
                    if is_full && operation.changes() {
                        // What makes no sense in any case may be said instead.
                        prop_assert!(result.is_err());
                    } else {
                        let expected = model.perform(&operation);
                        prop_assert!(same(&result, &expected), "{operation:?}: {result:?}, not {expected:?}");
                        if let (Ok(_), Operation::Patch { key, .. }) = (&result, &operation) {
                            // The service keeps members in their order, which counts once something is appended to them.
                            let get = Operation::Get { key: key.clone() };
                            let (found, expected) = (world.call(link, get.clone()), model.perform(&get));
                            prop_assert!(same(&found, &expected), "{found:?}, not {expected:?}");
                            let Ok(Success::Value(record)) = found else { panic!("not found") };
                            model.values.insert(record.key, record.value.to_vec());
                        }
                    }
                }
                Step::Crash => {
                    world.disk.as_mut().unwrap().is_full = false;
                    is_full = false;
                    world.restart();
                    link = world.connect(KEY);
                }
                Step::Full(full) => {
                    world.disk.as_mut().unwrap().is_full = full;
                    world.pass(Duration::from_secs(2));
                    is_full = full;
                    link = world.connect(KEY);
                }
            }
        }
        world.disk.as_mut().unwrap().is_full = false;
        world.pass(Duration::from_secs(2));
        world.restart();
        let all = range("", "\u{10ffff}", None);
        let link = world.connect(KEY);
        let (found, expected) = (world.call(link, all.clone()), model.perform(&all));
        prop_assert!(same(&found, &expected), "{found:?}, not {expected:?}");
        // Whoever listens from the first change on is told each of them, and ends up with the same.
        let credential = format!("token={}", world.token(r#"{"subscribePatterns":["*"]}"#));
        let peer = Peer::with(&mut world, 1, &credential, Some(Seen { sequence: 0, store: None }));
        let mut told = BTreeMap::new();
        for (index, message) in peer.heard.iter().enumerate() {
            let ServiceMessage::Notification(notification) = message else {
                panic!("{message:?}");
            };
            prop_assert_eq!(notification.sequence, Some(index as u64 + 1));
            match &notification.value {
                Some(value) => told.insert(notification.key.clone(), value.clone()),
                None => told.remove(&notification.key),
            };
        }
        prop_assert_eq!((peer.heard.len() as u64, peer.grant.sequence), (model.changes, model.changes));
        let Ok(Success::Records { records, .. }) = found else { panic!("no records") };
        let records: BTreeMap<_, _> = records.into_iter().map(|record| (record.key, record.value)).collect();
        prop_assert_eq!(told, records);
    }
}

// ---- clients of the durable dialect, whatever happens to them ----

#[derive(Clone, Copy, Debug)]
enum Event {
    Increment(usize),
    Append(usize),
    /// Frames go to the service, and nothing comes back.
    Shout(usize),
    Cut(usize),
    ComeBack(usize),
    /// The oldest batch is stored, or is not.
    Store(bool),
    Crash,
    Wait,
}

fn event() -> impl Strategy<Value = Event> {
    let who = || 0..3_usize;
    prop_oneof![
        6 => who().prop_map(Event::Increment),
        4 => who().prop_map(Event::Append),
        2 => who().prop_map(Event::Shout),
        2 => who().prop_map(Event::Cut),
        3 => who().prop_map(Event::ComeBack),
        6 => prop_oneof![4 => Just(true), 1 => Just(false)].prop_map(Event::Store),
        1 => Just(Event::Crash),
        1 => Just(Event::Wait),
    ]
}

/// What a client is sure to know.
struct Client {
    peer: Peer,
    is_there: bool,
    unanswered: BTreeMap<u64, Operation>,
    /// By how much it has added to the number, and what that was then.
    added: Vec<(i64, i64)>,
    /// What it has appended.
    appended: String,
}

impl Client {
    fn ask(&mut self, world: &mut World, operation: Operation) {
        if !self.is_there || self.unanswered.len() > 50 {
            return;
        }
        let id = self.peer.next;
        self.peer.next += 1;
        self.unanswered.insert(id, operation.clone());
        self.settle();
        self.peer.write(id, operation);
        self.peer.exchange(world);
        self.listen();
    }

    /// All calls before the first that is not answered are settled.
    fn settle(&mut self) {
        let first = self.unanswered.keys().next().copied();
        self.peer.settled = first.unwrap_or(self.peer.next) - 1;
    }

    fn listen(&mut self) {
        let ids: Vec<_> = self.unanswered.keys().copied().collect();
        for id in ids {
            let Some(answer) = self.peer.answer(id) else {
                continue;
            };
            let operation = self.unanswered.remove(&id).unwrap();
            match (answer, operation) {
                (Ok(Success::Incremented { new_value }), Operation::Increment { by, .. }) => {
                    self.added.push((by, new_value));
                }
                (Ok(Success::Done), Operation::Patch { value, .. }) => {
                    self.appended.push_str(str::from_utf8(&value).unwrap());
                }
                (Err(Code::UNAVAILABLE), _) => {}
                (answer, operation) => panic!("{operation:?}: {answer:?}"),
            }
        }
        assert!(
            self.peer.heard.is_empty(),
            "nothing is answered twice: {:?}",
            self.peer.heard
        );
    }

    fn come_back(&mut self, world: &mut World) {
        self.is_there = true;
        if !self.peer.come_back(world) {
            assert!(self.peer.grant.known, "it was told that it is remembered");
            self.settle();
            for (id, operation) in self.unanswered.clone() {
                self.peer.write(id, operation);
            }
            self.peer.exchange(world);
        }
        self.listen();
    }
}

fn quick<R>(world: &mut World, work: impl FnOnce(&mut World) -> R) -> R {
    let disk = world.disk.as_mut().unwrap();
    (disk.is_slow, disk.is_full) = (false, false);
    world.run();
    // Where the storage has failed, it is tried again.
    world.pass(Duration::from_secs(2));
    let result = work(world);
    world.disk.as_mut().unwrap().is_slow = true;
    result
}

proptest! {
    #[test]
    fn every_call_is_applied_once_or_not_at_all_whatever_is_cut_dies_or_cannot_be_stored(events in vec(event(), 1..80)) {
        let mut world = World::with(|config| config.heartbeat_interval = Duration::from_secs(1 << 30));
        let mut clients: Vec<_> = (0..3_u32).map(|index| Client {
            peer: Peer::new(&mut world, index.into()),
            is_there: true,
            unanswered: BTreeMap::new(),
            added: Vec::new(),
            appended: String::new(),
        }).collect();
        let link = world.connect(KEY);
        for index in 0..3 {
            world.call(link, set(&format!("own {index}"), "|")).unwrap();
        }
        world.disk.as_mut().unwrap().is_slow = true;
        for (number, event) in events.into_iter().enumerate() {
            match event {
                Event::Increment(who) => {
                    clients[who].ask(&mut world, increment("n", number as i64 % 5 + 1));
                }
                Event::Append(who) => {
                    let (key, value) = (format!("own {who}"), format!("{number},").into());
                    clients[who].ask(&mut world, Operation::Patch { key, value });
                }
                Event::Shout(who) => {
                    let client = &mut clients[who];
                    if client.is_there && client.unanswered.len() <= 50 {
                        let id = client.peer.next;
                        client.peer.next += 1;
                        client.unanswered.insert(id, increment("n", 1));
                        client.settle();
                        client.peer.write(id, increment("n", 1));
                        while let Some(frame) = client.peer.session.poll_frame() {
                            world.send(client.peer.link, crate::Frame::Binary(frame));
                        }
                        world.frames(client.peer.link);
                        world.cut(client.peer.link);
                        client.is_there = false;
                    }
                }
                Event::Cut(who) => {
                    if core::mem::take(&mut clients[who].is_there) {
                        world.cut(clients[who].peer.link);
                    }
                }
                Event::ComeBack(who) => quick(&mut world, |world| clients[who].come_back(world)),
                Event::Store(works) => {
                    let disk = world.disk.as_mut().unwrap();
                    if !disk.waiting.is_empty() {
                        disk.is_full = !works;
                        world.store_one();
                        world.disk.as_mut().unwrap().is_full = false;
                        world.run();
                    }
                }
                Event::Crash => {
                    world.restart();
                    for client in &mut clients {
                        client.is_there = false;
                    }
                }
                Event::Wait => world.pass(Duration::from_millis(700)),
            }
            for client in &mut clients {
                if client.is_there {
                    client.peer.exchange(&mut world);
                    client.listen();
                }
            }
        }
        world.disk.as_mut().unwrap().is_slow = false;
        world.disk.as_mut().unwrap().is_full = false;
        world.run();
        world.pass(Duration::from_secs(2));
        for client in &mut clients {
            client.come_back(&mut world);
        }
        for client in &mut clients {
            client.peer.exchange(&mut world);
            client.listen();
            prop_assert_eq!(client.unanswered.len(), 0, "everything is answered in the end");
        }
        world.restart();
        // Each addition began where another ended, from nothing to what there is now.
        let mut chain: BTreeMap<i64, i64> = BTreeMap::new();
        for (by, new_value) in clients.iter().flat_map(|client| &client.added) {
            let other = chain.insert(new_value - by, *new_value);
            prop_assert_eq!(other, None, "two began at {}", new_value - by);
        }
        let mut count = 0;
        while let Some(next) = chain.remove(&count) {
            count = next;
        }
        prop_assert!(chain.is_empty(), "{chain:?} began nowhere");
        let link = world.connect(KEY);
        let is_now = match world.call(link, get("n")) {
            Ok(Success::Value(record)) => String::from_utf8(record.value.into()).unwrap(),
            _ => "0".into(),
        };
        prop_assert_eq!(is_now, count.to_string());
        for (index, client) in clients.iter().enumerate() {
            let own = world.call(link, get(&format!("own {index}")));
            let Ok(Success::Value(record)) = own else { panic!("{own:?}") };
            prop_assert_eq!(str::from_utf8(&record.value).unwrap(), format!("|{}", client.appended));
        }
    }
}
