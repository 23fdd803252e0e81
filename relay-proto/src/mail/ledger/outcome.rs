//! How outcomes are written down.

use super::{FORGOTTEN, Key, Register, TABLE};
use crate::{
    mail::{DeliveryId, Outcome},
    smtp::{ForwardPath, Reply, ReplyParser},
    storage::{
        Record, RestoreError,
        encoding::{self, Decoder, Encoder, Problem},
    },
};
use alloc::sync::Arc;
use bytes::Bytes;

const VERSION: u8 = 1;
const INTENT: u8 = 0;
const ANSWERED: u8 = 1;
const IN_DOUBT: u8 = 2;

/// The key of the ledger's own record, too short for an entry's.
pub(super) const REGISTER: &[u8] = b"register";

pub(super) fn encode_register(register: &Register) -> Bytes {
    Encoder::new(VERSION)
        .bytes(&register.id.to_be_bytes())
        .number(register.forgotten)
        .number(register.reserved)
        .finish()
}

pub(super) fn decode_register(record: &Record) -> Result<Register, RestoreError> {
    encoding::decode(TABLE, record, VERSION, |_, decoder| {
        let id = decoder.bytes()?;
        Ok(Register {
            id: u128::from_be_bytes(id[..].try_into().map_err(|_| "the ledger's name is none")?),
            forgotten: decoder.number()?,
            reserved: decoder.number()?,
        })
    })
}

pub(super) fn encode_forgotten(number: u64) -> Bytes {
    Encoder::new(VERSION).number(number).finish()
}

/// An account as a key, which is never empty.
pub(super) fn encode_account(account: &str) -> Bytes {
    [b":", account.as_bytes()].concat().into()
}

pub(super) fn decode_forgotten(record: &Record) -> Result<(Arc<str>, u64), RestoreError> {
    let account = record.key.strip_prefix(b":").map(core::str::from_utf8);
    let Some(Ok(account)) = account else {
        let problem = "the account is none";
        return Err(encoding::damaged(FORGOTTEN, &record.key, problem));
    };
    encoding::decode(FORGOTTEN, record, VERSION, |_, decoder| {
        Ok((Arc::from(account), decoder.number()?))
    })
}

pub(super) fn encode_intent(number: u64) -> Bytes {
    Encoder::new(VERSION).number(number).byte(INTENT).finish()
}

pub(super) fn encode_outcome(number: u64, outcome: &Outcome) -> Bytes {
    let encoder = Encoder::new(VERSION).number(number);
    match outcome {
        Outcome::InDoubt => encoder.byte(IN_DOUBT),
        Outcome::Answered { reply, rejected } => encoder
            .byte(ANSWERED)
            .bytes(&reply.to_bytes())
            .each(rejected, |encoder, (forward_path, reply)| {
                let encoder = match forward_path {
                    ForwardPath::Postmaster => encoder.text(""),
                    ForwardPath::Mailbox(address) => encoder.text(address),
                };
                encoder.bytes(&reply.to_bytes())
            }),
    }
    .finish()
}

/// The entry's number and its outcome. An intent that is read back has lost its own.
pub(super) fn decode_outcome(record: &Record) -> Result<(u64, Outcome), RestoreError> {
    encoding::decode(TABLE, record, VERSION, |_, decoder| {
        let number = decoder.number()?;
        let outcome = match decoder.byte()? {
            INTENT | IN_DOUBT => Outcome::InDoubt,
            ANSWERED => Outcome::Answered {
                reply: decode_reply(decoder)?,
                rejected: decoder.each(|decoder| {
                    let forward_path = match &*decoder.text()? {
                        "" => ForwardPath::Postmaster,
                        address => {
                            ForwardPath::Mailbox(address.parse().map_err(|_| "an address is none")?)
                        }
                    };
                    Ok((forward_path, decode_reply(decoder)?))
                })?,
            },
            _ => return Err("it is no kind of entry"),
        };
        Ok((number, outcome))
    })
}

fn decode_reply(decoder: &mut Decoder) -> Result<Reply, Problem> {
    let mut parser = ReplyParser::new();
    parser.push(&decoder.bytes()?);
    match parser.next_reply() {
        Ok(Some(reply)) if parser.is_empty() => Ok(reply),
        _ => Err("a reply is none"),
    }
}

/// The account, and then the 16 bytes of the id.
pub(super) fn encode_key((account, delivery): &Key) -> Bytes {
    [account.as_bytes(), &delivery.to_bits().to_be_bytes()]
        .concat()
        .into()
}

pub(super) fn decode_key(record: &Record) -> Result<Key, RestoreError> {
    let damaged = |problem| encoding::damaged(TABLE, &record.key, problem);
    let Some((account, delivery)) = record.key.split_last_chunk() else {
        return Err(damaged("the key is too short"));
    };
    let account = core::str::from_utf8(account).map_err(|_| damaged("the account is not UTF-8"))?;
    let delivery = DeliveryId::from_bits(u128::from_be_bytes(*delivery));
    Ok((Arc::from(account), delivery))
}
