//! The way to a server: proxies, client certificates, headers. `relay-blocking` tests the same way at more length; what
//! differs here is the driver.

use crate::{
    certificates::{Authority, Identity},
    common::{Probe, Rig, config, listener, text, websocket},
    proxy::{Manners, ProxyPeer},
};
use relay_proto::{
    CloseCode, Closure, Endpoint, Frame, Input, OpenError, StreamAddress,
    proxy::{ConnectError, Proxies, ProxyFault},
};
use relay_tokio::{
    ClientCertificate, Config, TlsAcceptor, certificates_from_pem, mutual_tls_acceptor,
    tls_acceptor,
};
use std::{net::SocketAddr, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A name that only the proxy knows.
const URL: &str = "wss://relay.example/";

/// A machine that echoes, and where.
async fn echo(acceptor: TlsAcceptor) -> (Rig, SocketAddr) {
    let mut machine = Probe::new();
    machine.echoes = true;
    let server = Rig::new(machine, config());
    let (listener, address) = listener().await;
    server.driver.listen_websocket(listener, Some(acceptor));
    (server, address)
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    tls_acceptor(identity.certificate.as_bytes(), identity.key.as_bytes()).unwrap()
}

fn through(authority: &Authority, proxy: &str) -> Config {
    let mut config = config();
    config.proxies = Proxies::all(proxy.parse().unwrap());
    config.extra_roots = certificates_from_pem(authority.root.as_bytes()).unwrap();
    config
}

async fn failure(config: Config, url: &str) -> OpenError {
    let mut client = Rig::new(Probe::new(), config);
    let link = client.open(Endpoint::WebSocket(url.parse().unwrap())).await;
    match client.next().await {
        Input::OpenFailed { link: failed, why } if failed == link => why,
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test]
async fn a_proxy_leads_to_the_server() {
    let authority = Authority::new("test");
    let (_server, address) = echo(acceptor(&authority.identity("relay.example"))).await;
    for tls in [None, Some(acceptor(&authority.identity("localhost")))] {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let proxy = ProxyPeer::start(Manners {
            hosts: vec![("relay.example:443".to_owned(), address)],
            authorization: Some("Basic YWxpY2U6cEBzcw=="),
            dribbles: true,
            tls,
            ..Manners::default()
        });
        let url = format!("{scheme}://alice:p%40ss@localhost:{}", proxy.address.port());
        let mut client = Rig::new(Probe::new(), through(&authority, &url));
        let link = client
            .opened(Endpoint::WebSocket(URL.parse().unwrap()))
            .await;
        let large = Frame::Binary(vec![7; 1 << 20].into());
        client.send(link, large.clone()).await;
        assert_eq!(client.frame().await, (link, large));
        client.close(link, CloseCode::NORMAL, "done").await;
        assert_eq!(client.closed(link).await, Closure::Local);
        assert_eq!(proxy.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_lead_there_says_why() {
    let authority = Authority::new("test");
    for (answer, expected) in [
        ("HTTP/1.1 407 x\r\n\r\n", ConnectError::CredentialsMissing),
        ("220 mx.example ESMTP\r\n", ConnectError::NotHttp),
        ("HTTP/1.1 200 OK\r\n", ConnectError::Ended),
        ("", ConnectError::Ended),
    ] {
        let proxy = ProxyPeer::start(Manners {
            answer: Some(answer),
            ..Manners::default()
        });
        let url = format!("http://{}", proxy.address);
        let expected = OpenError::Proxy {
            endpoint: URL.to_owned(),
            proxy: url.clone(),
            fault: ProxyFault::Connect(expected),
        };
        assert_eq!(failure(through(&authority, &url), URL).await, expected);
    }

    let stranger = acceptor(&Authority::new("other").identity("localhost"));
    let secure = ProxyPeer::start(Manners {
        tls: Some(stranger),
        ..Manners::default()
    });
    let (gone, nowhere) = listener().await;
    drop(gone);
    for (proxy, part) in [
        (
            format!("http://{nowhere}"),
            "cannot connect to the proxy: connection refused",
        ),
        (
            format!("http://{}", "x".repeat(64)),
            "the host name cannot be resolved",
        ),
        (
            format!("https://localhost:{}", secure.address.port()),
            "no secure connection to the proxy: the certificate's issuer is not trusted",
        ),
    ] {
        let error = failure(through(&authority, &proxy), URL).await;
        assert!(matches!(error, OpenError::Proxy { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn whoever_does_not_answer_in_time_is_named() {
    // The system takes connections; nobody reads them.
    let (_listener, silent) = listener().await;
    let authority = Authority::new("test");
    let port = silent.port();
    for (proxy, url, part) in [
        (
            Some(format!("http://{silent}")),
            URL.to_owned(),
            "the proxy does not answer in time",
        ),
        (
            Some(format!("https://localhost:{port}")),
            URL.to_owned(),
            "no secure connection to the proxy",
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
        let mut config = proxy.map_or_else(config, |proxy| through(&authority, &proxy));
        config.connect_timeout = Duration::from_millis(300);
        let error = failure(config, &url).await.to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn byte_streams_take_no_proxy() {
    let (gone, nowhere) = listener().await;
    drop(gone);
    let (listener, address) = listener().await;
    let authority = Authority::new("test");
    let config = through(&authority, &format!("http://{nowhere}"));
    let mut client = Rig::new(Probe::new(), config);
    let to = StreamAddress::new("127.0.0.1", address.port(), false);
    let link = client.opened(Endpoint::Stream(to)).await;
    let (mut tcp, _) = listener.accept().await.unwrap();
    tcp.write_all(b"hello").await.unwrap();
    assert_eq!(client.frame().await, (link, Frame::Binary("hello".into())));
}

#[tokio::test]
async fn headers_are_added_to_the_upgrade() {
    let (listener, address) = listener().await;
    let asked = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        tcp.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8(head).unwrap()
    });
    let mut config = config();
    config.headers.add("Authorization", "Bearer 4711").unwrap();
    let error = failure(config, &websocket(address).to_string()).await;
    assert!(
        matches!(error, OpenError::Refused { status: 401, .. }),
        "{error:?}"
    );
    let head = asked.await.unwrap();
    assert!(
        head.contains("\r\nauthorization: Bearer 4711\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_server_may_demand_a_certificate() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let Identity { certificate, key } = ours.identity("localhost");
    let acceptor =
        mutual_tls_acceptor(certificate.as_bytes(), key.as_bytes(), ours.root.as_bytes());
    let (_server, address) = echo(acceptor.unwrap()).await;
    let url = format!("wss://localhost:{}/", address.port());
    let showing = |identity: Option<Identity>| {
        let mut config = config();
        config.extra_roots = certificates_from_pem(ours.root.as_bytes()).unwrap();
        config.client_certificate = identity.map(|Identity { certificate, key }| {
            ClientCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
        });
        config
    };
    let mut client = Rig::new(Probe::new(), showing(Some(ours.identity("alice"))));
    let link = client
        .opened(Endpoint::WebSocket(url.parse().unwrap()))
        .await;
    client.send(link, text("hello")).await;
    assert_eq!(client.frame().await, (link, text("hello")));
    for (shown, part) in [
        (None, "the server demands a client certificate"),
        (
            Some(other.identity("alice")),
            "the server does not accept the client certificate",
        ),
    ] {
        match failure(showing(shown), &url).await {
            OpenError::Tls { detail, .. } => assert!(detail.contains(part), "{detail}"),
            other => panic!("{other:?}"),
        }
    }
}
