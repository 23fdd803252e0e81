//! WebSockets and byte streams, seen the same way: frames in, frames out, and nothing waits.

use crate::socket::{Socket, would_block};
use bytes::{Buf, Bytes, BytesMut};
use relay_proto::{CloseCode, Closure, Frame};
use relay_transport::{PIECE, fault, websocket};
use std::{
    io::{self, Read, Write},
    task::Poll,
};

/// One open connection.
pub(crate) trait Transport: Send {
    /// The next frame of at most `limit` bytes. Not called again after an error.
    fn read(&mut self, limit: usize) -> Poll<Result<Frame, Closure>>;

    /// Takes a frame. Pending: it is taken, but [`flush`](Self::flush) must be ready before the next.
    fn send(&mut self, frame: Frame) -> Poll<Result<(), Closure>>;

    /// Ready when the socket has taken everything.
    fn flush(&mut self) -> Poll<Result<(), Closure>>;

    /// Begins the end.
    fn say_goodbye(&mut self, code: CloseCode, reason: &str);

    /// Tells the peer how its end of the link was understood.
    fn answer(&mut self, why: &Closure);

    /// Goes on with what [`say_goodbye`](Self::say_goodbye) or [`answer`](Self::answer) has begun.
    fn end(&mut self) -> End;

    /// What is below.
    fn into_socket(self: Box<Self>) -> Socket;
}

/// How far the end of a link has come.
pub(crate) enum End {
    Reached,
    /// Something happened; ask again.
    Nearer,
    Blocked,
}

/// A WebSocket, client or server.
pub(crate) struct WebSocket {
    websocket: tungstenite::WebSocket<Socket>,
    /// Whether the closing handshake ends with the peer's answer.
    peer_has_a_say: bool,
}

impl WebSocket {
    pub(crate) const fn new(websocket: tungstenite::WebSocket<Socket>) -> Self {
        let peer_has_a_say = false;
        Self {
            websocket,
            peer_has_a_say,
        }
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        // What the socket does not take at once is sent by `end`, and what fails shows there.
        let _ = self
            .websocket
            .close(Some(websocket::close_frame(code, reason)));
    }
}

/// Tells apart what failed and what only has to wait.
fn blocks<T>(result: tungstenite::Result<T>) -> Poll<tungstenite::Result<T>> {
    match result {
        Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            Poll::Pending
        }
        result => Poll::Ready(result),
    }
}

impl Transport for WebSocket {
    fn read(&mut self, limit: usize) -> Poll<Result<Frame, Closure>> {
        blocks(self.websocket.read()).map(|message| {
            let message = message.map_err(fault::while_reading)?;
            websocket::received(message, limit)
        })
    }

    fn send(&mut self, frame: Frame) -> Poll<Result<(), Closure>> {
        match websocket::to_send(frame) {
            Ok(message) => blocks(self.websocket.write(message)).map_err(fault::while_writing),
            Err(why) => Poll::Ready(Err(why)),
        }
    }

    fn flush(&mut self) -> Poll<Result<(), Closure>> {
        blocks(self.websocket.flush()).map_err(fault::while_writing)
    }

    fn say_goodbye(&mut self, code: CloseCode, reason: &str) {
        self.peer_has_a_say = true;
        self.close(code, reason);
    }

    fn answer(&mut self, why: &Closure) {
        match why {
            Closure::Violation { code, detail } => self.close(*code, detail),
            // The answer to a close frame is already queued. A client waits for the server to end TCP.
            Closure::Peer { .. } => self.peer_has_a_say = true,
            _ => {}
        }
    }

    fn end(&mut self) -> End {
        let flushed = match self.flush() {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return End::Reached,
            Poll::Pending => false,
        };
        match self.peer_has_a_say {
            true => match blocks(self.websocket.read()) {
                Poll::Ready(Ok(_)) => End::Nearer,
                Poll::Ready(Err(_)) => End::Reached,
                Poll::Pending => End::Blocked,
            },
            false if flushed => End::Reached,
            false => End::Blocked,
        }
    }

    fn into_socket(self: Box<Self>) -> Socket {
        self.websocket.into_inner()
    }
}

/// A byte stream; every frame is a run of its bytes.
pub(crate) struct ByteStream {
    socket: Socket,
    unwritten: BytesMut,
}

impl ByteStream {
    pub(crate) fn new(socket: Socket) -> Self {
        let unwritten = BytesMut::new();
        Self { socket, unwritten }
    }

    fn write_below(&mut self, rest: usize) -> Poll<Result<(), Closure>> {
        while self.unwritten.len() > rest {
            match would_block(self.socket.write(&self.unwritten)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(fault::end_of_stream())),
                Poll::Ready(Ok(written)) => self.unwritten.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(fault::lost(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport for ByteStream {
    fn read(&mut self, limit: usize) -> Poll<Result<Frame, Closure>> {
        // On the stack, so that a silent link holds no buffer and a frame no more memory than it has bytes.
        let mut buffer = [0; PIECE];
        would_block(self.socket.read(&mut buffer[..limit.min(PIECE)])).map(|read| match read {
            Ok(0) => Err(fault::end_of_stream()),
            Ok(length) => Ok(Frame::Binary(Bytes::copy_from_slice(&buffer[..length]))),
            Err(error) => Err(fault::lost(error)),
        })
    }

    fn send(&mut self, frame: Frame) -> Poll<Result<(), Closure>> {
        match frame {
            Frame::Text(bytes) | Frame::Binary(bytes) => self.unwritten.extend_from_slice(&bytes),
            Frame::Ping(_) | Frame::Pong(_) => {}
        }
        self.write_below(PIECE)
    }

    fn flush(&mut self) -> Poll<Result<(), Closure>> {
        match self.write_below(0) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        // A large frame must not leave a large buffer behind.
        self.unwritten = BytesMut::new();
        would_block(self.socket.flush()).map_err(fault::lost)
    }

    fn say_goodbye(&mut self, _code: CloseCode, _reason: &str) {}

    fn answer(&mut self, _why: &Closure) {}

    /// The link has flushed what was sent, and the peer learns the end from the end of the stream.
    fn end(&mut self) -> End {
        End::Reached
    }

    fn into_socket(self: Box<Self>) -> Socket {
        self.socket
    }
}
