//! The plain dialect, as the published client speaks it.

use super::rig::*;
use crate::kv::wire::{Code, Operation, Record, Success};
use alloc::{format, string::String, vec, vec::Vec};
use bytes::Bytes;

fn value(key: &str, value: impl Into<Bytes>) -> Result<Success, Code> {
    let (key, value) = (key.into(), value.into());
    Ok(Success::Value(Record { key, value }))
}

fn keys(result: Result<Success, Code>) -> (Vec<String>, bool) {
    match result {
        Ok(Success::Records { records, truncated }) => (
            records.into_iter().map(|record| record.key).collect(),
            truncated,
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_operations_are_answered_as_the_published_client_expects() {
    for mut world in [World::in_memory(), World::stored()] {
        let link = world.connect(KEY);
        for (request, answer) in [
            (
                r#"{"op":2,"key":"user:1","value":"{\"name\":\"Ann\"}","messageId":1}"#,
                r#"{"code":200,"success":true,"messageId":1}"#,
            ),
            (
                r#"{"op":1,"key":"user:1","messageId":2}"#,
                r#"{"code":200,"key":"user:1","value":"{\"name\":\"Ann\"}","messageId":2}"#,
            ),
            (
                r#"{"op":3,"key":"user:1","value":"{\"age\":3}","messageId":3}"#,
                r#"{"code":200,"success":true,"messageId":3}"#,
            ),
            (
                r#"{"op":1,"key":"user:1","messageId":4}"#,
                r#"{"code":200,"key":"user:1","value":"{\"name\":\"Ann\",\"age\":3}","messageId":4}"#,
            ),
            (
                r#"{"op":2,"key":"user:2","value":"/w==","encoding":"base64","messageId":5}"#,
                r#"{"code":200,"success":true,"messageId":5}"#,
            ),
            (
                r#"{"op":5,"key":"user:","endKey":"user:~","limit":1,"messageId":6}"#,
                r#"{"code":200,"records":[{"key":"user:1","value":"{\"name\":\"Ann\",\"age\":3}"}],"count":1,"truncated":true,"messageId":6}"#,
            ),
            (
                r#"{"op":5,"key":"user:2","endKey":"user:~","messageId":7}"#,
                r#"{"code":200,"records":[{"key":"user:2","value":"/w==","encoding":"base64"}],"count":1,"truncated":false,"messageId":7}"#,
            ),
            (
                r#"{"op":6,"key":"visits","value":5,"messageId":8}"#,
                r#"{"code":200,"success":true,"newValue":5,"messageId":8}"#,
            ),
            (
                r#"{"op":6,"key":"visits","value":-2,"messageId":9}"#,
                r#"{"code":200,"success":true,"newValue":3,"messageId":9}"#,
            ),
            (
                r#"{"op":1,"key":"visits","messageId":10}"#,
                r#"{"code":200,"key":"visits","value":"3","messageId":10}"#,
            ),
            (
                r#"{"op":4,"key":"user:2","messageId":11}"#,
                r#"{"code":200,"success":true,"messageId":11}"#,
            ),
            (
                r#"{"op":1,"key":"user:2","messageId":12}"#,
                r#"{"code":404,"error":"Record not found","messageId":12}"#,
            ),
            (
                r#"{"op":4,"key":"user:2","messageId":13}"#,
                r#"{"code":404,"error":"Record not found","messageId":13}"#,
            ),
            (
                r#"{"op":3,"key":"user:2","value":"x","messageId":14}"#,
                r#"{"code":404,"error":"Record not found","messageId":14}"#,
            ),
            (
                r#"{"op":1,"key":"","messageId":15}"#,
                r#"{"code":400,"error":"the key is empty","messageId":15}"#,
            ),
            (
                r#"{"op":2,"key":"k","value":"","messageId":16}"#,
                r#"{"code":400,"error":"the value is empty","messageId":16}"#,
            ),
            (
                r#"{"op":6,"key":"user:1","value":1,"messageId":17}"#,
                r#"{"code":400,"error":"the value is not a whole number","messageId":17}"#,
            ),
        ] {
            assert_eq!(world.asks(link, request), answer, "{request}");
        }
    }
}

#[test]
fn a_patch_merges_objects_and_appends_otherwise() {
    let mut world = World::in_memory();
    let link = world.connect(KEY);
    for (before, patch, after) in [
        (
            &br#"{"a":{"b":1},"c":2}"#[..],
            &br#"{"a":{"b":null,"d":3}}"#[..],
            &br#"{"a":{"d":3},"c":2}"#[..],
        ),
        (b"[1]", b"[2]", b"[1][2]"),
        (b"one ", b"two", b"one two"),
        (b"{}", b"text", b"{}text"),
        (b"text", b"{}", b"text{}"),
        (b"\xff", b"\xfe", b"\xff\xfe"),
        (b"same", b"", b"same"),
    ] {
        let (key, patch) = (String::from("k"), Bytes::from_static(patch));
        assert_eq!(world.call(link, set("k", before)), Ok(Success::Done));
        assert_eq!(
            world.call(link, Operation::Patch { key, value: patch }),
            Ok(Success::Done)
        );
        assert_eq!(world.call(link, get("k")), value("k", after));
    }
    let deep = br#"{"a":"#.repeat(100).into_iter().chain(*b"1").chain(vec![b'}'; 100]);
    let patch = Operation::Patch {
        key: "k".into(),
        value: deep.collect(),
    };
    assert_eq!(world.call(link, set("k", "{}")), Ok(Success::Done));
    assert_eq!(world.call(link, patch), Err(Code::BAD_REQUEST));
    assert_eq!(world.call(link, get("k")), value("k", "{}"));
}

#[test]
fn numbers_stay_where_javascript_can_count() {
    let most = (1_i64 << 53) - 1;
    let mut world = World::in_memory();
    let link = world.connect(KEY);
    let mut add = |by| world.call(link, increment("n", by));
    let is = |new_value| Ok(Success::Incremented { new_value });
    assert_eq!(add(most), is(most));
    assert_eq!(add(1), Err(Code::BAD_REQUEST));
    assert_eq!(add(-most), is(0));
    assert_eq!(add(-most), is(-most));
    assert_eq!(add(-1), Err(Code::BAD_REQUEST));
    assert_eq!(add(0), is(-most));
    for wrong in ["", " 1", "1.5", "1e3", "99999999999999999999", "abc"] {
        if !wrong.is_empty() {
            assert_eq!(world.call(link, set("n", wrong)), Ok(Success::Done));
            assert_eq!(
                world.call(link, increment("n", 1)),
                Err(Code::BAD_REQUEST),
                "{wrong}"
            );
        }
    }
}

#[test]
fn a_range_has_both_ends_and_is_cut_where_it_grows_too_long() {
    let mut world = World::with(|config| {
        config.max_range_records = 3;
        config.max_range_bytes = 20;
    });
    let link = world.connect(KEY);
    for key in ["a", "b", "c", "d", "é", "🙂"] {
        world.call(link, set(key, "1")).unwrap();
    }
    let mut ask =
        |first: &str, last: &str, limit| keys(world.call(link, range(first, last, limit)));
    let all = |keys: &[&str]| {
        keys.iter()
            .map(|key| String::from(*key))
            .collect::<Vec<_>>()
    };
    assert_eq!(ask("b", "c", None), (all(&["b", "c"]), false));
    assert_eq!(ask("a", "d", None), (all(&["a", "b", "c"]), true));
    assert_eq!(ask("a", "c", Some(3)), (all(&["a", "b", "c"]), false));
    assert_eq!(
        ask("a", "d", Some(1_000_000)),
        (all(&["a", "b", "c"]), true)
    );
    assert_eq!(ask("d", "a", None), (vec![], false), "the wrong way round");
    assert_eq!(
        ask("d", "\u{10ffff}", Some(2)),
        (all(&["d", "é"]), true),
        "by their bytes"
    );
    assert_eq!(ask("", "a", None), (all(&["a"]), false));
    world
        .call(link, set("b", "0123456789012345678901234"))
        .unwrap();
    let mut ask = |first: &str| keys(world.call(link, range(first, "d", None)));
    assert_eq!(ask("a"), (all(&["a"]), true), "the next would be too much");
    assert_eq!(ask("b"), (all(&["b"]), true), "one in any case");
}

#[test]
fn keys_and_values_have_limits_and_the_store_has_one() {
    let mut world = World::with(|config| {
        config.max_key_bytes = 4;
        config.max_value_bytes = 100;
        config.max_store_bytes = 3 * (64 + 1 + 50) + 1;
    });
    let link = world.connect(KEY);
    let value = |length| Bytes::from(vec![b'x'; length]);
    assert_eq!(world.call(link, set("12345", "1")), Err(Code::TOO_LARGE));
    assert_eq!(world.call(link, get("12345")), Err(Code::TOO_LARGE));
    assert_eq!(
        world.call(link, range("a", "12345", None)),
        Err(Code::TOO_LARGE)
    );
    assert_eq!(world.call(link, set("a", value(101))), Err(Code::TOO_LARGE));
    assert_eq!(world.call(link, set("a", value(100))), Ok(Success::Done));
    let patch = Operation::Patch {
        key: "a".into(),
        value: value(1),
    };
    assert_eq!(world.call(link, patch), Err(Code::TOO_LARGE));
    assert_eq!(world.call(link, set("b", value(50))), Ok(Success::Done));
    assert_eq!(world.call(link, set("c", value(50))), Err(Code::FULL));
    assert_eq!(
        world.call(link, increment("n", 1)),
        Ok(Success::Incremented { new_value: 1 })
    );
    assert_eq!(
        world.call(link, set("a", value(50))),
        Ok(Success::Done),
        "what gets smaller fits"
    );
    assert_eq!(world.call(link, delete("n")), Ok(Success::Done));
    assert_eq!(world.call(link, set("c", value(50))), Ok(Success::Done));
    assert_eq!(world.service.statistics().bytes, 3 * (64 + 1 + 50));
    assert_eq!(world.service.statistics().keys, 3);
}

#[test]
fn a_key_of_another_store_sees_nothing_of_this_one_and_one_that_may_only_look_changes_nothing() {
    let mut world = World::in_memory();
    let mut policy = policy();
    policy.store = "elsewhere".into();
    policy.max_store_bytes = Some(70);
    world.set_policy(OTHER, policy.clone());
    let (here, there) = (world.connect(KEY), world.connect(OTHER));
    assert_eq!(world.call(here, set("k", "here")), Ok(Success::Done));
    assert_eq!(world.call(there, get("k")), Err(Code::NOT_FOUND));
    assert_eq!(world.call(there, set("k", "there")), Ok(Success::Done));
    assert_eq!(
        world.call(there, set("l", "there")),
        Err(Code::FULL),
        "its store is full"
    );
    assert_eq!(world.call(here, get("k")), value("k", "here"));
    policy.read_only = true;
    world.set_policy(OTHER, policy);
    for operation in [set("k", "x"), delete("k"), increment("n", 1)] {
        assert_eq!(world.call(there, operation), Err(Code::FORBIDDEN));
    }
    assert_eq!(world.call(there, get("k")), value("k", "there"));
}

#[test]
fn with_an_access_pattern_everything_else_is_out_of_reach() {
    let mut world = World::in_memory();
    let all = world.connect(KEY);
    for key in ["a:1", "b:1", "b:2", "c:1"] {
        world.call(all, set(key, "v")).unwrap();
    }
    for pattern in ["b:*", "^b:.*$", "b:[0-9]"] {
        let link = world.connect_with_token(&format!(r#"{{"accessPattern":"{pattern}"}}"#));
        for operation in [
            get("a:1"),
            set("a:1", "x"),
            delete("c:1"),
            increment("a:2", 1),
        ] {
            assert_eq!(
                world.call(link, operation),
                Err(Code::FORBIDDEN),
                "{pattern}"
            );
        }
        assert_eq!(world.call(link, get("b:1")), value("b:1", "v"));
        let (keys, truncated) = keys(world.call(link, range("", "~", None)));
        assert_eq!(
            (keys, truncated),
            (vec!["b:1".into(), "b:2".into()], false),
            "{pattern}"
        );
        let (keys, truncated) = self::keys(world.call(link, range("", "~", Some(1))));
        assert_eq!((keys, truncated), (vec!["b:1".into()], true), "{pattern}");
    }
}

#[test]
fn requests_of_one_link_are_answered_in_their_order() {
    let mut world = World::stored();
    let link = world.connect(KEY);
    world.disk.as_mut().unwrap().is_slow = true;
    for number in 1..=50 {
        let (op, value) = if number % 2 == 0 {
            (1, "")
        } else {
            (6, r#","value":1"#)
        };
        world.say(
            link,
            &format!(r#"{{"op":{op},"key":"n"{value},"messageId":{number}}}"#),
        );
    }
    assert_eq!(
        world.texts(link),
        Vec::<String>::new(),
        "nothing is stored yet"
    );
    world.disk.as_mut().unwrap().is_slow = false;
    world.run();
    let texts = world.texts(link);
    assert_eq!(texts.len(), 50);
    for (index, text) in texts.iter().enumerate() {
        let number = index + 1;
        let count = index / 2 + 1;
        let expected = match number % 2 {
            0 => format!(r#"{{"code":200,"key":"n","value":"{count}","messageId":{number}}}"#),
            _ => {
                format!(r#"{{"code":200,"success":true,"newValue":{count},"messageId":{number}}}"#)
            }
        };
        assert_eq!(*text, expected);
    }
}
