//! A relay whose ledger is on disk.

use super::*;
use relay_proto::storage::{Storage, Write};
use relay_storage::StorageFile;
use tempfile::TempDir;

fn let_in(_: Presented) -> Result<Policy, Denied> {
    Ok(Policy::default())
}

#[tokio::test]
async fn a_relay_with_a_ledger_serves_closes_its_file_and_finds_it_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ledger.redb");
    let (_server, upstream, mut inbox) = mail_server().await;
    for _ in 0..2 {
        let file = StorageFile::open(&path).expect("the relay before has closed it");
        let upstream = StreamAddress::new(upstream.ip().to_string(), upstream.port(), false);
        let config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
        let started = Relay::start_with_ledger(config, let_in, Config::default(), file);
        let relay = started.await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        relay.listen(listener, None);
        let client = client_of(address);
        client.send(mail(&["bob@example.net"], "x")).await.unwrap();
        inbox.recv().await.unwrap();
        relay.stop().await;
    }
}

#[tokio::test]
async fn a_storage_that_is_no_ledger_is_refused_and_left_as_it_is() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("outbox.redb");
    let mut file = StorageFile::open(&path).unwrap();
    let put = Write::Put {
        table: "outbox",
        key: "k".into(),
        value: "v".into(),
    };
    file.store(vec![put], Box::new(|result| result.unwrap()));
    drop(file);
    let file = StorageFile::open(&path).unwrap();
    let nowhere = StreamAddress::new("127.0.0.1", 9, false);
    let config = RelayConfig::new(nowhere, "relay.test".parse().unwrap());
    let started = Relay::start_with_ledger(config, let_in, Config::default(), file);
    let Err(error) = started.await else {
        panic!("it is no ledger");
    };
    assert!(error.to_string().contains("\"outbox\""), "{error}");
    let records = StorageFile::open(&path).unwrap().load().unwrap();
    assert_eq!(records.len(), 1);
}
