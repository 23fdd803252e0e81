//! Who is told of changes, and what becomes of those who do not listen.

use super::rig::*;
use crate::{
    Frame,
    kv::{
        StoreId,
        service::Event,
        wire::{Missed, Notification, Seen, ServiceMessage},
    },
};
use alloc::{format, string::String, vec, vec::Vec};
use core::time::Duration;

/// The numbers of the changes that were told.
fn sequences(messages: &[ServiceMessage]) -> Vec<u64> {
    let sequence = |message: &ServiceMessage| match message {
        ServiceMessage::Notification(notification) => notification.sequence,
        _ => None,
    };
    messages.iter().filter_map(sequence).collect()
}

#[test]
fn those_who_are_subscribed_are_told_of_every_change_and_nobody_else() {
    let mut world = World::stored();
    world.pass(Duration::from_millis(1500));
    let token = r#"{"subscribePatterns":["user:*","^visits$"],"accessPattern":"nothing"}"#;
    let watcher = world.connect_with_token(token);
    let of_keys = world.connect_with_token(r#"{"subscribeKeys":["user:1"]}"#);
    let without = world.connect_with_token("{}");
    let link = world.connect(KEY);
    world.call(link, set("user:1", "a")).unwrap();
    world.call(link, set("other", "b")).unwrap();
    world.call(link, increment("visits", 5)).unwrap();
    world.call(link, delete("user:2")).unwrap_err();
    world.call(link, delete("user:1")).unwrap();
    world.call(link, set("user:2", &b"\xff"[..])).unwrap();
    assert_eq!(
        world.texts(watcher),
        [
            r#"{"type":"notification","key":"user:1","value":"a","timestamp":1790000001500,"sequence":1}"#,
            r#"{"type":"notification","key":"visits","value":"5","timestamp":1790000001500,"sequence":3}"#,
            r#"{"type":"notification","key":"user:1","value":null,"timestamp":1790000001500,"sequence":4}"#,
            r#"{"type":"notification","key":"user:2","value":"/w==","encoding":"base64","timestamp":1790000001500,"sequence":5}"#,
        ]
    );
    assert_eq!(sequences(&world.messages(of_keys)), [1, 4]);
    assert_eq!(world.texts(without), Vec::<String>::new());
    assert_eq!(
        world.texts(link),
        Vec::<String>::new(),
        "a key without a token is told nothing"
    );
}

#[test]
fn nobody_is_told_what_is_not_stored_and_whoever_has_changed_it_is_answered_first() {
    let mut world = World::stored();
    let watcher = world.connect_with_token(r#"{"subscribePatterns":["*"]}"#);
    world.disk.as_mut().unwrap().is_slow = true;
    world.say(watcher, r#"{"op":2,"key":"k","value":"v","messageId":1}"#);
    assert_eq!(world.texts(watcher), Vec::<String>::new());
    world.disk.as_mut().unwrap().is_slow = false;
    world.run();
    let texts = world.texts(watcher);
    assert!(
        texts[0].contains(r#""success":true"#) && texts[1].contains("notification"),
        "{texts:?}"
    );
}

#[test]
fn timestamps_never_run_backwards() {
    let mut world = World::stored();
    world.pass(Duration::from_secs(100));
    let link = world.connect(KEY);
    world.call(link, set("k", "1")).unwrap();
    // The driver's clock begins anew, and that of the machine was set back.
    world.now = crate::Time::ZERO;
    world.restart();
    let link = world.connect(KEY);
    let watcher = world.connect_with_token(r#"{"subscribePatterns":["*"]}"#);
    world.call(link, set("k", "2")).unwrap();
    let told = world.messages(watcher);
    assert!(
        matches!(
            &told[..],
            [ServiceMessage::Notification(Notification {
                timestamp: Some(1_790_000_100_000),
                sequence: Some(2),
                ..
            })]
        ),
        "{told:?}"
    );
}

#[test]
fn a_reader_that_takes_nothing_costs_a_bounded_amount_and_is_told_what_it_has_missed() {
    let mut world = World::with(|config| {
        config.max_log_changes = 100;
        config.heartbeat_interval = Duration::MAX;
    });
    let watcher = world.connect_with_token(r#"{"subscribePatterns":["*"]}"#);
    world.wire(watcher).takes = false;
    let link = world.connect(KEY);
    for number in 0..3000 {
        world
            .call(link, set("k", format!("{number} {}", "x".repeat(1000))))
            .unwrap();
    }
    let unwritten = |world: &mut World| world.wire(watcher).unwritten.iter().sum::<usize>();
    assert!(unwritten(&mut world) < 512 * 1024);
    let before = world.messages(watcher);
    let seen = sequences(&before);
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    world.wire(watcher).takes = true;
    world.run();
    let after = world.messages(watcher);
    let told = sequences(&after);
    let gap = after
        .iter()
        .position(|message| matches!(message, ServiceMessage::Missed(_)));
    let Some(ServiceMessage::Missed(missed)) = gap.map(|at| &after[at]) else {
        panic!("it is not told that it has missed some");
    };
    let before_gap = &told[..gap.unwrap()];
    assert_eq!(
        missed.after,
        before_gap.last().copied().unwrap_or(seen.len() as u64)
    );
    assert_eq!(missed.first, told[gap.unwrap()]);
    assert_eq!(*told.last().unwrap(), 3000);
    assert_eq!(told.len() + seen.len(), after.len() - 1 + before.len());
    assert!(world.events.contains(&Event::Missed { link: watcher }));
}

#[test]
fn a_reader_that_is_dead_is_cut_though_it_is_not_read() {
    let mut world = World::stored();
    let watcher = world.connect_with_token(r#"{"subscribePatterns":["*"]}"#);
    world.wire(watcher).takes = false;
    let link = world.connect(KEY);
    for _ in 0..400 {
        world.call(link, set("k", "x".repeat(1000))).unwrap();
    }
    for _ in 0..4 {
        world.pass(Duration::from_secs(15));
        world.send(link, Frame::Pong(vec![].into()));
    }
    assert_eq!(
        world.closed(watcher),
        Some((1001, "no sign of life".into()))
    );
}

#[test]
fn a_durable_client_is_told_what_has_changed_while_it_was_away() {
    let mut world = World::stored();
    let credential = format!("token={}", world.token(r#"{"subscribePatterns":["a*"]}"#));
    let mut peer = Peer::with(&mut world, 1, &credential, None);
    let link = world.connect(KEY);
    world.call(link, set("a", "1")).unwrap();
    peer.exchange(&mut world);
    assert_eq!(sequences(&peer.heard), [1]);
    // Within its session.
    world.cut(peer.link);
    world.call(link, set("b", "2")).unwrap();
    world.call(link, set("a", "3")).unwrap();
    assert!(peer.come_back(&mut world));
    assert_eq!(sequences(&peer.heard), [1, 3]);
    // In another, after a restart.
    let store = peer.grant.store;
    world.call(link, set("a", "4")).unwrap();
    world.restart();
    let after = |sequence, store| Some(Seen { sequence, store });
    let peer = Peer::with(&mut world, 2, &credential, after(3, Some(store)));
    assert_eq!((sequences(&peer.heard), peer.grant.sequence), (vec![4], 4));
    let peer = Peer::with(&mut world, 3, &credential, after(0, None));
    assert_eq!(sequences(&peer.heard), [1, 3, 4]);
    let peer = Peer::with(&mut world, 4, &credential, after(4, None));
    assert_eq!(peer.heard, []);
    let peer = Peer::with(&mut world, 5, &credential, None);
    assert_eq!(peer.heard, [], "only what is yet to come");
}

#[test]
fn a_client_that_asks_for_more_than_is_known_is_told_so() {
    let mut world = World::with(|config| config.max_log_changes = 3);
    let credential = format!("token={}", world.token(r#"{"subscribePatterns":["*"]}"#));
    let link = world.connect(KEY);
    for number in 0..10 {
        world.call(link, set("k", format!("{number}"))).unwrap();
    }
    let missed = |after, first| ServiceMessage::Missed(Missed { after, first });
    let after = |sequence, store| Some(Seen { sequence, store });
    let peer = Peer::with(&mut world, 1, &credential, after(2, None));
    assert_eq!(peer.heard[0], missed(2, 8));
    assert_eq!(sequences(&peer.heard), [8, 9, 10]);
    let peer = Peer::with(&mut world, 2, &credential, after(6, None));
    assert_eq!(peer.heard[0], missed(6, 8));
    let peer = Peer::with(&mut world, 3, &credential, after(7, None));
    assert_eq!(sequences(&peer.heard), [8, 9, 10]);
    assert_eq!(peer.heard.len(), 3);
    for strange in [after(11, None), after(3, Some(StoreId::from_bits(7)))] {
        let peer = Peer::with(&mut world, 4, &credential, strange);
        assert_eq!(peer.heard, [missed(strange.unwrap().sequence, 11)]);
        world.cut(peer.link);
    }
    // The log begins where it did after a restart, too.
    world.restart();
    let peer = Peer::with(&mut world, 5, &credential, after(2, None));
    assert_eq!(peer.heard[0], missed(2, 8));
    assert_eq!(sequences(&peer.heard), [8, 9, 10]);
}

#[test]
fn the_log_is_bounded_in_bytes_and_keeps_the_last_change_in_any_case() {
    let mut world = World::with(|config| config.max_log_bytes = 1000);
    let credential = format!("token={}", world.token(r#"{"subscribePatterns":["*"]}"#));
    let link = world.connect(KEY);
    for length in [10, 10, 400, 400, 400, 5000] {
        world.call(link, set("k", "x".repeat(length))).unwrap();
    }
    let changes = world.disk.as_ref().unwrap().records.keys();
    let changes = changes.filter(|(table, _)| *table == "kv-changes").count();
    assert!(
        changes <= 3,
        "{changes}: what is forgotten is deleted with the next batch"
    );
    world.restart();
    let seen = Some(Seen {
        sequence: 0,
        store: None,
    });
    let peer = Peer::with(&mut world, 1, &credential, seen);
    assert_eq!(*sequences(&peer.heard).last().unwrap(), 6);
}

#[test]
fn many_changes_to_look_at_leave_time_for_others() {
    let mut world = World::stored();
    // Expensive: each look at a key costs as much as it may.
    let pattern = "(?:[a-z]{1,4}x){1,60}";
    let credential = format!(
        "token={}",
        world.token(&format!(r#"{{"subscribePatterns":["{pattern}"]}}"#))
    );
    let link = world.connect(KEY);
    let key = "a".repeat(1000);
    for _ in 0..20 {
        world.call(link, set(&key, "v")).unwrap();
    }
    world.call(link, set("ax", "v")).unwrap();
    let seen = Some(Seen {
        sequence: 0,
        store: None,
    });
    let mut peer = Peer::with(&mut world, 1, &credential, seen);
    assert_eq!(peer.heard, [], "it is still looking");
    assert!(
        peer.call(&mut world, get("ax")).is_ok(),
        "and answers meanwhile"
    );
    world.pass(Duration::from_millis(30));
    peer.exchange(&mut world);
    assert_eq!(sequences(&peer.heard), [21]);
}
