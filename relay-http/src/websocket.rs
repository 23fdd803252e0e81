//! A WebSocket whose bytes come from and go to memory.

use bytes::{Buf, Bytes};
use relay_proto::{CloseCode, Closure, Frame};
use relay_transport::{fault, websocket};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    mem,
};
use tungstenite::{
    Error,
    protocol::{Role, WebSocketConfig},
};

/// A server's end of a WebSocket behind the upgrade.
pub(crate) struct WebSocket(tungstenite::WebSocket<Memory>);

/// What has arrived and was not read, and what is written and was not taken.
#[derive(Default)]
struct Memory {
    arrived: VecDeque<Bytes>,
    written: Vec<u8>,
}

impl WebSocket {
    pub(crate) fn new(config: WebSocketConfig) -> Self {
        let websocket =
            tungstenite::WebSocket::from_raw_socket(Memory::default(), Role::Server, Some(config));
        Self(websocket)
    }

    /// Takes bytes that have arrived.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.0.get_mut().arrived.push_back(bytes);
        }
    }

    /// The next frame of at most `limit` bytes; none: more bytes are needed.
    ///
    /// # Errors
    ///
    /// How the peer has ended the link.
    pub(crate) fn read(&mut self, limit: usize) -> Result<Option<Frame>, Closure> {
        match self.0.read() {
            Ok(message) => websocket::received(message, limit).map(Some),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(fault::while_reading(error)),
        }
    }

    /// Writes a frame.
    ///
    /// # Errors
    ///
    /// How the link has ended by it.
    pub(crate) fn write(&mut self, frame: Frame) -> Result<(), Closure> {
        if matches!(frame, Frame::Pong(_)) {
            // The library would send it in place of the answer to a ping.
            self.0.flush().map_err(fault::while_writing)?;
        }
        let message = websocket::to_send(frame)?;
        self.0.write(message).map_err(fault::while_writing)
    }

    /// Writes a close frame, behind which nothing is written.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        // Memory takes everything; what is left to fail is that there was one already.
        let _ = self.0.close(Some(websocket::close_frame(code, reason)));
    }

    /// How many bytes are written and were not taken.
    pub(crate) fn written(&self) -> usize {
        self.0.get_ref().written.len()
    }

    /// Takes what is written, with the answers to pings and to a close frame.
    pub(crate) fn take_written(&mut self) -> Bytes {
        // The only failure is that nothing may follow a close frame.
        let _ = self.0.flush();
        mem::take(&mut self.0.get_mut().written).into()
    }
}

impl Read for Memory {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let Some(bytes) = self.arrived.front_mut() else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let count = bytes.len().min(space.len());
        bytes.copy_to_slice(&mut space[..count]);
        if bytes.is_empty() {
            self.arrived.pop_front();
        }
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
