//! What the handle of a key-value client does on every runtime; everything behind it is judged with the driver.

use super::{
    Binding, StreamExt,
    tested::{
        Config, Stopped,
        kv::{Client, NoAnswer, request_token},
    },
};
use relay_proto::{
    OutboxLimits,
    kv::{
        client::{Call, CallError, ConnectionState, Credential},
        token::Scope,
    },
};
use relay_testkit::{
    deserted,
    kv::{KEY, KeyValueServer, client_config},
};
use std::time::Duration;

fn client(service: &KeyValueServer<Binding>, credential: Credential) -> Client {
    Client::start(
        client_config(service.address(), credential),
        Config::default(),
    )
}

pub(super) async fn every_call_has_a_method_and_changes_are_a_stream() {
    let service = KeyValueServer::<Binding>::start();
    let url = format!("http://{}", service.address()).parse().unwrap();
    let mut scope = Scope::default();
    scope.subscribe.push("*".to_owned());
    let minute = Duration::from_secs(60);
    let token = request_token(&url, KEY, &scope, minute, Config::default()).await;
    let reader = client(&service, token.unwrap());
    let mut changes = reader.notifications().await.unwrap();
    reader.connect().await.unwrap();
    assert!(reader.get("k").await.unwrap_err().is_not_found());
    assert_eq!(reader.state().await, Ok(ConnectionState::Connected));

    let writer = client(&service, Credential::ApiKey(KEY.to_owned()));
    writer.set("k", "v").await.unwrap();
    writer.patch("k", " and more").await.unwrap();
    assert_eq!(writer.get("k").await.unwrap(), "v and more");
    assert_eq!(writer.increment("n", -2).await, Ok(-2));
    let range = writer.range("a", "z").await.unwrap();
    let keys: Vec<_> = range.records.iter().map(|record| &*record.key).collect();
    assert_eq!((keys, range.truncated), (vec!["k", "n"], false));
    writer.delete("k").await.unwrap();
    let ticket = writer.begin(Call::get("k")).await.unwrap();
    assert!(ticket.answer().await.unwrap_err().is_not_found());
    for expected in ["v", "v and more", "-2", ""] {
        let change = changes.next().await.unwrap().unwrap();
        assert_eq!(change.value.unwrap_or_default(), expected);
    }

    let statistics = writer.stats().await.unwrap();
    assert_eq!((statistics.calls, statistics.succeeded), (7, 6));
    assert!(statistics.durable);
    assert_eq!(writer.shutdown(minute).await, []);
    assert_eq!(writer.get("k").await, Err(NoAnswer::Stopped(Stopped)));
    assert_eq!(reader.stop().await, []);
    assert!(changes.next().await.is_none(), "it ends with the client");
}

pub(super) async fn calls_wait_without_a_link_and_are_taken_back_or_handed_back() {
    let mut config = client_config(deserted(), Credential::ApiKey(KEY.to_owned()));
    config.reconnect.attempts = None;
    config.queue = OutboxLimits::new(1, 1000);
    let client = Client::start(config, Config::default());
    let ticket = client.begin(Call::set("k", "v")).await.unwrap();
    let refused = client.set("k", "v").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the queue is full: 1 calls wait, 2 bytes are held"
    );
    let back = client.cancel(ticket.id()).await.unwrap();
    assert_eq!(back, Some(Call::set("k", "v")));
    assert_eq!(ticket.answer().await, Err(NoAnswer::Cancelled));
    let ticket = client.begin(Call::increment("n", 1)).await.unwrap();
    client.disconnect().await.unwrap();
    let ended = ticket.answer().await.unwrap_err();
    assert_eq!(ended.error(), Some(&CallError::Disconnected));
    let ticket = client.begin(Call::increment("n", 1)).await.unwrap();
    let left = client.stop().await;
    assert_eq!((left.len(), left[0].in_doubt), (1, false));
    let in_doubt = false;
    assert_eq!(ticket.answer().await, Err(NoAnswer::Unsettled { in_doubt }));
}
