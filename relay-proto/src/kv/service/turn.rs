//! Turns: what is done together and stored together.

use super::{
    Event, Phase, RESTARTS, Service,
    clients::{ClientKey, Kept, Known},
    front::{Call, FrontId, What},
    operations::{self, Caller},
    record::{Item, encode_change, encode_client, encode_register, encode_result, encode_value},
};
use crate::{
    Time,
    kv::wire::{Code, Failure, Hello, Operation, Record, Success},
    storage::{BatchId, Recorder, StorageError},
};
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};
use bytes::Bytes;
use core::time::Duration;

/// The most calls in one turn: so many that a disk that takes ten milliseconds for a batch does not limit anybody, and so few that they
/// are done in about one.
const TURN_CALLS: usize = 512;

/// The most bytes of values stored and of answers in one turn, about.
const TURN_BYTES: usize = 4 * 1024 * 1024;

/// When to come back while the storage does not work.
const RETRY: Duration = Duration::from_secs(1);

/// What is done and not stored yet.
#[derive(Default)]
pub(super) struct Turn {
    done: Vec<Done>,
    bytes: usize,
    /// The calls of the durable dialect of which the result is new.
    kept: BTreeSet<(ClientKey, u64)>,
    /// The stores in which something has changed.
    spaces: BTreeSet<Arc<str>>,
    /// Whether something has to be stored before anybody is answered.
    is_changed: bool,
}

/// One call that is done.
struct Done {
    front: FrontId,
    message_id: u64,
    outcome: Outcome,
}

enum Outcome {
    /// This is the answer, whatever becomes of the turn.
    Certain(Result<Success, Failure>),
    /// It has read this, which may not be true if the turn is taken back.
    Read(Operation, Result<Success, Failure>),
    /// It has changed something, or would have if things were different. In the durable dialect its result is kept for this client,
    /// if it is not kept already.
    Changed(Option<ClientKey>, Result<Success, Failure>),
    /// A client of the durable dialect is to be welcomed.
    Hello {
        hello: Hello,
        client: ClientKey,
        /// Whether it was remembered from before.
        known: bool,
    },
}

impl Service {
    /// Takes turns until one has to be stored, or nobody waits. Whether any was taken.
    pub(super) fn work(&mut self, now: Time) -> bool {
        let mut has_worked = false;
        while self.turn.is_none() {
            let turn = self.take_turn(now);
            if turn.done.is_empty() && !turn.is_changed {
                break;
            }
            has_worked = true;
            if !turn.is_changed {
                self.release(now, turn);
            } else if self.recorder.is_some() {
                self.turn = Some(turn);
                self.store_changes();
            } else {
                self.commit(now, turn);
            }
        }
        has_worked
    }

    fn take_turn(&mut self, now: Time) -> Turn {
        let mut turn = Turn::default();
        while turn.done.len() < TURN_CALLS && turn.bytes < TURN_BYTES {
            let Some(id) = self.accounts.next() else {
                break;
            };
            let Some(front) = self.fronts.get_mut(&id) else {
                continue;
            };
            front.is_in_line = false;
            if !front.is_ready() {
                continue;
            }
            if let Some(call) = front.next_call() {
                let message_id = call.message_id;
                let outcome = self.do_call(now, id, call, &mut turn);
                let bytes = outcome.bytes();
                turn.bytes += bytes;
                if let Some(front) = self.fronts.get_mut(&id) {
                    front.in_turn = (front.in_turn.0 + 1, front.in_turn.1 + bytes);
                }
                turn.done.push(Done {
                    front: id,
                    message_id,
                    outcome,
                });
            }
            self.line_up(id);
        }
        turn
    }

    /// The client waits for its turn, where it has something to wait for.
    pub(super) fn line_up(&mut self, id: FrontId) {
        if let Some(front) = self.fronts.get_mut(&id)
            && !front.is_in_line
            && front.is_ready()
        {
            front.is_in_line = true;
            let key = front.rights.key;
            self.accounts.wait(key, id);
        }
    }

    fn do_call(&mut self, now: Time, id: FrontId, call: Call, turn: &mut Turn) -> Outcome {
        let operation = match call.what {
            What::Hello(hello) => return self.do_hello(now, id, hello, turn),
            What::Operation(operation) => operation,
        };
        let front = self.fronts.get(&id);
        let client = front.and_then(|front| Some((front.rights.key, front.client?)));
        if let Some(client) = client
            && let Some(result) = self.look_up(client, call.message_id, call.settled, &operation)
        {
            // What it repeats may be taken back.
            return match turn.kept.contains(&(client, call.message_id)) {
                true => Outcome::Changed(None, result),
                false => Outcome::Certain(result),
            };
        }
        if operation.changes()
            && let Some(failure) = self.storage_trouble()
        {
            return Outcome::Certain(Err(failure));
        }
        let result = self.perform(now, id, &operation, turn);
        if !operation.changes() {
            return Outcome::Read(operation, result);
        }
        if let Some(client) = client
            && let Some(kept) = Kept::of(&result)
        {
            self.clients.keep(client, call.message_id, kept);
            self.mark(Item::Result(client, call.message_id));
            turn.kept.insert((client, call.message_id));
            turn.is_changed = true;
        }
        Outcome::Changed(client, result)
    }

    /// What the answer to a call of the durable dialect is, where it is not to be done.
    fn look_up(
        &mut self,
        client: ClientKey,
        call: u64,
        settled: Option<u64>,
        operation: &Operation,
    ) -> Option<Result<Success, Failure>> {
        let refusal = |error| Some(Err(Failure::new(Code::BAD_REQUEST, error)));
        if settled.is_some_and(|settled| settled >= call) {
            return refusal("\"settled\" must be below \"messageId\"");
        }
        self.settle_calls(client, settled.unwrap_or_default());
        if !operation.changes() {
            return None;
        }
        match self.clients.look_up(client, call) {
            Known::Settled => refusal("a call of this number is settled"),
            Known::Result(kept) => Some(kept.to_result()),
            Known::No if self.clients.unsettled(client) >= self.config.max_calls => {
                let error = "too many calls are not settled";
                Some(Err(Failure {
                    retry_after: Some(RETRY),
                    ..Failure::new(Code::TOO_MANY_REQUESTS, error)
                }))
            }
            Known::No => None,
        }
    }

    fn settle_calls(&mut self, client: ClientKey, settled: u64) {
        if self
            .clients
            .settled(client)
            .is_some_and(|before| settled > before)
        {
            // With the next batch: where it is lost, more is remembered than need be.
            self.mark(Item::Client(client));
            for call in self.clients.settle(client, settled) {
                self.mark(Item::Result(client, call));
            }
        }
    }

    fn perform(
        &mut self,
        now: Time,
        id: FrontId,
        operation: &Operation,
        turn: &mut Turn,
    ) -> Result<Success, Failure> {
        let timestamp = self.timestamp(now);
        let front = self.fronts.get(&id);
        let Some(rights) = front.map(|front| Arc::clone(&front.rights)) else {
            return Err(Failure::new(Code::UNAVAILABLE, RESTARTS));
        };
        let Some(account) = self.accounts.get(rights.key) else {
            let error = "the API key is no longer valid";
            return Err(Failure::new(Code::FORBIDDEN, error));
        };
        let space = Arc::clone(&account.space);
        let caller = Caller {
            config: &self.config,
            policy: &account.policy,
            space: &space,
            patterns: &rights.patterns,
            timestamp,
        };
        let (result, change) = operations::perform(&mut self.store, caller, operation);
        if let Some(sequence) = change {
            self.mark(Item::Value(Arc::clone(&space), operation.key().into()));
            self.mark(Item::Change(Arc::clone(&space), sequence));
            turn.is_changed = true;
            // In the store's record and in that of the change.
            let value = self.store.get(&space, operation.key());
            turn.bytes += 2 * value.map_or(0, Bytes::len);
            turn.spaces.insert(space);
        }
        result
    }

    fn do_hello(&mut self, now: Time, id: FrontId, hello: Hello, turn: &mut Turn) -> Outcome {
        let Some(front) = self.fronts.get(&id) else {
            let failure = Failure::new(Code::UNAVAILABLE, RESTARTS);
            return Outcome::Certain(Err(failure));
        };
        let client = (front.rights.key, hello.client);
        let known = self.clients.knows(client);
        if !known {
            if let Some(failure) = self.storage_trouble() {
                return Outcome::Certain(Err(failure));
            }
            match self.clients.remember(now, &self.config, client) {
                Some(forgotten) => {
                    turn.is_changed = true;
                    self.mark(Item::Client(client));
                    if let Some((client, calls)) = forgotten {
                        self.mark_forgotten(client, calls);
                    }
                }
                None => {
                    let error = "as many clients are remembered as may be";
                    let failure = Failure::new(Code::UNAVAILABLE, error);
                    return Outcome::Certain(Err(failure));
                }
            }
        }
        Outcome::Hello {
            hello,
            client,
            known,
        }
    }

    fn mark_forgotten(&mut self, client: ClientKey, calls: Vec<u64>) {
        self.mark(Item::Client(client));
        for call in calls {
            self.mark(Item::Result(client, call));
        }
    }

    /// Clients that were away for too long are forgotten.
    pub(super) fn clients_timeout(&mut self, now: Time) {
        while let Some(client) = self.clients.overdue(now) {
            let calls = self.clients.forget(client);
            self.mark_forgotten(client, calls);
        }
    }

    // ---- the storage ----

    /// The record has changed, and is written with the next batch.
    pub(super) fn mark(&mut self, item: Item) {
        if let Some(recorder) = &mut self.recorder {
            recorder.change(item);
        }
    }

    /// What is answered to what would have to be stored, while nothing can be.
    fn storage_trouble(&self) -> Option<Failure> {
        self.recorder.as_ref().and_then(Recorder::trouble)?;
        Some(Failure {
            retry_after: Some(RETRY),
            ..Failure::new(Code::UNAVAILABLE, "it cannot be stored at the moment")
        })
    }

    /// Has one batch written of all that has changed.
    pub(super) fn store_changes(&mut self) {
        let Some(mut recorder) = self.recorder.take() else {
            return;
        };
        let action = recorder.poll_action(|item, writes| writes.push(self.record(item)));
        self.recorder = Some(recorder);
        self.actions.extend(action);
    }

    /// What the record shall be.
    fn record(&self, item: &Item) -> crate::storage::Write {
        let value = match item {
            Item::Register => Some(encode_register(self.id, self.signer.secret())),
            Item::Value(space, key) => self.store.get(space, key).map(encode_value),
            Item::Change(space, sequence) => self
                .store
                .space(space)
                .and_then(|space| space.any_change(*sequence))
                .map(encode_change),
            Item::Client(client) => self.clients.settled(*client).map(encode_client),
            Item::Result(client, call) => self.clients.kept(*client, *call).map(encode_result),
        };
        item.write(value)
    }

    pub(super) fn stored(&mut self, now: Time, batch: BatchId, result: Result<(), StorageError>) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let Some(answer) = recorder.handle_stored(now, batch, result) else {
            return;
        };
        if answer.turned {
            self.events.push_back(match &answer.result {
                Ok(()) => Event::StorageRecovered,
                Err(error) => Event::StorageFailed {
                    error: error.clone(),
                },
            });
        }
        if let Some(turn) = self.turn.take() {
            match answer.result {
                Ok(()) => self.commit(now, turn),
                Err(_) => self.roll_back(now, turn),
            }
        }
    }

    pub(super) fn storage_timeout(&mut self, now: Time) {
        if let Some(recorder) = &mut self.recorder
            && recorder.trouble().is_some()
        {
            recorder.handle_timeout(now);
            self.store_changes();
        }
    }

    // ---- the end of a turn ----

    fn commit(&mut self, now: Time, turn: Turn) {
        for (space, sequence) in self.store.commit(&self.config) {
            self.mark(Item::Change(space, sequence));
        }
        for space in &turn.spaces {
            self.stir_subscribers(space);
        }
        self.release(now, turn);
    }

    /// What was changed is taken back. It may lie on the disk all the same, if the power fails now, until the next batch is stored.
    fn roll_back(&mut self, now: Time, mut turn: Turn) {
        self.store.roll_back();
        for done in &mut turn.done {
            let failure = || {
                let error = "it cannot be stored at the moment";
                let retry_after = Some(RETRY);
                Err(Failure {
                    retry_after,
                    ..Failure::new(Code::UNAVAILABLE, error)
                })
            };
            match &done.outcome {
                Outcome::Certain(_) | Outcome::Hello { known: true, .. } => {}
                Outcome::Read(operation, _) => {
                    let operation = operation.clone();
                    let mut nothing = Turn::default();
                    let result = self.perform(now, done.front, &operation, &mut nothing);
                    done.outcome = Outcome::Certain(result);
                }
                Outcome::Changed(client, _) => {
                    if let Some(client) = client {
                        self.clients.take_back(*client, done.message_id);
                    }
                    done.outcome = Outcome::Certain(failure());
                }
                Outcome::Hello { client, .. } => {
                    self.clients.forget(*client);
                    done.outcome = Outcome::Certain(failure());
                }
            }
        }
        self.release(now, turn);
    }

    /// Answers everything that was done in a turn.
    fn release(&mut self, now: Time, turn: Turn) {
        for done in turn.done {
            let Some(front) = self.fronts.get_mut(&done.front) else {
                continue;
            };
            front.in_turn = (0, 0);
            self.stirred.insert(done.front);
            match done.outcome {
                Outcome::Certain(result)
                | Outcome::Read(_, result)
                | Outcome::Changed(_, result) => self.answer(done.front, done.message_id, result),
                Outcome::Hello {
                    hello,
                    client,
                    known,
                } => self.welcome(now, done.front, done.message_id, hello, client, known),
            }
        }
    }

    /// Answers a call or a hello. A client that has asked for another dialect knows then that it does not speak it.
    pub(super) fn answer(&mut self, id: FrontId, call: u64, result: Result<Success, Failure>) {
        if let FrontId::Link(link) = id {
            self.stays_plain(link);
        }
        if let Some(front) = self.fronts.get_mut(&id) {
            front.answer(Some(call), result);
            self.stirred.insert(id);
        }
    }

    /// Lets a call in, or answers it at once.
    pub(super) fn ask(&mut self, now: Time, id: FrontId, call: Call) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let is_durable = matches!(id, FrontId::Session(_));
        let admitted = if matches!(self.phase, Phase::Draining { .. }) {
            Err(Failure {
                retry_after: Some(RETRY),
                ..Failure::new(Code::UNAVAILABLE, RESTARTS)
            })
        } else if is_durable && front.has_enough(self.config.max_calls) {
            Err(Failure {
                retry_after: Some(RETRY),
                ..Failure::new(Code::TOO_MANY_REQUESTS, "too many calls wait")
            })
        } else {
            self.accounts.admit(now, &self.config, front.rights.key)
        };
        match admitted {
            Ok(()) => {
                front.ask(call);
                self.line_up(id);
            }
            Err(failure) => self.answer(id, call.message_id, Err(failure)),
        }
        self.stirred.insert(id);
    }
}

impl Outcome {
    /// About how much memory it takes up.
    fn bytes(&self) -> usize {
        let record = |record: &Record| record.key.len() + record.value.len();
        let result = match self {
            Self::Certain(result) | Self::Read(_, result) | Self::Changed(_, result) => result,
            Self::Hello { .. } => return size_of::<Done>(),
        };
        let bytes = match result {
            Ok(Success::Value(value)) => record(value),
            Ok(Success::Records { records, .. }) => records.iter().map(record).sum(),
            _ => 0,
        };
        size_of::<Done>() + bytes
    }
}
