//! WebSocket messages as frames of the core, and the other way round.

use crate::{Headers, fault};
use relay_proto::{CloseCode, Closure, Frame, WebSocketUrl};
use tungstenite::{
    Error, Message, Utf8Bytes,
    client::IntoClientRequest,
    handshake::client::Request,
    protocol::{CloseFrame, WebSocketConfig, frame::coding},
};

/// Bytes read from a socket at once, and written to it at the latest.
///
/// Every WebSocket keeps a read buffer of this size for as long as it lives, so it is small.
const BUFFER: usize = 4096;

/// How to configure a WebSocket that takes messages of up to `max_frame_bytes`.
///
/// The write buffer has no limit of its own: whoever writes flushes it before it takes a frame while it is over
/// 4 KiB, so it holds at most that and the one frame the machine has asked to send.
pub fn config(max_frame_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(max_frame_bytes))
        .max_frame_size(Some(max_frame_bytes))
}

/// The upgrade request to this server (RFC 6455, section 4.1), with `headers` besides its own.
///
/// # Errors
///
/// Where the library below does not take the URL.
pub fn request(url: &WebSocketUrl, headers: &Headers) -> Result<Request, Error> {
    let mut request = url.as_str().into_client_request()?;
    for (name, value) in headers.as_map() {
        request.headers_mut().append(name.clone(), value.clone());
    }
    Ok(request)
}

/// What was received, as a frame of at most `limit` bytes.
///
/// # Errors
///
/// A close frame ends the link, and so does a message above the limit.
pub fn received(message: Message, limit: usize) -> Result<Frame, Closure> {
    let frame = match message {
        Message::Text(text) => Frame::Text(text.into()),
        Message::Binary(bytes) => Frame::Binary(bytes),
        // A ping or pong has at most 125 bytes, whatever the limit (RFC 6455, section 5.5).
        Message::Ping(bytes) => return Ok(Frame::Ping(bytes)),
        Message::Pong(bytes) => return Ok(Frame::Pong(bytes)),
        Message::Close(close) => return Err(fault::closed_by_peer(close)),
        Message::Frame(_) => unreachable!("raw frames are never read"),
    };
    if frame.len() > limit {
        return Err(fault::too_big(frame.len(), limit));
    }
    Ok(frame)
}

/// A frame, as it is sent.
///
/// # Errors
///
/// Where the machine calls text what is not UTF-8.
pub fn to_send(frame: Frame) -> Result<Message, Closure> {
    Ok(match frame {
        Frame::Text(bytes) => {
            Message::Text(Utf8Bytes::try_from(bytes).map_err(|_| fault::own_text_is_not_utf8())?)
        }
        Frame::Binary(bytes) => Message::Binary(bytes),
        Frame::Ping(bytes) => Message::Ping(bytes),
        Frame::Pong(bytes) => Message::Pong(bytes),
    })
}

/// A close frame with as much of the reason as it can hold.
pub fn close_frame(code: CloseCode, reason: &str) -> CloseFrame {
    // A control frame has at most 125 bytes, two of which are the code (RFC 6455, section 5.5).
    let reason = &reason[..reason.floor_char_boundary(123)];
    CloseFrame {
        code: coding::CloseCode::from(code.0),
        reason: reason.into(),
    }
}
