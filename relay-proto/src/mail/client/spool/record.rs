//! What of a submission is written down, and how. Under each delivery id there are up to three records, so that none is
//! written twice: the envelope and the content, which never change, and how far it has come.

use super::super::{Submission, settlement::Delivery, submission::Work};
use crate::{
    mail::DeliveryId,
    outbox::{Entry, Priority},
    smtp::{Address, Envelope, ForwardPath, ReversePath, Script},
    storage::{
        Record, RestoreError, Write,
        encoding::{self, Decoder, Encoder, Problem},
    },
};
use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use bytes::Bytes;
use core::time::Duration;

const ENVELOPE: &str = "outbox-envelope";
const CONTENT: &str = "outbox-content";
const PROGRESS: &str = "outbox-progress";

const VERSION: u8 = 1;

/// Since 2 with what the durable dialect adds.
const PROGRESS_VERSION: u8 = 2;

const MESSAGE: u8 = 0;
const SCRIPT: u8 = 1;

/// How far a submission has come. Nothing is written where it has not begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// It may have been sent in the base dialect, and what became of it is not known and cannot be asked.
    pub(super) under_way: bool,
    pub(super) sent_again: u32,
    pub(super) retries: u32,
    pub(super) concluded: u32,
    /// It may have been sent in the durable dialect, and a relay can be asked what became of it.
    pub(super) sent_under: Option<String>,
}

/// A submission as it was found.
pub(super) struct Restored {
    pub(super) delivery: DeliveryId,
    pub(super) submission: Submission,
    pub(super) progress: Progress,
    pub(super) age: Duration,
}

fn key(delivery: DeliveryId) -> Bytes {
    Bytes::copy_from_slice(&delivery.to_bits().to_be_bytes())
}

pub(super) fn put_submission(entry: &Entry<Delivery>, writes: &mut Vec<Write>) {
    let Submission {
        work,
        priority,
        max_age,
    } = &entry.item.submission;
    let encoder = Encoder::new(VERSION)
        .number(entry.id)
        .byte(match priority {
            Priority::Critical => 0,
            Priority::High => 1,
            Priority::Normal => 2,
            Priority::Low => 3,
        })
        .each(max_age.as_slice(), |encoder, max_age| {
            encoder.number(u64::try_from(max_age.as_nanos()).unwrap_or(u64::MAX))
        });
    let (encoder, content) = match work {
        Work::Message { envelope, content } => {
            let encoder = encoder
                .byte(MESSAGE)
                .text(mailbox(envelope.reverse_path().address()))
                .each(envelope.forward_paths(), |encoder, forward_path| {
                    encoder.text(mailbox(forward_path.address()))
                });
            (encoder, content.clone())
        }
        Work::Script(script) => (encoder.byte(SCRIPT), script.to_bytes()),
    };
    let put = |table, value| Write::Put {
        table,
        key: key(entry.item.id),
        value,
    };
    writes.push(put(ENVELOPE, encoder.finish()));
    writes.push(put(CONTENT, content));
}

pub(super) fn put_progress(delivery: DeliveryId, progress: &Progress, writes: &mut Vec<Write>) {
    let Progress {
        under_way,
        sent_again,
        retries,
        concluded,
        sent_under,
    } = progress;
    let value = Encoder::new(PROGRESS_VERSION)
        .byte(u8::from(*under_way))
        .number((*sent_again).into())
        .number((*retries).into())
        .number((*concluded).into())
        .each(sent_under.as_slice(), |encoder, mark| encoder.text(mark))
        .finish();
    writes.push(Write::Put {
        table: PROGRESS,
        key: key(delivery),
        value,
    });
}

pub(super) fn delete(delivery: DeliveryId, writes: &mut Vec<Write>) {
    for table in [ENVELOPE, CONTENT, PROGRESS] {
        let key = key(delivery);
        writes.push(Write::Delete { table, key });
    }
}

/// The address, or nothing for `<>` and for `<Postmaster>`.
fn mailbox(address: Option<&Address>) -> String {
    address.map(ToString::to_string).unwrap_or_default()
}

/// The submissions by their numbers, which are in the order in which they were accepted.
pub(super) fn read(records: Vec<Record>) -> Result<BTreeMap<u64, Restored>, RestoreError> {
    let (mut envelopes, mut contents, mut progresses) =
        (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for record in records {
        match &*record.table {
            ENVELOPE => envelopes.push(record),
            CONTENT => drop(contents.insert(record.key, record.value)),
            PROGRESS => drop(progresses.insert(record.key.clone(), record)),
            _ => {
                let table = record.table;
                return Err(RestoreError::Foreign { table });
            }
        }
    }
    let mut found = BTreeMap::new();
    for record in envelopes {
        let damaged = |problem| encoding::damaged(ENVELOPE, &record.key, problem);
        let key = <[u8; 16]>::try_from(&*record.key);
        let delivery = key.map_err(|_| damaged("its key is no delivery id"))?;
        let content = contents.remove(&record.key);
        let content = content.ok_or_else(|| damaged("its content is missing"))?;
        let (number, submission) = encoding::decode(ENVELOPE, &record, VERSION, |_, decoder| {
            decode_submission(decoder, content)
        })?;
        let progress = match progresses.remove(&record.key) {
            Some(record) => decode_progress(&record)?,
            None => Progress::default(),
        };
        let restored = Restored {
            delivery: DeliveryId::from_bits(u128::from_be_bytes(delivery)),
            submission,
            progress,
            age: record.age,
        };
        if found.insert(number, restored).is_some() {
            return Err(damaged("another one has its number"));
        }
    }
    let stray = contents.keys().map(|key| (CONTENT, key));
    let mut stray = stray.chain(progresses.keys().map(|key| (PROGRESS, key)));
    match stray.next() {
        None => Ok(found),
        Some((table, key)) => Err(encoding::damaged(table, key, "its envelope is missing")),
    }
}

fn decode_submission(decoder: &mut Decoder, content: Bytes) -> Result<(u64, Submission), Problem> {
    let number = decoder.number()?;
    let priority = match decoder.byte()? {
        0 => Priority::Critical,
        1 => Priority::High,
        2 => Priority::Normal,
        3 => Priority::Low,
        _ => return Err("its priority is none"),
    };
    let max_age = match decoder.each(Decoder::number)?[..] {
        [] => None,
        [nanoseconds] => Some(Duration::from_nanos(nanoseconds)),
        _ => return Err("it has two maximum ages"),
    };
    let work = match decoder.byte()? {
        MESSAGE => {
            let reverse_path = decode_mailbox(decoder)?.map_or(ReversePath::Null, Into::into);
            let forward_paths = decoder.each(|decoder| {
                Ok(decode_mailbox(decoder)?.map_or(ForwardPath::Postmaster, Into::into))
            })?;
            let envelope = Envelope::new(reverse_path, forward_paths);
            let envelope = envelope.map_err(|_| "it has no recipient")?;
            Work::Message { envelope, content }
        }
        SCRIPT => Work::Script(Script::parse(&content).map_err(|_| "its script is none")?),
        _ => return Err("it is no kind of submission"),
    };
    let submission = Submission {
        work,
        priority,
        max_age,
    };
    Ok((number, submission))
}

fn decode_mailbox(decoder: &mut Decoder) -> Result<Option<Address>, Problem> {
    match &*decoder.text()? {
        "" => Ok(None),
        address => address.parse().map(Some).map_err(|_| "an address is none"),
    }
}

fn decode_progress(record: &Record) -> Result<Progress, RestoreError> {
    let times = |number| u32::try_from(number).map_err(|_| "a count is too large");
    encoding::decode(PROGRESS, record, PROGRESS_VERSION, |version, decoder| {
        let mut progress = Progress {
            under_way: decoder.flag()?,
            sent_again: times(decoder.number()?)?,
            retries: times(decoder.number()?)?,
            ..Progress::default()
        };
        if version >= 2 {
            progress.concluded = times(decoder.number()?)?;
            let mut marks = decoder.each(Decoder::text)?;
            progress.sent_under = marks.pop();
            if !marks.is_empty() {
                return Err("it was sent under two marks");
            }
        }
        Ok(progress)
    })
}
