//! Both ends of an exchange over HTTP.

use super::piece_size;
use crate::http::{
    Exchange, ExchangeError, Fields, Progress, Reading, Request, RequestError, RequestReader,
    Response,
};
use alloc::{string::String, vec::Vec};

/// A request and a response mean the same however their bytes arrive, and what was read is written as one that says the same.
pub fn http(input: &[u8]) {
    let (size, input) = piece_size(input);

    let whole = asked([input].into_iter());
    assert_eq!(asked(input.chunks(size)), whole);
    if let Some(Ok((request, _))) = whole {
        request_says_the_same(&request, size);
    }

    for method in ["GET", "HEAD"] {
        let whole = answered(method, [input].into_iter());
        assert_eq!(answered(method, input.chunks(size)), whole);
        if let Ok(response) = whole {
            response_says_the_same(&response, size);
        }
    }
}

fn request_says_the_same(request: &Request, size: usize) {
    // What cannot be sent as it is, since it was read with more patience, or in HTTP/1.0.
    if !request.target().is_ascii() || request.fields().get("Host").is_none() {
        return;
    }
    if has_no_room(request.fields()) {
        return;
    }
    for (name, _) in request.query() {
        assert!(request.query_value(&name).is_some());
    }
    let Some(Ok((again, rest))) = asked(request.to_bytes().chunks(size)) else {
        panic!("{request:?} is no request any more");
    };
    assert_eq!(rest.len(), 0);
    assert_eq!(
        (again.method(), again.target()),
        (request.method(), request.target())
    );
    assert_eq!(
        (again.body(), said(again.fields())),
        (request.body(), said(request.fields()))
    );
}

fn response_says_the_same(response: &Response, size: usize) {
    if !(200..=599).contains(&response.status()) || has_no_room(response.fields()) {
        return;
    }
    let again = answered("GET", response.to_bytes("GET").chunks(size)).expect("a whole response");
    assert_eq!(again.status(), response.status());
    assert_eq!(said(again.fields()), said(response.fields()));
    assert!(again.body() == response.body() || matches!(response.status(), 204 | 304));
}

/// Whether the fields that frame a message may be too many beside these, of 64 and 16 KiB.
fn has_no_room(fields: &Fields) -> bool {
    let length = |(name, value): (&str, &[u8])| name.len() + value.len() + 4;
    fields.iter().count() > 60 || fields.iter().map(length).sum::<usize>() > 15 * 1024
}

/// The fields but those that frame messages.
fn said(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    let framing = ["connection", "content-length", "transfer-encoding"];
    fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
        .filter(|(name, _)| !framing.contains(&name.as_str()))
        .collect()
}

/// The request in these pieces, and how much is behind it; none: it is not whole.
fn asked<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<Result<(Request, Vec<u8>), RequestError>> {
    let mut waiting = Some(RequestReader::new());
    let mut done = None;
    for piece in pieces {
        match (waiting.take(), &mut done) {
            (Some(reader), _) => match reader.handle_bytes(piece) {
                Ok(Reading::Incomplete(reader)) => waiting = Some(reader),
                Ok(Reading::Complete { request, rest }) => done = Some((request, rest.to_vec())),
                Err(error) => return Some(Err(error)),
            },
            (None, Some((_, rest))) => rest.extend_from_slice(piece),
            (None, None) => {}
        }
    }
    done.map(Ok)
}

/// The response in these pieces, with the end of the connection behind them.
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
