//! The way to a server: proxies, client certificates, headers, patience.

use super::{Group, named};
use crate::{
    Authority, Binding, Probe, Transcript,
    conformance::rig::Rig,
    peer::{
        accept_tcp, answer_upgrade, binary, config, deserted, listener, shown_head, stream, text,
        websocket,
    },
    proxy::{Manners, ProxyPeer},
};
use relay_proto::{CloseCode, Endpoint, Input, OpenError, proxy::Proxies};
use relay_transport::Config;
use rustls::ServerConfig;
use std::{io::Read, net::SocketAddr, sync::Arc, thread, time::Duration};

pub(super) fn all<B: Binding>() -> Group {
    named![
        a_proxy_finds_the_server_by_name,
        a_proxy_that_knows_us_may_dribble,
        a_proxy_may_want_tls_itself,
        a_proxy_that_makes_no_tunnel_says_why,
        a_proxy_that_cannot_be_reached_is_named,
        what_is_wrong_behind_the_proxy_is_the_servers,
        a_silent_proxy_can_be_given_up,
        whoever_does_not_answer_in_time_is_named,
        the_clock_of_a_step_stops_with_it,
        byte_streams_and_exempt_servers_take_no_proxy,
        headers_are_added_to_the_upgrade,
        a_server_may_demand_a_certificate,
    ]
}

/// A name that only the proxy knows.
const PLAIN: &str = "ws://relay.example/";
const SECURE: &str = "wss://relay.example/";

/// Short where a scenario waits for it, and something has to happen in that time, on a busy machine, too.
const AMPLE: Duration = Duration::from_secs(2);

fn echo<B: Binding>(tls: Option<Arc<ServerConfig>>) -> (Rig<B>, SocketAddr) {
    let server = Rig::<B>::new(Probe::echoing(), config());
    let (_, address) = server.listen_websocket(tls);
    (server, address)
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::WebSocket(url.parse().unwrap())
}

/// A proxy to whom `relay.example` is this server.
fn manners(server: SocketAddr) -> Manners {
    Manners {
        hosts: [80, 443]
            .map(|port| (format!("relay.example:{port}"), server))
            .into(),
        ..Manners::default()
    }
}

fn through(proxy: &str) -> Config {
    let mut config = config();
    config.proxies = Proxies::all(proxy.parse().unwrap());
    config
}

fn trusting(authority: &Authority, mut config: Config) -> Config {
    config.extra_roots = authority.roots();
    config
}

/// Opens a link that fails.
fn fails<B: Binding>(transcript: &mut Transcript, config: Config, to: Endpoint) {
    let client = Rig::<B>::new(Probe::default(), config);
    client.open(to);
    assert!(matches!(client.next(), Input::OpenFailed { .. }));
    assert!(client.has_no_news(), "answered once");
    transcript.saw("client", client.finish());
}

/// More than the sockets hold goes through and comes back, and the end is clean.
fn carries<B: Binding>(transcript: &mut Transcript, config: Config, url: &str) {
    let client = Rig::<B>::new(Probe::default(), config);
    let link = client.opened(endpoint(url));
    for frame in [text("hello"), binary(vec![7; 1 << 20])] {
        client.send(link, frame.clone());
        assert_eq!(client.frame(), (link, frame));
    }
    client.close(link, CloseCode::NORMAL, "done");
    client.closed(link);
    transcript.saw("client", client.finish());
}

fn asked(transcript: &mut Transcript, proxy: &ProxyPeer) {
    for head in proxy.asked() {
        transcript.add("proxy", head.trim_end().lines().map(str::to_owned));
    }
}

fn a_proxy_finds_the_server_by_name<B: Binding>(transcript: &mut Transcript) {
    let (server, address) = echo::<B>(None);
    let proxy = ProxyPeer::start(manners(address));
    let config = through(&format!("http://{}", proxy.address()));
    carries::<B>(transcript, config, PLAIN);
    asked(transcript, &proxy);
    server.finish();
}

fn a_proxy_that_knows_us_may_dribble<B: Binding>(transcript: &mut Transcript) {
    let authority = Authority::new("test");
    let (server, address) = echo::<B>(Some(authority.identity("relay.example").server()));
    let proxy = ProxyPeer::start(Manners {
        authorization: Some("Basic YWxpY2U6cEBzcw=="),
        dribbles: true,
        ..manners(address)
    });
    let config = through(&format!("http://alice:p%40ss@{}", proxy.address()));
    carries::<B>(transcript, trusting(&authority, config), SECURE);
    asked(transcript, &proxy);
    server.finish();
}

fn a_proxy_may_want_tls_itself<B: Binding>(transcript: &mut Transcript) {
    let authority = Authority::new("test");
    let secure = authority.identity("relay.example").server();
    for (tls, url) in [(Some(secure), SECURE), (None, PLAIN)] {
        let (server, address) = echo::<B>(tls);
        let proxy = ProxyPeer::start(Manners {
            tls: Some(authority.identity("localhost").server()),
            ..manners(address)
        });
        let config = through(&format!("https://localhost:{}", proxy.address().port()));
        carries::<B>(transcript, trusting(&authority, config), url);
        asked(transcript, &proxy);
        server.finish();
    }
}

fn a_proxy_that_makes_no_tunnel_says_why<B: Binding>(transcript: &mut Transcript) {
    let challenge =
        "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n";
    let endless: &str = Box::leak("HTTP/1.1 100 x\r\n\r\n".repeat(2000).into_boxed_str());
    for (credentials, answer) in [
        ("", "HTTP/1.1 403 Forbidden\r\n\r\n"),
        (
            "",
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad",
        ),
        ("", challenge),
        ("a:secret@", challenge),
        ("", "HTTP/1.1 407 Hm\r\nProxy-Authenticate: NTLM\r\n\r\n"),
        ("", "220 mx.example ESMTP\r\n"),
        ("", endless),
        ("", "HTTP/1.1 200 OK\r\n"),
        ("", ""),
    ] {
        let proxy = ProxyPeer::start(Manners {
            answer: Some(answer),
            ..Manners::default()
        });
        let config = through(&format!("http://{credentials}{}", proxy.address()));
        fails::<B>(transcript, config, endpoint(SECURE));
    }
}

fn a_proxy_that_cannot_be_reached_is_named<B: Binding>(transcript: &mut Transcript) {
    let authority = Authority::new("test");
    let localhost = authority.identity("localhost");
    let port_of = |tls| {
        let manners = Manners {
            tls,
            ..Manners::default()
        };
        ProxyPeer::start(manners).address().port()
    };
    let plain = port_of(None);
    let secure = port_of(Some(localhost.server()));
    let stranger = port_of(Some(Authority::new("other").identity("localhost").server()));
    let demanding = port_of(Some(localhost.demanding_server(&authority)));
    for proxy in [
        format!("http://{}", deserted()),
        format!("https://localhost:{plain}"),
        format!("http://localhost:{secure}"),
        format!("https://localhost:{stranger}"),
        format!("https://localhost:{demanding}"),
    ] {
        let mut config = trusting(&authority, through(&proxy));
        config.client_certificate = Some(authority.identity("alice").client());
        fails::<B>(transcript, config, endpoint(SECURE));
    }
    // Longer than a label can be, so that no server has to be asked.
    let nameless = through(&format!("http://{}", "x".repeat(64)));
    let client = Rig::<B>::new(Probe::default(), nameless);
    client.open(endpoint(SECURE));
    match client.next() {
        Input::OpenFailed {
            why: why @ OpenError::Proxy { .. },
            ..
        } => {
            // What follows is the system's wording.
            let expected = "cannot connect to the proxy: the host name cannot be resolved (";
            assert!(why.to_string().contains(expected), "{why}");
        }
        other => panic!("not failed: {other:?}"),
    }
    client.finish();
    transcript.note("client", "the host name cannot be resolved");
}

fn what_is_wrong_behind_the_proxy_is_the_servers<B: Binding>(transcript: &mut Transcript) {
    let authority = Authority::new("test");
    let (server, address) = echo::<B>(Some(authority.identity("other.example").server()));
    let proxy = ProxyPeer::start(manners(address));
    let config = through(&format!("http://{}", proxy.address()));
    fails::<B>(transcript, trusting(&authority, config), endpoint(SECURE));
    server.finish();
    // What comes right behind the proxy's answer comes from the server.
    let eager = ProxyPeer::start(Manners {
        answer: Some("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n"),
        ..Manners::default()
    });
    let config = through(&format!("http://{}", eager.address()));
    fails::<B>(transcript, config, endpoint(PLAIN));
}

fn a_silent_proxy_can_be_given_up<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let client = Rig::<B>::new(Probe::default(), through(&format!("http://{address}")));
    let link = client.open(endpoint(PLAIN));
    let mut tcp = accept_tcp(&listener);
    let mut request = [0; 28];
    tcp.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"CONNECT relay.example:80 HTT");
    client.close(link, CloseCode::NORMAL, "");
    let why = OpenError::Abandoned;
    assert_eq!(client.next(), Input::OpenFailed { link, why });
    // The connection is gone.
    tcp.read_to_end(&mut Vec::new()).unwrap();
    transcript.saw("client", client.finish());
}

fn whoever_does_not_answer_in_time_is_named<B: Binding>(transcript: &mut Transcript) {
    // The system takes connections; nobody reads them.
    let (_listener, silent) = listener();
    let port = silent.port();
    let proxy = ProxyPeer::start(manners(silent));
    let leads = Some(format!("http://{}", proxy.address()));
    let waiting: Vec<_> = [
        (Some(format!("http://{silent}")), SECURE.to_owned()),
        (Some(format!("https://localhost:{port}")), SECURE.to_owned()),
        (leads.clone(), SECURE.to_owned()),
        (leads, PLAIN.to_owned()),
        (None, format!("wss://localhost:{port}/")),
        (None, format!("ws://{silent}/")),
    ]
    .into_iter()
    .map(|(proxy, url)| {
        let mut config = proxy.map_or_else(config, |proxy| through(&proxy));
        config.connect_timeout = AMPLE;
        let client = Rig::<B>::new(Probe::default(), config);
        client.open(endpoint(&url));
        client
    })
    .collect();
    for client in waiting {
        assert!(matches!(client.next(), Input::OpenFailed { .. }));
        transcript.saw("client", client.finish());
    }
}

fn the_clock_of_a_step_stops_with_it<B: Binding>(transcript: &mut Transcript) {
    let (_listener, silent) = listener();
    let (server, address) = echo::<B>(None);
    let mut config = config();
    config.connect_timeout = AMPLE;
    let client = Rig::<B>::new(Probe::default(), config);
    let link = client.opened(websocket(address));
    // Takes as long as the first could have taken, and longer.
    client.open(websocket(silent));
    assert!(matches!(client.next(), Input::OpenFailed { .. }));
    client.send(link, text("hello"));
    assert_eq!(client.frame(), (link, text("hello")));
    transcript.saw("client", client.finish());
    server.finish();
}

fn byte_streams_and_exempt_servers_take_no_proxy<B: Binding>(transcript: &mut Transcript) {
    let nowhere = deserted();
    let (listener, address) = listener();
    let client = Rig::<B>::new(Probe::default(), through(&format!("http://{nowhere}")));
    client.opened(stream(address));
    let tcp = accept_tcp(&listener);
    transcript.saw("client", client.finish());
    drop(tcp);

    let (server, address) = echo::<B>(None);
    let mut config = config();
    config.proxies = Proxies::from_variables(|name| match name {
        "http_proxy" => Some(nowhere.to_string()),
        _ => None,
    })
    .unwrap();
    let client = Rig::<B>::new(Probe::default(), config);
    client.opened(websocket(address));
    transcript.saw("client", client.finish());
    server.finish();
}

fn headers_are_added_to_the_upgrade<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let serving =
        thread::spawn(move || answer_upgrade(&listener, "HTTP/1.1 401 Unauthorized\r\n\r\n"));
    let mut config = config();
    config.headers.add("Authorization", "Bearer 4711").unwrap();
    config.headers.add_line("X-Tag: one").unwrap();
    config.headers.add_line("X-Tag: two").unwrap();
    fails::<B>(transcript, config, websocket(address));
    transcript.add("server", shown_head(&serving.join().unwrap()));
}

fn a_server_may_demand_a_certificate<B: Binding>(transcript: &mut Transcript) {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let demanding = ours.identity("localhost").demanding_server(&ours);
    let (server, address) = echo::<B>(Some(demanding));
    let url = format!("wss://localhost:{}/", address.port());
    let mut showing = trusting(&ours, config());
    showing.client_certificate = Some(ours.identity("alice").client());
    carries::<B>(transcript, showing.clone(), &url);
    for shown in [None, Some(other.identity("alice").client())] {
        showing.client_certificate = shown;
        fails::<B>(transcript, showing.clone(), endpoint(&url));
    }
    server.finish();
}
