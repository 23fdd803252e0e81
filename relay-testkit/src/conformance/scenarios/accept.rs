//! Accepting links from peers that behave, and from those that do not.

use super::{Group, named};
use crate::{
    Binding, Probe, Transcript,
    conformance::rig::Rig,
    peer::{answer, config, connect, read_head, tcp, text},
};
use relay_transport::Origins;
use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};
use tungstenite::Message;

pub(super) fn all<B: Binding>() -> Group {
    named![
        what_is_no_upgrade_request_gets_an_http_answer,
        a_web_page_that_is_not_listed_is_refused,
        a_peer_that_never_finishes_its_request_is_cut_and_lets_others_in,
        accepted_links_have_ids_of_their_own,
        the_end_of_the_machine_closes_links_and_listeners,
        aborting_a_listener_leaves_its_links_alone,
    ]
}

fn what_is_no_upgrade_request_gets_an_http_answer<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Rig::<B>::server(Probe::default(), config());
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70_000));
    let requests = [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\n\r\nbody",
        "EHLO there\r\nMAIL FROM:<a@b>\r\n\r\n",
        "\u{16}\u{3}\u{1}\0\0\r\n\r\n",
        long.as_str(),
    ];
    for request in requests {
        let first = request.lines().next().unwrap().escape_default();
        transcript.note("peer", format!("> {first}"));
        let answer = answer(address, request);
        let status = answer.lines().next().unwrap_or_default();
        transcript.note("peer", format!("< {status}"));
    }
    assert!(server.has_no_news(), "the machine hears nothing of it");
    let next = connect(address);
    server.accepted();
    drop(next);
    transcript.note("peer", "the next client is served");
    server.finish();
}

fn a_web_page_that_is_not_listed_is_refused<B: Binding>(transcript: &mut Transcript) {
    let mut config = config();
    config.origins = Origins::only(["https://mail.example".parse().unwrap()]);
    let (server, address) = Rig::<B>::server(Probe::default(), config);
    for origin in ["https://evil.example", "null", "https://mail.example"] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut page = tcp(address);
        page.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut page);
        let status = head.lines().next().unwrap();
        transcript.note("peer", format!("{origin} < {status}"));
        if status.contains("403") {
            assert_eq!(page.read(&mut [0]).unwrap(), 0, "and nothing follows");
            assert!(server.has_no_news(), "the machine hears nothing of it");
        }
    }
    server.accepted();
    server.finish();
}

fn a_peer_that_never_finishes_its_request_is_cut_and_lets_others_in<B: Binding>(
    transcript: &mut Transcript,
) {
    let mut config = config();
    config.handshake_timeout = Duration::from_millis(100);
    config.max_handshakes = 1;
    let (server, address) = Rig::<B>::server(Probe::default(), config);
    let mut slow = tcp(address);
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    // Waits in the backlog until the slow one is cut.
    let prompt = connect(address);
    server.accepted();
    assert_eq!(slow.read(&mut [0]).unwrap(), 0);
    transcript.saw("server", server.finish());
    drop(prompt);
}

fn accepted_links_have_ids_of_their_own<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Rig::<B>::server(Probe::default(), config());
    let mut first = connect(address);
    let one = server.accepted();
    let mut second = connect(address);
    let two = server.accepted();
    assert_ne!(one, two);
    second.send(Message::text("2")).unwrap();
    assert_eq!(server.frame(), (two, text("2")));
    first.send(Message::text("1")).unwrap();
    assert_eq!(server.frame(), (one, text("1")));
    transcript.saw("server", server.finish());
}

fn the_end_of_the_machine_closes_links_and_listeners<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Rig::<B>::server(Probe::default(), config());
    let mut peer = connect(address);
    server.accepted();
    server.tell(|machine, _| machine.finished = true);
    let close = peer.close_frame();
    transcript.note("peer", format!("< close {}", u16::from(close.code)));
    assert!(peer.ends_cleanly());
    while !server.is_stopped() {
        thread::yield_now();
    }
    transcript.saw("server", server.finished());
    assert!(TcpStream::connect(address).is_err());
}

fn aborting_a_listener_leaves_its_links_alone<B: Binding>(transcript: &mut Transcript) {
    let server = Rig::<B>::new(Probe::echoing(), config());
    let (hush, address) = server.listen_websocket(None);
    let mut peer = connect(address);
    server.accepted();
    hush();
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    peer.send(Message::text("still here")).unwrap();
    assert_eq!(peer.message(), Message::text("still here"));
    transcript.saw("server", server.finish());
}
