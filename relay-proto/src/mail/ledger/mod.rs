//! A relay's record of what became of deliveries, so that a client that asks again is told and nothing is sent twice.
//!
//! An inner machine of a relay. The order is what matters:
//!
//! 1. Before the end of data is forwarded the relay [begins](Ledger::begin) the delivery: the *intent* is stored.
//! 2. [`LedgerEvent::Begun`]: the intent is safe, and the end of data may go out. [`LedgerEvent::NotBegun`]: it is not,
//!    and the client is to come again later, with the same delivery.
//! 3. When the upstream has answered, or has vanished, the relay [settles](Ledger::settle) the delivery: the *outcome* is stored.
//! 4. [`LedgerEvent::Settled`]: the outcome is safe, and the client may be told.
//!
//! A relay that ends in between finds the intent without its outcome: the delivery is [in doubt](Outcome::InDoubt). Without a
//! storage the same ledger lives in memory, and ends with the relay.
//!
//! What a ledger does not know it may have forgotten. So clients are told its [mark](Ledger::mark) before they send anything,
//! and give it back when they ask: where the ledger [covers](Ledger::covers) it, nothing of theirs that began later was forgotten.
//!
//! Accounts share the ledger's [limits](LedgerLimits). While there is room each takes what it needs; where there is none, whoever has most
//! loses its oldest outcome, so that a flood of one account forgets nothing of others that have less.
//!
//! ```
//! use relay_proto::{Random, Time, mail::{DeliveryId, Outcome, ledger::{Known, Ledger, LedgerEvent, LedgerLimits}}, smtp::reply};
//!
//! let mut random = Random::new([7; 32]);
//! let mut ledger = Ledger::in_memory(LedgerLimits::default(), &mut random);
//! let (now, delivery, mark) = (Time::ZERO, DeliveryId::random(&mut random), ledger.mark("alice"));
//! assert_eq!(ledger.look_up("alice", delivery), None);
//! assert!(ledger.covers("alice", &mark), "not known, and not forgotten: it never began");
//! ledger.begin(now, "alice", delivery)?;
//! assert!(matches!(ledger.poll_event(), Some(LedgerEvent::Begun { .. })));
//! // The end of data goes out, and the upstream's answer comes.
//! let outcome = Outcome::Answered { reply: reply(250, "2.0.0", "queued"), rejected: vec![] };
//! ledger.settle(now, "alice", delivery, outcome.clone());
//! assert!(matches!(ledger.poll_event(), Some(LedgerEvent::Settled { .. })));
//! assert_eq!(ledger.look_up("alice", delivery), Some(Known::Settled(&outcome)));
//! # Ok::<(), relay_proto::mail::ledger::NotBegun>(())
//! ```

mod event;
mod forgotten;
mod holdings;
mod mark;
mod outcome;
#[cfg(test)]
mod tests;

pub use event::{Known, LedgerEvent, NotBegun};

use self::{
    forgotten::Forgotten,
    holdings::{Holdings, Measure, Place},
};
use super::{DeliveryId, Outcome};
use crate::{
    Action, Deadline, Random, Time,
    storage::{BatchId, Record, Recorder, RestoreError, StorageError, Write},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::{cmp::Reverse, time::Duration};

/// The table of a ledger's records.
const TABLE: &str = "ledger";

/// The table that says up to where of each account was forgotten.
const FORGOTTEN: &str = "ledger-forgotten";

/// What an entry takes up besides its account and its value, in bytes: about what the maps need.
const OVERHEAD: usize = 200;

/// How many numbers are reserved at a time: so many that a reservation is seldom written, and so few of the 64-bit numbers that a
/// restart, which leaves out what is left of them, wastes none worth mentioning.
const RESERVATION: u64 = 1 << 20;

/// Whose delivery, and which.
type Key = (Arc<str>, DeliveryId);

/// How much a ledger remembers, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerLimits {
    /// The most deliveries: 200,000, half a message a second over the five days below.
    pub entries: usize,
    /// The most bytes they take up in memory: 64 MiB, which 200,000 usual ones stay below.
    pub bytes: usize,
    /// How long an outcome is kept: 5 days, since that is how long a client goes on trying (RFC 5321, section 4.5.4.1).
    pub age: Duration,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self {
            entries: 200_000,
            bytes: 64 << 20,
            age: Duration::from_secs(5 * 24 * 60 * 60),
        }
    }
}

/// What is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Register,
    /// Up to where of this account was forgotten.
    Forgotten(Arc<str>),
    Entry(Key),
}

/// The ledger's own record.
#[derive(Clone, Copy, Debug)]
struct Register {
    /// Names the ledger: no other has the same.
    id: u128,
    /// The highest number of an entry that was forgotten, of those for which this is not kept by account.
    forgotten: u64,
    /// All numbers below this one are this run's to count with: the next run begins here.
    reserved: u64,
}

#[derive(Debug)]
struct Entry {
    /// The how manieth it was to begin. It grows over restarts, too.
    number: u64,
    state: State,
    /// Whether this state is stored and was told.
    told: bool,
}

#[derive(Debug)]
enum State {
    Intent,
    Settled {
        outcome: Outcome,
        bytes: usize,
        place: Place,
    },
}

/// The record of deliveries; see the [module](self).
///
/// Every operation takes time logarithmic in the number of entries.
#[derive(Debug)]
pub struct Ledger {
    limits: LedgerLimits,
    entries: BTreeMap<Key, Entry>,
    /// The settled ones that were told, those that are forgotten first in front. What was not told yet is never forgotten.
    ageing: BTreeMap<Place, Key>,
    holdings: Holdings,
    forgotten: Forgotten,
    register: Register,
    /// The number of the next entry, from 1.
    next: u64,
    /// The reservation that is known to be stored. No mark is above it, so that no run after this one counts below any.
    safe: u64,
    bytes: usize,
    /// None: in memory only.
    recorder: Option<Recorder<Item>>,
    events: VecDeque<LedgerEvent>,
}

impl Ledger {
    /// An empty ledger that ends with its relay.
    pub fn in_memory(limits: LedgerLimits, random: &mut Random) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            ageing: BTreeMap::new(),
            holdings: Holdings::default(),
            forgotten: Forgotten::default(),
            register: Register {
                id: random.next_u128(),
                forgotten: 0,
                reserved: 1,
            },
            next: 1,
            safe: 1,
            bytes: 0,
            recorder: None,
            events: VecDeque::new(),
        }
    }

    /// A ledger that is stored, with what was stored before; intents without outcome are in doubt.
    ///
    /// # Errors
    ///
    /// Where a record is not a ledger's, of a newer format, or damaged.
    pub fn restore(
        limits: LedgerLimits,
        random: &mut Random,
        now: Time,
        records: Vec<Record>,
    ) -> Result<Self, RestoreError> {
        let mut ledger = Self::in_memory(limits, random);
        ledger.recorder = Some(Recorder::new());
        let mut decoded = Vec::new();
        for record in records {
            if record.table == FORGOTTEN {
                let (account, number) = outcome::decode_forgotten(&record)?;
                let until = now.after(limits.age.saturating_sub(record.age));
                ledger.forgotten.add(&account, number, until);
                continue;
            }
            if record.table != TABLE {
                let table = record.table;
                return Err(RestoreError::Foreign { table });
            }
            if record.key == outcome::REGISTER {
                ledger.register = outcome::decode_register(&record)?;
                continue;
            }
            let (number, outcome) = outcome::decode_outcome(&record)?;
            let key = outcome::decode_key(&record)?;
            decoded.push((record.age, number, key, outcome));
        }
        ledger.safe = ledger.register.reserved;
        // Entries may have been counted beyond a reservation that was on its way to the storage with them.
        let highest = decoded.iter().map(|(_, number, ..)| *number).max();
        let highest = highest
            .unwrap_or(0)
            .max(ledger.register.forgotten)
            .max(ledger.forgotten.highest());
        ledger.next = ledger.safe.max(highest.saturating_add(1));
        // The oldest first, as they were settled.
        decoded.sort_by_key(|(age, number, ..)| (Reverse(*age), *number));
        for (age, number, key, outcome) in decoded {
            let forgotten = now.after(limits.age.saturating_sub(age));
            ledger.enter(key, number, outcome, forgotten, true);
        }
        ledger.make_room(now, None, 0, 0);
        // At once, so that the marks given from now on are known after a restart, also where nothing else is stored before.
        ledger.reserve();
        Ok(ledger)
    }

    /// What is known of a delivery; none: it never came as far as its end of data, or it is forgotten.
    pub fn look_up(&self, account: &str, delivery: DeliveryId) -> Option<Known<'_>> {
        let entry = self.entries.get(&(Arc::from(account), delivery))?;
        Some(match &entry.state {
            State::Settled { outcome, .. } if entry.told => Known::Settled(outcome),
            _ => Known::UnderWay,
        })
    }

    /// Writes the intent down. [`LedgerEvent::Begun`] or [`LedgerEvent::NotBegun`] follows.
    ///
    /// The account must be what stays the same when the client comes back, and no secret: it is stored.
    ///
    /// # Errors
    ///
    /// Where the delivery is known, the ledger full of deliveries under way, or the storage known not to work.
    pub fn begin(
        &mut self,
        now: Time,
        account: &str,
        delivery: DeliveryId,
    ) -> Result<(), NotBegun> {
        let key: Key = (Arc::from(account), delivery);
        if self.entries.contains_key(&key) {
            return Err(NotBegun::Known);
        }
        if let Some(error) = self.recorder.as_ref().and_then(Recorder::trouble) {
            return Err(NotBegun::Storage(error.clone()));
        }
        if !self.make_room(now, Some(account), 1, intent_bytes(account)) {
            return Err(NotBegun::Full);
        }
        self.bytes += intent_bytes(account);
        self.holdings.add(&key.0, intent_bytes(account));
        let entry = Entry {
            number: self.next,
            state: State::Intent,
            told: false,
        };
        self.next = self.next.saturating_add(1);
        self.entries.insert(key.clone(), entry);
        self.reserve();
        self.change(key);
        Ok(())
    }

    /// Takes an intent back whose end of data was not forwarded after all.
    pub fn withdraw(&mut self, account: &str, delivery: DeliveryId) {
        let key = (Arc::from(account), delivery);
        if let Some(State::Intent) = self.entries.get(&key).map(|entry| &entry.state) {
            self.remove(&key);
            self.change(key);
        }
    }

    /// Writes down what became of a delivery that has begun. [`LedgerEvent::Settled`] follows when that is stored, however
    /// long the storage takes for it. Does nothing where no such delivery is under way.
    ///
    /// Of each reply no more than eight lines are kept.
    pub fn settle(&mut self, now: Time, account: &str, delivery: DeliveryId, outcome: Outcome) {
        let key = (Arc::from(account), delivery);
        if let Some(entry) = self.entries.get(&key)
            && matches!(entry.state, State::Intent)
        {
            let number = entry.number;
            self.remove(&key);
            let forgotten = now.after(self.limits.age);
            self.enter(key.clone(), number, outcome.shortened(), forgotten, false);
            self.make_room(now, Some(account), 0, 0);
            self.change(key);
        }
    }

    /// Takes the answer to a batch.
    pub fn handle_stored(&mut self, now: Time, batch: BatchId, result: Result<(), StorageError>) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let Some(answer) = recorder.handle_stored(now, batch, result) else {
            return;
        };
        if answer.turned {
            self.events.push_back(match &answer.result {
                Ok(()) => LedgerEvent::StorageRecovered,
                Err(error) => LedgerEvent::StorageFailed {
                    error: error.clone(),
                },
            });
        }
        for item in answer.keys {
            match (item, &answer.result) {
                (Item::Register, Ok(())) => self.register_stored(),
                (Item::Register | Item::Forgotten(_), _) => {}
                (Item::Entry(key), Ok(())) => self.confirm(key),
                (Item::Entry(key), Err(error)) => self.refuse(key, error),
            }
        }
    }

    /// Forgets what is too old, and tries a storage again that has failed.
    pub fn handle_timeout(&mut self, now: Time) {
        if let Some(recorder) = &mut self.recorder {
            recorder.handle_timeout(now);
        }
        while let Some(oldest) = self.ageing.first_entry()
            && oldest.key().0 <= now
        {
            let key = oldest.get().clone();
            self.forget(now, key);
        }
        self.forget_apart(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn deadline(&self) -> Option<Deadline> {
        let timer = "ledger";
        let ageing = self.ageing.first_key_value();
        Deadline::earliest([
            self.recorder.as_ref().and_then(Recorder::deadline),
            ageing.map(|((at, _), _)| Deadline { at: *at, timer }),
            self.forgotten.deadline().map(|at| Deadline { at, timer }),
        ])
    }

    /// The next batch to be stored.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        let (entries, register, forgotten) = (&self.entries, &self.register, &self.forgotten);
        self.recorder.as_mut()?.poll_action(|item, writes| {
            let table = TABLE;
            let key = match item {
                Item::Entry(key) => key,
                Item::Register => {
                    let (key, value) =
                        (outcome::REGISTER.into(), outcome::encode_register(register));
                    return writes.push(Write::Put { table, key, value });
                }
                Item::Forgotten(account) => {
                    let (table, key) = (FORGOTTEN, outcome::encode_account(account));
                    return writes.push(match forgotten.of(account) {
                        0 => Write::Delete { table, key },
                        number => Write::Put {
                            table,
                            key,
                            value: outcome::encode_forgotten(number),
                        },
                    });
                }
            };
            let key_bytes = outcome::encode_key(key);
            writes.push(match entries.get(key) {
                None => Write::Delete {
                    table,
                    key: key_bytes,
                },
                Some(entry) => Write::Put {
                    table,
                    key: key_bytes,
                    value: match &entry.state {
                        State::Intent => outcome::encode_intent(entry.number),
                        State::Settled { outcome, .. } => {
                            outcome::encode_outcome(entry.number, outcome)
                        }
                    },
                },
            });
        })
    }

    /// The next piece of news, oldest first.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<LedgerEvent> {
        self.events.pop_front()
    }

    /// How many deliveries it knows, those under way included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the storage has answered everything and is asked for nothing: a relay that ends waits for this.
    pub fn is_at_rest(&self) -> bool {
        self.recorder.as_ref().is_none_or(Recorder::is_at_rest)
    }

    fn enter(&mut self, key: Key, number: u64, outcome: Outcome, forgotten: Time, told: bool) {
        let bytes = intent_bytes(&key.0) + outcome::encode_outcome(number, &outcome).len();
        self.bytes += bytes;
        self.holdings.add(&key.0, bytes);
        let place = (forgotten, number);
        if told {
            self.holdings.may_forget(&key.0, place);
            self.ageing.insert(place, key.clone());
        }
        let state = State::Settled {
            outcome,
            bytes,
            place,
        };
        let entry = Entry {
            number,
            state,
            told,
        };
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) {
        match self.entries.remove(key).map(|entry| entry.state) {
            None => {}
            Some(State::Intent) => {
                self.bytes -= intent_bytes(&key.0);
                self.holdings.remove(&key.0, intent_bytes(&key.0), None);
            }
            Some(State::Settled { bytes, place, .. }) => {
                self.bytes -= bytes;
                self.holdings.remove(&key.0, bytes, Some(place));
                self.ageing.remove(&place);
            }
        }
    }

    /// That something is missing is stored in the same batch, or nobody could tell later.
    fn forget(&mut self, now: Time, key: Key) {
        if let Some(entry) = self.entries.get(&key) {
            let until = now.after(self.limits.age);
            self.forgotten.add(&key.0, entry.number, until);
        }
        self.remove(&key);
        if let Some(recorder) = &mut self.recorder {
            recorder.change(Item::Forgotten(Arc::clone(&key.0)));
        }
        self.change(key);
        self.forget_apart(now);
    }

    /// What need not be kept by account any more holds for all of them, in the same batch.
    fn forget_apart(&mut self, now: Time) {
        while let Some((account, number)) = self.forgotten.expire(now) {
            self.register.forgotten = self.register.forgotten.max(number);
            self.write_register();
            if let Some(recorder) = &mut self.recorder {
                recorder.change(Item::Forgotten(account));
            }
        }
    }

    /// Sees to it that there are numbers to count with for some time.
    fn reserve(&mut self) {
        if self.register.reserved.saturating_sub(self.next) < RESERVATION / 2 {
            self.register.reserved = self.next.saturating_add(RESERVATION);
            self.write_register();
        }
    }

    fn register_stored(&mut self) {
        let recorder = self.recorder.as_ref();
        // Where it has changed since, what of it is stored is older.
        if recorder.is_some_and(|recorder| recorder.is_stored(&Item::Register)) {
            self.safe = self.register.reserved;
        }
    }

    fn write_register(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.change(Item::Register);
        }
    }

    /// Forgets outcomes of whoever has most, the oldest first, until so many more entries and bytes of this account find room; false
    /// where they do not. What was not told yet, or is under way, stays.
    fn make_room(
        &mut self,
        now: Time,
        account: Option<&str>,
        entries: usize,
        bytes: usize,
    ) -> bool {
        loop {
            let measure = if self.entries.len().saturating_add(entries) > self.limits.entries {
                Measure::Entries
            } else if self.bytes.saturating_add(bytes) > self.limits.bytes {
                Measure::Bytes
            } else {
                return true;
            };
            let oldest = self.holdings.oldest_of_largest(measure, account);
            let Some(key) = oldest.and_then(|place| self.ageing.get(&place)).cloned() else {
                return false;
            };
            let (account, delivery) = key.clone();
            self.events
                .push_back(LedgerEvent::Forgotten { account, delivery });
            self.forget(now, key);
        }
    }

    /// The entry is to be stored as it is now; in memory that is done.
    fn change(&mut self, key: Key) {
        match &mut self.recorder {
            Some(recorder) => recorder.change(Item::Entry(key)),
            None => self.confirm(key),
        }
    }

    /// Tells that an entry is stored as it is now, if it is.
    fn confirm(&mut self, key: Key) {
        if let Some(recorder) = &self.recorder
            && !recorder.is_stored(&Item::Entry(key.clone()))
        {
            return;
        }
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if entry.told {
            return;
        }
        entry.told = true;
        if let State::Settled { place, .. } = entry.state {
            self.holdings.may_forget(&key.0, place);
            self.ageing.insert(place, key.clone());
        }
        let is_settled = matches!(entry.state, State::Settled { .. });
        let (account, delivery) = key;
        self.events.push_back(match is_settled {
            false => LedgerEvent::Begun { account, delivery },
            true => LedgerEvent::Settled { account, delivery },
        });
    }

    /// A write has failed: what was to begin does not; what was settled waits for the storage.
    fn refuse(&mut self, key: Key, error: &StorageError) {
        if let Some(Entry {
            state: State::Intent,
            told: false,
            ..
        }) = self.entries.get(&key)
        {
            self.remove(&key);
            let ((account, delivery), error) = (key, error.clone());
            self.events.push_back(LedgerEvent::NotBegun {
                account,
                delivery,
                error,
            });
        }
    }
}

fn intent_bytes(account: &str) -> usize {
    account.len() + OVERHEAD
}
