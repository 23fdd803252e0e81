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
//! and give it back when they ask: where the ledger [covers](Ledger::covers) it, nothing that began later was forgotten.
//!
//! ```
//! use relay_proto::{Random, Time, mail::{DeliveryId, Outcome, ledger::{Known, Ledger, LedgerEvent, LedgerLimits}}, smtp::reply};
//!
//! let mut random = Random::new([7; 32]);
//! let mut ledger = Ledger::in_memory(LedgerLimits::default(), &mut random);
//! let (now, delivery, mark) = (Time::ZERO, DeliveryId::random(&mut random), ledger.mark());
//! assert_eq!(ledger.look_up("alice", delivery), None);
//! assert!(ledger.covers(&mark), "not known, and not forgotten: it never began");
//! ledger.begin("alice", delivery)?;
//! assert!(matches!(ledger.poll_event(), Some(LedgerEvent::Begun { .. })));
//! // The end of data goes out, and the upstream's answer comes.
//! let outcome = Outcome::Answered { reply: reply(250, "2.0.0", "queued"), rejected: vec![] };
//! ledger.settle(now, "alice", delivery, outcome.clone());
//! assert!(matches!(ledger.poll_event(), Some(LedgerEvent::Settled { .. })));
//! assert_eq!(ledger.look_up("alice", delivery), Some(Known::Settled(&outcome)));
//! # Ok::<(), relay_proto::mail::ledger::NotBegun>(())
//! ```

mod outcome;
#[cfg(test)]
mod tests;

use super::{DeliveryId, Outcome};
use crate::{
    Action, Deadline, Random, Time,
    storage::{BatchId, Record, Recorder, RestoreError, StorageError, Write},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    format,
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::{cmp::Reverse, time::Duration};

/// The table of a ledger's records.
const TABLE: &str = "ledger";

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

/// What a ledger knows of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Known<'a> {
    /// Its end of data is forwarded or about to be. It must not be sent again; [`LedgerEvent::Settled`] or
    /// [`LedgerEvent::NotBegun`] follows.
    UnderWay,
    /// This became of it.
    Settled(&'a Outcome),
}

/// Why a delivery cannot begin. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotBegun {
    /// It is known: see [`Ledger::look_up`].
    #[error("the delivery has begun before")]
    Known,
    /// As many as the ledger holds are under way.
    #[error("as many deliveries as the ledger holds are under way")]
    Full,
    /// The storage does not work.
    #[error("the delivery cannot be written down: {0}")]
    Storage(StorageError),
}

/// News from a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerEvent {
    /// The intent is stored: the end of data may be forwarded.
    Begun {
        /// Whose delivery.
        account: Arc<str>,
        /// Which.
        delivery: DeliveryId,
    },
    /// The intent could not be stored: the end of data must not be forwarded, and the delivery is forgotten.
    NotBegun {
        /// Whose delivery.
        account: Arc<str>,
        /// Which.
        delivery: DeliveryId,
        /// Why.
        error: StorageError,
    },
    /// The outcome is stored: whoever asks may be told.
    Settled {
        /// Whose delivery.
        account: Arc<str>,
        /// Which.
        delivery: DeliveryId,
    },
    /// An outcome was forgotten before its time to make room for newer ones.
    Forgotten {
        /// Whose delivery.
        account: Arc<str>,
        /// Which.
        delivery: DeliveryId,
    },
    /// The storage has begun to fail. Nothing begins, and outcomes are held back, until it works again.
    StorageFailed {
        /// Why.
        error: StorageError,
    },
    /// The storage works again.
    StorageRecovered,
}

/// What is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Register,
    Entry(Key),
}

/// The ledger's own record.
#[derive(Clone, Copy, Debug)]
struct Register {
    /// Names the ledger: no other has the same.
    id: u128,
    /// The highest number of an entry that was forgotten.
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
        /// When it is forgotten, and its number, since several may be at the same time.
        place: (Time, u64),
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
    ageing: BTreeMap<(Time, u64), Key>,
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
        let highest = highest.unwrap_or(0).max(ledger.register.forgotten);
        ledger.next = ledger.safe.max(highest.saturating_add(1));
        // The oldest first, as they were settled.
        decoded.sort_by_key(|(age, number, ..)| (Reverse(*age), *number));
        for (age, number, key, outcome) in decoded {
            let forgotten = now.after(limits.age.saturating_sub(age));
            ledger.enter(key, number, outcome, forgotten, true);
        }
        ledger.make_room(0, 0);
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

    /// Where the ledger stands, in up to 64 printable characters that mean nothing to others: every delivery that begins from now
    /// on comes after it, whatever the storage does and however often the relay restarts.
    pub fn mark(&self) -> String {
        let number = match self.recorder {
            // One that lags says less, and nothing that is wrong.
            Some(_) => self.next.min(self.safe),
            None => self.next,
        };
        format!("{:032x}:{number}", self.register.id)
    }

    /// Whether this ledger still knows every delivery that has come to its end of data since this mark: it has forgotten none of
    /// them, by age or for want of room. Marks of other ledgers and whatever else is no mark are not covered.
    pub fn covers(&self, mark: &str) -> bool {
        let Some((id, number)) = mark.split_once(':') else {
            return false;
        };
        let Ok(number) = number.parse() else {
            return false;
        };
        // A number yet to come was never given away.
        id == format!("{:032x}", self.register.id)
            && (self.register.forgotten.saturating_add(1)..=self.next).contains(&number)
    }

    /// Writes the intent down. [`LedgerEvent::Begun`] or [`LedgerEvent::NotBegun`] follows.
    ///
    /// The account must be what stays the same when the client comes back, and no secret: it is stored.
    ///
    /// # Errors
    ///
    /// Where the delivery is known, the ledger full of deliveries under way, or the storage known not to work.
    pub fn begin(&mut self, account: &str, delivery: DeliveryId) -> Result<(), NotBegun> {
        let key = (Arc::from(account), delivery);
        if self.entries.contains_key(&key) {
            return Err(NotBegun::Known);
        }
        if let Some(error) = self.recorder.as_ref().and_then(Recorder::trouble) {
            return Err(NotBegun::Storage(error.clone()));
        }
        if !self.make_room(1, intent_bytes(account)) {
            return Err(NotBegun::Full);
        }
        self.bytes += intent_bytes(account);
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
            self.make_room(0, 0);
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
                (Item::Register, Err(_)) => {}
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
            self.forget(key);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn deadline(&self) -> Option<Deadline> {
        let timer = "ledger";
        let ageing = self.ageing.first_key_value();
        Deadline::earliest([
            self.recorder.as_ref().and_then(Recorder::deadline),
            ageing.map(|((at, _), _)| Deadline { at: *at, timer }),
        ])
    }

    /// The next batch to be stored.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        let (entries, register) = (&self.entries, &self.register);
        self.recorder.as_mut()?.poll_action(|item, writes| {
            let table = TABLE;
            let Item::Entry(key) = item else {
                let (key, value) = (outcome::REGISTER.into(), outcome::encode_register(register));
                return writes.push(Write::Put { table, key, value });
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
        let place = (forgotten, number);
        if told {
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
            Some(State::Intent) => self.bytes -= intent_bytes(&key.0),
            Some(State::Settled { bytes, place, .. }) => {
                self.bytes -= bytes;
                self.ageing.remove(&place);
            }
        }
    }

    /// The register is stored in the same batch, or nobody could tell later that something is missing.
    fn forget(&mut self, key: Key) {
        if let Some(entry) = self.entries.get(&key) {
            self.register.forgotten = self.register.forgotten.max(entry.number);
        }
        self.remove(&key);
        self.write_register();
        self.change(key);
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

    /// Forgets outcomes, the oldest first, until so many more entries and bytes find room; false where they do not.
    /// What was not told yet, or is under way, stays.
    fn make_room(&mut self, entries: usize, bytes: usize) -> bool {
        let fits = |ledger: &Self| {
            ledger.entries.len().saturating_add(entries) <= ledger.limits.entries
                && ledger.bytes.saturating_add(bytes) <= ledger.limits.bytes
        };
        while !fits(self)
            && let Some((_, key)) = self.ageing.pop_first()
        {
            let (account, delivery) = key.clone();
            self.events
                .push_back(LedgerEvent::Forgotten { account, delivery });
            self.forget(key);
        }
        fits(self)
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
