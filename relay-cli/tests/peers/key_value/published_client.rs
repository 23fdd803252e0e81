//! `@hpkv/websocket-client`, as it is published, before our service.

use super::{KeyValueServer, Script, ask_for_token, call, connect, open};
use crate::support::{KEY, Opcode, WebSocket};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr};

/// What the client makes of an answer, without the number it has from us.
#[track_caller]
fn result(script: &mut Script, name: &str, method: &str, arguments: Value) -> Value {
    let mut outcome = script.ask(call(name, method, arguments));
    assert!(outcome["error"].is_null(), "{outcome}");
    outcome["result"]["messageId"] = Value::Null;
    outcome["result"].take()
}

#[track_caller]
fn code(script: &mut Script, name: &str, method: &str, arguments: Value) -> Value {
    let outcome = script.ask(call(name, method, arguments));
    assert_eq!(outcome["error"]["name"], "HPKVError", "{outcome}");
    outcome["error"]["code"].clone()
}

#[test]
fn every_operation_of_the_published_client_works() {
    let Some(mut script) = Script::start("client.mjs") else {
        return;
    };
    let server = KeyValueServer::start(&[]);
    connect(&mut script, "a", server.port);
    let s = &mut script;

    assert_eq!(
        result(
            s,
            "a",
            "set",
            json!(["user:1", { "age": 3, "name": "Ann" }])
        )["success"],
        true
    );
    assert_eq!(
        result(s, "a", "get", json!(["user:1"]))["value"],
        r#"{"age":3,"name":"Ann"}"#
    );
    let patch = json!(["user:1", { "city": "X", "age": null }, true]);
    assert_eq!(result(s, "a", "set", patch)["success"], true);
    let merged: Value = serde_json::from_str(
        result(s, "a", "get", json!(["user:1"]))["value"]
            .as_str()
            .unwrap(),
    )
    .unwrap();
    assert_eq!(merged, json!({ "name": "Ann", "city": "X" }));
    result(s, "a", "set", json!(["user:2", "Grüße 🎉"]));
    assert_eq!(
        result(s, "a", "set", json!(["user:2", "!", true]))["success"],
        true
    );
    assert_eq!(
        result(s, "a", "get", json!(["user:2"]))["value"],
        "Grüße 🎉!"
    );

    let first = result(s, "a", "range", json!(["user:", "user:~", { "limit": 1 }]));
    assert_eq!(
        (&first["count"], &first["truncated"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(first["records"][0]["key"], "user:1");
    let all = result(s, "a", "range", json!(["user:", "user:~"]));
    assert_eq!(
        (&all["count"], &all["truncated"]),
        (&json!(2), &json!(false))
    );

    assert_eq!(
        result(s, "a", "atomicIncrement", json!(["visits", 5]))["newValue"],
        5
    );
    assert_eq!(
        result(s, "a", "atomicIncrement", json!(["visits", -2]))["newValue"],
        3
    );
    assert_eq!(result(s, "a", "get", json!(["visits"]))["value"], "3");
    assert_eq!(result(s, "a", "delete", json!(["user:2"]))["success"], true);

    assert_eq!(code(s, "a", "get", json!(["user:2"])), 404);
    assert_eq!(code(s, "a", "delete", json!(["user:2"])), 404);
    assert_eq!(code(s, "a", "get", json!([""])), 400);
    assert_eq!(code(s, "a", "set", json!(["user:2", ""])), 400);
    assert_eq!(code(s, "a", "atomicIncrement", json!(["user:1", 1])), 400);
    assert!(
        result(s, "a", "disconnect", json!([]))
            .get("code")
            .is_none()
    );
    s.hear(|said| (said["from"] == "a" && said["event"] == "disconnected").then_some(()));
}

#[test]
fn the_published_client_is_told_of_changes_its_token_is_for() {
    let Some(mut script) = Script::start("client.mjs") else {
        return;
    };
    let server = KeyValueServer::start(&[]);
    let s = &mut script;
    connect(s, "a", server.port);
    let scope = json!({ "subscribePatterns": ["news:*", "exact"], "accessPattern": "^news:.*$" });
    let token = s.ask(ask_for_token(server.port, KEY, scope))["result"].clone();
    s.ask(open("b", server.port, ("token", token.as_str().unwrap())));
    s.ask(call("b", "connect", json!([])));

    result(s, "a", "set", json!(["other", "unseen"]));
    result(s, "a", "set", json!(["news:1", "one"]));
    result(s, "a", "atomicIncrement", json!(["exact", 7]));
    result(s, "a", "delete", json!(["news:1"]));
    let is_last = |said: &Value| {
        let notification = &said["notification"];
        (notification["key"] == "news:1" && notification["value"].is_null()).then_some(())
    };
    s.hear(is_last);
    for (key, value) in [("news:1", "one"), ("exact", "7")] {
        let told = s.hear(|said| {
            let told = &said["notification"];
            (told["key"] == key && told["value"] == value).then(|| told.clone())
        });
        assert!(
            told["timestamp"].as_u64().unwrap() > 1_700_000_000_000,
            "{told}"
        );
    }
    assert_eq!(s.count(|said| !said["notification"].is_null()), 3);

    assert_eq!(
        result(s, "b", "set", json!(["news:2", "mine"]))["success"],
        true
    );
    assert_eq!(code(s, "b", "set", json!(["other", "not mine"])), 403);
    assert_eq!(code(s, "b", "get", json!(["other"])), 403);
}

#[test]
fn the_published_client_is_refused_in_words_it_understands() {
    let Some(mut script) = Script::start("client.mjs") else {
        return;
    };
    let server = KeyValueServer::start(&[]);
    let s = &mut script;
    s.ask(open("a", server.port, ("apiKey", "wrong")));
    let refused = s.ask(call("a", "connect", json!([])))["error"].clone();
    assert_eq!(refused["name"], "ConnectionError", "{refused}");
    assert!(
        refused["message"].as_str().unwrap().contains("403"),
        "{refused}"
    );
    let refused = s.ask(ask_for_token(server.port, "wrong", json!({})))["error"].clone();
    assert_eq!(refused["name"], "AuthenticationError", "{refused}");
}

#[test]
fn the_published_client_slows_down_where_its_key_is_over_its_rate() {
    let Some(mut script) = Script::start("client.mjs") else {
        return;
    };
    let server = KeyValueServer::start(&["--kv-rate", "1/min:5"]);
    let s = &mut script;
    connect(s, "a", server.port);
    let calls: Vec<u64> = (0..8)
        .map(|_| s.tell(call("a", "atomicIncrement", json!(["n", 1]))))
        .collect();
    let codes: Vec<Value> = calls
        .into_iter()
        .map(|id| s.outcome(id))
        .map(|outcome| outcome["error"]["code"].clone())
        .collect();
    let refused = codes.iter().filter(|code| **code == 429).count();
    let done = codes.iter().filter(|code| code.is_null()).count();
    assert_eq!((done, refused), (5, 3), "{codes:?}");
}

#[test]
fn what_the_published_client_has_set_is_there_when_the_service_comes_back() {
    let Some(mut script) = Script::start("client.mjs") else {
        return;
    };
    let server = KeyValueServer::start(&[]);
    let s = &mut script;
    connect(s, "a", server.port);
    result(s, "a", "set", json!(["k", "kept"]));
    let token = s.ask(ask_for_token(server.port, KEY, json!({})))["result"].clone();
    let server = server.replace();
    s.hear(|said| (said["from"] == "a" && said["event"] == "disconnected").then_some(()));
    // Whether the package is connected again already is its own affair; a client of its own is.
    connect(s, "b", server.port);
    assert_eq!(result(s, "b", "get", json!(["k"]))["value"], "kept");
    s.ask(open("c", server.port, ("token", token.as_str().unwrap())));
    let connected = s.ask(call("c", "connect", json!([])));
    assert!(
        connected["error"].is_null(),
        "a token outlives the service: {connected}"
    );
}

#[test]
fn a_subscriber_that_fails_and_clients_without_manners_cost_others_nothing() {
    let Some(mut script) = Script::start("client.mjs") else {
        return;
    };
    let server = KeyValueServer::start(&[]);
    let s = &mut script;
    connect(s, "a", server.port);
    let scope = json!({ "subscribePatterns": ["*"] });
    let token = s.ask(ask_for_token(server.port, KEY, scope))["result"].clone();
    s.ask(open("b", server.port, ("token", token.as_str().unwrap())));
    s.ask(call("b", "connect", json!([])));
    s.ask(json!({ "throw": "b" }));

    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let target = format!("/ws?apiKey={KEY}");
    let mut rude = WebSocket::connect_to(address, &target);
    for text in [
        "null",
        "42",
        "\"x\"",
        "hello",
        "[]",
        "{}",
        r#"{"op":99,"messageId":1}"#,
        r#"{"op":1}"#,
        "{\"op\":",
    ] {
        rude.send_frame(Opcode::Text, text.as_bytes());
        let (opcode, answer) = rude.read_frame().unwrap();
        assert_eq!(opcode, Opcode::Text, "{text}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["code"], 400, "{text}: {answer}");
    }

    result(s, "a", "set", json!(["k", "one"]));
    s.hear(|said| (!said["uncaught"].is_null()).then_some(()));
    result(s, "a", "set", json!(["k", "two"]));
    s.hear(|said| (said["notification"]["value"] == "two").then_some(()));
    let connected: BTreeSet<&str> = ["a", "b"].into();
    assert_eq!(
        s.count(|said| said["event"] == "connected"),
        connected.len()
    );
}
