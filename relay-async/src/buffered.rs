//! One read and one write of the socket for many frames, without buffers that a silent link would hold.

use futures_util::{AsyncRead, AsyncWrite};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Bytes asked of a socket at once.
const READ: usize = 64 * 1024;

/// Bytes that wait for a flush, at the most; the next ones are written first.
const WRITE: usize = 64 * 1024;

thread_local! {
    /// What sockets are read into: what is not asked for at once is copied out of it, and there is one for all links.
    static SPACE: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// A connection below a WebSocket. WebSocket libraries read as much as fits into a buffer they keep for each connection, which
/// therefore has to be small, and write whenever another such buffer is full. This reads as much as there is, and writes when
/// it is flushed; between two wakes it holds nothing.
#[derive(Debug)]
pub struct Buffered<S> {
    inner: S,
    /// What was read and not asked for, and how much of it has been since.
    unread: Vec<u8>,
    read: usize,
    unwritten: Vec<u8>,
    written: usize,
    held: bool,
}

impl<S> Buffered<S> {
    /// Around this connection.
    pub const fn new(inner: S) -> Self {
        Self {
            inner,
            unread: Vec::new(),
            read: 0,
            unwritten: Vec::new(),
            written: 0,
            held: false,
        }
    }

    /// While it is held, what is to be flushed waits for a flush after that.
    pub(crate) const fn hold(&mut self, held: bool) {
        self.held = held;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Buffered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.unread.is_empty() {
            return SPACE.with_borrow_mut(|space| {
                let count = ready!(Pin::new(&mut this.inner).poll_read(context, space))?;
                let (now, later) = space[..count].split_at(count.min(buffer.len()));
                buffer[..now.len()].copy_from_slice(now);
                if !later.is_empty() {
                    this.unread = later.to_vec();
                }
                Poll::Ready(Ok(now.len()))
            });
        }
        let unread = &this.unread[this.read..];
        let count = unread.len().min(buffer.len());
        buffer[..count].copy_from_slice(&unread[..count]);
        this.read += count;
        if this.read == this.unread.len() {
            (this.unread, this.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> Buffered<S> {
    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.unwritten.len() {
            let rest = &self.unwritten[self.written..];
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        (self.unwritten, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Buffered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.unwritten.is_empty() && self.unwritten.len() + bytes.len() > WRITE {
            ready!(self.poll_write_out(context))?;
        }
        let count = bytes.len().min(WRITE);
        self.unwritten.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_write_out(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(context))?;
        Pin::new(&mut self.inner).poll_close(context)
    }
}

#[cfg(test)]
#[path = "buffered_tests.rs"]
mod tests;
