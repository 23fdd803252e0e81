//! The frames of a session: bytes to numbers and back, without a copy of what they carry.

use super::varint::{self, Fault};
use bytes::{BufMut, Bytes};
use core::fmt;

const ACKNOWLEDGEMENT: u8 = 0;
const CONTROL: u8 = 1;
const DATA: u8 = 2;

/// One binary WebSocket message of a session.
///
/// ```text
/// acknowledgement   0 | ack
/// control           1 | seq | ack | octets, the owner's vocabulary
/// data              2 | seq | ack | channel | octets, at least one
/// ```
///
/// The kind is one byte. Numbers are LEB128 in their shortest form: seven bits a byte, the lowest first, the top bit set
/// on every byte but the last, no more than 64 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the kinds are the protocol's; a new one is a new dialect"
)]
pub enum SessionFrame {
    /// Nothing but how far the sender has taken over what it received; also the heartbeat.
    Acknowledgement {
        /// All frames up to this number are taken over; zero: none.
        ack: u64,
    },
    /// Something that is numbered, and kept by its sender until it is acknowledged.
    Numbered {
        /// The frame's number: from one, per direction, without gaps for the life of the session.
        seq: u64,
        /// As in [`Self::Acknowledgement`], as it was when the frame was first sent.
        ack: u64,
        /// What it carries.
        body: Body<Bytes>,
    },
}

/// What a numbered frame carries.
///
/// `Debug` shows lengths, never content.
#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the kinds are the protocol's; a new one is a new dialect"
)]
pub enum Body<P> {
    /// Words about channels or the link; the session does not read them.
    Control(P),
    /// Bytes of a channel.
    Data {
        /// Which channel.
        channel: u64,
        /// The bytes; at least one.
        payload: P,
    },
}

impl<P: AsRef<[u8]>> Body<P> {
    /// The same body, borrowed: what [`Session::send`](super::Session::send) takes.
    pub fn borrowed(&self) -> Body<&[u8]> {
        match self {
            Self::Control(payload) => Body::Control(payload.as_ref()),
            Self::Data { channel, payload } => Body::Data {
                channel: *channel,
                payload: payload.as_ref(),
            },
        }
    }

    /// The length of the payload in bytes.
    pub fn len(&self) -> usize {
        let (Self::Control(payload) | Self::Data { payload, .. }) = self;
        payload.as_ref().len()
    }

    /// Whether the payload has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<P: AsRef<[u8]>> fmt::Debug for Body<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(_) => write!(f, "Control({} bytes)", self.len()),
            Self::Data { channel, .. } => write!(f, "Data({channel}, {} bytes)", self.len()),
        }
    }
}

/// The most bytes a numbered frame has before its payload.
pub const HEADER_LIMIT: usize = 1 + 3 * varint::LONGEST;

/// Bytes that are no frame of a session. The link is to be closed with 1002.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// There are no bytes.
    #[error("the frame is empty")]
    Empty,
    /// The first byte is none of the three kinds.
    #[error("there is no frame of kind {0}")]
    UnknownKind(u8),
    /// A number is cut off.
    #[error("the frame ends within its {0}")]
    EndsEarly(&'static str),
    /// A number is not written in its shortest form.
    #[error("the {0} is not in its shortest form")]
    Overlong(&'static str),
    /// A number has more than 64 bits.
    #[error("the {0} has more than 64 bits")]
    TooLarge(&'static str),
    /// An acknowledgement with something behind it.
    #[error("{0} bytes behind an acknowledgement")]
    Trailing(usize),
    /// A numbered frame without a number.
    #[error("seq is 0; the first frame has 1")]
    SeqZero,
    /// Data without any.
    #[error("a data frame without data")]
    NoData,
}

impl SessionFrame {
    /// Reads a binary message. What it carries is a slice of `message`, not a copy.
    ///
    /// # Errors
    ///
    /// Where the bytes are no frame; the error names what is wrong.
    pub fn decode(message: &Bytes) -> Result<Self, FrameError> {
        Ok(match Header::decode(message)? {
            Header::Acknowledgement { ack } => Self::Acknowledgement { ack },
            Header::Numbered { seq, ack, content } => Self::Numbered {
                seq,
                ack,
                body: content.of(message),
            },
        })
    }

    /// Appends the frame to `output`, which grows by at most [`HEADER_LIMIT`] and the payload.
    pub fn encode(&self, output: &mut impl BufMut) {
        match self {
            Self::Acknowledgement { ack } => encode_acknowledgement(*ack, output),
            Self::Numbered { seq, ack, body } => {
                encode_numbered(*seq, *ack, body.borrowed(), output);
            }
        }
    }
}

pub(super) fn encode_acknowledgement(ack: u64, output: &mut impl BufMut) {
    output.put_u8(ACKNOWLEDGEMENT);
    varint::encode(ack, output);
}

pub(super) fn encode_numbered(seq: u64, ack: u64, body: Body<&[u8]>, output: &mut impl BufMut) {
    let kind = match body {
        Body::Control(_) => CONTROL,
        Body::Data { .. } => DATA,
    };
    // Here first: memory that grows looks for room with every byte it gets.
    let mut header = [0; HEADER_LIMIT];
    let mut rest = header.as_mut_slice();
    rest.put_u8(kind);
    varint::encode(seq, &mut rest);
    varint::encode(ack, &mut rest);
    if let Body::Data { channel, .. } = body {
        varint::encode(channel, &mut rest);
    }
    let length = HEADER_LIMIT - rest.len();
    output.put_slice(&header[..length]);
    let (Body::Control(payload) | Body::Data { payload, .. }) = body;
    output.put_slice(payload);
}

/// The length of what [`encode_numbered`] writes.
pub(super) fn numbered_length(seq: u64, ack: u64, body: Body<&[u8]>) -> usize {
    let channel = match body {
        Body::Control(_) => 0,
        Body::Data { channel, .. } => varint::length(channel),
    };
    1 + varint::length(seq) + varint::length(ack) + channel + body.len()
}

/// The error about the number of this name. Apart from the reading, which hands on no more than it has to.
fn of(name: &'static str) -> impl FnOnce(Fault) -> FrameError {
    move |fault| match fault {
        Fault::EndsEarly => FrameError::EndsEarly(name),
        Fault::Overlong => FrameError::Overlong(name),
        Fault::TooLarge => FrameError::TooLarge(name),
    }
}

/// The numbers of a frame, which say whether its payload is worth a look.
pub(super) enum Header {
    Acknowledgement {
        ack: u64,
    },
    Numbered {
        seq: u64,
        ack: u64,
        content: Content,
    },
}

/// Where a frame has its payload.
pub(super) struct Content {
    /// None: control.
    channel: Option<u64>,
    begins: usize,
}

impl Header {
    pub(super) fn decode(message: &[u8]) -> Result<Self, FrameError> {
        let (&kind, rest) = message.split_first().ok_or(FrameError::Empty)?;
        let mut reader = Reader { rest };
        match kind {
            ACKNOWLEDGEMENT => {
                let ack = reader.number().map_err(of("ack"))?;
                match reader.rest.len() {
                    0 => Ok(Self::Acknowledgement { ack }),
                    trailing => Err(FrameError::Trailing(trailing)),
                }
            }
            kind @ (CONTROL | DATA) => {
                let seq = reader.number().map_err(of("seq"))?;
                if seq == 0 {
                    return Err(FrameError::SeqZero);
                }
                let ack = reader.number().map_err(of("ack"))?;
                let channel = if kind == CONTROL {
                    None
                } else {
                    let channel = reader.number().map_err(of("channel"))?;
                    if reader.rest.is_empty() {
                        return Err(FrameError::NoData);
                    }
                    Some(channel)
                };
                let begins = message.len() - reader.rest.len();
                let content = Content { channel, begins };
                Ok(Self::Numbered { seq, ack, content })
            }
            kind => Err(FrameError::UnknownKind(kind)),
        }
    }
}

impl Content {
    /// The payload, which is a slice of the `message` the header was read from.
    pub(super) fn of(self, message: &Bytes) -> Body<Bytes> {
        let payload = message.slice(self.begins..);
        match self.channel {
            None => Body::Control(payload),
            Some(channel) => Body::Data { channel, payload },
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn number(&mut self) -> Result<u64, Fault> {
        let (value, length) = varint::decode(self.rest)?;
        self.rest = &self.rest[length..];
        Ok(value)
    }
}
