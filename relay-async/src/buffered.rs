//! One read and one write of the socket for many frames, without buffers that a silent link would hold.

use futures_util::{AsyncRead, AsyncWrite};
use std::{
    cell::RefCell,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Bytes asked of a socket at once.
const READ: usize = 64 * 1024;

/// Where so many bytes wait to be written, they go out before more are added.
const WRITE: usize = 64 * 1024;

thread_local! {
    /// What sockets are read into: there is one for all links, and a link holds no more memory than it was sent bytes.
    static SPACE: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// A connection below a WebSocket, in two halves. A WebSocket library reads and writes what is here, at once or not at all, as often as
/// it likes; [filling](Self::poll_fill) and [writing out](Self::poll_write_out) is what reaches the socket, once for many frames.
///
/// Libraries read as much as fits into a buffer they keep for each connection, which therefore has to be small, and write whenever
/// another such buffer is full. This holds nothing between two wakes.
#[derive(Debug)]
pub(crate) struct Buffered<S> {
    socket: S,
    /// What was read and not asked for, and how much of it has been since.
    unread: Vec<u8>,
    read: usize,
    /// Nothing follows what is unread.
    has_ended: bool,
    unwritten: Vec<u8>,
    written: usize,
}

impl<S> Buffered<S> {
    pub(crate) const fn new(socket: S) -> Self {
        Self {
            socket,
            unread: Vec::new(),
            read: 0,
            has_ended: false,
            unwritten: Vec::new(),
            written: 0,
        }
    }

    /// The connection, without what is still in the buffers.
    pub(crate) fn into_socket(self) -> S {
        self.socket
    }

    /// Whether enough waits to be written.
    pub(crate) const fn is_full(&self) -> bool {
        self.unwritten.len() - self.written >= WRITE
    }
}

impl<S: AsyncRead + Unpin> Buffered<S> {
    /// Waits until there is something to read, or the end. For when all there was is read.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        SPACE.with_borrow_mut(|space| {
            let count = ready!(Pin::new(&mut self.socket).poll_read(context, space))?;
            self.has_ended = count == 0;
            self.unread = space[..count].to_vec();
            self.read = 0;
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> Buffered<S> {
    /// Waits until the socket has taken everything.
    pub(crate) fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unwritten.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.unwritten.len() {
            let rest = &self.unwritten[self.written..];
            let count = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        (self.unwritten, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<S> Read for Buffered<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let unread = &self.unread[self.read..];
        if unread.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = unread.len().min(buffer.len());
        buffer[..count].copy_from_slice(&unread[..count]);
        self.read += count;
        if self.read == self.unread.len() {
            (self.unread, self.read) = (Vec::new(), 0);
        }
        Ok(count)
    }
}

impl<S> Write for Buffered<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unwritten.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Whoever wants it written calls [`Buffered::poll_write_out`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "buffered_tests.rs"]
mod tests;
