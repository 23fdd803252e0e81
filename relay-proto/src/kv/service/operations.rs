//! What each call does to the store.

use super::{
    account::Policy,
    config::ServiceConfig,
    merge::{NotMerged, merge},
    pattern::Patterns,
    store::{Full, Store},
};
use crate::kv::wire::{Code, Failure, MAX_NUMBER, Operation, Record, Success};
use alloc::{format, string::ToString, sync::Arc, vec::Vec};
use bytes::{Bytes, BytesMut};
use core::str;

/// How much work it may be to find out which keys of a range may be seen; see [`Patterns::cost`].
const RANGE_COST: usize = 8 << 20;

/// In whose name a call is made.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) config: &'a ServiceConfig,
    pub(super) policy: &'a Policy,
    pub(super) space: &'a Arc<str>,
    pub(super) patterns: &'a Patterns,
    /// In milliseconds of Unix time.
    pub(super) timestamp: u64,
}

/// Does what the call says. Where that has changed something, the number of the change comes along.
pub(super) fn perform(
    store: &mut Store,
    caller: Caller<'_>,
    operation: &Operation,
) -> (Result<Success, Failure>, Option<u64>) {
    if let Err(failure) = caller.check(operation) {
        return (Err(failure), None);
    }
    match operation {
        Operation::Get { key } => (caller.get(store, key), None),
        Operation::Range {
            key,
            end_key,
            limit,
        } => (caller.range(store, key, end_key, *limit), None),
        Operation::Set { key, value } => {
            let value = Some(value.clone());
            done(
                caller
                    .change(store, key, value)
                    .map(|change| (Success::Done, change)),
            )
        }
        Operation::Patch { key, value } => done(caller.patch(store, key, value)),
        Operation::Delete { key } => done(caller.delete(store, key)),
        Operation::Increment { key, by } => done(caller.increment(store, key, *by)),
    }
}

fn done(result: Result<(Success, u64), Failure>) -> (Result<Success, Failure>, Option<u64>) {
    match result {
        Ok((success, change)) => (Ok(success), Some(change)),
        Err(failure) => (Err(failure), None),
    }
}

fn bad_request(error: &str) -> Failure {
    Failure::new(Code::BAD_REQUEST, error)
}

fn not_found() -> Failure {
    Failure::new(Code::NOT_FOUND, "Record not found")
}

impl Caller<'_> {
    /// What can be said without looking into the store.
    fn check(&self, operation: &Operation) -> Result<(), Failure> {
        let most = self.config.max_key_bytes;
        let is_range = matches!(operation, Operation::Range { .. });
        if operation.key().is_empty() && !is_range {
            return Err(bad_request("the key is empty"));
        }
        let end_key = match operation {
            Operation::Range { end_key, .. } => end_key.len(),
            _ => 0,
        };
        if operation.key().len() > most || end_key > most {
            let error = format!("a key has up to {most} bytes here");
            return Err(Failure::new(Code::TOO_LARGE, error));
        }
        if matches!(operation, Operation::Set { value, .. } if value.is_empty()) {
            return Err(bad_request("the value is empty"));
        }
        // Only what may be seen is in a range.
        if !is_range && !self.patterns.may_access(operation.key()) {
            let error = "this key is outside of what the connection may access";
            return Err(Failure::new(Code::FORBIDDEN, error));
        }
        if self.policy.read_only && operation.changes() {
            let error = "this API key may not change anything";
            return Err(Failure::new(Code::FORBIDDEN, error));
        }
        Ok(())
    }

    fn get(&self, store: &Store, key: &str) -> Result<Success, Failure> {
        let value = store.get(self.space, key).ok_or_else(not_found)?;
        Ok(Success::Value(Record {
            key: key.to_string(),
            value: value.clone(),
        }))
    }

    fn range(
        &self,
        store: &Store,
        first: &str,
        last: &str,
        limit: Option<u64>,
    ) -> Result<Success, Failure> {
        let most = self.config.max_range_records;
        let limit = limit.map_or(most, |limit| {
            usize::try_from(limit).unwrap_or(most).min(most)
        });
        let (mut records, mut truncated) = (Vec::new(), false);
        let (mut bytes, mut cost) = (0, 0);
        let prefix = self.patterns.access_prefix();
        // What comes before what may be seen need not be looked at.
        let first = first.max(prefix);
        let space = store.space(self.space);
        for (key, value) in space.into_iter().flat_map(|space| space.range(first, last)) {
            if !key.starts_with(prefix) {
                break;
            }
            if cost > RANGE_COST && records.is_empty() {
                let error = "too many keys in this range are outside of what the connection may access; ask for less";
                return Err(bad_request(error));
            } else if cost > RANGE_COST {
                truncated = true;
                break;
            }
            cost += self.patterns.cost(key);
            if !self.patterns.may_access(key) {
                continue;
            }
            bytes += key.len() + value.len();
            let is_full = bytes > self.config.max_range_bytes && !records.is_empty();
            if records.len() >= limit || is_full {
                truncated = true;
                break;
            }
            records.push(Record {
                key: key.to_string(),
                value: value.clone(),
            });
        }
        Ok(Success::Records { records, truncated })
    }

    fn change(&self, store: &mut Store, key: &str, value: Option<Bytes>) -> Result<u64, Failure> {
        let most = self.config.max_value_bytes;
        if value.as_ref().is_some_and(|value| value.len() > most) {
            let error = format!("a value has up to {most} bytes here");
            return Err(Failure::new(Code::TOO_LARGE, error));
        }
        let most = self.policy.max_store_bytes;
        let change = store.change(self.config, most, (self.space, key), value, self.timestamp);
        change.map_err(|Full| Failure::new(Code::FULL, "the store is full"))
    }

    fn patch(
        &self,
        store: &mut Store,
        key: &str,
        patch: &Bytes,
    ) -> Result<(Success, u64), Failure> {
        let before = store.get(self.space, key).ok_or_else(not_found)?;
        let after = match merge(before, patch) {
            Ok(merged) => merged.into(),
            Err(NotMerged::NotObjects) => {
                let mut appended = BytesMut::with_capacity(before.len() + patch.len());
                appended.extend_from_slice(before);
                appended.extend_from_slice(patch);
                appended.freeze()
            }
            Err(NotMerged::TooDeep) => {
                return Err(bad_request(
                    "the patch nests objects too deep to be merged in",
                ));
            }
        };
        Ok((Success::Done, self.change(store, key, Some(after))?))
    }

    fn delete(&self, store: &mut Store, key: &str) -> Result<(Success, u64), Failure> {
        store.get(self.space, key).ok_or_else(not_found)?;
        Ok((Success::Done, self.change(store, key, None)?))
    }

    fn increment(&self, store: &mut Store, key: &str, by: i64) -> Result<(Success, u64), Failure> {
        let before = match store.get(self.space, key) {
            Some(value) => str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(|| bad_request("the value is not a whole number"))?,
            None => 0,
        };
        let new_value = before
            .checked_add(by)
            .filter(|sum| (-MAX_NUMBER..=MAX_NUMBER).contains(sum))
            .ok_or_else(|| bad_request("the number would leave ±(2^53 - 1)"))?;
        let change = self.change(store, key, Some(new_value.to_string().into()))?;
        Ok((Success::Incremented { new_value }, change))
    }
}
