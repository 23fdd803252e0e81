//! What an application asks of a service, and what it is answered.

use super::CallError;
use crate::{
    kv::wire::{Operation, Record, Success},
    outbox::Priority,
};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::{fmt, time::Duration};

/// Names one call for as long as the client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(super) u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One call, with its priority and how long its answer is waited for.
///
/// `Debug` shows neither keys nor values, only their length. Cloning it copies no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(super) operation: Operation,
    pub(super) priority: Priority,
    pub(super) timeout: Option<Duration>,
}

impl Call {
    /// The value of a key. One that is not there is answered with code 404.
    pub fn get(key: impl Into<String>) -> Self {
        Self::new(Operation::Get { key: key.into() })
    }

    /// Sets a key to a value. One that is not UTF-8 needs a service that speaks the durable dialect.
    pub fn set(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        let (key, value) = (key.into(), value.into());
        Self::new(Operation::Set { key, value })
    }

    /// Merges a JSON object into the one that is there (RFC 7396); appends where either is none. A key that is not there is
    /// answered with code 404.
    pub fn patch(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        let (key, value) = (key.into(), value.into());
        Self::new(Operation::Patch { key, value })
    }

    /// Deletes a key. One that is not there is answered with code 404.
    pub fn delete(key: impl Into<String>) -> Self {
        Self::new(Operation::Delete { key: key.into() })
    }

    /// The keys from one to another, both included, in ascending order, with their values.
    pub fn range(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self::new(Operation::Range {
            key: from.into(),
            end_key: to.into(),
            limit: None,
        })
    }

    /// Adds to the number a key holds; one that is not there holds 0. What is added is within
    /// [`MAX_NUMBER`](crate::kv::wire::MAX_NUMBER) of zero.
    pub fn increment(key: impl Into<String>, by: i64) -> Self {
        let key = key.into();
        Self::new(Operation::Increment { key, by })
    }

    const fn new(operation: Operation) -> Self {
        Self {
            operation,
            priority: Priority::Normal,
            timeout: None,
        }
    }

    /// Sets the most records a [range](Self::range) answers, one at least; as many as the service gives otherwise. Nothing for other
    /// calls.
    #[must_use]
    pub const fn limit(mut self, records: u64) -> Self {
        if let Operation::Range { limit, .. } = &mut self.operation {
            *limit = Some(records);
        }
        self
    }

    /// Sets how long the answer is waited for, from the moment the client has the call: a millisecond at least, an hour at most. As
    /// [configured](super::Timeouts::call) otherwise.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the priority; normal otherwise. It decides among calls that wait; what is sent is not overtaken.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// What it does.
    pub const fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Whether its value, if it has one, is text.
    pub(super) fn is_text(&self) -> bool {
        match &self.operation {
            Operation::Set { value, .. } | Operation::Patch { value, .. } => {
                core::str::from_utf8(value).is_ok()
            }
            _ => true,
        }
    }

    /// The answer, where it is one to this call.
    pub(super) fn answer(&self, success: Success) -> Option<Answer> {
        match (&self.operation, success) {
            (Operation::Get { .. }, Success::Value(record)) => Some(Answer::Value(record.value)),
            (Operation::Range { .. }, Success::Records { records, truncated }) => {
                Some(Answer::Range(Range { records, truncated }))
            }
            (Operation::Increment { .. }, Success::Incremented { new_value }) => {
                Some(Answer::Number(new_value))
            }
            // Whatever else it says, it is done.
            (
                Operation::Set { .. } | Operation::Patch { .. } | Operation::Delete { .. },
                Success::Done | Success::Value(_),
            ) => Some(Answer::Done),
            _ => None,
        }
    }
}

/// What a service answered a call that succeeded.
///
/// `Debug` shows neither keys nor values.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// To [`Call::get`]: the value.
    Value(Bytes),
    /// To [`Call::set`], [`Call::patch`] and [`Call::delete`]: it is done.
    Done,
    /// To [`Call::range`].
    Range(Range),
    /// To [`Call::increment`]: the number the key holds now.
    Number(i64),
}

/// A part of the keys, with their values.
///
/// `Debug` shows neither.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Range {
    /// Keys and values, in ascending order of keys.
    pub records: Vec<Record>,
    /// Whether there are more that were left out: ask again from behind the last.
    pub truncated: bool,
}

impl Answer {
    /// What [`Call::get`] is answered.
    ///
    /// # Errors
    ///
    /// Where it answers another kind of call; the client gives each call an answer of its kind.
    pub fn value(self) -> Result<Bytes, CallError> {
        match self {
            Self::Value(value) => Ok(value),
            _ => Err(CallError::Unintelligible),
        }
    }

    /// What [`Call::range`] is answered.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value).
    pub fn range(self) -> Result<Range, CallError> {
        match self {
            Self::Range(range) => Ok(range),
            _ => Err(CallError::Unintelligible),
        }
    }

    /// What [`Call::increment`] is answered.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value).
    pub const fn number(&self) -> Result<i64, CallError> {
        match self {
            Self::Number(number) => Ok(*number),
            _ => Err(CallError::Unintelligible),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "Value({} bytes)", value.len()),
            Self::Done => f.write_str("Done"),
            Self::Range(range) => range.fmt(f),
            Self::Number(_) => f.write_str("Number(…)"),
        }
    }
}
