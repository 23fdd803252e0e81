use super::*;
use alloc::{vec, vec::Vec};
use proptest::{collection::vec, prelude::*, sample::select};

/// What becomes of these bytes, and of the end of the connection behind them.
fn answered<'a>(
    method: &str,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Response, ExchangeError> {
    let mut exchange = Exchange::new(&Request::new(method, "/"));
    for piece in pieces {
        match exchange.handle_bytes(piece)? {
            Progress::Incomplete(next) => exchange = next,
            Progress::Complete(response) => return Ok(response),
        }
    }
    exchange.handle_end()
}

fn get(text: &str) -> Result<Response, ExchangeError> {
    let outcome = answered("GET", [text.as_bytes()].into_iter());
    let size = text.len() / 1000 + 1;
    assert_eq!(
        answered("GET", text.as_bytes().chunks(size)),
        outcome,
        "{text:?}"
    );
    outcome
}

#[test]
fn a_body_ends_where_its_framing_says() {
    for (text, status, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", 200, "ab"),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            403,
            "",
        ),
        (
            "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\nc",
            200,
            "ab",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nto the end", 200, "to the end"),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            304,
            "",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
            201,
            "x",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\nx", 101, ""),
    ] {
        let response = get(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(
            (response.status(), &response.body()[..]),
            (status, body.as_bytes()),
            "{text:?}"
        );
    }
    let head = answered(
        "HEAD",
        [&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..]].into_iter(),
    );
    assert_eq!(head.unwrap().body().len(), 0);
}

#[test]
fn a_response_that_is_cut_off_is_none() {
    for text in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        assert_eq!(get(text), Err(ExchangeError::Ended), "{text:?}");
    }
}

#[test]
fn what_is_no_response_or_too_much_of_one_is_refused() {
    for text in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\u{15}\u{3}\u{3}",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ] {
        assert_eq!(get(text), Err(ExchangeError::NotHttp), "{text:?}");
    }
    let body = "x".repeat(64 * 1024 + 1);
    for text in [
        ["HTTP/1.1 200 OK\r\n\r\n", &body].concat(),
        ["HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", &body].concat(),
        ["HTTP/1.1 200 OK\r\nX: ", &body].concat(),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000),
    ] {
        assert_eq!(get(&text), Err(ExchangeError::TooLarge));
    }
}

#[test]
fn a_response_is_written_as_a_client_reads_it() {
    let sent = Response::json(403, r#"{"error":"no"}"#)
        .with_field("Retry-After", "5\r\nX: y")
        .with_field("content-length", "9");
    let read = answered("POST", [&sent.to_bytes("POST")[..]].into_iter()).unwrap();
    assert_eq!(
        (read.status(), read.reason(), read.body()),
        (403, "Forbidden", sent.body())
    );
    assert_eq!(read.fields().get("retry-after"), Some("5  X: y"));
    assert_eq!(read.fields().get("connection"), Some("close"));
    assert_eq!(
        read.fields().get_all("content-length").collect::<Vec<_>>(),
        [b"14"]
    );

    let head = answered("HEAD", [&sent.to_bytes("HEAD")[..]].into_iter()).unwrap();
    assert_eq!(
        (head.body().len(), head.fields().get("content-length")),
        (0, Some("14"))
    );
    let empty = Response::new(204).with_body("x").to_bytes("GET");
    assert_eq!(
        empty,
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    );
    for (status, written) in [(101, 500), (99, 500), (600, 500), (599, 599)] {
        let read = answered(
            "GET",
            [&Response::new(status).to_bytes("GET")[..]].into_iter(),
        );
        assert_eq!(read.unwrap().status(), written);
    }
}

#[test]
fn nothing_that_may_be_a_token_is_shown() {
    let Ok(Progress::Incomplete(exchange)) = Exchange::new(&Request::new("GET", "/"))
        .handle_bytes(b"HTTP/1.1 200 OK\r\nX-Token: hunter2\r\n\r\nhunter2")
    else {
        panic!("there is more to come");
    };
    let shown = [
        alloc::format!("{exchange:?}"),
        alloc::format!("{:?}", exchange.handle_end()),
    ]
    .concat();
    assert!(
        shown.contains("X-Token") && !shown.contains("hunter2"),
        "{shown}"
    );
}

const FRAGMENTS: [&str; 14] = [
    "HTTP/1.1 ",
    "HTTP/1.0 ",
    "200 OK\r\n",
    "100 Continue\r\n",
    "204\r\n",
    "\r\n",
    "\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "3\r\n",
    "abc",
    "\r\n0\r\n\r\n",
    "X: y\r\n",
    "\0",
];

proptest! {
    #[test]
    fn however_a_response_is_cut_it_means_the_same(fragments in vec(select(&FRAGMENTS), 0..12), size in 1usize..20) {
        let text = fragments.concat();
        let outcome = answered("GET", vec![text.as_bytes()].into_iter());
        prop_assert_eq!(answered("GET", text.as_bytes().chunks(size)), outcome);
    }
}
