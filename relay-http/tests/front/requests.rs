//! From the first byte to the answer.

use crate::desk::{Desk, PEER, SWITCHING, UPGRADE};
use relay_proto::Input;
use relay_transport::{Config, Origins};
use std::time::Duration;

/// The status a client is answered with, and whether the site was asked; the connection ends.
fn status(desk: &mut Desk, request: impl AsRef<[u8]>) -> (String, bool) {
    let link = desk.accept();
    desk.say(link, request);
    let answer = desk.answer(link);
    assert!(desk.is_closed(link), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    let asked = !desk
        .command(|site| std::mem::take(&mut site.asked))
        .is_empty();
    // Nothing that comes later makes a difference.
    desk.say(link, UPGRADE);
    desk.write(link);
    desk.end(link);
    assert_eq!(desk.heard(), [], "the site hears nothing of it");
    let status = answer.strip_prefix("HTTP/1.1 ").unwrap();
    (status[..3].to_owned(), asked)
}

#[test]
fn a_plain_request_is_answered_and_its_connection_ends() {
    let mut desk = Desk::new();
    let link = desk.accept();
    desk.say(
        link,
        "GET /plain?a=b HTTP/1.1\r\nHost: h\r\n\r\nGET /never HTTP/1.1\r\n",
    );
    assert_eq!(
        desk.answer(link),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
    );
    assert!(desk.is_closed(link));
    let [(asked, peer, request)] = &desk.site().asked[..] else {
        panic!("asked once");
    };
    assert_eq!((*asked, *peer), (link, Some(PEER)));
    assert_eq!(request.query_value("a").as_deref(), Some("b"));
    desk.write(link);
    desk.end(link);
    assert_eq!(desk.heard(), []);
}

#[test]
fn the_site_decides_and_what_it_says_of_a_head_has_no_body() {
    let mut desk = Desk::new();
    assert_eq!(
        status(&mut desk, "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("404".to_owned(), true)
    );
    let elsewhere = UPGRADE.replace("/ws", "/nowhere");
    assert_eq!(status(&mut desk, elsewhere), ("404".to_owned(), true));
    let link = desk.accept();
    desk.say(link, "HEAD /plain HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(desk.answer(link).ends_with("\r\n\r\n"));
}

#[test]
fn an_upgrade_becomes_a_link_of_the_same_id() {
    let mut desk = Desk::new();
    let link = desk.accept();
    for byte in UPGRADE.as_bytes() {
        assert_eq!((desk.answer(link).as_str(), desk.heard()), ("", vec![]));
        desk.say(link, [*byte]);
    }
    assert_eq!(desk.answer(link), SWITCHING);
    let peer = Some(PEER);
    assert_eq!(desk.heard(), [Input::Accepted { link, peer }]);
    desk.write(link);
    assert_eq!(desk.heard(), [], "the answer is none of the site's");
}

#[test]
fn what_is_no_handshake_is_refused_without_the_site() {
    let mut desk = Desk::new();
    let without = |field: &str| {
        let lines = UPGRADE.split_inclusive("\r\n");
        lines
            .filter(|line| !line.starts_with(field))
            .collect::<String>()
    };
    for (request, expected) in [
        (UPGRADE.replace("13", "8"), "426"),
        (without("Sec-WebSocket-Version"), "426"),
        (without("Connection"), "426"),
        (without("Sec-WebSocket-Key"), "400"),
        (UPGRADE.replace("dGhl", "dGh"), "400"),
        (UPGRADE.replace("dGhl", "!!!!"), "400"),
        (UPGRADE.replace("GET", "POST"), "405"),
        (
            UPGRADE.replace("Host: h", "Content-Length: 1\r\nHost: h") + "x",
            "400",
        ),
    ] {
        assert_eq!(
            status(&mut desk, &request),
            (expected.to_owned(), false),
            "{request}"
        );
    }
}

#[test]
fn where_there_are_only_websockets_others_are_told_so() {
    let mut desk = Desk::new();
    for (request, expected) in [
        ("GET /ws HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "426"),
        (
            "POST /ws HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "405",
        ),
        (
            "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n".to_owned(),
            "426",
        ),
        (UPGRADE.replace("HTTP/1.1", "HTTP/1.0"), "426"),
    ] {
        assert_eq!(
            status(&mut desk, &request),
            (expected.to_owned(), true),
            "{request}"
        );
    }
}

#[test]
fn what_is_no_request_or_could_be_two_is_refused_without_the_site() {
    let mut desk = Desk::new();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    assert_eq!(status(&mut desk, hello), ("400".to_owned(), false));
    let post =
        |fields: &str| format!("POST /plain HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n0\r\n\r\n");
    for (request, expected) in [
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400"),
        ("GET /plain HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (post("Content-Length: 5\r\nContent-Length: 5"), "400"),
        (
            post("Content-Length: 5\r\nTransfer-Encoding: chunked"),
            "400",
        ),
        (
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
            "400",
        ),
        (post("Transfer-Encoding: identity, chunked"), "501"),
        (post("Transfer-Encoding : chunked"), "400"),
        (post("Content-Length: 65537"), "413"),
        (post(&format!("X: {}", "x".repeat(16 * 1024))), "431"),
        (post(&"X: y\r\n".repeat(70)), "431"),
    ] {
        assert_eq!(
            status(&mut desk, &request),
            (expected.to_owned(), false),
            "{request}"
        );
    }
    assert_eq!(
        status(&mut desk, post("Transfer-Encoding: chunked")),
        ("200".to_owned(), true)
    );
}

#[test]
fn a_page_that_is_not_listed_gets_nowhere() {
    let mut config = Config::default();
    config.origins = Origins::only(["https://app.example".parse().unwrap()]);
    let mut desk = Desk::with(config);
    let from = |request: &str, origin: &str| {
        request.replace("Host: h\r\n", &format!("Host: h\r\nOrigin: {origin}\r\n"))
    };
    let plain = "GET /plain HTTP/1.1\r\nHost: h\r\n\r\n";
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example\r\nOrigin: https://evil.example",
    ] {
        for request in [plain, UPGRADE] {
            assert_eq!(
                status(&mut desk, from(request, origin)),
                ("403".to_owned(), false),
                "{origin}"
            );
        }
    }
    assert_eq!(
        status(&mut desk, from(plain, "https://app.example")),
        ("200".to_owned(), true)
    );
    let link = desk.accept();
    desk.say(link, from(UPGRADE, "https://app.example"));
    assert_eq!(desk.answer(link), SWITCHING);
}

#[test]
fn a_client_that_waits_to_send_its_body_is_told_to() {
    let mut desk = Desk::new();
    let link = desk.accept();
    desk.say(
        link,
        "POST /plain HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    assert_eq!(desk.answer(link), "HTTP/1.1 100 Continue\r\n\r\n");
    desk.say(link, "a");
    assert_eq!(desk.answer(link), "");
    desk.say(link, "b");
    assert!(desk.answer(link).starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(desk.site().asked[0].2.body(), "ab");
}

#[test]
fn whoever_dribbles_is_hung_up_on_and_whoever_is_prompt_is_not() {
    let mut desk = Desk::new();
    let slow = desk.accept();
    desk.pass(Duration::from_secs(1));
    let link = desk.open();
    for second in 1..10 {
        assert!(!desk.is_closed(slow));
        assert_eq!(desk.deadline().unwrap().timer, "request");
        desk.say(slow, &UPGRADE[second - 1..second]);
        desk.pass(Duration::from_secs(1));
    }
    assert!(desk.is_closed(slow));
    assert_eq!(desk.answer(slow), "", "without a word");
    desk.pass(Duration::from_secs(3600));
    assert!(!desk.is_closed(link) && desk.deadline().is_none());
}

#[test]
fn where_too_many_dribble_the_slowest_gives_way() {
    let mut config = Config::default();
    config.max_handshakes = 2;
    let mut desk = Desk::with(config);
    let first = desk.accept();
    desk.pass(Duration::from_secs(1));
    let second = desk.accept();
    // What is a WebSocket does not count.
    desk.say(second, UPGRADE);
    let third = desk.accept();
    assert!(!desk.is_closed(first));
    let fourth = desk.accept();
    assert!(desk.is_closed(first) && !desk.is_closed(second));
    assert!(!desk.is_closed(third) && !desk.is_closed(fourth));
    desk.say(first, UPGRADE);
    assert_eq!(desk.answer(first), "", "too late");
}

#[test]
fn a_flood_from_one_place_drives_out_its_own() {
    let mut config = Config::default();
    config.max_handshakes = 8;
    let mut desk = Desk::with(config);
    let others = ["192.0.2.1", "192.0.2.2", "2001:db8:1::1"]
        .map(|peer| desk.accept_from(peer.parse().unwrap()));
    for host in 0..1000 {
        desk.pass(Duration::from_millis(1));
        // One customer, who has as many addresses as he likes.
        desk.accept_from(format!("2001:db8::{host:x}").parse().unwrap());
    }
    let let_in = desk
        .links()
        .into_iter()
        .filter(|link| !desk.is_closed(*link))
        .count();
    assert_eq!(let_in, 8);
    for link in others {
        desk.say(link, UPGRADE);
        assert_eq!(desk.answer(link), SWITCHING);
    }
}

#[test]
fn a_client_that_goes_away_early_is_forgotten() {
    let mut desk = Desk::new();
    let link = desk.accept();
    desk.say(link, "GET /plain HTTP/1.1\r\n");
    desk.end(link);
    assert!(desk.deadline().is_none());
    assert_eq!(desk.heard(), []);
}

#[test]
fn an_answer_that_is_for_later_comes_in_its_time_and_nothing_else_is_heard() {
    let mut desk = Desk::new();
    for request in [
        "GET /later HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        UPGRADE.replace("/ws", "/later"),
    ] {
        let (link, gone) = (desk.accept(), desk.accept());
        for link in [link, gone] {
            desk.say(link, &request);
        }
        assert_eq!(desk.read_limit(link), 0);
        desk.say(link, UPGRADE);
        desk.end(gone);
        desk.pass(Duration::from_millis(2999));
        assert_eq!(desk.answer(link), "");
        assert!(!desk.is_closed(link));
        desk.pass(Duration::from_millis(1));
        assert!(desk.answer(link).starts_with("HTTP/1.1 403 Forbidden\r\n"));
        assert!(desk.is_closed(link));
        assert_eq!(desk.heard(), []);
        desk.write(link);
        desk.end(link);
        assert_eq!(desk.deadline(), None);
    }
}
