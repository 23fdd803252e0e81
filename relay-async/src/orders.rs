//! What the hub tells a link: orders, one after the other, and leave to read.
//!
//! Both ends are of one link, and all that waits at the link's end waits in one task, so one lock and one waker do for everything.
//! A queue of the usual kind would hold memory for orders that do not come.

use relay_proto::{CloseCode, Frame};
use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

pub(crate) enum Order {
    Send(Frame),
    StartTls,
    Close { code: CloseCode, reason: String },
}

/// What the hub allows a link to do.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Leave {
    /// The largest frame to read, in bytes; zero: do not read.
    pub(crate) limit: usize,
    /// How many batches may have been handed up in all.
    pub(crate) batches: u64,
}

#[derive(Default)]
struct Shared {
    orders: VecDeque<Order>,
    leave: Leave,
    /// The end is ordered, behind what was sent before; or the hub is gone.
    closing: bool,
    hub_gone: bool,
    link_gone: bool,
    /// The link's task waits. While it does not, it looks for what is new by itself.
    waiting: bool,
    /// Of the link's task.
    waker: Option<Waker>,
}

impl Shared {
    /// Has the link look at what is new.
    fn wake(mut shared: MutexGuard<'_, Self>) {
        if !mem::take(&mut shared.waiting) {
            return;
        }
        let waker = shared.waker.clone();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&mut self, context: &Context<'_>) {
        self.waiting = true;
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hub's end. Dropping it closes the link behind what was ordered.
pub(crate) struct Giver(Arc<Mutex<Shared>>);

/// The link's end, for one task.
pub(crate) struct Taker(Arc<Mutex<Shared>>);

pub(crate) fn new() -> (Giver, Taker) {
    let shared = Arc::<Mutex<Shared>>::default();
    (Giver(Arc::clone(&shared)), Taker(shared))
}

impl Giver {
    /// Gives an order. A link that has ended needs none.
    pub(crate) fn order(&self, order: Order) {
        let mut shared = lock(&self.0);
        if shared.link_gone {
            return;
        }
        // Besides the order, which waits behind the frames before it, this starts the clock.
        shared.closing |= matches!(order, Order::Close { .. });
        shared.orders.push_back(order);
        Shared::wake(shared);
    }

    pub(crate) fn allow(&self, leave: Leave) {
        let mut shared = lock(&self.0);
        if shared.leave != leave {
            shared.leave = leave;
            Shared::wake(shared);
        }
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        // Nothing more may be read, and the end is ordered behind all the other orders.
        shared.leave = Leave::default();
        (shared.hub_gone, shared.closing) = (true, true);
        Shared::wake(shared);
    }
}

/// What a link has been told.
#[derive(Default)]
pub(crate) struct Told {
    /// The orders not carried out yet.
    pub(crate) orders: VecDeque<Order>,
    pub(crate) leave: Leave,
    /// There will be no more orders.
    pub(crate) hub_gone: bool,
}

impl Taker {
    /// Takes what is new.
    pub(crate) fn take(&self, told: &mut Told) {
        let mut shared = lock(&self.0);
        shared.waiting = false;
        if told.orders.is_empty() {
            // With its memory, so that none is left behind.
            told.orders = mem::take(&mut shared.orders);
        } else {
            told.orders.append(&mut shared.orders);
        }
        (told.leave, told.hub_gone) = (shared.leave, shared.hub_gone);
    }

    /// Waits for something new: pending until there is.
    pub(crate) fn poll_new(&self, context: &Context<'_>, told: &Told) -> Poll<()> {
        let mut shared = lock(&self.0);
        let known = (told.leave, told.hub_gone);
        if !shared.orders.is_empty() || (shared.leave, shared.hub_gone) != known {
            return Poll::Ready(());
        }
        shared.wait(context);
        Poll::Pending
    }

    /// Waits for the order to close, or the end of the hub.
    pub(crate) fn poll_closing(&self, context: &Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.0);
        if shared.closing {
            return Poll::Ready(());
        }
        shared.wait(context);
        Poll::Pending
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.link_gone = true;
        let left = (mem::take(&mut shared.orders), shared.waker.take());
        // Outside the lock: what is dropped may be large, or run code of a runtime.
        drop(shared);
        drop(left);
    }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
