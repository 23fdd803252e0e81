//! The way to a server: proxies, client certificates, headers.

use crate::{
    certificates::{Authority, Identity},
    common::{Probe, Rig, accept_tcp, config, listener, text, websocket},
    proxy::{Manners, ProxyPeer},
};
use relay_blocking::{
    ClientCertificate, Config, TlsAcceptor, certificates_from_pem, mutual_tls_acceptor,
    tls_acceptor,
};
use relay_proto::{
    CloseCode, Closure, Endpoint, Frame, Input, OpenError, StreamAddress,
    proxy::{ConnectError, Proxies, ProxyFault},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
    thread,
    time::Duration,
};

/// A machine that echoes, and where.
fn echo(acceptor: Option<TlsAcceptor>) -> (Rig, SocketAddr) {
    let mut machine = Probe::new();
    machine.echoes = true;
    let server = Rig::new(machine, config());
    let (listener, address) = listener();
    server.driver.listen_websocket(listener, acceptor).unwrap();
    (server, address)
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    tls_acceptor(identity.certificate.as_bytes(), identity.key.as_bytes()).unwrap()
}

/// A name that only the proxy knows.
const PLAIN: &str = "ws://relay.example/";
const SECURE: &str = "wss://relay.example/";

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
    config.extra_roots = certificates_from_pem(authority.root.as_bytes()).unwrap();
    config
}

fn failure(config: Config, to: Endpoint) -> OpenError {
    let client = Rig::new(Probe::new(), config);
    let link = client.open(to);
    match client.next() {
        Input::OpenFailed { link: failed, why } if failed == link => {
            assert!(client.has_no_news(), "answered once");
            why
        }
        other => panic!("not failed: {other:?}"),
    }
}

/// More than the sockets hold goes through and comes back, and the end is clean.
fn carries(config: Config, url: &str) {
    let client = Rig::new(Probe::new(), config);
    let link = client.opened(endpoint(url));
    client.send(link, text("hello"));
    assert_eq!(client.frame(), (link, text("hello")));
    let large = Frame::Binary(vec![7; 1 << 20].into());
    client.send(link, large.clone());
    assert_eq!(client.frame(), (link, large));
    client.close(link, CloseCode::NORMAL, "done");
    assert_eq!(client.closed(link), Closure::Local);
}

#[test]
fn a_proxy_finds_the_server_by_name() {
    let (_server, address) = echo(None);
    let proxy = ProxyPeer::start(manners(address));
    carries(through(&format!("http://{}", proxy.address)), PLAIN);
    assert_eq!(
        proxy.asked(),
        ["CONNECT relay.example:80 HTTP/1.1\r\nHost: relay.example:80\r\n\r\n"]
    );
}

#[test]
fn a_proxy_that_knows_us_may_dribble() {
    let authority = Authority::new("test");
    let (_server, address) = echo(Some(acceptor(&authority.identity("relay.example"))));
    let proxy = ProxyPeer::start(Manners {
        authorization: Some("Basic YWxpY2U6cEBzcw=="),
        dribbles: true,
        ..manners(address)
    });
    let config = through(&format!("http://alice:p%40ss@{}", proxy.address));
    carries(trusting(&authority, config), SECURE);
}

#[test]
fn a_proxy_may_want_tls_itself() {
    let authority = Authority::new("test");
    let (_server, address) = echo(Some(acceptor(&authority.identity("relay.example"))));
    let (_plain_server, plain_address) = echo(None);
    for (address, url) in [(address, SECURE), (plain_address, PLAIN)] {
        let proxy = ProxyPeer::start(Manners {
            tls: Some(acceptor(&authority.identity("localhost"))),
            ..manners(address)
        });
        let config = through(&format!("https://localhost:{}", proxy.address.port()));
        carries(trusting(&authority, config), url);
    }
}

#[test]
fn a_proxy_that_makes_no_tunnel_says_why() {
    let challenge =
        "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n";
    let endless: &str = Box::leak("HTTP/1.1 100 x\r\n\r\n".repeat(2000).into_boxed_str());
    let refused = |status, reason: &str| ConnectError::Refused {
        status,
        reason: reason.to_owned(),
    };
    let offered = "NTLM".to_owned();
    for (credentials, answer, expected) in [
        (
            "",
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            refused(403, "Forbidden"),
        ),
        (
            "",
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad",
            refused(502, "Bad Gateway"),
        ),
        ("", challenge, ConnectError::CredentialsMissing),
        ("a:secret@", challenge, ConnectError::CredentialsRefused),
        (
            "",
            "HTTP/1.1 407 Hm\r\nProxy-Authenticate: NTLM\r\n\r\n",
            ConnectError::Scheme { offered },
        ),
        ("", "220 mx.example ESMTP\r\n", ConnectError::NotHttp),
        ("", endless, ConnectError::TooLong),
        ("", "HTTP/1.1 200 OK\r\n", ConnectError::Ended),
        ("", "", ConnectError::Ended),
    ] {
        let peer = ProxyPeer::start(Manners {
            answer: Some(answer),
            ..Manners::default()
        });
        let proxy = format!("http://{credentials}{}", peer.address);
        let error = failure(through(&proxy), endpoint(SECURE));
        let expected = OpenError::Proxy {
            endpoint: SECURE.to_owned(),
            proxy: format!("http://{}", peer.address),
            fault: ProxyFault::Connect(expected),
        };
        assert_eq!(error, expected);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(&peer.address.to_string()), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn a_proxy_that_cannot_be_reached_is_named() {
    let (listener, address) = listener();
    drop(listener);
    let authority = Authority::new("test");
    let peer = |tls| {
        ProxyPeer::start(Manners {
            tls,
            ..Manners::default()
        })
    };
    let plain = peer(None).address.port();
    let secure = peer(Some(acceptor(&authority.identity("localhost"))))
        .address
        .port();
    let stranger = Authority::new("other").identity("localhost");
    let unknown = peer(Some(acceptor(&stranger))).address.port();
    let demanding = authority.identity("localhost");
    let demanding = mutual_tls_acceptor(
        demanding.certificate.as_bytes(),
        demanding.key.as_bytes(),
        authority.root.as_bytes(),
    );
    let demanding = peer(Some(demanding.unwrap())).address.port();
    let long = "x".repeat(64);
    for (proxy, part) in [
        (
            format!("http://{address}"),
            "cannot connect to the proxy: connection refused",
        ),
        (
            format!("http://{long}"),
            "cannot connect to the proxy: the host name cannot be resolved",
        ),
        (
            format!("https://localhost:{plain}"),
            "no secure connection to the proxy",
        ),
        (
            format!("http://localhost:{secure}"),
            "the proxy does not answer in HTTP",
        ),
        (
            format!("https://localhost:{unknown}"),
            "no secure connection to the proxy: the certificate's issuer is not trusted",
        ),
        (
            format!("https://localhost:{demanding}"),
            "it demands a client certificate, and proxies are shown none",
        ),
    ] {
        let mut config = trusting(&authority, through(&proxy));
        let own = authority.identity("alice");
        let own = ClientCertificate::from_pem(own.certificate.as_bytes(), own.key.as_bytes());
        config.client_certificate = Some(own.unwrap());
        let error = failure(config, endpoint(SECURE));
        assert!(matches!(error, OpenError::Proxy { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(part), "{proxy}: {error}");
        assert!(
            error.contains(SECURE) && error.contains("localhost") | error.contains(&proxy),
            "{error}"
        );
    }
}

#[test]
fn what_is_wrong_behind_the_proxy_is_the_servers() {
    let authority = Authority::new("test");
    let (_server, address) = echo(Some(acceptor(&authority.identity("other.example"))));
    let proxy = ProxyPeer::start(manners(address));
    let config = through(&format!("http://{}", proxy.address));
    match failure(trusting(&authority, config), endpoint(SECURE)) {
        OpenError::Tls { endpoint, detail } => {
            assert_eq!(endpoint, SECURE);
            assert!(detail.contains("name"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    // What comes right behind the proxy's answer comes from the server.
    let eager = ProxyPeer::start(Manners {
        answer: Some("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n"),
        ..Manners::default()
    });
    let config = through(&format!("http://{}", eager.address));
    let error = failure(config, endpoint(PLAIN));
    assert!(
        matches!(error, OpenError::Refused { status: 404, .. }),
        "{error:?}"
    );
}

#[test]
fn a_silent_proxy_can_be_given_up() {
    let (listener, address) = listener();
    let client = Rig::new(Probe::new(), through(&format!("http://{address}")));
    let link = client.open(endpoint(PLAIN));
    let mut tcp = accept_tcp(&listener);
    let mut request = [0; 28];
    tcp.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"CONNECT relay.example:80 HTT");
    client.close(link, CloseCode::NORMAL, "");
    let why = OpenError::Abandoned;
    assert_eq!(client.next(), Input::OpenFailed { link, why });
    tcp.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn whoever_does_not_answer_in_time_is_named() {
    // The system takes connections; nobody reads them.
    let (_listener, silent) = listener();
    let (_server, address) = echo(None);
    let proxy = ProxyPeer::start(manners(silent));
    let port = silent.port();
    for (proxy, url, part) in [
        (
            Some(format!("http://{silent}")),
            SECURE.to_owned(),
            "the proxy does not answer in time",
        ),
        (
            Some(format!("https://localhost:{port}")),
            SECURE.to_owned(),
            "no secure connection to the proxy",
        ),
        (
            Some(format!("http://{}", proxy.address)),
            SECURE.to_owned(),
            "no secure connection to wss://relay.example/",
        ),
        (
            Some(format!("http://{}", proxy.address)),
            PLAIN.to_owned(),
            "does not answer the upgrade request",
        ),
        (
            None,
            format!("wss://localhost:{port}/"),
            "no secure connection to wss://localhost",
        ),
        (
            None,
            format!("ws://{silent}/"),
            "does not answer the upgrade request",
        ),
    ] {
        let mut config = proxy.map_or_else(config, |proxy| through(&proxy));
        config.connect_timeout = Duration::from_millis(300);
        let error = failure(config, endpoint(&url)).to_string();
        assert!(error.contains(part), "{error}");
    }
    // The clock of a step stops with it.
    let mut config = config();
    config.connect_timeout = Duration::from_millis(300);
    let client = Rig::new(Probe::new(), config);
    let link = client.opened(websocket(address));
    client.open(websocket(silent));
    assert!(matches!(client.next(), Input::OpenFailed { .. }));
    client.send(link, text("hello"));
    assert_eq!(client.frame(), (link, text("hello")));
}

#[test]
fn byte_streams_and_exempt_servers_take_no_proxy() {
    let (gone, nowhere) = listener();
    drop(gone);
    let (listener, address) = listener();
    let client = Rig::new(Probe::new(), through(&format!("http://{nowhere}")));
    let to = StreamAddress::new("127.0.0.1", address.port(), false);
    client.opened(Endpoint::Stream(to));
    drop(accept_tcp(&listener));

    let (_server, address) = echo(None);
    let mut config = config();
    config.proxies = Proxies::from_variables(|name| match name {
        "http_proxy" => Some(nowhere.to_string()),
        _ => None,
    })
    .unwrap();
    Rig::new(Probe::new(), config).opened(websocket(address));
}

#[test]
fn headers_are_added_to_the_upgrade() {
    let (listener, address) = listener();
    let asked = thread::spawn(move || {
        let mut tcp = accept_tcp(&listener);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tcp.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        tcp.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        String::from_utf8(head).unwrap()
    });
    let mut config = config();
    config.headers.add("Authorization", "Bearer 4711").unwrap();
    config.headers.add_line("X-Tag: one").unwrap();
    config.headers.add_line("X-Tag: two").unwrap();
    let error = failure(config, websocket(address));
    assert!(
        matches!(error, OpenError::Refused { status: 401, .. }),
        "{error:?}"
    );
    let head = asked.join().unwrap();
    for line in [
        "authorization: Bearer 4711",
        "x-tag: one\r\nx-tag: two",
        "Sec-WebSocket-Version: 13",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
}

#[test]
fn a_server_may_demand_a_certificate() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let identity = ours.identity("localhost");
    let acceptor = mutual_tls_acceptor(
        identity.certificate.as_bytes(),
        identity.key.as_bytes(),
        ours.root.as_bytes(),
    );
    let (_server, address) = echo(Some(acceptor.unwrap()));
    let url = format!("wss://localhost:{}/", address.port());
    let showing = |identity: Option<Identity>| {
        let mut config = trusting(&ours, config());
        config.client_certificate = identity.map(|identity| {
            let Identity { certificate, key } = identity;
            ClientCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
        });
        config
    };
    carries(showing(Some(ours.identity("alice"))), &url);
    for (shown, part) in [
        (None, "the server demands a client certificate"),
        (
            Some(other.identity("alice")),
            "the server does not accept the client certificate",
        ),
    ] {
        match failure(showing(shown), endpoint(&url)) {
            OpenError::Tls { detail, .. } => assert!(detail.contains(part), "{detail}"),
            other => panic!("{other:?}"),
        }
    }
}
