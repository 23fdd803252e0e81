use super::*;
use crate::{
    mail::{DeliveryId, Outcome},
    smtp::{ForwardPath, reply},
};
use alloc::{string::ToString, vec, vec::Vec};

const ID: &str = "0123456789abcdef0123456789abcdef";

/// Every word as its literal JSON, in the form the encoder writes.
fn words() -> Vec<(&'static str, Word)> {
    vec![
        (
            r#"{"type":"SMTP_CHANNEL_OPEN","channelId":1,"deliveryId":"0123456789abcdef0123456789abcdef"}"#,
            Word::Open {
                channel: 1,
                delivery: DeliveryId::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
                sent_under: None,
            },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_OPEN","channelId":2,"deliveryId":"00000000000000000000000000000007","sentUnder":"m1"}"#,
            Word::Open {
                channel: 2,
                delivery: DeliveryId::from_bits(7),
                sent_under: Some("m1".into()),
            },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_READY","channelId":9007199254740991}"#,
            Word::Ready {
                channel: (1 << 53) - 1,
            },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":7}"#,
            Word::Closed {
                channel: 7,
                reason: None,
                outcome: None,
            },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":7,"reason":"settled before","outcome":{"reply":"250-2.0.0 Ok\r\n250 2.0.0 queued as 5\r\n","rejected":[{"recipient":"eve@example.net","reply":"550 5.1.1 No such user\r\n"},{"recipient":"Postmaster","reply":"550 5.1.1 No\r\n"}]}}"#,
            Word::Closed {
                channel: 7,
                reason: Some("settled before".into()),
                outcome: Some(Outcome::Answered {
                    reply: reply(250, "2.0.0", "Ok\nqueued as 5"),
                    rejected: vec![
                        (
                            ForwardPath::Mailbox("eve@example.net".parse().unwrap()),
                            reply(550, "5.1.1", "No such user"),
                        ),
                        (ForwardPath::Postmaster, reply(550, "5.1.1", "No")),
                    ],
                }),
            },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":8,"outcome":{"reply":"250 2.0.0 Ok\r\n"}}"#,
            Word::Closed {
                channel: 8,
                reason: None,
                outcome: Some(Outcome::Answered {
                    reply: reply(250, "2.0.0", "Ok"),
                    rejected: vec![],
                }),
            },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":7,"outcome":{"inDoubt":true}}"#,
            Word::Closed {
                channel: 7,
                reason: None,
                outcome: Some(Outcome::InDoubt),
            },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_ERROR","channelId":2,"error":"cannot connect","code":421,"retryAfterMs":5000}"#,
            Word::Error {
                channel: 2,
                error: ChannelError {
                    error: "cannot connect".into(),
                    code: Some(421),
                    retry_after: Some(Duration::from_secs(5)),
                },
            },
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CREDIT","channelId":3,"bytes":65536}"#,
            Word::Credit {
                channel: 3,
                bytes: 65536,
            },
        ),
        (
            r#"{"type":"RELAY_DRAINING","deadlineMs":30000,"spreadMs":10000}"#,
            Word::Draining {
                deadline: Duration::from_secs(30),
                spread: Some(Duration::from_secs(10)),
            },
        ),
        (
            r#"{"type":"RELAY_DRAINING","deadlineMs":0}"#,
            Word::Draining {
                deadline: Duration::ZERO,
                spread: None,
            },
        ),
    ]
}

#[test]
fn every_word_has_its_literal_form() {
    for (json, word) in words() {
        assert_eq!(encode_word(&word), json);
        assert_eq!(decode_word(&json.into()), Ok(Some(word)), "{json}");
    }
}

#[test]
fn unknown_words_and_fields_are_ignored() {
    assert_eq!(
        decode_word(&r#"{"type":"SMTP_WEATHER","channelId":"x"}"#.into()),
        Ok(None)
    );
    assert_eq!(
        decode_word(&r#"{"type":"SMTP_CHANNEL_READY","channelId":4,"outcome":5,"x":[{}]}"#.into()),
        Ok(Some(Word::Ready { channel: 4 }))
    );
}

#[test]
fn the_dialect_is_asked_for_and_granted() {
    let session: crate::session::SessionId = ID.parse().unwrap();
    let ask = |durable| Message::Authenticate {
        api_key: ApiKey::new("k"),
        agent: None,
        durable: Some(durable),
    };
    let capabilities = crate::smtp::Capabilities {
        pipelining: true,
        chunking: true,
        size: Some(crate::smtp::Size::Limit(1000)),
        ..crate::smtp::Capabilities::default()
    };
    let grant = |gone: Option<&str>| {
        Message::AuthenticateResponse(Ok(Granted {
            limits: Limits::default(),
            durable: Some(DurableGrant {
                session,
                receive_next: 12,
                expires_in: Duration::from_secs(120),
                heartbeat: Duration::from_secs(30),
                max_channels: 64,
                window: 262_144,
                ledger_mark: "m1".into(),
                capabilities: capabilities.clone(),
                gone: gone.map(Into::into),
            }),
        }))
    };
    let cases = [
        (
            r#"{"type":"AUTHENTICATE","apiKey":"k","durable":{}}"#,
            ask(DurableRequest::New),
        ),
        (
            r#"{"type":"AUTHENTICATE","apiKey":"k","durable":{"session":"0123456789abcdef0123456789abcdef","receiveNext":5}}"#,
            ask(DurableRequest::Resume {
                session,
                receive_next: 5,
            }),
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"durable":{"session":"0123456789abcdef0123456789abcdef","receiveNext":12,"expiresInMs":120000,"heartbeatMs":30000,"maxChannels":64,"window":262144,"ledgerMark":"m1","capabilities":["PIPELINING","SIZE 1000","CHUNKING"]}}"#,
            grant(None),
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"durable":{"gone":"there is no such session, or no longer","session":"0123456789abcdef0123456789abcdef","receiveNext":12,"expiresInMs":120000,"heartbeatMs":30000,"maxChannels":64,"window":262144,"ledgerMark":"m1","capabilities":["PIPELINING","SIZE 1000","CHUNKING"]}}"#,
            grant(Some("there is no such session, or no longer")),
        ),
    ];
    for (json, message) in cases {
        let frame = crate::Frame::Text(json.into());
        assert_eq!(encode(&message), frame);
        assert_eq!(decode(&frame), Ok(Some(message)), "{json}");
    }
}

#[test]
fn violations_name_the_field() {
    let words = [
        ("", "ends early"),
        ("[]", "not a JSON object"),
        (r#"{"channelId":1}"#, r#""type" is missing"#),
        (
            r#"{"type":"SMTP_CHANNEL_READY"}"#,
            r#""channelId" is missing"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_READY","channelId":"1"}"#,
            r#""channelId" must be a whole number"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_READY","channelId":0}"#,
            r#""channelId" must be from 1 to 2^53 - 1"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_READY","channelId":9007199254740992}"#,
            r#""channelId" must be from 1 to 2^53 - 1"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_OPEN","channelId":1}"#,
            r#""deliveryId" is missing"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_OPEN","channelId":1,"deliveryId":"secret"}"#,
            r#""deliveryId": a delivery is named by 32"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CREDIT","channelId":1}"#,
            r#""bytes" is missing"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CREDIT","channelId":1,"bytes":0}"#,
            r#""bytes" must be from 1"#,
        ),
        (r#"{"type":"RELAY_DRAINING"}"#, r#""deadlineMs" is missing"#),
        (
            r#"{"type":"RELAY_DRAINING","deadlineMs":1,"spreadMs":-1}"#,
            r#""spreadMs" must be a whole number"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1,"outcome":"secret"}"#,
            r#""outcome" must be an object"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1,"outcome":{}}"#,
            r#""outcome.reply" is missing"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1,"outcome":{"reply":"secret"}}"#,
            "not one SMTP reply",
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1,"outcome":{"reply":"250 a\r\n250 b\r\n"}}"#,
            "not one SMTP reply",
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1,"outcome":{"reply":"250 a\r\n","rejected":[{"recipient":"secret","reply":"550 b\r\n"}]}}"#,
            r#""outcome.rejected[].recipient""#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1,"outcome":{"reply":"250 a\r\n","rejected":[{"recipient":"a@b.example"}]}}"#,
            r#""outcome.rejected[].reply" is missing"#,
        ),
        (
            r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1,"outcome":{"inDoubt":true,"reply":"250 a\r\n"}}"#,
            "exclude each other",
        ),
        (
            r#"{"type":"SMTP_TO_SERVER","channelId":1,"data":"secret"}"#,
            "SMTP travels in data frames",
        ),
        (
            r#"{"type":"AUTHENTICATE","apiKey":"secret"}"#,
            "AUTHENTICATE within a session",
        ),
    ];
    let words = words.map(|(json, reason)| (json, reason, decode_word(&json.into()).unwrap_err()));
    let grants = [
        (
            r#"{"type":"AUTHENTICATE","apiKey":"secret","durable":true}"#,
            r#""durable" must be an object"#,
        ),
        (
            r#"{"type":"AUTHENTICATE","apiKey":"secret","durable":{"session":"secret","receiveNext":1}}"#,
            r#""durable.session": a session is named by 32"#,
        ),
        (
            r#"{"type":"AUTHENTICATE","apiKey":"secret","durable":{"receiveNext":1}}"#,
            r#""durable.session" is missing"#,
        ),
        (
            r#"{"type":"AUTHENTICATE","apiKey":"secret","durable":{"session":"0123456789abcdef0123456789abcdef"}}"#,
            r#""durable.receiveNext" is missing"#,
        ),
        (
            r#"{"type":"AUTHENTICATE","apiKey":"secret","durable":{"session":"0123456789abcdef0123456789abcdef","receiveNext":0}}"#,
            r#""durable.receiveNext" must be from 1"#,
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"durable":{}}"#,
            r#""durable.session" is missing"#,
        ),
        (
            r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"durable":{"session":"0123456789abcdef0123456789abcdef","receiveNext":1,"expiresInMs":1,"heartbeatMs":1,"maxChannels":1,"window":1,"ledgerMark":"","capabilities":"SIZE"}}"#,
            r#""durable.capabilities" must be an array"#,
        ),
    ];
    let grants = grants.map(|(json, reason)| {
        (
            json,
            reason,
            decode(&crate::Frame::Text(json.into())).unwrap_err(),
        )
    });
    for (json, reason, violation) in words.into_iter().chain(grants) {
        assert_eq!(violation.code, CloseCode::PROTOCOL_ERROR, "{json}");
        assert!(violation.reason.contains(reason), "{json}: {violation}");
        assert!(violation.reason.len() <= 123, "{violation}");
        assert!(!violation.to_string().contains("secret"), "{violation}");
    }
    let latin = decode_word(&Bytes::from_static(b"{\"type\":\"\xfc\"}"));
    assert_eq!(latin.unwrap_err().code, CloseCode::INVALID_PAYLOAD);
}
