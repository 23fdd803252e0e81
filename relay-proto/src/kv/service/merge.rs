//! JSON merge patch (RFC 7396).

use alloc::{borrow::Cow, collections::BTreeMap, string::String, vec::Vec};
use core::fmt;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// How deep a patch may go. Each level is read once more than the one around it.
const MAX_DEPTH: usize = 64;

/// Why a patch was not merged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotMerged {
    /// One of both is no JSON object.
    NotObjects,
    /// The patch nests objects deeper than may be.
    TooDeep,
}

/// Merges the JSON object `patch` into the JSON object `target`.
///
/// Members the patch does not speak of keep their place and every letter, so that no number loses a digit.
pub(super) fn merge(target: &[u8], patch: &[u8]) -> Result<String, NotMerged> {
    let target = object(target).ok_or(NotMerged::NotObjects)?;
    let patch = object(patch).ok_or(NotMerged::NotObjects)?;
    let mut merged = String::new();
    write_merged(Some(target), patch, &mut merged, 1)?;
    Ok(merged)
}

fn write_merged(
    target: Option<Object<'_>>,
    patch: Object<'_>,
    merged: &mut String,
    depth: usize,
) -> Result<(), NotMerged> {
    if depth > MAX_DEPTH {
        return Err(NotMerged::TooDeep);
    }
    let mut changes = patch.last_of_each();
    merged.push('{');
    let before = merged.len();
    let write_name = |merged: &mut String, name: &str| {
        if merged.len() > before {
            merged.push(',');
        }
        let name = serde_json::to_string(name).expect("a string is always JSON");
        merged.push_str(&name);
        merged.push(':');
    };
    let members = target.map_or_else(Vec::new, Object::in_order);
    for (name, value) in members {
        match changes.remove(&name).map(|(_, change)| change) {
            None => {
                write_name(merged, &name);
                merged.push_str(value.get());
            }
            Some(change) if is_null(change) => {}
            Some(change) => {
                write_name(merged, &name);
                write_value(Some(value), change, merged, depth)?;
            }
        }
    }
    let mut added: Vec<_> = changes.into_iter().collect();
    added.sort_unstable_by_key(|(_, (place, _))| *place);
    for (name, (_, change)) in added {
        if !is_null(change) {
            write_name(merged, &name);
            write_value(None, change, merged, depth)?;
        }
    }
    merged.push('}');
    Ok(())
}

fn write_value(
    value: Option<&RawValue>,
    change: &RawValue,
    merged: &mut String,
    depth: usize,
) -> Result<(), NotMerged> {
    match object(change.get().as_bytes()) {
        Some(change) => {
            let value = value.and_then(|value| object(value.get().as_bytes()));
            write_merged(value, change, merged, depth + 1)
        }
        None => {
            merged.push_str(change.get());
            Ok(())
        }
    }
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// The members of an object, as they are written.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// By name, with their place. Of members of the same name the last counts.
    fn last_of_each(self) -> BTreeMap<Cow<'a, str>, (usize, &'a RawValue)> {
        let members = self.0.into_iter().enumerate();
        members
            .map(|(place, (name, value))| (name, (place, value)))
            .collect()
    }

    /// In their order, each name once.
    fn in_order(self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        let mut members: Vec<_> = self.last_of_each().into_iter().collect();
        members.sort_unstable_by_key(|(_, (place, _))| *place);
        let members = members.into_iter();
        members.map(|(name, (_, value))| (name, value)).collect()
    }
}

/// What these bytes say, if that is a JSON object.
fn object(json: &[u8]) -> Option<Object<'_>> {
    serde_json::from_slice(json).ok()
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Object<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = entries.next_key()? {
            members.push((name, entries.next_value()?));
        }
        Ok(Object(members))
    }
}

/// A member's name, borrowed where it can be.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
