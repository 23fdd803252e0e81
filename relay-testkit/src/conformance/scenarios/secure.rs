//! Byte streams with TLS: from the first byte, and from the middle.

use super::{Group, named};
use crate::{
    Authority, Binding, Probe, Transcript,
    conformance::rig::Rig,
    peer::{binary, config, tcp},
};
use relay_proto::{Action, CloseCode, Endpoint, Input, LinkId, OpenError, StreamAddress};
use relay_transport::{Config, tls::StreamTls};
use rustls::ServerConfig;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

pub(super) fn all<B: Binding>() -> Group {
    named![
        streams_are_tls_from_the_first_byte,
        a_client_without_tls_never_becomes_a_link_where_tls_is_from_the_first_byte,
        tls_starts_in_the_middle_of_a_stream,
        what_comes_in_clear_after_the_agreement_never_reaches_the_machine,
        a_listener_without_a_certificate_starts_no_tls,
        a_certificate_nobody_trusts_ends_both_sides,
        a_handshake_that_stops_is_given_up,
        a_machine_may_close_a_link_while_tls_starts,
        a_host_no_certificate_can_name_is_told,
    ]
}

/// A certificate authority, and a server for `localhost` with a certificate of it.
fn certified(name: &str) -> (Authority, Arc<ServerConfig>) {
    let authority = Authority::new(name);
    let server = authority.identity("localhost").server();
    (authority, server)
}

fn server<B: Binding>(tls: StreamTls, config: Config) -> (Rig<B>, SocketAddr) {
    let server = Rig::<B>::new(Probe::default(), config);
    let (_, address) = server.listen_stream(tls);
    (server, address)
}

fn client<B: Binding>(trusted: &Authority) -> Rig<B> {
    let mut config = config();
    config.extra_roots = trusted.roots();
    Rig::new(Probe::default(), config)
}

fn stream(address: SocketAddr, tls: bool) -> Endpoint {
    Endpoint::Stream(StreamAddress::new("localhost", address.port(), tls))
}

/// Says this in clear, and starts TLS, as a machine does: nothing is read from before that on.
fn start_tls<B: Binding>(rig: &Rig<B>, link: LinkId, said: Option<&'static str>) {
    rig.tell(move |machine, _| {
        machine.paused.insert(link);
        let send = |text: &str| {
            let frame = binary(text);
            Action::Send { link, frame }
        };
        machine.actions.extend(said.map(send));
        machine.actions.push_back(Action::StartTls { link });
    });
}

fn secured<B: Binding>(rig: &Rig<B>, link: LinkId) {
    assert_eq!(rig.next(), Input::Secured { link });
    rig.tell(move |machine, _| machine.paused.remove(&link));
}

/// A link on which a server has said that TLS may start, and its client.
fn agreed<B: Binding>(server: &Rig<B>, address: SocketAddr) -> (LinkId, TcpStream) {
    let mut tcp = tcp(address);
    let link = server.accepted();
    tcp.write_all(b"STARTTLS\r\n").unwrap();
    assert_eq!(server.frame(), (link, binary("STARTTLS\r\n")));
    start_tls(server, link, Some("220 go\r\n"));
    let mut reply = [0; 8];
    tcp.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"220 go\r\n");
    assert_eq!(server.next(), Input::Written { link });
    (link, tcp)
}

fn streams_are_tls_from_the_first_byte<B: Binding>(transcript: &mut Transcript) {
    let (authority, tls) = certified("one");
    let (server, address) = server::<B>(StreamTls::Implicit(tls), config());
    let client = client::<B>(&authority);
    let theirs = client.opened(stream(address, true));
    let ours = server.accepted();
    server.send(ours, binary("220 hi\r\n"));
    assert_eq!(client.frame(), (theirs, binary("220 hi\r\n")));
    // It cannot be had twice.
    start_tls(&server, ours, None);
    server.closed(ours);
    client.closed(theirs);
    transcript.saw("client", client.finish());
    transcript.saw("server", server.finish());
}

fn a_client_without_tls_never_becomes_a_link_where_tls_is_from_the_first_byte<B: Binding>(
    transcript: &mut Transcript,
) {
    let (_, tls) = certified("one");
    let (server, address) = server::<B>(StreamTls::Implicit(tls), config());
    let mut tcp = tcp(address);
    tcp.write_all(b"EHLO there\r\n").unwrap();
    // An alert, or nothing; in the end a goodbye or a reset.
    let _ = tcp.read_to_end(&mut Vec::new());
    assert!(server.has_no_news());
    transcript.saw("server", server.finish());
}

fn tls_starts_in_the_middle_of_a_stream<B: Binding>(transcript: &mut Transcript) {
    let (authority, tls) = certified("one");
    let (server, address) = server::<B>(StreamTls::OnRequest(tls), config());
    let client = client::<B>(&authority);
    let theirs = client.opened(stream(address, false));
    let ours = server.accepted();
    client.send(theirs, binary("STARTTLS\r\n"));
    assert_eq!(server.frame(), (ours, binary("STARTTLS\r\n")));
    start_tls(&server, ours, Some("220 go\r\n"));
    assert_eq!(client.frame(), (theirs, binary("220 go\r\n")));
    start_tls(&client, theirs, None);
    assert_eq!(server.next(), Input::Written { link: ours });
    secured(&server, ours);
    secured(&client, theirs);
    // Both directions, and more than sockets take at once.
    client.send(theirs, binary(vec![7; 1 << 20]));
    let mut received = 0;
    while received < 1 << 20 {
        let (link, frame) = server.frame();
        assert_eq!(link, ours);
        received += frame.len();
    }
    server.send(ours, binary("250 ok\r\n"));
    assert_eq!(client.frame(), (theirs, binary("250 ok\r\n")));
    client.close(theirs, CloseCode::NORMAL, "");
    client.closed(theirs);
    server.closed(ours);
    transcript.saw("client", client.finish());
    transcript.saw("server", server.finish());
}

fn what_comes_in_clear_after_the_agreement_never_reaches_the_machine<B: Binding>(
    transcript: &mut Transcript,
) {
    let (_, tls) = certified("one");
    let (server, address) = server::<B>(StreamTls::OnRequest(tls), config());
    let (_, mut tcp) = agreed(&server, address);
    tcp.write_all(b"MAIL FROM:<evil@example.net>\r\n").unwrap();
    // The very next fact: no frame, and no `Secured`.
    assert!(matches!(server.next(), Input::Closed { .. }));
    let _ = tcp.read_to_end(&mut Vec::new());
    assert!(server.has_no_news());
    transcript.saw("server", server.finish());
}

fn a_listener_without_a_certificate_starts_no_tls<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = server::<B>(StreamTls::None, config());
    let mut tcp = tcp(address);
    let link = server.accepted();
    start_tls(&server, link, None);
    server.closed(link);
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    assert!(server.has_no_news());
    transcript.saw("server", server.finish());
}

fn a_certificate_nobody_trusts_ends_both_sides<B: Binding>(transcript: &mut Transcript) {
    let (_, tls) = certified("one");
    let (server, address) = server::<B>(StreamTls::OnRequest(tls), config());
    let client = client::<B>(&Authority::new("two"));
    let theirs = client.opened(stream(address, false));
    let ours = server.accepted();
    start_tls(&server, ours, None);
    start_tls(&client, theirs, None);
    client.closed(theirs);
    // The alert that says so has arrived.
    server.closed(ours);
    transcript.saw("client", client.finish());
    transcript.saw("server", server.finish());
}

fn a_handshake_that_stops_is_given_up<B: Binding>(transcript: &mut Transcript) {
    let (_, tls) = certified("one");
    let mut config = config();
    config.handshake_timeout = Duration::from_millis(100);
    let (server, address) = server::<B>(StreamTls::OnRequest(tls), config);
    let (link, mut tcp) = agreed(&server, address);
    // It may have been given up before.
    let _ = tcp.write_all(b"\x16\x03\x01");
    server.closed(link);
    assert!(server.has_no_news());
    transcript.saw("server", server.finish());
}

fn a_machine_may_close_a_link_while_tls_starts<B: Binding>(transcript: &mut Transcript) {
    let (_, tls) = certified("one");
    let (server, address) = server::<B>(StreamTls::OnRequest(tls), config());
    let (link, mut tcp) = agreed(&server, address);
    server.close(link, CloseCode::NORMAL, "");
    server.closed(link);
    let _ = tcp.read_to_end(&mut Vec::new());
    assert!(server.has_no_news());
    transcript.saw("server", server.finish());
}

fn a_host_no_certificate_can_name_is_told<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = server::<B>(StreamTls::None, config());
    let client = Rig::<B>::new(Probe::default(), config());
    // The resolver knows it as a rule, and TLS does not.
    let endpoint = Endpoint::Stream(StreamAddress::new("127.1", address.port(), false));
    let link = client.open(endpoint);
    match client.next() {
        Input::Opened { .. } => {
            server.accepted();
            start_tls(&client, link, None);
            let why = client.closed(link).to_string();
            let expected = "TLS cannot be started: no certificate can name the host";
            assert!(why.contains(expected), "{why}");
        }
        Input::OpenFailed {
            why: OpenError::Unreachable { .. },
            ..
        } => {}
        other => panic!("{other:?}"),
    }
    client.finish();
    server.finish();
    transcript.note("client", "told, where the resolver knows the host");
}
