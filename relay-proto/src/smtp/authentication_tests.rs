use super::*;
use alloc::format;

fn plain(message: &[u8]) -> Result<Credentials, u16> {
    let message = SaslMessage::new(Bytes::copy_from_slice(message));
    match Exchange::begin(Mechanism::Plain, Some(message)) {
        ExchangeStep::Credentials(credentials) => Ok(credentials),
        ExchangeStep::Refused(reply) => Err(reply.code().as_u16()),
        ExchangeStep::Challenge(..) => panic!("PLAIN has one message"),
    }
}

#[test]
fn plain_has_three_parts_and_nobody_acts_for_another() {
    let alice = Ok(Credentials::new("alice", "sésame open"));
    assert_eq!(plain("\0alice\0sésame open".as_bytes()), alice);
    assert_eq!(plain("alice\0alice\0sésame open".as_bytes()), alice);
    let cases: [(&[u8], u16); 8] = [
        (b"bob\0alice\0sesame", 535),
        (b"", 501),
        (b"alice\0sesame", 501),
        (b"\0alice\0", 501),
        (b"\0\0sesame", 501),
        (b"\0alice\0sesame\0", 501),
        (b"alice sesame", 501),
        (b"\0alice\0\xff", 501),
    ];
    for (message, code) in cases {
        assert_eq!(plain(message), Err(code), "{}", message.escape_ascii());
    }
}

#[test]
fn base64_is_read_strictly() {
    let read = |text: &str| SaslMessage::decode(text.as_bytes());
    assert_eq!(read("QQ=="), Some(SaslMessage::new("A")));
    for bad in [
        "QQ", "QQ=", "QR==", "Q Q==", "QQ==\n", "QQ==QQ==", "Q-_=", "=",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
    let initial = |text: &str| SaslMessage::decode_initial(text.as_bytes());
    assert_eq!(initial("="), Some(SaslMessage::new("")));
    assert_eq!(initial(""), None);
}

#[test]
fn credentials_are_the_same_where_both_parts_are() {
    let alice = Credentials::new("alice", "sesame");
    assert_eq!(alice, alice.clone());
    for (user_name, password) in [
        ("alice", "sesamf"),
        ("alicf", "sesame"),
        ("alices", "esame"),
        ("alice", ""),
        ("", "sesame"),
    ] {
        assert_ne!(alice, Credentials::new(user_name, password));
    }
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!(
        "{:?} {:?}",
        Credentials::new("alice", "sesame"),
        SaslMessage::new("sesame")
    );
    assert_eq!(shown, "Credentials(\"alice\", …) SaslMessage(6 bytes)");
}
