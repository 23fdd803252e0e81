//! Connects to the address that answers first (RFC 8305).

use crate::dial::Registration;
use mio::net::TcpStream;
use relay_transport::happy_eyeballs::{ATTEMPT_DELAY, interleave};
use std::{io, net::SocketAddr, task::Poll, time::Instant, vec};

/// Connections that are being made to one host. The next address is tried when an attempt has failed, or has taken a while;
/// attempts under way go on until one has connected.
pub(crate) struct Attempts {
    waiting: vec::IntoIter<SocketAddr>,
    under_way: Vec<(SocketAddr, TcpStream)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// When the next address is tried, whatever the others do.
    next: Instant,
}

impl Attempts {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self {
            waiting: interleave(addresses).into_iter(),
            under_way: Vec::new(),
            failed: Vec::new(),
            next: Instant::now(),
        }
    }

    /// When [`proceed`](Self::proceed) has something to do, even where no socket says so.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        (self.waiting.len() > 0).then_some(self.next)
    }

    /// The first connection there is; or all that failed, in that order.
    pub(crate) fn proceed(
        &mut self,
        registration: &Registration<'_>,
    ) -> Poll<Result<TcpStream, Vec<(SocketAddr, io::Error)>>> {
        loop {
            let mut has_failed = false;
            for (address, tcp) in std::mem::take(&mut self.under_way) {
                match connected(&tcp) {
                    Poll::Pending => self.under_way.push((address, tcp)),
                    Poll::Ready(Ok(())) => return Poll::Ready(Ok(tcp)),
                    Poll::Ready(Err(error)) => {
                        self.failed.push((address, error));
                        has_failed = true;
                    }
                }
            }
            let is_due = has_failed || self.under_way.is_empty() || self.next <= Instant::now();
            let Some(address) = is_due.then(|| self.waiting.next()).flatten() else {
                break;
            };
            self.next = Instant::now() + ATTEMPT_DELAY;
            let connecting = TcpStream::connect(address).and_then(|mut tcp| {
                registration.register(&mut tcp)?;
                Ok(tcp)
            });
            match connecting {
                Ok(tcp) => self.under_way.push((address, tcp)),
                Err(error) => self.failed.push((address, error)),
            }
        }
        match self.under_way.is_empty() {
            true => Poll::Ready(Err(std::mem::take(&mut self.failed))),
            false => Poll::Pending,
        }
    }
}

/// Whether a connection that was begun is there.
fn connected(tcp: &TcpStream) -> Poll<io::Result<()>> {
    if let Some(error) = tcp.take_error().transpose() {
        return Poll::Ready(error.and_then(Err));
    }
    match tcp.peer_addr() {
        Ok(_) => Poll::Ready(tcp.set_nodelay(true)),
        // Some systems say the one, some the other, while it takes its time.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput
            ) =>
        {
            Poll::Pending
        }
        Err(error) => Poll::Ready(Err(error)),
    }
}

#[cfg(test)]
#[path = "attempts_tests.rs"]
mod tests;
