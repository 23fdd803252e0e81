//! The fields of a frame, read leniently in one pass, so that what is mistyped can be named and what
//! belongs to another type of frame is ignored.

use super::{Limits, Violation};
use crate::CloseCode;
use alloc::{borrow::Cow, format, string::String, vec::Vec};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use core::{fmt, time::Duration};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// Takes base64 with and without padding, since simple peers send both.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Every field any frame may have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fields<'a> {
    #[serde(borrow, default)]
    pub(super) r#type: Value<'a>,
    #[serde(borrow, default)]
    pub(super) api_key: Value<'a>,
    #[serde(borrow, default)]
    pub(super) agent: Value<'a>,
    #[serde(borrow, default)]
    pub(super) success: Value<'a>,
    #[serde(borrow, default)]
    pub(super) error: Value<'a>,
    #[serde(borrow, default)]
    pub(super) retry_after_ms: Value<'a>,
    #[serde(borrow, default)]
    pub(super) permanent: Value<'a>,
    #[serde(borrow, default)]
    pub(super) limits: Value<'a>,
    #[serde(borrow, default)]
    pub(super) data: Value<'a>,
    #[serde(borrow, default, rename = "dataBase64")]
    pub(super) data_base64: Value<'a>,
    #[serde(borrow, default)]
    pub(super) reason: Value<'a>,
    #[serde(borrow, default)]
    pub(super) code: Value<'a>,
    #[serde(borrow, default)]
    pub(super) durable: Value<'a>,
    #[serde(borrow, default)]
    pub(super) channel_id: Value<'a>,
    #[serde(borrow, default)]
    pub(super) delivery_id: Value<'a>,
    #[serde(borrow, default)]
    pub(super) sent_under: Value<'a>,
    #[serde(borrow, default)]
    pub(super) outcome: Value<'a>,
    #[serde(borrow, default)]
    pub(super) bytes: Value<'a>,
    #[serde(borrow, default)]
    pub(super) deadline_ms: Value<'a>,
    #[serde(borrow, default)]
    pub(super) spread_ms: Value<'a>,
}

/// A JSON value as far as frames need it.
#[derive(Default)]
pub(super) enum Value<'a> {
    #[default]
    Absent,
    Boolean(bool),
    Number(u64),
    Text(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
    /// What no field of any frame may be.
    Other,
}

impl<'a> Value<'a> {
    pub(super) fn text(self, name: &str) -> Result<Cow<'a, str>, Violation> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.wrong(name, "a string")),
        }
    }

    pub(super) fn optional_text(self, name: &str) -> Result<Option<String>, Violation> {
        match self {
            Self::Absent => Ok(None),
            present => present.text(name).map(|text| Some(text.into_owned())),
        }
    }

    pub(super) fn boolean(self, name: &str) -> Result<bool, Violation> {
        match self {
            Self::Boolean(value) => Ok(value),
            other => Err(other.wrong(name, "true or false")),
        }
    }

    pub(super) fn optional_boolean(self, name: &str) -> Result<Option<bool>, Violation> {
        match self {
            Self::Absent => Ok(None),
            present => present.boolean(name).map(Some),
        }
    }

    pub(super) fn milliseconds(self, name: &str) -> Result<Option<Duration>, Violation> {
        match self {
            Self::Absent => Ok(None),
            Self::Number(value) => Ok(Some(Duration::from_millis(value))),
            other => Err(other.wrong(name, "a whole number, not negative")),
        }
    }

    pub(super) fn code(self, name: &str) -> Result<Option<u16>, Violation> {
        let wrong = |value: Self| value.wrong(name, "a whole number from 0 to 65535");
        match self {
            Self::Absent => Ok(None),
            Self::Number(value) => match u16::try_from(value) {
                Ok(code) => Ok(Some(code)),
                Err(_) => Err(wrong(self)),
            },
            other => Err(wrong(other)),
        }
    }

    pub(super) fn base64(self, name: &str) -> Result<Vec<u8>, Violation> {
        let text = self.text(name)?;
        BASE64
            .decode(text.as_bytes())
            .map_err(|_| protocol_error(format!("field \"{name}\" is not base64")))
    }

    pub(super) fn number(self, name: &str) -> Result<u64, Violation> {
        match self {
            Self::Number(value) => Ok(value),
            other => Err(other.wrong(name, "a whole number, not negative")),
        }
    }

    pub(super) fn optional_number(self, name: &str) -> Result<Option<u64>, Violation> {
        match self {
            Self::Absent => Ok(None),
            present => present.number(name).map(Some),
        }
    }

    pub(super) fn array(self, name: &str) -> Result<Vec<Self>, Violation> {
        match self {
            Self::Array(items) => Ok(items),
            other => Err(other.wrong(name, "an array")),
        }
    }

    pub(super) fn optional_object(self, name: &str) -> Result<Option<Object<'a>>, Violation> {
        match self {
            Self::Absent => Ok(None),
            Self::Object(entries) => Ok(Some(Object(entries))),
            other => Err(other.wrong(name, "an object")),
        }
    }

    pub(super) fn limits(self, name: &str) -> Result<Limits, Violation> {
        let Some(mut limits) = self.optional_object(name)? else {
            return Ok(Limits::default());
        };
        Ok(Limits {
            max_message_bytes: limits
                .take("maxMessageBytes")
                .optional_number(&format!("{name}.maxMessageBytes"))?,
            max_recipients: limits
                .take("maxRecipients")
                .optional_number(&format!("{name}.maxRecipients"))?,
        })
    }

    fn wrong(&self, name: &str, expected: &str) -> Violation {
        protocol_error(match self {
            Self::Absent => format!("field \"{name}\" is missing"),
            _ => format!("field \"{name}\" must be {expected}"),
        })
    }
}

/// The fields of an object within a frame.
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Object<'a> {
    /// Takes out a field; the last one of that name.
    pub(super) fn take(&mut self, field: &str) -> Value<'a> {
        let found = self.0.iter().rposition(|(name, _)| name == field);
        found.map_or(Value::Absent, |index| self.0.swap_remove(index).1)
    }
}

pub(super) fn protocol_error(reason: impl Into<String>) -> Violation {
    Violation {
        code: CloseCode::PROTOCOL_ERROR,
        reason: reason.into(),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.into())))
    }

    fn visit_string<E>(self, text: String) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value<'de>, A::Error> {
        let mut object = Vec::new();
        while let Some(Name(name)) = entries.next_key()? {
            object.push((name, entries.next_value()?));
        }
        Ok(Value::Object(object))
    }
}

/// The name of a field, borrowed where it can be.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
