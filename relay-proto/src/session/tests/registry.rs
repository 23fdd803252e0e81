use super::*;
use crate::Random;

type Sessions = Registry<&'static str, u32>;

fn registry(sessions: usize, sessions_per_key: usize) -> (Sessions, Random) {
    let config = RegistryConfig {
        sessions,
        sessions_per_key,
        ..RegistryConfig::default()
    };
    (Registry::new(config), Random::new([3; 32]))
}

fn open(
    (sessions, random): &mut (Sessions, Random),
    now: u64,
    key: &'static str,
    on: u64,
) -> SessionId {
    let opened = sessions
        .open(at(now), random, &key, link(on), on as u32)
        .unwrap();
    assert_eq!(opened.evicted, None);
    opened.id
}

#[test]
fn a_session_is_resumed_by_its_key_alone() {
    let mut all = registry(9, 9);
    let id = open(&mut all, 0, "alice", 1);
    let sessions = &mut all.0;
    let stranger = sessions.resume(at(1), &"mallory", id, link(2), 1);
    assert_eq!(stranger, Err(ResumeError::Unknown));
    assert_eq!(
        (sessions.on_link(link(1)), sessions.on_link(link(2))),
        (Some(id), None)
    );
    let resumed = sessions.resume(at(1), &"alice", id, link(3), 1).unwrap();
    assert_eq!(
        resumed,
        Resumed {
            receive_next: 1,
            fenced: Some(link(1))
        }
    );
    assert_eq!(
        (sessions.on_link(link(1)), sessions.on_link(link(3))),
        (None, Some(id))
    );
    // The fenced link ends at last, which cuts nothing.
    assert_eq!(sessions.cut(at(2), link(1)), None);
    assert_eq!(sessions.deadline(), None);
}

#[test]
fn a_resume_that_cannot_be_leaves_the_session_on_its_link() {
    let mut all = registry(9, 9);
    let id = open(&mut all, 0, "alice", 1);
    let sessions = &mut all.0;
    let refused = sessions
        .resume(at(1), &"alice", id, link(2), 7)
        .unwrap_err();
    assert_eq!(
        refused,
        ResumeError::Ahead {
            receive_next: 7,
            sent: 0
        }
    );
    assert_eq!(
        (sessions.on_link(link(1)), sessions.on_link(link(2))),
        (Some(id), None)
    );
    assert_eq!(
        sessions.update(id, |session, _| session.link()),
        Some(Some(link(1)))
    );
}

#[test]
fn sessions_expire_one_by_one_and_what_was_kept_comes_back() {
    let mut all = registry(9, 9);
    let (a, b) = (open(&mut all, 0, "alice", 1), open(&mut all, 0, "bob", 2));
    let sessions = &mut all.0;
    assert_eq!(sessions.cut(at(10), link(1)), Some(a));
    assert_eq!(sessions.cut(at(5), link(2)), Some(b));
    sessions.update(b, |session, _| session.set_expiry(900 * SECOND));
    let deadline = sessions.deadline().unwrap();
    assert_eq!((deadline.at, deadline.timer), (at(130), "session expiry"));
    assert_eq!(sessions.handle_timeout(at(129)), None);
    assert_eq!(sessions.handle_timeout(at(2000)), Some((a, 1)));
    assert_eq!(sessions.handle_timeout(at(2000)), Some((b, 2)));
    assert_eq!(sessions.handle_timeout(at(2000)), None);
    assert_eq!(
        sessions.resume(at(2000), &"alice", a, link(3), 1),
        Err(ResumeError::Unknown)
    );
    assert!(sessions.is_empty());
}

#[test]
fn a_session_that_is_resumed_in_time_does_not_expire() {
    let mut all = registry(9, 9);
    let id = open(&mut all, 0, "alice", 1);
    let sessions = &mut all.0;
    sessions.cut(at(10), link(1));
    sessions.resume(at(129), &"alice", id, link(2), 1).unwrap();
    assert_eq!(
        (sessions.deadline(), sessions.handle_timeout(at(999))),
        (None, None)
    );
    sessions.cut(at(1000), link(2));
    assert_eq!(sessions.deadline().unwrap().at, at(1120));
}

#[test]
fn a_key_at_its_bound_loses_its_own_oldest_session_and_no_other() {
    let mut all = registry(3, 2);
    let (a, b) = (open(&mut all, 0, "alice", 1), open(&mut all, 0, "alice", 2));
    let c = open(&mut all, 0, "bob", 3);
    let (sessions, random) = &mut all;
    sessions.cut(at(1), link(3));
    let refused = sessions.open(at(2), random, &"alice", link(4), 4);
    assert_eq!(refused, Err(RegistryFull(4)), "both are on links");
    sessions.cut(at(3), link(2));
    sessions.cut(at(4), link(1));
    let opened = sessions.open(at(5), random, &"alice", link(4), 4).unwrap();
    assert_eq!(opened.evicted, Some((b, 2)));
    let refused = sessions.open(at(6), random, &"carol", link(5), 5);
    assert_eq!(refused, Err(RegistryFull(5)), "nobody's are hers to take");
    let opened = sessions.open(at(6), random, &"alice", link(5), 5).unwrap();
    assert_eq!(opened.evicted, Some((a, 1)));
    assert!(sessions.resume(at(7), &"bob", c, link(6), 1).is_ok());
    assert_eq!(sessions.len(), 3);
}

#[test]
fn a_session_that_ended_is_handed_back() {
    let mut all = registry(9, 1);
    let id = open(&mut all, 0, "alice", 1);
    let sessions = &mut all.0;
    sessions.update(id, |session, owned| {
        *owned = 7;
        session.end();
    });
    assert_eq!(sessions.on_link(link(1)), None);
    assert!(sessions.deadline().unwrap().at <= at(0));
    assert_eq!(sessions.handle_timeout(at(0)), Some((id, 7)));
    assert_eq!((sessions.deadline(), sessions.end(id)), (None, None));
    open(&mut all, 0, "alice", 2);
}

#[test]
fn a_link_that_opens_a_session_leaves_the_one_it_had() {
    let mut all = registry(9, 9);
    let a = open(&mut all, 0, "alice", 1);
    let b = open(&mut all, 3, "alice", 1);
    let sessions = &mut all.0;
    assert_eq!(sessions.on_link(link(1)), Some(b));
    assert_eq!(sessions.deadline().unwrap().at, at(123));
    sessions.resume(at(4), &"alice", a, link(1), 1).unwrap();
    assert_eq!(sessions.on_link(link(1)), Some(a));
    assert_eq!(sessions.deadline().unwrap().at, at(124));
}
