//! What goes out behind the key, before the relay has answered it.

use super::*;

/// A client that a relay has granted the dialect before, without a link, and whose session has expired.
fn known(configure: impl FnOnce(&mut ClientConfig)) -> World {
    let mut world = World::new(configure);
    world.bench.send_mail();
    world.settle();
    world.bench.elapse("idle");
    world.settle();
    world.bench.now = world.bench.now.after(600 * SECOND);
    world.bench.events.clear();
    world.opened.clear();
    world.asked.clear();
    world.delivered.clear();
    world
}

#[test]
fn a_message_goes_out_with_the_key_where_the_relay_is_known() {
    let mut world = known(|_| {});
    world.bench.send_mail();
    let flight = world.first_flight();
    assert!(
        matches!(
            flight[..],
            [Frame::Text(_), Frame::Binary(_), Frame::Binary(_)]
        ),
        "{flight:?}"
    );
    assert_eq!(world.bench.state(), ConnectionState::Authenticating);
    world.settle();
    assert_eq!(world.asked, [Some(DurableRequest::New)]);
    assert_eq!(world.bench.outcomes(), [(2, Ok(()))]);
    assert!(matches!(world.opened[..], [(_, None)]));
}

#[test]
fn a_message_goes_out_with_the_key_in_a_session_that_goes_on() {
    let mut world = World::new(|_| {});
    world.bench.send_mail();
    world.settle();
    world.bench.elapse("idle");
    world.settle();
    world.bench.send_mail();
    let flight = world.first_flight();
    let data = |frame: &&Frame| matches!(frame, Frame::Binary(bytes) if bytes[0] == 2);
    assert_eq!(flight.iter().filter(data).count(), 1, "{flight:?}");
    world.settle();
    assert!(matches!(
        world.asked[..],
        [_, Some(DurableRequest::Resume { .. })]
    ));
    assert_eq!(world.bench.outcomes(), [(1, Ok(())), (2, Ok(()))]);
}

#[test]
fn nothing_goes_ahead_to_a_relay_that_has_granted_nothing_yet_or_long_ago() {
    let mut world = World::new(|_| {});
    world.bench.send_mail();
    assert!(matches!(world.first_flight()[..], [Frame::Text(_)]));
    let mut world = known(|_| {});
    world.bench.now = world.bench.now.after(24 * 3600 * SECOND);
    world.bench.send_mail();
    assert!(matches!(world.first_flight()[..], [Frame::Text(_)]));
}

#[test]
fn a_message_the_relay_took_although_its_answer_never_came_is_asked_for() {
    for takes in [true, false] {
        let mut world = known(|_| {});
        world.bench.send_mail();
        world.first_flight();
        world.is_mute = true;
        if takes {
            world.settle();
        }
        assert_eq!(world.delivered.len(), usize::from(takes));
        world.cut();
        world.is_mute = false;
        // The relay's ledger stands elsewhere by now; what counts is where it stood when the message went out.
        world.terms.ledger_mark = "mark-2".into();
        world.opened.clear();
        while world.bench.state() == ConnectionState::Reconnecting {
            world.bench.elapse("reconnect");
        }
        let flight = world.first_flight();
        assert!(matches!(flight[..], [Frame::Text(_)]), "not once more");
        world.settle();
        let [(_, Some(mark))] = &world.opened[..] else {
            panic!("{:?}", world.opened);
        };
        assert_eq!(mark, "mark-1");
        assert_eq!(world.bench.outcomes(), [(2, Ok(()))]);
        assert_eq!(world.delivered.len(), 1);
    }
}

#[test]
fn a_message_that_went_ahead_was_sent_under_the_grant_that_came() {
    let mut world = known(|_| {});
    (world.answers, world.terms.ledger_mark) = (false, "mark-2".into());
    world.bench.send_mail();
    world.settle();
    world.cut();
    (world.answers, world.forgets) = (true, true);
    world.opened.clear();
    world.reconnect();
    world.settle();
    let [(_, Some(mark))] = &world.opened[..] else {
        panic!("{:?}", world.opened);
    };
    assert_eq!(mark, "mark-2");
    assert_eq!(world.bench.outcomes(), [(2, Ok(()))]);
}

#[test]
fn a_relay_that_refuses_the_key_has_sent_nothing() {
    let mut world = known(|_| {});
    world.bench.send_mail();
    world.denial = Some(Denied {
        error: "not now".into(),
        retry_after: Some(SECOND),
        permanent: Some(false),
    });
    world.settle();
    assert!(world.delivered.is_empty());
    world.reconnect();
    world.settle();
    assert!(
        matches!(world.opened[..], [(_, None)]),
        "{:?}",
        world.opened
    );
    assert_eq!(world.bench.outcomes(), [(2, Ok(()))]);

    let mut world = known(|_| {});
    world.bench.send_mail();
    world.denial = Some(Denied::for_good("unknown key"));
    world.settle();
    assert!(matches!(
        world.bench.outcomes()[..],
        [(2, Err(Error::Authentication(_)))]
    ));
}

#[test]
fn a_relay_that_has_lost_the_dialect_has_sent_nothing() {
    let mut world = known(|config| config.in_doubt = InDoubtPolicy::Fail);
    world.bench.send_mail();
    (world.durable, world.far) = (false, None);
    world.settle();
    world.reconnect();
    assert!(!world.exchange(2));
    assert_eq!(world.bench.sent(), ["SMTP_CHANNEL_OPEN"]);
    assert_eq!(world.bench.outcomes(), []);
}

#[test]
fn no_more_goes_ahead_than_a_relay_takes() {
    for length in [10, 40 << 10] {
        let mut world = known(|config| config.max_channels = 60);
        for _ in 0..60 {
            world.bench.submit(mail(&"x".repeat(length)));
        }
        let flight = world.first_flight();
        let bytes: usize = flight[1..].iter().map(Frame::len).sum();
        assert!(flight.len() <= 65, "{}", flight.len());
        assert!((3000..=64 << 10).contains(&bytes), "{bytes}");
        world.settle();
        assert_eq!(world.bench.outcomes().len(), 60);
        assert_eq!(world.delivered.len(), 60);
    }
}

#[test]
fn a_relay_whose_terms_have_changed_is_dialled_again() {
    for (window, max_channels) in [(1000, 64), (512 << 10, 64), (256 << 10, 1)] {
        let mut world = known(|_| {});
        world.bench.send_mail();
        world.bench.send_mail();
        (world.terms.window, world.terms.max_channels) = (window, max_channels);
        world.settle();
        world.reconnect();
        world.settle();
        assert_eq!(world.bench.outcomes().len(), 2);
        assert_eq!(world.delivered.len(), 2, "{window} {max_channels}");
    }
}

#[test]
fn a_new_session_that_begins_anywhere_but_at_one_is_none() {
    for is_known in [true, false] {
        let mut world = if is_known {
            known(|_| {})
        } else {
            World::new(|_| {})
        };
        world.bench.send_mail();
        world.first_flight();
        let grant = wire::DurableGrant {
            receive_next: 7,
            ..world.terms.clone()
        };
        let durable = Some(grant);
        let limits = Limits::default();
        let granted = Granted { limits, durable };
        world
            .bench
            .says(&Message::AuthenticateResponse(Ok(granted)));
        let broken = |event: &Event| {
            matches!(
                event,
                Event::Disconnected {
                    error: Some(Error::Protocol(_))
                }
            )
        };
        assert!(world.has(broken), "{:?}", world.bench.events);
    }
}

#[test]
fn the_session_is_told_after_the_key_was_accepted() {
    let mut world = World::new(|_| {});
    world.answers = false;
    world.bench.send_mail();
    world.settle();
    world.cut();
    world.bench.events.clear();
    world.reconnect();
    world.settle();
    let told = |event: &Event| match event {
        Event::Authenticated { .. } => Some("authenticated"),
        Event::SessionResumed { .. } => Some("resumed"),
        _ => None,
    };
    let told: Vec<_> = world.bench.events.iter().filter_map(told).collect();
    assert_eq!(told, ["authenticated", "resumed"]);
}
