//! The fields of a message, read leniently in one pass, so that what is mistyped can be named and what belongs to another message is
//! ignored.

use alloc::{borrow::Cow, format, string::String, vec::Vec};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use core::{fmt, marker::PhantomData, str::FromStr, time::Duration};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// Takes base64 with and without padding, since simple peers send both.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is wrong with a message.
pub(super) type Problem = String;

/// The value of one field.
#[derive(Default)]
pub(super) enum Value<'a> {
    #[default]
    Absent,
    Boolean(bool),
    Integer(i64),
    /// A number that is not whole, or far too large.
    Fraction(f64),
    Text(Cow<'a, str>),
    /// An object or an array.
    Nested,
}

impl<'a> Value<'a> {
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn text(self, name: &str) -> Result<Cow<'a, str>, Problem> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.wrong(name, "a string")),
        }
    }

    pub(super) fn optional_text(self, name: &str) -> Result<Option<String>, Problem> {
        match self {
            Self::Absent => Ok(None),
            present => present.text(name).map(|text| Some(text.into_owned())),
        }
    }

    pub(super) fn boolean(self, name: &str) -> Result<bool, Problem> {
        match self {
            Self::Boolean(value) => Ok(value),
            other => Err(other.wrong(name, "true or false")),
        }
    }

    /// A whole number within 2^53 - 1 of zero.
    pub(super) fn integer(self, name: &str) -> Result<i64, Problem> {
        match self {
            Self::Integer(number) if number.unsigned_abs() <= super::MAX_NUMBER.unsigned_abs() => {
                Ok(number)
            }
            other => Err(other.wrong(name, "a whole number within 2^53 - 1 of zero")),
        }
    }

    /// A whole number from `least` to 2^53 - 1.
    pub(super) fn number(self, name: &str, least: u64) -> Result<u64, Problem> {
        match self {
            Self::Integer(number @ 0..=super::MAX_NUMBER) if number.unsigned_abs() >= least => {
                Ok(number.unsigned_abs())
            }
            other => Err(other.wrong(name, &format!("a whole number from {least} to 2^53 - 1"))),
        }
    }

    pub(super) fn optional_number(self, name: &str, least: u64) -> Result<Option<u64>, Problem> {
        match self {
            Self::Absent => Ok(None),
            present => present.number(name, least).map(Some),
        }
    }

    pub(super) fn milliseconds(self, name: &str) -> Result<Duration, Problem> {
        self.number(name, 0).map(Duration::from_millis)
    }

    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(self, name: &str) -> Result<T, Problem> {
        let parsed = self.text(name)?.parse();
        parsed.map_err(|error| format!("field \"{name}\": {error}"))
    }

    /// What is stored under a key: text, or bytes in the encoding said; numbers as services that are not ours send them.
    pub(super) fn bytes(
        self,
        encoding: Self,
        name: &str,
        message: &Bytes,
    ) -> Result<Bytes, Problem> {
        match encoding {
            Self::Absent => Ok(match self {
                Self::Text(Cow::Borrowed(unescaped)) => message.slice_ref(unescaped.as_bytes()),
                Self::Text(Cow::Owned(text)) => text.into(),
                other => return Err(other.wrong(name, "a string")),
            }),
            Self::Text(encoding) if encoding == "base64" => {
                let decoded = BASE64.decode(self.text(name)?.as_bytes());
                match decoded {
                    Ok(bytes) => Ok(bytes.into()),
                    Err(_) => Err(format!("field \"{name}\" is not base64")),
                }
            }
            other => Err(other.wrong("encoding", "\"base64\", or not be there")),
        }
    }

    /// The same for what a service sends, which may be a number.
    pub(super) fn bytes_or_number(
        self,
        encoding: Self,
        name: &str,
        message: &Bytes,
    ) -> Result<Bytes, Problem> {
        match self {
            Self::Integer(number) => Ok(format!("{number}").into()),
            Self::Fraction(number) => Ok(format!("{number}").into()),
            text => text.bytes(encoding, name, message),
        }
    }

    fn wrong(&self, name: &str, expected: &str) -> Problem {
        match self {
            Self::Absent => format!("field \"{name}\" is missing"),
            _ => format!("field \"{name}\" must be {expected}"),
        }
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
        // Beyond the range of one it is beyond every bound, too.
        Ok(i64::try_from(value).map_or(Value::Fraction(value as f64), Value::Integer))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value<'de>, E> {
        let whole = value as i64;
        // `5.0` is how some languages write 5.
        if whole.unsigned_abs() <= super::MAX_NUMBER.unsigned_abs() && whole as f64 == value {
            Ok(Value::Integer(whole))
        } else {
            Ok(Value::Fraction(value))
        }
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
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value<'de>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }
}

/// A field that holds an object.
#[derive(Default)]
pub(super) enum Object<T> {
    #[default]
    Absent,
    Here(T),
    Other,
}

impl<T> Object<T> {
    pub(super) fn required(self, name: &str) -> Result<T, Problem> {
        match self {
            Self::Here(object) => Ok(object),
            Self::Absent => Err(Value::Absent.wrong(name, "an object")),
            Self::Other => Err(Value::Nested.wrong(name, "an object")),
        }
    }
}

/// A field that holds an array of objects.
#[derive(Default)]
pub(super) enum List<T> {
    #[default]
    Absent,
    Here(Vec<Object<T>>),
    Other,
}

macro_rules! deserialize {
    ($type:ident, $visitor:ident, { $($method:item)* }) => {
        impl<'de, T: Deserialize<'de>> Deserialize<'de> for $type<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($visitor(PhantomData))
            }
        }

        struct $visitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for $visitor<T> {
            type Value = $type<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<$type<T>, E> {
                Ok($type::Absent)
            }

            fn visit_bool<E>(self, _: bool) -> Result<$type<T>, E> {
                Ok($type::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<$type<T>, E> {
                Ok($type::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<$type<T>, E> {
                Ok($type::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<$type<T>, E> {
                Ok($type::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<$type<T>, E> {
                Ok($type::Other)
            }

            $($method)*
        }
    };
}

deserialize!(Object, ObjectVisitor, {
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Object<T>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Object::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries)).map(Object::Here)
    }
});

deserialize!(List, ListVisitor, {
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(List::Here(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<List<T>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(List::Other)
    }
});
