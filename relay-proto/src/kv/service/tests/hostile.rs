//! What nobody should send.

use super::rig::*;
use crate::{
    Frame, Machine,
    kv::wire::{Code, Operation, Success},
};
use alloc::{format, string::String, vec, vec::Vec};
use bytes::Bytes;

#[test]
fn whatever_is_no_request_is_answered_with_an_object_and_the_link_stays() {
    let mut world = World::in_memory();
    let link = world.connect(KEY);
    let deep = format!(
        r#"{{"op":1,"key":"k","messageId":1,"x":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for wrong in [
        "",
        " ",
        "null",
        "true",
        "42",
        "-1e999",
        "\"x\"",
        "hello",
        "[]",
        "[1,2,3]",
        "{",
        "{}",
        "}{",
        r#"{"op":1}"#,
        r#"{"op":1,"key":"k","messageId":null}"#,
        r#"{"op":1,"key":"k","messageId":-1}"#,
        r#"{"op":1,"key":"k","messageId":1.5}"#,
        r#"{"op":1,"key":"k","messageId":1e999}"#,
        r#"{"op":1,"key":"k","messageId":99999999999999999999999999}"#,
        r#"{"op":1,"key":"k","messageId":[[[[]]]]}"#,
        r#"{"op":0,"key":"k","messageId":1}"#,
        r#"{"op":-1,"key":"k","messageId":1}"#,
        r#"{"op":8,"key":"k","messageId":1}"#,
        r#"{"op":1e300,"key":"k","messageId":1}"#,
        r#"{"op":"1","key":"k","messageId":1}"#,
        r#"{"op":1,"key":null,"messageId":1}"#,
        r#"{"op":2,"key":"k","value":5,"messageId":1}"#,
        r#"{"op":2,"key":"k","value":{"a":1},"messageId":1}"#,
        r#"{"op":6,"key":"k","value":"5","messageId":1}"#,
        r#"{"op":6,"key":"k","value":1e16,"messageId":1}"#,
        r#"{"op":1,"key":"\ud800","messageId":1}"#,
        "{\"op\":1,\"key\":\"\u{0}\",\"messageId\":1}",
    ] {
        let answer = world.asks(link, wrong);
        assert!(
            answer.starts_with(r#"{"code":400,"error":""#),
            "{wrong}: {answer}"
        );
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer.is_object());
    }
    for payload in [
        &b""[..],
        b"\xff\xfe",
        b"{\"op\":1,\"key\":\"\xff\",\"messageId\":1}",
    ] {
        world.send(link, Frame::Binary(Bytes::from_static(payload)));
        assert!(world.texts(link)[0].starts_with(r#"{"code":400,"#));
    }
    let answer = world.asks(link, &deep);
    assert!(
        answer.contains(r#""code":404"#) || answer.contains(r#""code":400"#),
        "{answer}"
    );
    assert_eq!(world.closed(link), None);
    assert_eq!(world.call(link, get("k")), Err(Code::NOT_FOUND));
}

#[test]
fn the_same_number_twice_in_the_plain_dialect_is_two_calls() {
    let mut world = World::in_memory();
    let link = world.connect(KEY);
    let request = r#"{"op":6,"key":"n","value":1,"messageId":1,"settled":9}"#;
    assert_eq!(
        world.asks(link, request),
        r#"{"code":200,"success":true,"newValue":1,"messageId":1}"#
    );
    assert_eq!(
        world.asks(link, request),
        r#"{"code":200,"success":true,"newValue":2,"messageId":1}"#
    );
}

#[test]
fn a_message_beyond_the_limit_is_closed_with_1009() {
    let mut world = World::in_memory();
    let link = world.connect(KEY);
    let limit = world.service.read_limit(link);
    assert!(limit >= 2 * world.config.max_value_bytes);
    world.send(link, Frame::Text(vec![b' '; limit + 1].into()));
    assert_eq!(
        world.closed(link),
        Some((1009, "the message is too long".into()))
    );
}

#[test]
fn a_value_of_the_longest_kind_fits_however_it_is_sent() {
    let mut world = World::in_memory();
    let link = world.connect(KEY);
    let limit = world.service.read_limit(link);
    for value in [
        vec![b'"'; 512 * 1024],
        vec![b'x'; 512 * 1024],
        vec![0xff; 512 * 1024],
    ] {
        let request = crate::kv::wire::encode_client(&crate::kv::wire::ClientMessage::Call(
            crate::kv::wire::Request {
                message_id: 1,
                settled: None,
                operation: set("k", value.clone()),
            },
        ));
        assert!(request.len() < limit);
        assert_eq!(world.call(link, set("k", value.clone())), Ok(Success::Done));
        let read = world.call(link, get("k"));
        assert!(matches!(read, Ok(Success::Value(record)) if record.value == value));
    }
}

#[test]
fn a_hundred_thousand_keys_are_no_trouble() {
    let mut world = World::stored();
    let link = world.connect(KEY);
    world.call(link, set("key:??????", "v")).unwrap();
    let records = &mut world.disk.as_mut().unwrap().records;
    let first = records.keys().find(|(table, _)| *table == "kv-values");
    let first = first.unwrap().clone();
    let (value, length) = (records.remove(&first).unwrap(), first.1.len());
    for number in 0..100_000 {
        let mut key = first.1.to_vec();
        key[length - 6..].copy_from_slice(format!("{number:06}").as_bytes());
        records.insert(("kv-values", key.into()), value.clone());
    }
    world.restart();
    let link = world.connect(KEY);
    assert_eq!(world.service.statistics().keys, 100_000);
    let Ok(Success::Records { records, truncated }) = world.call(link, range("", "~", None)) else {
        panic!("no records");
    };
    assert_eq!((records.len(), truncated), (1000, true));
    // One that may see few of them.
    let first = world.connect_with_token(r#"{"accessPattern":"key:09999*"}"#);
    let Ok(Success::Records { records, truncated }) = world.call(first, range("", "~", None))
    else {
        panic!("no records");
    };
    assert_eq!((records.len(), truncated), (10, false));
    let hidden = world.connect_with_token(r#"{"accessPattern":"(none|at|all)"}"#);
    assert_eq!(
        world.call(hidden, range("", "~", None)),
        Err(Code::BAD_REQUEST),
        "it would take too long"
    );
    let narrow = world.call(hidden, range("key:000000", "key:000100", None));
    assert_eq!(
        narrow,
        Ok(Success::Records {
            records: vec![],
            truncated: false
        })
    );
}

#[test]
fn expensive_patterns_are_refused_when_they_are_asked_for_or_cost_little() {
    let mut world = World::stored();
    for bomb in [
        "((a{100}){100}){100}",
        "(a{1,1000}){1,1000}",
        "(((((((((a*)*)*)*)*)*)*)*)*",
    ] {
        let request = crate::http::Request::new("POST", "/token/websocket")
            .with_field("x-api-key", KEY)
            .with_body(format!(
                r#"{{"subscribePatterns":["{bomb}"],"accessPattern":"{bomb}"}}"#
            ));
        let answer = world.request(&request);
        assert!(matches!(answer, crate::http::Answer::Respond(_)), "{bomb}");
    }
    let body =
        r#"{"subscribePatterns":["(x+x+)+y","(a|aa)+$","(a*)*b"],"accessPattern":"(x+x+)+z"}"#;
    let watcher = world.connect_with_token(body);
    let link = world.connect(KEY);
    let key = "x".repeat(1024);
    for _ in 0..50 {
        world.call(link, set(&key, "v")).unwrap();
    }
    assert_eq!(world.texts(watcher), Vec::<String>::new());
    assert_eq!(world.call(watcher, get(&key)), Err(Code::FORBIDDEN));
}

#[test]
fn no_patch_makes_a_value_too_long_or_the_work_quadratic() {
    let mut world = World::in_memory();
    let link = world.connect(KEY);
    let object = |prefix: &str| {
        let members: Vec<_> = (0..20_000)
            .map(|number| format!(r#""{prefix}{number}":{number}"#))
            .collect();
        Bytes::from(format!("{{{}}}", members.join(",")))
    };
    world.call(link, set("k", object("a"))).unwrap();
    let patch = |value: Bytes| Operation::Patch {
        key: "k".into(),
        value,
    };
    assert_eq!(world.call(link, patch(object("a"))), Ok(Success::Done));
    assert_eq!(world.call(link, patch(object("b"))), Err(Code::TOO_LARGE));
    let deep = r#"{"a":"#.repeat(10_000) + "1" + &"}".repeat(10_000);
    assert_eq!(world.call(link, patch(deep.into())), Err(Code::BAD_REQUEST));
}
