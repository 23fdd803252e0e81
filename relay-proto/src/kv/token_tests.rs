use super::*;
use crate::{Pump, Step};
use alloc::{borrow::ToOwned, format, vec};

const PATIENCE: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Time {
    Time::ZERO.after(Duration::from_secs(seconds))
}

fn asking(service: &str) -> Pump<TokenRequest> {
    let mut scope = Scope::default();
    scope.subscribe.push("news:*".to_owned());
    scope.access = Some("^news:".to_owned());
    let service = service.parse().unwrap();
    Pump::new(TokenRequest::new(
        &service,
        "hunter2",
        &scope,
        Time::ZERO,
        PATIENCE,
    ))
}

/// What the machine wants until it waits, and its event.
fn run(
    pump: &mut Pump<TokenRequest>,
    now: Time,
) -> (Vec<Action>, Option<Result<Credential, TokenError>>) {
    let (mut actions, mut event) = (vec![], None);
    loop {
        match pump.step(now) {
            Step::Perform(action) => actions.push(action),
            Step::Deliver(news) => assert_eq!(event.replace(news), None, "one event only"),
            Step::Wait { until } => {
                assert!(event.is_none() && until.unwrap().timer == "token");
                return (actions, None);
            }
            Step::Finished => {
                assert!(event.is_some(), "there is an event at the end");
                assert_eq!(pump.machine().deadline(), None);
                return (actions, event);
            }
        }
    }
}

/// The request as it is sent.
fn asked(pump: &mut Pump<TokenRequest>) -> String {
    run(pump, at(0));
    pump.handle_input(at(1), Input::Opened { link: LINK });
    match &run(pump, at(1)).0[..] {
        [
            Action::Send {
                frame: Frame::Binary(request),
                ..
            },
        ] => String::from_utf8(request.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn answer(pump: &mut Pump<TokenRequest>, text: &str) {
    let frame = Frame::Binary(text.to_owned().into());
    pump.handle_input(at(2), Input::Frame { link: LINK, frame });
}

fn lost() -> Closure {
    Closure::Lost {
        detail: "cut".to_owned(),
    }
}

fn is_close(actions: &[Action]) -> bool {
    matches!(actions, [Action::Close { link: LINK, .. }])
}

/// What comes of this answer.
fn outcome(text: &str) -> Result<Credential, TokenError> {
    let mut pump = asking("http://kv.example");
    asked(&mut pump);
    answer(&mut pump, text);
    let (actions, event) = run(&mut pump, at(2));
    assert!(is_close(&actions), "{text:?}: {actions:?}");
    // It is over: nothing makes another event.
    answer(&mut pump, text);
    pump.handle_input(
        at(3),
        Input::Closed {
            link: LINK,
            why: Closure::Local,
        },
    );
    pump.command(at(3), |request, _| request.stop());
    assert_eq!(pump.step(at(100)), Step::Finished);
    event.unwrap()
}

fn with_body(head: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn the_request_goes_to_the_place_beside_the_websocket() {
    for (service, host, port, tls, first, named) in [
        (
            "http://kv.example",
            "kv.example",
            80,
            false,
            "/token/websocket",
            "kv.example",
        ),
        (
            "ws://kv.example/ws",
            "kv.example",
            80,
            false,
            "/token/websocket",
            "kv.example",
        ),
        (
            "https://kv.example/",
            "kv.example",
            443,
            true,
            "/token/websocket",
            "kv.example",
        ),
        (
            "wss://kv.example:8443/base/ws/",
            "kv.example",
            8443,
            true,
            "/base/token/websocket",
            "kv.example:8443",
        ),
        (
            "ws://[::1]:8080",
            "::1",
            8080,
            false,
            "/token/websocket",
            "[::1]:8080",
        ),
    ] {
        let mut pump = asking(service);
        let (actions, _) = run(&mut pump, at(0));
        let endpoint = Endpoint::Stream(StreamAddress::new(host, port, tls));
        assert_eq!(
            actions,
            [Action::Open {
                link: LINK,
                endpoint
            }],
            "{service}"
        );
        let request = asked(&mut pump);
        assert!(
            request.starts_with(&format!("POST {first} HTTP/1.1\r\n")),
            "{request}"
        );
        assert!(
            request.contains(&format!("\r\nHost: {named}\r\n")),
            "{request}"
        );
        assert!(request.contains("\r\nx-api-key: hunter2\r\n"), "{request}");
        let body = r#"{"subscribePatterns":["news:*"],"accessPattern":"^news:"}"#;
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
    }
    assert_eq!(serde_json::to_string(&Scope::default()).unwrap(), "{}");
}

#[test]
fn a_token_is_ready_to_connect_with() {
    for text in [
        with_body("200 OK", r#"{"token":"ab.cd"}"#),
        with_body("201 Created", r#"{"expires":null,"token":"ab.cd"}"#),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"token\":\"ab.cd\"}\r\n0\r\n\r\n".to_owned(),
    ] {
        assert_eq!(outcome(&text), Ok(Credential::Token("ab.cd".to_owned())), "{text}");
    }
}

#[test]
fn success_without_a_token_is_an_error() {
    for body in [
        "",
        "{}",
        r#"{"token":null}"#,
        r#"{"token":""}"#,
        r#"{"token":7}"#,
        "null",
        "42",
        r#""ab""#,
        "[",
        "<html>",
    ] {
        assert_eq!(
            outcome(&with_body("200 OK", body)),
            Err(TokenError::NoToken),
            "{body}"
        );
    }
    assert_eq!(
        outcome("HTTP/1.1 204 No Content\r\n\r\n"),
        Err(TokenError::NoToken)
    );
}

#[test]
fn a_refusal_says_what_the_service_says() {
    for head in ["401 Unauthorized", "403 Forbidden"] {
        assert_eq!(outcome(&with_body(head, "")), Err(TokenError::NoKey));
    }
    let bad = "x".repeat(300);
    for (head, body, status, explanation) in [
        (
            "400 Bad Request",
            r#"{"error":"no pattern"}"#,
            400,
            "no pattern",
        ),
        ("404 Not Found", "<html>", 404, "Not Found"),
        ("429 Too Many Requests", "null", 429, "Too Many Requests"),
        ("302 ", "", 302, ""),
        (
            "500 Oh",
            &format!(r#"{{"error":"{bad}"}}"#),
            500,
            &bad[..200],
        ),
    ] {
        let explanation = explanation.to_owned();
        assert_eq!(
            outcome(&with_body(head, body)),
            Err(TokenError::Refused {
                status,
                explanation
            })
        );
    }
    let control = outcome(&with_body("500 Oh", r#"{"error":"\u001b[2J"}"#)).unwrap_err();
    assert!(!control.to_string().contains('\u{1b}'), "{control}");
}

#[test]
fn what_is_no_answer_is_an_error() {
    assert_eq!(
        outcome("220 mx.example ESMTP\r\n"),
        Err(ExchangeError::NotHttp.into())
    );
    let long = with_body("200 OK", &"x".repeat(70_000));
    assert_eq!(outcome(&long), Err(ExchangeError::TooLarge.into()));
}

#[test]
fn a_link_that_does_not_come_or_goes_too_early_is_an_error() {
    let mut pump = asking("http://kv.example");
    run(&mut pump, at(0));
    let why = OpenError::Abandoned;
    pump.handle_input(
        at(1),
        Input::OpenFailed {
            link: LINK,
            why: why.clone(),
        },
    );
    let failed = Err(TokenError::Link(LinkError::Open(why)));
    assert_eq!(run(&mut pump, at(1)), (vec![], Some(failed)));

    let half = with_body("200 OK", r#"{"token":"ab.cd"}"#);
    for said in ["", &half[..half.len() - 1]] {
        let mut pump = asking("http://kv.example");
        asked(&mut pump);
        answer(&mut pump, said);
        pump.handle_input(
            at(2),
            Input::Closed {
                link: LINK,
                why: lost(),
            },
        );
        let failed = Err(TokenError::Link(LinkError::Closed(lost())));
        assert_eq!(run(&mut pump, at(2)), (vec![], Some(failed)));
    }
}

#[test]
fn an_answer_may_end_with_its_connection() {
    let mut pump = asking("http://kv.example");
    asked(&mut pump);
    answer(&mut pump, "HTTP/1.0 200 OK\r\n\r\n{\"token\":\"ab.cd\"}");
    assert_eq!(run(&mut pump, at(2)), (vec![], None));
    pump.handle_input(
        at(2),
        Input::Closed {
            link: LINK,
            why: lost(),
        },
    );
    let token = Ok(Credential::Token("ab.cd".to_owned()));
    assert_eq!(run(&mut pump, at(2)), (vec![], Some(token)));
}

#[test]
fn a_service_has_its_time_from_the_beginning() {
    let mut pump = asking("http://kv.example");
    run(&mut pump, at(9));
    let (actions, event) = run(&mut pump, at(10));
    assert!(is_close(&actions));
    assert_eq!(event, Some(Err(TokenError::Timeout)));

    let mut pump = asking("http://kv.example");
    asked(&mut pump);
    answer(&mut pump, "HTTP/1.1 200 OK\r\n");
    assert_eq!(run(&mut pump, at(9)), (vec![], None));
    let (actions, event) = run(&mut pump, at(10));
    assert!(is_close(&actions));
    assert_eq!(event, Some(Err(TokenError::Timeout)));
}

#[test]
fn who_gives_up_is_told_so_once() {
    let mut pump = asking("http://kv.example");
    run(&mut pump, at(0));
    pump.command(at(1), |request, _| request.stop());
    pump.command(at(1), |request, _| request.stop());
    let (actions, event) = run(&mut pump, at(1));
    assert!(is_close(&actions));
    assert_eq!(event, Some(Err(TokenError::Stopped)));
    let why = OpenError::Abandoned;
    pump.handle_input(at(2), Input::OpenFailed { link: LINK, why });
    assert_eq!(pump.step(at(2)), Step::Finished);
}

#[test]
fn neither_key_nor_token_is_shown() {
    let mut pump = asking("http://kv.example");
    asked(&mut pump);
    answer(&mut pump, "HTTP/1.1 200 OK\r\nX: hunter3\r\n\r\nhunter3");
    let shown = format!(
        "{pump:?} {:?}",
        outcome(&with_body("200 OK", r#"{"token":"hunter3"}"#))
    );
    assert!(
        shown.contains("x-api-key") && !shown.contains("hunter"),
        "{shown}"
    );
}
