//! Accepting links from peers that behave, and from those that do not.

use crate::common::{Probe, Rig, config, connect, listener, soon, text};
use futures_util::{SinkExt, StreamExt};
use relay_proto::{CloseCode, Closure, Frame};
use relay_tokio::StreamTls;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

/// Sends `request` and returns all that comes back.
async fn answer(address: SocketAddr, request: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good an end as any.
    let _ = soon(tcp.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn what_is_no_upgrade_request_gets_an_http_answer() {
    let (mut server, address) = Rig::server(Probe::new(), config()).await;
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70_000));
    let cases = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 "),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\nbody", "HTTP/1.1 405 "),
        ("EHLO there\r\nMAIL FROM:<a@b>\r\n\r\n", "HTTP/1.1 400 "),
        ("\u{16}\u{3}\u{1}\0\0\r\n\r\n", "HTTP/1.1 400 "),
        (long.as_str(), "HTTP/1.1 431 "),
    ];
    for (request, expected) in cases {
        let answer = answer(address, request).await;
        assert!(answer.starts_with(expected), "{request:.20}: {answer}");
    }
    // The machine hears nothing of it, and the next client is served.
    assert!(server.has_no_news().await);
    connect(address).await;
    server.accepted().await;
}

#[tokio::test]
async fn a_peer_that_never_finishes_its_request_is_cut_and_lets_others_in() {
    let mut config = config();
    config.handshake_timeout = Duration::from_millis(100);
    config.max_handshakes = 1;
    let (mut server, address) = Rig::server(Probe::new(), config).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    // Waits in the backlog until the slow one is cut.
    connect(address).await;
    server.accepted().await;
    assert_eq!(soon(slow.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn accepted_links_have_ids_of_their_own() {
    let (mut server, address) = Rig::server(Probe::new(), config()).await;
    let mut first = connect(address).await;
    let one = server.accepted().await;
    let mut second = connect(address).await;
    let two = server.accepted().await;
    assert_ne!(one, two);
    second.send(Message::text("2")).await.unwrap();
    assert_eq!(server.frame().await, (two, text("2")));
    first.send(Message::text("1")).await.unwrap();
    assert_eq!(server.frame().await, (one, text("1")));
}

#[tokio::test]
async fn byte_streams_are_accepted_without_a_handshake() {
    let mut machine = Probe::new();
    machine.echoes = true;
    let mut server = Rig::new(machine, config());
    let (listener, address) = listener().await;
    server.driver.listen_stream(listener, StreamTls::None);
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let link = server.accepted().await;
    server.send(link, Frame::Binary("220 hi\r\n".into())).await;
    let mut greeting = [0; 8];
    soon(tcp.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"220 hi\r\n");
    tcp.write_all(b"QUIT\r\n").await.unwrap();
    assert_eq!(
        server.frame().await,
        (link, Frame::Binary("QUIT\r\n".into()))
    );
    drop(tcp);
    assert!(matches!(server.closed(link).await, Closure::Lost { .. }));
}

#[tokio::test]
async fn the_end_of_the_machine_closes_links_and_listeners() {
    let (mut server, address) = Rig::server(Probe::new(), config()).await;
    let mut peer = connect(address).await;
    server.accepted().await;
    server.tell(|machine| machine.finished = true).await;
    match soon(peer.next()).await {
        Some(Ok(Message::Close(Some(close)))) => {
            assert_eq!(u16::from(close.code), CloseCode::GOING_AWAY.0);
        }
        other => panic!("{other:?}"),
    }
    assert!(soon(peer.next()).await.is_none());
    drop(peer);
    soon(server.driver.finished()).await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(server.driver.call(|_, _, _| ()).await.is_err());
}

#[tokio::test]
async fn aborting_a_listener_leaves_its_links_alone() {
    let mut machine = Probe::new();
    machine.echoes = true;
    let mut server = Rig::new(machine, config());
    let (listener, address) = listener().await;
    let accepting = server.driver.listen_websocket(listener, None);
    let mut peer = connect(address).await;
    server.accepted().await;
    accepting.abort();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    peer.send(Message::text("still here")).await.unwrap();
    let echo = soon(peer.next()).await.unwrap().unwrap();
    assert_eq!(echo, Message::text("still here"));
}
