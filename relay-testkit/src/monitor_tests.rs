use super::*;
use crate::{Alarm, Probe};
use relay_proto::{CloseCode, Closure, Frame, StreamAddress};

const LINK: LinkId = LinkId::dialled(0);

fn watched<M>(machine: M) -> (Monitored<M>, Arc<Watch>) {
    let watch = Arc::new(Watch::default());
    (Monitored::new(machine, Arc::clone(&watch)), watch)
}

fn at(nanoseconds: u64) -> Time {
    Time::from_nanos(nanoseconds)
}

fn violations(watch: &Watch) -> Vec<String> {
    watch.record().contract().violations().to_vec()
}

fn opening() -> (Monitored<Probe>, Arc<Watch>) {
    let (mut probe, watch) = watched(Probe::limited(4));
    probe.machine().actions.push_back(Action::Open {
        link: LINK,
        endpoint: Endpoint::Stream(StreamAddress::new("mx.example", 25, false)),
    });
    assert!(probe.poll_action().is_some());
    (probe, watch)
}

fn received(text: &'static str) -> Input {
    let frame = Frame::Binary(text.into());
    Input::Frame { link: LINK, frame }
}

#[test]
fn the_judge_hears_of_everything_that_passes() {
    let (mut probe, watch) = opening();
    probe.handle_input(at(2), Input::Opened { link: LINK });
    assert_eq!(probe.read_limit(LINK), 4);
    probe.handle_input(at(2), received("12345"));
    probe.handle_input(at(1), Input::Written { link: LINK });
    let violations = violations(&watch);
    let expected = ["the limit is 4", "time ran back", "Written without a Send"];
    assert_eq!(violations.len(), expected.len(), "{violations:?}");
    for (violation, expected) in violations.iter().zip(expected) {
        assert!(violation.contains(expected), "{violation}");
    }
}

#[test]
fn timers_that_are_passed_over_are_noticed_at_actions_and_events() {
    let (mut alarm, watch) = watched(Alarm::default());
    alarm.machine().at = Some(at(5));
    alarm.handle_input(
        at(4),
        Input::Accepted {
            link: LinkId::accepted(0),
            peer: None,
        },
    );
    assert!(alarm.poll_action().is_none() && alarm.poll_event().is_none());
    assert_eq!(violations(&watch).len(), 0);
    alarm.handle_timeout(at(5));
    assert_eq!(alarm.poll_event(), Some(at(5)));
    assert_eq!(violations(&watch).len(), 0);
    alarm.machine().at = Some(at(5));
    assert!(alarm.poll_action().is_none() && alarm.poll_event().is_none());
    assert_eq!(violations(&watch).len(), 2);
}

#[test]
fn a_machine_that_has_ended_is_told_what_it_likes() {
    let (mut probe, watch) = opening();
    probe.machine().finished = true;
    probe.handle_input(at(1), received("nobody knows this link"));
    assert_eq!(violations(&watch).len(), 0);
    assert_eq!(
        probe.machine().news.len(),
        1,
        "it is passed on all the same"
    );
}

#[test]
fn what_passes_is_written_down_link_by_link() {
    let (mut probe, watch) = opening();
    let other = LinkId::accepted(7);
    probe.handle_input(
        at(1),
        Input::Accepted {
            link: other,
            peer: None,
        },
    );
    probe.handle_input(at(1), Input::Opened { link: LINK });
    for piece in ["220 ", "hi\r\n"] {
        probe.read_limit(LINK);
        probe.handle_input(at(1), received(piece));
    }
    let why = Closure::Peer {
        code: Some(CloseCode(4001)),
        reason: "enough".to_owned(),
    };
    probe.handle_input(at(1), Input::Closed { link: other, why });
    let frame = Frame::Binary("QUIT\r\n".into());
    probe
        .machine()
        .actions
        .push_back(Action::Send { link: LINK, frame });
    assert!(probe.poll_action().is_some());
    probe.handle_input(
        at(1),
        Input::Closed {
            link: LINK,
            why: Closure::Local,
        },
    );
    watch.record().event("an event".to_owned());
    watch.record().close();
    watch
        .record()
        .event("too late for the transcript".to_owned());
    let seen: Vec<_> = watch.record().seen().all().collect();
    let expected = [
        "out-0 open mx.example:25",
        "out-0 opened",
        r#"out-0 < "220 hi\r\n""#,
        r#"out-0 > binary "QUIT\r\n""#,
        "out-0 ended",
        "out-0 written: not all 1",
        "in-0 accepted",
        r#"in-0 < close 4001 "enough""#,
        "an event",
    ];
    assert_eq!(seen, expected);
}
