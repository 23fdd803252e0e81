//! What a machine asks to be stored.

use super::{Group, named};
use crate::{
    Binding, Probe, Transcript,
    conformance::rig::Rig,
    mail::{RelayPeer, base_client_config, client_event, message},
    peer::{config, connect, listener, text},
};
use relay_proto::{
    Action, Input, Time,
    mail::client::{Client, ConnectionState, Event},
    storage::{BatchId, OnStored, Record, Storage, StorageError, Write},
};
use std::{
    collections::BTreeMap,
    mem,
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};
use tungstenite::Message;

pub(super) fn all<B: Binding>() -> Group {
    named![
        batches_are_answered_in_order,
        a_machine_without_storage_is_told_so,
        links_live_on_while_a_batch_is_stored,
        what_is_asked_for_last_is_stored_before_the_end,
        nothing_is_accepted_before_it_is_stored_and_what_is_not_comes_back,
        what_was_accepted_is_sent_by_the_next_client,
    ]
}

/// A storage that answers when the scenario says so, and tells when it is closed.
struct Held {
    asked: mpsc::Sender<OnStored>,
}

fn held() -> (Held, mpsc::Receiver<OnStored>) {
    let (asked, questions) = mpsc::channel();
    (Held { asked }, questions)
}

impl Storage for Held {
    fn load(&mut self) -> Result<Vec<Record>, StorageError> {
        Ok(Vec::new())
    }

    fn store(&mut self, _writes: Vec<Write>, on_stored: OnStored) {
        self.asked.send(on_stored).unwrap();
    }
}

/// A storage that outlives its machine, as a disk does.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Shelved>>);

#[derive(Default)]
struct Shelved {
    records: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    closed: bool,
}

impl Storage for Shelf {
    fn load(&mut self) -> Result<Vec<Record>, StorageError> {
        let shelved = self.0.lock().unwrap();
        let records = shelved.records.iter();
        let record = |((table, key), value): (&(String, Vec<u8>), &Vec<u8>)| Record {
            table: table.clone(),
            key: key.clone().into(),
            value: value.clone().into(),
            age: Duration::ZERO,
        };
        Ok(records.map(record).collect())
    }

    fn store(&mut self, writes: Vec<Write>, on_stored: OnStored) {
        let mut shelved = self.0.lock().unwrap();
        for write in writes {
            match write {
                Write::Put { table, key, value } => {
                    let name = (table.to_owned(), key.to_vec());
                    shelved.records.insert(name, value.to_vec());
                }
                Write::Delete { table, key } => {
                    shelved.records.remove(&(table.to_owned(), key.to_vec()));
                }
            }
        }
        drop(shelved);
        on_stored(Ok(()));
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.0.lock().unwrap().closed = true;
    }
}

fn full() -> StorageError {
    let detail = "the scenario says so".to_owned();
    StorageError::Full { detail }
}

fn batch(index: u64) -> Action {
    let put = Write::Put {
        table: "probes",
        key: "key".into(),
        value: "value".into(),
    };
    Action::Store {
        batch: BatchId::new(index),
        writes: vec![put],
    }
}

fn store<B: Binding>(probe: &Rig<B>, batches: impl IntoIterator<Item = u64>) {
    let batches: Vec<_> = batches.into_iter().map(batch).collect();
    probe.tell(|machine, _| machine.actions.extend(batches));
}

fn stored<B: Binding>(probe: &Rig<B>) -> Result<(), StorageError> {
    match probe.next() {
        Input::Stored { result, .. } => result,
        other => panic!("not stored: {other:?}"),
    }
}

fn batches_are_answered_in_order<B: Binding>(transcript: &mut Transcript) {
    let (storage, questions) = held();
    let probe = Rig::<B>::spawn_storing(Probe::default(), storage, |_| None);
    store(&probe, 0..3);
    for result in [Ok(()), Err(full()), Ok(())] {
        questions.recv().unwrap()(result.clone());
        assert_eq!(stored(&probe), result);
    }
    transcript.saw("probe", probe.finish());
}

fn a_machine_without_storage_is_told_so<B: Binding>(transcript: &mut Transcript) {
    let probe = Rig::<B>::new(Probe::default(), config());
    for index in 0..2 {
        store(&probe, [index]);
        assert_eq!(stored(&probe), Err(StorageError::Absent));
    }
    transcript.saw("probe", probe.finish());
}

fn links_live_on_while_a_batch_is_stored<B: Binding>(transcript: &mut Transcript) {
    let (storage, questions) = held();
    let probe = Rig::<B>::spawn_storing(Probe::echoing(), storage, |_| None);
    let (_, address) = probe.listen_websocket(None);
    store(&probe, [0]);
    let on_stored = questions.recv().unwrap();
    let mut peer = connect(address);
    let link = probe.accepted();
    peer.send(Message::text("meanwhile")).unwrap();
    assert_eq!(peer.message(), Message::text("meanwhile"));
    assert_eq!(probe.frame(), (link, text("meanwhile")));
    assert_eq!(probe.next(), Input::Written { link });
    on_stored(Ok(()));
    assert_eq!(stored(&probe), Ok(()));
    transcript.saw("probe", probe.finish());
}

fn what_is_asked_for_last_is_stored_before_the_end<B: Binding>(transcript: &mut Transcript) {
    let shelf = Shelf::default();
    let shelved = Arc::clone(&shelf.0);
    let probe = Rig::<B>::spawn_storing(Probe::default(), shelf, |_| None);
    probe.tell(|machine, _| {
        machine.actions.push_back(batch(0));
        machine.finished = true;
    });
    probe.finished();
    let mut shelved = shelved.lock().unwrap();
    for (table, _) in mem::take(&mut shelved.records).into_keys() {
        transcript.note("storage", format!("a record in {table}"));
    }
    assert!(shelved.closed);
    transcript.note("storage", "closed");
}

fn restored<B: Binding>(relay: SocketAddr, mut storage: impl Storage) -> Rig<B, Client> {
    let mut config = base_client_config(&format!("ws://{relay}/"));
    config.reconnect.attempts = None;
    let records = storage.load().unwrap();
    let machine = Client::restore(config, [7; 32], Time::ZERO, records).unwrap();
    Rig::spawn_storing(machine, storage, client_event)
}

fn submit<B: Binding>(client: &Rig<B, Client>) {
    let submission = message(&["bob@example.net"], "hello");
    client.tell(|client, now| client.submit(now, submission).map(drop).unwrap());
}

fn nothing_is_accepted_before_it_is_stored_and_what_is_not_comes_back<B: Binding>(
    transcript: &mut Transcript,
) {
    let (_silent, address) = listener();
    let (storage, questions) = held();
    let client = restored::<B>(address, storage);
    submit(&client);
    let on_stored = questions.recv().unwrap();
    assert!(client.has_no_news(), "it is not accepted yet");
    on_stored(Ok(()));
    client.find(|event| matches!(event, Event::Queued { .. }).then_some(()));
    submit(&client);
    questions.recv().unwrap()(Err(full()));
    client.find(|event| matches!(event, Event::Refused { .. }).then_some(()));
    client.tell(Client::stop);
    transcript.add("client", client.finished().events);
}

fn what_was_accepted_is_sent_by_the_next_client<B: Binding>(transcript: &mut Transcript) {
    let (silent, address) = listener();
    let shelf = Shelf::default();
    let shelved = Arc::clone(&shelf.0);
    let first = restored::<B>(address, shelf);
    submit(&first);
    first.find(|event| matches!(event, Event::Queued { .. }).then_some(()));
    first.tell(Client::stop);
    transcript.add("first client", first.finished().events);
    drop(silent);

    let (listener, address) = listener();
    let second = restored::<B>(address, Shelf(Arc::clone(&shelved)));
    let mut relay = RelayPeer::greeted(&listener);
    relay.take_message();
    second.find(|event| event.outcome().is_some().then_some(()));
    second.find(|event| {
        let to = ConnectionState::Authenticated;
        matches!(event, Event::StateChanged { to: now, .. } if now == to).then_some(())
    });
    second.rest();
    second.tell(|client, now| client.shutdown(now, Duration::MAX));
    transcript.add("second client", second.finished().events);
    assert!(shelved.lock().unwrap().records.is_empty(), "it is settled");
}
