//! WebSockets and byte streams, seen the same way: frames in, frames out.

use crate::fault;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use relay_proto::{CloseCode, Closure, Frame};
use std::{
    future::Future,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{CloseFrame, WebSocketConfig, frame::coding},
    },
};

/// TCP, or TLS over it.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// One open connection, as the link's task drives it.
pub(crate) trait Transport: Send {
    type Socket: Socket;

    /// The next frame of at most `limit` bytes. Cancel-safe. Not called again after an error.
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<Frame, Closure>>;

    /// Waits until [`start_send`](Self::start_send) may be called.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>>;

    /// Takes a frame, without waiting for the socket.
    fn start_send(&mut self, frame: Frame) -> Result<(), Closure>;

    /// Waits until the socket has taken everything.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>>;

    /// Begins the end, and waits for the peer to agree. The caller bounds the time.
    fn say_goodbye(&mut self, code: CloseCode, reason: &str) -> impl Future<Output = ()> + Send;

    /// Tells the peer how its end of the link was understood. The caller bounds the time.
    fn answer(&mut self, why: &Closure) -> impl Future<Output = ()> + Send;

    /// What is below.
    fn socket(&mut self) -> &mut Self::Socket;
}

/// Bytes read from the socket at once, and written to it at the latest.
///
/// Every WebSocket keeps a read buffer of this size for as long as it lives, so it is small.
const BUFFER: usize = 4096;

/// How to configure a WebSocket that takes frames of up to `max_frame_bytes`.
pub(crate) fn websocket_config(max_frame_bytes: usize) -> WebSocketConfig {
    // The write buffer has no limit of its own: it is flushed before it takes a frame while it is over
    // `BUFFER`, so it holds at most that and the one frame the machine has asked to send.
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(max_frame_bytes))
        .max_frame_size(Some(max_frame_bytes))
}

/// A WebSocket, client or server.
pub(crate) struct WebSocket<S>(pub(crate) WebSocketStream<S>);

impl<S: Socket> Transport for WebSocket<S> {
    type Socket = S;

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<Frame, Closure>> {
        let Some(message) = ready!(self.0.poll_next_unpin(context)) else {
            return Poll::Ready(Err(fault::end_of_stream()));
        };
        let frame = match message.map_err(fault::while_reading)? {
            Message::Text(text) => Frame::Text(text.into()),
            Message::Binary(bytes) => Frame::Binary(bytes),
            // A ping or pong has at most 125 bytes, whatever the limit (RFC 6455, section 5.5).
            Message::Ping(bytes) => return Poll::Ready(Ok(Frame::Ping(bytes))),
            Message::Pong(bytes) => return Poll::Ready(Ok(Frame::Pong(bytes))),
            Message::Close(close) => return Poll::Ready(Err(fault::closed_by_peer(close))),
            Message::Frame(_) => unreachable!("raw frames are never read"),
        };
        if frame.len() > limit {
            return Poll::Ready(Err(fault::too_big(frame.len(), limit)));
        }
        Poll::Ready(Ok(frame))
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        self.0
            .poll_ready_unpin(context)
            .map_err(fault::while_writing)
    }

    fn start_send(&mut self, frame: Frame) -> Result<(), Closure> {
        let message = match frame {
            Frame::Text(bytes) => Message::Text(
                Utf8Bytes::try_from(bytes).map_err(|_| fault::own_text_is_not_utf8())?,
            ),
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Ping(bytes) => Message::Ping(bytes),
            Frame::Pong(bytes) => Message::Pong(bytes),
        };
        self.0
            .start_send_unpin(message)
            .map_err(fault::while_writing)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        self.0
            .poll_flush_unpin(context)
            .map_err(fault::while_writing)
    }

    async fn say_goodbye(&mut self, code: CloseCode, reason: &str) {
        if self.send_close(code, reason).await {
            while let Some(Ok(_)) = self.0.next().await {}
        }
    }

    async fn answer(&mut self, why: &Closure) {
        match why {
            Closure::Violation { code, detail } => {
                self.send_close(*code, detail).await;
            }
            // The answer to a close frame is already queued; reading on sends it.
            Closure::Peer { .. } => while let Some(Ok(_)) = self.0.next().await {},
            _ => {}
        }
    }

    fn socket(&mut self) -> &mut S {
        self.0.get_mut()
    }
}

impl<S: Socket> WebSocket<S> {
    async fn send_close(&mut self, code: CloseCode, reason: &str) -> bool {
        // A control frame has at most 125 bytes, two of which are the code (RFC 6455, section 5.5).
        let reason = &reason[..reason.floor_char_boundary(123)];
        let close = CloseFrame {
            code: coding::CloseCode::from(code.0),
            reason: reason.into(),
        };
        self.0.send(Message::Close(Some(close))).await.is_ok()
    }
}

/// The longest run of bytes handed up as one frame.
const PIECE: usize = 16 * 1024;

/// A byte stream; every frame is a run of its bytes.
pub(crate) struct ByteStream<S> {
    socket: S,
    unwritten: BytesMut,
}

impl<S> ByteStream<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            unwritten: BytesMut::new(),
        }
    }
}

impl<S: Socket> ByteStream<S> {
    fn poll_write_below(
        &mut self,
        context: &mut Context<'_>,
        rest: usize,
    ) -> Poll<Result<(), Closure>> {
        while self.unwritten.len() > rest {
            let socket = Pin::new(&mut self.socket);
            let written =
                ready!(socket.poll_write(context, &self.unwritten)).map_err(fault::lost)?;
            if written == 0 {
                return Poll::Ready(Err(fault::end_of_stream()));
            }
            self.unwritten.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> Transport for ByteStream<S> {
    type Socket = S;

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<Frame, Closure>> {
        // On the stack, so that a silent link holds no buffer and a frame no more memory than it has bytes.
        let mut space = [MaybeUninit::uninit(); PIECE];
        let mut buffer = ReadBuf::uninit(&mut space[..limit.min(PIECE)]);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer)).map_err(fault::lost)?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(fault::end_of_stream()));
        }
        Poll::Ready(Ok(Frame::Binary(Bytes::copy_from_slice(buffer.filled()))))
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        self.poll_write_below(context, PIECE)
    }

    fn start_send(&mut self, frame: Frame) -> Result<(), Closure> {
        match frame {
            Frame::Text(bytes) | Frame::Binary(bytes) => self.unwritten.extend_from_slice(&bytes),
            Frame::Ping(_) | Frame::Pong(_) => {}
        }
        Ok(())
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        ready!(self.poll_write_below(context, 0))?;
        // A large frame must not leave a large buffer behind.
        self.unwritten = BytesMut::new();
        Pin::new(&mut self.socket)
            .poll_flush(context)
            .map_err(fault::lost)
    }

    async fn say_goodbye(&mut self, _code: CloseCode, _reason: &str) {
        // The link has flushed what was sent. The peer learns the end from this.
        let _ = self.socket.shutdown().await;
    }

    async fn answer(&mut self, _why: &Closure) {}

    fn socket(&mut self) -> &mut S {
        &mut self.socket
    }
}
