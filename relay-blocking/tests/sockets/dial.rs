//! Opening links, and every way it can fail.

use crate::common::{Probe, Rig, accept_tcp, certificates, config, listener, text, websocket};
use relay_blocking::TlsAcceptor;
use relay_proto::{Action, CloseCode, Closure, Endpoint, Frame, Input, OpenError, StreamAddress};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

fn failure(endpoint: Endpoint) -> OpenError {
    let client = Rig::new(Probe::new(), config());
    let link = client.open(endpoint);
    match client.next() {
        Input::OpenFailed { link: failed, why } if failed == link => {
            assert!(client.has_no_news(), "answered once");
            why
        }
        other => panic!("not failed: {other:?}"),
    }
}

/// Why opening fails at a server that reads the request and answers with `answer`.
fn failure_after(answer: &'static str) -> OpenError {
    let (listener, address) = listener();
    thread::spawn(move || {
        let mut tcp = accept_tcp(&listener);
        read_head(&mut tcp);
        tcp.write_all(answer.as_bytes()).unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    failure(websocket(address))
}

fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_port_nobody_listens_on() {
    let (listener, address) = listener();
    drop(listener);
    for endpoint in [
        websocket(address),
        Endpoint::Stream(StreamAddress::new("127.0.0.1", address.port(), false)),
    ] {
        let error = failure(endpoint).to_string();
        assert!(error.contains("nothing listens on this port"), "{error}");
        assert!(error.contains(&address.to_string()), "{error}");
    }
}

#[test]
fn a_name_that_does_not_exist() {
    // Longer than a label can be, so that no server has to be asked.
    let name = "x".repeat(64);
    let error = failure(Endpoint::Stream(StreamAddress::new(name, 25, false)));
    assert!(matches!(error, OpenError::Unreachable { .. }));
    assert!(error.to_string().contains("cannot be resolved"), "{error}");
}

#[test]
fn http_statuses_are_refusals() {
    let cases = [
        ("HTTP/1.1 200 OK\r\n\r\n<html>", 200, None),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", 401, None),
        ("HTTP/1.1 404 Not Found\r\n\r\n", 404, None),
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: 17\r\n\r\n",
            503,
            Some(17),
        ),
        (
            "HTTP/1.1 503 Busy\r\nretry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n",
            503,
            None,
        ),
    ];
    for (answer, expected, seconds) in cases {
        match failure_after(answer) {
            OpenError::Refused {
                status,
                retry_after,
                ..
            } => {
                assert_eq!(status, expected);
                assert_eq!(retry_after, seconds.map(Duration::from_secs));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_no_websocket_server_says_why() {
    let cases = [
        ("220 mx.example ESMTP\r\n", "not HTTP"),
        ("\0\u{1}\u{2}", "not HTTP"),
        ("", "ended the connection without answering"),
        ("HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0"),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "Upgrade: websocket",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: bm90IHRoZSByaWdodCBhbnN3ZXI=\r\n\r\n",
            "Sec-WebSocket-Accept",
        ),
    ];
    for (answer, expected) in cases {
        let error = failure_after(answer);
        assert!(matches!(error, OpenError::NotWebSocket { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_close_abandons_the_opening() {
    let (listener, address) = listener();
    let client = Rig::new(Probe::new(), config());
    let link = client.open(websocket(address));
    let mut tcp = accept_tcp(&listener);
    let request = read_head(&mut tcp);
    assert!(
        request.contains(&format!("Host: {address}\r\n")),
        "{request}"
    );
    client.close(link, CloseCode::NORMAL, "");
    let why = OpenError::Abandoned;
    assert_eq!(client.next(), Input::OpenFailed { link, why });
    // The connection is gone, and nothing follows.
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    assert!(client.has_no_news());
}

#[test]
fn a_greeting_right_behind_the_upgrade_is_not_lost() {
    let (listener, address) = listener();
    let client = Rig::new(Probe::new(), config());
    let serving = thread::spawn(move || {
        let mut tcp = accept_tcp(&listener);
        let head = read_head(&mut tcp);
        let (_, key) = head.split_once("Sec-WebSocket-Key: ").unwrap();
        let key = key.split("\r\n").next().unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n\u{0}"
        );
        let mut answer = answer.into_bytes();
        answer.pop();
        answer.extend_from_slice(b"\x81\x05hello");
        tcp.write_all(&answer).unwrap();
        tcp
    });
    let link = client.opened(websocket(address));
    assert_eq!(client.frame(), (link, text("hello")));
    drop(serving);
}

#[test]
fn a_byte_stream_carries_bytes_both_ways_and_ends() {
    let (listener, address) = listener();
    let client = Rig::new(Probe::new(), config());
    let to = StreamAddress::new("localhost", address.port(), false);
    let link = client.opened(Endpoint::Stream(to));
    let mut tcp = accept_tcp(&listener);
    tcp.write_all(&[b'x'; 100_000]).unwrap();
    let mut total = 0;
    while total < 100_000 {
        let (_, frame) = client.frame();
        assert!(frame.len() <= 16 * 1024);
        total += frame.len();
    }
    client.tell(|machine| machine.limit = 10);
    client.send(link, Frame::Binary("EHLO ".into()));
    client.send(link, Frame::Binary("a\r\n".into()));
    let mut line = [0; 8];
    tcp.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"EHLO a\r\n");
    client.close(link, CloseCode::NORMAL, "");
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    drop(tcp);
    assert_eq!(client.closed(link), Closure::Local);
}

#[test]
fn the_limit_bounds_each_piece_of_a_byte_stream() {
    let (listener, address) = listener();
    let mut machine = Probe::new();
    machine.limit = 10;
    let client = Rig::new(machine, config());
    let to = StreamAddress::new("127.0.0.1", address.port(), false);
    let link = client.opened(Endpoint::Stream(to));
    let mut tcp = accept_tcp(&listener);
    tcp.write_all(b"0123456789abc").unwrap();
    drop(tcp);
    let first = Frame::Binary("0123456789".into());
    assert_eq!(client.frame(), (link, first));
    assert_eq!(client.frame(), (link, Frame::Binary("abc".into())));
    assert!(matches!(client.closed(link), Closure::Lost { .. }));
}

fn tls_server(acceptor: TlsAcceptor) -> (Rig, SocketAddr) {
    let mut machine = Probe::new();
    machine.echoes = true;
    let server = Rig::new(machine, config());
    let (listener, address) = listener();
    server
        .driver
        .listen_websocket(listener, Some(acceptor))
        .unwrap();
    (server, address)
}

fn secure(host: &str, address: SocketAddr) -> Endpoint {
    let url = format!("wss://{host}:{}/x", address.port());
    Endpoint::WebSocket(url.parse().unwrap())
}

#[test]
fn tls_with_a_trusted_certificate() {
    let (root, acceptor) = certificates("one");
    let (server, address) = tls_server(acceptor);
    let mut config = config();
    config.extra_roots = vec![root];
    let client = Rig::new(Probe::new(), config);
    let link = client.opened(secure("localhost", address));
    let accepted = server.accepted();
    let frame = Frame::Binary(vec![1; 300_000].into());
    client.send(link, frame.clone());
    assert_eq!(client.frame(), (link, frame));
    client.close(link, CloseCode::NORMAL, "done");
    assert_eq!(client.closed(link), Closure::Local);
    let why = Closure::Peer {
        code: Some(CloseCode::NORMAL),
        reason: "done".to_owned(),
    };
    assert_eq!(server.closed(accepted), why);

    // The same certificate under a name it is not for.
    let link = client.open(secure("127.0.0.1", address));
    match client.next() {
        Input::OpenFailed {
            link: failed,
            why: why @ OpenError::Tls { .. },
        } if failed == link => assert!(why.to_string().contains("127.0.0.1"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tls_with_an_unknown_issuer() {
    let (_, acceptor) = certificates("one");
    let (_server, address) = tls_server(acceptor);
    let (other_root, _) = certificates("two");
    let mut config = config();
    config.extra_roots = vec![other_root];
    let client = Rig::new(Probe::new(), config);
    client.open(secure("localhost", address));
    match client.next() {
        Input::OpenFailed {
            why: why @ OpenError::Tls { .. },
            ..
        } => assert!(why.to_string().contains("issuer is not trusted"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tls_to_a_server_without_it() {
    let (root, _) = certificates("one");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Rig::new(Probe::new(), config());
    server.driver.listen_websocket(listener, None).unwrap();
    let mut config = config();
    config.extra_roots = vec![root];
    let client = Rig::new(Probe::new(), config);
    client.open(secure("localhost", address));
    match client.next() {
        Input::OpenFailed {
            why: why @ OpenError::Tls { .. },
            ..
        } => assert!(why.to_string().contains("does not speak TLS"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tls_carries_much_both_ways_at_once() {
    const FRAMES: usize = 64;
    let (root, acceptor) = certificates("one");
    let (_server, address) = tls_server(acceptor);
    let mut config = config();
    config.extra_roots = vec![root];
    let client = Rig::new(Probe::new(), config);
    let link = client.opened(secure("localhost", address));
    // Far more than the socket buffers hold, so that both sides write and read in pieces.
    let payload = |number: usize| Frame::Binary(vec![number as u8; 256 * 1024].into());
    client.tell(move |machine| {
        let send = |number| Action::Send {
            link,
            frame: payload(number),
        };
        machine.actions.extend((0..FRAMES).map(send));
    });
    for number in 0..FRAMES {
        assert_eq!(client.frame(), (link, payload(number)));
    }
}
