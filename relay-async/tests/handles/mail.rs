//! What the handles of client and relay do on every runtime; everything behind them is judged with the driver.

use super::{
    Binding, binding,
    tested::{
        Config, TlsAcceptor,
        mail::{Client, Presented, Relay},
    },
};
use relay_proto::storage::Storage;
use relay_storage::StorageFile;
use relay_testkit::{
    Authority, listener,
    mail::{MailServer, client_config, decide, message, relay_config, submissions},
};
use std::{net::SocketAddr, time::Duration};

fn relay_before(mx: &MailServer<Binding>, tls: Option<TlsAcceptor>) -> (Relay, SocketAddr) {
    let keys = |presented: Presented| decide(&presented);
    let relay = Relay::start(relay_config(mx.address()), keys, Config::default());
    let (listener, address) = listener();
    relay.listen(binding::listening(listener), tls);
    (relay, address)
}

pub(super) async fn a_message_goes_the_whole_way_over_tls() {
    let authority = Authority::new("test");
    let tls = authority.identity("localhost").server();
    let mx = MailServer::<Binding>::start();
    let (relay, address) = relay_before(&mx, Some(tls));
    let mut trusting = Config::default();
    trusting.extra_roots = authority.roots();
    let config = client_config(&format!("wss://localhost:{}/", address.port()));
    let client = Client::start(config, trusting);
    let receipt = client.send(message(&["bob@example.net"], "hello")).await;
    assert_eq!(receipt.unwrap().reply.to_string(), "250 2.0.0 taken");
    assert_eq!(mx.delivered(), b"Subject: x\r\n\r\nhello\r\n");
    assert_eq!(client.shutdown(Duration::from_secs(10)).await, []);
    relay.drain(Duration::from_secs(10)).await;
}

pub(super) async fn what_was_accepted_is_sent_by_the_next_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox.redb");
    let config = |relay| {
        let mut config = client_config(&format!("ws://{relay}/"));
        config.reconnect.attempts = None;
        config
    };
    // Nobody answers there.
    let (_dead, dead) = listener();
    let file = StorageFile::open(&path).unwrap();
    let started = Client::start_with_outbox(config(dead), Config::default(), file).await;
    let (client, _) = started.unwrap();
    let kept = message(&["bob@example.net"], "kept");
    client.enqueue(kept).await.unwrap();
    assert!(client.stop().await[0].kept);

    let mx = MailServer::<Binding>::start();
    let (_relay, address) = relay_before(&mx, None);
    let file = StorageFile::open(&path).expect("the first client has closed it");
    let started = Client::start_with_outbox(config(address), Config::default(), file).await;
    let (client, _) = started.unwrap();
    assert_eq!(client.shutdown(Duration::from_secs(30)).await, []);
    assert!(mx.delivered().ends_with(b"kept\r\n") && mx.is_empty());
    let left = StorageFile::open(&path).unwrap().load().unwrap();
    assert_eq!(submissions(left), []);
}
