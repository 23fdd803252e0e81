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

/// The task has carried out everything and waits; the count of its waker.
fn waits(taker: &Taker) -> (Told, Arc<Wakes>) {
    let mut told = Told::default();
    taker.take(&mut told);
    told.orders.clear();
    let (nothing, wakes) = poll(|context| taker.poll_new(context, &told));
    assert!(nothing.is_pending());
    (told, wakes)
}

fn count(wakes: &Wakes) -> usize {
    wakes.0.load(Ordering::Relaxed)
}

const LEAVE: Leave = Leave {
    limit: 7,
    batches: 4,
};

#[test]
fn a_task_that_waits_is_woken_once_for_many_orders() {
    let (giver, taker) = new();
    let (mut told, wakes) = waits(&taker);
    for _ in 0..3 {
        giver.order(frame());
    }
    assert_eq!(count(&wakes), 1);
    taker.take(&mut told);
    assert_eq!(told.orders.len(), 3);
}

#[test]
fn a_task_at_work_is_not_woken_and_misses_nothing() {
    let (giver, taker) = new();
    let (mut told, wakes) = waits(&taker);
    taker.take(&mut told);
    giver.order(frame());
    giver.allow(LEAVE);
    assert_eq!(count(&wakes), 0);
    let (new, _) = poll(|context| taker.poll_new(context, &told));
    assert!(new.is_ready());
    taker.take(&mut told);
    assert!(told.leave == LEAVE);
    giver.order(frame());
    taker.take(&mut told);
    assert_eq!(told.orders.len(), 2, "behind those not carried out yet");
}

#[test]
fn leave_wakes_only_when_it_is_another() {
    let (giver, taker) = new();
    let (told, wakes) = waits(&taker);
    assert!(told.leave == Leave::default());
    giver.allow(LEAVE);
    assert_eq!(count(&wakes), 1);
    let (told, wakes) = waits(&taker);
    assert!(told.leave == LEAVE);
    giver.allow(LEAVE);
    assert_eq!(count(&wakes), 0);
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
    assert_eq!(count(&wakes), 1);
    let (closing, _) = poll(|context| taker.poll_closing(context));
    assert!(closing.is_ready());
    let mut told = Told::default();
    taker.take(&mut told);
    assert_eq!(told.orders.len(), 2);
}

#[test]
fn what_the_hub_ordered_last_comes_before_its_end() {
    let (giver, taker) = new();
    giver.allow(LEAVE);
    let (mut told, wakes) = waits(&taker);
    giver.order(frame());
    drop(giver);
    assert_eq!(count(&wakes), 1);
    assert!(poll(|context| taker.poll_closing(context)).0.is_ready());
    taker.take(&mut told);
    assert!(told.leave == Leave::default());
    assert!(told.hub_gone);
    assert_eq!(told.orders.len(), 1);
}

#[test]
fn a_link_that_has_ended_leaves_nothing_behind() {
    let (giver, taker) = new();
    giver.order(frame());
    drop(taker);
    giver.order(frame());
    assert!(lock(&giver.0).orders.is_empty());
}
