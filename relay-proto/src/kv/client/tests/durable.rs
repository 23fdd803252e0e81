//! Calls that survive their links.

use super::*;

fn connected(credential: Credential, configure: impl FnOnce(&mut ClientConfig)) -> Bench {
    let mut bench = Bench::new(credential, configure);
    bench.command(|client, now| client.connect(now));
    bench.opened_durable();
    bench.sent();
    bench.events.clear();
    bench
}

fn patient() -> Bench {
    connected(key(), |config| config.timeouts.call = 600 * SECOND)
}

#[test]
fn a_call_survives_a_cut_and_is_sent_once_where_it_had_arrived() {
    let mut bench = patient();
    let id = bench.call(Call::increment("n", 1));
    assert_eq!(bench.made(), [2]);
    bench.cut();
    bench.elapse("reconnect");
    bench.resumed();
    let connected = Event::Connected {
        durable: true,
        resumed: true,
    };
    assert!(bench.events.contains(&connected));
    assert!(bench.made().is_empty(), "the service has it");
    bench.answers(2, r#","newValue":1"#);
    assert_eq!(bench.ended(), [(id, Ok(Answer::Number(1)))]);
}

#[test]
fn a_call_survives_a_cut_and_is_sent_again_where_it_had_not_arrived() {
    let mut bench = patient();
    let id = bench.call(Call::increment("n", 1));
    bench.actions.clear();
    bench.cut();
    bench.elapse("reconnect");
    bench.resumed();
    assert_eq!(bench.made(), [2], "in the session, under its number");
    bench.answers(2, r#","newValue":1"#);
    assert_eq!(bench.ended(), [(id, Ok(Answer::Number(1)))]);
}

#[test]
fn an_answer_that_was_on_the_way_comes_on_the_next_link_once() {
    let mut bench = patient();
    let id = bench.call(Call::increment("n", 1));
    assert_eq!(bench.made(), [2]);
    let far = bench.far.as_mut().unwrap();
    let answer = br#"{"code":200,"messageId":2,"newValue":1}"#;
    far.send(Body::Control(answer)).unwrap();
    assert!(far.poll_frame().is_some(), "and is lost");
    bench.cut();
    bench.elapse("reconnect");
    bench.resumed();
    assert_eq!(bench.ended(), [(id, Ok(Answer::Number(1)))]);
    assert_eq!(bench.statistics().ignored, 0);
}

#[test]
fn a_session_that_is_gone_costs_one_repetition_under_the_same_numbers() {
    let mut bench = patient();
    let ids: Vec<_> = (0..3)
        .map(|_| bench.call(Call::increment("n", 1)))
        .collect();
    assert_eq!(bench.made(), [2, 3, 4]);
    bench.answers(3, r#","newValue":2"#);
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (number, hello) = bench.hello();
    assert!(hello.resume.is_some());
    (bench.terms.session, bench.terms.known) = (2, true);
    bench.grants(number, true);
    assert_eq!(
        bench.sent(),
        [
            r#"~{"op":6,"key":"n","value":1,"messageId":2,"settled":1}"#,
            r#"~{"op":6,"key":"n","value":1,"messageId":4,"settled":1}"#
        ]
    );
    bench.answers(2, r#","newValue":1"#);
    bench.answers(4, r#","newValue":3"#);
    assert_eq!(
        bench.ended(),
        [
            (ids[1], Ok(Answer::Number(2))),
            (ids[0], Ok(Answer::Number(1))),
            (ids[2], Ok(Answer::Number(3)))
        ]
    );
}

#[test]
fn a_service_that_has_forgotten_the_client_leaves_changes_in_doubt_and_is_asked_the_reads_again() {
    let mut bench = patient();
    let (change, read) = (bench.call(Call::set("k", "v")), bench.call(Call::get("k")));
    assert_eq!(bench.made(), [2, 3]);
    bench.cut();
    let unsent = bench.call(Call::increment("n", 1));
    bench.elapse("reconnect");
    bench.opened();
    let (number, _) = bench.hello();
    bench.terms.session = 2;
    bench.grants(number, true);
    let in_doubt = CallError::InDoubt(Box::new(CallError::Forgotten));
    assert_eq!(bench.ended(), [(change, Err(in_doubt))]);
    assert_eq!(bench.made(), [3, 5]);
    bench.answers(3, r#","key":"k","value":"v""#);
    bench.answers(5, r#","newValue":1"#);
    let ended: Vec<_> = bench.ended().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ended, [read, unsent]);
}

#[test]
fn the_service_is_told_which_calls_need_no_answer_any_more() {
    let mut bench = patient();
    for _ in 0..3 {
        bench.call(Call::get("k").timeout(5 * SECOND));
    }
    bench.made();
    bench.fails(3, 404);
    let settled = |bench: &mut Bench| {
        bench.call(Call::get("x"));
        let sent = bench.sent().pop().unwrap();
        sent.split_once(r#""settled":"#)
            .map(|(_, number)| number.trim_end_matches('}').to_owned())
    };
    assert_eq!(settled(&mut bench).as_deref(), Some("1"));
    bench.fails(2, 404);
    assert_eq!(settled(&mut bench).as_deref(), Some("3"));
    // The fourth is waited for no longer.
    bench.elapse("answer");
    assert_eq!(settled(&mut bench).as_deref(), Some("4"));
}

#[test]
fn no_more_is_under_way_than_the_service_grants_also_after_its_session_is_gone() {
    let mut bench = patient();
    for _ in 0..6 {
        bench.call(Call::increment("n", 1));
    }
    assert_eq!(bench.made().len(), 6);
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (number, _) = bench.hello();
    bench.terms = Terms {
        session: 2,
        known: true,
        max_calls: 2,
        ..bench.terms
    };
    bench.grants(number, true);
    assert_eq!(bench.made(), [2, 3]);
    bench.answers(3, r#","newValue":1"#);
    assert_eq!(bench.made(), [4]);
}

#[test]
fn what_is_not_text_is_sent_to_a_durable_service() {
    let mut bench = patient();
    bench.call(Call::set("k", Bytes::from_static(b"\xff\0")));
    assert_eq!(
        bench.sent(),
        [r#"~{"op":2,"key":"k","value":"/wA=","encoding":"base64","messageId":2,"settled":1}"#]
    );
    bench.answers(2, r#","success":true"#);
    assert_eq!(bench.end(), Ok(Answer::Done));
}

#[test]
fn changes_are_asked_for_from_where_they_were_seen() {
    let mut bench = Bench::new(token(), |_| {});
    bench.command(|client, now| client.connect(now));
    bench.terms.sequence = 40;
    bench.opened_durable();
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (number, hello) = bench.hello();
    let seen = |sequence| {
        let store = Some(crate::kv::StoreId::from_bits(7));
        Some(Seen { sequence, store })
    };
    assert_eq!(hello.after, seen(40), "as they were at the grant");
    bench.grants(number, false);
    bench.says(r#"{"type":"notification","key":"k","value":"v","timestamp":5,"sequence":43}"#);
    bench.cut();
    bench.elapse("reconnect");
    bench.opened();
    let (number, hello) = bench.hello();
    assert_eq!(hello.after, seen(43));
    bench.terms.session = 2;
    bench.grants(number, true);
    bench.says(r#"{"type":"missed","after":43,"first":60}"#);
    let missed = Event::Missed {
        after: Some(43),
        first: Some(60),
    };
    assert_eq!(bench.events.last(), Some(&missed));
    assert_eq!(bench.client().seen, seen(59));
}

#[test]
fn a_service_that_breaks_the_session_is_left_and_nothing_is_lost() {
    let skipping = {
        let mut other = Session::new(Time::ZERO, SECOND, RetentionLimits::default());
        other.attach(LinkId::accepted(0), 1).unwrap();
        for _ in 0..9 {
            other.send(Body::Control(b"{}")).unwrap();
        }
        core::iter::from_fn(|| other.poll_frame()).last().unwrap()
    };
    let channel = Bytes::from_static(b"\x02\x01\x00\x01x");
    assert!(SessionFrame::decode(&channel).is_ok());
    for message in [
        Bytes::from_static(b"nonsense"),
        Bytes::new(),
        skipping,
        channel,
    ] {
        let mut bench = patient();
        let id = bench.call(Call::increment("n", 1));
        bench.made();
        let (link, frame) = (bench.link(), Frame::Binary(message));
        bench.input(Input::Frame { link, frame });
        assert_eq!(bench.sent(), ["close 1002"]);
        assert!(bench.ended().is_empty());
        bench.elapse("reconnect");
        bench.opened();
        let (number, hello) = bench.hello();
        assert_eq!(hello.resume, None);
        (bench.terms.session, bench.terms.known) = (2, true);
        bench.grants(number, true);
        assert_eq!(bench.made(), [2]);
        bench.answers(2, r#","newValue":1"#);
        assert_eq!(bench.ended(), [(id, Ok(Answer::Number(1)))]);
    }
}

#[test]
fn a_call_at_which_links_break_ends_in_its_time_and_the_next_gets_through() {
    let mut bench = connected(key(), |config| config.timeouts.call = 30 * SECOND);
    bench.call(Call::set("k", "which no proxy lets through"));
    for _ in 0..10 {
        bench.actions.clear();
        bench.cut();
        bench.elapse("reconnect");
        bench.opened();
        let (number, hello) = bench.hello();
        if hello.resume.is_none() {
            (bench.terms.session, bench.terms.known) = (2, true);
        }
        bench.grants(number, hello.resume.is_none());
        if bench.statistics().timed_out == 1 {
            break;
        }
    }
    bench.pass(30 * SECOND);
    assert_eq!(bench.statistics().in_doubt, 1);
    // A session may still hold it, for two links more.
    for _ in 0..3 {
        bench.actions.clear();
        bench.cut();
        bench.elapse("reconnect");
        bench.opened();
        let (number, hello) = bench.hello();
        bench.grants(number, hello.resume.is_none());
    }
    bench.actions.clear();
    let next = bench.call(Call::set("k", "v"));
    let made = bench.made();
    assert_eq!(made.len(), 1);
    bench.answers(made[0], "");
    assert!(bench.ended().contains(&(next, Ok(Answer::Done))));
}

#[test]
fn what_a_session_has_no_room_for_waits_and_goes_on() {
    let mut bench = patient();
    for _ in 0..5 {
        bench.call(Call::set("k", vec![b'x'; 400 << 10]));
    }
    let mut made = vec![];
    for _ in 0..20 {
        made.extend(bench.made());
        bench.far_flushes();
    }
    assert_eq!(made, [2, 3, 4, 5, 6]);
    for number in made {
        bench.answers(number, "");
    }
    assert_eq!(bench.ended().len(), 5);
}

#[test]
fn an_idle_link_shows_life_as_often_as_the_service_asks() {
    let mut bench = patient();
    let deadline = bench.run().unwrap();
    assert_eq!(deadline.timer, "beat");
    assert_eq!(deadline.at, bench.now.after(20 * SECOND));
    bench.pass(20 * SECOND);
    assert!(matches!(
        bench.actions.pop_front(),
        Some(Action::Send {
            frame: Frame::Binary(_),
            ..
        })
    ));
}

#[test]
fn text_within_a_session_is_passed_over() {
    let mut bench = patient();
    let id = bench.call(Call::get("k"));
    bench.made();
    bench.text("hello");
    bench.text(r#"{"code":404,"messageId":2}"#);
    assert!(bench.ended().is_empty());
    assert_eq!(bench.statistics().ignored, 2);
    bench.fails(2, 404);
    assert_eq!(bench.ended()[0].0, id);
}

#[test]
fn disconnecting_leaves_nothing_behind_that_could_be_applied_one_day() {
    let mut bench = patient();
    let (change, read) = (bench.call(Call::set("k", "v")), bench.call(Call::get("k")));
    bench.actions.clear();
    bench.command(|client, now| client.disconnect(now));
    let in_doubt = CallError::InDoubt(Box::new(CallError::Disconnected));
    assert_eq!(
        bench.ended(),
        [
            (change, Err(in_doubt)),
            (read, Err(CallError::Disconnected))
        ]
    );
    bench.command(|client, now| client.connect(now));
    bench.opened();
    let (number, hello) = bench.hello();
    assert_eq!(hello.resume, None);
    (bench.terms.session, bench.terms.known) = (2, true);
    bench.grants(number, true);
    assert!(bench.made().is_empty());
}

#[test]
fn two_clients_have_two_names() {
    let name = |seed| {
        let config = ClientConfig::new("ws://kv.example".parse().unwrap(), key());
        Client::new(config, [seed; 32], Time::ZERO).id
    };
    assert_ne!(name(1), name(2));
    assert_eq!(SessionId::from_bits(1).to_bits(), 1);
}
