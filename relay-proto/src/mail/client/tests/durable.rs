//! The durable dialect: many messages under way, and links that break.

use super::*;

mod ahead;
mod endings;
mod losses;
mod pacing;
mod restored;
mod states;
mod world;

use crate::mail::wire::{DurableRequest, Word};
use world::World;

#[test]
fn a_message_goes_out_in_one_flight_without_waiting_for_anything() {
    let mut world = World::new(|_| {});
    world.answers = false;
    world.bench.send_mail();
    // Open, AUTHENTICATE, and in one go what opens the channel and the whole message.
    assert!(!world.exchange(2));
    assert_eq!(world.bench.state(), ConnectionState::ChannelOpening);
    assert!(!world.exchange(2));
    assert_eq!(world.delivered.len(), 1, "nothing was answered yet");
    world.settle();
    assert_eq!(world.bench.state(), ConnectionState::ChannelReady);
    assert_eq!(world.bench.outcomes(), []);
    world.say(1, "250 2.0.0 queued as 42");
    world.settle();
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
    assert_eq!(world.closed, 1, "the client closes its channel");
    assert_eq!(world.bench.state(), ConnectionState::Authenticated);
    let Some(Event::Queued { delivery, .. }) =
        (world.bench.events.iter()).find(|event| matches!(event, Event::Queued { .. }))
    else {
        panic!("{:?}", world.bench.events);
    };
    assert_eq!(world.opened, [(*delivery, None)]);
    world.bench.elapse("idle");
    assert_eq!(world.bench.state(), ConnectionState::Disconnected);
    assert_eq!(world.bench.run(), None);
}

#[test]
fn as_many_are_under_way_as_both_sides_want() {
    for (ours, theirs, expected) in [(16, 64, 16), (16, 3, 3), (0, 64, 1)] {
        let mut world = World::new(|config| config.max_channels = ours);
        world.terms.max_channels = theirs;
        world.answers = false;
        for _ in 0..20 {
            world.bench.send_mail();
        }
        world.settle();
        assert_eq!(world.delivered.len(), expected);
        assert_eq!(world.bench.client().queue_size(), 20 - expected);
        for channel in 1..=20 {
            world.say(channel, "250 ok");
            world.settle();
        }
        assert_eq!(world.bench.outcomes().len(), 20);
        assert_eq!(world.delivered.len(), 20);
    }
}

#[test]
fn the_queue_leaves_by_priority_and_what_is_urgent_overtakes_content_under_way() {
    let mut world = World::new(|config| config.max_channels = 2);
    let bulk = mail(&"x".repeat(200 << 10)).with_priority(Priority::Low);
    world.bench.submit(bulk);
    assert!(!world.exchange(4), "some of it is on its way");
    let urgent = world
        .bench
        .submit(mail("now").with_priority(Priority::Critical));
    world.settle();
    let order: Vec<u64> = world.bench.outcomes().iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [urgent.0, 1]);

    let mut world = World::new(|config| config.max_channels = 1);
    for priority in [Priority::Low, Priority::Normal, Priority::Critical] {
        world.bench.submit(mail("x").with_priority(priority));
    }
    world.settle();
    let order: Vec<u64> = world.bench.outcomes().iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [3, 2, 1]);
}

#[test]
fn a_channel_without_credit_waits_and_holds_up_no_other() {
    let mut world = World::new(|_| {});
    world.reads = false;
    world.bench.submit(mail(&"x".repeat(300 << 10)));
    world.settle();
    assert_eq!(world.delivered.len(), 0);
    world.bench.send_mail();
    world.settle();
    assert_eq!(world.bench.outcomes(), [(2, Ok(()))]);
    world.reads = true;
    let far = world.far.as_mut().unwrap();
    far.channels.consumed(1, 256 << 10);
    world.settle();
    assert_eq!(world.bench.outcomes(), [(2, Ok(())), (1, Ok(()))]);
}

#[test]
fn credit_is_given_back_for_what_a_server_says() {
    let mut world = World::new(|_| {});
    world.terms.window = 1000;
    world.answers = false;
    world.bench.send_mail();
    world.settle();
    // A reply of many lines, longer than the window.
    for _ in 0..100 {
        world.say(1, "250-2.0.0 it goes on and on and on");
        world.settle();
    }
    world.say(1, "250 2.0.0 queued");
    world.settle();
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
}

#[test]
fn a_relay_that_reads_nothing_is_not_given_a_large_message_twice_in_memory() {
    let mut world = World::new(|_| {});
    world.terms.window = 1 << 30;
    world.bench.submit(mail(&"x".repeat(4 << 20)));
    assert!(!world.exchange(2));
    world.bench.run();
    let bytes = |action: &Action| match action {
        Action::Send { frame, .. } => frame.len(),
        _ => 0,
    };
    let handed_out: usize = world.bench.actions.iter().map(bytes).sum();
    assert!((128 << 10..256 << 10).contains(&handed_out), "{handed_out}");
    world.settle();
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
}

#[test]
fn what_the_relay_cannot_carry_fails_without_being_sent() {
    let mut world = World::new(|_| {});
    world.terms.capabilities.size = Some(crate::smtp::Size::Limit(10));
    world.bench.send_mail();
    world.settle();
    let [(1, Err(Error::Message(error)))] = &world.bench.outcomes()[..] else {
        panic!("{:?}", world.bench.events);
    };
    assert!(matches!(
        error,
        crate::smtp::DialogueError::TooLarge { limit: 10, .. }
    ));
    let mut world = World::new(|_| {});
    world.bench.submit(mail("\u{e9}"));
    world.settle();
    assert!(matches!(
        world.bench.outcomes()[..],
        [(
            1,
            Err(Error::Message(crate::smtp::DialogueError::Unsupported {
                extension: "8BITMIME",
                ..
            }))
        )]
    ));
    assert_eq!(world.opened, []);
    world.bench.elapse("idle");
}

#[test]
fn a_script_runs_behind_ehlo() {
    let mut world = World::new(|_| {});
    let script = crate::smtp::Script::parse(b"NOOP\nVRFY bob\n").unwrap();
    world.bench.submit(Submission::script(script));
    world.settle();
    let Some(Event::Processed { receipt, .. }) =
        (world.bench.events.iter()).find(|event| event.outcome().is_some())
    else {
        panic!("{:?}", world.bench.events);
    };
    let lines: Vec<_> = receipt
        .transcript
        .iter()
        .map(|said| &said.line[..])
        .collect();
    assert_eq!(lines, [&b"NOOP"[..], b"VRFY bob"]);
}

#[test]
fn a_relay_without_the_dialect_is_spoken_to_in_the_base_one() {
    let mut bench = Bench::new(|_| {});
    bench.send_mail();
    bench.authenticate();
    bench.until_end_of_data();
    bench.server_says("250 ok");
    assert_eq!(bench.outcomes(), [(1, Ok(()))]);

    // Who does not want it does not ask, and takes no grant.
    let mut world = World::new(|config| config.durable = false);
    world.bench.send_mail();
    assert!(!world.exchange(2));
    assert_eq!(world.asked, [None]);
    assert_eq!(world.bench.sent(), ["SMTP_CHANNEL_OPEN"]);
}

#[test]
fn an_idle_client_leaves_its_link_and_comes_back_to_its_session_while_it_lives() {
    let mut world = World::new(|_| {});
    for _ in 0..2 {
        world.bench.send_mail();
        world.settle();
        world.bench.elapse("idle");
        world.settle();
    }
    assert!(matches!(
        world.asked[..],
        [
            Some(DurableRequest::New),
            Some(DurableRequest::Resume { .. })
        ]
    ));
    world.bench.now = world.bench.now.after(120 * SECOND);
    world.bench.send_mail();
    world.settle();
    assert_eq!(world.asked[2], Some(DurableRequest::New));
    assert_eq!(world.bench.outcomes().len(), 3);
    assert!(!world.has(|event| matches!(event, Event::SessionGone { .. })));
}

#[test]
fn a_client_with_nothing_to_say_shows_life() {
    let mut world = World::new(|config| config.idle = None);
    world.terms.heartbeat = 10 * SECOND;
    world.bench.send_mail();
    world.settle();
    for _ in 0..2 {
        world.bench.elapse("beat");
        let sent = world.bench.sent();
        assert!(
            matches!(&sent[..], [beat] if beat.starts_with("Binary")),
            "{sent:?}"
        );
    }
}

#[test]
fn a_relay_that_breaks_the_protocol_loses_the_session() {
    let garbage = [
        Frame::Text(Bytes::from_static(b"{\"type\":\"SMTP_CHANNEL_READY\"}")),
        Frame::Binary(Bytes::new()),
        Frame::Binary(Bytes::from_static(&[0, 100])),
        Frame::Binary(Bytes::from_static(&[1, 9, 0])),
        Frame::Binary(Bytes::from_static(&[2, 1, 0, 77, b'x'])),
        Frame::Binary(Bytes::from_static(b"\x01\x01\x00{}")),
    ];
    for frame in garbage {
        let mut world = World::new(|_| {});
        world.bench.send_mail();
        assert!(!world.exchange(2));
        let link = world.bench.link();
        world.bench.input(Input::Frame { link, frame });
        assert_eq!(world.bench.sent().last().unwrap(), "close 1002");
        assert_eq!(world.bench.state(), ConnectionState::Reconnecting);
        assert_eq!(world.bench.client().queue_size(), 1);
        world.reconnect();
        world.settle();
        assert_eq!(world.asked.last(), Some(&Some(DurableRequest::New)));
        assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
    }
}

#[test]
fn a_grant_that_cannot_be_true_is_a_broken_protocol() {
    for break_it in [
        (|terms| terms.capabilities.chunking = false) as fn(&mut wire::DurableGrant),
        |terms| terms.capabilities.pipelining = false,
    ] {
        let mut world = World::new(|_| {});
        break_it(&mut world.terms);
        world.bench.send_mail();
        world.settle();
        assert!(world.has(|event| matches!(
            event,
            Event::Disconnected {
                error: Some(Error::Protocol(_))
            }
        )));
        assert_eq!(world.bench.state(), ConnectionState::Reconnecting);
    }
}
