use super::*;
use alloc::{format, string::ToString, vec};
use proptest::{collection::vec as many, option, prelude::*};

fn client(json: &str) -> Result<ClientMessage, Malformed> {
    decode_client(&Bytes::copy_from_slice(json.as_bytes()))
}

fn service(json: &str) -> Result<Option<ServiceMessage>, Malformed> {
    decode_service(&Bytes::copy_from_slice(json.as_bytes()))
}

fn call(message_id: u64, operation: Operation) -> ClientMessage {
    ClientMessage::Call(Request {
        message_id,
        settled: None,
        operation,
    })
}

fn answer(message_id: u64, result: Result<Success, Failure>) -> ServiceMessage {
    ServiceMessage::Answer(Answer {
        message_id: Some(message_id),
        result,
    })
}

fn record(key: &str, value: impl Into<Bytes>) -> Record {
    let (key, value) = (key.into(), value.into());
    Record { key, value }
}

/// Both ways, so that whoever writes another end can rely on every letter.
#[test]
fn requests_are_written_as_the_published_client_writes_them() {
    let key = || "visits".to_string();
    let value = || Bytes::from_static("grün".as_bytes());
    let cases = [
        (
            call(1, Operation::Get { key: key() }),
            r#"{"op":1,"key":"visits","messageId":1}"#,
        ),
        (
            call(
                2,
                Operation::Set {
                    key: key(),
                    value: value(),
                },
            ),
            r#"{"op":2,"key":"visits","value":"grün","messageId":2}"#,
        ),
        (
            call(
                3,
                Operation::Patch {
                    key: key(),
                    value: b"\xff\0"[..].into(),
                },
            ),
            r#"{"op":3,"key":"visits","value":"/wA=","encoding":"base64","messageId":3}"#,
        ),
        (
            call(4, Operation::Delete { key: key() }),
            r#"{"op":4,"key":"visits","messageId":4}"#,
        ),
        (
            call(
                7,
                Operation::Range {
                    key: "user:".into(),
                    end_key: "user:~".into(),
                    limit: Some(1),
                },
            ),
            r#"{"op":5,"key":"user:","endKey":"user:~","limit":1,"messageId":7}"#,
        ),
        (
            call(10, Operation::Increment { key: key(), by: -2 }),
            r#"{"op":6,"key":"visits","value":-2,"messageId":10}"#,
        ),
        (
            ClientMessage::Call(Request {
                message_id: 11,
                settled: Some(9),
                operation: Operation::Get { key: key() },
            }),
            r#"{"op":1,"key":"visits","messageId":11,"settled":9}"#,
        ),
        (
            ClientMessage::Hello {
                message_id: 0,
                hello: Hello {
                    client: ClientId::from_bits(7),
                    resume: None,
                    after: None,
                },
            },
            r#"{"op":7,"messageId":0,"durable":{"client":"00000000000000000000000000000007"}}"#,
        ),
        (
            ClientMessage::Hello {
                message_id: 0,
                hello: Hello {
                    client: ClientId::from_bits(7),
                    resume: Some(Resume {
                        session: SessionId::from_bits(8),
                        receive_next: 4,
                    }),
                    after: Some(Seen {
                        sequence: 99,
                        store: Some(StoreId::from_bits(9)),
                    }),
                },
            },
            r#"{"op":7,"messageId":0,"durable":{"client":"00000000000000000000000000000007","session":"00000000000000000000000000000008","receiveNext":4,"after":99,"store":"00000000000000000000000000000009"}}"#,
        ),
    ];
    for (message, json) in cases {
        assert_eq!(encode_client(&message), json);
        assert_eq!(client(json), Ok(message));
    }
}

#[test]
fn answers_and_news_are_written_as_the_published_client_reads_them() {
    let grant = Grant {
        session: SessionId::from_bits(8),
        receive_next: 1,
        expires_in: Duration::from_secs(120),
        heartbeat: Duration::from_secs(30),
        max_calls: 256,
        known: false,
        sequence: 99,
        store: StoreId::from_bits(9),
        gone: Some("it has expired".into()),
    };
    let cases = [
        (
            answer(1, Ok(Success::Value(record("k", "v")))),
            r#"{"code":200,"key":"k","value":"v","messageId":1}"#,
        ),
        (
            answer(2, Ok(Success::Done)),
            r#"{"code":200,"success":true,"messageId":2}"#,
        ),
        (
            answer(
                3,
                Ok(Success::Records {
                    records: vec![record("a", "1"), record("b", &b"\xff"[..])],
                    truncated: true,
                }),
            ),
            r#"{"code":200,"records":[{"key":"a","value":"1"},{"key":"b","value":"/w==","encoding":"base64"}],"count":2,"truncated":true,"messageId":3}"#,
        ),
        (
            answer(4, Ok(Success::Incremented { new_value: -3 })),
            r#"{"code":200,"success":true,"newValue":-3,"messageId":4}"#,
        ),
        (
            answer(5, Ok(Success::Granted(grant))),
            r#"{"code":200,"durable":{"session":"00000000000000000000000000000008","receiveNext":1,"expiresInMs":120000,"heartbeatMs":30000,"maxCalls":256,"known":false,"sequence":99,"store":"00000000000000000000000000000009","gone":"it has expired"},"messageId":5}"#,
        ),
        (
            answer(
                6,
                Err(Failure {
                    code: Code::TOO_MANY_REQUESTS,
                    error: "too many requests".into(),
                    retry_after: Some(Duration::from_millis(250)),
                }),
            ),
            r#"{"code":429,"error":"too many requests","retryAfterMs":250,"messageId":6}"#,
        ),
        (
            ServiceMessage::Notification(Notification {
                key: "k".into(),
                value: Some("v".into()),
                timestamp: Some(1_790_000_000_000),
                sequence: Some(7),
            }),
            r#"{"type":"notification","key":"k","value":"v","timestamp":1790000000000,"sequence":7}"#,
        ),
        (
            ServiceMessage::Notification(Notification {
                key: "k".into(),
                value: None,
                timestamp: None,
                sequence: None,
            }),
            r#"{"type":"notification","key":"k","value":null}"#,
        ),
        (
            ServiceMessage::Missed(Missed { after: 3, first: 9 }),
            r#"{"type":"missed","after":3,"first":9}"#,
        ),
    ];
    for (message, json) in cases {
        assert_eq!(encode_service(&message), json);
        assert_eq!(service(json), Ok(Some(message)));
    }
}

#[test]
fn what_is_wrong_with_a_request_is_named_and_answered_under_its_number() {
    let cases = [
        ("", None, "it is not JSON: it ends early"),
        ("null", None, "it is not a JSON object with each field once"),
        ("42", None, "it is not a JSON object with each field once"),
        (
            r#""x""#,
            None,
            "it is not a JSON object with each field once",
        ),
        ("hello", None, "it is not JSON: wrong at line 1, column 1"),
        (
            "[1,2]",
            None,
            "it is not a JSON object with each field once",
        ),
        ("{}", None, r#"field "messageId" is missing"#),
        (
            r#"{"op":1,"op":1,"messageId":1}"#,
            None,
            "it is not a JSON object with each field once",
        ),
        (
            r#"{"op":1,"messageId":"1"}"#,
            None,
            r#"field "messageId" must be a whole number from 0 to 2^53 - 1"#,
        ),
        (
            r#"{"op":1,"messageId":9007199254740992}"#,
            None,
            r#"field "messageId" must be a whole number from 0 to 2^53 - 1"#,
        ),
        (r#"{"messageId":1}"#, Some(1), r#"field "op" is missing"#),
        (
            r#"{"op":"GET","messageId":1}"#,
            Some(1),
            r#"field "op" must be a whole number from 1 to 2^53 - 1"#,
        ),
        (
            r#"{"op":8,"messageId":1}"#,
            Some(1),
            "there is no op 8; there are 1 to 7",
        ),
        (
            r#"{"op":1,"messageId":1}"#,
            Some(1),
            r#"field "key" is missing"#,
        ),
        (
            r#"{"op":1,"key":{"a":[1]},"messageId":1}"#,
            Some(1),
            r#"field "key" must be a string"#,
        ),
        (
            r#"{"op":2,"key":"k","messageId":1}"#,
            Some(1),
            r#"field "value" is missing"#,
        ),
        (
            r#"{"op":2,"key":"k","value":"~","encoding":"base64","messageId":1}"#,
            Some(1),
            r#"field "value" is not base64"#,
        ),
        (
            r#"{"op":2,"key":"k","value":"AA==","encoding":"hex","messageId":1}"#,
            Some(1),
            r#"field "encoding" must be "base64", or not be there"#,
        ),
        (
            r#"{"op":5,"key":"k","messageId":1}"#,
            Some(1),
            r#"field "endKey" is missing"#,
        ),
        (
            r#"{"op":5,"key":"k","endKey":"l","limit":0,"messageId":1}"#,
            Some(1),
            r#"field "limit" must be a whole number from 1 to 2^53 - 1"#,
        ),
        (
            r#"{"op":6,"key":"k","value":1.5,"messageId":1}"#,
            Some(1),
            r#"field "value" must be a whole number within 2^53 - 1 of zero"#,
        ),
        (
            r#"{"op":6,"key":"k","value":-9007199254740992,"messageId":1}"#,
            Some(1),
            r#"field "value" must be a whole number within 2^53 - 1 of zero"#,
        ),
        (
            r#"{"op":6,"key":"k","value":1e300,"messageId":1}"#,
            Some(1),
            r#"field "value" must be a whole number within 2^53 - 1 of zero"#,
        ),
        (
            r#"{"op":7,"messageId":1}"#,
            Some(1),
            r#"field "durable" is missing"#,
        ),
        (
            r#"{"op":7,"durable":7,"messageId":1}"#,
            Some(1),
            r#"field "durable" must be an object"#,
        ),
        (
            r#"{"op":7,"durable":{"client":"x"},"messageId":1}"#,
            Some(1),
            r#"field "durable.client": it has to be 32 lower-case hexadecimal digits"#,
        ),
        (
            r#"{"op":7,"durable":{"client":"00000000000000000000000000000007","receiveNext":1},"messageId":1}"#,
            Some(1),
            r#"field "durable.session" is missing"#,
        ),
        (
            r#"{"op":7,"durable":{"client":"00000000000000000000000000000007","session":"00000000000000000000000000000007","receiveNext":0},"messageId":1}"#,
            Some(1),
            r#"field "durable.receiveNext" must be a whole number from 1 to 2^53 - 1"#,
        ),
    ];
    for (json, message_id, problem) in cases {
        let error = client(json).unwrap_err();
        assert_eq!(
            (error.message_id, &*error.problem),
            (message_id, problem),
            "{json}"
        );
        let ServiceMessage::Answer(told) = service(&encoded(&error)).unwrap().unwrap() else {
            panic!("an answer is an answer");
        };
        assert_eq!(told, error.to_answer());
    }
}

fn encoded(error: &Malformed) -> String {
    let bytes = encode_service(&ServiceMessage::Answer(error.to_answer()));
    String::from_utf8(bytes.into()).unwrap()
}

#[test]
fn numbers_may_be_written_as_other_languages_write_them() {
    let expected = call(
        5,
        Operation::Increment {
            key: "k".into(),
            by: -2,
        },
    );
    assert_eq!(
        client(
            r#"{"messageId":5.0,"value":-2.0,"key":"k","op":6e0,"more":[{"deep":[[[]]]}],"limit":null}"#
        ),
        Ok(expected)
    );
}

#[test]
fn what_other_services_send_is_understood() {
    let cases = [
        (
            r#"{"code":200,"key":"k","value":5,"messageId":1}"#,
            answer(1, Ok(Success::Value(record("k", "5")))),
        ),
        (
            r#"{"code":200,"key":"k","value":1.5,"messageId":1}"#,
            answer(1, Ok(Success::Value(record("k", "1.5")))),
        ),
        (
            r#"{"code":200,"success":true,"newValue":3,"key":"visits","messageId":1}"#,
            answer(1, Ok(Success::Incremented { new_value: 3 })),
        ),
        (
            r#"{"code":200,"success":true,"message":"ok","messageId":1}"#,
            answer(1, Ok(Success::Done)),
        ),
        (
            r#"{"code":200,"records":[],"messageId":1}"#,
            answer(
                1,
                Ok(Success::Records {
                    records: vec![],
                    truncated: false,
                }),
            ),
        ),
        (
            r#"{"code":404,"message":"Record not found","messageId":1}"#,
            answer(1, Err(Failure::new(Code::NOT_FOUND, "Record not found"))),
        ),
        (
            r#"{"code":500,"messageId":1}"#,
            answer(1, Err(Failure::new(Code(500), "it gives no reason"))),
        ),
        (
            r#"{"type":"notification","key":"visits","value":5,"timestamp":12.0}"#,
            ServiceMessage::Notification(Notification {
                key: "visits".into(),
                value: Some("5".into()),
                timestamp: Some(12),
                sequence: None,
            }),
        ),
    ];
    for (json, message) in cases {
        assert_eq!(service(json), Ok(Some(message)), "{json}");
    }
    assert_eq!(service(r#"{"type":"gossip"}"#), Ok(None));
}

#[test]
fn what_is_wrong_with_an_answer_is_named_with_the_call_it_is_about() {
    let cases = [
        ("null", None, "it is not a JSON object with each field once"),
        ("hello", None, "it is not JSON: wrong at line 1, column 1"),
        ("{}", None, r#"it has neither "type" nor "messageId""#),
        (r#"{"type":7}"#, None, r#"field "type" must be a string"#),
        (r#"{"messageId":1}"#, Some(1), r#"field "code" is missing"#),
        (
            r#"{"code":"200","messageId":1}"#,
            Some(1),
            r#"field "code" must be a whole number from 0 to 2^53 - 1"#,
        ),
        (
            r#"{"code":70000,"messageId":1}"#,
            Some(1),
            r#"field "code" must be a whole number up to 65535"#,
        ),
        (
            r#"{"code":200,"messageId":"1"}"#,
            None,
            r#"field "messageId" must be a whole number from 0 to 2^53 - 1"#,
        ),
        (
            r#"{"code":200,"key":"k","value":["secret"],"messageId":1}"#,
            Some(1),
            r#"field "value" must be a string"#,
        ),
        (
            r#"{"code":200,"records":7,"messageId":1}"#,
            Some(1),
            r#"field "records" must be an array"#,
        ),
        (
            r#"{"code":200,"records":[7],"messageId":1}"#,
            Some(1),
            r#"field "records[]" must be an object"#,
        ),
        (
            r#"{"code":200,"newValue":1.5,"messageId":1}"#,
            Some(1),
            r#"field "newValue" must be a whole number within 2^53 - 1 of zero"#,
        ),
        (
            r#"{"code":200,"durable":{"session":"x"},"messageId":1}"#,
            Some(1),
            r#"field "durable.session": a session is named by 32 lower-case hexadecimal digits"#,
        ),
        (
            r#"{"type":"notification","value":"v"}"#,
            None,
            r#"field "key" is missing"#,
        ),
        (
            r#"{"type":"missed","after":1}"#,
            None,
            r#"field "first" is missing"#,
        ),
    ];
    for (json, message_id, problem) in cases {
        let error = service(json).unwrap_err();
        assert_eq!(
            (error.message_id, &*error.problem),
            (message_id, problem),
            "{json}"
        );
    }
}

#[test]
fn however_deep_json_is_it_is_refused_or_passed_over() {
    for depth in [100, 100_000] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let field = format!(r#"{{"op":1,"key":"k","messageId":1,"more":{nested}}}"#);
            let key = format!(r#"{{"op":1,"key":{nested},"messageId":1}}"#);
            // Whatever comes of them, nothing does that takes the stack along.
            let _ = (client(&nested), client(&field), client(&key));
            let _ = (service(&nested), service(&field));
        }
    }
}

#[test]
fn neither_keys_nor_values_are_in_what_debug_shows() {
    let secret = "SECRET";
    let messages = [
        call(
            1,
            Operation::Set {
                key: secret.into(),
                value: secret.into(),
            },
        ),
        call(
            1,
            Operation::Range {
                key: secret.into(),
                end_key: secret.into(),
                limit: None,
            },
        ),
    ];
    for message in &messages {
        assert!(!format!("{message:?}").contains(secret));
    }
    let messages = [
        answer(1, Ok(Success::Value(record(secret, secret)))),
        answer(
            1,
            Ok(Success::Records {
                records: vec![record(secret, secret)],
                truncated: false,
            }),
        ),
        ServiceMessage::Notification(Notification {
            key: secret.into(),
            value: Some(secret.into()),
            timestamp: None,
            sequence: None,
        }),
    ];
    for message in &messages {
        assert!(!format!("{message:?}").contains(secret));
    }
    for json in [
        r#"{"SECRET"#,
        r#"{"op":1,"key":7,"messageId":1,"value":"SECRET"}"#,
    ] {
        assert!(!client(json).unwrap_err().to_string().contains(secret));
        assert!(!service(json).is_err_and(|error| error.to_string().contains(secret)));
    }
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        many(any::<u8>(), 0..20).prop_map(Bytes::from),
        any::<String>().prop_map(Bytes::from),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    0..=MAX_NUMBER.unsigned_abs()
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = any::<String>;
    prop_oneof![
        key().prop_map(|key| Operation::Get { key }),
        (key(), bytes()).prop_map(|(key, value)| Operation::Set { key, value }),
        (key(), bytes()).prop_map(|(key, value)| Operation::Patch { key, value }),
        key().prop_map(|key| Operation::Delete { key }),
        (key(), key(), option::of(1..=MAX_NUMBER.unsigned_abs())).prop_map(
            |(key, end_key, limit)| Operation::Range {
                key,
                end_key,
                limit
            }
        ),
        (key(), -MAX_NUMBER..=MAX_NUMBER).prop_map(|(key, by)| Operation::Increment { key, by }),
    ]
}

fn success() -> impl Strategy<Value = Success> {
    let record = || (any::<String>(), bytes()).prop_map(|(key, value)| Record { key, value });
    prop_oneof![
        record().prop_map(Success::Value),
        Just(Success::Done),
        (many(record(), 0..5), any::<bool>())
            .prop_map(|(records, truncated)| Success::Records { records, truncated }),
        (-MAX_NUMBER..=MAX_NUMBER).prop_map(|new_value| Success::Incremented { new_value }),
    ]
}

proptest! {
    #[test]
    fn requests_survive_the_way(message_id in number(), settled in option::of(number()), operation in operation()) {
        let message = ClientMessage::Call(Request { message_id, settled, operation });
        prop_assert_eq!(decode_client(&encode_client(&message)), Ok(message));
    }

    #[test]
    fn answers_survive_the_way(message_id in option::of(number()), success in success()) {
        let message = ServiceMessage::Answer(Answer { message_id, result: Ok(success) });
        prop_assert_eq!(decode_service(&encode_service(&message)), Ok(Some(message)));
    }

    #[test]
    fn notifications_survive_the_way(
        key: String,
        value in option::of(bytes()),
        timestamp in option::of(number()),
        sequence in option::of(number()),
    ) {
        let notification = Notification { key, value, timestamp, sequence };
        let message = ServiceMessage::Notification(notification);
        prop_assert_eq!(decode_service(&encode_service(&message)), Ok(Some(message)));
    }

    #[test]
    fn no_bytes_are_too_bad_to_be_refused(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let _ = (decode_client(&bytes), decode_service(&bytes));
    }
}
