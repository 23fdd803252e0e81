//! The form in which a service is stored.

use super::{
    account::KeyDigest,
    clients::{ClientKey, Kept},
    store::Change,
};
use crate::{
    kv::{
        ClientId, StoreId,
        wire::{Code, Failure},
    },
    storage::{
        Record, RestoreError, Write,
        encoding::{Decoder, Encoder, Problem, damaged, decode},
    },
};
use alloc::{string::String, sync::Arc, vec::Vec};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The service's own record.
pub(super) const REGISTER: &str = "kv-service";
/// A value for each key.
pub(super) const VALUES: &str = "kv-values";
/// The changes of late.
pub(super) const CHANGES: &str = "kv-changes";
/// The clients that are remembered.
pub(super) const CLIENTS: &str = "kv-clients";
/// What their calls have brought.
pub(super) const RESULTS: &str = "kv-results";

/// The format of all of them.
const FORMAT: u8 = 1;

/// What is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Register,
    Value(Arc<str>, Arc<str>),
    Change(Arc<str>, u64),
    Client(ClientKey),
    Result(ClientKey, u64),
}

impl Item {
    /// Makes the record be this, or be gone.
    pub(super) fn write(&self, value: Option<Bytes>) -> Write {
        let (table, key) = match self {
            Self::Register => (REGISTER, Bytes::new()),
            Self::Value(space, key) => (VALUES, in_space(space, key.as_bytes())),
            Self::Change(space, sequence) => (CHANGES, in_space(space, &sequence.to_be_bytes())),
            Self::Client(client) => (CLIENTS, client_key(*client, &[])),
            Self::Result(client, call) => (RESULTS, client_key(*client, &call.to_be_bytes())),
        };
        match value {
            Some(value) => Write::Put { table, key, value },
            None => Write::Delete { table, key },
        }
    }
}

/// The name of the store behind its length, and the rest, so that what is in one store lies together.
fn in_space(space: &str, rest: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(2 + space.len() + rest.len());
    key.put_u16(u16::try_from(space.len()).unwrap_or(u16::MAX));
    key.put_slice(&space.as_bytes()[..space.len().min(usize::from(u16::MAX))]);
    key.put_slice(rest);
    key.freeze()
}

fn read_space(record: &Record) -> Result<(String, Bytes), Problem> {
    let mut key = record.key.clone();
    let length = key.try_get_u16().map_err(|_| "its key is too short")?;
    if usize::from(length) > key.len() {
        return Err("its key is too short");
    }
    let space = text(key.split_to(usize::from(length)))?;
    Ok((space, key))
}

fn text(bytes: Bytes) -> Result<String, Problem> {
    String::from_utf8(bytes.into()).map_err(|_| "its key is not UTF-8")
}

fn client_key((account, client): ClientKey, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(48 + rest.len());
    key.extend_from_slice(account.as_bytes());
    key.extend_from_slice(&client.to_bits().to_be_bytes());
    key.extend_from_slice(rest);
    key.into()
}

fn read_client_key(record: &Record) -> Result<(ClientKey, Bytes), Problem> {
    let mut key = record.key.clone();
    let mut account = [0; 32];
    key.try_copy_to_slice(&mut account)
        .map_err(|_| "its key is too short")?;
    let client = key.try_get_u128().map_err(|_| "its key is too short")?;
    let client = (KeyDigest::from_bytes(account), ClientId::from_bits(client));
    Ok((client, key))
}

fn key_number(mut key: Bytes) -> Result<u64, Problem> {
    match (key.try_get_u64(), key.is_empty()) {
        (Ok(number), true) => Ok(number),
        _ => Err("its key is not a number"),
    }
}

pub(super) fn encode_register(store: StoreId, secret: &[u8; 32]) -> Bytes {
    Encoder::new(FORMAT)
        .bytes(&store.to_bits().to_be_bytes())
        .bytes(secret)
        .finish()
}

pub(super) fn decode_register(record: &Record) -> Result<(StoreId, [u8; 32]), RestoreError> {
    decode(REGISTER, record, FORMAT, |_, decoder| {
        let store = decoder.bytes()?;
        let store = <[u8; 16]>::try_from(&*store).map_err(|_| "its name is not 128 bits")?;
        let secret = decoder.bytes()?;
        let secret = <[u8; 32]>::try_from(&*secret).map_err(|_| "its secret is not 256 bits")?;
        Ok((StoreId::from_bits(u128::from_be_bytes(store)), secret))
    })
}

pub(super) fn encode_value(value: &Bytes) -> Bytes {
    Encoder::new(FORMAT).bytes(value).finish()
}

pub(super) fn decode_value(record: &Record) -> Result<(String, String, Bytes), RestoreError> {
    let value = decode(VALUES, record, FORMAT, |_, decoder| decoder.bytes())?;
    let key = read_space(record).and_then(|(space, key)| Ok((space, text(key)?)));
    let (space, key) = key.map_err(|problem| damaged(VALUES, &record.key, problem))?;
    Ok((space, key, value))
}

pub(super) fn encode_change(change: &Change) -> Bytes {
    let encoder = Encoder::new(FORMAT)
        .number(change.timestamp)
        .text(&change.key);
    match &change.value {
        Some(value) => encoder.byte(1).bytes(value).finish(),
        None => encoder.byte(0).finish(),
    }
}

pub(super) fn decode_change(record: &Record) -> Result<(String, Change), RestoreError> {
    let key = read_space(record).and_then(|(space, key)| Ok((space, key_number(key)?)));
    let (space, sequence) = key.map_err(|problem| damaged(CHANGES, &record.key, problem))?;
    let change = decode(CHANGES, record, FORMAT, |_, decoder| {
        Ok(Change {
            sequence,
            timestamp: decoder.number()?,
            key: decoder.text()?.into(),
            value: match decoder.flag()? {
                true => Some(decoder.bytes()?),
                false => None,
            },
        })
    })?;
    Ok((space, change))
}

pub(super) fn encode_client(settled: u64) -> Bytes {
    Encoder::new(FORMAT).number(settled).finish()
}

pub(super) fn decode_client(record: &Record) -> Result<(ClientKey, u64), RestoreError> {
    let settled = decode(CLIENTS, record, FORMAT, |_, decoder| decoder.number())?;
    match read_client_key(record) {
        Ok((client, rest)) if rest.is_empty() => Ok((client, settled)),
        Ok(_) => Err(damaged(CLIENTS, &record.key, "its key is too long")),
        Err(problem) => Err(damaged(CLIENTS, &record.key, problem)),
    }
}

pub(super) fn encode_result(kept: &Kept) -> Bytes {
    let encoder = Encoder::new(FORMAT);
    match kept {
        Kept::Done => encoder.byte(0),
        Kept::Incremented(value) => encoder.byte(1).number(value.cast_unsigned()),
        Kept::Failed(failure) => encoder
            .byte(2)
            .number(failure.code.0.into())
            .text(&failure.error),
    }
    .finish()
}

pub(super) fn decode_result(record: &Record) -> Result<(ClientKey, u64, Kept), RestoreError> {
    let kept = decode(RESULTS, record, FORMAT, |_, decoder| {
        Ok(match decoder.byte()? {
            0 => Kept::Done,
            1 => Kept::Incremented(decoder.number()?.cast_signed()),
            2 => Kept::Failed(failure(decoder)?),
            _ => return Err("it is of no kind"),
        })
    })?;
    let key = read_client_key(record).and_then(|(client, call)| Ok((client, key_number(call)?)));
    let (client, call) = key.map_err(|problem| damaged(RESULTS, &record.key, problem))?;
    Ok((client, call, kept))
}

fn failure(decoder: &mut Decoder) -> Result<Failure, Problem> {
    let code = u16::try_from(decoder.number()?).map_err(|_| "its code is too large")?;
    Ok(Failure::new(Code(code), decoder.text()?))
}
