//! Who knows what must be true, and says so at the moment when it is not.
//!
//! Every accepted message is delivered once, or reported failed, or reported in doubt; twice only where a doubt was reported
//! before and the client was told to send again. In the durable dialect a doubt is true only where state about that message
//! was really lost: by a mail server that vanished, or a relay that came back without its ledger.

use super::network::CLIENTS;
use bytes::Bytes;
use relay_proto::{
    LinkId,
    mail::client::{Error, Event, SubmissionId},
    storage::BatchId,
};
use std::collections::{BTreeMap, BTreeSet};

/// How a message ended, as the client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered.
    Delivered,
    /// It is not.
    Failed,
    /// Nobody knows.
    InDoubt,
    /// It was handed back: it is not delivered, and nobody is to deliver it any more.
    HandedBack,
}

/// What became of a message so far.
#[derive(Debug, Default)]
pub struct Fate {
    /// Whose it is.
    host: usize,
    content: Bytes,
    /// The client has taken responsibility.
    pub accepted: bool,
    /// The client there is now has spoken of it.
    is_known: bool,
    /// The client's memory, or its disk, is gone, and the message with it: it will not report.
    pub forgotten: bool,
    /// How often the server has taken it.
    pub arrived: usize,
    /// How often the client reported a doubt, and sent again.
    pub doubts: usize,
    /// What it reported in the end.
    pub verdict: Option<Verdict>,
    /// The server has refused it for good.
    refused: bool,
    /// State about it was lost since the last doubt.
    excused: bool,
    /// A doubt was reported before. A client that was killed before that was on its disk reports it once more.
    doubted: bool,
}

impl Fate {
    /// Whether nothing more is to be heard of it.
    const fn is_told(&self) -> bool {
        !self.accepted || self.forgotten || self.verdict.is_some()
    }
}

/// A message a server connection is busy with.
struct Transaction {
    number: u64,
    answered: bool,
    /// How far the relay's clock had jumped when it began.
    relay_ahead: i64,
}

/// What counts as the server's silence for good: a minute less than a relay waits for its final reply, in nanoseconds.
const FINAL_REPLY: i64 = 9 * 60 * 1_000_000_000;

/// Sees everything and judges it.
pub struct Oracle {
    /// Whether a doubt needs a reason.
    strict: bool,
    /// Whether the client tries until it succeeds.
    pub(super) endless: bool,
    /// The messages by their numbers.
    pub fates: BTreeMap<u64, Fate>,
    ids: BTreeMap<(usize, SubmissionId), u64>,
    transactions: BTreeMap<LinkId, Transaction>,
    /// Messages whose answer the relay has read, or which it has given up. Its ledger knows as soon as a later batch than
    /// this is stored.
    unstored: Vec<(u64, Option<BatchId>)>,
    /// The last batch the relay has asked for.
    pub(super) last_batch: Option<BatchId>,
    /// The relay has lost its ledger, and these clients have not met the new one: what they still say, they say to the old, whose
    /// last words may still be on their way. True where the client has dialled since: who answers it there is the new one.
    unaware: BTreeMap<usize, bool>,
    /// How far the relay's clock has jumped, in nanoseconds.
    relay_ahead: i64,
    /// The relay grants no sessions, so that there is nobody to ask.
    is_base: bool,
    /// What the server has taken, in order.
    pub taken: Vec<Bytes>,
    /// How many connections the server was opened.
    pub connections: usize,
    /// How many messages it refused because their connection had carried enough.
    pub worn_out: usize,
    /// How many messages the client found on its disk.
    pub restored: usize,
}

impl Oracle {
    pub(super) const fn new(strict: bool, is_base: bool, endless: bool) -> Self {
        Self {
            strict,
            endless,
            fates: BTreeMap::new(),
            ids: BTreeMap::new(),
            transactions: BTreeMap::new(),
            unstored: Vec::new(),
            last_batch: None,
            unaware: BTreeMap::new(),
            relay_ahead: 0,
            is_base,
            taken: Vec::new(),
            connections: 0,
            worn_out: 0,
            restored: 0,
        }
    }

    // ---- the client ----

    pub(super) fn submitted(&mut self, host: usize, id: SubmissionId, number: u64, content: Bytes) {
        self.ids.insert((host, id), number);
        let fate = Fate {
            host,
            content,
            excused: self.is_base || self.unaware.contains_key(&host),
            ..Fate::default()
        };
        let before = self.fates.insert(number, fate);
        assert!(before.is_none(), "message {number} is new");
    }

    fn fate(&mut self, host: usize, id: SubmissionId) -> (u64, &mut Fate) {
        let number = self.ids.get(&(host, id));
        let number =
            *number.unwrap_or_else(|| panic!("the client speaks of an unknown submission {id}"));
        let fate = self.fates.get_mut(&number).expect("it has a number");
        (number, fate)
    }

    pub(super) fn client_says(&mut self, host: usize, event: &Event) {
        let strict = self.strict;
        let unaware = self.is_base || self.unaware.contains_key(&host);
        let endless = self.endless;
        match event {
            Event::Connecting => {
                if let Some(has_dialled) = self.unaware.get_mut(&host) {
                    *has_dialled = true;
                }
            }
            Event::Authenticated { .. } => {
                self.unaware
                    .retain(|other, has_dialled| *other != host || !*has_dialled);
            }
            Event::Queued { id, .. } => {
                let (number, fate) = self.fate(host, *id);
                assert!(!fate.accepted, "message {number} is accepted once");
                fate.accepted = true;
                fate.is_known = true;
            }
            Event::Restored { id, .. } => {
                self.restored += 1;
                let (number, fate) = self.fate(host, *id);
                // Its acceptance was written down and not told any more.
                fate.accepted = true;
                fate.is_known = true;
                fate.excused |= fate.doubted;
                assert!(
                    !fate.forgotten,
                    "message {number} cannot come from a disk that is gone"
                );
                // The process ended between its report and the disk's word for it: it is reported once more.
                if fate.verdict.is_some() {
                    fate.verdict = None;
                }
            }
            Event::InDoubt {
                id, sending_again, ..
            } => {
                let (number, fate) = self.fate(host, *id);
                assert!(
                    !strict || fate.excused,
                    "message {number} is in doubt, and nothing about it was lost"
                );
                if *sending_again {
                    fate.doubts += 1;
                    // A doubt of a relay that is gone can come late, and the next sending still goes to that one.
                    fate.excused = unaware;
                    fate.doubted = true;
                }
            }
            Event::Processed { id, .. } => {
                self.ended(host, *id, Verdict::Delivered);
            }
            Event::Failed { id, error } => {
                let verdict = match error {
                    Error::InDoubt(_) => Verdict::InDoubt,
                    _ => Verdict::Failed,
                };
                self.ended(host, *id, verdict);
                let (number, fate) = self.fate(host, *id);
                let is_expired = matches!(error, Error::Expired { .. });
                assert!(
                    !endless || verdict == Verdict::InDoubt || fate.refused || is_expired,
                    "message {number} failed, and nobody refused it: {error}"
                );
            }
            Event::Terminated { left } => {
                for unsettled in left.iter().filter(|unsettled| !unsettled.kept) {
                    let verdict = if unsettled.in_doubt {
                        Verdict::InDoubt
                    } else {
                        Verdict::HandedBack
                    };
                    self.ended(host, unsettled.id, verdict);
                }
                let left: BTreeSet<u64> = left
                    .iter()
                    .map(|unsettled| self.ids[&(host, unsettled.id)])
                    .collect();
                for (number, fate) in self.fates.iter().filter(|(_, fate)| fate.host == host) {
                    assert!(
                        fate.is_told() || left.contains(number),
                        "message {number} has no end, and its client has: {fate:?}"
                    );
                }
            }
            _ => {}
        }
    }

    /// What could be taken back.
    pub(super) fn unsettled(&self) -> Vec<(usize, SubmissionId)> {
        let is_open = |number| {
            let fate: &Fate = &self.fates[number];
            fate.is_known && !fate.is_told()
        };
        let ids = self.ids.iter();
        ids.filter(|(_, number)| is_open(*number))
            .map(|(id, _)| *id)
            .collect()
    }

    /// The client has handed a submission back: it has sent none of it that it has not reported.
    pub(super) fn taken_back(&mut self, host: usize, id: SubmissionId) {
        let verdict = match self.fate(host, id).1.doubts {
            0 => Verdict::HandedBack,
            _ => Verdict::InDoubt,
        };
        self.ended(host, id, verdict);
    }

    fn ended(&mut self, host: usize, id: SubmissionId, verdict: Verdict) {
        let (number, fate) = self.fate(host, id);
        assert!(
            fate.verdict.is_none(),
            "message {number} ends once: {:?}, then {verdict:?}",
            fate.verdict
        );
        assert!(
            verdict != Verdict::Delivered || fate.arrived > 0,
            "message {number} was reported delivered and never arrived"
        );
        assert!(
            !matches!(verdict, Verdict::Failed | Verdict::HandedBack) || fate.arrived == 0,
            "message {number} was reported {verdict:?} and had arrived"
        );
        fate.verdict = Some(verdict);
    }

    /// The client was killed; what was only in its memory is gone, or all, where its disk is gone as well.
    pub(super) fn client_died(&mut self, host: usize, disk_is_left: bool) {
        for fate in self.fates.values_mut().filter(|fate| fate.host == host) {
            fate.is_known = false;
            fate.forgotten |= fate.verdict.is_none() && !disk_is_left;
        }
    }

    // ---- the server ----

    pub(super) fn begun(&mut self, link: LinkId, sender: &str) {
        let digits = sender.trim_start_matches(['<', 'm']);
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(number) = digits.parse() {
            let transaction = Transaction {
                number,
                answered: false,
                relay_ahead: self.relay_ahead,
            };
            self.transactions.insert(link, transaction);
        }
    }

    pub(super) fn reset(&mut self, link: LinkId) {
        if self
            .transactions
            .get(&link)
            .is_some_and(|transaction| !transaction.answered)
            && let Some(transaction) = self.transactions.remove(&link)
        {
            self.unstored.push((transaction.number, self.last_batch));
        }
    }

    /// The server says what became of the message on this link.
    pub(super) fn answered(&mut self, link: LinkId) {
        if let Some(transaction) = self.transactions.get_mut(&link) {
            transaction.answered = true;
        }
    }

    pub(super) fn refused(&mut self, content: &Bytes, code: u16) {
        if let Some(fate) = self.fates.get_mut(&number(content)) {
            fate.refused |= code >= 500;
        }
    }

    pub(super) fn delivered(&mut self, content: Bytes) {
        let number = number(&content);
        self.taken.push(content.clone());
        let Some(fate) = self.fates.get_mut(&number) else {
            panic!("message {number} was never submitted");
        };
        assert_eq!(
            fate.content.len(),
            content.len(),
            "message {number} has its length"
        );
        assert!(
            fate.content == content,
            "message {number} arrived as it was sent"
        );
        assert!(
            fate.accepted,
            "message {number} arrives and was never accepted"
        );
        fate.arrived += 1;
        assert!(
            fate.arrived <= fate.doubts + 1,
            "message {number} arrived {} times with {} doubts",
            fate.arrived,
            fate.doubts
        );
        assert!(
            !matches!(fate.verdict, Some(Verdict::Failed | Verdict::HandedBack)),
            "message {number} was reported {:?} and arrives",
            fate.verdict
        );
    }

    // ---- what is lost ----

    /// A wire to the server is gone: where it was busy with a message and the relay has not read the answer, nobody knows.
    pub(super) fn wire_lost(&mut self, link: LinkId, by_relay: bool) {
        match self.transactions.remove(&link) {
            // A relay that leaves a server that works has nothing to say in its favour, but that its ledger has to learn of it.
            Some(transaction) if by_relay => {
                self.unstored.push((transaction.number, self.last_batch));
            }
            Some(transaction) => self.excuse(transaction.number),
            None => {}
        }
    }

    /// The relay's clock jumps. To it the server has been silent for all that time, jumps before included, and it may have
    /// given up on it.
    pub(super) fn relay_clock_jumps(&mut self, by: i64) {
        self.relay_ahead += by;
        let silent = |waits: &&Transaction| self.relay_ahead - waits.relay_ahead > FINAL_REPLY;
        let waiting = self.transactions.values().filter(silent);
        let waiting: Vec<u64> = waiting.map(|waits| waits.number).collect();
        for number in waiting {
            self.excuse(number);
        }
    }

    /// The relay has read all the server said on this link.
    pub(super) fn relay_read(&mut self, link: LinkId) {
        if let Some(transaction) = self.transactions.get_mut(&link)
            && transaction.answered
        {
            let number = transaction.number;
            self.transactions.remove(&link);
            self.unstored.push((number, self.last_batch));
        }
    }

    /// The storage has answered. What it failed to store is in no batch before the next.
    pub(super) fn relay_stored(&mut self, batch: BatchId, is_stored: bool) {
        if is_stored {
            self.unstored.retain(|(_, read)| Some(batch) <= *read);
        } else {
            for (_, read) in &mut self.unstored {
                *read = self.last_batch;
            }
        }
    }

    /// The relay was killed, and has lost its ledger with it or not.
    pub(super) fn relay_died(&mut self, ledger_is_left: bool) {
        let numbers: Vec<u64> = if ledger_is_left {
            let transactions = std::mem::take(&mut self.transactions);
            let busy = transactions
                .into_values()
                .map(|transaction| transaction.number);
            let unstored = std::mem::take(&mut self.unstored);
            busy.chain(unstored.into_iter().map(|(number, _)| number))
                .collect()
        } else {
            self.transactions.clear();
            self.unstored.clear();
            self.all_are_unaware();
            self.fates.keys().copied().collect()
        };
        for number in numbers {
            self.excuse(number);
        }
    }

    /// The relay has come back with the other dialect. In the base one there is nobody to ask, in the other nobody who knows
    /// what was sent in that.
    pub(super) fn relay_converted(&mut self) {
        self.is_base = !self.is_base;
        self.all_are_unaware();
        for fate in self.fates.values_mut() {
            fate.excused = true;
        }
    }

    fn all_are_unaware(&mut self) {
        self.unaware = CLIENTS.into_iter().map(|host| (host, false)).collect();
    }

    fn excuse(&mut self, number: u64) {
        if let Some(fate) = self.fates.get_mut(&number) {
            fate.excused = true;
        }
    }

    // ---- the end ----

    /// Whether everything that was accepted has its verdict.
    pub fn all_settled(&self) -> bool {
        self.fates.values().all(Fate::is_told)
    }

    /// Judges what can be judged only when nothing moves any more.
    pub(super) fn at_rest(&self) {
        for (number, fate) in &self.fates {
            assert!(fate.is_told(), "message {number} has no end: {fate:?}");
        }
    }

    /// How many doubts were reported.
    pub fn doubts(&self) -> usize {
        let undecided = |fate: &&Fate| fate.verdict == Some(Verdict::InDoubt);
        let failed = self.fates.values().filter(undecided).count();
        failed + self.fates.values().map(|fate| fate.doubts).sum::<usize>()
    }
}

/// The number in a message's subject.
fn number(content: &Bytes) -> u64 {
    let subject = content.strip_prefix(b"Subject: ");
    let subject = subject.unwrap_or_else(|| panic!("a message without its subject arrived"));
    let digits = subject.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
