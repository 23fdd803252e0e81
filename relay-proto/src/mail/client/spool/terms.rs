//! What a relay has granted last, as it is written down: one record, so that the next process need not wait for that relay's
//! answer either.

use super::super::ahead::{PROMISE, Terms};
use crate::{
    Time, WebSocketUrl,
    mail::wire::Limits,
    smtp::{Capabilities, Code, Reply},
    storage::{
        Record, RestoreError, Write,
        encoding::{self, Decoder, Encoder, Problem},
    },
};
use alloc::string::String;
use bytes::Bytes;

pub(super) const TABLE: &str = "outbox-relay";

/// The only one.
const KEY: Bytes = Bytes::from_static(b"last grant");

const VERSION: u8 = 1;

/// What the greeting of a reply to EHLO would be; it means nothing.
const GREETING: &str = "relay";

/// The record of this relay, or of none.
pub(super) fn write(endpoint: &WebSocketUrl, terms: Option<&Terms>) -> Write {
    let (table, key) = (TABLE, KEY);
    let Some(terms) = terms else {
        return Write::Delete { table, key };
    };
    let Terms {
        until: _,
        limits,
        max_channels,
        window,
        ledger_mark,
        capabilities,
    } = terms;
    let number = |encoder: Encoder, number: &u64| encoder.number(*number);
    let offered = capabilities.to_reply(GREETING);
    let value = Encoder::new(VERSION)
        .text(endpoint)
        .each(limits.max_message_bytes.as_slice(), number)
        .each(limits.max_recipients.as_slice(), number)
        .number(*max_channels)
        .number(*window)
        .text(ledger_mark)
        .each(&offered.lines()[1..], |encoder, line| encoder.text(line))
        .finish();
    Write::Put { table, key, value }
}

/// What this relay has granted, where that is still a promise.
pub(super) fn read(
    now: Time,
    records: &[Record],
    endpoint: &WebSocketUrl,
) -> Result<Option<Terms>, RestoreError> {
    let mut found = None;
    for record in records {
        if record.key != KEY {
            let problem = "its key is another one";
            return Err(encoding::damaged(TABLE, &record.key, problem));
        }
        let (whose, mut terms) = encoding::decode(TABLE, record, VERSION, |_, decoder| {
            Ok((decoder.text()?, decode(decoder)?))
        })?;
        terms.until = now.after(PROMISE.saturating_sub(record.age));
        found = Some(terms).filter(|_| whose == endpoint.as_str());
    }
    Ok(found)
}

fn decode(decoder: &mut Decoder) -> Result<Terms, Problem> {
    Ok(Terms {
        until: Time::ZERO,
        limits: Limits {
            max_message_bytes: limit(decoder)?,
            max_recipients: limit(decoder)?,
        },
        max_channels: decoder.number()?,
        window: decoder.number()?,
        ledger_mark: decoder.text()?,
        capabilities: {
            let mut text = String::from(GREETING);
            for line in decoder.each(Decoder::text)? {
                text.push('\n');
                text.push_str(&line);
            }
            Capabilities::from_reply(&Reply::new(Code::OK, None, text))
        },
    })
}

fn limit(decoder: &mut Decoder) -> Result<Option<u64>, Problem> {
    match decoder.each(Decoder::number)?[..] {
        [] => Ok(None),
        [limit] => Ok(Some(limit)),
        _ => Err("there are two of one limit"),
    }
}
