//! WebSockets and plain requests at one port: a site behind a front over the binding's byte streams.

use super::{Group, named};
use crate::{
    Authority, Binding, Probe, Transcript,
    conformance::rig::Rig,
    monitor::{Monitored, Watch},
    peer::{answer, binary, config, text},
};
use relay_http::Front;
use relay_proto::{
    CloseCode, Endpoint, Input, LinkId, OpenError, Time,
    http::{Answer, Request, Response, Site},
    kv::{
        client::Credential,
        token::{Scope, TokenError, TokenRequest},
    },
};
use relay_transport::tls::StreamTls;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub(super) fn all<B: Binding>() -> Group {
    named![
        a_site_behind_a_front_is_a_websocket_server,
        a_site_behind_a_front_may_be_behind_tls_too,
        plain_requests_have_their_answers_at_the_same_port,
        a_site_turns_links_away_before_they_are_open,
        a_token_is_asked_for_in_clear_and_over_tls,
    ]
}

/// Has WebSockets at `/echo` and something to read at `/hello`.
impl Site for Monitored<Probe> {
    fn handle_request(
        &mut self,
        _now: Time,
        _link: LinkId,
        _peer: Option<IpAddr>,
        request: &Request,
    ) -> Answer {
        match request.path() {
            "/echo" => Answer::Upgrade,
            "/token/websocket" => Answer::Respond(match request.fields().get("x-api-key") {
                Some("the key") => Response::json(200, r#"{"token":"the token"}"#),
                _ => Response::new(403),
            }),
            "/hello" => Answer::Respond(Response::new(200).with_body("hello")),
            "/busy" => Answer::Respond(Response::new(503).with_field("Retry-After", "7")),
            _ => Answer::Respond(Response::new(404)),
        }
    }
}

/// A front that is watched from both sides.
struct Server<B: Binding> {
    rig: Rig<B, Front<Monitored<Probe>>>,
    site: Arc<Watch>,
}

impl<B: Binding> Server<B> {
    fn new(tls: StreamTls) -> (Self, SocketAddr) {
        let site = Arc::new(Watch::default());
        let probe = Monitored::new(Probe::echoing(), Arc::clone(&site));
        let front = Front::new(probe, config());
        let rig = Rig::spawn(front, config(), |_| None, |_, _, _| {});
        let (_, address) = rig.listen_stream(tls);
        (Self { rig, site }, address)
    }

    /// Waits for the end of what was begun, and writes down what the site has seen of it.
    fn finish(self, transcript: &mut Transcript) {
        self.rig.alone();
        self.rig.tell(|front, now| {
            front.command(now, |site, _| site.machine().finished = true);
        });
        self.rig.finished();
        let mut record = self.site.record();
        assert_eq!(record.contract().violations(), [""; 0]);
        transcript.saw("site", record.seen());
    }
}

fn converse<B: Binding>(client: &Rig<B>, endpoint: Endpoint) {
    let link = client.opened(endpoint);
    for frame in [text("hello"), binary(vec![1; 300_000]), text("")] {
        client.send(link, frame.clone());
        assert_eq!(client.frame(), (link, frame));
    }
    client.close(link, CloseCode::NORMAL, "done");
    client.closed(link);
}

fn at(scheme: &str, address: SocketAddr, path: &str) -> Endpoint {
    let url = format!("{scheme}://localhost:{}{path}", address.port());
    Endpoint::WebSocket(url.parse().unwrap())
}

fn a_site_behind_a_front_is_a_websocket_server<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Server::<B>::new(StreamTls::None);
    let client = Rig::<B>::new(Probe::default(), config());
    converse(&client, at("ws", address, "/echo"));
    transcript.saw("client", client.finish());
    server.finish(transcript);
}

fn a_site_behind_a_front_may_be_behind_tls_too<B: Binding>(transcript: &mut Transcript) {
    let authority = Authority::new("one");
    let identity = authority.identity("localhost").server();
    let (server, address) = Server::<B>::new(StreamTls::Implicit(identity));
    let mut config = config();
    config.extra_roots = authority.roots();
    let client = Rig::<B>::new(Probe::default(), config);
    converse(&client, at("wss", address, "/echo"));
    transcript.saw("client", client.finish());
    server.finish(transcript);
}

fn plain_requests_have_their_answers_at_the_same_port<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Server::<B>::new(StreamTls::None);
    for request in [
        "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n",
        "EHLO there\r\n",
        "\u{16}\u{3}\u{1}\0\0\r\n\r\n",
    ] {
        let first = request.lines().next().unwrap().escape_default();
        let answer = answer(address, request);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.lines().next().unwrap();
        transcript.note("peer", format!("> {first}"));
        transcript.note("peer", format!("< {status} {body:?}"));
    }
    let client = Rig::<B>::new(Probe::default(), config());
    converse(&client, at("ws", address, "/echo"));
    client.finish();
    server.finish(transcript);
}

fn a_site_turns_links_away_before_they_are_open<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = Server::<B>::new(StreamTls::None);
    let client = Rig::<B>::new(Probe::default(), config());
    for path in ["/hello", "/busy", "/nowhere"] {
        client.open(at("ws", address, path));
        match client.next() {
            Input::OpenFailed {
                why:
                    OpenError::Refused {
                        status,
                        retry_after,
                        ..
                    },
                ..
            } => {
                transcript.note(
                    "client",
                    format!("{path} < {status}, again in {retry_after:?}"),
                );
            }
            other => panic!("not refused: {other:?}"),
        }
    }
    client.finish();
    server.finish(transcript);
}

fn a_token_is_asked_for_in_clear_and_over_tls<B: Binding>(transcript: &mut Transcript) {
    let authority = Authority::new("one");
    let mut config = config();
    config.extra_roots = authority.roots();
    let identity = authority.identity("localhost").server();
    for (scheme, tls) in [
        ("http", StreamTls::None),
        ("https", StreamTls::Implicit(identity)),
    ] {
        let (server, address) = Server::<B>::new(tls);
        let service = format!("{scheme}://localhost:{}", address.port())
            .parse()
            .unwrap();
        for key in ["the key", "another"] {
            let patience = Duration::from_secs(60);
            let request = TokenRequest::new(&service, key, &Scope::default(), Time::ZERO, patience);
            let rig = Rig::<B, _>::spawn(request, config.clone(), |_| None, |_, _, _| {});
            let result = rig.next();
            rig.finished();
            let shown = match result {
                Ok(Credential::Token(token)) => token,
                Err(error @ TokenError::NoKey) => error.to_string(),
                other => panic!("{other:?}"),
            };
            transcript.note("client", format!("{scheme}, {key}: {shown}"));
        }
        server.finish(transcript);
    }
}
