//! Mail over real sockets: client, relay and an SMTP server in one process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use relay_blocking::{
    Config, Driver, TlsAcceptor, certificates_from_pem,
    mail::{Client, LocalClient, Presented, Relay, SendError},
    spawn, tls_acceptor,
};
use relay_proto::{
    BackoffPolicy, LinkId, StreamAddress, Time,
    mail::{
        client::{ClientConfig, ConnectionState, Error, Event, Receipt, Refusal, Submission},
        relay::{self, Policy, RelayConfig},
        wire::{ApiKey, Denied},
    },
    smtp::{Address, Envelope, Server, ServerConfig, ServerEvent, SessionConfig, reply},
};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    iter,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Nothing takes that long: the test fails.
const HANGS: Duration = Duration::from_secs(30);

#[path = "mail/ledger.rs"]
mod ledger;
#[path = "mail/outbox.rs"]
mod outbox;

type Inbox = mpsc::Receiver<Vec<u8>>;
type Answer = Box<dyn FnMut(&mut Server, Time, ServerEvent) + Send>;

/// A mail server that refuses mallory and delivers to a channel.
fn mail_server() -> (Driver<Server, Answer>, SocketAddr, Inbox) {
    let session = SessionConfig::new("mx.test".parse().unwrap());
    let (deliver, inbox) = mpsc::channel();
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
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    driver.listen_stream(listener).unwrap();
    (driver, address, inbox)
}

fn start_relay(upstream: SocketAddr, tls: Option<TlsAcceptor>) -> (Relay, SocketAddr) {
    let upstream = StreamAddress::new(upstream.ip().to_string(), upstream.port(), false);
    let config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
    let keys = |presented: Presented| match presented.key == ApiKey::new("good") {
        true => Ok(Policy::default()),
        false => Err(Denied::for_good("unknown key")),
    };
    let relay = Relay::start(config, keys, Config::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    relay.listen(listener, tls).unwrap();
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

#[test]
fn a_message_goes_the_whole_way_and_its_receipt_names_everybody() {
    let (_server, mx, inbox) = mail_server();
    let (_relay, address) = start_relay(mx, None);
    let client = client_of(address);
    let receipt = client
        .send(mail(&["bob@example.net", "mallory@example.net"], "hello"))
        .unwrap();
    assert_eq!(receipt.reply.to_string(), "250 2.0.0 taken");
    assert_eq!(receipt.accepted[0].to_string(), "<bob@example.net>");
    assert_eq!(receipt.rejected[0].0.to_string(), "<mallory@example.net>");
    assert_eq!(
        inbox.recv_timeout(HANGS).unwrap(),
        b"Subject: x\r\n\r\nhello\r\n"
    );
    let error = failure(client.send(mail(&["mallory@example.net"], "hello")));
    assert!(error.is_permanent());
    assert!(
        error.to_string().contains("550 5.1.1 No such user"),
        "{error}"
    );
    assert_eq!(client.stats().unwrap().processed, 1);
    assert_eq!(client.shutdown(Duration::from_secs(10)), []);
    assert!(client.state().is_err());
    assert!(matches!(
        client.send(mail(&["bob@example.net"], "late")),
        Err(SendError::Stopped(_))
    ));
}

#[test]
fn many_callers_share_one_link() {
    let (_server, mx, inbox) = mail_server();
    let (relay, address) = start_relay(mx, None);
    let events = relay.events().unwrap();
    let client = client_of(address);
    let sending: Vec<_> = (0..20)
        .map(|number| {
            let client = client.clone();
            thread::spawn(move || client.send(mail(&["bob@example.net"], &number.to_string())))
        })
        .collect();
    for sent in sending {
        sent.join().unwrap().unwrap();
    }
    for _ in 0..20 {
        inbox.recv_timeout(HANGS).unwrap();
    }
    client.shutdown(Duration::from_secs(10));
    relay.drain(Duration::from_secs(10));
    let mut connected = 0;
    for event in events {
        connected += usize::from(matches!(event, Ok(relay::Event::Connected { .. })));
    }
    assert_eq!(connected, 1);
}

#[test]
fn dropped_tickets_and_handles_lose_no_message() {
    let (_server, mx, inbox) = mail_server();
    let (_relay, address) = start_relay(mx, None);
    let client = client_of(address);
    for text in ["first", "second"] {
        drop(client.enqueue(mail(&["bob@example.net"], text)).unwrap());
    }
    drop(client);
    for text in ["first", "second"] {
        let message = inbox.recv_timeout(HANGS).unwrap();
        assert!(String::from_utf8(message).unwrap().contains(text));
    }
}

#[test]
fn a_wrong_key_is_told_at_once() {
    let (_server, mx, _inbox) = mail_server();
    let (_relay, address) = start_relay(mx, None);
    let mut config = config(&format!("ws://{address}/"));
    config.api_key = ApiKey::new("wrong");
    let client = Client::start(config, Config::default());
    let error = failure(client.send(mail(&["bob@example.net"], "")));
    assert!(matches!(error, Error::Authentication(_)), "{error}");
    assert_eq!(client.state().unwrap(), ConnectionState::Failed);
}

#[test]
fn what_is_no_relay_gives_one_clear_error() {
    fn error_of(url: &str) -> String {
        let client = Client::start(config(url), Config::default());
        failure(client.send(mail(&["bob@example.net"], ""))).to_string()
    }
    // Nobody listens.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = error_of(&format!("ws://{address}/"));
    assert!(error.contains("nothing listens on this port"), "{error}");

    // Something else listens.
    for (answer, expected) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP status 404",
        ),
        ("220 mail.example ESMTP\r\n", "not a WebSocket server"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let _ = socket.read(&mut [0; 2048]);
                let _ = socket.write_all(answer.as_bytes());
            }
        });
        let error = error_of(&format!("ws://{address}/"));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_full_queue_hands_the_message_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&format!("ws://{}/", listener.local_addr().unwrap()));
    config.queue.items = 1;
    let client = Client::start(config, Config::default());
    let _waiting = client.enqueue(mail(&["bob@example.net"], "first")).unwrap();
    let second = mail(&["bob@example.net"], "second");
    let Err(SendError::Refused(refused)) = client.enqueue(second.clone()) else {
        panic!("the queue has room for one");
    };
    assert_eq!(*refused.submission, second);
    assert!(matches!(refused.why, Refusal::Full { waiting: 1, .. }));
    let left = client.stop();
    assert_eq!(left.len(), 1);
    assert!(!left[0].in_doubt);
}

/// Passes bytes both ways; cuts the first connection after it has carried so many from the client.
fn cutting_proxy(to: SocketAddr, cut_after: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut budget = Some(cut_after);
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(to).unwrap());
            pass(
                far.try_clone().unwrap(),
                near.try_clone().unwrap(),
                u64::MAX,
            );
            pass(near, far, budget.take().unwrap_or(u64::MAX));
        }
    });
    address
}

/// Passes so many bytes on, then ends both directions.
fn pass(from: TcpStream, mut to: TcpStream, limit: u64) {
    thread::spawn(move || {
        let _ = io::copy(&mut (&from).take(limit), &mut to);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}

#[test]
fn a_cut_in_the_middle_of_a_message_is_healed() {
    let (_server, mx, inbox) = mail_server();
    let (_relay, address) = start_relay(mx, None);
    let proxy = cutting_proxy(address, 300_000);
    let client = client_of(proxy);
    let events = client.events().unwrap();
    let text = "0123456789abcdef\r\n".repeat(60_000);
    client.send(mail(&["bob@example.net"], &text)).unwrap();
    assert_eq!(inbox.recv_timeout(HANGS).unwrap().len(), text.len() + 16);
    assert_eq!(client.stats().unwrap().reconnects, 1);
    client.shutdown(Duration::from_secs(10));
    let (mut lost, mut ended) = (0, false);
    for event in events {
        match event.unwrap() {
            Event::Disconnected { error: Some(_) } => lost += 1,
            Event::Terminated { left } => ended = left.is_empty(),
            _ => {}
        }
    }
    assert_eq!((lost, ended), (1, true));
    assert!(inbox.try_recv().is_err());
}

#[test]
fn a_slow_key_directory_holds_up_nobody_else() {
    let (_server, mx, inbox) = mail_server();
    let upstream = StreamAddress::new(mx.ip().to_string(), mx.port(), false);
    let (open, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let keys = move |presented: Presented| {
        if presented.key == ApiKey::new("slow") {
            // Until the test is over.
            let _ = gate.lock().unwrap().recv();
        }
        Ok(Policy::default())
    };
    let config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
    let relay = Relay::start(config, keys, Config::default());
    let events = relay.events().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    relay.listen(listener, None).unwrap();
    let mut slow = self::config(&format!("ws://{address}/"));
    slow.api_key = ApiKey::new("slow");
    let slow = Client::start(slow, Config::default());
    let waiting = slow.enqueue(mail(&["bob@example.net"], "slow")).unwrap();
    let connected = |event: &Result<_, _>| matches!(event, Ok(relay::Event::Connected { .. }));
    assert!(events.into_iter().any(|event| connected(&event)));
    let fast = client_of(address);
    fast.send(mail(&["bob@example.net"], "fast")).unwrap();
    assert!(inbox.recv_timeout(HANGS).unwrap().ends_with(b"fast\r\n"));
    let waiting = waiting.receipt_within(Duration::ZERO).unwrap_err();
    drop(open);
    waiting.receipt_within(HANGS).unwrap().unwrap();
    assert!(inbox.recv_timeout(HANGS).unwrap().ends_with(b"slow\r\n"));
}

#[test]
fn mail_goes_over_tls_and_an_unknown_issuer_is_named() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = certified.cert.pem();
    let acceptor = tls_acceptor(
        pem.as_bytes(),
        certified.signing_key.serialize_pem().as_bytes(),
    );
    let (_server, mx, inbox) = mail_server();
    let (_relay, address) = start_relay(mx, Some(acceptor.unwrap()));
    let url = format!("wss://localhost:{}/", address.port());
    let mut trusting = Config::default();
    trusting.extra_roots = certificates_from_pem(pem.as_bytes()).unwrap();
    let client = Client::start(config(&url), trusting);
    client.send(mail(&["bob@example.net"], "secret")).unwrap();
    inbox.recv_timeout(HANGS).unwrap();

    let client = Client::start(config(&url), Config::default());
    let error = failure(client.send(mail(&["bob@example.net"], ""))).to_string();
    assert!(error.contains("issuer is not trusted"), "{error}");
}

#[test]
fn one_thread_sends_by_waiting() {
    let (_server, mx, inbox) = mail_server();
    let (_relay, address) = start_relay(mx, None);
    let config = config(&format!("ws://{address}/"));
    let mut client = LocalClient::start(config, Config::default()).unwrap();
    let id = client.enqueue(mail(&["bob@example.net"], "alone")).unwrap();
    assert_eq!(client.position(id), Some(0));
    let until = Instant::now() + HANGS;
    let sent = iter::from_fn(|| client.wait(until)).find_map(|event| match event {
        Event::Processed { id, receipt } => Some((id, receipt.reply.to_string())),
        _ => None,
    });
    assert_eq!(sent, Some((id, "250 2.0.0 taken".to_owned())));
    assert!(inbox.recv_timeout(HANGS).unwrap().ends_with(b"alone\r\n"));
    assert_eq!(client.stats().processed, 1);
    assert_ne!(client.state(), ConnectionState::Disconnected);

    // Time that is over already is time enough for what there is to do at once.
    client.stop();
    let past = Instant::now();
    let left = iter::from_fn(|| client.wait(past)).find_map(|event| match event {
        Event::Terminated { left } => Some(left),
        _ => None,
    });
    assert_eq!(left, Some(Vec::new()));
    assert_eq!(client.wait(Instant::now() + HANGS), None);
    let refused = client.enqueue(mail(&["bob@example.net"], "late"));
    assert!(matches!(refused.unwrap_err().why, Refusal::ShuttingDown));
}
