use super::*;
use crate::Frame;
use alloc::{format, string::ToString, vec, vec::Vec};
use proptest::prelude::*;

fn text(json: &str) -> Frame {
    Frame::Text(Bytes::copy_from_slice(json.as_bytes()))
}

/// Every type as its literal JSON, in the form the encoder writes.
fn vectors() -> Vec<(&'static str, Message)> {
    vec![
        (
            r#"{"type":"AUTHENTICATE","apiKey":"k-1"}"#,
            Message::Authenticate {
                api_key: ApiKey::new("k-1"),
                agent: None,
                durable: None,
            },
        ),
        (
            r#"{"type":"AUTHENTICATE","apiKey":"k-1","agent":"relay-proto/0.1.0"}"#,
            Message::Authenticate {
                api_key: ApiKey::new("k-1"),
                agent: Some("relay-proto/0.1.0".into()),
                durable: None,
            },
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":true}"#,
            Message::AuthenticateResponse(Ok(Granted::default())),
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"limits":{"maxMessageBytes":26214400,"maxRecipients":100}}"#,
            Message::AuthenticateResponse(Ok(Granted {
                limits: Limits {
                    max_message_bytes: Some(26_214_400),
                    max_recipients: Some(100),
                },
                durable: None,
            })),
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":false,"error":"unknown API key","permanent":true}"#,
            Message::AuthenticateResponse(Err(Denied {
                error: "unknown API key".into(),
                retry_after: None,
                permanent: Some(true),
            })),
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":false,"error":"too busy","retryAfterMs":1500}"#,
            Message::AuthenticateResponse(Err(Denied {
                error: "too busy".into(),
                retry_after: Some(Duration::from_millis(1500)),
                permanent: None,
            })),
        ),
        (r#"{"type":"SMTP_CHANNEL_OPEN"}"#, Message::ChannelOpen),
        (r#"{"type":"SMTP_CHANNEL_READY"}"#, Message::ChannelReady),
        (
            r#"{"type":"SMTP_TO_SERVER","data":"MAIL FROM:<a@b.example>\r\n"}"#,
            Message::ToServer(Bytes::from_static(b"MAIL FROM:<a@b.example>\r\n")),
        ),
        (
            r#"{"type":"SMTP_TO_SERVER","dataBase64":"Z3L832UNCg=="}"#,
            Message::ToServer(Bytes::from_static(b"gr\xfc\xdfe\r\n")),
        ),
        (
            r#"{"type":"SMTP_FROM_SERVER","data":"250 2.1.0 Ok\r\n"}"#,
            Message::FromServer(Bytes::from_static(b"250 2.1.0 Ok\r\n")),
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED"}"#,
            Message::ChannelClosed { reason: None },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","reason":"done"}"#,
            Message::ChannelClosed {
                reason: Some("done".into()),
            },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_ERROR","error":"cannot connect","code":421,"retryAfterMs":5000}"#,
            Message::ChannelError(ChannelError {
                error: "cannot connect".into(),
                code: Some(421),
                retry_after: Some(Duration::from_secs(5)),
            }),
        ),
        (
            r#"{"type":"SMTP_CHANNEL_ERROR","error":"no channel"}"#,
            Message::ChannelError(ChannelError {
                error: "no channel".into(),
                code: None,
                retry_after: None,
            }),
        ),
    ]
}

#[test]
fn every_type_has_its_literal_form() {
    for (json, message) in vectors() {
        assert_eq!(encode(&message), text(json));
        assert_eq!(decode(&text(json)), Ok(Some(message)), "{json}");
    }
}

#[test]
fn what_may_vary_is_taken() {
    let cases = [
        (
            r#" { "x": [1, {"data": 2}], "data": 5, "type": "SMTP_CHANNEL_OPEN" } "#,
            Message::ChannelOpen,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","reason":null}"#,
            Message::ChannelClosed { reason: None },
        ),
        (
            r#"{"dataBase64":"Z3L832UNCg","type":"SMTP_TO_SERVER","data":null}"#,
            Message::ToServer(Bytes::from_static(b"gr\xfc\xdfe\r\n")),
        ),
        (
            r#"{"type":"SMTP_TO_SERVER","data":"\u00e9\ud83d\ude00"}"#,
            Message::ToServer(Bytes::from("é😀")),
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"limits":{"maxRecipients":null,"x":{}},"error":7}"#,
            Message::AuthenticateResponse(Ok(Granted::default())),
        ),
        (
            r#"{"type":"AUTHENTICATE","apiKey":"k","durable":{}}"#,
            Message::Authenticate {
                api_key: ApiKey::new("k"),
                agent: None,
                durable: Some(DurableRequest::New),
            },
        ),
    ];
    for (json, message) in cases {
        assert_eq!(decode(&text(json)), Ok(Some(message)), "{json}");
    }
}

#[test]
fn what_is_unknown_is_ignored() {
    for json in [
        r#"{"type":"RELAY_DRAINING","deadlineMs":"soon","data":7}"#,
        r#"{"type":""}"#,
        r#"{"type":"smtp_channel_open"}"#,
    ] {
        assert_eq!(decode(&text(json)), Ok(None), "{json}");
    }
    assert_eq!(decode(&Frame::Ping(Bytes::new())), Ok(None));
    assert_eq!(decode(&Frame::Pong(Bytes::new())), Ok(None));
}

#[test]
fn violations_name_the_field() {
    let cases = [
        ("", "ends early"),
        (r#"{"type":"SMTP_CHANNEL_OPEN""#, "ends early"),
        ("nonsense", "not JSON: wrong at line 1"),
        ("{}", r#""type" is missing"#),
        (r#"{"type":null}"#, r#""type" is missing"#),
        (r#"{"type":7}"#, r#""type" must be a string"#),
        ("[]", "not a JSON object"),
        (r#""SMTP_CHANNEL_OPEN""#, "not a JSON object"),
        (
            r#"{"type":"SMTP_CHANNEL_OPEN","type":"SMTP_CHANNEL_OPEN"}"#,
            "each field once",
        ),
        (r#"{"type":"AUTHENTICATE"}"#, r#""apiKey" is missing"#),
        (
            r#"{"type":"AUTHENTICATE","apiKey":["secret"]}"#,
            r#""apiKey" must be a string"#,
        ),
        (
            r#"{"type":"AUTHENTICATE","apiKey":"secret","agent":1}"#,
            r#""agent" must be a string"#,
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":"true"}"#,
            r#""success" must be true or false"#,
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":false}"#,
            r#""error" is missing"#,
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":false,"error":"x","retryAfterMs":-1}"#,
            r#""retryAfterMs" must be a whole number"#,
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"limits":{"maxRecipients":1.5}}"#,
            r#""limits.maxRecipients" must be a whole number"#,
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"limits":5}"#,
            r#""limits" must be an object"#,
        ),
        (
            r#"{"type":"SMTP_TO_SERVER"}"#,
            r#""data" or "dataBase64" is missing"#,
        ),
        (
            r#"{"type":"SMTP_TO_SERVER","data":"","dataBase64":""}"#,
            "exclude each other",
        ),
        (
            r#"{"type":"SMTP_TO_SERVER","data":5}"#,
            r#""data" must be a string"#,
        ),
        (
            r#"{"type":"SMTP_FROM_SERVER","dataBase64":"!!"}"#,
            r#""dataBase64" is not base64"#,
        ),
        (
            r#"{"type":"SMTP_TO_SERVER","data":"\ud800"}"#,
            "not JSON: wrong at line 1",
        ),
        (
            r#"{"type":"SMTP_CHANNEL_ERROR","error":"x","code":70000}"#,
            r#""code" must be a whole number from 0 to 65535"#,
        ),
    ];
    for (json, reason) in cases {
        let violation = decode(&text(json)).unwrap_err();
        assert_eq!(violation.code, CloseCode::PROTOCOL_ERROR, "{json}");
        assert!(violation.reason.contains(reason), "{json}: {violation}");
        assert!(violation.reason.len() <= 123, "{violation}");
        assert!(!violation.to_string().contains("secret"), "{violation}");
    }
}

#[test]
fn kinds_of_frames_have_their_own_close_codes() {
    let code = |frame| decode(&frame).unwrap_err().code;
    let binary = Frame::Binary(Bytes::from_static(br#"{"type":"SMTP_CHANNEL_OPEN"}"#));
    assert_eq!(code(binary), CloseCode::UNSUPPORTED_DATA);
    let latin = Frame::Text(Bytes::from_static(
        b"{\"type\":\"SMTP_TO_SERVER\",\"data\":\"\xfc\"}",
    ));
    assert_eq!(code(latin), CloseCode::INVALID_PAYLOAD);
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!(
        r#"{{"type":"SMTP_CHANNEL_OPEN","x":{}}}"#,
        "[".repeat(100_000)
    );
    assert_eq!(
        decode(&text(&deep)).unwrap_err().code,
        CloseCode::PROTOCOL_ERROR
    );
}

#[test]
fn unescaped_text_is_not_copied() {
    let Frame::Text(payload) = text(r#"{"type":"SMTP_TO_SERVER","data":"plain"}"#) else {
        unreachable!()
    };
    let Ok(Some(Message::ToServer(data))) = decode(&Frame::Text(payload.clone())) else {
        panic!("not decoded")
    };
    assert!(payload.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn keys_and_content_stay_out_of_debug() {
    let authenticate = Message::Authenticate {
        api_key: ApiKey::new("secret"),
        agent: Some("me".into()),
        durable: None,
    };
    assert_eq!(
        format!("{authenticate:?}"),
        r#"AUTHENTICATE agent Some("me")"#
    );
    assert_eq!(format!("{:?}", ApiKey::new("secret")), "ApiKey(…)");
    let data = Message::ToServer(Bytes::from_static(b"secret"));
    assert_eq!(format!("{data:?}"), "SMTP_TO_SERVER 6 bytes");
}

#[test]
fn keys_are_equal_only_where_every_byte_is() {
    assert_eq!(ApiKey::new("abc"), ApiKey::new("abc"));
    for other in ["abd", "bbc", "ab", "abcd", ""] {
        assert_ne!(ApiKey::new("abc"), ApiKey::new(other));
    }
}

#[test]
fn a_cut_character_moves_to_the_next_chunk() {
    let cut = |bytes: &'static [u8], max| chunks(&Bytes::from_static(bytes), max);
    assert_eq!(cut(b"abcdef", 4), [&b"abcd"[..], b"ef"]);
    assert_eq!(cut("aé😀".as_bytes(), 4), ["aé", "😀"]);
    assert_eq!(cut("😀😀".as_bytes(), 7), ["😀", "😀"]);
    assert_eq!(cut(b"ab\xc3", 16), [&b"ab"[..], b"\xc3"]);
    assert_eq!(cut(b"a\xfcbcdefgh", 4), [&b"a\xfcbc"[..], b"defg", b"h"]);
    assert_eq!(cut("é".as_bytes(), 0), [&b"\xc3"[..], b"\xa9"]);
    assert!(data_chunk(&Bytes::from_static(b"ab"), 9, 4).is_empty());
}

fn chunks(bytes: &Bytes, max: usize) -> Vec<Bytes> {
    let mut at = 0;
    let mut chunks = Vec::new();
    loop {
        let chunk = data_chunk(bytes, at, max);
        if chunk.is_empty() {
            return chunks;
        }
        at += chunk.len();
        chunks.push(chunk);
    }
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        any::<Vec<u8>>().prop_map(Bytes::from),
        any::<String>().prop_map(Bytes::from),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let duration = || proptest::option::of(any::<u64>().prop_map(Duration::from_millis));
    prop_oneof![
        (".*", proptest::option::of(".*")).prop_map(|(key, agent)| Message::Authenticate {
            api_key: ApiKey::new(key),
            agent,
            durable: None
        }),
        any::<(Option<u64>, Option<u64>)>().prop_map(|(max_message_bytes, max_recipients)| {
            Message::AuthenticateResponse(Ok(Granted {
                limits: Limits {
                    max_message_bytes,
                    max_recipients,
                },
                durable: None,
            }))
        }),
        (".*", duration(), any::<Option<bool>>()).prop_map(|(error, retry_after, permanent)| {
            Message::AuthenticateResponse(Err(Denied {
                error,
                retry_after,
                permanent,
            }))
        }),
        Just(Message::ChannelOpen),
        Just(Message::ChannelReady),
        payload().prop_map(Message::ToServer),
        payload().prop_map(Message::FromServer),
        proptest::option::of(".*").prop_map(|reason| Message::ChannelClosed { reason }),
        (".*", any::<Option<u16>>(), duration()).prop_map(|(error, code, retry_after)| {
            Message::ChannelError(ChannelError {
                error,
                code,
                retry_after,
            })
        }),
    ]
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(message in any_message()) {
        prop_assert_eq!(decode(&encode(&message)), Ok(Some(message)));
    }

    #[test]
    fn any_cutting_reassembles(bytes in payload(), max in 0_usize..64) {
        let mut whole = Vec::new();
        for chunk in chunks(&bytes, max) {
            prop_assert!(chunk.len() <= max.max(1));
            let Ok(Some(Message::FromServer(data))) = decode(&encode(&Message::FromServer(chunk))) else {
                panic!("not decoded")
            };
            whole.extend_from_slice(&data);
        }
        prop_assert_eq!(whole, bytes);
    }

    #[test]
    fn text_stays_text(text in ".*", max in 4_usize..64) {
        for chunk in chunks(&Bytes::from(text), max) {
            prop_assert!(core::str::from_utf8(&chunk).is_ok());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>(), text in ".*") {
        let _ = decode(&Frame::Text(bytes.into()));
        let _ = decode(&Frame::Text(text.into()));
    }

    #[test]
    fn half_a_frame_is_an_error_or_nothing(message in any_message(), share in 0.0..1.0_f64) {
        let Frame::Text(whole) = encode(&message) else { unreachable!() };
        let half = whole.slice(..(whole.len() as f64 * share) as usize);
        prop_assert!(decode(&Frame::Text(half)).is_err());
    }
}
