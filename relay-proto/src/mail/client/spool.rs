//! The outbox on disk: what is accepted is there first, and what may have been sent is known to be so after a crash.
//!
//! A message is on disk from its acceptance to its end. Before it goes out it is written down that it may have been sent,
//! while the channel is being opened, so that this costs time only where the disk is slower than the relay.

mod record;
mod terms;

use super::{
    Client, Error, Event, Life, Refusal, Refused, SubmissionId,
    ahead::Terms,
    settlement::{self, Delivery},
};
use crate::{
    Action, Deadline, Time, WebSocketUrl,
    link::Backoff,
    mail::DeliveryId,
    outbox::Entry,
    storage::{BatchId, Record, Recorder, RestoreError, StorageError},
};
use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;
use record::Progress;

#[derive(Debug)]
pub(super) struct Spool {
    recorder: Recorder<Key>,
    /// The disk may have what the relay has granted last.
    remembers: bool,
    /// Not accepted yet: being written.
    arriving: BTreeMap<DeliveryId, Entry<Delivery>>,
    /// Accepted, and how far each has come.
    kept: BTreeMap<DeliveryId, Progress>,
}

/// What the records are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// What the relay has granted last.
    Terms,
    /// A submission.
    Submission(DeliveryId),
}

impl Spool {
    /// The relay's last word has changed; whether there is one.
    pub(super) fn remember(&mut self, any: bool) {
        if self.remembers || any {
            self.remembers = any;
            self.recorder.change(Key::Terms);
        }
    }

    pub(super) fn arrive(&mut self, entry: Entry<Delivery>) {
        self.recorder.change(Key::Submission(entry.item.id));
        self.arriving.insert(entry.item.id, entry);
    }

    pub(super) fn has(&self, delivery: DeliveryId) -> bool {
        self.arriving.contains_key(&delivery) || self.kept.contains_key(&delivery)
    }

    pub(super) fn trouble(&self) -> Option<&StorageError> {
        self.recorder.trouble()
    }

    pub(super) fn works(&self) -> bool {
        self.trouble().is_none()
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        self.recorder.handle_timeout(now);
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.recorder.deadline()
    }

    pub(super) fn poll_action(
        &mut self,
        endpoint: &WebSocketUrl,
        promised: Option<&Terms>,
    ) -> Option<Action> {
        let (arriving, kept) = (&self.arriving, &self.kept);
        self.recorder.poll_action(|key, writes| {
            let Key::Submission(delivery) = key else {
                return writes.push(terms::write(endpoint, promised));
            };
            if let Some(entry) = arriving.get(delivery) {
                record::put_submission(entry, writes);
            } else if let Some(progress) = kept.get(delivery) {
                record::put_progress(*delivery, progress, writes);
            } else {
                record::delete(*delivery, writes);
            }
        })
    }

    /// Writes down that a submission may have been sent to a relay whose ledger stood here, if not earlier.
    pub(super) fn note_mark(&mut self, entry: &Entry<Delivery>, mark: String) {
        let earlier = entry.item.sent_under.clone();
        self.note(entry, false, earlier.or(Some(mark)));
    }

    fn note(&mut self, entry: &Entry<Delivery>, under_way: bool, sent_under: Option<String>) {
        let progress = Progress {
            under_way,
            sent_again: entry.item.sent_again,
            retries: entry.item.retries.attempt(),
            concluded: entry.item.concluded,
            sent_under,
        };
        if self.kept.get(&entry.item.id) != Some(&progress) {
            self.kept.insert(entry.item.id, progress);
            self.recorder.change(Key::Submission(entry.item.id));
        }
    }

    /// Takes a submission that has reached the disk.
    fn arrived(&mut self, delivery: DeliveryId) -> Option<Entry<Delivery>> {
        if !self.recorder.is_stored(&Key::Submission(delivery)) {
            return None;
        }
        let entry = self.arriving.remove(&delivery)?;
        self.kept.insert(delivery, Progress::default());
        Some(entry)
    }
}

/// Whether it is written down that a submission may have been sent, where that has to be.
pub(super) fn is_written_down(spool: Option<&Spool>, entry: &Entry<Delivery>) -> bool {
    spool.is_none_or(|spool| spool.recorder.is_stored(&Key::Submission(entry.item.id)))
}

impl Client {
    /// A client that keeps its outbox on disk, and goes on with the submissions an earlier one had accepted: each is told in
    /// [`Event::Restored`], and has its priority, its age and its tries so far. One that was being sent when the earlier client
    /// ended is in doubt, and dealt with by [`ClientConfig::in_doubt`](super::ClientConfig::in_doubt).
    ///
    /// The seed must be a new one: the names of deliveries come from it, and two messages of one name are one to a relay.
    /// Without records it is a client with an empty outbox on disk. The driver needs a storage.
    ///
    /// # Errors
    ///
    /// Where a record is not an outbox's, of a newer format, or damaged.
    pub fn restore(
        config: super::ClientConfig,
        seed: [u8; 32],
        now: Time,
        records: Vec<Record>,
    ) -> Result<Self, RestoreError> {
        let is_about_terms = |record: &Record| record.table == terms::TABLE;
        let (terms, records): (Vec<_>, _) = records.into_iter().partition(is_about_terms);
        let restored = record::read(records)?;
        let mut client = Self::new(config, seed, now);
        client.promised = terms::read(now, &terms, &client.config.endpoint)?;
        client.spool = Some(Spool {
            recorder: Recorder::new(),
            remembers: !terms.is_empty(),
            arriving: BTreeMap::new(),
            kept: BTreeMap::new(),
        });
        for (number, restored) in restored {
            client.next_id = number.saturating_add(1);
            client.restore_one(now, number, restored);
        }
        client.proceed(now);
        Ok(client)
    }

    fn restore_one(&mut self, now: Time, number: u64, restored: record::Restored) {
        let record::Restored {
            delivery,
            submission,
            progress,
            age,
        } = restored;
        let priority = submission.priority;
        let left = |max_age: Duration| now.after(max_age.saturating_sub(age));
        let entry = Entry {
            id: number,
            priority,
            bytes: submission.len(),
            expires: submission.max_age.map(left),
            item: Delivery {
                id: delivery,
                submission,
                accepted_at: now,
                waited_before: age,
                retries: Backoff::resumed(self.config.retry, progress.retries),
                sent_again: progress.sent_again,
                concluded: progress.concluded,
                sent_under: progress.sent_under.clone(),
                sent_at: now,
            },
        };
        self.outbox.count(&entry);
        self.counts.queued += 1;
        let under_way = progress.under_way;
        if let Some(spool) = &mut self.spool {
            spool.kept.insert(delivery, progress);
        }
        let id = SubmissionId(number);
        self.events.push_back(Event::Restored {
            id,
            delivery,
            submission: Box::new(entry.item.submission.clone()),
            age,
        });
        if under_way {
            self.in_doubt(entry, Error::Interrupted);
        } else {
            self.outbox.enter(entry);
        }
    }

    /// Puts a submission back to the front; it is not under way any more.
    pub(super) fn put_back(&mut self, entry: Entry<Delivery>) {
        self.keep(&entry, false);
        self.outbox.put_back(entry, None);
    }

    /// Writes down how far a submission has come.
    pub(super) fn keep(&mut self, entry: &Entry<Delivery>, under_way: bool) {
        if let Some(spool) = &mut self.spool {
            spool.note(entry, under_way, entry.item.sent_under.clone());
        }
    }

    /// Writes down that a submission may have been sent to a relay whose ledger stood here, if not earlier.
    pub(super) fn keep_marked(&mut self, entry: &Entry<Delivery>, mark: String) {
        if let Some(spool) = &mut self.spool {
            spool.note_mark(entry, mark);
        }
    }

    /// Takes a submission off the disk: it has met its end.
    pub(super) fn forget(&mut self, delivery: &Delivery) {
        if let Some(spool) = &mut self.spool {
            spool.kept.remove(&delivery.id);
            spool.recorder.change(Key::Submission(delivery.id));
        }
    }

    pub(super) fn handle_stored(
        &mut self,
        now: Time,
        batch: BatchId,
        result: Result<(), StorageError>,
    ) {
        // A disk that recovers after the end is no news any more.
        if matches!(self.life, Life::Finished) {
            return;
        }
        let Some(spool) = &mut self.spool else { return };
        let Some(answer) = spool.recorder.handle_stored(now, batch, result) else {
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
        for key in answer.keys {
            let Key::Submission(delivery) = key else {
                continue;
            };
            match &answer.result {
                Ok(()) => {
                    let arrived = self
                        .spool
                        .as_mut()
                        .and_then(|spool| spool.arrived(delivery));
                    if let Some(entry) = arrived {
                        self.accept(entry);
                    }
                }
                Err(error) => self.not_stored(now, delivery, error),
            }
        }
        self.proceed(now);
        self.end_when_stored();
    }

    fn not_stored(&mut self, now: Time, delivery: DeliveryId, error: &StorageError) {
        let spool = self.spool.as_mut();
        if let Some(entry) = spool.and_then(|spool| spool.arriving.remove(&delivery)) {
            self.refuse(entry, error.clone());
        } else {
            self.break_off(now, delivery);
        }
    }

    fn refuse(&mut self, entry: Entry<Delivery>, error: StorageError) {
        let id = SubmissionId(entry.id);
        let submission = Box::new(self.outbox.settle(entry).submission);
        let why = Refusal::Storage(error);
        let refused = Refused { submission, why };
        self.events.push_back(Event::Refused { id, refused });
    }

    /// Ends a client that is to end as soon as nothing is under way to the disk.
    pub(super) fn end_when_stored(&mut self) {
        if !matches!(self.life, Life::Ending { .. })
            || self
                .spool
                .as_ref()
                .is_some_and(|spool| !spool.recorder.is_at_rest())
        {
            return;
        }
        // A disk that fails is not asked again.
        if let Some(spool) = &mut self.spool
            && let Some(error) = spool.trouble().cloned()
        {
            for (_, entry) in core::mem::take(&mut spool.arriving) {
                self.refuse(entry, error.clone());
            }
        }
        // What has arrived since the end began.
        let arrived = self.outbox.drain().into_iter();
        let arrived =
            arrived.map(|(id, delivery)| settlement::unsettled(id, delivery, false, true));
        let arrived: Vec<_> = arrived.collect();
        if let Life::Ending { left } = core::mem::replace(&mut self.life, Life::Finished) {
            let left = left.into_iter().chain(arrived).collect();
            self.events.push_back(Event::Terminated { left });
        }
    }
}
