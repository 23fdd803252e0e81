//! Mail over real sockets: client, relay and an SMTP server in one process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;
#[path = "mail/ledger.rs"]
mod ledger;
#[path = "mail/lettre.rs"]
mod lettre;
#[path = "mail/outbox.rs"]
mod outbox;

use binding::Blocking;
use relay_blocking::{
    Config, TlsAcceptor,
    mail::{Client, LocalClient, Presented, Relay, SendError},
};
use relay_proto::mail::{
    client::{ConnectionState, Error, Event, Receipt, Refusal},
    relay::{self, Policy},
    wire::ApiKey,
};
use relay_testkit::{
    Authority, listener,
    mail::{MailServer, client_config, decide, message, relay_config, submissions},
};
use std::{
    iter,
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Nothing takes that long: the test fails.
const HANGS: Duration = Duration::from_secs(60);

const BOB: &str = "bob@example.net";

fn start_relay(upstream: SocketAddr, tls: Option<TlsAcceptor>) -> (Relay, SocketAddr) {
    let keys = |presented: Presented| decide(&presented);
    let relay = Relay::start(relay_config(upstream), keys, Config::default());
    let (listener, address) = listener();
    relay.listen(listener, tls).unwrap();
    (relay, address)
}

fn client_of(relay: SocketAddr) -> Client {
    let config = client_config(&format!("ws://{relay}/"));
    Client::start(config, Config::default())
}

fn failure(result: Result<Receipt, SendError>) -> Error {
    match result {
        Err(SendError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_goes_the_whole_way_and_its_receipt_names_everybody() {
    let mx = MailServer::<Blocking>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let client = client_of(address);
    let events = client.events().unwrap();
    let receipt = client
        .send(message(&[BOB, "mallory@example.net"], "hello"))
        .unwrap();
    assert_eq!(receipt.reply.to_string(), "250 2.0.0 taken");
    assert_eq!(receipt.accepted[0].to_string(), "<bob@example.net>");
    assert_eq!(receipt.rejected[0].0.to_string(), "<mallory@example.net>");
    assert_eq!(mx.delivered(), b"Subject: x\r\n\r\nhello\r\n");
    let error = failure(client.send(message(&["mallory@example.net"], "hello")));
    assert!(error.is_permanent());
    assert!(
        error.to_string().contains("550 5.1.1 No such user"),
        "{error}"
    );
    assert_eq!(client.stats().unwrap().processed, 1);
    assert_eq!(client.shutdown(Duration::from_secs(10)), []);
    let terminated = Event::Terminated { left: Vec::new() };
    assert_eq!(events.into_iter().last(), Some(Ok(terminated)));
    assert!(client.state().is_err());
    assert!(matches!(
        client.send(message(&[BOB], "late")),
        Err(SendError::Stopped(_))
    ));
}

#[test]
fn many_callers_share_one_link() {
    let mx = MailServer::<Blocking>::start();
    let (relay, address) = start_relay(mx.address(), None);
    let events = relay.events().unwrap();
    let client = client_of(address);
    let sending: Vec<_> = (0..20)
        .map(|number| {
            let client = client.clone();
            thread::spawn(move || client.send(message(&[BOB], &number.to_string())))
        })
        .collect();
    for sent in sending {
        sent.join().unwrap().unwrap();
    }
    for _ in 0..20 {
        mx.delivered();
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
    let mx = MailServer::<Blocking>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let client = client_of(address);
    for text in ["first", "second"] {
        drop(client.enqueue(message(&[BOB], text)).unwrap());
    }
    drop(client);
    // They go at the same time, so either may come first.
    let came = [mx.delivered(), mx.delivered()].map(|message| String::from_utf8(message).unwrap());
    for text in ["first", "second"] {
        assert!(came.iter().any(|message| message.contains(text)));
    }
}

#[test]
fn a_wrong_key_is_told_at_once() {
    let mx = MailServer::<Blocking>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let mut config = client_config(&format!("ws://{address}/"));
    config.api_key = ApiKey::new("wrong");
    let client = Client::start(config, Config::default());
    let error = failure(client.send(message(&[BOB], "")));
    assert!(matches!(error, Error::Authentication(_)), "{error}");
    assert_eq!(client.state().unwrap(), ConnectionState::Failed);
}

#[test]
fn a_full_queue_hands_the_message_back() {
    let (_silent, address) = listener();
    let mut config = client_config(&format!("ws://{address}/"));
    config.queue.items = 1;
    let client = Client::start(config, Config::default());
    let _waiting = client.enqueue(message(&[BOB], "first")).unwrap();
    let second = message(&[BOB], "second");
    let Err(SendError::Refused(refused)) = client.enqueue(second.clone()) else {
        panic!("the queue has room for one");
    };
    assert_eq!(*refused.submission, second);
    assert!(matches!(refused.why, Refusal::Full { waiting: 1, .. }));
    let left = client.stop();
    assert_eq!(left.len(), 1);
    assert!(!left[0].in_doubt);
}

#[test]
fn a_message_goes_over_tls() {
    let authority = Authority::new("test");
    let tls = authority.identity("localhost").server();
    let mx = MailServer::<Blocking>::start();
    let (_relay, address) = start_relay(mx.address(), Some(tls));
    let mut trusting = Config::default();
    trusting.extra_roots = authority.roots();
    let config = client_config(&format!("wss://localhost:{}/", address.port()));
    let client = Client::start(config, trusting);
    client.send(message(&[BOB], "secret")).unwrap();
    assert!(mx.delivered().ends_with(b"secret\r\n"));
}

#[test]
fn a_slow_key_directory_holds_up_nobody_else() {
    let mx = MailServer::<Blocking>::start();
    let (open, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let keys = move |presented: Presented| {
        if presented.key == ApiKey::new("slow") {
            // Until the test is over.
            let _ = gate.lock().unwrap().recv();
        }
        Ok(Policy::default())
    };
    let relay = Relay::start(relay_config(mx.address()), keys, Config::default());
    let events = relay.events().unwrap();
    let (listener, address) = listener();
    relay.listen(listener, None).unwrap();
    let mut slow = client_config(&format!("ws://{address}/"));
    slow.api_key = ApiKey::new("slow");
    let slow = Client::start(slow, Config::default());
    let waiting = slow.enqueue(message(&[BOB], "slow")).unwrap();
    let connected = |event: &Result<_, _>| matches!(event, Ok(relay::Event::Connected { .. }));
    assert!(events.into_iter().any(|event| connected(&event)));
    let fast = client_of(address);
    fast.send(message(&[BOB], "fast")).unwrap();
    assert!(mx.delivered().ends_with(b"fast\r\n"));
    let waiting = waiting.receipt_within(Duration::ZERO).unwrap_err();
    drop(open);
    waiting.receipt_within(HANGS).unwrap().unwrap();
    assert!(mx.delivered().ends_with(b"slow\r\n"));
}

#[test]
fn a_rate_holds_from_when_it_is_set_until_it_is_lifted() {
    let mx = MailServer::<Blocking>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let limit = Some("1/h".parse().unwrap());
    let client = client_of(address);
    client.set_rate(limit).unwrap();
    assert_eq!(client.stats().unwrap().pace.rate, limit);
    client.send(message(&[BOB], "first")).unwrap();
    let second = client.enqueue(message(&[BOB], "second")).unwrap();
    assert_eq!(client.position(second.id()).unwrap(), Some(0));
    client.set_rate(None).unwrap();
    second.receipt_within(HANGS).unwrap().unwrap();

    let config = client_config(&format!("ws://{address}/"));
    let mut local = LocalClient::start(config, Config::default()).unwrap();
    local.set_rate(limit);
    assert_eq!(local.stats().pace.rate, limit);
}

#[test]
fn one_thread_sends_by_waiting() {
    let mx = MailServer::<Blocking>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let config = client_config(&format!("ws://{address}/"));
    let mut client = LocalClient::start(config, Config::default()).unwrap();
    let id = client.enqueue(message(&[BOB], "alone")).unwrap();
    assert_eq!(client.position(id), Some(0));
    let until = Instant::now() + HANGS;
    let sent = iter::from_fn(|| client.wait(until)).find_map(|event| match event {
        Event::Processed { id, receipt } => Some((id, receipt.reply.to_string())),
        _ => None,
    });
    assert_eq!(sent, Some((id, "250 2.0.0 taken".to_owned())));
    assert!(mx.delivered().ends_with(b"alone\r\n"));
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
    let refused = client.enqueue(message(&[BOB], "late"));
    assert!(matches!(refused.unwrap_err().why, Refusal::ShuttingDown));
}
