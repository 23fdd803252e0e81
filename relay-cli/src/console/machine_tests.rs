use super::*;
use relay_proto::{Pump, Step};

const LINK: LinkId = LinkId::dialled(0);

fn at(milliseconds: u64) -> Time {
    Time::ZERO.after(Duration::from_millis(milliseconds))
}

fn endpoint() -> Endpoint {
    Endpoint::WebSocket("ws://peer.example/".parse().unwrap())
}

fn text(text: &'static str) -> Frame {
    Frame::Text(text.into())
}

/// A console on virtual time, and what it has done.
struct Rig {
    pump: Pump<Console>,
    now: Time,
}

impl Rig {
    fn new(attempts: u32, introduction: Option<Frame>) -> Self {
        let settings = Settings {
            endpoint: endpoint(),
            introduction,
            attempts: attempts.try_into().unwrap(),
        };
        let pump = Pump::new(Console::new(settings, Time::ZERO));
        Self {
            pump,
            now: Time::ZERO,
        }
    }

    fn open() -> Self {
        let mut rig = Self::new(1, None);
        rig.input(Input::Opened { link: LINK });
        rig.settle();
        rig
    }

    fn input(&mut self, input: Input) {
        self.pump.handle_input(self.now, input);
    }

    fn receive(&mut self, frame: Frame) {
        self.input(Input::Frame { link: LINK, frame });
    }

    fn send(&mut self, frame: Frame) -> Result<(), Refused> {
        self.pump
            .command(self.now, |console, now| console.send(now, frame))
    }

    fn settle(&mut self) {
        let _ = self.run();
    }

    fn run(&mut self) -> (Vec<Action>, Vec<Event>, Step<Event>) {
        let (mut actions, mut events) = (Vec::new(), Vec::new());
        loop {
            match self.pump.step(self.now) {
                Step::Perform(action) => actions.push(action),
                Step::Deliver(event) => events.push(event),
                rest => return (actions, events, rest),
            }
        }
    }
}

fn waits_for(timer: &'static str, milliseconds: u64) -> Step<Event> {
    let at = at(milliseconds);
    Step::Wait {
        until: Some(Deadline { at, timer }),
    }
}

fn unreachable() -> OpenError {
    OpenError::Unreachable {
        endpoint: "ws://peer.example/".to_owned(),
        detail: "refused".to_owned(),
    }
}

fn closes(link: LinkId, code: CloseCode) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Close { link: of, code: with, .. } if *of == link && *with == code)
}

#[test]
fn it_opens_introduces_itself_and_takes_frames() {
    let mut rig = Rig::new(1, Some(text("it is me")));
    let (actions, events, rest) = rig.run();
    let endpoint = endpoint();
    assert_eq!(
        actions,
        [Action::Open {
            link: LINK,
            endpoint
        }]
    );
    assert_eq!(events, []);
    assert_eq!(rest, waits_for("open", 30_000));
    assert_eq!(rig.send(text("too soon")), Err(Refused::NotOpen));

    rig.input(Input::Opened { link: LINK });
    rig.receive(text("welcome"));
    rig.send(text("thanks")).unwrap();
    let (actions, events, rest) = rig.run();
    let sent = |frame| Action::Send { link: LINK, frame };
    assert_eq!(actions, [sent(text("it is me")), sent(text("thanks"))]);
    let frame = text("welcome");
    let received = Event::Received { frame, after: None };
    assert_eq!(events, [Event::Opened, received]);
    assert_eq!(rest, Step::Wait { until: None });
}

#[test]
fn it_tries_as_often_as_it_is_told() {
    let mut rig = Rig::new(2, None);
    rig.settle();
    let failed = |link| Input::OpenFailed {
        link,
        why: unreachable(),
    };
    rig.input(failed(LINK));
    let (_, events, rest) = rig.run();
    let why = Unopened::Failed(unreachable());
    let wait = PAUSE;
    assert_eq!(events, [Event::NotYet { why, wait }]);
    assert_eq!(rest, waits_for("pause", 1000));

    rig.now = at(1000);
    let (actions, _, _) = rig.run();
    let again = LinkId::dialled(1);
    assert!(matches!(&*actions, [Action::Open { link, .. }] if *link == again));
    // Late news of the first attempt is none.
    rig.input(Input::Opened { link: LINK });
    assert!(rig.run().1.is_empty());
    rig.input(failed(again));
    let (_, events, rest) = rig.run();
    let why = Unopened::Failed(unreachable());
    assert_eq!(events, [Event::Ended(Ending::Unopened(why))]);
    assert_eq!(rest, Step::Finished);
}

#[test]
fn an_attempt_that_hangs_is_given_up() {
    let mut rig = Rig::new(1, None);
    rig.settle();
    rig.now = at(30_000);
    let (actions, events, rest) = rig.run();
    assert!(actions.iter().any(closes(LINK, CloseCode::GOING_AWAY)));
    assert_eq!(events, [Event::Ended(Ending::Unopened(Unopened::Timeout))]);
    assert_eq!(rest, Step::Finished);
}

#[test]
fn whoever_waits_can_leave_at_any_time() {
    let mut opening = Rig::new(2, None);
    let close = |rig: &mut Rig| {
        rig.pump.command(rig.now, |console, _| {
            console.close(CloseCode::NORMAL, String::new());
        });
    };
    opening.settle();
    close(&mut opening);
    assert!(opening.run().0.iter().any(closes(LINK, CloseCode::NORMAL)));
    opening.input(Input::OpenFailed {
        link: LINK,
        why: OpenError::Abandoned,
    });
    let left = [Event::Ended(Ending::Closed(Closure::Local))];
    assert_eq!(opening.run().1, left);

    let mut pausing = Rig::new(2, None);
    pausing.input(Input::OpenFailed {
        link: LINK,
        why: unreachable(),
    });
    pausing.settle();
    close(&mut pausing);
    assert_eq!(pausing.run().1, left);
}

#[test]
fn the_peers_goodbye_ends_it() {
    let mut rig = Rig::open();
    let why = Closure::Peer {
        code: Some(CloseCode::GOING_AWAY),
        reason: "night".to_owned(),
    };
    rig.input(Input::Closed {
        link: LINK,
        why: why.clone(),
    });
    let (_, events, rest) = rig.run();
    assert_eq!(events, [Event::Ended(Ending::Closed(why))]);
    assert_eq!(rest, Step::Finished);
    assert_eq!(rig.send(text("late")), Err(Refused::NotOpen));
}

#[test]
fn after_the_last_line_it_waits_and_then_says_goodbye() {
    let mut rig = Rig::open();
    rig.now = at(500);
    rig.pump.command(rig.now, |console, now| {
        console.close_after(now, Duration::from_secs(2));
    });
    assert_eq!(rig.run().2, waits_for("farewell", 2500));
    rig.receive(text("an answer"));
    rig.now = at(2500);
    let (actions, events, _) = rig.run();
    assert!(actions.iter().any(closes(LINK, CloseCode::NORMAL)));
    assert_eq!(events.len(), 1);
    // What the peer says until it has heard is still heard.
    rig.receive(text("another"));
    rig.input(Input::Closed {
        link: LINK,
        why: Closure::Local,
    });
    let (_, events, _) = rig.run();
    assert_eq!(events.len(), 2);
}

#[test]
fn a_pong_tells_how_long_it_took() {
    let mut rig = Rig::open();
    for payload in ["a", "b"] {
        rig.send(Frame::Ping(payload.into())).unwrap();
        rig.now = rig.now.after(Duration::from_millis(10));
    }
    let mut pong = |payload: &'static str| {
        rig.receive(Frame::Pong(payload.into()));
        match &*rig.run().1 {
            [Event::Received { after, .. }] => *after,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pong("a"), Some(Duration::from_millis(20)));
    assert_eq!(pong("b"), Some(Duration::from_millis(10)));
    assert_eq!(pong("b"), None);
}

#[test]
fn a_slow_peer_and_a_slow_person_hold_the_other_side_up() {
    let mut rig = Rig::open();
    let large = || Frame::Binary(vec![0; MAX_UNWRITTEN].into());
    rig.send(large()).unwrap();
    assert_eq!(rig.send(text("x")), Err(Refused::Busy(text("x"))));
    rig.input(Input::Written { link: LINK });
    assert_eq!(rig.run().1, [Event::Room]);
    rig.send(text("x")).unwrap();

    for _ in 0..MAX_UNSHOWN {
        assert_eq!(rig.pump.machine().read_limit(LINK), MAX_FRAME);
        rig.receive(text("tick"));
    }
    assert_eq!(rig.pump.machine().read_limit(LINK), 0);
    rig.pump.command(rig.now, |console, _| console.shown());
    assert_eq!(rig.pump.machine().read_limit(LINK), MAX_FRAME);
}
