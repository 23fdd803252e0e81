//! Mail through client, relay and an SMTP server, in one process on async-std.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use async_std::net::TcpListener;
use relay_async_std::{
    Config, Driver, StreamTls, TlsAcceptor, certificates_from_pem,
    mail::{Client, Presented, Relay},
    spawn, tls_acceptor,
};
use relay_proto::{
    StreamAddress, Time,
    mail::{
        client::{ClientConfig, Submission},
        relay::{Policy, RelayConfig},
        wire::ApiKey,
    },
    smtp::{Address, Envelope, Server, ServerConfig, ServerEvent, SessionConfig, reply},
    storage::Storage,
};
use relay_storage::StorageFile;
use std::{net::SocketAddr, sync::mpsc, time::Duration};

type Answer = Box<dyn FnMut(&mut Server, Time, ServerEvent) + Send>;

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A mail server that takes everything and passes contents on.
async fn mail_server(deliver: mpsc::Sender<Vec<u8>>) -> (Driver<Server, Answer>, SocketAddr) {
    let mut message = Vec::new();
    let answer: Answer = Box::new(move |server, now, event| {
        let (link, answer) = match event {
            ServerEvent::Content { content, .. } => return message.extend_from_slice(&content),
            ServerEvent::Mail { link, .. } => (link, reply(250, "2.1.0", "ok")),
            ServerEvent::Recipient { link, .. } => (link, reply(250, "2.1.5", "ok")),
            ServerEvent::EndOfContent { link } => {
                deliver.send(std::mem::take(&mut message)).unwrap();
                (link, reply(250, "2.0.0", "taken"))
            }
            _ => return,
        };
        server.respond(now, link, answer);
    });
    let session = SessionConfig::new("mx.test".parse().unwrap());
    let server = Server::new(ServerConfig::new(session));
    let driver = spawn(server, answer, Config::default());
    let (listener, address) = listener().await;
    driver.listen_stream(listener, StreamTls::None);
    (driver, address)
}

async fn relay_to(upstream: SocketAddr, tls: Option<TlsAcceptor>) -> (Relay, SocketAddr) {
    let upstream = StreamAddress::new(upstream.ip().to_string(), upstream.port(), false);
    let config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
    let keys = |_: Presented| Ok(Policy::default());
    let relay = Relay::start(config, keys, Config::default());
    let (listener, address) = listener().await;
    relay.listen(listener, tls);
    (relay, address)
}

fn hello() -> Submission {
    let address = |text: &str| text.parse::<Address>().unwrap();
    let envelope = Envelope::new(address("alice@example.org"), [address("bob@example.net")]);
    Submission::message(envelope.unwrap(), CONTENT.into())
}

const CONTENT: &str = "Subject: hello\r\n\r\nHello, Bob.\r\n";

/// Sends a message to the relay at `url`, and ends everything in an orderly way.
async fn goes_through(url: &str, tls: Option<TlsAcceptor>, config: Config) {
    let (deliver, inbox) = mpsc::channel();
    let (_server, mx) = mail_server(deliver).await;
    let (relay, address) = relay_to(mx, tls).await;
    let url = url.replace("PORT", &address.port().to_string());
    let client_config = ClientConfig::new(url.parse().unwrap(), ApiKey::new("good"));
    let client = Client::start(client_config, config);
    let receipt = client.send(hello()).await.unwrap();
    assert_eq!(receipt.reply.to_string(), "250 2.0.0 taken");
    assert_eq!(inbox.recv().unwrap(), CONTENT.as_bytes());
    assert_eq!(client.shutdown(Duration::from_secs(10)).await, []);
    relay.drain(Duration::from_secs(10)).await;
}

#[test]
fn a_message_goes_the_whole_way() {
    let going = goes_through("ws://127.0.0.1:PORT/", None, Config::default());
    async_std::task::block_on(going);
}

#[test]
fn a_message_goes_the_whole_way_over_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.pem();
    let key = certified.signing_key.serialize_pem();
    let tls = tls_acceptor(certificate.as_bytes(), key.as_bytes()).unwrap();
    let mut trusting = Config::default();
    trusting.extra_roots = certificates_from_pem(certificate.as_bytes()).unwrap();
    let going = goes_through("wss://localhost:PORT/", Some(tls), trusting);
    async_std::task::block_on(going);
}

#[test]
fn what_was_accepted_is_sent_by_the_next_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox.redb");
    async_std::task::block_on(async {
        // Nobody answers there.
        let (_dead, dead) = listener().await;
        let config = |relay| {
            let url = format!("ws://{relay}/");
            let mut config = ClientConfig::new(url.parse().unwrap(), ApiKey::new("good"));
            config.reconnect.attempts = None;
            config
        };
        let file = StorageFile::open(&path).unwrap();
        let started = Client::start_with_outbox(config(dead), Config::default(), file).await;
        let (client, _) = started.unwrap();
        client.enqueue(hello()).await.unwrap();
        assert!(client.stop().await[0].kept);

        let (deliver, inbox) = mpsc::channel();
        let (_server, mx) = mail_server(deliver).await;
        let (_relay, address) = relay_to(mx, None).await;
        let file = StorageFile::open(&path).expect("the first client has closed it");
        let started = Client::start_with_outbox(config(address), Config::default(), file).await;
        let (client, _) = started.unwrap();
        assert_eq!(client.shutdown(Duration::from_secs(30)).await, []);
        assert_eq!(inbox.try_iter().collect::<Vec<_>>(), [CONTENT.as_bytes()]);
    });
    assert_eq!(StorageFile::open(&path).unwrap().load().unwrap(), []);
}
