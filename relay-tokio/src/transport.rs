//! WebSockets and byte streams, seen the same way: frames in, frames out.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use relay_proto::{CloseCode, Closure, Frame};
use relay_transport::{PIECE, fault, websocket};
use std::{
    future::Future,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

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
        let message = message.map_err(fault::while_reading)?;
        Poll::Ready(websocket::received(message, limit))
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        self.0
            .poll_ready_unpin(context)
            .map_err(fault::while_writing)
    }

    fn start_send(&mut self, frame: Frame) -> Result<(), Closure> {
        let message = websocket::to_send(frame)?;
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
        let close = websocket::close_frame(code, reason);
        self.0.send(Message::Close(Some(close))).await.is_ok()
    }
}

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
