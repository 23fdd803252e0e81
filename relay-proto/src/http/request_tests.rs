use super::*;
use alloc::{format, vec::Vec};

fn asks(target: &str) -> (Request, Vec<(String, String)>) {
    let request = Request::new("GET", target);
    let query = request.query().collect();
    (request, query)
}

#[test]
fn a_target_is_a_path_and_parameters() {
    for (target, path, parameters) in [
        ("/", "/", &[][..]),
        ("/ws", "/ws", &[]),
        ("//ws?", "//ws", &[]),
        ("/ws?token", "/ws", &[("token", "")]),
        ("/ws?token=a=b?c/d", "/ws", &[("token", "a=b?c/d")]),
        ("/?a=1&&b=2&a=3", "/", &[("a", "1"), ("b", "2"), ("a", "3")]),
        ("http://relay.example", "/", &[]),
        ("HTTPS://relay.example?a=1", "/", &[("a", "1")]),
        ("http://relay.example:80/ws?a=1", "/ws", &[("a", "1")]),
        (
            "/x?to=http://relay.example/",
            "/x",
            &[("to", "http://relay.example/")],
        ),
        ("*", "*", &[]),
    ] {
        let (request, query) = asks(target);
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!((request.path(), &*query), (path, parameters), "{target}");
        assert_eq!(request.target(), target);
    }
}

#[test]
fn parameters_come_with_and_without_percent_escapes() {
    for (sent, meant) in [
        ("a+b", "a+b"),
        ("a%2Bb%26c", "a+b&c"),
        ("%C3%BC", "ü"),
        ("ü", "ü"),
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("%FF", "\u{fffd}"),
        ("%00", "\0"),
    ] {
        let (request, _) = asks(&format!("/ws?x=y&api%4Bey={sent}"));
        assert_eq!(
            request.query_value("apiKey").as_deref(),
            Some(meant),
            "{sent}"
        );
        assert_eq!(request.query_value("apikey"), None);
    }
}

#[test]
fn an_upgrade_is_asked_for_among_others_and_in_any_case() {
    let upgrade = |value| {
        Request::new("GET", "/")
            .with_field("upgrade", value)
            .is_upgrade()
    };
    assert!(upgrade("WebSocket") && upgrade("h2c, websocket") && upgrade(",websocket,"));
    assert!(!upgrade("websockets") && !upgrade("h2c") && !upgrade(""));
    assert!(!Request::new("GET", "/").is_upgrade());
}

#[test]
fn nothing_that_may_be_a_key_is_shown() {
    let request = Request::new("POST", "/ws?apiKey=hunter2")
        .with_field("x-api-key", "hunter2")
        .with_body("hunter2");
    assert_eq!(
        format!("{request:?}"),
        r#"Request { method: "POST", path: "/ws", fields: ["x-api-key"], body: 7 }"#
    );
}

#[test]
fn no_field_ends_early() {
    let request = Request::new("GET", "/").with_field("X-A", "a\r\nX-B: b\0");
    assert_eq!(request.fields().get("x-a"), Some("a  X-B: b "));
    assert_eq!(request.fields().iter().count(), 1);
}
