//! WebSockets and byte streams, seen the same way: frames in, frames out.

use crate::{Buffered, Runtime, context::Context as Shared, runtime::timeout};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{AsyncRead, AsyncWrite, AsyncWriteExt, SinkExt, StreamExt};
use relay_proto::{CloseCode, Closure, Frame};
use relay_transport::{PIECE, fault, websocket};
use rustls::ServerConfig;
use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tungstenite::Message;

/// One open connection, as the link's task drives it.
pub(crate) trait Transport: Send + Sized {
    type Socket: AsyncRead + AsyncWrite + Unpin + Send;

    /// The next frame of at most `limit` bytes. Cancel-safe. Not called again after an error. Behind a ping there is a pong to be
    /// flushed.
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

    /// The same with TLS, once the handshake is over. Not called before everything is flushed. Where it fails, what is there
    /// still to hear the peer out: TLS has told it why.
    fn start_tls(self) -> impl Future<Output = Result<Self, (Closure, Option<Self>)>> + Send;

    /// What is below.
    fn socket(&mut self) -> &mut Self::Socket;
}

/// A WebSocket, client or server.
pub(crate) struct WebSocket<R: Runtime>(pub(crate) R::WebSocket);

impl<R: Runtime> Transport for WebSocket<R> {
    /// The answer to a close frame may still be in it: the library takes it for sent.
    type Socket = Buffered<R::Socket>;

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<Frame, Closure>> {
        // The library flushes each pong by itself when it reads on, one write of the socket for each ping of a flood.
        self.socket().hold(true);
        let read = self.0.poll_next_unpin(context);
        self.socket().hold(false);
        let Some(message) = ready!(read) else {
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

    async fn start_tls(self) -> Result<Self, (Closure, Option<Self>)> {
        Err((fault::tls_not_prepared(), Some(self)))
    }

    fn socket(&mut self) -> &mut Self::Socket {
        R::socket(&mut self.0)
    }
}

impl<R: Runtime> WebSocket<R> {
    async fn send_close(&mut self, code: CloseCode, reason: &str) -> bool {
        let close = websocket::close_frame(code, reason);
        self.0.send(Message::Close(Some(close))).await.is_ok()
    }
}

/// A byte stream; every frame is a run of its bytes.
pub(crate) struct ByteStream<R: Runtime> {
    socket: R::Socket,
    unwritten: BytesMut,
    tls: OnRequest,
    context: Arc<Shared>,
}

/// What TLS a byte stream can start when the machine asks for it.
pub(crate) enum OnRequest {
    Never,
    /// With this certificate.
    Server(Arc<ServerConfig>),
    /// With a certificate of this host.
    Client(String),
}

thread_local! {
    /// What a byte stream is read into: a silent link holds no buffer, and a frame no more memory than it has bytes.
    static SPACE: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

impl<R: Runtime> ByteStream<R> {
    pub(crate) fn new(socket: R::Socket, tls: OnRequest, context: Arc<Shared>) -> Self {
        Self {
            socket,
            unwritten: BytesMut::new(),
            tls,
            context,
        }
    }

    async fn secure(
        socket: R::Socket,
        tls: OnRequest,
        context: &Shared,
    ) -> Result<R::Socket, (Closure, Option<R::Socket>)> {
        match tls {
            OnRequest::Never => Err((fault::tls_not_prepared(), Some(socket))),
            OnRequest::Server(config) => R::tls_accept(socket, config)
                .await
                .map_err(|(socket, error)| (fault::tls_on_link(&error), Some(socket))),
            OnRequest::Client(host) => match context.tls_with(&host).await {
                Ok((config, name)) => R::tls_connect(socket, name, config)
                    .await
                    .map_err(|error| (fault::tls_on_link(&error), None)),
                Err(detail) => Err((fault::not_secured(detail), Some(socket))),
            },
        }
    }

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

impl<R: Runtime> Transport for ByteStream<R> {
    type Socket = R::Socket;

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<Frame, Closure>> {
        SPACE.with_borrow_mut(|space| {
            let space = &mut space[..limit.min(PIECE)];
            let read = Pin::new(&mut self.socket).poll_read(context, space);
            let count = ready!(read).map_err(fault::lost)?;
            if count == 0 {
                return Poll::Ready(Err(fault::end_of_stream()));
            }
            Poll::Ready(Ok(Frame::Binary(Bytes::copy_from_slice(&space[..count]))))
        })
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
        let _ = self.socket.close().await;
    }

    async fn answer(&mut self, _why: &Closure) {}

    async fn start_tls(self) -> Result<Self, (Closure, Option<Self>)> {
        let context = self.context;
        let again = |socket| Self::new(socket, OnRequest::Never, Arc::clone(&context));
        let patience = context.config.handshake_timeout;
        let securing = Self::secure(self.socket, self.tls, &context);
        match timeout::<R, _>(patience, securing).await {
            Some(Ok(socket)) => Ok(again(socket)),
            Some(Err((why, socket))) => Err((why, socket.map(again))),
            None => Err((fault::tls_too_slow(), None)),
        }
    }

    fn socket(&mut self) -> &mut R::Socket {
        &mut self.socket
    }
}
