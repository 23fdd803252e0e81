//! Settings as they are written in files: texts, and lists of them.

use relay_proto::mail::wire::ApiKey;
use serde::{Deserialize, Deserializer};
use std::{fmt, str::FromStr};

/// A list, whose brackets a lone text may leave out. What is neither is not repeated: it may be a key.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

pub(crate) fn one<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    read_as(&String::deserialize(deserializer)?).map(Some)
}

pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let texts = Texts::deserialize(deserializer)?.into_vec();
    texts.iter().map(|text| read_as(text)).collect()
}

fn read_as<T: FromStr<Err: fmt::Display>, E: serde::de::Error>(text: &str) -> Result<T, E> {
    text.parse()
        .map_err(|error| E::custom(format_args!("{text:?}: {error}")))
}

/// One key. What is none is not repeated.
pub(crate) fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ApiKey>, D::Error> {
    match Texts::deserialize(deserializer)? {
        Texts::One(text) => Ok(Some(ApiKey::new(text))),
        Texts::Many(_) => Err(serde::de::Error::custom("expected one key")),
    }
}

pub(super) fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ApiKey>, D::Error> {
    let texts = Texts::deserialize(deserializer)?.into_vec();
    Ok(texts.into_iter().map(ApiKey::new).collect())
}
