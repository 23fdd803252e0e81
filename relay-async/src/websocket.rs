//! WebSockets: the library's protocol on the runtime's connections.

use crate::{buffered::Buffered, link, transport::Transport};
use futures_util::{AsyncRead, AsyncWrite};
use relay_proto::{CloseCode, Closure, Frame};
use relay_transport::{Origins, fault, websocket};
use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};
use tungstenite::{
    Error, HandshakeError, Message,
    handshake::client::Request,
    protocol::{Role, WebSocketConfig},
};

/// A WebSocket, client or server, over a connection.
pub(crate) struct WebSocket<S>(tungstenite::WebSocket<Buffered<S>>);

/// The client's side of the opening handshake (RFC 6455, section 4.1).
pub(crate) async fn connect<S>(
    socket: S,
    request: Request,
    config: WebSocketConfig,
) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let socket = Buffered::new(socket);
    let mut shaken = tungstenite::client::client_with_config(request, socket, Some(config));
    loop {
        match shaken {
            Ok((websocket, _)) => return Ok(WebSocket(websocket)),
            Err(HandshakeError::Failure(error)) => return Err(error),
            Err(HandshakeError::Interrupted(mut shaking)) => {
                exchange(shaking.get_mut().get_mut()).await?;
                shaken = shaking.handshake();
            }
        }
    }
}

/// The server's side of the opening handshake (RFC 6455, section 4.2). Where it fails, the connection comes back: the driver
/// answers.
///
/// The library bounds the request to 64 KiB, and refuses one that has bytes behind it.
pub(crate) async fn accept<S>(
    socket: S,
    config: WebSocketConfig,
    origins: Origins,
) -> Result<WebSocket<S>, (S, Error)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut socket = Buffered::new(socket);
    // Lent, so that it can be given back.
    let mut shaken = tungstenite::accept_hdr_with_config(&mut socket, origins, Some(config));
    let shaken = loop {
        match shaken {
            Ok(_) => break Ok(()),
            Err(HandshakeError::Failure(error)) => break Err(error),
            Err(HandshakeError::Interrupted(mut shaking)) => {
                match exchange(shaking.get_mut().get_mut()).await {
                    Ok(()) => shaken = shaking.handshake(),
                    Err(error) => break Err(error.into()),
                }
            }
        }
    };
    // The answer; also where it is a refusal of the library's.
    let written = poll_fn(|context| socket.poll_write_out(context)).await;
    match shaken.and(written.map_err(Error::from)) {
        Ok(()) => {
            let (role, config) = (Role::Server, Some(config));
            let websocket = tungstenite::WebSocket::from_raw_socket(socket, role, config);
            Ok(WebSocket(websocket))
        }
        Err(error) => Err((socket.into_socket(), error)),
    }
}

/// Sends what is to be sent, and waits for the peer's next word.
async fn exchange<S>(socket: &mut Buffered<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|context| socket.poll_write_out(context)).await?;
    poll_fn(|context| socket.poll_fill(context)).await
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebSocket<S> {
    /// The next message; none at the end.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            match self.0.read() {
                Ok(message) => return Poll::Ready(Some(Ok(message))),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = ready!(self.0.get_mut().poll_fill(context)) {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        let written = self.0.get_mut().poll_write_out(context);
        written.map_err(fault::lost)
    }

    async fn send_close(&mut self, code: CloseCode, reason: &str) -> bool {
        let close = websocket::close_frame(code, reason);
        self.0.close(Some(close)).is_ok()
            && poll_fn(|context| self.poll_flush(context)).await.is_ok()
    }

    /// Reads on to the end, and sends what the library has to say to that.
    async fn hear_out(&mut self) {
        poll_fn(|context| {
            loop {
                let heard = self.poll_message(context);
                // Where it fails, reading will tell.
                let _ = self.poll_write_out(context);
                if !matches!(ready!(heard), Some(Ok(_))) {
                    return Poll::Ready(());
                }
            }
        })
        .await;
        // The last word may be the answer to a close frame.
        let _ = poll_fn(|context| self.poll_write_out(context)).await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for WebSocket<S> {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<Frame, Closure>> {
        let Some(message) = ready!(self.poll_message(context)) else {
            return Poll::Ready(Err(fault::end_of_stream()));
        };
        let message = message.map_err(fault::while_reading)?;
        Poll::Ready(websocket::received(message, limit))
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        if self.0.get_ref().is_full() {
            self.poll_write_out(context)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn start_send(&mut self, frame: Frame) -> Result<(), Closure> {
        let message = websocket::to_send(frame)?;
        self.0.write(message).map_err(fault::while_writing)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        match self.0.flush() {
            // At the end of the closing handshake, when all is said.
            Ok(()) | Err(Error::ConnectionClosed) => self.poll_write_out(context),
            Err(error) => Poll::Ready(Err(fault::while_writing(error))),
        }
    }

    async fn say_goodbye(&mut self, code: CloseCode, reason: &str) {
        if self.send_close(code, reason).await {
            self.hear_out().await;
        }
    }

    async fn answer(&mut self, why: &Closure) {
        match why {
            Closure::Violation { code, detail } => {
                self.send_close(*code, detail).await;
            }
            // The answer to a close frame is already queued; reading on sends it.
            Closure::Peer { .. } => self.hear_out().await,
            _ => {}
        }
    }

    async fn start_tls(self) -> Result<Self, (Closure, Option<Self>)> {
        Err((fault::tls_not_prepared(), Some(self)))
    }

    async fn drain(mut self) {
        // The library takes for sent what may still be here.
        if poll_fn(|context| self.poll_write_out(context))
            .await
            .is_ok()
        {
            link::drain(&mut self.0.into_inner().into_socket()).await;
        }
    }
}
