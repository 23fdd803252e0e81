//! Messages to frames and back.

use super::{
    ApiKey, ChannelError, Denied, Granted, Message, Violation,
    durable::{self, GrantBody, OutcomeBody, RequestBody},
    fields::{BASE64, Fields, Value, protocol_error},
};
use crate::{CloseCode, Frame};
use alloc::{borrow::Cow, format, string::String};
use base64::display::Base64Display;
use bytes::Bytes;
use core::{str, time::Duration};
use serde::{Serialize, Serializer};
use serde_json::error::Category;

/// Reads a frame.
///
/// `Ok(None)` is a frame to be ignored and counted: one whose `type` this dialect does not know, or a ping or pong.
///
/// # Errors
///
/// Where the frame breaks the protocol: binary (1003), not UTF-8 (1007), not a JSON object with
/// a string `type`, or with a missing or mistyped field (1002).
pub fn decode(frame: &Frame) -> Result<Option<Message>, Violation> {
    let payload = match frame {
        Frame::Text(payload) => payload,
        Frame::Binary(_) => {
            return Err(Violation {
                code: CloseCode::UNSUPPORTED_DATA,
                reason: "binary frames are not part of this dialect".into(),
            });
        }
        Frame::Ping(_) | Frame::Pong(_) => return Ok(None),
    };
    message(payload, read(payload)?)
}

/// The fields of the JSON object that is all of `payload`.
pub(super) fn read(payload: &Bytes) -> Result<Fields<'_>, Violation> {
    let text = str::from_utf8(payload).map_err(|_| Violation {
        code: CloseCode::INVALID_PAYLOAD,
        reason: "the frame is not UTF-8".into(),
    })?;
    // The derived reader would take an array as a list of fields, too.
    let is_array = text.trim_ascii_start().starts_with('[');
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| not_an_object(&error))?;
    if is_array {
        return Err(protocol_error(NOT_AN_OBJECT));
    }
    Ok(fields)
}

const NOT_AN_OBJECT: &str = "the frame is not a JSON object with each field once";

/// The JSON library's own messages may quote content, so only the place is passed on.
fn not_an_object(error: &serde_json::Error) -> Violation {
    match error.classify() {
        Category::Data => protocol_error(NOT_AN_OBJECT),
        Category::Eof => protocol_error("the frame is not JSON: it ends early"),
        Category::Io | Category::Syntax => protocol_error(format!(
            "the frame is not JSON: wrong at line {}, column {}",
            error.line(),
            error.column()
        )),
    }
}

fn message(payload: &Bytes, fields: Fields<'_>) -> Result<Option<Message>, Violation> {
    Ok(Some(match &*fields.r#type.text("type")? {
        "AUTHENTICATE" => Message::Authenticate {
            api_key: ApiKey::new(fields.api_key.text("apiKey")?),
            agent: fields.agent.optional_text("agent")?,
            durable: durable::request(fields.durable)?,
        },
        "AUTHENTICATE_RESPONSE" => {
            Message::AuthenticateResponse(if fields.success.boolean("success")? {
                Ok(Granted {
                    limits: fields.limits.limits("limits")?,
                    durable: durable::grant(fields.durable)?,
                })
            } else {
                Err(Denied {
                    error: fields.error.text("error")?.into_owned(),
                    retry_after: fields.retry_after_ms.milliseconds("retryAfterMs")?,
                    permanent: fields.permanent.optional_boolean("permanent")?,
                })
            })
        }
        "SMTP_CHANNEL_OPEN" => Message::ChannelOpen,
        "SMTP_CHANNEL_READY" => Message::ChannelReady,
        "SMTP_TO_SERVER" => Message::ToServer(data(payload, fields.data, fields.data_base64)?),
        "SMTP_FROM_SERVER" => Message::FromServer(data(payload, fields.data, fields.data_base64)?),
        "SMTP_CHANNEL_CLOSED" => Message::ChannelClosed {
            reason: fields.reason.optional_text("reason")?,
        },
        "SMTP_CHANNEL_ERROR" => Message::ChannelError(channel_error(
            fields.error,
            fields.code,
            fields.retry_after_ms,
        )?),
        _ => return Ok(None),
    }))
}

pub(super) fn channel_error(
    error: Value<'_>,
    code: Value<'_>,
    retry_after_ms: Value<'_>,
) -> Result<ChannelError, Violation> {
    Ok(ChannelError {
        error: error.text("error")?.into_owned(),
        code: code.code("code")?,
        retry_after: retry_after_ms.milliseconds("retryAfterMs")?,
    })
}

fn data(payload: &Bytes, text: Value<'_>, base64: Value<'_>) -> Result<Bytes, Violation> {
    match (text, base64) {
        (Value::Absent, Value::Absent) => Err(protocol_error(
            "field \"data\" or \"dataBase64\" is missing",
        )),
        (text, Value::Absent) => Ok(match text.text("data")? {
            Cow::Borrowed(unescaped) => payload.slice_ref(unescaped.as_bytes()),
            Cow::Owned(text) => text.into(),
        }),
        (Value::Absent, base64) => Ok(base64.base64("dataBase64")?.into()),
        _ => Err(protocol_error(
            "fields \"data\" and \"dataBase64\" exclude each other",
        )),
    }
}

/// Writes a message as a text frame.
///
/// SMTP bytes go as `data` where they are UTF-8, else as `dataBase64`.
pub fn encode(message: &Message) -> Frame {
    let mut body = Body::new(message.kind());
    match message {
        Message::Authenticate {
            api_key,
            agent,
            durable,
        } => {
            body.api_key = Some(api_key.expose());
            body.agent = agent.as_deref();
            body.durable = durable
                .as_ref()
                .map(|request| Durable::Request(request.into()));
        }
        Message::AuthenticateResponse(Ok(granted)) => {
            body.success = Some(true);
            let limits = granted.limits;
            if limits.max_message_bytes.is_some() || limits.max_recipients.is_some() {
                body.limits = Some(LimitsBody {
                    max_message_bytes: limits.max_message_bytes,
                    max_recipients: limits.max_recipients,
                });
            }
            body.durable = granted
                .durable
                .as_ref()
                .map(|grant| Durable::Grant(grant.into()));
        }
        Message::AuthenticateResponse(Err(denied)) => {
            body.success = Some(false);
            body.error = Some(&denied.error);
            body.retry_after_ms = denied.retry_after.map(milliseconds);
            body.permanent = denied.permanent;
        }
        Message::ChannelOpen | Message::ChannelReady => {}
        Message::ToServer(data) | Message::FromServer(data) => match str::from_utf8(data) {
            Ok(text) => body.data = Some(text),
            Err(_) => body.data_base64 = Some(Base64(data)),
        },
        Message::ChannelClosed { reason } => body.reason = reason.as_deref(),
        Message::ChannelError(error) => body.channel_error(error),
    }
    Frame::Text(body.to_json())
}

/// The next piece of `bytes` for one frame, beginning at `at` and at most `max` bytes long before escaping.
///
/// Its end is moved back to a character boundary where that makes it UTF-8, so that it goes as text.
/// The next piece begins where this one ends; the piece is empty only at the end of `bytes`. A `max` of
/// zero is taken as one; below four, single characters may be cut.
pub fn data_chunk(bytes: &Bytes, at: usize, max: usize) -> Bytes {
    let at = at.min(bytes.len());
    let end = at.saturating_add(max.max(1)).min(bytes.len());
    let text_end = match str::from_utf8(&bytes[at..end]) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            at + error.valid_up_to()
        }
        _ => end,
    };
    bytes.slice(at..text_end)
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delivery_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent_under: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permanent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "dataBase64")]
    data_base64: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<OutcomeBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spread_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<Durable<'a>>,
}

impl<'a> Body<'a> {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            r#type: kind,
            ..Self::default()
        }
    }

    pub(super) fn channel_error(&mut self, error: &'a ChannelError) {
        self.error = Some(&error.error);
        self.code = error.code;
        self.retry_after_ms = error.retry_after.map(milliseconds);
    }

    pub(super) fn to_json(&self) -> Bytes {
        serde_json::to_vec(self)
            .expect("strings, numbers and booleans in a struct are always JSON")
            .into()
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Durable<'a> {
    Request(RequestBody),
    Grant(GrantBody<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitsBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_message_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_recipients: Option<u64>,
}

/// Writes itself as base64 straight into the frame.
struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &BASE64))
    }
}
