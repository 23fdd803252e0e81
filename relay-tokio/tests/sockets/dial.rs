//! Opening links, and every way it can fail.

use crate::common::{Probe, Rig, certificates, config, listener, soon, text, websocket};
use rcgen::{CertificateParams, KeyPair};
use relay_proto::{CloseCode, Closure, Endpoint, Frame, Input, OpenError, StreamAddress};
use relay_tokio::{TlsAcceptor, tls_acceptor};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn failure(endpoint: Endpoint) -> OpenError {
    let mut client = Rig::new(Probe::new(), config());
    let link = client.open(endpoint).await;
    match client.next().await {
        Input::OpenFailed { link: failed, why } if failed == link => {
            assert!(client.has_no_news().await, "answered once");
            why
        }
        other => panic!("not failed: {other:?}"),
    }
}

/// Why opening fails at a server that reads the request and answers with `answer`.
async fn failure_after(answer: &'static str) -> OpenError {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        read_head(&mut tcp).await;
        tcp.write_all(answer.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    failure(websocket(address)).await
}

async fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_port_nobody_listens_on() {
    let (listener, address) = listener().await;
    drop(listener);
    for endpoint in [
        websocket(address),
        Endpoint::Stream(StreamAddress::new("127.0.0.1", address.port(), false)),
    ] {
        let error = failure(endpoint).await.to_string();
        assert!(error.contains("nothing listens on this port"), "{error}");
        assert!(error.contains(&address.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    // Longer than a label can be, so that no server has to be asked.
    let name = "x".repeat(64);
    let error = failure(Endpoint::Stream(StreamAddress::new(name, 25, false))).await;
    assert!(matches!(error, OpenError::Unreachable { .. }));
    assert!(error.to_string().contains("cannot be resolved"), "{error}");
}

#[tokio::test]
async fn http_statuses_are_refusals() {
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
        match failure_after(answer).await {
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

#[tokio::test]
async fn what_is_no_websocket_server_says_why() {
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
        let error = failure_after(answer).await;
        assert!(matches!(error, OpenError::NotWebSocket { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_close_abandons_the_opening() {
    let (listener, address) = listener().await;
    let mut client = Rig::new(Probe::new(), config());
    let link = client.open(websocket(address)).await;
    let (mut tcp, _) = soon(listener.accept()).await.unwrap();
    let request = read_head(&mut tcp).await;
    assert!(
        request.contains(&format!("Host: {address}\r\n")),
        "{request}"
    );
    client.close(link, CloseCode::NORMAL, "").await;
    let why = OpenError::Abandoned;
    assert_eq!(client.next().await, Input::OpenFailed { link, why });
    // The connection is gone, and nothing follows.
    assert_eq!(soon(tcp.read(&mut [0])).await.unwrap(), 0);
    assert!(client.has_no_news().await);
}

#[tokio::test]
async fn a_greeting_right_behind_the_upgrade_is_not_lost() {
    let (listener, address) = listener().await;
    let mut client = Rig::new(Probe::new(), config());
    let serving = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let head = read_head(&mut tcp).await;
        let (_, key) = head.split_once("Sec-WebSocket-Key: ").unwrap();
        let key = key.split("\r\n").next().unwrap();
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n\u{0}"
        );
        let mut answer = answer.into_bytes();
        answer.pop();
        answer.extend_from_slice(b"\x81\x05hello");
        tcp.write_all(&answer).await.unwrap();
        tcp
    });
    let link = client.opened(websocket(address)).await;
    assert_eq!(client.frame().await, (link, text("hello")));
    drop(serving);
}

#[tokio::test]
async fn a_byte_stream_carries_bytes_both_ways_and_ends() {
    let (listener, address) = listener().await;
    let mut client = Rig::new(Probe::new(), config());
    let to = StreamAddress::new("localhost", address.port(), false);
    let link = client.opened(Endpoint::Stream(to)).await;
    let (mut tcp, _) = listener.accept().await.unwrap();
    tcp.write_all(&[b'x'; 100_000]).await.unwrap();
    let mut total = 0;
    while total < 100_000 {
        let (_, frame) = client.frame().await;
        assert!(frame.len() <= 16 * 1024);
        total += frame.len();
    }
    client.tell(|machine| machine.limit = 10).await;
    client.send(link, Frame::Binary("EHLO ".into())).await;
    client.send(link, Frame::Binary("a\r\n".into())).await;
    let mut line = [0; 8];
    tcp.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"EHLO a\r\n");
    client.close(link, CloseCode::NORMAL, "").await;
    assert_eq!(soon(tcp.read(&mut [0])).await.unwrap(), 0);
    drop(tcp);
    assert_eq!(client.closed(link).await, Closure::Local);
}

#[tokio::test]
async fn the_limit_bounds_each_piece_of_a_byte_stream() {
    let (listener, address) = listener().await;
    let mut machine = Probe::new();
    machine.limit = 10;
    let mut client = Rig::new(machine, config());
    let to = StreamAddress::new("127.0.0.1", address.port(), false);
    let link = client.opened(Endpoint::Stream(to)).await;
    let (mut tcp, _) = listener.accept().await.unwrap();
    tcp.write_all(b"0123456789abc").await.unwrap();
    drop(tcp);
    let first = Frame::Binary("0123456789".into());
    assert_eq!(client.frame().await, (link, first));
    assert_eq!(client.frame().await, (link, Frame::Binary("abc".into())));
    assert!(matches!(client.closed(link).await, Closure::Lost { .. }));
}

async fn tls_server(acceptor: TlsAcceptor) -> (Rig, SocketAddr) {
    let mut machine = Probe::new();
    machine.echoes = true;
    let server = Rig::new(machine, config());
    let (listener, address) = listener().await;
    server.driver.listen_websocket(listener, Some(acceptor));
    (server, address)
}

fn secure(host: &str, address: SocketAddr) -> Endpoint {
    let url = format!("wss://{host}:{}/x", address.port());
    Endpoint::WebSocket(url.parse().unwrap())
}

#[tokio::test]
async fn tls_with_a_trusted_certificate() {
    let (root, acceptor) = certificates("one");
    let (mut server, address) = tls_server(acceptor).await;
    let mut config = config();
    config.extra_roots = vec![root];
    let mut client = Rig::new(Probe::new(), config);
    let link = client.opened(secure("localhost", address)).await;
    let accepted = server.accepted().await;
    let frame = Frame::Binary(vec![1; 300_000].into());
    client.send(link, frame.clone()).await;
    assert_eq!(client.frame().await, (link, frame));
    client.close(link, CloseCode::NORMAL, "done").await;
    assert_eq!(client.closed(link).await, Closure::Local);
    let why = Closure::Peer {
        code: Some(CloseCode::NORMAL),
        reason: "done".to_owned(),
    };
    assert_eq!(server.closed(accepted).await, why);

    // The same certificate under a name it is not for.
    let link = client.open(secure("127.0.0.1", address)).await;
    match client.next().await {
        Input::OpenFailed {
            link: failed,
            why: why @ OpenError::Tls { .. },
        } if failed == link => assert!(why.to_string().contains("127.0.0.1"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tls_with_an_unknown_issuer() {
    let (_, acceptor) = certificates("one");
    let (_server, address) = tls_server(acceptor).await;
    let (other_root, _) = certificates("two");
    let mut config = config();
    config.extra_roots = vec![other_root];
    let mut client = Rig::new(Probe::new(), config);
    client.open(secure("localhost", address)).await;
    match client.next().await {
        Input::OpenFailed {
            why: why @ OpenError::Tls { .. },
            ..
        } => assert!(why.to_string().contains("issuer is not trusted"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tls_to_a_server_without_it() {
    let (root, _) = certificates("one");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Rig::new(Probe::new(), config());
    server.driver.listen_websocket(listener, None);
    let mut config = config();
    config.extra_roots = vec![root];
    let mut client = Rig::new(Probe::new(), config);
    client.open(secure("localhost", address)).await;
    match client.next().await {
        Input::OpenFailed {
            why: why @ OpenError::Tls { .. },
            ..
        } => assert!(why.to_string().contains("does not speak TLS"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unusable_certificates_say_why() {
    let (key, other_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem();
    let cases = [
        ("", key.serialize_pem(), "no certificate in PEM form"),
        (
            certificate.as_str(),
            String::new(),
            "no private key in PEM form",
        ),
        (
            certificate.as_str(),
            other_key.serialize_pem(),
            "cannot be used",
        ),
    ];
    for (chain, key, expected) in cases {
        match tls_acceptor(chain.as_bytes(), key.as_bytes()) {
            Ok(_) => panic!("accepted; expected: {expected}"),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }
}
