//! How messages end in a session, and how sessions do.

use super::*;
use crate::{mail::Outcome, smtp::Code};

fn busy(code: Option<u16>, retry_after: Option<Duration>) -> ChannelError {
    ChannelError {
        error: "not now".into(),
        code,
        retry_after,
    }
}

/// A message whose end of data is sent and not answered.
fn sent_whole() -> World {
    let mut world = World::new(|_| {});
    world.answers = false;
    world.bench.send_mail();
    world.settle();
    world
}

#[test]
fn the_ledgers_answer_names_who_was_refused() {
    let mut world = sent_whole();
    let refused = "bob@example.net".parse::<crate::smtp::Address>().unwrap();
    let reply = |text: &str| crate::smtp::reply(text[..3].parse().unwrap(), "2.0.0", &text[4..]);
    world.close(
        1,
        Some(Outcome::Answered {
            reply: reply("250 queued"),
            rejected: vec![(refused.clone().into(), reply("550 nobody"))],
        }),
    );
    world.settle();
    let Some(Event::Processed { receipt, .. }) =
        (world.bench.events.iter()).find(|event| event.outcome().is_some())
    else {
        panic!("{:?}", world.bench.events);
    };
    assert_eq!(receipt.rejected[0].0, refused.into());
    assert_eq!((receipt.accepted.len(), receipt.rejected.len()), (0, 1));
}

#[test]
fn a_refusal_from_the_ledger_is_a_refusal() {
    let mut world = sent_whole();
    world.close(1, Some(world::answered("554 no")));
    world.settle();
    let [(1, Err(Error::Message(error)))] = &world.bench.outcomes()[..] else {
        panic!("{:?}", world.bench.events);
    };
    assert_eq!(error.reply().map(|reply| reply.code()), Code::new(554));
}

#[test]
fn a_transient_refusal_is_tried_again_as_another_delivery() {
    let mut world = World::new(|config| config.idle = None);
    world.final_reply = "451 4.3.0 later";
    world.bench.send_mail();
    world.settle();
    world.final_reply = "250 2.0.0 queued";
    world.bench.elapse("retry");
    world.settle();
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
    let [(first, None), (second, None)] = &world.opened[..] else {
        panic!("{:?}", world.opened);
    };
    assert_ne!(first, second, "the ledger knows how the first one ended");
}

#[test]
fn in_doubt_is_what_the_relay_says_it_is() {
    let mut world = sent_whole();
    world.answers = true;
    world.close(1, Some(Outcome::InDoubt));
    world.settle();
    assert!(world.has(|event| matches!(
        event,
        Event::InDoubt {
            sending_again: true,
            error: Error::NotKnown,
            ..
        }
    )));
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
    assert_ne!(world.opened[0].0, world.opened[1].0);
}

#[test]
fn a_channel_closed_or_broken_without_an_outcome_is_asked_for_again() {
    for word in [
        Word::Closed {
            channel: 1,
            reason: None,
            outcome: None,
        },
        Word::Error {
            channel: 1,
            error: busy(None, None),
        },
    ] {
        let mut world = sent_whole();
        world.word(&word);
        world.settle();
        assert_eq!(world.bench.outcomes(), []);
        assert_eq!(world.bench.state(), ConnectionState::Authenticated);
        world.bench.elapse("retry");
        world.settle();
        assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
        assert_eq!(world.delivered.len(), 1);
        assert_eq!(world.opened[1], (world.opened[0].0, Some("mark-1".into())));
    }
}

#[test]
fn a_channel_refused_before_it_was_ready_has_sent_nothing() {
    let mut world = World::new(|config| {
        config.in_doubt = InDoubtPolicy::Fail;
        config.retry = BackoffPolicy::new(SECOND, SECOND, Some(1));
    });
    world.bench.send_mail();
    assert!(!world.exchange(2));
    world.bench.actions.clear();
    world.word(&Word::Error {
        channel: 1,
        error: busy(Some(421), Some(3 * SECOND)),
    });
    assert!(!world.exchange(1));
    let Some(Event::RetryScheduled { at, .. }) =
        (world.bench.events.iter()).find(|event| matches!(event, Event::RetryScheduled { .. }))
    else {
        panic!("{:?}", world.bench.events);
    };
    assert!(at.since(world.bench.now) >= 3 * SECOND);
    assert_eq!(world.bench.state(), ConnectionState::Authenticated);
    assert!(world.has(|event| matches!(
        event,
        Event::StateChanged {
            to: ConnectionState::ChannelError,
            ..
        }
    )));

    let mut world = World::new(|_| {});
    world.bench.send_mail();
    assert!(!world.exchange(2));
    world.word(&Word::Error {
        channel: 1,
        error: busy(Some(554), None),
    });
    world.bench.actions.clear();
    assert!(!world.exchange(1));
    assert!(matches!(
        world.bench.outcomes()[..],
        [(1, Err(Error::Channel(_)))]
    ));
}

#[test]
fn an_error_with_a_code_is_an_answer() {
    let mut world = sent_whole();
    world.word(&Word::Error {
        channel: 1,
        error: busy(Some(554), None),
    });
    world.settle();
    assert!(matches!(
        world.bench.outcomes()[..],
        [(1, Err(Error::Channel(_)))]
    ));
}

#[test]
fn a_large_message_on_a_slow_link_has_time_as_long_as_it_goes_on() {
    let mut world = World::new(|config| config.heartbeat = Duration::MAX);
    world.bench.submit(mail(&"x".repeat(1 << 20)));
    while !world.exchange(1) {
        world.bench.now = world.bench.now.after(5 * SECOND);
        world.bench.run();
    }
    assert!(world.bench.now > Time::ZERO.after(300 * SECOND));
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
}

#[test]
fn a_message_that_cannot_be_sent_whole_in_time_is_tried_again() {
    let mut world = World::new(|config| config.heartbeat = Duration::MAX);
    world.terms.heartbeat = Duration::from_secs(1000);
    world.reads = false;
    world.bench.submit(mail(&"x".repeat(400 << 10)));
    world.settle();
    world.bench.elapse("message");
    world.settle();
    assert_eq!(world.closed, 1);
    assert!(world.has(|event| matches!(
        event,
        Event::RetryScheduled {
            error: Error::Timeout(Timeout::Message),
            ..
        }
    )));
}

#[test]
fn an_answer_that_does_not_come_in_time_is_asked_for_and_then_in_doubt() {
    let mut world = World::new(|config| {
        config.heartbeat = Duration::MAX;
        config.retry = BackoffPolicy::new(SECOND, SECOND, Some(1));
        config.idle = None;
    });
    world.terms.heartbeat = Duration::from_secs(10_000);
    world.answers = false;
    world.bench.send_mail();
    world.settle();
    world.bench.elapse("outcome");
    assert_eq!(world.bench.now, Time::ZERO.after(600 * SECOND));
    world.settle();
    // The relay has forgotten it and takes it afresh, and does not answer again.
    world.ledger.clear();
    world.bench.elapse("retry");
    world.settle();
    world.bench.elapse("outcome");
    let [(1, Err(Error::InDoubt(why)))] = &world.bench.outcomes()[..] else {
        panic!("{:?}", world.bench.events);
    };
    assert_eq!(**why, Error::Timeout(Timeout::Outcome));
}

#[test]
fn a_draining_relay_gets_nothing_new_is_left_and_sought_again() {
    let mut world = sent_whole();
    world.word(&Word::Draining {
        deadline: 60 * SECOND,
        spread: Some(20 * SECOND),
    });
    world.settle();
    world.bench.send_mail();
    world.settle();
    assert_eq!(
        (world.opened.len(), world.bench.client().queue_size()),
        (1, 1)
    );
    world.say(1, "250 ok");
    world.answers = true;
    world.settle();
    assert_eq!(world.bench.state(), ConnectionState::Reconnecting);
    let Some(Event::Reconnecting { at, .. }) =
        (world.bench.events.iter()).find(|event| matches!(event, Event::Reconnecting { .. }))
    else {
        panic!("{:?}", world.bench.events);
    };
    assert!(at.since(world.bench.now) <= 21 * SECOND);
    world.reconnect();
    world.settle();
    assert_eq!(world.asked[1], Some(DurableRequest::New));
    assert_eq!(world.bench.outcomes(), [(1, Ok(())), (2, Ok(()))]);
}

#[test]
fn a_draining_relay_that_cuts_the_link_is_sought_again_when_it_says_and_asked_what_became() {
    let mut world = sent_whole();
    world.word(&Word::Draining {
        deadline: 60 * SECOND,
        spread: Some(3600 * SECOND),
    });
    world.settle();
    world.cut();
    let at = |world: &World| {
        let mut events = world.bench.events.iter().rev();
        events.find_map(|event| match event {
            Event::Reconnecting { at, .. } => Some(at.since(world.bench.now)),
            _ => None,
        })
    };
    assert!(at(&world).is_some_and(|wait| wait > 2 * SECOND));
    world.bench.elapse("reconnect");
    world.cut();
    assert!(
        at(&world).is_some_and(|wait| wait <= 2 * SECOND),
        "only once"
    );
    world.forgets = true;
    world.reconnect();
    world.settle();
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
    assert_eq!(world.delivered.len(), 1);
}

#[test]
fn shutting_down_finishes_what_is_under_way() {
    let mut world = sent_whole();
    world.bench.pump.command(world.bench.now, |client, now| {
        client.shutdown(now, 60 * SECOND);
    });
    world.settle();
    assert!(!world.bench.client().is_finished());
    world.say(1, "250 ok");
    world.settle();
    assert!(world.bench.client().is_finished());
    assert_eq!(world.closed, 1, "the last word is said");
    assert_eq!(
        world.bench.events.last(),
        Some(&Event::Terminated { left: vec![] })
    );
}

#[test]
fn stopping_hands_back_what_is_under_way_and_says_what_may_be_delivered() {
    let mut world = sent_whole();
    world.reads = false;
    world.bench.submit(mail(&"x".repeat(400 << 10)));
    world.settle();
    world.bench.pump.command(world.bench.now, Client::stop);
    world.bench.run();
    let Some(Event::Terminated { left }) = world.bench.events.last() else {
        panic!("{:?}", world.bench.events);
    };
    let left: Vec<_> = left.iter().map(|left| (left.id.0, left.in_doubt)).collect();
    assert_eq!(left, [(1, true), (2, false)]);
}
