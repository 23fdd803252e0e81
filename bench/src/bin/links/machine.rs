//! A protocol with nothing to it, so that what is measured is the session and the driver below it.

use relay_proto::{
    Action, Deadline, Endpoint, Frame, Input, LinkId, Machine, Time,
    session::{Body, RetentionLimits, Session},
};
use std::{collections::BTreeMap, collections::VecDeque, time::Duration};

/// The largest frame either side takes.
const LIMIT: usize = 1 << 20;

fn attached(link: LinkId) -> Session {
    let mut session = Session::new(Time::ZERO, Duration::MAX, RetentionLimits::default());
    session
        .attach(link, 1)
        .expect("a new session begins with 1");
    session
}

/// What arrived, if it is new.
fn received(session: &mut Session, link: LinkId, frame: &Frame) -> Option<Body<bytes::Bytes>> {
    let Frame::Binary(message) = frame else {
        return None;
    };
    let delivery = session
        .handle_frame(link, message)
        .expect("peers keep to the protocol")?;
    session.take_over(delivery.seq);
    Some(delivery.body)
}

/// Sends back whatever arrives in a session.
#[derive(Default)]
pub struct Echo {
    sessions: BTreeMap<LinkId, Session>,
    /// The links that have something to say.
    speaking: VecDeque<LinkId>,
}

impl Machine for Echo {
    type Event = ();

    fn handle_input(&mut self, _now: Time, input: Input) {
        match input {
            Input::Accepted { link, .. } => drop(self.sessions.insert(link, attached(link))),
            Input::Closed { link, .. } => drop(self.sessions.remove(&link)),
            Input::Frame { link, frame } => {
                let session = self.sessions.get_mut(&link).expect("it was accepted");
                if let Some(body) = received(session, link, &frame) {
                    session
                        .send(body.borrowed())
                        .expect("the client's window is smaller");
                    if self.speaking.back() != Some(&link) {
                        self.speaking.push_back(link);
                    }
                }
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn deadline(&self) -> Option<Deadline> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        while let Some(&link) = self.speaking.front() {
            let frame = self.sessions.get_mut(&link).and_then(Session::poll_frame);
            if let Some(frame) = frame {
                return Some(Action::Send {
                    link,
                    frame: Frame::Binary(frame),
                });
            }
            self.speaking.pop_front();
        }
        None
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        LIMIT
    }

    fn is_finished(&self) -> bool {
        false
    }
}

/// Sends frames to an [`Echo`], some of them under way at once, and says when all have come back.
pub struct Load {
    link: LinkId,
    open: Option<Endpoint>,
    session: Session,
    payload: Vec<u8>,
    unsent: usize,
    missing: usize,
    speaking: bool,
    opened: bool,
    done: bool,
}

impl Load {
    pub fn new(endpoint: Endpoint, bytes: usize) -> Self {
        let link = LinkId::dialled(0);
        let (session, payload) = (attached(link), vec![7; bytes]);
        Self {
            link,
            open: Some(endpoint),
            session,
            payload,
            unsent: 0,
            missing: 0,
            speaking: false,
            opened: false,
            done: false,
        }
    }

    /// Sends so many, no more than `window` unanswered at a time.
    pub fn begin(&mut self, frames: usize, window: usize) {
        (self.unsent, self.missing) = (frames, frames);
        (0..window.min(frames)).for_each(|_| self.send());
    }

    pub fn is_open(&self) -> bool {
        self.opened
    }

    fn send(&mut self) {
        let body = Body::Data {
            channel: 1,
            payload: self.payload.as_slice(),
        };
        self.session
            .send(body)
            .expect("the window is smaller than what a session keeps");
        self.unsent -= 1;
        self.speaking = true;
    }
}

impl Machine for Load {
    /// All frames have come back.
    type Event = ();

    fn handle_input(&mut self, _now: Time, input: Input) {
        match input {
            Input::Opened { .. } => self.opened = true,
            Input::OpenFailed { why, .. } => panic!("{why}"),
            Input::Closed { why, .. } => panic!("{why}"),
            Input::Frame { link, frame } if received(&mut self.session, link, &frame).is_some() => {
                self.missing -= 1;
                self.done = self.missing == 0;
                if self.unsent > 0 {
                    self.send();
                }
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn deadline(&self) -> Option<Deadline> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        let link = self.link;
        if let Some(endpoint) = self.open.take() {
            return Some(Action::Open { link, endpoint });
        }
        if !self.speaking {
            return None;
        }
        match self.session.poll_frame() {
            Some(frame) => Some(Action::Send {
                link,
                frame: Frame::Binary(frame),
            }),
            None => {
                self.speaking = false;
                None
            }
        }
    }

    fn poll_event(&mut self) -> Option<()> {
        std::mem::take(&mut self.done).then_some(())
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        LIMIT
    }

    fn is_finished(&self) -> bool {
        false
    }
}
