//! Links cut, sessions gone, processes killed: at every step of a message.

use super::*;

/// How many steps a message of several frames takes from rest to rest.
fn steps(world: impl Fn() -> World) -> usize {
    let mut world = world();
    (0..1000)
        .find(|_| world.exchange(1))
        .expect("it comes to rest")
}

fn with_three() -> World {
    let mut world = World::new(|_| {});
    world.bench.submit(mail(&"x".repeat(40 << 10)));
    world.bench.send_mail();
    world.bench.send_mail();
    world
}

#[test]
fn a_cut_at_any_step_delivers_each_message_once() {
    let most = steps(with_three);
    assert!(most > 15, "{most}");
    for at in 1..most {
        let mut world = with_three();
        world.exchange(at);
        world.cut();
        world.reconnect();
        world.settle();
        assert_eq!(world.delivered.len(), 3, "{at}");
        assert_eq!(world.bench.outcomes().len(), 3, "{at}");
        assert!(
            !world.has(|event| matches!(
                event,
                Event::InDoubt { .. } | Event::RetryScheduled { .. } | Event::SessionGone { .. }
            )),
            "{at}: {:?}",
            world.bench.events
        );
        assert!(
            world
                .bench
                .outcomes()
                .iter()
                .all(|(_, result)| result.is_ok())
        );
    }
}

#[test]
fn a_session_gone_at_any_step_delivers_each_message_once() {
    for at in 1..steps(with_three) {
        let mut world = with_three();
        world.exchange(at);
        world.cut();
        world.forgets = true;
        world.terms.ledger_mark = "mark-2".into();
        world.reconnect();
        world.settle();
        let mut delivered = world.delivered.clone();
        delivered.sort_unstable();
        delivered.dedup();
        assert_eq!((delivered.len(), world.delivered.len()), (3, 3), "{at}");
        assert_eq!(world.bench.outcomes().len(), 3, "{at}");
        assert!(
            world
                .bench
                .outcomes()
                .iter()
                .all(|(_, result)| result.is_ok())
        );
        assert!(!world.has(|event| matches!(event, Event::InDoubt { .. })));
        let marks = world.opened.iter().filter_map(|(_, mark)| mark.as_deref());
        assert!(marks.into_iter().all(|mark| mark == "mark-1"), "the first");
    }
}

#[test]
fn the_ledger_tells_what_became_of_a_message_whose_session_is_gone() {
    let mut world = World::new(|_| {});
    world.answers = false;
    world.bench.send_mail();
    world.settle();
    world.cut();
    world.forgets = true;
    world.reconnect();
    world.settle();
    assert!(world.has(|event| matches!(event, Event::SessionGone { under_way: 1, reason: Some(reason) } if reason == "forgotten")));
    let (first, second) = (world.opened[0].clone(), world.opened[1].clone());
    assert_eq!(second, (first.0, Some("mark-1".into())));
    let Some(Event::Processed { receipt, .. }) =
        (world.bench.events.iter()).find(|event| event.outcome().is_some())
    else {
        panic!("{:?}", world.bench.events);
    };
    assert_eq!(receipt.accepted.len(), 1);
    assert!(!receipt.sent_again);
    assert_eq!(world.delivered.len(), 1);
}

#[test]
fn what_was_sent_whole_is_not_handed_back_while_nobody_knows_what_became_of_it() {
    let mut world = World::new(|config| {
        config.heartbeat = Duration::MAX;
        config.idle = None;
    });
    world.terms.heartbeat = Duration::from_secs(10_000);
    world.answers = false;
    let id = world.bench.send_mail();
    world.settle();
    world.bench.elapse("outcome");
    assert!(world.has(|event| matches!(event, Event::RetryScheduled { .. })));
    assert_eq!(world.bench.client().queue_size(), 1);
    let now = world.bench.now;
    let cancel = |client: &mut Client, now| client.cancel(now, id);
    assert_eq!(world.bench.pump.command(now, cancel), None);
    world.answers = true;
    world.bench.elapse("retry");
    world.settle();
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
    assert_eq!(world.delivered.len(), 1);
}

#[test]
fn a_ledger_that_does_not_reach_back_leaves_it_in_doubt_and_the_policy_decides() {
    for policy in [InDoubtPolicy::SendAgain(1), InDoubtPolicy::Fail] {
        let mut world = World::new(|config| config.in_doubt = policy);
        world.answers = false;
        world.bench.send_mail();
        world.settle();
        world.cut();
        (world.forgets, world.covers, world.answers) = (true, false, true);
        world.ledger.clear();
        world.reconnect();
        world.settle();
        let again = policy == InDoubtPolicy::SendAgain(1);
        assert!(world.has(|event| matches!(event, Event::InDoubt { sending_again, error: Error::NotKnown, .. } if *sending_again == again)));
        if again {
            assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
            let [(first, None), (asked, Some(_)), (anew, None)] = &world.opened[..] else {
                panic!("{:?}", world.opened);
            };
            assert_eq!(first, asked);
            assert_ne!(first, anew, "it is another delivery");
        } else {
            assert!(matches!(
                world.bench.outcomes()[..],
                [(1, Err(Error::InDoubt(_)))]
            ));
        }
    }
}

#[test]
fn a_relay_that_has_lost_the_dialect_leaves_in_doubt_only_what_was_sent_whole() {
    let mut world = World::new(|config| config.in_doubt = InDoubtPolicy::Fail);
    (world.answers, world.reads) = (false, false);
    world.bench.send_mail();
    world.bench.submit(mail(&"x".repeat(400 << 10)));
    world.settle();
    world.cut();
    world.durable = false;
    // On the first link something went ahead of the relay's answer, so that it takes another one.
    world.reconnect();
    world.settle();
    world.reconnect();
    assert!(!world.exchange(2));
    assert!(matches!(
        world.bench.outcomes()[..],
        [(1, Err(Error::InDoubt(_)))]
    ));
    assert_eq!(world.bench.sent(), ["SMTP_CHANNEL_OPEN"]);
}

#[test]
fn attempts_used_up_fail_all_and_what_was_sent_whole_is_in_doubt() {
    let mut world = World::new(|config| {
        config.reconnect = BackoffPolicy::new(SECOND, SECOND, Some(0));
        config.max_channels = 1;
    });
    world.answers = false;
    world.bench.send_mail();
    world.bench.send_mail();
    world.settle();
    world.cut();
    assert!(matches!(
        world.bench.outcomes()[..],
        [(1, Err(Error::InDoubt(_))), (2, Err(Error::Connection(_)))]
    ));
    assert_eq!(world.bench.state(), ConnectionState::Failed);
}

#[test]
fn patience_with_messages_rests_without_a_link() {
    let mut world = World::new(|config| {
        config.timeouts.message = 5 * SECOND;
        config.timeouts.outcome = 5 * SECOND;
        config.reconnect = BackoffPolicy::new(SECOND, SECOND, None);
    });
    world.answers = false;
    world.bench.send_mail();
    world.settle();
    world.cut();
    for _ in 0..20 {
        world.bench.elapse("reconnect");
        let link = world.bench.link();
        let why = OpenError::Abandoned;
        world.bench.input(Input::OpenFailed { link, why });
    }
    world.bench.actions.clear();
    world.reconnect();
    world.settle();
    world.say(1, "250 ok");
    world.settle();
    assert_eq!(world.bench.outcomes(), [(1, Ok(()))]);
}

#[test]
fn a_message_at_which_every_link_breaks_does_not_hold_up_the_others_for_ever() {
    for max_channels in [1, 16] {
        let mut world = World::new(|config| config.max_channels = max_channels);
        world.breaks_at = Some("poison");
        world.bench.submit(mail("poison"));
        for _ in 0..5 {
            world.bench.send_mail();
        }
        for _ in 0..1000 {
            if world.bench.outcomes().len() == 6 {
                break;
            }
            world.reconnect();
            world.settle();
            if let Some(due) = world.bench.run() {
                world.bench.now = due.at;
                world.bench.run();
            }
        }
        assert_eq!(world.delivered.len(), 5);
        for (id, result) in world.bench.outcomes() {
            // All of it was sent, again and again, so nobody knows.
            let failed = matches!(result, Err(Error::InDoubt(_)));
            assert_eq!(failed, id == 1, "{id} of {max_channels}: {result:?}");
        }
        let links = world.asked.len();
        assert!((4..20).contains(&links), "{links}");
    }
}

#[test]
fn a_session_goes_on_behind_every_cut_and_not_only_the_first() {
    let mut world = World::new(|_| {});
    world.bench.submit(mail(&"x".repeat(8 << 20)));
    let mut cuts = 0;
    while !world.exchange(12) {
        world.cut();
        world.reconnect();
        cuts += 1;
    }
    assert!(cuts > 20, "{cuts}");
    assert_eq!(world.delivered.len(), 1);
    assert_eq!(world.opened.len(), 1, "on its first channel");
    assert!(matches!(world.bench.outcomes()[..], [(1, Ok(_))]));
}

#[test]
fn what_waited_through_hundreds_of_attempts_goes_out_once() {
    let mut world = World::new(|config| {
        config.reconnect = BackoffPolicy::new(SECOND, SECOND, None);
    });
    world.bench.send_mail();
    world.bench.send_mail();
    for _ in 0..500 {
        let link = world.bench.link();
        let why = OpenError::Unreachable {
            endpoint: "ws://relay.example".into(),
            detail: "connection refused".into(),
        };
        world.bench.actions.clear();
        world.bench.input(Input::OpenFailed { link, why });
        world.reconnect();
    }
    assert_eq!((world.asked.len(), world.opened.len()), (0, 0));
    world.settle();
    assert_eq!(world.opened.len(), 2);
    assert_eq!(world.delivered.len(), 2);
    assert!(matches!(
        world.bench.outcomes()[..],
        [(1, Ok(_)), (2, Ok(_))]
    ));
}

/// Messages of all sizes, cuts at any time, sessions forgotten: each message is delivered once, and said to be.
#[test]
fn whatever_happens_to_links_and_sessions_each_message_is_delivered_once() {
    for seed in 0..60 {
        let mut random = Random::new([seed; 32]);
        let mut below = move |limit: u64| random.next_u64() % limit;
        let mut world = World::new(|config| {
            config.reconnect = BackoffPolicy::new(SECOND, SECOND, None);
            config.retry = BackoffPolicy::new(SECOND, SECOND, None);
            config.max_channels = 1 + usize::from(seed) % 4;
        });
        world.terms.window = 1 + below(100_000);
        let mut submitted = 0;
        for _ in 0..100 {
            match below(8) {
                0 | 1 => {
                    let size = below(3) * below(60_000);
                    world.bench.submit(mail(&"x".repeat(size as usize)));
                    submitted += 1;
                }
                2 => {
                    world.forgets = below(4) == 0;
                    world.terms.ledger_mark = format!("mark-{}", below(1000));
                    if world.bench.state().is_authenticated() {
                        world.cut();
                    }
                }
                3 => world.reconnect(),
                _ => {
                    world.exchange(below(40) as usize);
                }
            }
        }
        world.reads = true;
        for _ in 0..1000 {
            world.reconnect();
            world.settle();
            if world.bench.outcomes().len() == submitted {
                break;
            }
            if let Some(due) = world.bench.run() {
                world.bench.now = due.at;
                world.bench.run();
            }
        }
        let outcomes = world.bench.outcomes();
        assert_eq!(outcomes.len(), submitted, "{seed}");
        assert!(outcomes.iter().all(|(_, result)| result.is_ok()), "{seed}");
        let mut delivered = world.delivered.clone();
        delivered.sort_unstable();
        delivered.dedup();
        assert_eq!(delivered.len(), world.delivered.len(), "{seed}");
        assert_eq!(delivered.len(), submitted, "{seed}");
        assert!(!world.has(|event| matches!(event, Event::InDoubt { .. })));
    }
}
