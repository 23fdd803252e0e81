//! The test vectors in `docs/vectors`, which are there for other implementers, hold for ours.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use bytes::{Bytes, BytesMut};
use relay_proto::{
    Frame, LinkId, Time,
    mail::wire::{decode, decode_word, encode, encode_word},
    session::{Body, RetentionLimits, Session, SessionFrame},
};
use serde_json::Value;
use std::{fs, path::Path, time::Duration};

fn vectors(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors");
    let text = fs::read_to_string(path.join(file)).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty());
    vectors
}

fn bytes(hexadecimal: &Value) -> Bytes {
    let digits = hexadecimal.as_str().unwrap().as_bytes();
    let pairs = digits.chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// A number, or one in a string where it has more than 53 bits.
fn number(value: &Value) -> u64 {
    let text = value.as_str().map(|text| text.parse().unwrap());
    text.unwrap_or_else(|| value.as_u64().unwrap())
}

fn body(value: &Value) -> Body<Bytes> {
    let octets = |name: &str| Bytes::copy_from_slice(value[name].as_str().unwrap().as_bytes());
    if value["control"].is_string() {
        Body::Control(octets("control"))
    } else {
        Body::Data {
            channel: number(&value["channel"]),
            payload: octets("data"),
        }
    }
}

#[test]
fn messages() {
    for vector in vectors("messages.json") {
        let json = Bytes::copy_from_slice(vector["json"].as_str().unwrap().as_bytes());
        let read = if vector["in"] == "text" {
            decode(&Frame::Text(json.clone())).map(|message| {
                message.map(|message| match encode(&message) {
                    Frame::Text(json) => json,
                    other => panic!("{other:?}"),
                })
            })
        } else {
            decode_word(&json).map(|word| word.map(|word| encode_word(&word)))
        };
        match read {
            Err(violation) => assert_eq!(vector["error"], violation.reason, "{vector}"),
            Ok(None) => assert_eq!(vector["ignored"], true, "{vector}"),
            Ok(Some(written)) => {
                let expected = vector["rewritten"].as_str().map(str::as_bytes);
                assert_eq!(written, expected.unwrap_or(&json), "{vector}");
                assert_eq!(vector["error"], Value::Null, "{vector}");
            }
        }
    }
}

#[test]
fn session_frames() {
    for vector in vectors("session-frames.json") {
        let message = bytes(&vector["bytes"]);
        match SessionFrame::decode(&message) {
            Err(error) => assert_eq!(vector["error"], error.to_string(), "{vector}"),
            Ok(frame) => {
                let said = &vector["frame"];
                let ack = number(&said["ack"]);
                let expected = if said["seq"].is_null() {
                    SessionFrame::Acknowledgement { ack }
                } else {
                    SessionFrame::Numbered {
                        seq: number(&said["seq"]),
                        ack,
                        body: body(said),
                    }
                };
                assert_eq!(frame, expected, "{vector}");
                let mut written = BytesMut::new();
                frame.encode(&mut written);
                assert_eq!(written, message, "{vector}");
            }
        }
    }
}

#[test]
fn sessions() {
    let link = |step: &Value| LinkId::accepted(number(&step["link"]));
    for vector in vectors("sessions.json") {
        let name = &vector["name"];
        let expiry = Duration::from_secs(120);
        let mut session = Session::new(Time::ZERO, expiry, RetentionLimits::default());
        for step in vector["steps"].as_array().unwrap() {
            let (verb, value) = step.as_object().unwrap().iter().next().unwrap();
            // Keys are sorted; the verb is the one that is not a detail of another.
            let verb = ["attach", "in"]
                .into_iter()
                .find(|verb| !step[verb].is_null())
                .unwrap_or(verb);
            match verb {
                "attach" => match session.attach(link(step), number(&step["attach"])) {
                    Ok(older) => {
                        let fences = step["fences"].as_u64().map(LinkId::accepted);
                        assert_eq!(
                            (older, &step["error"]),
                            (fences, &Value::Null),
                            "{name}: {step}"
                        );
                    }
                    Err(error) => assert_eq!(step["error"], error.to_string(), "{name}"),
                },
                "in" => match session.handle_frame(link(step), &bytes(&step["in"])) {
                    Ok(delivery) => {
                        let seq = delivery.map(|delivery| delivery.seq);
                        let expected = (step["delivers"].as_u64(), &Value::Null);
                        assert_eq!((seq, &step["error"]), expected, "{name}: {step}");
                    }
                    Err(error) => assert_eq!(step["error"], error.to_string(), "{name}"),
                },
                "cut" => {
                    session.detach(Time::ZERO, LinkId::accepted(number(value)));
                }
                "send" => {
                    session.send(body(value).borrowed()).unwrap();
                }
                "out" => {
                    let expected: Vec<_> = value.as_array().unwrap().iter().map(bytes).collect();
                    let out: Vec<_> = std::iter::from_fn(|| session.poll_frame()).collect();
                    assert_eq!(out, expected, "{name}: {step}");
                }
                "takeOver" => session.take_over(number(value)),
                "beat" => session.beat(),
                "receiveNext" => assert_eq!(session.receive_next(), number(value), "{name}"),
                "unacknowledged" => {
                    assert_eq!(session.unacknowledged().0 as u64, number(value), "{name}");
                }
                unknown => panic!("{name}: there is no step {unknown}"),
            }
        }
    }
}
