use std::{format, string::String};

use proptest::prelude::*;
use smtp_proto::{
    EXT_8BIT_MIME, EXT_CHUNKING, EXT_DSN, EXT_ENHANCED_STATUS_CODES, EXT_PIPELINING, EXT_SIZE,
    EXT_SMTP_UTF8, EXT_START_TLS, EhloResponse,
};

use super::super::reply;
use super::*;

fn offered(lines: &str) -> Capabilities {
    Capabilities::from_reply(&reply(250, "", format!("mx.example greets you\n{lines}")))
}

#[test]
fn extensions_are_read_line_by_line() {
    assert_eq!(
        Capabilities::from_reply(&reply(250, "", "PIPELINING")),
        Capabilities::default()
    );
    assert_eq!(
        offered(
            "PIPELINING\n8bitmime\nSize 1000\nSMTPUTF8\nCHUNKING\nEnhancedStatusCodes\nDSN\nSTARTTLS\nAUTH CRAM-MD5 login PLAIN\nX-OTHER"
        ),
        Capabilities {
            pipelining: true,
            chunking: true,
            size: Some(Size::Limit(1000)),
            eight_bit_mime: true,
            smtputf8: true,
            enhanced_status_codes: true,
            dsn: true,
            starttls: true,
            auth: [Mechanism::Plain, Mechanism::Login].into(),
        }
    );
    for (line, size) in [
        ("SIZE", Some(Size::Unlimited)),
        ("SIZE 0", Some(Size::Unlimited)),
        ("SIZE  52428800 ", Some(Size::Limit(52_428_800))),
        ("SIZE +5", Some(Size::Unlimited)),
        ("SIZE big", Some(Size::Unlimited)),
        ("SIZE 18446744073709551615", Some(Size::Limit(u64::MAX))),
        ("SIZE 99999999999999999999", Some(Size::Unlimited)),
        ("SIZES 5", None),
        ("", None),
    ] {
        assert_eq!(offered(line).size, size, "{line}");
    }
    assert_eq!(offered("SIZE 7").max_message_bytes(), Some(7));
    assert_eq!(offered("SIZE").max_message_bytes(), None);
}

prop_compose! {
    fn any_capabilities()(
        flags in any::<[bool; 7]>(),
        auth in proptest::collection::btree_set(proptest::sample::select(&[Mechanism::Plain, Mechanism::Login][..]), 0..3),
        size in proptest::option::of(any::<u64>().prop_map(|size| if size == 0 { Size::Unlimited } else { Size::Limit(size) })),
    ) -> Capabilities {
        let [pipelining, chunking, eight_bit_mime, smtputf8, enhanced_status_codes, dsn, starttls] = flags;
        Capabilities { pipelining, chunking, size, eight_bit_mime, smtputf8, enhanced_status_codes, dsn, starttls, auth }
    }
}

proptest! {
    #[test]
    fn what_is_offered_is_read_back_and_read_alike_by_smtp_proto(capabilities in any_capabilities()) {
        let reply = capabilities.to_reply("mx.example");
        prop_assert_eq!(&Capabilities::from_reply(&reply), &capabilities);

        let wire = reply.to_bytes();
        let theirs = EhloResponse::<String>::parse(&mut wire.iter()).unwrap();
        prop_assert_eq!(theirs.hostname(), "mx.example");
        for (extension, ours) in [
            (EXT_PIPELINING, capabilities.pipelining),
            (EXT_CHUNKING, capabilities.chunking),
            (EXT_SIZE, capabilities.size.is_some()),
            (EXT_8BIT_MIME, capabilities.eight_bit_mime),
            (EXT_SMTP_UTF8, capabilities.smtputf8),
            (EXT_ENHANCED_STATUS_CODES, capabilities.enhanced_status_codes),
            (EXT_DSN, capabilities.dsn),
            (EXT_START_TLS, capabilities.starttls),
        ] {
            prop_assert_eq!(theirs.has_capability(extension), ours);
        }
    }
}
