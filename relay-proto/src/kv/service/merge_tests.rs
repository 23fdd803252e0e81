use super::*;
use alloc::{borrow::ToOwned, string::ToString};
use proptest::{collection::btree_map, prelude::*};
use serde_json::{Map, Value, json};

fn merged(target: &str, patch: &str) -> Result<String, NotMerged> {
    merge(target.as_bytes(), patch.as_bytes())
}

/// Those examples of RFC 7396, appendix A, in which both are objects.
#[test]
fn the_examples_of_the_rfc_hold() {
    let cases = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":{"b":"d","c":null}}"#,
            r#"{"a":{"b":"d"}}"#,
        ),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ];
    for (target, patch, result) in cases {
        assert_eq!(
            merged(target, patch).as_deref(),
            Ok(result),
            "{target} {patch}"
        );
    }
}

#[test]
fn what_a_patch_does_not_speak_of_keeps_its_place_and_every_letter() {
    let target = r#"{"z": 12345678901234567890123.40, "é":[ 1 ],"a":1e400,"b":"x"}"#;
    assert_eq!(
        merged(target, r#"{"b":"y","a":null}"#).unwrap(),
        r#"{"z":12345678901234567890123.40,"é":[ 1 ],"b":"y"}"#
    );
}

#[test]
fn what_is_no_object_is_not_merged() {
    for other in [
        "",
        "[]",
        "1",
        "null",
        "{",
        r#"{"a":1}x"#,
        r#"{"a":}"#,
        "text",
        "{'a':1}",
    ] {
        assert_eq!(merged("{}", other), Err(NotMerged::NotObjects), "{other}");
        assert_eq!(merged(other, "{}"), Err(NotMerged::NotObjects), "{other}");
    }
}

#[test]
fn depth_is_bounded_in_patches_and_harmless_elsewhere() {
    let nested = |depth: usize| r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
    assert_eq!(merged("{}", &nested(64)), Ok(nested(64)));
    assert_eq!(merged("{}", &nested(65)), Err(NotMerged::TooDeep));
    assert_eq!(merged("{}", &nested(5_000)), Err(NotMerged::TooDeep));
    // Deeper inside of what is not touched nothing is looked at.
    assert_eq!(
        merged(&nested(5_000), r#"{"a":2}"#),
        Ok(r#"{"a":2}"#.into())
    );
    let array = r#"{"a":"#.to_owned() + &"[".repeat(5_000) + &"]".repeat(5_000) + "}";
    assert_eq!(merged("{}", &array), Ok(array));
}

#[test]
fn of_members_of_the_same_name_the_last_counts() {
    assert_eq!(
        merged(r#"{"a":1,"a":2,"b":3}"#, "{}").unwrap(),
        r#"{"a":2,"b":3}"#
    );
    assert_eq!(merged("{}", r#"{"a":1,"a":null}"#).unwrap(), "{}");
}

/// As the RFC has it in pseudocode.
fn naive(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    let mut target = match target {
        Value::Object(target) => target,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            let before = target.remove(&name).unwrap_or(Value::Null);
            target.insert(name, naive(before, value));
        }
    }
    Value::Object(target)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c\"\\\\]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            members(inner),
        ]
    })
}

fn members(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    btree_map("[a-c\"]", of, 0..4).prop_map(|members| Value::Object(members.into_iter().collect()))
}

proptest! {
    #[test]
    fn merging_is_what_the_rfc_says(target in members(value()), patch in members(value())) {
        let merged = merged(&target.to_string(), &patch.to_string()).unwrap();
        let merged: Value = serde_json::from_str(&merged).unwrap();
        prop_assert_eq!(merged, naive(target, patch));
    }
}

#[test]
fn many_members_take_no_quadratic_time() {
    let object = |prefix: &str| {
        let member = |number: usize| alloc::format!(r#""{prefix}{number}":{number}"#);
        let members: Vec<_> = (0..10_000).map(member).collect();
        alloc::format!("{{{}}}", members.join(","))
    };
    let merged: Value = serde_json::from_str(&merged(&object("a"), &object("b")).unwrap()).unwrap();
    assert_eq!(merged.as_object().unwrap().len(), 20_000);
    assert_eq!(merged["b9999"], json!(9_999));
}
