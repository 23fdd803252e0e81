//! Byte streams with TLS: from the first byte, and from the middle.

use crate::common::{Probe, Rig, certificates, config, listener, soon};
use relay_proto::{
    Action, CloseCode, Closure, Endpoint, Frame, Input, LinkId, OpenError, StreamAddress,
};
use relay_tokio::{Config, StreamTls};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn bytes(text: &'static str) -> Frame {
    Frame::Binary(text.into())
}

fn stream(address: SocketAddr, tls: bool) -> Endpoint {
    Endpoint::Stream(StreamAddress::new("localhost", address.port(), tls))
}

async fn server(tls: StreamTls, config: Config) -> (Rig, SocketAddr) {
    let server = Rig::new(Probe::new(), config);
    let (listener, address) = listener().await;
    server.driver.listen_stream(listener, tls);
    (server, address)
}

/// Says this in clear, and starts TLS, as a machine does: nothing is read from before that on.
async fn start_tls(rig: &Rig, link: LinkId, said: Option<&'static str>) {
    rig.tell(move |machine| {
        machine.paused.insert(link);
        let send = |text| Action::Send {
            link,
            frame: bytes(text),
        };
        machine.actions.extend(said.map(send));
        machine.actions.push_back(Action::StartTls { link });
    })
    .await;
}

async fn secured(rig: &mut Rig, link: LinkId) {
    assert_eq!(rig.next().await, Input::Secured { link });
    rig.tell(move |machine| machine.paused.remove(&link)).await;
}

/// A link on which a server has said that TLS may start, and its client.
async fn agreed(server: &mut Rig, address: SocketAddr) -> (LinkId, TcpStream) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let link = server.accepted().await;
    tcp.write_all(b"STARTTLS\r\n").await.unwrap();
    assert_eq!(server.frame().await, (link, bytes("STARTTLS\r\n")));
    start_tls(server, link, Some("220 go\r\n")).await;
    let mut reply = [0; 8];
    soon(tcp.read_exact(&mut reply)).await.unwrap();
    assert_eq!(&reply, b"220 go\r\n");
    assert_eq!(server.next().await, Input::Written { link });
    (link, tcp)
}

fn why_not(closure: Closure, expected: &str) {
    let why = closure.to_string();
    assert!(why.contains("TLS cannot be started: "), "{why}");
    assert!(why.contains(expected), "{why}");
}

#[tokio::test]
async fn streams_are_tls_from_the_first_byte() {
    let (root, acceptor) = certificates("one");
    let (mut server, address) = server(StreamTls::Implicit(acceptor), config()).await;
    let mut config = config();
    config.extra_roots = vec![root];
    let mut client = Rig::new(Probe::new(), config);
    let theirs = client.opened(stream(address, true)).await;
    let ours = server.accepted().await;
    server.send(ours, bytes("220 hi\r\n")).await;
    assert_eq!(client.frame().await, (theirs, bytes("220 hi\r\n")));
    // It cannot be had twice.
    start_tls(&server, ours, None).await;
    why_not(
        server.closed(ours).await,
        "no certificate was given for this",
    );
}

#[tokio::test]
async fn a_client_without_tls_never_becomes_a_link_where_tls_is_from_the_first_byte() {
    let (_, acceptor) = certificates("one");
    let (mut server, address) = server(StreamTls::Implicit(acceptor), config()).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(b"EHLO there\r\n").await.unwrap();
    // An alert, or nothing; in the end a goodbye or a reset.
    let _ = soon(tcp.read_to_end(&mut Vec::new())).await;
    assert!(server.has_no_news().await);
}

#[tokio::test]
async fn tls_starts_in_the_middle_of_a_stream() {
    let (root, acceptor) = certificates("one");
    let (mut server, address) = server(StreamTls::OnRequest(acceptor), config()).await;
    let mut config = config();
    config.extra_roots = vec![root];
    let mut client = Rig::new(Probe::new(), config);
    let theirs = client.opened(stream(address, false)).await;
    let ours = server.accepted().await;
    client.send(theirs, bytes("STARTTLS\r\n")).await;
    assert_eq!(server.frame().await, (ours, bytes("STARTTLS\r\n")));
    start_tls(&server, ours, Some("220 go\r\n")).await;
    assert_eq!(client.frame().await, (theirs, bytes("220 go\r\n")));
    start_tls(&client, theirs, None).await;
    assert_eq!(server.next().await, Input::Written { link: ours });
    secured(&mut server, ours).await;
    secured(&mut client, theirs).await;
    // Both directions, and more than sockets take at once.
    let much = Frame::Binary(vec![7; 1 << 20].into());
    client.send(theirs, much).await;
    let mut received = 0;
    while received < 1 << 20 {
        let (link, frame) = server.frame().await;
        assert_eq!(link, ours);
        received += frame.len();
    }
    server.send(ours, bytes("250 ok\r\n")).await;
    assert_eq!(client.frame().await, (theirs, bytes("250 ok\r\n")));
    client.close(theirs, CloseCode::NORMAL, "").await;
    assert_eq!(client.closed(theirs).await, Closure::Local);
    assert!(matches!(server.closed(ours).await, Closure::Lost { .. }));
}

#[tokio::test]
async fn what_comes_in_clear_after_the_agreement_never_reaches_the_machine() {
    let (_, acceptor) = certificates("one");
    let (mut server, address) = server(StreamTls::OnRequest(acceptor), config()).await;
    let (link, mut tcp) = agreed(&mut server, address).await;
    tcp.write_all(b"MAIL FROM:<evil@example.net>\r\n")
        .await
        .unwrap();
    // The very next fact: no frame, and no `Secured`.
    match server.next().await {
        Input::Closed { link: ended, why } => {
            assert_eq!(ended, link);
            why_not(why, "what the peer says is not TLS");
        }
        other => panic!("{other:?}"),
    }
    let _ = soon(tcp.read_to_end(&mut Vec::new())).await;
    assert!(server.has_no_news().await);
}

#[tokio::test]
async fn a_listener_without_a_certificate_starts_no_tls() {
    let (mut server, address) = server(StreamTls::None, config()).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let link = server.accepted().await;
    start_tls(&server, link, None).await;
    why_not(
        server.closed(link).await,
        "no certificate was given for this",
    );
    assert_eq!(soon(tcp.read(&mut [0])).await.unwrap(), 0);
    assert!(server.has_no_news().await);
}

#[tokio::test]
async fn a_certificate_nobody_trusts_ends_both_sides() {
    let (_, acceptor) = certificates("one");
    let (other_root, _) = certificates("two");
    let (mut server, address) = server(StreamTls::OnRequest(acceptor), config()).await;
    let mut config = config();
    config.extra_roots = vec![other_root];
    let mut client = Rig::new(Probe::new(), config);
    let theirs = client.opened(stream(address, false)).await;
    let ours = server.accepted().await;
    start_tls(&server, ours, None).await;
    start_tls(&client, theirs, None).await;
    why_not(client.closed(theirs).await, "issuer is not trusted");
    // The alert that says so has arrived.
    why_not(
        server.closed(ours).await,
        "the peer has refused the handshake (UnknownCA)",
    );
}

#[tokio::test]
async fn a_handshake_that_stops_is_given_up() {
    let (_, acceptor) = certificates("one");
    let mut config = config();
    config.handshake_timeout = Duration::from_millis(100);
    let (mut server, address) = server(StreamTls::OnRequest(acceptor), config).await;
    let (link, mut tcp) = agreed(&mut server, address).await;
    tcp.write_all(b"\x16\x03\x01").await.unwrap();
    why_not(server.closed(link).await, "does not finish the handshake");
    assert!(server.has_no_news().await);
}

#[tokio::test]
async fn a_machine_may_close_a_link_while_tls_starts() {
    let (_, acceptor) = certificates("one");
    let (mut server, address) = server(StreamTls::OnRequest(acceptor), config()).await;
    let (link, mut tcp) = agreed(&mut server, address).await;
    server.close(link, CloseCode::NORMAL, "").await;
    assert_eq!(server.closed(link).await, Closure::Local);
    let _ = soon(tcp.read_to_end(&mut Vec::new())).await;
    assert!(server.has_no_news().await);
}

#[tokio::test]
async fn a_host_no_certificate_can_name_is_told() {
    let (mut server, address) = server(StreamTls::None, config()).await;
    let mut client = Rig::new(Probe::new(), config());
    // The resolver knows it, and TLS does not.
    let endpoint = Endpoint::Stream(StreamAddress::new("127.1", address.port(), false));
    let link = client.open(endpoint).await;
    match client.next().await {
        Input::Opened { .. } => {
            server.accepted().await;
            start_tls(&client, link, None).await;
            why_not(
                client.closed(link).await,
                "no certificate can name the host",
            );
        }
        Input::OpenFailed {
            why: OpenError::Unreachable { .. },
            ..
        } => {}
        other => panic!("{other:?}"),
    }
}
