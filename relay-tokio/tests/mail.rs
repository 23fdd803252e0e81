//! Mail over real sockets: client, relay and an SMTP server in one process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use futures_util::StreamExt;
use relay_proto::{
    BackoffPolicy, LinkId, StreamAddress, Time,
    mail::{
        client::{ClientConfig, ConnectionState, Error, Event, Receipt, Refusal, Submission},
        relay::{self, Policy, RelayConfig},
        wire::{ApiKey, Denied},
    },
    smtp::{Address, Envelope, Server, ServerConfig, ServerEvent, SessionConfig, reply},
};
use relay_tokio::{
    Config, Driver, TlsAcceptor, certificates_from_pem,
    mail::{Client, KeyDirectory, Presented, Relay, SendError},
    spawn, tls_acceptor,
};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

#[path = "mail/ledger.rs"]
mod ledger;
#[path = "mail/lettre.rs"]
mod lettre;
#[path = "mail/outbox.rs"]
mod outbox;

type Inbox = mpsc::UnboundedReceiver<Vec<u8>>;
type Answer = Box<dyn FnMut(&mut Server, Time, ServerEvent) + Send>;

/// A mail server that refuses mallory and delivers to a channel.
async fn mail_server() -> (Driver<Server, Answer>, SocketAddr, Inbox) {
    let session = SessionConfig::new("mx.test".parse().unwrap());
    let (deliver, inbox) = mpsc::unbounded_channel();
    let mut messages: BTreeMap<LinkId, Vec<u8>> = BTreeMap::new();
    let answer: Answer = Box::new(move |server, now, event| match event {
        ServerEvent::Mail { link, .. } => {
            server.respond(now, link, reply(250, "2.1.0", "ok"));
        }
        ServerEvent::Recipient { link, forward_path } => {
            let refused = forward_path.to_string().contains("mallory");
            let answer = match refused {
                true => reply(550, "5.1.1", "No such user"),
                false => reply(250, "2.1.5", "ok"),
            };
            server.respond(now, link, answer);
        }
        ServerEvent::Content { link, content } => {
            messages
                .entry(link)
                .or_default()
                .extend_from_slice(&content);
        }
        ServerEvent::EndOfContent { link } => {
            deliver
                .send(messages.remove(&link).unwrap_or_default())
                .unwrap();
            server.respond(now, link, reply(250, "2.0.0", "taken"));
        }
        ServerEvent::Reset { link } | ServerEvent::Closed { link, .. } => {
            messages.remove(&link);
        }
        _ => {}
    });
    let driver = spawn(
        Server::new(ServerConfig::new(session)),
        answer,
        Config::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    driver.listen_stream(listener);
    (driver, address, inbox)
}

async fn start_relay(upstream: SocketAddr, tls: Option<TlsAcceptor>) -> (Relay, SocketAddr) {
    let upstream = StreamAddress::new(upstream.ip().to_string(), upstream.port(), false);
    let config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
    let keys = |presented: Presented| match presented.key == ApiKey::new("good") {
        true => Ok(Policy::default()),
        false => Err(Denied::for_good("unknown key")),
    };
    let relay = Relay::start(config, keys, Config::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    relay.listen(listener, tls);
    (relay, address)
}

fn config(url: &str) -> ClientConfig {
    let mut config = ClientConfig::new(url.parse().unwrap(), ApiKey::new("good"));
    let soon = Duration::from_millis(20);
    config.reconnect = BackoffPolicy::new(soon, soon, Some(3));
    config.retry = BackoffPolicy::new(soon, soon, Some(3));
    config
}

fn client_of(relay: SocketAddr) -> Client {
    Client::start(config(&format!("ws://{relay}/")), Config::default())
}

fn mail(to: &[&str], text: &str) -> Submission {
    let address = |text: &str| text.parse::<Address>().unwrap();
    let to: Vec<Address> = to.iter().map(|to| address(to)).collect();
    let envelope = Envelope::new(address("alice@example.org"), to).unwrap();
    Submission::message(envelope, format!("Subject: x\r\n\r\n{text}\r\n").into())
}

fn failure(result: Result<Receipt, SendError>) -> Error {
    match result {
        Err(SendError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_goes_the_whole_way_and_its_receipt_names_everybody() {
    let (_server, mx, mut inbox) = mail_server().await;
    let (_relay, address) = start_relay(mx, None).await;
    let client = client_of(address);
    let receipt = client
        .send(mail(&["bob@example.net", "mallory@example.net"], "hello"))
        .await
        .unwrap();
    assert_eq!(receipt.reply.to_string(), "250 2.0.0 taken");
    assert_eq!(receipt.accepted[0].to_string(), "<bob@example.net>");
    assert_eq!(receipt.rejected[0].0.to_string(), "<mallory@example.net>");
    assert_eq!(inbox.recv().await.unwrap(), b"Subject: x\r\n\r\nhello\r\n");
    let error = failure(client.send(mail(&["mallory@example.net"], "hello")).await);
    assert!(error.is_permanent());
    assert!(
        error.to_string().contains("550 5.1.1 No such user"),
        "{error}"
    );
    assert_eq!(client.stats().await.unwrap().processed, 1);
    assert_eq!(client.shutdown(Duration::from_secs(10)).await, []);
    assert!(client.state().await.is_err());
    assert!(matches!(
        client.send(mail(&["bob@example.net"], "late")).await,
        Err(SendError::Stopped(_))
    ));
}

#[tokio::test]
async fn many_callers_share_one_link() {
    let (_server, mx, mut inbox) = mail_server().await;
    let (relay, address) = start_relay(mx, None).await;
    let mut events = relay.events().await.unwrap();
    let client = client_of(address);
    let sending = (0..20).map(|number| {
        let client = client.clone();
        async move {
            client
                .send(mail(&["bob@example.net"], &number.to_string()))
                .await
        }
    });
    for result in futures_util::future::join_all(sending).await {
        result.unwrap();
    }
    for _ in 0..20 {
        inbox.recv().await.unwrap();
    }
    client.shutdown(Duration::from_secs(10)).await;
    relay.drain(Duration::from_secs(10)).await;
    let mut connected = 0;
    while let Some(event) = events.next().await {
        connected += usize::from(matches!(event, Ok(relay::Event::Connected { .. })));
    }
    assert_eq!(connected, 1);
}

#[tokio::test]
async fn a_dropped_future_and_dropped_handles_lose_no_message() {
    let (_server, mx, mut inbox) = mail_server().await;
    let (_relay, address) = start_relay(mx, None).await;
    let client = client_of(address);
    let ticket = client
        .enqueue(mail(&["bob@example.net"], "first"))
        .await
        .unwrap();
    drop(ticket);
    let mut sending = Box::pin(client.send(mail(&["bob@example.net"], "second")));
    // Polled once it is handed over; dropped before its outcome is there.
    std::future::poll_fn(|context| {
        assert!(sending.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(sending);
    drop(client);
    for text in ["first", "second"] {
        let message = inbox.recv().await.unwrap();
        assert!(String::from_utf8(message).unwrap().contains(text));
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_at_once() {
    let (_server, mx, _inbox) = mail_server().await;
    let (_relay, address) = start_relay(mx, None).await;
    let mut config = config(&format!("ws://{address}/"));
    config.api_key = ApiKey::new("wrong");
    let client = Client::start(config, Config::default());
    let error = failure(client.send(mail(&["bob@example.net"], "")).await);
    assert!(matches!(error, Error::Authentication(_)), "{error}");
    assert_eq!(client.state().await.unwrap(), ConnectionState::Failed);
}

#[tokio::test]
async fn what_is_no_relay_gives_one_clear_error() {
    async fn error_of(url: &str) -> String {
        let client = Client::start(config(url), Config::default());
        failure(client.send(mail(&["bob@example.net"], "")).await).to_string()
    }
    // Nobody listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = error_of(&format!("ws://{address}/")).await;
    assert!(error.contains("nothing listens on this port"), "{error}");

    // Something else listens.
    for (answer, expected) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP status 404",
        ),
        ("220 mail.example ESMTP\r\n", "not a WebSocket server"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = [0; 2048];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        let error = error_of(&format!("ws://{address}/")).await;
        assert!(error.contains(expected), "{error}");
        serve.abort();
    }
}

#[tokio::test]
async fn a_full_queue_hands_the_message_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&format!("ws://{}/", listener.local_addr().unwrap()));
    config.queue.items = 1;
    let client = Client::start(config, Config::default());
    let _waiting = client
        .enqueue(mail(&["bob@example.net"], "first"))
        .await
        .unwrap();
    let second = mail(&["bob@example.net"], "second");
    let Err(SendError::Refused(refused)) = client.enqueue(second.clone()).await else {
        panic!("the queue has room for one");
    };
    assert_eq!(*refused.submission, second);
    assert!(matches!(refused.why, Refusal::Full { waiting: 1, .. }));
    let left = client.stop().await;
    assert_eq!(left.len(), 1);
    assert!(!left[0].in_doubt);
}

/// Passes bytes both ways; cuts the first connection after it has carried so many from the client.
async fn cutting_proxy(to: SocketAddr, cut_after: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut budget = Some(cut_after);
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(to).await.unwrap();
            let limit = budget.take();
            tokio::spawn(async move {
                let (mut near_read, mut near_write) = near.split();
                let (mut far_read, mut far_write) = far.split();
                let upward = async {
                    match limit {
                        Some(limit) => {
                            let mut limited = (&mut near_read).take(limit as u64);
                            tokio::io::copy(&mut limited, &mut far_write).await
                        }
                        None => tokio::io::copy(&mut near_read, &mut far_write).await,
                    }
                };
                tokio::select! {
                    _ = upward => {}
                    _ = tokio::io::copy(&mut far_read, &mut near_write) => {}
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_message_is_healed() {
    let (_server, mx, mut inbox) = mail_server().await;
    let (_relay, address) = start_relay(mx, None).await;
    let proxy = cutting_proxy(address, 300_000).await;
    let client = client_of(proxy);
    let mut events = client.events().await.unwrap();
    let text = "0123456789abcdef\r\n".repeat(60_000);
    client
        .send(mail(&["bob@example.net"], &text))
        .await
        .unwrap();
    assert_eq!(inbox.recv().await.unwrap().len(), text.len() + 16);
    assert_eq!(client.stats().await.unwrap().reconnects, 1);
    client.shutdown(Duration::from_secs(10)).await;
    let (mut lost, mut ended) = (0, false);
    while let Some(event) = events.next().await {
        match event.unwrap() {
            Event::Disconnected { error: Some(_) } => lost += 1,
            Event::Terminated { left } => ended = left.is_empty(),
            _ => {}
        }
    }
    assert_eq!((lost, ended), (1, true));
    assert!(inbox.try_recv().is_err());
}

#[tokio::test]
async fn mail_goes_over_tls_and_an_unknown_issuer_is_named() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = certified.cert.pem();
    let acceptor = tls_acceptor(
        pem.as_bytes(),
        certified.signing_key.serialize_pem().as_bytes(),
    );
    let (_server, mx, mut inbox) = mail_server().await;
    let (_relay, address) = start_relay(mx, Some(acceptor.unwrap())).await;
    let url = format!("wss://localhost:{}/", address.port());
    let mut trusting = Config::default();
    trusting.extra_roots = certificates_from_pem(pem.as_bytes()).unwrap();
    let client = Client::start(config(&url), trusting);
    client
        .send(mail(&["bob@example.net"], "secret"))
        .await
        .unwrap();
    inbox.recv().await.unwrap();

    let client = Client::start(config(&url), Config::default());
    let error = failure(client.send(mail(&["bob@example.net"], "")).await).to_string();
    assert!(error.contains("issuer is not trusted"), "{error}");
}

/// A directory that never decides, and tells when it is no longer asked.
struct Hanging(mpsc::UnboundedSender<()>);

impl KeyDirectory for Hanging {
    async fn look_up(&self, _: Presented) -> Result<Policy, Denied> {
        struct Dropped(mpsc::UnboundedSender<()>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let _dropped = Dropped(self.0.clone());
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_directory_that_hangs_is_not_asked_for_ever() {
    let (tell, mut dropped) = mpsc::unbounded_channel();
    let upstream = StreamAddress::new("127.0.0.1", 9, false);
    let mut config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
    config.authentication_timeout = Duration::from_millis(20);
    let relay = Relay::start(config, Hanging(tell), Config::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    relay.listen(listener, None);
    let error = failure(
        client_of(address)
            .send(mail(&["bob@example.net"], "x"))
            .await,
    );
    assert!(matches!(error, Error::Connection(_)), "{error}");
    dropped.recv().await.unwrap();
}

#[tokio::test]
async fn a_message_taken_back_is_told_to_who_waits_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let client = Client::start(config(&url), Config::default());
    let submission = mail(&["bob@example.net"], "never mind");
    let ticket = client.enqueue(submission.clone()).await.unwrap();
    let id = ticket.id();
    assert_eq!(client.cancel(id).await, Ok(Some(submission)));
    assert_eq!(client.cancel(id).await, Ok(None));
    assert_eq!(ticket.receipt().await, Err(SendError::Cancelled));
}
