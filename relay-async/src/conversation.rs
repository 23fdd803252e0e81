//! What goes on on an open link, in one task: orders are carried out, and frames handed up.

use crate::{
    link::{End, Fact, Link},
    orders::{Order, Told},
    transport::Transport,
};
use relay_proto::{CloseCode, Closure, Frame};
use std::task::{Context, Poll, ready};

/// How many batches of frames of one link may be on their way to the machine at once.
///
/// It hides the time a batch takes to get there where another task is at work on the machine. One that says zero to
/// `read_limit` may still be given this many batches less one, which were read before.
pub(crate) const READ_AHEAD: u64 = 4;

/// A batch with this many bytes is complete. Small frames that have arrived together travel together, so that their answers are
/// flushed together; a large one travels alone.
pub(crate) const BATCH_BYTES: usize = 16 * 1024;

/// And so is one with this many frames, since every frame costs memory, whatever is in it.
pub(crate) const FRAMES_PER_BATCH: usize = 64;

/// Batches that a link reads before the other tasks of the runtime have a chance.
const BATCHES_PER_TURN: usize = 4;

/// A transport at work.
pub(crate) struct Conversation<'a, T> {
    link: &'a Link,
    transport: &'a mut T,
    /// How many batches this link has handed up in all.
    handed_up: &'a mut u64,
    told: Told,
    /// Frames the transport has taken since it was flushed.
    taken: usize,
    /// The transport is to be flushed before it takes more.
    flushing: bool,
    /// How it ends when that is flushed.
    asked: Option<End>,
    /// The transport cannot write any more.
    is_mute: bool,
}

impl<'a, T: Transport> Conversation<'a, T> {
    pub(crate) fn new(link: &'a Link, transport: &'a mut T, handed_up: &'a mut u64) -> Self {
        Self {
            link,
            transport,
            handed_up,
            told: Told::default(),
            taken: 0,
            flushing: false,
            asked: None,
            is_mute: false,
        }
    }

    /// Reads and writes until one side has enough; or until writing fails, after which it can be polled on to hear what the peer has
    /// said last.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<End, Closure>> {
        for _ in 0..BATCHES_PER_TURN {
            self.link.orders.take(&mut self.told);
            if self.is_mute {
                self.told.orders.clear();
            } else if let Poll::Ready(written) = self.poll_write(context) {
                self.is_mute = written.is_err();
                return Poll::Ready(written);
            }
            match self.poll_read(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(why)) => return Poll::Ready(Ok(End::Broken(why))),
                Poll::Pending => ready!(self.link.orders.poll_new(context, &self.told)),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Carries out orders until they end the conversation; flushes once for all that wait.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<End, Closure>> {
        loop {
            while !self.flushing && !self.told.orders.is_empty() {
                ready!(self.transport.poll_ready(context))?;
                match self.told.orders.pop_front() {
                    Some(Order::Send(frame)) => {
                        self.transport.start_send(frame)?;
                        self.taken += 1;
                        continue;
                    }
                    Some(Order::StartTls) => self.asked = Some(End::StartTls),
                    Some(Order::Close { code, reason }) => {
                        self.asked = Some(End::Asked { code, reason });
                    }
                    None => {}
                }
                // What may be behind StartTls, an order to close, has been announced as well.
                self.flushing = true;
            }
            if self.told.orders.is_empty() {
                // The memory as well: most links are idle.
                self.told.orders = Default::default();
            }
            self.flushing |= self.taken > 0;
            if !self.flushing {
                return if self.told.hub_gone {
                    let (code, reason) = (CloseCode::GOING_AWAY, String::new());
                    Poll::Ready(Ok(End::Asked { code, reason }))
                } else {
                    Poll::Pending
                };
            }
            ready!(self.transport.poll_flush(context))?;
            self.flushing = false;
            let frames = std::mem::take(&mut self.taken);
            if frames > 0 {
                let link = self.link.id();
                self.link.report(Fact::Written { link, frames });
            }
            if let Some(asked) = self.asked.take() {
                return Poll::Ready(Ok(asked));
            }
            // The machine may have been waiting for that.
            self.link.orders.take(&mut self.told);
        }
    }

    /// Hands up the frames that are there, as far as the hub allows and up to the end of a batch.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        let leave = self.told.leave;
        if leave.limit == 0 || *self.handed_up >= leave.batches {
            return Poll::Pending;
        }
        let mut frames = vec![ready!(self.transport.poll_frame(context, leave.limit))?];
        let mut bytes = frames[0].len();
        let mut end = Ok(());
        while bytes < BATCH_BYTES && frames.len() < FRAMES_PER_BATCH {
            match self.transport.poll_frame(context, leave.limit) {
                Poll::Ready(Ok(frame)) => {
                    bytes += frame.len();
                    frames.push(frame);
                }
                Poll::Ready(Err(why)) => {
                    end = Err(why);
                    break;
                }
                Poll::Pending => break,
            }
        }
        // The transport has queued a pong by itself; nothing but a flush sends it.
        self.flushing |= frames.iter().any(|frame| matches!(frame, Frame::Ping(_)));
        *self.handed_up += 1;
        let (link, frames) = (self.link.id(), frames.into_iter());
        self.link.report(Fact::Frames { link, frames });
        Poll::Ready(end)
    }
}
