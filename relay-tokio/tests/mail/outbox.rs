//! The outbox on disk: what is accepted outlives its client.

use super::*;
use relay_proto::{
    mail::client::ClientConfig,
    storage::{OnStored, Record, Storage, StorageError, Write},
};
use relay_storage::StorageFile;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

fn patient(relay: SocketAddr) -> ClientConfig {
    let mut config = client_config(&format!("ws://{relay}/"));
    config.reconnect.attempts = None;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_sent_by_the_next_client_under_the_same_name() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("outbox.redb");
    let file = StorageFile::open(&path).unwrap();
    // Nobody answers there.
    let (_dead, dead) = listener();
    let config = patient(dead);
    let (client, _) = Client::start_with_outbox(config, Config::default(), file)
        .await
        .unwrap();
    let ticket = client.enqueue(message(&[BOB], "kept")).await.unwrap();
    let left = client.stop().await;
    assert_eq!(left.len(), 1);
    assert!(left[0].kept && left[0].delivery == ticket.delivery());

    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let file = StorageFile::open(&path).expect("the first client has closed it");
    let config = patient(address);
    let (client, mut events) = Client::start_with_outbox(config, Config::default(), file)
        .await
        .unwrap();
    let mut restored = None;
    loop {
        match events.next().await.unwrap().unwrap() {
            Event::Restored {
                id,
                delivery,
                submission,
                ..
            } => {
                assert_eq!(delivery, ticket.delivery());
                assert_eq!(*submission, message(&[BOB], "kept"));
                restored = Some(id);
            }
            Event::Processed { id, receipt } => {
                assert_eq!((Some(id), receipt.sent_again), (restored, false));
                break;
            }
            _ => {}
        }
    }
    assert!(client.shutdown(Duration::from_secs(30)).await.is_empty());
    assert!(mx.delivered().ends_with(b"kept\r\n"));
    assert!(mx.is_empty(), "it is sent once");
    let left = StorageFile::open(&path).unwrap().load().unwrap();
    assert_eq!(submissions(left), [], "what is settled is gone");
}

/// A storage that answers when the test says so.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Vec<OnStored>>>);

impl Storage for Held {
    fn load(&mut self) -> Result<Vec<Record>, StorageError> {
        Ok(vec![])
    }

    fn store(&mut self, _writes: Vec<Write>, on_stored: OnStored) {
        self.0.lock().unwrap().push(on_stored);
    }
}

impl Held {
    async fn next(&self) -> OnStored {
        loop {
            if let Some(on_stored) = self.0.lock().unwrap().pop() {
                return on_stored;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_accepted_before_it_is_stored_and_what_is_not_comes_back() {
    let held = Held::default();
    // Nobody answers there.
    let (_dead, dead) = listener();
    let config = patient(dead);
    let started = Client::start_with_outbox(config, Config::default(), held.clone());
    let (client, _) = started.await.unwrap();
    for result in [
        Ok(()),
        Err(StorageError::Full {
            detail: "full".into(),
        }),
    ] {
        let submission = message(&[BOB], "x");
        let (enqueuing, sent) = (client.clone(), submission.clone());
        let ticket = tokio::spawn(async move { enqueuing.enqueue(sent).await });
        let on_stored = held.next().await;
        assert!(!ticket.is_finished());
        on_stored(result.clone());
        match (ticket.await.unwrap(), result) {
            (Ok(ticket), Ok(())) => {
                assert_eq!(client.position(ticket.id()).await, Ok(Some(0)));
            }
            (Err(SendError::Refused(refused)), Err(error)) => {
                assert_eq!(*refused.submission, submission);
                assert_eq!(refused.why, Refusal::Storage(error));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_somebody_else_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("other.redb");
    let mut file = StorageFile::open(&path).unwrap();
    let put = Write::Put {
        table: "ledger",
        key: "k".into(),
        value: "v".into(),
    };
    file.store(vec![put], Box::new(|result| result.unwrap()));
    drop(file);
    let file = StorageFile::open(&path).unwrap();
    // Nobody answers there.
    let (_dead, dead) = listener();
    let config = patient(dead);
    let Err(error) = Client::start_with_outbox(config, Config::default(), file).await else {
        panic!("it is no outbox");
    };
    assert!(error.to_string().contains("\"ledger\""), "{error}");
    let records = StorageFile::open(&path).unwrap().load().unwrap();
    assert_eq!(records.len(), 1, "it is left as it is");
}
