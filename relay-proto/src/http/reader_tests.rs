use super::*;
use alloc::{borrow::ToOwned, string::String, vec::Vec};
use proptest::{collection::vec, prelude::*, sample::select};

/// What becomes of these bytes; none: more are waited for.
fn read<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<Result<(Request, Vec<u8>), RequestError>> {
    let mut reader = RequestReader::new();
    let mut pieces = pieces;
    while let Some(piece) = pieces.next() {
        match reader.handle_bytes(piece) {
            Ok(Reading::Incomplete(next)) => reader = next,
            Ok(Reading::Complete { request, rest }) => {
                let rest = pieces.fold(rest.to_vec(), |rest, piece| [&rest, piece].concat());
                return Some(Ok((request, rest)));
            }
            Err(error) => return Some(Err(error)),
        }
    }
    None
}

fn whole(text: &str) -> Option<Result<(Request, Vec<u8>), RequestError>> {
    let outcome = read([text.as_bytes()].into_iter());
    let size = text.len() / 1000 + 1;
    assert_eq!(read(text.as_bytes().chunks(size)), outcome, "{text:?}");
    outcome
}

fn request(text: &str) -> (Request, String) {
    let (request, rest) = whole(text).expect("a whole request").expect("a request");
    (request, String::from_utf8(rest).unwrap())
}

fn refused(text: &str) -> RequestError {
    whole(text).expect("an answer").expect_err("a refusal")
}

#[test]
fn a_request_is_read_with_its_body_and_what_is_behind_it_left() {
    let (asked, rest) = request(
        "\r\nPOST /token/websocket HTTP/1.1\r\nHost: h\r\nX-API-Key:\t k \r\nContent-Length: 2\r\n\r\n{}GET /",
    );
    assert_eq!((asked.method(), asked.path()), ("POST", "/token/websocket"));
    assert_eq!(asked.fields().get("x-api-key"), Some("k"));
    assert_eq!((&asked.body()[..], &*rest), (&b"{}"[..], "GET /"));

    let (asked, rest) = request("GET /ws?token=x HTTP/1.1\r\nHost: h\r\n\r\n\u{1}\u{2}");
    assert_eq!(asked.query_value("token").as_deref(), Some("x"));
    assert_eq!((asked.body().len(), &*rest), (0, "\u{1}\u{2}"));
}

#[test]
fn chunks_are_put_together() {
    let chunked = "POST / HTTP/1.1\nHost: h\nTransfer-Encoding: Chunked\n\n";
    for (body, text) in [
        ("0\r\n\r\n", ""),
        ("2\r\nab\r\n3;x=\"y\"\r\ncde\r\n0\r\n\r\n", "abcde"),
        (
            "0A \r\n0123456789\r\n000\r\nExpires: never\r\nX: y\r\n\r\n",
            "0123456789",
        ),
    ] {
        let (asked, rest) = request(&[chunked, body, "rest"].concat());
        assert_eq!(
            (&asked.body()[..], &*rest),
            (text.as_bytes(), "rest"),
            "{body:?}"
        );
    }
    for body in [
        "\r\n\r\n",
        "-1\r\n",
        "+2\r\nab\r\n",
        "0x2\r\nab\r\n",
        " 2\r\nab\r\n",
        "2 2\r\nab\r\n",
        "2\nab\r\n",
        "2;x\ny\r\nab\r\n",
        "2\rab",
        "2\r\nabc\r\n",
        "2\r\nab\n",
        "0\r\nX: y\n\n",
        "g\r\n",
    ] {
        assert_eq!(
            refused(&[chunked, body].concat()),
            RequestError::Malformed,
            "{body:?}"
        );
    }
    for body in ["10001\r\n", "ffffffffffffffffffff\r\n"] {
        assert_eq!(
            refused(&[chunked, body].concat()),
            RequestError::BodyTooLarge,
            "{body:?}"
        );
    }
    let endless = ["0\r\n".to_owned(), "X: y\r\n".repeat(5000)].concat();
    assert_eq!(
        refused(&[chunked, &endless].concat()),
        RequestError::Malformed
    );
    let extended = ["1;", &"x".repeat(300)].concat();
    assert_eq!(
        refused(&[chunked, &extended].concat()),
        RequestError::Malformed
    );
}

#[test]
fn what_two_servers_could_understand_in_two_ways_is_refused() {
    for fields in [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 2",
        "Content-Length: +2",
        "Content-Length: 0x2",
        "Content-Length: ",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length : 2",
        " Content-Length: 2",
        "X: y\r\n Content-Length: 2",
        "Content-Length: 2\rX: y",
        "X\0: y",
        "Host: other",
    ] {
        let text = ["POST / HTTP/1.1\r\nHost: h\r\n", fields, "\r\n\r\nab"].concat();
        assert_eq!(refused(&text), RequestError::Malformed, "{fields:?}");
    }
    for coding in [
        "gzip, chunked",
        "identity",
        "xchunked",
        "chunked, chunked",
        "chunked;x",
    ] {
        let text = [
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ",
            coding,
            "\r\n\r\n",
        ]
        .concat();
        assert_eq!(refused(&text), RequestError::UnknownCoding, "{coding:?}");
    }
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab",
    ] {
        assert_eq!(refused(text), RequestError::Malformed, "{text:?}");
    }
}

#[test]
fn what_is_no_http_1_is_refused_at_once() {
    for text in [
        "\u{16}\u{3}\u{1}\u{2}",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.2\r\n",
        "GET /\r\n",
        "EHLO mx.example\r\n",
        "\0",
        "GET  / HTTP/1.1\r\n",
    ] {
        assert_eq!(refused(text), RequestError::Malformed, "{text:?}");
    }
}

#[test]
fn http_1_0_is_served_but_has_no_upgrades() {
    let (asked, _) = request("GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n");
    assert!(!asked.is_upgrade());
    let (asked, _) = request("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n");
    assert!(asked.is_upgrade());
}

#[test]
fn requests_have_bounds() {
    let begin = "GET / HTTP/1.1\r\nHost: h\r\n";
    let long = [begin, "X: ", &"x".repeat(16 * 1024)].concat();
    assert_eq!(refused(&long), RequestError::HeadTooLarge);
    assert_eq!(whole(&long[..16 * 1024 - 1]), None);
    let many = [begin, &"X: y\r\n".repeat(64), "\r\n"].concat();
    assert_eq!(refused(&many), RequestError::HeadTooLarge);
    assert_eq!(
        refused(&"\r\n".repeat(8 * 1024)),
        RequestError::HeadTooLarge
    );
    for length in ["65537", "99999999999999999999999999"] {
        let text = [begin, "Content-Length: ", length, "\r\n\r\n"].concat();
        assert_eq!(refused(&text), RequestError::BodyTooLarge);
    }
    let most = [begin, "Content-Length: 65536\r\n\r\n", &"x".repeat(65536)].concat();
    assert_eq!(request(&most).0.body().len(), 65536);
}

#[test]
fn a_client_that_waits_to_send_the_body_is_seen_once() {
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    let Ok(Reading::Incomplete(mut reader)) = RequestReader::new().handle_bytes(head) else {
        panic!("there is a body to come");
    };
    assert!(reader.take_wait() && !reader.take_wait());
    assert!(matches!(
        reader.handle_bytes(b"ab"),
        Ok(Reading::Complete { .. })
    ));
}

#[test]
fn a_refusal_is_a_response() {
    for (error, status) in [
        (RequestError::Malformed, 400),
        (RequestError::BodyTooLarge, 413),
        (RequestError::HeadTooLarge, 431),
        (RequestError::UnknownCoding, 501),
    ] {
        let response = error.to_response();
        assert_eq!(response.status(), status);
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert!(body["error"].is_string());
    }
}

const FRAGMENTS: [&str; 22] = [
    "GET ",
    "POST ",
    "/",
    "/ws?a=%41 ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\n",
    "Host: h\r\n",
    "\r\n",
    "\r",
    "\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Upgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    "3\r\n",
    "abc",
    "\r\n0\r\n",
    ";x",
    "X: y\r\n",
    ":",
    " ",
    "\u{16}\u{3}",
];

proptest! {
    #[test]
    fn however_a_request_is_cut_it_means_the_same(fragments in vec(select(&FRAGMENTS), 0..14), size in 1usize..20) {
        let text = fragments.concat();
        let outcome = read([text.as_bytes()].into_iter());
        prop_assert_eq!(read(text.as_bytes().chunks(size)), outcome);
    }

    #[test]
    fn what_a_client_writes_a_server_reads(
        method in "GET|POST|DELETE|HEAD",
        target in "/[!-~]{0,20}",
        value in "[\\x00-\\x7f]{0,20}",
        body in vec(any::<u8>(), 0..300),
        size in 1usize..50,
    ) {
        let sent = Request::new(method, target).with_field("Host", "h").with_field("X-Key", &value).with_body(body);
        let bytes = sent.to_bytes();
        match read(bytes.chunks(size)) {
            Some(Ok((asked, rest))) => {
                prop_assert_eq!(rest, Vec::<u8>::new());
                prop_assert_eq!((asked.method(), asked.target(), asked.body()), (sent.method(), sent.target(), sent.body()));
                let trimmed = sent.fields().get("X-Key").unwrap().trim_matches([' ', '\t']);
                prop_assert_eq!(asked.fields().get("x-key"), Some(trimmed));
            }
            // No other control characters can be sent at all (RFC 9110, section 5.5).
            other => prop_assert!(value.bytes().any(|byte| byte.is_ascii_control()), "{other:?}"),
        }
    }
}
