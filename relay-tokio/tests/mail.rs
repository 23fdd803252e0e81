//! Mail over real sockets: client, relay and an SMTP server in one process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;
#[path = "mail/ledger.rs"]
mod ledger;
#[path = "mail/lettre.rs"]
mod lettre;
#[path = "mail/outbox.rs"]
mod outbox;

use binding::Tokio;
use futures_util::StreamExt;
use relay_proto::mail::{
    client::{ConnectionState, Error, Event, Receipt, Refusal},
    relay::{self, Policy},
    wire::{ApiKey, Denied},
};
use relay_testkit::{
    Authority, deserted, listener,
    mail::{MailServer, client_config, decide, message, relay_config, submissions},
};
use relay_tokio::{
    Config, TlsAcceptor,
    mail::{Client, KeyDirectory, Presented, Relay, SendError},
};
use std::{net::SocketAddr, time::Duration};
use tokio::sync::mpsc;

const BOB: &str = "bob@example.net";

fn start_relay(upstream: SocketAddr, tls: Option<TlsAcceptor>) -> (Relay, SocketAddr) {
    let keys = |presented: Presented| decide(&presented);
    let relay = Relay::start(relay_config(upstream), keys, Config::default());
    let (listener, address) = listener();
    relay.listen(binding::listening(listener), tls);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_the_whole_way_and_its_receipt_names_everybody() {
    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let client = client_of(address);
    let mut events = client.events().await.unwrap();
    let receipt = client
        .send(message(&[BOB, "mallory@example.net"], "hello"))
        .await
        .unwrap();
    assert_eq!(receipt.reply.to_string(), "250 2.0.0 taken");
    assert_eq!(receipt.accepted[0].to_string(), "<bob@example.net>");
    assert_eq!(receipt.rejected[0].0.to_string(), "<mallory@example.net>");
    assert_eq!(mx.delivered(), b"Subject: x\r\n\r\nhello\r\n");
    let error = failure(
        client
            .send(message(&["mallory@example.net"], "hello"))
            .await,
    );
    assert!(error.is_permanent());
    assert!(
        error.to_string().contains("550 5.1.1 No such user"),
        "{error}"
    );
    assert_eq!(client.stats().await.unwrap().processed, 1);
    assert_eq!(client.shutdown(Duration::from_secs(10)).await, []);
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    assert_eq!(last, Some(Ok(Event::Terminated { left: Vec::new() })));
    assert!(client.state().await.is_err());
    assert!(matches!(
        client.send(message(&[BOB], "late")).await,
        Err(SendError::Stopped(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_from_when_it_is_set_until_it_is_lifted() {
    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let client = client_of(address);
    let limit = Some("1/h".parse().unwrap());
    client.set_rate(limit).await.unwrap();
    assert_eq!(client.stats().await.unwrap().pace.rate, limit);
    client.send(message(&[BOB], "first")).await.unwrap();
    let second = client.enqueue(message(&[BOB], "second")).await.unwrap();
    assert_eq!(client.position(second.id()).await.unwrap(), Some(0));
    client.set_rate(None).await.unwrap();
    second.receipt().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_one_link() {
    let mx = MailServer::<Tokio>::start();
    let (relay, address) = start_relay(mx.address(), None);
    let mut events = relay.events().await.unwrap();
    let client = client_of(address);
    let sending = (0..20).map(|number| {
        let client = client.clone();
        async move { client.send(message(&[BOB], &number.to_string())).await }
    });
    for result in futures_util::future::join_all(sending).await {
        result.unwrap();
    }
    for _ in 0..20 {
        mx.delivered();
    }
    client.shutdown(Duration::from_secs(10)).await;
    relay.drain(Duration::from_secs(10)).await;
    let mut connected = 0;
    while let Some(event) = events.next().await {
        connected += usize::from(matches!(event, Ok(relay::Event::Connected { .. })));
    }
    assert_eq!(connected, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_future_and_dropped_handles_lose_no_message() {
    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let client = client_of(address);
    let ticket = client.enqueue(message(&[BOB], "first")).await.unwrap();
    drop(ticket);
    let mut sending = Box::pin(client.send(message(&[BOB], "second")));
    // Polled once it is handed over; dropped before its outcome is there.
    std::future::poll_fn(|context| {
        assert!(sending.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(sending);
    drop(client);
    // They go at the same time, so either may come first.
    let came = [mx.delivered(), mx.delivered()].map(|message| String::from_utf8(message).unwrap());
    for text in ["first", "second"] {
        assert!(came.iter().any(|message| message.contains(text)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_told_at_once() {
    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let mut config = client_config(&format!("ws://{address}/"));
    config.api_key = ApiKey::new("wrong");
    let client = Client::start(config, Config::default());
    let error = failure(client.send(message(&[BOB], "")).await);
    assert!(matches!(error, Error::Authentication(_)), "{error}");
    assert_eq!(client.state().await.unwrap(), ConnectionState::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_hands_the_message_back() {
    let (_silent, address) = listener();
    let mut config = client_config(&format!("ws://{address}/"));
    config.queue.items = 1;
    let client = Client::start(config, Config::default());
    let _waiting = client.enqueue(message(&[BOB], "first")).await.unwrap();
    let second = message(&[BOB], "second");
    let Err(SendError::Refused(refused)) = client.enqueue(second.clone()).await else {
        panic!("the queue has room for one");
    };
    assert_eq!(*refused.submission, second);
    assert!(matches!(refused.why, Refusal::Full { waiting: 1, .. }));
    let left = client.stop().await;
    assert_eq!(left.len(), 1);
    assert!(!left[0].in_doubt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_over_tls() {
    let authority = Authority::new("test");
    let tls = authority.identity("localhost").server();
    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), Some(tls));
    let mut trusting = Config::default();
    trusting.extra_roots = authority.roots();
    let config = client_config(&format!("wss://localhost:{}/", address.port()));
    let client = Client::start(config, trusting);
    client.send(message(&[BOB], "secret")).await.unwrap();
    assert!(mx.delivered().ends_with(b"secret\r\n"));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_hangs_is_not_asked_for_ever() {
    let (tell, mut dropped) = mpsc::unbounded_channel();
    let mut config = relay_config(deserted());
    config.authentication_timeout = Duration::from_millis(20);
    let relay = Relay::start(config, Hanging(tell), Config::default());
    let (listener, address) = listener();
    relay.listen(binding::listening(listener), None);
    let error = failure(client_of(address).send(message(&[BOB], "x")).await);
    assert!(matches!(error, Error::Connection(_)), "{error}");
    dropped.recv().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_taken_back_is_told_to_who_waits_for_it() {
    let (_silent, address) = listener();
    let client = client_of(address);
    let submission = message(&[BOB], "never mind");
    let ticket = client.enqueue(submission.clone()).await.unwrap();
    let id = ticket.id();
    assert_eq!(client.cancel(id).await, Ok(Some(submission)));
    assert_eq!(client.cancel(id).await, Ok(None));
    assert_eq!(ticket.receipt().await, Err(SendError::Cancelled));
}
