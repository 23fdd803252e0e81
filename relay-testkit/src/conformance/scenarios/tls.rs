//! TLS, on both sides.

use super::{Group, named};
use crate::{
    Authority, Binding, Probe, Transcript,
    conformance::rig::Rig,
    peer::{binary, config},
};
use relay_proto::{Action, CloseCode, Endpoint, Frame, Input};
use relay_transport::Config;
use rustls::ServerConfig;
use std::{net::SocketAddr, sync::Arc};

pub(super) fn all<B: Binding>() -> Group {
    named![
        a_trusted_certificate,
        the_same_certificate_under_another_name,
        an_unknown_issuer,
        a_server_without_tls,
        much_both_ways_at_once,
    ]
}

fn server<B: Binding>(tls: Option<Arc<ServerConfig>>) -> (Rig<B>, SocketAddr) {
    let server = Rig::<B>::new(Probe::echoing(), config());
    let (_, address) = server.listen_websocket(tls);
    (server, address)
}

fn client<B: Binding>(trusted: &Authority) -> Rig<B> {
    let mut config: Config = config();
    config.extra_roots = trusted.roots();
    Rig::new(Probe::default(), config)
}

/// A certificate authority, and a server for `localhost` with a certificate of it.
fn certified(name: &str) -> (Authority, Arc<ServerConfig>) {
    let authority = Authority::new(name);
    let server = authority.identity("localhost").server();
    (authority, server)
}

fn secure(host: &str, address: SocketAddr) -> Endpoint {
    let url = format!("wss://{host}:{}/x", address.port());
    Endpoint::WebSocket(url.parse().unwrap())
}

fn a_trusted_certificate<B: Binding>(transcript: &mut Transcript) {
    let (root, tls) = certified("one");
    let (server, address) = server::<B>(Some(tls));
    let client = client::<B>(&root);
    let link = client.opened(secure("localhost", address));
    let accepted = server.accepted();
    let frame = binary(vec![1; 300_000]);
    client.send(link, frame.clone());
    assert_eq!(client.frame(), (link, frame));
    client.close(link, CloseCode::NORMAL, "done");
    client.closed(link);
    server.closed(accepted);
    transcript.saw("client", client.finish());
    transcript.saw("server", server.finish());
}

/// Opens a link that fails.
fn fails<B: Binding>(
    transcript: &mut Transcript,
    trusted: &Authority,
    tls: Option<Arc<ServerConfig>>,
    host: &str,
) {
    let (server, address) = server::<B>(tls);
    let client = client::<B>(trusted);
    client.open(secure(host, address));
    assert!(matches!(client.next(), Input::OpenFailed { .. }));
    transcript.saw("client", client.finish());
    transcript.saw("server", server.finish());
}

fn the_same_certificate_under_another_name<B: Binding>(transcript: &mut Transcript) {
    let (root, tls) = certified("one");
    fails::<B>(transcript, &root, Some(tls), "127.0.0.1");
}

fn an_unknown_issuer<B: Binding>(transcript: &mut Transcript) {
    let (_, tls) = certified("one");
    let (other_root, _) = certified("two");
    fails::<B>(transcript, &other_root, Some(tls), "localhost");
}

fn a_server_without_tls<B: Binding>(transcript: &mut Transcript) {
    let (root, _) = certified("one");
    fails::<B>(transcript, &root, None, "localhost");
}

fn much_both_ways_at_once<B: Binding>(transcript: &mut Transcript) {
    const FRAMES: usize = 64;
    let (root, tls) = certified("one");
    let (server, address) = server::<B>(Some(tls));
    let client = client::<B>(&root);
    let link = client.opened(secure("localhost", address));
    // Far more than the socket buffers hold, so that both sides write and read in pieces.
    let payload = |number: usize| Frame::Binary(vec![number as u8; 256 * 1024].into());
    client.tell(move |machine, _| {
        let send = |number| Action::Send {
            link,
            frame: payload(number),
        };
        machine.actions.extend((0..FRAMES).map(send));
    });
    for number in 0..FRAMES {
        assert_eq!(client.frame(), (link, payload(number)));
    }
    client.finish();
    server.finish();
    transcript.note("client", format!("{FRAMES} frames came back, in order"));
}
