//! Byte streams with TLS: from the first byte, and from the middle.

use crate::common::{Probe, Rig, certificates, config, listener, tcp};
use relay_blocking::{Config, StreamTls};
use relay_proto::{
    Action, CloseCode, Closure, Endpoint, Frame, Input, LinkId, OpenError, StreamAddress,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

fn bytes(text: &'static str) -> Frame {
    Frame::Binary(text.into())
}

fn stream(address: SocketAddr, tls: bool) -> Endpoint {
    Endpoint::Stream(StreamAddress::new("localhost", address.port(), tls))
}

fn server(tls: StreamTls, config: Config) -> (Rig, SocketAddr) {
    let server = Rig::new(Probe::new(), config);
    let (listener, address) = listener();
    server.driver.listen_stream(listener, tls).unwrap();
    (server, address)
}

/// Says this in clear, and starts TLS, as a machine does: nothing is read from before that on.
fn start_tls(rig: &Rig, link: LinkId, said: Option<&'static str>) {
    rig.tell(move |machine| {
        machine.paused.insert(link);
        let send = |text| Action::Send {
            link,
            frame: bytes(text),
        };
        machine.actions.extend(said.map(send));
        machine.actions.push_back(Action::StartTls { link });
    });
}

fn secured(rig: &Rig, link: LinkId) {
    assert_eq!(rig.next(), Input::Secured { link });
    rig.tell(move |machine| machine.paused.remove(&link));
}

/// A link on which a server has said that TLS may start, and its client.
fn agreed(server: &Rig, address: SocketAddr) -> (LinkId, TcpStream) {
    let mut tcp = tcp(address);
    let link = server.accepted();
    tcp.write_all(b"STARTTLS\r\n").unwrap();
    assert_eq!(server.frame(), (link, bytes("STARTTLS\r\n")));
    start_tls(server, link, Some("220 go\r\n"));
    let mut reply = [0; 8];
    tcp.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"220 go\r\n");
    assert_eq!(server.next(), Input::Written { link });
    (link, tcp)
}

fn why_not(closure: Closure, expected: &str) {
    let why = closure.to_string();
    assert!(why.contains("TLS cannot be started: "), "{why}");
    assert!(why.contains(expected), "{why}");
}

#[test]
fn streams_are_tls_from_the_first_byte() {
    let (root, acceptor) = certificates("one");
    let (server, address) = server(StreamTls::Implicit(acceptor), config());
    let mut config = config();
    config.extra_roots = vec![root];
    let client = Rig::new(Probe::new(), config);
    let theirs = client.opened(stream(address, true));
    let ours = server.accepted();
    server.send(ours, bytes("220 hi\r\n"));
    assert_eq!(client.frame(), (theirs, bytes("220 hi\r\n")));
    // It cannot be had twice.
    start_tls(&server, ours, None);
    why_not(server.closed(ours), "no certificate was given for this");
}

#[test]
fn a_client_without_tls_never_becomes_a_link_where_tls_is_from_the_first_byte() {
    let (_, acceptor) = certificates("one");
    let (server, address) = server(StreamTls::Implicit(acceptor), config());
    let mut tcp = tcp(address);
    tcp.write_all(b"EHLO there\r\n").unwrap();
    // An alert, or nothing; in the end a goodbye or a reset.
    let _ = tcp.read_to_end(&mut Vec::new());
    assert!(server.has_no_news());
}

#[test]
fn tls_starts_in_the_middle_of_a_stream() {
    let (root, acceptor) = certificates("one");
    let (server, address) = server(StreamTls::OnRequest(acceptor), config());
    let mut config = config();
    config.extra_roots = vec![root];
    let client = Rig::new(Probe::new(), config);
    let theirs = client.opened(stream(address, false));
    let ours = server.accepted();
    client.send(theirs, bytes("STARTTLS\r\n"));
    assert_eq!(server.frame(), (ours, bytes("STARTTLS\r\n")));
    start_tls(&server, ours, Some("220 go\r\n"));
    assert_eq!(client.frame(), (theirs, bytes("220 go\r\n")));
    start_tls(&client, theirs, None);
    assert_eq!(server.next(), Input::Written { link: ours });
    secured(&server, ours);
    secured(&client, theirs);
    // Both directions, and more than sockets take at once.
    let much = Frame::Binary(vec![7; 1 << 20].into());
    client.send(theirs, much);
    let mut received = 0;
    while received < 1 << 20 {
        let (link, frame) = server.frame();
        assert_eq!(link, ours);
        received += frame.len();
    }
    server.send(ours, bytes("250 ok\r\n"));
    assert_eq!(client.frame(), (theirs, bytes("250 ok\r\n")));
    client.close(theirs, CloseCode::NORMAL, "");
    assert_eq!(client.closed(theirs), Closure::Local);
    assert!(matches!(server.closed(ours), Closure::Lost { .. }));
}

#[test]
fn what_comes_in_clear_after_the_agreement_never_reaches_the_machine() {
    let (_, acceptor) = certificates("one");
    let (server, address) = server(StreamTls::OnRequest(acceptor), config());
    let (link, mut tcp) = agreed(&server, address);
    tcp.write_all(b"MAIL FROM:<evil@example.net>\r\n").unwrap();
    // The very next fact: no frame, and no `Secured`.
    match server.next() {
        Input::Closed { link: ended, why } => {
            assert_eq!(ended, link);
            why_not(why, "what the peer says is not TLS");
        }
        other => panic!("{other:?}"),
    }
    let _ = tcp.read_to_end(&mut Vec::new());
    assert!(server.has_no_news());
}

#[test]
fn a_listener_without_a_certificate_starts_no_tls() {
    let (server, address) = server(StreamTls::None, config());
    let mut tcp = tcp(address);
    let link = server.accepted();
    start_tls(&server, link, None);
    why_not(server.closed(link), "no certificate was given for this");
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    assert!(server.has_no_news());
}

#[test]
fn a_certificate_nobody_trusts_ends_both_sides() {
    let (_, acceptor) = certificates("one");
    let (other_root, _) = certificates("two");
    let (server, address) = server(StreamTls::OnRequest(acceptor), config());
    let mut config = config();
    config.extra_roots = vec![other_root];
    let client = Rig::new(Probe::new(), config);
    let theirs = client.opened(stream(address, false));
    let ours = server.accepted();
    start_tls(&server, ours, None);
    start_tls(&client, theirs, None);
    why_not(client.closed(theirs), "issuer is not trusted");
    // The alert that says so has arrived.
    why_not(
        server.closed(ours),
        "the peer has refused the handshake (UnknownCA)",
    );
}

#[test]
fn a_handshake_that_stops_is_given_up() {
    let (_, acceptor) = certificates("one");
    let mut config = config();
    config.handshake_timeout = Duration::from_millis(100);
    let (server, address) = server(StreamTls::OnRequest(acceptor), config);
    let (link, mut tcp) = agreed(&server, address);
    tcp.write_all(b"\x16\x03\x01").unwrap();
    why_not(server.closed(link), "does not finish the handshake");
    assert!(server.has_no_news());
}

#[test]
fn a_machine_may_close_a_link_while_tls_starts() {
    let (_, acceptor) = certificates("one");
    let (server, address) = server(StreamTls::OnRequest(acceptor), config());
    let (link, mut tcp) = agreed(&server, address);
    server.close(link, CloseCode::NORMAL, "");
    assert_eq!(server.closed(link), Closure::Local);
    let _ = tcp.read_to_end(&mut Vec::new());
    assert!(server.has_no_news());
}

#[test]
fn a_host_no_certificate_can_name_is_told() {
    let (server, address) = server(StreamTls::None, config());
    let client = Rig::new(Probe::new(), config());
    // The resolver knows it, and TLS does not.
    let endpoint = Endpoint::Stream(StreamAddress::new("127.1", address.port(), false));
    let link = client.open(endpoint);
    match client.next() {
        Input::Opened { .. } => {
            server.accepted();
            start_tls(&client, link, None);
            why_not(client.closed(link), "no certificate can name the host");
        }
        Input::OpenFailed {
            why: OpenError::Unreachable { .. },
            ..
        } => {}
        other => panic!("{other:?}"),
    }
}
