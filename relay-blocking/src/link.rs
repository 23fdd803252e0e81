//! One open link, from its first frame to its last word.

use crate::{
    socket::Socket,
    transport::{End, Transport},
};
use relay_proto::{CloseCode, Closure, Frame};
use std::{
    collections::VecDeque,
    task::Poll,
    time::{Duration, Instant},
};

/// What a link has to tell.
#[derive(Debug, PartialEq)]
pub(crate) enum News {
    Frame(Frame),
    /// The oldest frame not yet reported has been written.
    Written,
    /// What was sent before TLS is written: the socket is free for it.
    ReadyForTls,
    /// Nothing follows.
    Closed(Closure),
    /// Nothing yet; ask again.
    Nothing,
}

enum Stage {
    Conversing,
    /// Writing has failed. A peer that hangs up has often said why; what it said is still to be read.
    Listening(Closure),
    /// The machine asked for the end, and the peer has been told.
    Leaving,
    /// The peer ended the link, or has to be told why it ends.
    Answering(Closure),
}

pub(crate) struct Link {
    transport: Box<dyn Transport>,
    stage: Stage,
    outgoing: VecDeque<Frame>,
    /// Frames the transport has taken and not flushed.
    unflushed: usize,
    /// Frames written and not reported.
    written: usize,
    /// Whether something waits for a flush: frames, or a pong the transport has queued by itself.
    to_flush: bool,
    /// How the machine wants the link to end, once everything is written.
    asked: Option<(CloseCode, String)>,
    /// TLS is to be started once everything is written. Nothing is read until then, and nothing sent.
    awaits_tls: bool,
    close_timeout: Duration,
    overdue: Option<Instant>,
}

impl Link {
    pub(crate) fn new(transport: Box<dyn Transport>, close_timeout: Duration) -> Self {
        Self {
            transport,
            stage: Stage::Conversing,
            outgoing: VecDeque::new(),
            unflushed: 0,
            written: 0,
            to_flush: false,
            asked: None,
            awaits_tls: false,
            close_timeout,
            overdue: None,
        }
    }

    /// Starts TLS after what was sent on the link before.
    pub(crate) const fn start_tls(&mut self) {
        self.awaits_tls = true;
    }

    /// Queues a frame, unless the machine has asked for the end, or for TLS, which comes first.
    pub(crate) fn send(&mut self, frame: Frame) {
        if self.asked.is_none() && !self.awaits_tls {
            self.outgoing.push_back(frame);
        }
    }

    /// Closes the link after what was sent on it before.
    pub(crate) fn close(&mut self, code: CloseCode, reason: String) {
        if self.asked.is_none() {
            self.asked = Some((code, reason));
            self.start_clock();
        }
    }

    /// When [`expire`](Self::expire) is due.
    pub(crate) const fn overdue(&self) -> Option<Instant> {
        self.overdue
    }

    /// How a link ended that took too long to do so.
    pub(crate) fn expire(self) -> Closure {
        match self.stage {
            Stage::Answering(why) => why,
            Stage::Listening(why) if self.asked.is_none() => why,
            _ => Closure::Local,
        }
    }

    pub(crate) fn into_socket(self) -> Socket {
        self.transport.into_socket()
    }

    /// Writes and reads what can be, and tells the next that comes of it. Pending: not before the socket, the
    /// machine or the clock says something. A frame is read only up to `limit` bytes, at zero none.
    pub(crate) fn progress(&mut self, limit: usize) -> Poll<News> {
        match self.stage {
            Stage::Conversing => {
                if let Err(why) = self.write() {
                    self.stage = Stage::Listening(why);
                    self.start_clock();
                }
                if self.written > 0 {
                    self.written -= 1;
                    return Poll::Ready(News::Written);
                }
                if !self.to_flush
                    && matches!(self.stage, Stage::Conversing)
                    && let Some((code, reason)) = &self.asked
                {
                    self.transport.say_goodbye(*code, reason);
                    self.stage = Stage::Leaving;
                    return Poll::Ready(News::Nothing);
                }
                if self.awaits_tls {
                    let ready = !self.to_flush
                        && matches!(self.stage, Stage::Conversing)
                        && std::mem::take(&mut self.awaits_tls);
                    return match ready {
                        true => Poll::Ready(News::ReadyForTls),
                        false => Poll::Pending,
                    };
                }
                self.read(limit)
            }
            Stage::Listening(_) => self.read(limit),
            Stage::Leaving | Stage::Answering(_) => match self.transport.end() {
                End::Blocked => Poll::Pending,
                End::Nearer => Poll::Ready(News::Nothing),
                End::Reached => Poll::Ready(News::Closed(match &self.stage {
                    Stage::Answering(why) => why.clone(),
                    _ => Closure::Local,
                })),
            },
        }
    }

    /// Hands frames to the transport as fast as it takes them, and flushes once for all.
    fn write(&mut self) -> Result<(), Closure> {
        if self.unflushed > 0 && self.to_flush && !self.flush()? {
            return Ok(());
        }
        while let Some(frame) = self.outgoing.pop_front() {
            self.to_flush = true;
            let sent = self.transport.send(frame);
            self.unflushed += 1;
            match sent {
                Poll::Ready(sent) => sent?,
                Poll::Pending => {
                    if !self.flush()? {
                        return Ok(());
                    }
                }
            }
        }
        if self.to_flush {
            self.flush()?;
        }
        Ok(())
    }

    /// Whether the socket has taken everything.
    fn flush(&mut self) -> Result<bool, Closure> {
        match self.transport.flush() {
            Poll::Ready(flushed) => flushed?,
            Poll::Pending => return Ok(false),
        }
        self.to_flush = false;
        self.written += std::mem::take(&mut self.unflushed);
        Ok(true)
    }

    fn read(&mut self, limit: usize) -> Poll<News> {
        if limit == 0 {
            return Poll::Pending;
        }
        self.transport.read(limit).map(|read| match read {
            Ok(frame) => {
                // The transport has queued a pong by itself; nothing but a flush sends it.
                self.to_flush |= matches!(frame, Frame::Ping(_));
                News::Frame(frame)
            }
            Err(why @ Closure::Lost { .. }) => News::Closed(why),
            Err(why) => {
                self.transport.answer(&why);
                self.stage = Stage::Answering(why);
                self.start_clock();
                News::Nothing
            }
        })
    }

    fn start_clock(&mut self) {
        let close_timeout = self.close_timeout;
        self.overdue
            .get_or_insert_with(|| Instant::now() + close_timeout);
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
