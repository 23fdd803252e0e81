//! Every state and every input.

use super::*;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

const OURS: u64 = 1;
const OTHER: u64 = 2;

/// A session in each state, with three frames sent, the first of them acknowledged, and two received, the first taken over.
fn sessions() -> [(&'static str, Session); 4] {
    let fresh = session();
    let mut attached = session();
    attached.attach(link(OURS), 1).unwrap();
    for octets in [b"a", b"b", b"c"] {
        attached.send(control(octets)).unwrap();
    }
    assert_eq!(drain(&mut attached).len(), 3);
    attached.handle_frame(link(OURS), &numbered(1, 0)).unwrap();
    attached.handle_frame(link(OURS), &numbered(2, 1)).unwrap();
    attached.take_over(1);
    assert_eq!(drain(&mut attached), [acknowledgement(1)]);
    let mut detached = attached.clone();
    assert!(detached.detach(at(10), link(OURS)));
    let mut gone = attached.clone();
    gone.end();
    [
        ("fresh", fresh),
        ("attached", attached),
        ("detached", detached),
        ("gone", gone),
    ]
}

type Input = fn(&mut Session) -> String;

fn received(session: &mut Session, link: LinkId, message: &Bytes) -> String {
    match session.handle_frame(link, message) {
        Ok(Some(delivery)) => format!("{} {:?}", delivery.seq, delivery.body),
        Ok(None) => "nothing new".into(),
        Err(error) => error.to_string(),
    }
}

fn attached(session: &mut Session, to: u64, receive_next: u64) -> String {
    match session.attach(link(to), receive_next) {
        Ok(None) => format!("sends {:?}", drain(session).len()),
        Ok(Some(older)) => format!("fences {older}, sends {}", drain(session).len()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_input_in_every_state() {
    const UNKNOWN: &str = "there is no such session, or no longer";
    let ours = link(OURS);
    assert_eq!(ours.to_string(), "in-1");
    // The input, and what becomes of it in a session that is fresh, attached, detached, gone.
    let table: &[(&str, Input, [&str; 4])] = &[
        (
            "attach elsewhere",
            |s| attached(s, OTHER, 2),
            [
                "receiveNext is 2, but 0 frames were sent",
                "fences in-1, sends 3",
                "sends 3",
                UNKNOWN,
            ],
        ),
        (
            "attach elsewhere, all received",
            |s| attached(s, OTHER, 4),
            [
                "receiveNext is 4, but 0 frames were sent",
                "fences in-1, sends 1",
                "sends 1",
                UNKNOWN,
            ],
        ),
        (
            "attach elsewhere, from the beginning",
            |s| attached(s, OTHER, 1),
            [
                "sends 0",
                "receiveNext is 1, but all before 2 is acknowledged",
                "receiveNext is 1, but all before 2 is acknowledged",
                UNKNOWN,
            ],
        ),
        (
            "attach elsewhere, from nowhere",
            |s| attached(s, OTHER, 5),
            [
                "receiveNext is 5, but 0 frames were sent",
                "receiveNext is 5, but 3 frames were sent",
                "receiveNext is 5, but 3 frames were sent",
                UNKNOWN,
            ],
        ),
        (
            "attach to the same link",
            |s| attached(s, OURS, 4),
            [
                "receiveNext is 4, but 0 frames were sent",
                "sends 0",
                "sends 1",
                UNKNOWN,
            ],
        ),
        (
            "detach",
            |s| s.detach(at(20), link(OURS)).to_string(),
            ["false", "true", "false", "false"],
        ),
        (
            "detach another",
            |s| s.detach(at(20), link(OTHER)).to_string(),
            ["false"; 4],
        ),
        (
            "send",
            |s| format!("{:?}", s.send(control(b"d"))),
            ["Ok(1)", "Ok(4)", "Ok(4)", "Err(Gone)"],
        ),
        (
            "send nothing",
            |s| {
                format!(
                    "{:?}",
                    s.send(Body::Data {
                        channel: 1,
                        payload: b""
                    })
                )
            },
            ["Err(NoData)", "Err(NoData)", "Err(NoData)", "Err(Gone)"],
        ),
        ("poll", |s| drain(s).len().to_string(), ["0"; 4]),
        (
            "beat",
            |s| {
                s.beat();
                drain(s).len().to_string()
            },
            ["0", "1", "0", "0"],
        ),
        (
            "send and beat",
            |s| {
                let _ = s.send(control(b"d"));
                s.beat();
                drain(s).len().to_string()
            },
            ["0", "1", "0", "0"],
        ),
        (
            "the next frame",
            |s| received(s, link(OURS), &numbered(3, 3)),
            [
                "nothing new",
                "3 Control(2 bytes)",
                "nothing new",
                "nothing new",
            ],
        ),
        (
            "a frame again",
            |s| received(s, link(OURS), &numbered(2, 1)),
            ["nothing new"; 4],
        ),
        (
            "a frame too far",
            |s| received(s, link(OURS), &numbered(4, 3)),
            [
                "nothing new",
                "frame 4 where 3 is next",
                "nothing new",
                "nothing new",
            ],
        ),
        (
            "an acknowledgement",
            |s| received(s, link(OURS), &acknowledgement(3)),
            ["nothing new"; 4],
        ),
        (
            "an old acknowledgement",
            |s| received(s, link(OURS), &acknowledgement(0)),
            ["nothing new"; 4],
        ),
        (
            "an acknowledgement of what was never sent",
            |s| received(s, link(OURS), &acknowledgement(4)),
            [
                "nothing new",
                "4 is acknowledged where 3 frames were sent",
                "nothing new",
                "nothing new",
            ],
        ),
        (
            "no frame",
            |s| received(s, link(OURS), &Bytes::from_static(&[9])),
            [
                "nothing new",
                "there is no frame of kind 9",
                "nothing new",
                "nothing new",
            ],
        ),
        (
            "the next frame elsewhere",
            |s| received(s, link(OTHER), &numbered(3, 3)),
            ["nothing new"; 4],
        ),
        (
            "no frame elsewhere",
            |s| received(s, link(OTHER), &Bytes::new()),
            ["nothing new"; 4],
        ),
        (
            "take over",
            |s| {
                s.take_over(2);
                format!("{} {}", s.taken_over(), drain(s).len())
            },
            ["0 0", "2 1", "2 0", "2 0"],
        ),
        (
            "take over what is not there",
            |s| {
                s.take_over(7);
                s.taken_over().to_string()
            },
            ["0", "1", "1", "1"],
        ),
        (
            "time before the end",
            |s| s.handle_timeout(at(119)).to_string(),
            ["false"; 4],
        ),
        (
            "time",
            |s| s.handle_timeout(at(131)).to_string(),
            ["true", "false", "true", "false"],
        ),
        (
            "a shorter life",
            |s| {
                s.set_expiry(5 * SECOND);
                s.handle_timeout(at(16)).to_string()
            },
            ["true", "false", "true", "false"],
        ),
        (
            "end",
            |s| {
                s.end();
                format!("{:?}", s.unacknowledged())
            },
            ["(0, 0)"; 4],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, input, outcomes) in table {
        for ((state, mut session), expected) in sessions().into_iter().zip(outcomes) {
            let was_gone = session.is_gone();
            let outcome = input(&mut session);
            if outcome != *expected {
                wrong.push(format!("{name}, {state}: {outcome}, not {expected}"));
            }
            assert!(!was_gone || session.is_gone(), "{name}");
            assert_eq!(
                session.deadline().is_some(),
                !session.is_gone() && session.link().is_none()
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_refused_message_changes_nothing() {
    let [_, (_, mut session), ..] = sessions();
    let before = format!("{session:?}");
    for message in [
        numbered(4, 3),
        numbered(3, 4),
        acknowledgement(4),
        Bytes::new(),
    ] {
        assert!(session.handle_frame(link(OURS), &message).is_err());
        assert_eq!(format!("{session:?}"), before);
    }
}

#[test]
fn acknowledgements_ride_on_what_is_sent() {
    let mut session = session();
    session.attach(link(OURS), 1).unwrap();
    for seq in 1..=3 {
        session.handle_frame(link(OURS), &numbered(seq, 0)).unwrap();
        session.take_over(seq);
    }
    session.send(control(b"{}")).unwrap();
    assert_eq!(drain(&mut session), [numbered(1, 3)]);
}

#[test]
fn one_acknowledgement_is_enough_for_many_frames() {
    let mut session = session();
    session.attach(link(OURS), 1).unwrap();
    for seq in 1..=100 {
        session.handle_frame(link(OURS), &numbered(seq, 0)).unwrap();
        session.take_over(seq);
    }
    assert_eq!(drain(&mut session), [acknowledgement(100)]);
    assert!(drain(&mut session).is_empty());
}

#[test]
fn what_is_not_taken_over_is_not_acknowledged() {
    let mut session = session();
    session.attach(link(OURS), 1).unwrap();
    for seq in 1..=3 {
        session.handle_frame(link(OURS), &numbered(seq, 0)).unwrap();
    }
    session.take_over(2);
    session.take_over(3);
    assert!(drain(&mut session).is_empty());
    assert_eq!((session.receive_next(), session.not_taken_over()), (4, 3));
    session.take_over(1);
    assert_eq!(drain(&mut session), [acknowledgement(3)]);
}

#[test]
fn a_new_link_is_told_what_is_taken_over() {
    let [.., (_, mut detached), _] = sessions();
    detached.attach(link(OTHER), 4).unwrap();
    assert_eq!(drain(&mut detached), [acknowledgement(1)]);
}

#[test]
fn what_is_sent_again_is_byte_for_byte_the_same() {
    let mut session = session();
    session.attach(link(1), 1).unwrap();
    session.send(control(b"{}")).unwrap();
    let first = drain(&mut session);
    session.handle_frame(link(1), &numbered(1, 0)).unwrap();
    session.take_over(1);
    session.attach(link(2), 1).unwrap();
    let again = drain(&mut session);
    assert_eq!(again, [first[0].clone(), acknowledgement(1)]);
    assert_eq!(again[0].as_ptr(), first[0].as_ptr());
}

#[test]
fn both_bounds_hold_and_an_empty_session_takes_any_frame() {
    let mut session = Session::new(at(0), SECOND, RetentionLimits::new(2, 20));
    let large = Body::Data {
        channel: 1,
        payload: &[7; 100][..],
    };
    assert!(session.has_room(large));
    assert_eq!(session.send(large), Ok(1));
    assert_eq!(session.send(control(b"{}")), Err(SendError::Full));
    session.attach(link(1), 1).unwrap();
    assert_eq!(drain(&mut session).len(), 1);
    session.handle_frame(link(1), &acknowledgement(1)).unwrap();
    assert_eq!(session.send(control(b"{}")), Ok(2));
    assert_eq!(session.send(large), Err(SendError::Full));
    assert_eq!(session.send(control(b"{}")), Ok(3));
    assert_eq!(session.send(control(b"")), Err(SendError::Full));
    assert_eq!(session.unacknowledged(), (2, 10));
}

#[test]
fn room_is_what_is_taken_for_certain() {
    let mut session = Session::new(at(0), SECOND, RetentionLimits::new(3, 100));
    assert_eq!(session.room(), usize::MAX);
    session.send(control(&[7; 7])).unwrap();
    let room = session.room();
    assert_eq!(room, 90 - HEADER_LIMIT);
    let body = Body::Data {
        channel: u64::MAX,
        payload: &[7; 100][..room],
    };
    assert_eq!(session.send(body), Ok(2));
    assert_eq!(session.room(), 0);
    session.end();
    assert_eq!(session.room(), 0);
}

#[test]
fn an_early_flight_is_not_sent_twice_where_the_peer_has_it() {
    let [.., (_, mut session), _] = sessions();
    session.attach(link(OTHER), session.resend_from()).unwrap();
    assert!(session.poll_frame().is_some());
    // The peer had both that were on their way when the link was cut.
    assert_eq!(session.attach(link(OTHER), 4), Ok(None));
    assert_eq!(drain(&mut session), [acknowledgement(1)]);
}

#[test]
fn the_expiry_counts_from_the_loss_of_the_link() {
    let mut session = session();
    assert_eq!(session.deadline().unwrap().at, at(120));
    session.attach(link(1), 1).unwrap();
    session.set_expiry(900 * SECOND);
    assert_eq!(session.deadline(), None);
    session.detach(at(1000), link(1));
    assert_eq!(session.deadline().unwrap().at, at(1900));
    assert_eq!(session.deadline().unwrap().timer, "session expiry");
    session.set_expiry(120 * SECOND);
    assert!(session.handle_timeout(at(1120)));
    assert!(!session.handle_timeout(at(1121)));
}

#[test]
fn memory_that_is_let_go_of_is_not_missed() {
    let mut session = session();
    session.attach(link(1), 1).unwrap();
    session.send(control(b"{}")).unwrap();
    session.release_memory();
    session.send(control(b"{}")).unwrap();
    assert_eq!(drain(&mut session), [numbered(1, 0), numbered(2, 0)]);
}
