//! Messages to bytes.

use super::{
    Answer, ClientMessage, Code, Failure, Grant, Hello, MAX_NUMBER, Missed, Notification,
    Operation, Record, Request, ServiceMessage, Success, fields::BASE64,
};
use alloc::string::{String, ToString};
use base64::display::Base64Display;
use bytes::Bytes;
use core::{str, time::Duration};
use serde::{Serialize, Serializer};

/// Writes what a client says, for a text message or a control frame.
pub fn encode_client(message: &ClientMessage) -> Bytes {
    let body = match message {
        ClientMessage::Call(request) => call(request),
        ClientMessage::Hello { message_id, hello } => RequestBody {
            op: 7,
            durable: Some(HelloBody::from(hello)),
            ..RequestBody::new(*message_id)
        },
    };
    to_json(&body)
}

fn call(request: &Request) -> RequestBody<'_> {
    let mut body = RequestBody {
        op: request.operation.code(),
        key: Some(request.operation.key()),
        settled: request.settled,
        ..RequestBody::new(request.message_id)
    };
    match &request.operation {
        Operation::Get { .. } | Operation::Delete { .. } => {}
        Operation::Set { value, .. } | Operation::Patch { value, .. } => {
            (body.value, body.encoding) =
                (Some(RequestValue::Bytes(value.into())), encoding(value));
        }
        Operation::Range { end_key, limit, .. } => {
            (body.end_key, body.limit) = (Some(end_key.as_str()), *limit);
        }
        Operation::Increment { by, .. } => body.value = Some(RequestValue::Number(*by)),
    }
    body
}

/// Writes what a service says, for a text message or a control frame.
pub fn encode_service(message: &ServiceMessage) -> Bytes {
    match message {
        ServiceMessage::Answer(answer) => to_json(&AnswerBody::from(answer)),
        ServiceMessage::Notification(notification) => {
            to_json(&NotificationBody::from(notification))
        }
        ServiceMessage::Missed(Missed { after, first }) => to_json(&MissedBody {
            r#type: "missed",
            after: *after,
            first: *first,
        }),
    }
}

fn to_json(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body)
        .expect("strings, numbers and booleans in structs are always JSON")
        .into()
}

/// What is longer than a number on the wire can say is as good as endless.
fn milliseconds(duration: Duration) -> u64 {
    let most = MAX_NUMBER.unsigned_abs();
    u64::try_from(duration.as_millis()).map_or(most, |milliseconds| milliseconds.min(most))
}

/// In the order in which the published client writes its fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestBody<'a> {
    op: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<RequestValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    message_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<HelloBody>,
}

impl RequestBody<'_> {
    const fn new(message_id: u64) -> Self {
        Self {
            op: 0,
            key: None,
            value: None,
            encoding: None,
            end_key: None,
            limit: None,
            message_id,
            settled: None,
            durable: None,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum RequestValue<'a> {
    Bytes(Octets<'a>),
    Number(i64),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HelloBody {
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_next: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
}

impl From<&Hello> for HelloBody {
    fn from(hello: &Hello) -> Self {
        Self {
            client: hello.client.to_string(),
            session: hello.resume.map(|resume| resume.session.to_string()),
            receive_next: hello.resume.map(|resume| resume.receive_next),
            after: hello.after.map(|seen| seen.sequence),
            store: hello.after.and_then(|seen| Some(seen.store?.to_string())),
        }
    }
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerBody<'a> {
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Octets<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Records<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_value: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<GrantBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<u64>,
}

impl<'a> From<&'a Answer> for AnswerBody<'a> {
    fn from(answer: &'a Answer) -> Self {
        let mut body = Self {
            code: Code::OK.0,
            message_id: answer.message_id,
            ..Self::default()
        };
        match &answer.result {
            Ok(Success::Value(Record { key, value })) => {
                body.key = Some(key);
                body.value = Some(value.into());
                body.encoding = encoding(value);
            }
            Ok(Success::Done) => body.success = Some(true),
            Ok(Success::Records { records, truncated }) => {
                body.records = Some(Records(records));
                body.count = Some(records.len());
                body.truncated = Some(*truncated);
            }
            Ok(Success::Incremented { new_value }) => {
                body.success = Some(true);
                body.new_value = Some(*new_value);
            }
            Ok(Success::Granted(grant)) => body.durable = Some(grant.into()),
            Err(Failure {
                code,
                error,
                retry_after,
            }) => {
                body.code = code.0;
                body.error = Some(error);
                body.retry_after_ms = retry_after.map(milliseconds);
            }
        }
        body
    }
}

struct Records<'a>(&'a [Record]);

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|Record { key, value }| RecordBody {
            key,
            value: value.into(),
            encoding: encoding(value),
        }))
    }
}

#[derive(Serialize)]
struct RecordBody<'a> {
    key: &'a str,
    value: Octets<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantBody<'a> {
    session: String,
    receive_next: u64,
    expires_in_ms: u64,
    heartbeat_ms: u64,
    max_calls: u64,
    known: bool,
    sequence: u64,
    store: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<&'a str>,
}

impl<'a> From<&'a Grant> for GrantBody<'a> {
    fn from(grant: &'a Grant) -> Self {
        Self {
            session: grant.session.to_string(),
            receive_next: grant.receive_next,
            expires_in_ms: milliseconds(grant.expires_in),
            heartbeat_ms: milliseconds(grant.heartbeat),
            max_calls: grant.max_calls,
            known: grant.known,
            sequence: grant.sequence,
            store: grant.store.to_string(),
            gone: grant.gone.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct NotificationBody<'a> {
    r#type: &'static str,
    key: &'a str,
    /// Null where the key is gone.
    value: Option<Octets<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
}

impl<'a> From<&'a Notification> for NotificationBody<'a> {
    fn from(notification: &'a Notification) -> Self {
        let value = notification.value.as_ref();
        Self {
            r#type: "notification",
            key: &notification.key,
            value: value.map(Octets::from),
            encoding: value.and_then(encoding),
            timestamp: notification.timestamp,
            sequence: notification.sequence,
        }
    }
}

#[derive(Serialize)]
struct MissedBody {
    r#type: &'static str,
    after: u64,
    first: u64,
}

/// What has to be said beside a value.
fn encoding(value: &Bytes) -> Option<&'static str> {
    str::from_utf8(value).is_err().then_some("base64")
}

/// Writes itself as text, or as base64 straight into the message.
struct Octets<'a>(&'a [u8]);

impl<'a> From<&'a Bytes> for Octets<'a> {
    fn from(bytes: &'a Bytes) -> Self {
        Self(bytes)
    }
}

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_str(&Base64Display::new(self.0, &BASE64)),
        }
    }
}
