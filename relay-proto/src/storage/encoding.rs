//! The form of a record's value: the format's number, then its fields one after the other. Numbers are big-endian, and
//! bytes come after their number in 32 bits. Nothing may follow the last field.

use super::{Record, RestoreError};
use alloc::{format, string::String, vec::Vec};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use core::fmt::Display;

/// Writes a value.
pub(crate) struct Encoder(BytesMut);

impl Encoder {
    pub(crate) fn new(version: u8) -> Self {
        let mut bytes = BytesMut::with_capacity(64);
        bytes.put_u8(version);
        Self(bytes)
    }

    pub(crate) fn byte(mut self, byte: u8) -> Self {
        self.0.put_u8(byte);
        self
    }

    pub(crate) fn count(mut self, count: usize) -> Self {
        self.0
            .put_u32(u32::try_from(count).expect("nothing stored has four thousand million parts"));
        self
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.0.put_u64(number);
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self = self.count(bytes.len());
        self.0.put_slice(bytes);
        self
    }

    pub(crate) fn text(self, text: impl Display) -> Self {
        self.bytes(format!("{text}").as_bytes())
    }

    pub(crate) fn each<T>(self, items: &[T], encode: impl FnMut(Self, &T) -> Self) -> Self {
        let counted = self.count(items.len());
        items.iter().fold(counted, encode)
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// What is wrong with a value.
pub(crate) type Problem = &'static str;

const ENDS_EARLY: Problem = "it ends early";

/// Reads a value.
pub(crate) struct Decoder(Bytes);

impl Decoder {
    /// Reads what has no record around it.
    pub(crate) const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Problem> {
        self.0.try_get_u8().map_err(|_| ENDS_EARLY)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Problem> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("what should be a yes or no is neither"),
        }
    }

    pub(crate) fn count(&mut self) -> Result<usize, Problem> {
        let count = self.0.try_get_u32().map_err(|_| ENDS_EARLY)?;
        usize::try_from(count).map_err(|_| ENDS_EARLY)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Problem> {
        self.0.try_get_u64().map_err(|_| ENDS_EARLY)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Problem> {
        let length = self.count()?;
        if length > self.0.len() {
            return Err(ENDS_EARLY);
        }
        Ok(self.0.split_to(length))
    }

    pub(crate) fn text(&mut self) -> Result<String, Problem> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| "a text is not UTF-8")
    }

    pub(crate) fn each<T>(
        &mut self,
        mut decode: impl FnMut(&mut Self) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let count = self.count()?;
        // Reserves nothing: the count of a damaged record may be anything.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(decode(self)?);
        }
        Ok(items)
    }
}

/// Reads a record's value, of a format up to `known`, with `decode`, which is told which format it is and must read it to
/// its end.
pub(crate) fn decode<T>(
    table: &'static str,
    record: &Record,
    known: u8,
    decode: impl FnOnce(u8, &mut Decoder) -> Result<T, Problem>,
) -> Result<T, RestoreError> {
    let mut decoder = Decoder::new(record.value.clone());
    let damaged = |problem| damaged(table, &record.key, problem);
    let version = decoder.byte().map_err(damaged)?;
    if version > known {
        return Err(RestoreError::Newer {
            table,
            version,
            known,
        });
    }
    if version == 0 {
        return Err(damaged("its format has no number"));
    }
    let value = decode(version, &mut decoder).map_err(damaged)?;
    if !decoder.0.is_empty() {
        return Err(damaged("something follows its end"));
    }
    Ok(value)
}

pub(crate) fn damaged(table: &'static str, key: &[u8], problem: Problem) -> RestoreError {
    let key = key.iter().map(|byte| format!("{byte:02x}")).collect();
    RestoreError::Damaged {
        table,
        key,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    fn record(value: Bytes) -> Record {
        let (table, key, age) = ("t".into(), Bytes::from_static(b"\x01\xab"), Duration::ZERO);
        Record {
            table,
            key,
            value,
            age,
        }
    }

    type Value = (u8, bool, u64, Vec<u8>, String, Vec<u64>);

    fn encode((byte, flag, number, bytes, text, numbers): &Value) -> Bytes {
        Encoder::new(2)
            .byte(*byte)
            .byte(u8::from(*flag))
            .number(*number)
            .bytes(bytes)
            .text(text)
            .each(numbers, |encoder, number| encoder.number(*number))
            .finish()
    }

    fn read(value: Bytes) -> Result<Value, RestoreError> {
        decode("t", &record(value), 2, |_, decoder| {
            Ok((
                decoder.byte()?,
                decoder.flag()?,
                decoder.number()?,
                decoder.bytes()?.into(),
                decoder.text()?,
                decoder.each(Decoder::number)?,
            ))
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_less_or_more(value: Value, behind: u8) {
            let encoded = encode(&value);
            prop_assert_eq!(read(encoded.clone()), Ok(value));
            for cut in 0..encoded.len() {
                prop_assert!(read(encoded.slice(..cut)).is_err(), "{}", cut);
            }
            let mut longer = encoded.to_vec();
            longer.push(behind);
            prop_assert!(read(longer.into()).is_err());
        }

        #[test]
        fn no_bytes_are_too_bad_to_be_refused(value: Vec<u8>) {
            let _ = read(value.into());
        }
    }

    #[test]
    fn a_newer_format_and_damage_say_so_and_where() {
        let newer = read(Bytes::from_static(&[3, 0, 0])).unwrap_err();
        assert_eq!(
            alloc::string::ToString::to_string(&newer),
            "a record of \"t\" has format 3, newer than the 2 this release knows; use the release that wrote it, or a later one"
        );
        let damaged = read(Bytes::from_static(&[2, 0, 7])).unwrap_err();
        assert_eq!(
            alloc::string::ToString::to_string(&damaged),
            "the record 01ab of \"t\" is damaged: what should be a yes or no is neither"
        );
    }
}
