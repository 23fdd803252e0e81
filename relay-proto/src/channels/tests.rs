use super::*;
use alloc::{format, string::ToString, vec, vec::Vec};
use proptest::prelude::*;

fn channels(change: impl FnOnce(&mut ChannelsConfig)) -> Channels {
    let mut config = ChannelsConfig {
        max_channels: 3,
        window: 100,
        peer_window: 100,
        buffer: 1000,
        frame: 10,
    };
    change(&mut config);
    Channels::new(config)
}

/// `7` bytes of channel 2 are written as `2:7`, words as they are.
fn order(channels: &mut Channels) -> Vec<alloc::string::String> {
    core::iter::from_fn(|| channels.poll(usize::MAX))
        .map(|body| match body {
            Body::Control(word) => str::from_utf8(&word).unwrap().into(),
            Body::Data { channel, payload } => format!("{channel}:{}", payload.len()),
        })
        .collect()
}

fn data(length: usize) -> Bytes {
    vec![7; length].into()
}

#[test]
fn equals_take_turns_and_priority_goes_first() {
    let mut channels = channels(|_| {});
    for priority in [Priority::Normal, Priority::Normal, Priority::High] {
        let id = channels.open(priority).unwrap();
        channels.announce(format!("open {id}").into());
        channels.write(id, data(25)).unwrap();
    }
    assert_eq!(
        order(&mut channels),
        [
            "open 1", "open 2", "open 3", "3:10", "3:10", "3:5", "1:10", "2:10", "1:10", "2:10",
            "1:5", "2:5"
        ]
    );
}

#[test]
fn what_becomes_urgent_overtakes_what_is_not_handed_out() {
    let mut channels = channels(|_| {});
    let low = channels.open(Priority::Low).unwrap();
    let critical = channels.open(Priority::Critical).unwrap();
    channels.write(low, data(30)).unwrap();
    assert!(channels.poll(10).is_some());
    channels.write(critical, data(1)).unwrap();
    assert_eq!(order(&mut channels), ["2:1", "1:10", "1:10"]);
}

#[test]
fn a_channel_without_credit_holds_back_no_other() {
    let mut channels = channels(|config| config.peer_window = 15);
    let (a, b) = (
        channels.open(Priority::Critical).unwrap(),
        channels.open(Priority::Low).unwrap(),
    );
    channels.write(a, data(40)).unwrap();
    channels.write(b, data(3)).unwrap();
    assert_eq!(order(&mut channels), ["1:10", "1:5", "2:3"]);
    channels.granted(a, 12).unwrap();
    assert_eq!(order(&mut channels), ["1:10", "1:2"]);
    channels.granted(a, 0).unwrap();
    assert!(order(&mut channels).is_empty());
}

#[test]
fn pieces_wait_for_room_and_are_not_cut_smaller() {
    let mut channels = channels(|_| {});
    let id = channels.open(Priority::Normal).unwrap();
    channels.write(id, data(12)).unwrap();
    assert_eq!(channels.poll(9), None);
    assert!(channels.poll(10).is_some());
    assert!(channels.poll(2).is_some());
    channels.announce(Bytes::from_static(b"word"));
    assert_eq!(channels.poll(3), None);
    assert!(channels.poll(4).is_some());
}

#[test]
fn a_channel_is_finished_after_what_waits_and_closed_at_once() {
    let mut channels = channels(|config| config.peer_window = 10);
    let (a, b) = (
        channels.open(Priority::Normal).unwrap(),
        channels.open(Priority::Normal).unwrap(),
    );
    channels.write(a, data(15)).unwrap();
    assert!(channels.finish(a, Bytes::from_static(b"closed 1")));
    assert!(!channels.finish(a, Bytes::new()), "once is enough");
    assert!(!channels.is_open(a));
    assert_eq!(channels.len(), 2, "it counts until it has said so");
    assert_eq!(channels.received(a, 5), Ok(false));
    assert!(matches!(
        channels.write(a, data(1)),
        Err(WriteError::NotOpen(_))
    ));
    assert_eq!(order(&mut channels), ["1:10"]);
    channels.granted(a, 10).unwrap();
    assert_eq!(order(&mut channels), ["1:5", "closed 1"]);
    channels.write(b, data(15)).unwrap();
    assert!(channels.close(b));
    assert!(!channels.close(b));
    assert!(order(&mut channels).is_empty());
    assert!(channels.is_empty());
    // Both may still be spoken of by a peer that does not know.
    for id in [a, b] {
        assert_eq!(channels.received(id, 1000), Ok(false));
        assert_eq!(channels.granted(id, 1000), Ok(()));
        channels.consumed(id, 1000);
    }
    assert_eq!(channels.poll_grant(), None);
}

#[test]
fn violations_say_what_is_wrong() {
    let mut channels = channels(|_| {});
    channels.opened(4, Priority::Normal).unwrap();
    let cases = [
        (
            channels.opened(4, Priority::Normal),
            "channel 4 is opened after channel 4; ids grow and are never used again",
        ),
        (
            channels.opened(3, Priority::Normal),
            "channel 3 is opened after channel 4; ids grow and are never used again",
        ),
        (
            channels.opened(0, Priority::Normal),
            "channel 0 is opened after channel 4; ids grow and are never used again",
        ),
        (
            channels.opened(1 << 53, Priority::Normal),
            "channel 9007199254740992 is opened; the highest id is 2^53 - 1",
        ),
        (channels.granted(5, 1), "channel 5 was never opened"),
        (channels.granted(0, 1), "channel 0 was never opened"),
        (
            channels.granted(4, MAX_NUMBER),
            "the credit of channel 4 is above 2^53 - 1",
        ),
        (
            channels.granted(4, u64::MAX),
            "the credit of channel 4 is above 2^53 - 1",
        ),
        (
            channels.received(5, 1).map(|_| ()),
            "channel 5 was never opened",
        ),
        (
            channels.received(4, 101).map(|_| ()),
            "101 bytes on channel 4, which has credit for 100",
        ),
    ];
    for (result, reason) in cases {
        assert_eq!(result.unwrap_err().to_string(), reason);
    }
    channels.opened(5, Priority::Normal).unwrap();
    channels.opened(9, Priority::Normal).unwrap();
    assert_eq!(
        channels.opened(10, Priority::Normal),
        Err(ChannelsError::TooMany(3))
    );
    assert_eq!(channels.open(Priority::Normal), Err(TooManyChannels));
    channels.close(5);
    assert_eq!(
        channels.opened(9, Priority::Normal),
        Err(ChannelsError::Reused { id: 9, last: 9 })
    );
    assert_eq!(channels.open(Priority::Normal), Ok(10));
}

#[test]
fn what_waits_is_bounded_and_comes_back() {
    let mut channels = channels(|config| config.buffer = 20);
    let id = channels.open(Priority::Normal).unwrap();
    assert_eq!((channels.room(id), channels.room(9)), (20, 0));
    channels.write(id, data(15)).unwrap();
    assert_eq!(channels.room(id), 5);
    let refused = channels.write(id, data(6)).unwrap_err();
    assert_eq!(format!("{refused:?}"), "Full(6 bytes)");
    assert_eq!(refused, WriteError::Full(data(6)));
    channels.write(id, data(5)).unwrap();
    assert_eq!(order(&mut channels), ["1:10", "1:5", "1:5"]);
    channels.write(id, data(50)).unwrap();
    assert_eq!(channels.room(id), 0);
}

#[test]
fn everything_that_waits_is_counted_until_it_leaves_or_is_dropped() {
    let mut channels = channels(|_| {});
    let [first, second] = [(); 2].map(|()| channels.open(Priority::Normal).unwrap());
    channels.announce("word".into());
    channels.write(first, data(10)).unwrap();
    channels.write(second, data(20)).unwrap();
    channels.finish(first, "end".into());
    channels.finish(second, "ending".into());
    assert_eq!(channels.waiting_bytes(), 4 + 10 + 20 + 3 + 6);
    channels.close(second);
    assert_eq!(channels.waiting_bytes(), 4 + 10 + 3);
    for left in [10 + 3, 3, 0] {
        assert!(channels.poll(usize::MAX).is_some());
        assert_eq!(channels.waiting_bytes(), left);
    }
    assert!(channels.is_empty() && channels.poll(usize::MAX).is_none());
}

#[test]
fn credit_comes_back_by_the_half_window_and_never_more_than_was_used() {
    let mut channels = channels(|_| {});
    let id = channels.open(Priority::Normal).unwrap();
    channels.consumed(id, 1000);
    assert_eq!(channels.poll_grant(), None);
    assert_eq!(channels.received(id, 80), Ok(true));
    channels.consumed(id, 49);
    assert_eq!(channels.poll_grant(), None);
    channels.consumed(id, 1);
    channels.consumed(id, 1000);
    assert_eq!(channels.poll_grant(), Some((id, 80)));
    assert_eq!(channels.poll_grant(), None);
    assert_eq!(channels.received(id, 100), Ok(true));
    assert!(channels.received(id, 1).is_err());
    channels.consumed(id, 60);
    channels.close(id);
    assert_eq!(channels.poll_grant(), None);
}

proptest! {
    /// Two ends and slow readers: every byte arrives in order on its channel, no credit is overdrawn, nothing starves.
    #[test]
    fn all_bytes_arrive_whatever_the_pace(
        steps in proptest::collection::vec((0_u64..3, 0_usize..30, 0_u8..4), 0..200),
        window in 1_u64..40,
    ) {
        let change = |config: &mut ChannelsConfig| {
            config.window = window;
            config.peer_window = window;
        };
        let (mut sender, mut receiver) = (channels(change), channels(change));
        for id in 1..=3 {
            let priority = [Priority::Low, Priority::Normal, Priority::Critical][id as usize - 1];
            prop_assert_eq!(sender.open(priority), Ok(id));
            prop_assert_eq!(receiver.opened(id, Priority::Normal), Ok(()));
        }
        let (mut written, mut arrived, mut unread) = ([0_u64; 3], [0_u64; 3], [0_usize; 3]);
        let calm = (0..3).cycle().take(1200).flat_map(|channel| [(channel, 0, 1), (channel, usize::MAX, 2), (channel, 0, 3)]);
        for (channel, length, what) in steps.into_iter().chain(calm) {
            let (id, index) = (channel + 1, channel as usize);
            match what {
                0 => {
                    let bytes: Bytes = (0..length).map(|n| (written[index] + n as u64) as u8).collect();
                    if sender.write(id, bytes).is_ok() {
                        written[index] += length as u64;
                    }
                }
                1 => if let Some(Body::Data { channel, payload }) = sender.poll(usize::MAX) {
                    prop_assert_eq!(receiver.received(channel, payload.len()), Ok(true));
                    let index = channel as usize - 1;
                    for byte in &payload {
                        prop_assert_eq!(*byte, arrived[index] as u8);
                        arrived[index] += 1;
                    }
                    unread[index] += payload.len();
                    prop_assert!(unread[index] as u64 <= window);
                },
                2 => {
                    let read = length.min(unread[index]);
                    unread[index] -= read;
                    receiver.consumed(id, read);
                }
                _ => if let Some((id, bytes)) = receiver.poll_grant() {
                    prop_assert_eq!(sender.granted(id, bytes), Ok(()));
                },
            }
            let waiting = written.iter().sum::<u64>() - arrived.iter().sum::<u64>();
            prop_assert_eq!(sender.waiting_bytes() as u64, waiting);
        }
        prop_assert_eq!(arrived, written);
    }
}
