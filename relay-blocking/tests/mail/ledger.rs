//! A relay whose ledger is on disk.

use super::*;
use relay_proto::storage::{Storage, Write};
use relay_storage::StorageFile;
use tempfile::TempDir;

#[test]
fn a_relay_with_a_ledger_serves_closes_its_file_and_finds_it_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ledger.redb");
    let mx = MailServer::<Blocking>::start();
    for _ in 0..2 {
        let file = StorageFile::open(&path).expect("the relay before has closed it");
        let keys = |presented: Presented| decide(&presented);
        let started =
            Relay::start_with_ledger(relay_config(mx.address()), keys, Config::default(), file);
        let relay = started.unwrap();
        let (listener, address) = listener();
        relay.listen(listener, None).unwrap();
        let client = client_of(address);
        client.send(message(&[BOB], "x")).unwrap();
        assert_eq!(mx.delivered(), b"Subject: x\r\n\r\nx\r\n");
        relay.stop();
    }
}

#[test]
fn a_storage_that_is_no_ledger_is_refused_and_left_as_it_is() {
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
    let (_nobody, nowhere) = listener();
    let keys = |presented: Presented| decide(&presented);
    let started = Relay::start_with_ledger(relay_config(nowhere), keys, Config::default(), file);
    let Err(error) = started else {
        panic!("it is no ledger");
    };
    assert!(error.to_string().contains("\"outbox\""), "{error}");
    let records = StorageFile::open(&path).unwrap().load().unwrap();
    assert_eq!(records.len(), 1);
}
