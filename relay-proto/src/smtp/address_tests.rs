use super::*;
use alloc::string::ToString;
use proptest::prelude::*;

fn address(text: &str) -> Address {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn addresses_are_taken_apart_and_put_together() {
    let cases = [
        (
            "user@example.org",
            "user",
            "example.org",
            "user@example.org",
        ),
        (
            "first.last+tag@a-b.example",
            "first.last+tag",
            "a-b.example",
            "first.last+tag@a-b.example",
        ),
        ("\"a b\"@c.d", "a b", "c.d", "\"a b\"@c.d"),
        ("\"user\"@c.d", "user", "c.d", "user@c.d"),
        ("\"\"@c.d", "", "c.d", "\"\"@c.d"),
        ("\".x\"@c.d", ".x", "c.d", "\".x\"@c.d"),
        (
            "\"a\\\"b\\\\c\"@c.d",
            "a\"b\\c",
            "c.d",
            "\"a\\\"b\\\\c\"@c.d",
        ),
        ("\"a\\b\"@c.d", "ab", "c.d", "ab@c.d"),
        ("\"<a@b>\"@c.d", "<a@b>", "c.d", "\"<a@b>\"@c.d"),
        ("u@[192.0.2.1]", "u", "[192.0.2.1]", "u@[192.0.2.1]"),
        (
            "u@[ipv6:2001:DB8:0:0:0:0:0:1]",
            "u",
            "[IPv6:2001:db8::1]",
            "u@[IPv6:2001:db8::1]",
        ),
        (
            "jos\u{e9}@b\u{fc}cher.example",
            "jos\u{e9}",
            "b\u{fc}cher.example",
            "jos\u{e9}@b\u{fc}cher.example",
        ),
        ("u@localhost", "u", "localhost", "u@localhost"),
    ];
    for (text, local_part, domain, written) in cases {
        let address = address(text);
        assert_eq!(address.local_part(), local_part, "{text}");
        assert_eq!(address.domain(), domain, "{text}");
        assert_eq!(address.to_string(), written);
        assert_eq!(address.is_ascii(), text.is_ascii());
    }
}

#[test]
fn nothing_but_an_address_is_one() {
    use AddressError as Error;
    let cases = [
        ("", Error::LocalPart),
        ("@example.org", Error::LocalPart),
        (".a@b.c", Error::LocalPart),
        ("a.@b.c", Error::LocalPart),
        ("a..b@c.d", Error::LocalPart),
        ("\"a@b.c", Error::LocalPart),
        ("\"a\r\n\"@b.c", Error::LocalPart),
        ("\"a\\\n\"@b.c", Error::LocalPart),
        ("\"a\tb\"@b.c", Error::LocalPart),
        ("\"a\u{85}b\"@b.c", Error::LocalPart),
        ("\"a\u{9b}b\"@b.c", Error::LocalPart),
        ("a", Error::MissingDomain),
        ("a b@c.d", Error::MissingDomain),
        ("a\0@c.d", Error::MissingDomain),
        ("a<b@c.d", Error::MissingDomain),
        ("a>b@c.d", Error::MissingDomain),
        ("a\u{2028}b@c.d", Error::MissingDomain),
        ("\"a\"b@c.d", Error::MissingDomain),
        ("foo\r\nQUIT\r\n@localhost", Error::MissingDomain),
        ("a@", Error::Domain),
        ("a@.b", Error::Domain),
        ("a@b.", Error::Domain),
        ("a@b..c", Error::Domain),
        ("a@-b.c", Error::Domain),
        ("a@b-.c", Error::Domain),
        ("a@b_c.d", Error::Domain),
        ("a@b.c\r\nQUIT", Error::Domain),
        ("a@b.c>", Error::Domain),
        ("a@b.c ", Error::Domain),
        ("a@b@c", Error::Domain),
        ("a@b\u{3002}c", Error::Domain),
        ("a@[192.0.2]", Error::Domain),
        ("a@[192.0.2.1", Error::Domain),
        ("a@[2001:db8::1]", Error::Domain),
        ("a@[IPv6:192.0.2.1]", Error::Domain),
        ("a@[tag:content]", Error::Domain),
        ("a@[192.0.2.1]x", Error::Domain),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Address>(), Err(error), "{text:?}");
    }
}

#[test]
fn lengths_are_those_of_the_rfc() {
    let domain = |length: usize| {
        let mut text = "d".repeat(length);
        for dot in (50..length - 1).step_by(50) {
            text.replace_range(dot..=dot, ".");
        }
        text
    };
    let parse = |local: usize, of_domain: usize| {
        format!("{}@{}", "l".repeat(local), domain(of_domain)).parse::<Address>()
    };
    assert!(parse(64, 189).is_ok());
    assert_eq!(parse(65, 10), Err(AddressError::LocalPartTooLong));
    assert_eq!(parse(64, 190), Err(AddressError::TooLong));
    assert_eq!(parse(1, 256), Err(AddressError::DomainTooLong));
    assert!(domain(255).parse::<HostName>().is_ok());
    assert!(format!("a@{}.b", "c".repeat(63)).parse::<Address>().is_ok());
    assert_eq!(
        format!("a@{}.b", "c".repeat(64)).parse::<Address>(),
        Err(AddressError::Domain)
    );
    // Quotes and escapes count, as they are sent; escapes that are not needed do not.
    assert!(
        format!("\"{}\"@b.c", " ".repeat(62))
            .parse::<Address>()
            .is_ok()
    );
    assert_eq!(
        format!("\"{}\"@b.c", " ".repeat(63)).parse::<Address>(),
        Err(AddressError::LocalPartTooLong)
    );
    assert!(
        format!("\"{}\"@b.c", "\\a".repeat(64))
            .parse::<Address>()
            .is_ok()
    );
}

#[test]
fn domains_compare_without_case() {
    let address = address("u@Example.ORG");
    assert!(address.has_domain("example.org"));
    assert!(!address.has_domain("sub.example.org"));
    assert!(!address.has_domain("xample.org"));
}

#[test]
fn paths_are_written_in_angle_brackets() {
    let address = address("\"a b\"@c.d");
    assert_eq!(ReversePath::Null.to_string(), "<>");
    assert_eq!(
        ReversePath::from(address.clone()).to_string(),
        "<\"a b\"@c.d>"
    );
    assert_eq!(ForwardPath::Postmaster.to_string(), "<Postmaster>");
    assert_eq!(
        ForwardPath::from(address.clone()).to_string(),
        "<\"a b\"@c.d>"
    );
    assert_eq!(ReversePath::Null.address(), None);
    assert_eq!(ForwardPath::from(address.clone()).address(), Some(&address));
}

#[test]
fn host_names_are_domains_or_literals() {
    for name in [
        "localhost",
        "mx.example.org",
        "my_host",
        "[192.0.2.1]",
        "[IPv6:::1]",
    ] {
        assert_eq!(name.parse::<HostName>().unwrap().to_string(), name);
    }
    for name in [
        "",
        "a b",
        "a\r\nMAIL",
        "a..b",
        "[",
        "[x]",
        "[192.0.2.1]x",
        "b\u{fc}cher",
        "a\0",
    ] {
        assert!(name.parse::<HostName>().is_err(), "{name:?}");
    }
}

/// Texts of the characters that decide something, far more often valid than random ones.
fn nearly_addresses() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab.\"\\\\ <>@é\r\n\0-]{0,12}@[ab.\\[\\]:1é-]{0,12}",
        "\"([ -~é]|\\\\[ -~]){0,20}\"@[ab]{1,3}\\.[cd]{1,3}",
        "[a-z!#$+.]{1,10}@\\[(IPv6:)?[0-9a-f:.]{1,12}\\]",
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_the_same(text in nearly_addresses()) {
        if let Ok(address) = text.parse::<Address>() {
            let written = address.to_string();
            prop_assert_eq!(written.parse(), Ok(address));
            prop_assert!(written.len() <= MAX_ADDRESS);
            prop_assert!(!written.contains(char::is_control));
            let unquoted = written.split('"').step_by(2).collect::<String>();
            prop_assert!(written.contains('\\') || !unquoted.contains([' ', '<', '>']));
        }
        if let Ok(name) = text.parse::<HostName>() {
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }
    }
}
