//! The dialogue with a proxy, and the settings that name one.

use super::piece_size;
use crate::{
    WebSocketUrl,
    proxy::{Answer, Connect, ConnectError, Proxies, Proxy},
};
use alloc::{borrow::ToOwned, string::ToString, vec::Vec};
use core::str;

/// A line with a proxy, one with a server, then what the proxy answers: nothing gets into the request but what it is made
/// of, and the answer means the same however its bytes arrive.
pub fn http_connect(input: &[u8]) {
    let (size, input) = piece_size(input);
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let mut text = || str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (proxy, server) = (text(), text());
    let answer = lines.next().unwrap_or_default();

    // The same text as every variable: understood or not, it does no harm.
    let proxies = Proxies::from_variables(|_| Some(proxy.to_owned()));
    let (Ok(proxy), Ok(server)) = (proxy.parse::<Proxy>(), server.parse::<WebSocketUrl>()) else {
        return;
    };
    if let Ok(proxies) = proxies {
        proxies.to(&server);
    }
    assert_eq!(
        proxy
            .to_string()
            .parse::<Proxy>()
            .map(|shown| shown.to_string()),
        Ok(proxy.to_string())
    );
    assert_eq!(Proxies::all(proxy.clone()).to(&server), Some(&proxy));

    let connect = Connect::new(&server, &proxy);
    let request = str::from_utf8(connect.request()).expect("a request is ASCII");
    assert!(request.is_ascii() && request.starts_with("CONNECT ") && request.ends_with("\r\n\r\n"));
    let lines: Vec<_> = request.split("\r\n").collect();
    assert!((4..=5).contains(&lines.len()), "{request}");
    assert!(!request.contains('\0') && lines.iter().all(|line| !line.contains(['\r', '\n'])));

    let whole = played(Connect::new(&server, &proxy), [answer].into_iter());
    assert_eq!(played(connect, answer.chunks(size)), whole);
}

/// How the dialogue ends, with all that came for the tunnel; none: it waits.
fn played<'a>(
    connect: Connect,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<Result<Vec<u8>, ConnectError>> {
    let mut waiting = Some(connect);
    let mut tunnel = Vec::new();
    for piece in pieces {
        let Some(connect) = waiting.take() else {
            tunnel.extend_from_slice(piece);
            continue;
        };
        match connect.handle_bytes(piece) {
            Ok(Answer::Incomplete(connect)) => waiting = Some(connect),
            Ok(Answer::Established { early }) => tunnel.extend_from_slice(&early),
            Err(error) => return Some(Err(error)),
        }
    }
    waiting.is_none().then_some(Ok(tunnel))
}
