//! Bytes to messages.

use super::{
    Answer, ClientMessage, Code, Failure, Grant, Hello, Malformed, Missed, Notification, Operation,
    Record, Request, Resume, Seen, ServiceMessage, Success,
    fields::{List, Object, Problem, Value},
};
use alloc::{format, string::String, vec::Vec};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::error::Category;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientFields<'a> {
    #[serde(borrow, default)]
    op: Value<'a>,
    #[serde(borrow, default)]
    message_id: Value<'a>,
    #[serde(borrow, default)]
    settled: Value<'a>,
    #[serde(borrow, default)]
    key: Value<'a>,
    #[serde(borrow, default)]
    value: Value<'a>,
    #[serde(borrow, default)]
    encoding: Value<'a>,
    #[serde(borrow, default)]
    end_key: Value<'a>,
    #[serde(borrow, default)]
    limit: Value<'a>,
    #[serde(borrow, default)]
    durable: Object<HelloFields<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HelloFields<'a> {
    #[serde(borrow, default)]
    client: Value<'a>,
    #[serde(borrow, default)]
    session: Value<'a>,
    #[serde(borrow, default)]
    receive_next: Value<'a>,
    #[serde(borrow, default)]
    after: Value<'a>,
    #[serde(borrow, default)]
    store: Value<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceFields<'a> {
    #[serde(borrow, default)]
    r#type: Value<'a>,
    #[serde(borrow, default)]
    code: Value<'a>,
    #[serde(borrow, default)]
    message_id: Value<'a>,
    #[serde(borrow, default)]
    key: Value<'a>,
    #[serde(borrow, default)]
    value: Value<'a>,
    #[serde(borrow, default)]
    encoding: Value<'a>,
    #[serde(borrow, default)]
    records: List<RecordFields<'a>>,
    #[serde(borrow, default)]
    truncated: Value<'a>,
    #[serde(borrow, default)]
    new_value: Value<'a>,
    #[serde(borrow, default)]
    error: Value<'a>,
    #[serde(borrow, default)]
    message: Value<'a>,
    #[serde(borrow, default)]
    retry_after_ms: Value<'a>,
    #[serde(borrow, default)]
    durable: Object<GrantFields<'a>>,
    #[serde(borrow, default)]
    timestamp: Value<'a>,
    #[serde(borrow, default)]
    sequence: Value<'a>,
    #[serde(borrow, default)]
    after: Value<'a>,
    #[serde(borrow, default)]
    first: Value<'a>,
}

#[derive(Deserialize)]
struct RecordFields<'a> {
    #[serde(borrow, default)]
    key: Value<'a>,
    #[serde(borrow, default)]
    value: Value<'a>,
    #[serde(borrow, default)]
    encoding: Value<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GrantFields<'a> {
    #[serde(borrow, default)]
    session: Value<'a>,
    #[serde(borrow, default)]
    receive_next: Value<'a>,
    #[serde(borrow, default)]
    expires_in_ms: Value<'a>,
    #[serde(borrow, default)]
    heartbeat_ms: Value<'a>,
    #[serde(borrow, default)]
    max_calls: Value<'a>,
    #[serde(borrow, default)]
    known: Value<'a>,
    #[serde(borrow, default)]
    sequence: Value<'a>,
    #[serde(borrow, default)]
    store: Value<'a>,
    #[serde(borrow, default)]
    gone: Value<'a>,
}

/// Reads what a client says, from the payload of a text message or of a control frame.
///
/// A value that is text without escapes is a slice of `message`, not a copy.
///
/// # Errors
///
/// Where it is not one JSON object with the fields its `op` needs. The error names the first field that is wrong, and carries the
/// message's number where it has one, so that a service can answer.
pub fn decode_client(message: &Bytes) -> Result<ClientMessage, Malformed> {
    let mut fields: ClientFields<'_> = read(message)?;
    // First of all: it is what everything else that is wrong is answered under.
    let message_id = core::mem::take(&mut fields.message_id).number("messageId", 0);
    let message_id = message_id.map_err(without_number)?;
    let said = match core::mem::take(&mut fields.op).number("op", 1) {
        Ok(7) => hello(fields.durable).map(|hello| ClientMessage::Hello { message_id, hello }),
        Ok(op) => call(op, message_id, fields, message),
        Err(problem) => Err(problem),
    };
    said.map_err(|problem| Malformed {
        message_id: Some(message_id),
        problem,
    })
}

fn call(
    op: u64,
    message_id: u64,
    fields: ClientFields<'_>,
    message: &Bytes,
) -> Result<ClientMessage, Problem> {
    if !(1..=6).contains(&op) {
        return Err(format!("there is no op {op}; there are 1 to 7"));
    }
    let settled = fields.settled.optional_number("settled", 0)?;
    let key: String = fields.key.text("key")?.into_owned();
    let value = |value: Value<'_>| value.bytes(fields.encoding, "value", message);
    let operation = match op {
        1 => Operation::Get { key },
        2 => Operation::Set {
            key,
            value: value(fields.value)?,
        },
        3 => Operation::Patch {
            key,
            value: value(fields.value)?,
        },
        4 => Operation::Delete { key },
        5 => Operation::Range {
            key,
            end_key: fields.end_key.text("endKey")?.into_owned(),
            limit: fields.limit.optional_number("limit", 1)?,
        },
        _ => Operation::Increment {
            key,
            by: fields.value.integer("value")?,
        },
    };
    Ok(ClientMessage::Call(Request {
        message_id,
        settled,
        operation,
    }))
}

fn hello(durable: Object<HelloFields<'_>>) -> Result<Hello, Problem> {
    let durable = durable.required("durable")?;
    let resume = match (durable.session, durable.receive_next) {
        (Value::Absent, Value::Absent) => None,
        (session, receive_next) => Some(Resume {
            session: session.parse("durable.session")?,
            receive_next: receive_next.number("durable.receiveNext", 1)?,
        }),
    };
    let after = durable.after.optional_number("durable.after", 0)?;
    let store = match durable.store {
        Value::Absent => None,
        store => Some(store.parse("durable.store")?),
    };
    Ok(Hello {
        client: durable.client.parse("durable.client")?,
        resume,
        after: after.map(|sequence| Seen { sequence, store }),
    })
}

/// Reads what a service says, from the payload of a text message or of a control frame.
///
/// `Ok(None)` is a message to be ignored and counted: one whose `type` this dialect does not know. Services that are not ours may
/// send numbers as values, which are read as their text, and say what is wrong in `message` instead of `error`.
///
/// # Errors
///
/// Where it is not one JSON object, or a field is missing or mistyped; the error names it, and carries the message's number where it
/// has one, so that a client can end the call.
pub fn decode_service(message: &Bytes) -> Result<Option<ServiceMessage>, Malformed> {
    let mut fields: ServiceFields<'_> = read(message)?;
    let kind = core::mem::take(&mut fields.r#type).optional_text("type");
    let said = match kind.map_err(without_number)?.as_deref() {
        Some("notification") => notification(fields, message).map(ServiceMessage::Notification),
        Some("missed") => missed(fields).map(ServiceMessage::Missed),
        _ if !fields.code.is_absent() || !fields.message_id.is_absent() => {
            return answer(fields, message).map(|answer| Some(ServiceMessage::Answer(answer)));
        }
        Some(_) => return Ok(None),
        None => Err("it has neither \"type\" nor \"messageId\"".into()),
    };
    said.map(Some).map_err(without_number)
}

fn notification(fields: ServiceFields<'_>, message: &Bytes) -> Result<Notification, Problem> {
    let value = match fields.value {
        Value::Absent => None,
        value => Some(value.bytes_or_number(fields.encoding, "value", message)?),
    };
    Ok(Notification {
        key: fields.key.text("key")?.into_owned(),
        value,
        timestamp: fields.timestamp.optional_number("timestamp", 0)?,
        sequence: fields.sequence.optional_number("sequence", 0)?,
    })
}

fn missed(fields: ServiceFields<'_>) -> Result<Missed, Problem> {
    Ok(Missed {
        after: fields.after.number("after", 0)?,
        first: fields.first.number("first", 0)?,
    })
}

fn answer(mut fields: ServiceFields<'_>, message: &Bytes) -> Result<Answer, Malformed> {
    let message_id = core::mem::take(&mut fields.message_id);
    let message_id = message_id.optional_number("messageId", 0);
    let message_id = message_id.map_err(without_number)?;
    let result = match core::mem::take(&mut fields.code).number("code", 0) {
        Ok(200) => success(fields, message).map(Ok),
        Ok(code) => match u16::try_from(code) {
            Ok(code) => failure(Code(code), fields).map(Err),
            Err(_) => Err("field \"code\" must be a whole number up to 65535".into()),
        },
        Err(problem) => Err(problem),
    };
    match result {
        Ok(result) => Ok(Answer { message_id, result }),
        Err(problem) => Err(Malformed {
            message_id,
            problem,
        }),
    }
}

fn success(fields: ServiceFields<'_>, message: &Bytes) -> Result<Success, Problem> {
    match fields.durable {
        Object::Absent => {}
        durable => return grant(durable).map(Success::Granted),
    }
    match fields.records {
        List::Absent => {}
        List::Other => return Err("field \"records\" must be an array".into()),
        List::Here(records) => {
            let records = records.into_iter().map(|record| {
                let record = record.required("records[]")?;
                Ok(Record {
                    key: record.key.text("records[].key")?.into_owned(),
                    value: record.value.bytes_or_number(
                        record.encoding,
                        "records[].value",
                        message,
                    )?,
                })
            });
            let records = records.collect::<Result<Vec<_>, Problem>>()?;
            let truncated = match fields.truncated {
                Value::Absent => false,
                truncated => truncated.boolean("truncated")?,
            };
            return Ok(Success::Records { records, truncated });
        }
    }
    if !fields.new_value.is_absent() {
        let new_value = fields.new_value.integer("newValue")?;
        return Ok(Success::Incremented { new_value });
    }
    if !fields.value.is_absent() {
        let value = fields.value;
        return Ok(Success::Value(Record {
            key: fields.key.text("key")?.into_owned(),
            value: value.bytes_or_number(fields.encoding, "value", message)?,
        }));
    }
    Ok(Success::Done)
}

fn failure(code: Code, fields: ServiceFields<'_>) -> Result<Failure, Problem> {
    let text = [fields.error, fields.message].into_iter().find_map(|text| {
        let text = text.optional_text("error").ok()??;
        (!text.is_empty()).then_some(text)
    });
    let retry_after = match fields.retry_after_ms {
        Value::Absent => None,
        retry_after => Some(retry_after.milliseconds("retryAfterMs")?),
    };
    Ok(Failure {
        code,
        error: text.unwrap_or_else(|| "it gives no reason".into()),
        retry_after,
    })
}

fn grant(durable: Object<GrantFields<'_>>) -> Result<Grant, Problem> {
    let durable = durable.required("durable")?;
    Ok(Grant {
        session: durable.session.parse("durable.session")?,
        receive_next: durable.receive_next.number("durable.receiveNext", 1)?,
        expires_in: durable.expires_in_ms.milliseconds("durable.expiresInMs")?,
        heartbeat: durable.heartbeat_ms.milliseconds("durable.heartbeatMs")?,
        max_calls: durable.max_calls.number("durable.maxCalls", 1)?,
        known: durable.known.boolean("durable.known")?,
        sequence: durable.sequence.number("durable.sequence", 0)?,
        store: durable.store.parse("durable.store")?,
        gone: durable.gone.optional_text("durable.gone")?,
    })
}

const NOT_AN_OBJECT: &str = "it is not a JSON object with each field once";

/// The fields of the JSON object that is all of `message`.
fn read<'a, T: Deserialize<'a>>(message: &'a Bytes) -> Result<T, Malformed> {
    // The derived reader would take an array as a list of fields, too.
    let is_object = message.trim_ascii_start().starts_with(b"{");
    let fields = serde_json::from_slice(message).map_err(|error| not_an_object(&error));
    match fields {
        Ok(_) if !is_object => Err(without_number(NOT_AN_OBJECT.into())),
        fields => fields.map_err(without_number),
    }
}

/// The JSON library's own messages may quote content, so only the place is passed on.
fn not_an_object(error: &serde_json::Error) -> Problem {
    match error.classify() {
        Category::Data => NOT_AN_OBJECT.into(),
        Category::Eof => "it is not JSON: it ends early".into(),
        Category::Io | Category::Syntax => format!(
            "it is not JSON: wrong at line {}, column {}",
            error.line(),
            error.column()
        ),
    }
}

const fn without_number(problem: Problem) -> Malformed {
    Malformed {
        message_id: None,
        problem,
    }
}
