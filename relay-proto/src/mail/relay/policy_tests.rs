use super::*;
use alloc::{string::ToString, vec};

fn sender(text: &str) -> ReversePath {
    match text {
        "" => ReversePath::Null,
        address => ReversePath::Mailbox(address.parse().unwrap()),
    }
}

#[test]
fn senders_are_allowed_by_domain_and_network() {
    let domains = || {
        vec![
            "example.org".parse().unwrap(),
            "[192.0.2.1]".parse().unwrap(),
        ]
    };
    let networks = || {
        vec![
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ]
    };
    let any = Policy::default();
    let by_domain = Policy {
        sender_domains: domains(),
        ..Policy::default()
    };
    let by_network = Policy {
        networks: networks(),
        ..Policy::default()
    };
    let both = Policy {
        sender_domains: domains(),
        networks: networks(),
        ..Policy::default()
    };
    let cases = [
        (&any, "x@else.example", Some("192.0.2.9"), true),
        (&any, "", None, true),
        (&by_domain, "x@example.org", None, true),
        (&by_domain, "x@EXAMPLE.Org", None, true),
        (&by_domain, "x@[192.0.2.1]", None, true),
        (&by_domain, "x@sub.example.org", None, false),
        (&by_domain, "x@notexample.org", None, false),
        (&by_domain, "\"x@example.org\"@else.example", None, false),
        (&by_domain, "", Some("10.0.0.1"), false),
        (&by_network, "x@else.example", Some("10.1.2.3"), true),
        (&by_network, "", Some("10.1.2.3"), true),
        (&by_network, "x@else.example", Some("::ffff:10.1.2.3"), true),
        (&by_network, "x@else.example", Some("2001:db8::1"), true),
        (&by_network, "x@else.example", Some("11.0.0.1"), false),
        (&by_network, "x@else.example", None, false),
        (&both, "x@example.org", Some("10.0.0.1"), true),
        (&both, "x@example.org", Some("11.0.0.1"), false),
        (&both, "x@else.example", Some("10.0.0.1"), false),
    ];
    for (policy, from, peer, allowed) in cases {
        let peer = peer.map(|peer| peer.parse().unwrap());
        let checked = policy.check_sender(&sender(from), peer);
        assert_eq!(checked.is_ok(), allowed, "<{from}> from {peer:?}");
        if let Err(refusal) = checked {
            assert_eq!(
                refusal.to_string(),
                "550 5.7.1 Sender domain not authorized for your IP or subnet"
            );
        }
    }
}

#[test]
fn recipients_are_allowed_by_address_and_domain() {
    let any = Policy::default();
    let listed = Policy {
        recipients: vec![
            "boss@example.org".parse().unwrap(),
            "list.example".parse().unwrap(),
        ],
        ..Policy::default()
    };
    let cases = [
        (&any, "who@where.example", true),
        (&listed, "boss@example.org", true),
        (&listed, "Boss@Example.ORG", true),
        (&listed, "else@example.org", false),
        (&listed, "anyone@list.example", true),
        (&listed, "anyone@sub.list.example", false),
        (&listed, "\"boss@example.org\"@evil.example", false),
    ];
    for (policy, to, allowed) in cases {
        let recipient = ForwardPath::Mailbox(to.parse().unwrap());
        assert_eq!(policy.check_recipient(&recipient).is_ok(), allowed, "{to}");
    }
    assert_eq!(listed.check_recipient(&ForwardPath::Postmaster), Ok(()));
}

#[test]
fn patterns_are_parsed_and_written_back() {
    for good in ["example.org", "[192.0.2.1]", "a.b@example.org"] {
        let pattern: RecipientPattern = good.parse().unwrap();
        assert_eq!(pattern.to_string(), good);
    }
    for bad in [
        "",
        "@",
        "a@",
        "@example.org",
        "exa mple.org",
        "a@b@c",
        "x>y",
    ] {
        assert!(bad.parse::<RecipientPattern>().is_err(), "{bad}");
        assert!(bad.parse::<Domain>().is_err(), "{bad}");
    }
}

#[test]
fn the_client_is_told_the_limits() {
    let limits = Policy {
        max_message_bytes: Some(1000),
        max_recipients: 7,
        ..Policy::default()
    }
    .limits();
    assert_eq!(limits.max_message_bytes, Some(1000));
    assert_eq!(limits.max_recipients, Some(7));
}
