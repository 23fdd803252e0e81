//! What the hub tells a link: orders, one after the other, and leave to read.
//!
//! Both ends are of one link, and all that waits at the link's end waits in one task, so one lock and one waker do for everything.
//! A queue of the usual kind would hold memory for orders that do not come.

use relay_proto::{CloseCode, Frame};
use std::{
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
    orders: Vec<Order>,
    leave: Leave,
    /// The end is ordered, behind what was sent before; or the hub is gone.
    closing: bool,
    hub_gone: bool,
    link_gone: bool,
    /// Of the link's task, while it waits.
    waker: Option<Waker>,
}

impl Shared {
    /// Has the link look at what is new.
    fn wake(mut shared: MutexGuard<'_, Self>) {
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&mut self, context: &Context<'_>) {
        let waker = context.waker();
        if !self
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            self.waker = Some(waker.clone());
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
        shared.orders.push(order);
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
        (shared.hub_gone, shared.closing) = (true, true);
        Shared::wake(shared);
    }
}

impl Taker {
    /// Waits for orders and takes all there are; none once the hub is gone and its last orders are taken.
    pub(crate) fn poll_orders(&self, context: &Context<'_>) -> Poll<Option<Vec<Order>>> {
        let mut shared = lock(&self.0);
        if !shared.orders.is_empty() {
            Poll::Ready(Some(mem::take(&mut shared.orders)))
        } else if shared.hub_gone {
            Poll::Ready(None)
        } else {
            shared.wait(context);
            Poll::Pending
        }
    }

    /// What may be read now. The task is woken when it is something else; nothing may once the hub is gone.
    pub(crate) fn leave(&self, context: &Context<'_>) -> Leave {
        let mut shared = lock(&self.0);
        shared.wait(context);
        if shared.hub_gone {
            Leave::default()
        } else {
            shared.leave
        }
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
