//! Accepting links from peers that behave, and from those that do not.

use crate::common::{Probe, Rig, config, connect, listener, tcp, text};
use relay_blocking::StreamTls;
use relay_proto::{CloseCode, Closure, Frame};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};
use tungstenite::Message;

/// Sends `request` and returns all that comes back.
fn answer(address: SocketAddr, request: &str) -> String {
    let mut tcp = tcp(address);
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good an end as any.
    let _ = tcp.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn what_is_no_upgrade_request_gets_an_http_answer() {
    let (server, address) = Rig::server(Probe::new(), config());
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70_000));
    let cases = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 "),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\nbody", "HTTP/1.1 405 "),
        ("EHLO there\r\nMAIL FROM:<a@b>\r\n\r\n", "HTTP/1.1 400 "),
        ("\u{16}\u{3}\u{1}\0\0\r\n\r\n", "HTTP/1.1 400 "),
        (long.as_str(), "HTTP/1.1 431 "),
    ];
    for (request, expected) in cases {
        let answer = answer(address, request);
        assert!(answer.starts_with(expected), "{request:.20}: {answer}");
    }
    // The machine hears nothing of it, and the next client is served.
    assert!(server.has_no_news());
    connect(address);
    server.accepted();
}

#[test]
fn a_peer_that_never_finishes_its_request_is_cut_and_lets_others_in() {
    let mut config = config();
    config.handshake_timeout = Duration::from_millis(100);
    config.max_handshakes = 1;
    let (server, address) = Rig::server(Probe::new(), config);
    let mut slow = tcp(address);
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    // Waits in the backlog until the slow one is cut.
    connect(address);
    server.accepted();
    assert_eq!(slow.read(&mut [0]).unwrap(), 0);
}

#[test]
fn accepted_links_have_ids_of_their_own() {
    let (server, address) = Rig::server(Probe::new(), config());
    let mut first = connect(address);
    let one = server.accepted();
    let mut second = connect(address);
    let two = server.accepted();
    assert_ne!(one, two);
    second.send(Message::text("2")).unwrap();
    assert_eq!(server.frame(), (two, text("2")));
    first.send(Message::text("1")).unwrap();
    assert_eq!(server.frame(), (one, text("1")));
}

#[test]
fn byte_streams_are_accepted_without_a_handshake() {
    let mut machine = Probe::new();
    machine.echoes = true;
    let server = Rig::new(machine, config());
    let (listener, address) = listener();
    server
        .driver
        .listen_stream(listener, StreamTls::None)
        .unwrap();
    let mut tcp = tcp(address);
    let link = server.accepted();
    server.send(link, Frame::Binary("220 hi\r\n".into()));
    let mut greeting = [0; 8];
    tcp.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 hi\r\n");
    tcp.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(server.frame(), (link, Frame::Binary("QUIT\r\n".into())));
    drop(tcp);
    assert!(matches!(server.closed(link), Closure::Lost { .. }));
}

#[test]
fn the_end_of_the_machine_closes_links_and_listeners() {
    let (server, address) = Rig::server(Probe::new(), config());
    let mut peer = connect(address);
    server.accepted();
    server.tell(|machine| machine.finished = true);
    match peer.next() {
        Some(Ok(Message::Close(Some(close)))) => {
            assert_eq!(u16::from(close.code), CloseCode::GOING_AWAY.0);
        }
        other => panic!("{other:?}"),
    }
    assert!(peer.next().is_none());
    drop(peer);
    server.driver.finished();
    assert!(TcpStream::connect(address).is_err());
    assert!(server.driver.call(|_, _, _| ()).is_err());
}

#[test]
fn aborting_a_listener_leaves_its_links_alone() {
    let mut machine = Probe::new();
    machine.echoes = true;
    let server = Rig::new(machine, config());
    let (listener, address) = listener();
    let accepting = server.driver.listen_websocket(listener, None).unwrap();
    let mut peer = connect(address);
    server.accepted();
    accepting.abort();
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    peer.send(Message::text("still here")).unwrap();
    let echo = peer.next().unwrap().unwrap();
    assert_eq!(echo, Message::text("still here"));
}
