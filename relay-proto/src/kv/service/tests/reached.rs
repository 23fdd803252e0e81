//! What the service is asked over HTTP.

use super::rig::*;
use crate::{
    Input, LinkId, Machine, Time,
    http::{Answer, Request},
    kv::{
        service::{Event, KeyDigest},
        wire::{Code, Success},
    },
};
use alloc::{borrow::ToOwned, format, string::String, vec};
use core::time::Duration;

fn refusal(answer: Answer) -> (u16, String) {
    match answer {
        Answer::Respond(response) | Answer::RespondLater { response, .. } => {
            (response.status(), body_of(&response))
        }
        Answer::Upgrade => panic!("it is let in"),
    }
}

fn asks_for_token(key: Option<&str>, body: &str) -> Request {
    let request = Request::new("POST", "/token/websocket").with_body(body.to_owned());
    match key {
        Some(key) => request.with_field("X-API-Key", key),
        None => request,
    }
}

#[test]
fn a_good_credential_is_let_in_however_it_is_written() {
    let mut world = World::in_memory();
    world.set_policy("a+b/c=", policy());
    let token = world.token("{}");
    for target in [
        "/ws?apiKey=a+b/c=".to_owned(),
        "/ws?apiKey=a%2Bb%2fc%3D".to_owned(),
        "//ws?x=y&apiKey=a+b/c=".to_owned(),
        format!("/ws?token={token}"),
        format!("/ws?apiKey=&token={token}"),
    ] {
        let link = world
            .upgrade(&target)
            .unwrap_or_else(|_| panic!("{target}"));
        assert_eq!(world.call(link, set("k", "v")), Ok(Success::Done));
    }
}

#[test]
fn what_is_no_good_is_told_why() {
    let mut world = World::in_memory();
    let upgrade = |target: &str| Request::new("GET", target).with_field("Upgrade", "websocket");
    let not_valid = r#"{"error":"this API key or token is not valid"}"#;
    let is_missing = r#"{"error":"an apiKey or a token is missing in the query"}"#;
    for (request, status, body) in [
        (upgrade("/ws?apiKey=wrong"), 403, not_valid),
        (upgrade("/ws?token=wrong"), 403, not_valid),
        (upgrade("/ws?token=a.b"), 403, not_valid),
        (upgrade("/ws"), 403, is_missing),
        (upgrade("/ws?apiKey=&token="), 403, is_missing),
        (
            upgrade("/"),
            404,
            r#"{"error":"there is nothing here; there are /ws and /token/websocket"}"#,
        ),
        (
            Request::new("GET", "/token/websocket"),
            405,
            r#"{"error":"a token is asked for with POST"}"#,
        ),
        (
            asks_for_token(None, "{}"),
            401,
            r#"{"error":"the field x-api-key is missing"}"#,
        ),
        (
            asks_for_token(Some("wrong"), "{}"),
            403,
            r#"{"error":"this API key is not valid"}"#,
        ),
        (
            asks_for_token(Some(KEY), r#"{"accessPattern":"("}"#),
            400,
            r#"{"error":"a pattern is no regular expression"}"#,
        ),
        (
            asks_for_token(
                Some(KEY),
                &format!(r#"{{"subscribeKeys":["{}"]}}"#, "x".repeat(5000)),
            ),
            400,
            r#"{"error":"all patterns together have up to 4096 bytes"}"#,
        ),
    ] {
        let answer = world.request(&request);
        assert_eq!(refusal(answer), (status, body.to_owned()), "{request:?}");
    }
    for body in [
        "",
        "null",
        "[]",
        "{",
        r#"{"subscribePatterns":"a"}"#,
        r#"{"accessPattern":7}"#,
    ] {
        let answer = world.request(&asks_for_token(Some(KEY), body));
        let (status, text) = refusal(answer);
        assert_eq!(status, 400, "{body}");
        assert!(text.contains("subscribePatterns"), "{text}");
    }
    let plain = Request::new("GET", "/ws?apiKey=wrong");
    assert_eq!(
        world.request(&plain),
        Answer::Upgrade,
        "426 is the server's to say"
    );
}

#[test]
fn whoever_tries_keys_waits_longer_each_time_and_good_keys_never_wait() {
    let mut world = World::in_memory();
    let wrong = Request::new("GET", "/ws?apiKey=wrong").with_field("Upgrade", "websocket");
    let token = asks_for_token(Some("wrong"), "{}");
    let good =
        Request::new("GET", &*format!("/ws?apiKey={KEY}")).with_field("Upgrade", "websocket");
    let there = Some("192.0.2.1");
    for (request, wait) in [(&wrong, 0), (&token, 250), (&wrong, 500), (&token, 1000)] {
        let now = world.now;
        match world.request_from(request, there) {
            Answer::Respond(_) => assert_eq!(wait, 0),
            Answer::RespondLater { at, .. } => assert_eq!(at.since(now).as_millis(), wait),
            Answer::Upgrade => panic!("it is let in"),
        }
        assert_eq!(world.request_from(&good, there), Answer::Upgrade);
    }
    assert!(matches!(
        world.request_from(&wrong, Some("192.0.2.2")),
        Answer::Respond(_)
    ));
}

#[test]
fn a_token_dies_with_its_key_and_the_links_of_both_end() {
    let mut world = World::in_memory();
    let token = format!("/ws?token={}", world.token("{}"));
    let links = [world.connect(KEY), world.upgrade(&token).unwrap()];
    let durable = Peer::new(&mut world, 1);
    let other = world.connect(OTHER);
    world.set_accounts(vec![(KeyDigest::of(OTHER), policy())]);
    let closed = Some((1008, "the API key is no longer valid".to_owned()));
    for link in links {
        assert_eq!(world.closed(link), closed);
    }
    assert_eq!(world.closed(durable.link), closed);
    assert_eq!(world.closed(other), None);
    assert_eq!(world.service.statistics().sessions, 0);
    assert_eq!(world.upgrade(&token).unwrap_err().status(), 403);
    world.set_policy(KEY, policy());
    assert!(
        world.upgrade(&token).is_ok(),
        "with the key it is good again"
    );
    assert_eq!(world.call(other, get("k")), Err(Code::NOT_FOUND));
}

#[test]
fn a_key_has_its_links_and_leaves_others_theirs() {
    let mut world = World::with(|config| config.max_links = 20);
    let mut policy = policy();
    policy.max_links = Some(2);
    world.set_policy(OTHER, policy);
    let others = [world.connect(OTHER), world.connect(OTHER)];
    let refused = world.upgrade(&format!("/ws?apiKey={OTHER}")).unwrap_err();
    assert_eq!(refused.status(), 503);
    assert_eq!(
        body_of(&refused),
        r#"{"error":"this API key has as many links as it may"}"#
    );
    assert_eq!(refused.fields().get("Retry-After"), Some("1"));
    let mut mine = vec![];
    let refused = loop {
        match world.upgrade(&format!("/ws?apiKey={KEY}")) {
            Ok(link) => mine.push(link),
            Err(refused) => break body_of(&refused),
        }
    };
    assert!(refused.contains("while others need some"), "{refused}");
    assert_eq!(mine.len(), 16, "eight times as many as it leaves");
    world.cut(others[0]);
    assert!(world.upgrade(&format!("/ws?apiKey={OTHER}")).is_ok());
    for link in mine {
        world.cut(link);
    }
    assert_eq!(world.service.statistics().links, 2);
    assert!(matches!(
        world.events.last(),
        Some(Event::Disconnected { .. })
    ));
}

#[test]
fn nobody_comes_whom_nobody_has_let_in() {
    let mut world = World::in_memory();
    let link = LinkId::accepted(99);
    world
        .service
        .handle_input(Time::ZERO, Input::Accepted { link, peer: None });
    let closed = world.service.poll_action();
    assert!(
        matches!(closed, Some(crate::Action::Close { .. })),
        "{closed:?}"
    );
    assert_eq!(world.service.read_limit(link), 0);
}

#[test]
fn calls_over_the_rate_of_a_key_are_told_when_to_come_back() {
    let mut world = World::stored();
    let mut policy = policy();
    policy.rate = Some("10/s:3".parse().unwrap());
    world.set_policy(KEY, policy);
    let (link, other) = (world.connect(KEY), world.connect(OTHER));
    for _ in 0..3 {
        assert!(world.call(link, increment("n", 1)).is_ok());
    }
    let refused = r#"{"code":429,"error":"too many requests","retryAfterMs":100,"messageId":7}"#;
    assert_eq!(
        world.asks(link, r#"{"op":6,"key":"n","value":1,"messageId":7}"#),
        refused
    );
    let second = world.connect(KEY);
    assert_eq!(
        world.call(second, get("n")),
        Err(Code::TOO_MANY_REQUESTS),
        "the key's, not the link's"
    );
    assert!(world.call(other, get("n")).is_ok());
    world.pass(Duration::from_millis(100));
    assert_eq!(
        world.call(link, increment("n", 1)),
        Ok(Success::Incremented { new_value: 4 })
    );
    world.pass(Duration::from_secs(10));
    let mut peer = Peer::new(&mut world, 1);
    assert!(peer.call(&mut world, increment("n", 1)).is_ok());
    assert!(peer.call(&mut world, get("n")).is_ok());
    assert_eq!(
        peer.call(&mut world, increment("n", 1)),
        Err(Code::TOO_MANY_REQUESTS)
    );
    world.pass(Duration::from_secs(1));
    let refused = peer.next - 1;
    peer.ask_as(&mut world, refused, increment("n", 1));
    assert_eq!(
        peer.answer(refused),
        Some(Ok(Success::Incremented { new_value: 6 }))
    );
}

#[test]
fn no_event_shows_a_key_or_a_token() {
    let mut world = World::stored();
    let token = world.token(r#"{"subscribePatterns":["SECRET*"]}"#);
    let link = world.upgrade(&format!("/ws?token={token}")).unwrap();
    let other = world.connect(OTHER);
    world.call(other, set("SECRET", "SECRET")).unwrap();
    let _ = world.upgrade("/ws?apiKey=SECRET");
    world.say(link, r#"{"SECRET"#);
    world.cut(link);
    for event in &world.events {
        let shown = format!("{event:?}");
        assert!(
            !shown.contains("SECRET") && !shown.contains(&token) && !shown.contains(KEY),
            "{shown}"
        );
    }
    assert!(!format!("{:?}", KeyDigest::of(KEY)).contains(KEY));
}
