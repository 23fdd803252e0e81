//! What the durable dialect adds: how it is asked for and granted, and the words of its control frames.

use super::{
    ChannelError, Violation,
    codec::{Body, channel_error, milliseconds, read},
    fields::{Value, protocol_error},
};
use crate::{
    channels::MAX_NUMBER,
    mail::{DeliveryId, Outcome},
    session::SessionId,
    smtp::{Capabilities, Code, ForwardPath, Reply, ReplyParser},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use bytes::Bytes;
use core::{fmt, str::FromStr, time::Duration};
use serde::Serialize;

/// A client asks for the durable dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else to ask for")]
pub enum DurableRequest {
    /// In a new session.
    New,
    /// In the session it has.
    Resume {
        /// Which one.
        session: SessionId,
        /// The number of the next frame it wants.
        receive_next: u64,
    },
}

/// A relay grants the durable dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableGrant {
    /// The session: the one asked for, or a new one.
    pub session: SessionId,
    /// The number of the next frame the relay wants.
    pub receive_next: u64,
    /// How long the session lives without a link; whole milliseconds on the wire.
    pub expires_in: Duration,
    /// How often each side shows life; whole milliseconds on the wire.
    pub heartbeat: Duration,
    /// The most channels open at once.
    pub max_channels: u64,
    /// The credit of a new channel in each direction, in bytes.
    pub window: u64,
    /// Where the relay's ledger stands, in the relay's own terms: a delivery whose end of data is sent from now on is in
    /// the ledger from here on. To be given back as [`Word::Open::sent_under`].
    pub ledger_mark: String,
    /// What the relay offers at the start of every channel, in place of a greeting and a reply to EHLO.
    pub capabilities: Capabilities,
    /// Why the session asked for is gone and this is a new one.
    pub gone: Option<String>,
}

/// What a control frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "both ends must handle every word of the dialect"
)]
pub enum Word {
    /// Client: open a channel for a delivery.
    Open {
        /// The channel.
        channel: u64,
        /// The delivery.
        delivery: DeliveryId,
        /// Where its end of data may have been sent before: the [mark](DurableGrant::ledger_mark) of the first grant under
        /// which it was. A relay whose ledger does not reach back to there cannot know what became of it.
        sent_under: Option<String>,
    },
    /// Relay: the channel is open.
    Ready {
        /// The channel.
        channel: u64,
    },
    /// Either: the channel is closed.
    Closed {
        /// The channel.
        channel: u64,
        /// Why, for people.
        reason: Option<String>,
        /// Relay: what became of the delivery, where it is known without doing anything.
        outcome: Option<Outcome>,
    },
    /// Relay: the channel could not be opened, or broke.
    Error {
        /// The channel.
        channel: u64,
        /// What is wrong.
        error: ChannelError,
    },
    /// Either: more may be sent on the channel.
    Credit {
        /// The channel.
        channel: u64,
        /// How many bytes more; at least one.
        bytes: u64,
    },
    /// Relay: finish what is open, open nothing new.
    Draining {
        /// When the relay closes the link; whole milliseconds on the wire.
        deadline: Duration,
        /// Over which time clients are to come back, where the relay restarts; whole milliseconds on the wire.
        spread: Option<Duration>,
    },
}

impl Word {
    /// The value of the `type` field.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Open { .. } => "SMTP_CHANNEL_OPEN",
            Self::Ready { .. } => "SMTP_CHANNEL_READY",
            Self::Closed { .. } => "SMTP_CHANNEL_CLOSED",
            Self::Error { .. } => "SMTP_CHANNEL_ERROR",
            Self::Credit { .. } => "SMTP_CHANNEL_CREDIT",
            Self::Draining { .. } => "RELAY_DRAINING",
        }
    }
}

/// Reads the payload of a control frame. `Ok(None)` is a word to be ignored and counted: of a `type` that is not known.
///
/// # Errors
///
/// Where the word breaks the protocol: not UTF-8 (1007), not a JSON object with a string `type`, with a missing
/// or mistyped field, or of a type that has no place in a control frame (1002).
pub fn decode_word(payload: &Bytes) -> Result<Option<Word>, Violation> {
    let fields = read(payload)?;
    let kind = fields.r#type.text("type")?;
    Ok(Some(match &*kind {
        "SMTP_CHANNEL_OPEN" => Word::Open {
            channel: channel(fields.channel_id)?,
            delivery: parse(fields.delivery_id, "deliveryId")?,
            sent_under: fields.sent_under.optional_text("sentUnder")?,
        },
        "SMTP_CHANNEL_READY" => Word::Ready {
            channel: channel(fields.channel_id)?,
        },
        "SMTP_CHANNEL_CLOSED" => Word::Closed {
            channel: channel(fields.channel_id)?,
            reason: fields.reason.optional_text("reason")?,
            outcome: outcome(fields.outcome)?,
        },
        "SMTP_CHANNEL_ERROR" => Word::Error {
            channel: channel(fields.channel_id)?,
            error: channel_error(fields.error, fields.code, fields.retry_after_ms)?,
        },
        "SMTP_CHANNEL_CREDIT" => Word::Credit {
            channel: channel(fields.channel_id)?,
            bytes: from_one(fields.bytes, "bytes")?,
        },
        "RELAY_DRAINING" => Word::Draining {
            deadline: Duration::from_millis(fields.deadline_ms.number("deadlineMs")?),
            spread: fields.spread_ms.milliseconds("spreadMs")?,
        },
        "SMTP_TO_SERVER" | "SMTP_FROM_SERVER" => {
            return Err(protocol_error(format!(
                "{kind} in a control frame; SMTP travels in data frames here"
            )));
        }
        "AUTHENTICATE" | "AUTHENTICATE_RESPONSE" => {
            return Err(protocol_error(format!("{kind} within a session")));
        }
        _ => return Ok(None),
    }))
}

/// Writes the payload of a control frame.
pub fn encode_word(word: &Word) -> Bytes {
    let mut body = Body::new(word.kind());
    match word {
        Word::Open {
            channel,
            delivery,
            sent_under,
        } => {
            body.channel_id = Some(*channel);
            body.delivery_id = Some(delivery.to_string());
            body.sent_under = sent_under.as_deref();
        }
        Word::Ready { channel } => body.channel_id = Some(*channel),
        Word::Closed {
            channel,
            reason,
            outcome,
        } => {
            body.channel_id = Some(*channel);
            body.reason = reason.as_deref();
            body.outcome = outcome.as_ref().map(OutcomeBody::from);
        }
        Word::Error { channel, error } => {
            body.channel_id = Some(*channel);
            body.channel_error(error);
        }
        Word::Credit { channel, bytes } => {
            body.channel_id = Some(*channel);
            body.bytes = Some(*bytes);
        }
        Word::Draining { deadline, spread } => {
            body.deadline_ms = Some(milliseconds(*deadline));
            body.spread_ms = spread.map(milliseconds);
        }
    }
    body.to_json()
}

fn channel(value: Value<'_>) -> Result<u64, Violation> {
    from_one(value, "channelId")
}

/// A number from 1 to 2^53 - 1.
fn from_one(value: Value<'_>, name: &str) -> Result<u64, Violation> {
    let number = value.number(name)?;
    if !(1..=MAX_NUMBER).contains(&number) {
        return Err(protocol_error(format!(
            "field \"{name}\" must be from 1 to 2^53 - 1"
        )));
    }
    Ok(number)
}

fn parse<T: FromStr<Err: fmt::Display>>(value: Value<'_>, name: &str) -> Result<T, Violation> {
    let parsed = value.text(name)?.parse();
    parsed.map_err(|error| protocol_error(format!("field \"{name}\": {error}")))
}

fn outcome(value: Value<'_>) -> Result<Option<Outcome>, Violation> {
    let Some(mut outcome) = value.optional_object("outcome")? else {
        return Ok(None);
    };
    let in_doubt = outcome
        .take("inDoubt")
        .optional_boolean("outcome.inDoubt")?;
    let final_reply = outcome.take("reply");
    if in_doubt == Some(true) {
        return match final_reply {
            Value::Absent => Ok(Some(Outcome::InDoubt)),
            _ => Err(protocol_error(
                "fields \"outcome.inDoubt\" and \"outcome.reply\" exclude each other",
            )),
        };
    }
    Ok(Some(Outcome::Answered {
        reply: reply(final_reply, "outcome.reply")?,
        rejected: match outcome.take("rejected") {
            Value::Absent => Vec::new(),
            rejected => {
                let rejected = rejected.array("outcome.rejected")?.into_iter();
                rejected.map(refusal).collect::<Result<_, _>>()?
            }
        },
    }))
}

/// A recipient, as between the angle brackets of RCPT, and the reply to it.
fn refusal(value: Value<'_>) -> Result<(ForwardPath, Reply), Violation> {
    let name = "outcome.rejected[]";
    let Some(mut refusal) = value.optional_object(name)? else {
        return Err(protocol_error(format!("field \"{name}\" is missing")));
    };
    let recipient = refusal.take("recipient");
    let recipient = recipient.text("outcome.rejected[].recipient")?;
    let recipient = if recipient.eq_ignore_ascii_case("Postmaster") {
        ForwardPath::Postmaster
    } else {
        let address = recipient.parse().map_err(|_| {
            protocol_error("field \"outcome.rejected[].recipient\" is not an address")
        })?;
        ForwardPath::Mailbox(address)
    };
    let reply = reply(refusal.take("reply"), "outcome.rejected[].reply")?;
    Ok((recipient, reply))
}

/// One whole SMTP reply with its line ends.
fn reply(value: Value<'_>, name: &str) -> Result<Reply, Violation> {
    let text = value.text(name)?;
    let mut parser = ReplyParser::new();
    parser.push(text.as_bytes());
    match parser.next_reply() {
        Ok(Some(reply)) if parser.is_empty() => Ok(reply),
        _ => Err(protocol_error(format!(
            "field \"{name}\" is not one SMTP reply"
        ))),
    }
}

pub(super) fn request(value: Value<'_>) -> Result<Option<DurableRequest>, Violation> {
    let Some(mut durable) = value.optional_object("durable")? else {
        return Ok(None);
    };
    let session = durable.take("session");
    let receive_next = durable.take("receiveNext");
    Ok(Some(match (session, receive_next) {
        (Value::Absent, Value::Absent) => DurableRequest::New,
        (session, receive_next) => DurableRequest::Resume {
            session: parse(session, "durable.session")?,
            receive_next: from_one(receive_next, "durable.receiveNext")?,
        },
    }))
}

pub(super) fn grant(value: Value<'_>) -> Result<Option<DurableGrant>, Violation> {
    let Some(mut durable) = value.optional_object("durable")? else {
        return Ok(None);
    };
    let duration = |value: Value<'_>, name| value.number(name).map(Duration::from_millis);
    Ok(Some(DurableGrant {
        session: parse(durable.take("session"), "durable.session")?,
        receive_next: from_one(durable.take("receiveNext"), "durable.receiveNext")?,
        expires_in: duration(durable.take("expiresInMs"), "durable.expiresInMs")?,
        heartbeat: duration(durable.take("heartbeatMs"), "durable.heartbeatMs")?,
        max_channels: from_one(durable.take("maxChannels"), "durable.maxChannels")?,
        window: from_one(durable.take("window"), "durable.window")?,
        ledger_mark: durable
            .take("ledgerMark")
            .text("durable.ledgerMark")?
            .into_owned(),
        capabilities: capabilities(durable.take("capabilities"))?,
        gone: durable.take("gone").optional_text("durable.gone")?,
    }))
}

/// Lines as in a reply to EHLO (RFC 5321, section 4.1.1.1), without the greeting.
fn capabilities(value: Value<'_>) -> Result<Capabilities, Violation> {
    let mut text = String::from("relay");
    for line in value.array("durable.capabilities")? {
        text.push('\n');
        text.push_str(&line.text("durable.capabilities[]")?);
    }
    Ok(Capabilities::from_reply(&Reply::new(Code::OK, None, text)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_next: Option<u64>,
}

impl From<&DurableRequest> for RequestBody {
    fn from(request: &DurableRequest) -> Self {
        let (session, receive_next) = match request {
            DurableRequest::New => (None, None),
            DurableRequest::Resume {
                session,
                receive_next,
            } => (Some(session.to_string()), Some(*receive_next)),
        };
        Self {
            session,
            receive_next,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GrantBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<&'a str>,
    session: String,
    receive_next: u64,
    expires_in_ms: u64,
    heartbeat_ms: u64,
    max_channels: u64,
    window: u64,
    ledger_mark: &'a str,
    capabilities: Vec<String>,
}

impl<'a> From<&'a DurableGrant> for GrantBody<'a> {
    fn from(grant: &'a DurableGrant) -> Self {
        Self {
            gone: grant.gone.as_deref(),
            session: grant.session.to_string(),
            receive_next: grant.receive_next,
            expires_in_ms: milliseconds(grant.expires_in),
            heartbeat_ms: milliseconds(grant.heartbeat),
            max_channels: grant.max_channels,
            window: grant.window,
            ledger_mark: &grant.ledger_mark,
            capabilities: grant.capabilities.to_reply("relay").lines()[1..].to_vec(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub(super) enum OutcomeBody {
    #[serde(rename_all = "camelCase")]
    InDoubt { in_doubt: bool },
    Answered {
        reply: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<RefusalBody>,
    },
}

#[derive(Serialize)]
pub(super) struct RefusalBody {
    recipient: String,
    reply: String,
}

impl From<&Outcome> for OutcomeBody {
    fn from(outcome: &Outcome) -> Self {
        let text = |reply: &Reply| String::from_utf8_lossy(&reply.to_bytes()).into_owned();
        match outcome {
            Outcome::InDoubt => Self::InDoubt { in_doubt: true },
            Outcome::Answered { reply, rejected } => Self::Answered {
                reply: text(reply),
                rejected: rejected
                    .iter()
                    .map(|(recipient, reply)| RefusalBody {
                        recipient: match recipient {
                            ForwardPath::Postmaster => "Postmaster".into(),
                            ForwardPath::Mailbox(address) => address.to_string(),
                        },
                        reply: text(reply),
                    })
                    .collect(),
            },
        }
    }
}
