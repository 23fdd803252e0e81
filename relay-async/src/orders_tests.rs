use super::*;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
};

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn frame() -> Order {
    Order::Send(Frame::Text("hello".into()))
}

/// Polls with a waker of its own; what came out, and that waker's count.
fn poll<R>(poll: impl FnOnce(&Context<'_>) -> R) -> (R, Arc<Wakes>) {
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    (poll(&Context::from_waker(&waker)), wakes)
}

fn taken(taker: &Taker) -> Poll<Option<usize>> {
    let (orders, _) = poll(|context| taker.poll_orders(context));
    orders.map(|orders| orders.map(|orders| orders.len()))
}

#[test]
fn a_task_that_waits_is_woken_once_for_many_orders() {
    let (giver, taker) = new();
    let (nothing, wakes) = poll(|context| taker.poll_orders(context));
    assert!(nothing.is_pending());
    for _ in 0..3 {
        giver.order(frame());
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(taken(&taker), Poll::Ready(Some(3)));
    assert_eq!(taken(&taker), Poll::Pending);
}

#[test]
fn leave_wakes_only_when_it_is_another() {
    let (giver, taker) = new();
    let leave = Leave {
        limit: 7,
        batches: 4,
    };
    let (before, wakes) = poll(|context| taker.leave(context));
    assert!(before == Leave::default());
    giver.allow(leave);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    let (now, wakes) = poll(|context| taker.leave(context));
    assert!(now == leave);
    giver.allow(leave);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
}

#[test]
fn the_order_to_close_is_known_before_its_turn() {
    let (giver, taker) = new();
    giver.order(frame());
    let (closing, wakes) = poll(|context| taker.poll_closing(context));
    assert!(closing.is_pending());
    giver.order(Order::Close {
        code: CloseCode::NORMAL,
        reason: String::new(),
    });
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    let (closing, _) = poll(|context| taker.poll_closing(context));
    assert!(closing.is_ready());
    assert_eq!(taken(&taker), Poll::Ready(Some(2)));
}

#[test]
fn what_the_hub_ordered_last_comes_before_its_end() {
    let (giver, taker) = new();
    giver.allow(Leave {
        limit: 7,
        batches: 4,
    });
    giver.order(frame());
    drop(giver);
    assert!(poll(|context| taker.poll_closing(context)).0.is_ready());
    assert!(poll(|context| taker.leave(context)).0 == Leave::default());
    assert_eq!(taken(&taker), Poll::Ready(Some(1)));
    assert_eq!(taken(&taker), Poll::Ready(None));
}

#[test]
fn a_link_that_has_ended_leaves_nothing_behind() {
    let (giver, taker) = new();
    giver.order(frame());
    drop(taker);
    giver.order(frame());
    assert!(lock(&giver.0).orders.is_empty());
}
