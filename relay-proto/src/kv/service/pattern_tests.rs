use super::*;
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

fn matches(pattern: &str, key: &str) -> bool {
    Pattern::new(pattern).unwrap().matches(key)
}

fn refusal(pattern: &str) -> String {
    Pattern::new(pattern).unwrap_err().to_string()
}

#[test]
fn a_pattern_is_a_key_or_has_stars_or_is_a_regular_expression() {
    let cases = [
        ("user.1", &["user.1"][..], &["user_1", "user.11", ""][..]),
        ("", &[""], &["a"]),
        (
            "prefix-*",
            &["prefix-", "prefix-a"],
            &["prefix", "a-prefix-"],
        ),
        ("*-suffix", &["-suffix", "a-suffix"], &["-suffix-"]),
        ("a*b*c", &["abc", "a-b-c", "abcbc"], &["ac", "acb", "ab"]),
        ("*", &["", "anything"], &[]),
        ("aa*aa", &["aaaa", "aa-aa"], &["aa", "aaa"]),
        ("^user:.*$", &["user:", "user:1"], &["a-user:1"]),
        ("user:.*", &["user:", "user:1"], &["a-user:1"]),
        ("user", &["user"], &["superuser", "users"]),
        ("(a|ab)", &["a", "ab"], &["b", "aba"]),
        (
            r"user:\d+",
            &["user:12", r"user:\d+"],
            &["user:", "user:1x"],
        ),
        ("item[1]", &["item1", "item[1]"], &["item2"]),
        ("[^/]+/ü", &["ä/ü"], &["/ü", "a/b/ü"]),
        ("(?i)abc", &["ABC"], &["ab"]),
        ("a{2,3}", &["aa", "aaa"], &["a", "aaaa"]),
    ];
    for (pattern, those, not_those) in cases {
        for key in those {
            assert!(matches(pattern, key), "{pattern} and {key}");
        }
        for key in not_those {
            assert!(!matches(pattern, key), "{pattern} and {key}");
        }
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for wrong in ["(", "[", "a)|(?:b", "(?x)a # ", r"\", "(a)\\1", "(?=a)"] {
        assert_eq!(
            refusal(wrong),
            "a pattern is no regular expression",
            "{wrong}"
        );
    }
    assert_eq!(refusal(&"a".repeat(257)), "a pattern has up to 256 bytes");
    let deep = "(".repeat(100) + &")".repeat(100);
    assert_eq!(refusal(&deep), "a pattern is no regular expression");
    for bomb in ["((a{100}){100}){100}", "(a{1,1000}){1,1000}", "[a-z]{9000}"] {
        assert_eq!(
            refusal(bomb),
            "a pattern is too large when written out",
            "{bomb}"
        );
    }
    let many: Vec<String> = vec!["a".into(); 33];
    let error = Patterns::new(None, &many).unwrap_err().to_string();
    assert_eq!(error, "there may be up to 32 patterns");
    let large: Vec<String> = vec!["(abc){100}".into(); 32];
    let error = Patterns::new(None, &large).unwrap_err().to_string();
    assert_eq!(
        error,
        "the patterns are too large together when written out"
    );
}

/// With a matcher that backtracks each of these would outlast the sun.
#[test]
fn no_pattern_takes_exponential_time() {
    let key = "a".repeat(1024);
    for slow in ["(a*)*b", "(a|aa)+b", "(a+)+$b", "a*a*a*a*a*a*a*a*b|c"] {
        assert!(!matches(slow, &key), "{slow}");
    }
    assert!(!matches(&("*a".repeat(127) + "*b"), &key));
}

#[test]
fn without_an_access_pattern_everything_is_allowed_and_without_subscriptions_nothing_is_told() {
    let patterns = Patterns::new(None, &[]).unwrap();
    assert!(patterns.may_access("anything") && !patterns.subscribes());
    let patterns = Patterns::new(Some("a*"), &["b*".into(), "c".into()]).unwrap();
    assert!(patterns.may_access("ab") && !patterns.may_access("b"));
    assert_eq!(patterns.access_prefix(), "a");
    assert!(patterns.subscribes() && patterns.is_told_of("bb") && patterns.is_told_of("c"));
    assert!(!patterns.is_told_of("ab"));
}

/// As slow and as plain as can be.
fn naive_glob(pattern: &[char], key: &[char]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some(('*', rest)) => (0..=key.len()).any(|skip| naive_glob(rest, &key[skip..])),
        Some((first, rest)) => key
            .split_first()
            .is_some_and(|(at, others)| at == first && naive_glob(rest, others)),
    }
}

proptest! {
    #[test]
    fn stars_mean_what_they_seem_to(pattern in "[ab*]{0,8}", key in "[ab]{0,10}") {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = naive_glob(&characters(&pattern), &characters(&key));
        prop_assert_eq!(matches(&pattern, &key), expected);
    }

    #[test]
    fn a_pattern_matches_itself_and_whatever_matches_has_its_prefix(pattern: String, key: String) {
        if let Ok(pattern) = Pattern::new(&pattern) {
            prop_assert!(pattern.matches(&pattern.text));
            prop_assert!(!pattern.matches(&key) || key.starts_with(pattern.prefix()));
        }
    }
}
