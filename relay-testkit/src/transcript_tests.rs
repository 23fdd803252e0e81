use super::*;

#[test]
fn lines_are_the_same_wherever_and_whenever_they_are_written() {
    let cases = [
        ("open ws://127.0.0.1:4711/x", "open ws://127.0.0.1:PORT/x"),
        (
            "wss://localhost:1: refused",
            "wss://localhost:PORT: refused",
        ),
        ("at 12:30, 127.0.0.1 and :25", "at 12:30, 127.0.0.1 and :25"),
        (
            "in doubt: connection lost: the peer has reset the connection",
            "in doubt: connection lost",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(normalised(line), expected);
    }
}

#[test]
fn content_is_shown_where_it_is_short() {
    assert_eq!(content(b""), r#""""#);
    assert_eq!(content(br#"{"a":"b"}"#), r#""{"a":"b"}""#);
    assert_eq!(content("Grüße\r\n".as_bytes()), r#""Grüße\r\n""#);
    assert_eq!(content(&[0, 255]), r#""\x00\xff""#);
    assert_eq!(content(&[7; 1000]), "1000 times 0x07");
    assert_eq!(content(&[1, 2].repeat(500)), "1000 bytes");
}

#[test]
fn everybody_has_one_block_in_order_of_appearance() {
    let mut transcript = Transcript::default();
    transcript.note("client", "hello");
    transcript.note("server", "hi");
    transcript.note("client", "bye");
    let expected = "client\n    hello\n    bye\nserver\n    hi\n";
    assert_eq!(transcript.text(), expected);
}
