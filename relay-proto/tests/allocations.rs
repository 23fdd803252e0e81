//! What a session costs in memory: counted, not guessed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use bytes::Bytes;
use relay_proto::{
    LinkId, Time,
    session::{Body, RetentionLimits, Session},
};
use std::{collections::VecDeque, time::Duration};

const LINK: LinkId = LinkId::accepted(0);

fn pair() -> (Session, Session) {
    let session = || Session::new(Time::ZERO, Duration::MAX, RetentionLimits::default());
    let (mut sender, mut receiver) = (session(), session());
    sender.attach(LINK, 1).unwrap();
    receiver.attach(LINK, 1).unwrap();
    (sender, receiver)
}

/// Sends `frames` payloads and acknowledges each flight of `flight`; the frames are with the link for that long.
fn flow(
    sender: &mut Session,
    receiver: &mut Session,
    frames: usize,
    flight: usize,
    payload: &[u8],
) {
    let mut on_the_link: VecDeque<Bytes> = VecDeque::with_capacity(flight);
    for _ in 0..frames / flight {
        for _ in 0..flight {
            let body = Body::Data {
                channel: 1,
                payload,
            };
            sender.send(body).unwrap();
            on_the_link.extend(sender.poll_frame());
        }
        while let Some(frame) = on_the_link.pop_front() {
            let delivery = receiver.handle_frame(LINK, &frame).unwrap().unwrap();
            assert_eq!(delivery.body.len(), payload.len());
            receiver.take_over(delivery.seq);
        }
        let acknowledgement = receiver.poll_frame().unwrap();
        sender.handle_frame(LINK, &acknowledgement).unwrap();
        assert_eq!(sender.unacknowledged(), (0, 0));
    }
}

/// Allocations and their bytes.
fn counted(work: impl FnOnce()) -> (u64, u64) {
    let info = allocation_counter::measure(work);
    (info.count_total, info.bytes_total)
}

#[test]
fn frames_that_are_let_go_of_in_time_cost_no_allocation() {
    let (mut sender, mut receiver) = pair();
    flow(&mut sender, &mut receiver, 1000, 10, &[7; 200]);
    let (count, bytes) = counted(|| flow(&mut sender, &mut receiver, 10_000, 10, &[7; 200]));
    // One of the ten frames' own: the queue that stands for the link.
    assert_eq!(count, 1, "{bytes} bytes");
}

#[test]
fn where_many_frames_are_under_way_only_their_own_bytes_are_allocated() {
    let (mut sender, mut receiver) = pair();
    flow(&mut sender, &mut receiver, 1000, 500, &[7; 200]);
    let (count, bytes) = counted(|| flow(&mut sender, &mut receiver, 10_000, 500, &[7; 200]));
    assert!(count < 10_000 / 5, "{count} allocations");
    assert!(bytes < 10_000 * 220, "{bytes} bytes");
}

#[test]
fn what_is_sent_again_is_not_copied() {
    let (mut sender, _) = pair();
    for _ in 0..100 {
        let payload: &[u8] = &[7; 1000];
        sender
            .send(Body::Data {
                channel: 1,
                payload,
            })
            .unwrap();
        drop(sender.poll_frame().unwrap());
    }
    let cost = counted(|| {
        sender.attach(LinkId::accepted(1), 1).unwrap();
        for _ in 0..100 {
            drop(sender.poll_frame().unwrap());
        }
        assert_eq!(sender.poll_frame(), None);
    });
    assert_eq!(cost, (0, 0));
}
