//! The outbox on disk: what is accepted outlives its client.

use super::*;
use relay_proto::{
    mail::client as machine,
    storage::{OnStored, Record, Storage, StorageError, Write},
};
use relay_storage::StorageFile;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Nobody answers there, as long as the listener is kept.
fn dead_relay() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    (listener, url)
}

fn patient(url: &str) -> ClientConfig {
    let mut config = config(url);
    config.reconnect.attempts = None;
    config
}

#[test]
fn what_was_accepted_is_sent_by_the_next_client_under_the_same_name() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("outbox.redb");
    let file = StorageFile::open(&path).unwrap();
    let (_dead, url) = dead_relay();
    let config = patient(&url);
    let (client, _) = Client::start_with_outbox(config, Config::default(), file).unwrap();
    let ticket = client.enqueue(mail(&["bob@example.net"], "kept")).unwrap();
    let left = client.stop();
    assert_eq!(left.len(), 1);
    assert!(left[0].kept && left[0].delivery == ticket.delivery());

    let (_server, upstream, inbox) = mail_server();
    let (_relay, address) = start_relay(upstream, None);
    let file = StorageFile::open(&path).expect("the first client has closed it");
    let config = patient(&format!("ws://{address}/"));
    let (client, mut events) = Client::start_with_outbox(config, Config::default(), file).unwrap();
    let mut restored = None;
    loop {
        match events.next().unwrap().unwrap() {
            Event::Restored { id, delivery, .. } => {
                assert_eq!(delivery, ticket.delivery());
                restored = Some(id);
            }
            Event::Processed { id, receipt } => {
                assert_eq!((Some(id), receipt.sent_again), (restored, false));
                break;
            }
            _ => {}
        }
    }
    assert!(client.shutdown(Duration::from_secs(30)).is_empty());
    assert!(inbox.recv_timeout(HANGS).unwrap().ends_with(b"kept\r\n"));
    assert!(inbox.try_recv().is_err(), "it is sent once");
    let left = StorageFile::open(&path).unwrap().load().unwrap();
    assert_eq!(left, [], "what is settled is gone");
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
    fn next(&self) -> OnStored {
        loop {
            if let Some(on_stored) = self.0.lock().unwrap().pop() {
                return on_stored;
            }
            thread::yield_now();
        }
    }
}

#[test]
fn nothing_is_accepted_before_it_is_stored_and_what_is_not_comes_back() {
    let held = Held::default();
    let (_dead, url) = dead_relay();
    let config = patient(&url);
    let (client, _) = Client::start_with_outbox(config, Config::default(), held.clone()).unwrap();
    for result in [
        Ok(()),
        Err(StorageError::Full {
            detail: "full".into(),
        }),
    ] {
        let submission = mail(&["bob@example.net"], "x");
        let (enqueuing, sent) = (client.clone(), submission.clone());
        let ticket = thread::spawn(move || enqueuing.enqueue(sent));
        let on_stored = held.next();
        assert!(!ticket.is_finished());
        on_stored(result.clone());
        match (ticket.join().unwrap(), result) {
            (Ok(ticket), Ok(())) => {
                assert_eq!(client.position(ticket.id()), Ok(Some(0)));
            }
            (Err(SendError::Refused(refused)), Err(error)) => {
                assert_eq!(*refused.submission, submission);
                assert_eq!(refused.why, Refusal::Storage(error));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_machine_whose_driver_has_no_storage_is_told_so() {
    let (_dead, url) = dead_relay();
    let config = config(&url);
    let machine = machine::Client::restore(config, [7; 32], Time::ZERO, vec![]).unwrap();
    let (tell, told) = mpsc::channel();
    let application = move |_: &mut machine::Client, _: Time, event: Event| {
        // Once the test has what it waited for, nobody listens.
        let _ = tell.send(event);
    };
    let driver = spawn(machine, application, Config::default());
    let submission = mail(&["bob@example.net"], "x");
    let submitted = driver.call(move |client, _, now| client.submit(now, submission));
    submitted.unwrap().unwrap();
    loop {
        if let Event::Refused { refused, .. } = told.recv_timeout(HANGS).unwrap() {
            assert_eq!(refused.why, Refusal::Storage(StorageError::Absent));
            break;
        }
    }
    driver.call(|client, _, now| client.stop(now)).unwrap();
    driver.finished();
}

#[test]
fn a_file_of_somebody_else_is_refused() {
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
    let (_dead, url) = dead_relay();
    let config = config(&url);
    let Err(error) = Client::start_with_outbox(config, Config::default(), file) else {
        panic!("it is no outbox");
    };
    assert!(error.to_string().contains("\"ledger\""), "{error}");
    let records = StorageFile::open(&path).unwrap().load().unwrap();
    assert_eq!(records.len(), 1, "it is left as it is");
}

#[test]
fn a_client_of_one_thread_accepts_what_is_on_disk_and_goes_on_with_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("outbox.redb");
    let file = StorageFile::open(&path).unwrap();
    let (_dead, url) = dead_relay();
    let config = patient(&url);
    let mut client = LocalClient::start_with_outbox(config, Config::default(), file).unwrap();
    let id = client.enqueue(mail(&["bob@example.net"], "kept")).unwrap();
    drop(client);

    let (_server, upstream, inbox) = mail_server();
    let (_relay, address) = start_relay(upstream, None);
    let file = StorageFile::open(&path).expect("the first client has closed it");
    let config = patient(&format!("ws://{address}/"));
    let mut client = LocalClient::start_with_outbox(config, Config::default(), file).unwrap();
    client.shutdown(HANGS);
    let mut seen = Vec::new();
    while let Some(event) = client.wait(Instant::now() + HANGS) {
        match event {
            Event::Restored { id, .. } => seen.push(("restored", id)),
            Event::Processed { id, .. } => seen.push(("processed", id)),
            _ => {}
        }
    }
    assert_eq!(seen, [("restored", id), ("processed", id)]);
    assert!(inbox.recv_timeout(HANGS).unwrap().ends_with(b"kept\r\n"));
    let records = StorageFile::open(&path).unwrap().load().unwrap();
    assert_eq!(records, [], "it is closed with the client's end");
}

#[test]
fn a_client_of_one_thread_hands_back_what_is_not_stored() {
    let (_dead, url) = dead_relay();
    let config = patient(&url);
    let mut client = LocalClient::start_with_outbox(config, Config::default(), Full).unwrap();
    let submission = mail(&["bob@example.net"], "x");
    let refused = client.enqueue(submission.clone()).unwrap_err();
    assert_eq!(*refused.submission, submission);
    assert!(matches!(
        refused.why,
        Refusal::Storage(StorageError::Full { .. })
    ));
}

/// A disk that is always full.
struct Full;

impl Storage for Full {
    fn load(&mut self) -> Result<Vec<Record>, StorageError> {
        Ok(vec![])
    }

    fn store(&mut self, _writes: Vec<Write>, on_stored: OnStored) {
        let detail = "full".into();
        on_stored(Err(StorageError::Full { detail }));
    }
}
