//! A WebSocket that a person holds the other end of, as a pure machine.

use bytes::Bytes;
use relay_proto::{
    Action, CloseCode, Closure, Deadline, Endpoint, Frame, Input, LinkId, Machine, OpenError, Time,
};
use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

/// The largest frame taken, in bytes.
pub(super) const MAX_FRAME: usize = 16 << 20;

/// How long one attempt to open the link may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Frames that may wait to be shown before no more are read.
const MAX_UNSHOWN: usize = 64;

/// Bytes that may wait for a slow peer before no more are taken, unless they are one frame.
const MAX_UNWRITTEN: usize = 1 << 20;

/// Pings whose answer is waited for; of more, the oldest is forgotten.
const MAX_PINGS: usize = 16;

/// What a console is to do.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Where to.
    pub(super) endpoint: Endpoint,
    /// What to say first.
    pub(super) introduction: Option<Frame>,
    /// How often to try to open the link.
    pub(super) attempts: NonZeroU32,
}

/// News for the person.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The link could not be opened; there is another attempt after this wait.
    NotYet { why: Unopened, wait: Duration },
    /// The link is open.
    Opened,
    /// A frame has arrived; [`Console::shown`] answers each text and binary frame, ping and pong.
    Received {
        frame: Frame,
        /// For a pong that answers a ping of ours: how long it took.
        after: Option<Duration>,
    },
    /// There is room again for what [`Console::send`] has refused.
    Room,
    /// It is over. The last event.
    Ended(Ending),
}

/// Why there is no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unopened {
    #[error(transparent)]
    Failed(OpenError),
    #[error("it did not open within {} s", OPEN_TIMEOUT.as_secs())]
    Timeout,
}

/// How it was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It never began.
    Unopened(Unopened),
    /// The link was open and has ended, or was given up before it was open.
    Closed(Closure),
}

/// A frame that was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The peer is slow; [`Event::Room`] says when to try again.
    Busy(Frame),
    /// The link is not open, or not any more.
    NotOpen,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Opening { until: Time },
    Pausing { until: Time },
    Open { farewell: Option<Time> },
    Closing,
    Ended,
}

/// One link, opened once, with a person on this side of it.
#[derive(Debug)]
pub(super) struct Console {
    settings: Settings,
    state: State,
    /// How many links were asked for; the last of them is ours.
    opened: u32,
    unwritten: VecDeque<usize>,
    unwritten_bytes: usize,
    has_refused: bool,
    unshown: usize,
    pings: VecDeque<(Bytes, Time)>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Console {
    /// Opens the link at once.
    pub(super) fn new(settings: Settings, now: Time) -> Self {
        let mut console = Self {
            settings,
            state: State::Ended,
            opened: 0,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            has_refused: false,
            unshown: 0,
            pings: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        };
        console.open(now);
        console
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, now: Time, frame: Frame) -> Result<(), Refused> {
        let State::Open { .. } = self.state else {
            return Err(Refused::NotOpen);
        };
        if self.unwritten_bytes > 0 && self.unwritten_bytes + frame.len() > MAX_UNWRITTEN {
            self.has_refused = true;
            return Err(Refused::Busy(frame));
        }
        if let Frame::Ping(payload) = &frame {
            self.pings.truncate(MAX_PINGS - 1);
            self.pings.push_front((payload.clone(), now));
        }
        self.hand_out(frame);
        Ok(())
    }

    /// Says goodbye, or gives up opening.
    pub(super) fn close(&mut self, code: CloseCode, reason: String) {
        match self.state {
            State::Opening { .. } | State::Open { .. } => {
                let link = self.link();
                self.actions.push_back(Action::Close { link, code, reason });
                self.state = State::Closing;
            }
            State::Pausing { .. } => self.end(Ending::Closed(Closure::Local)),
            State::Closing | State::Ended => {}
        }
    }

    /// Says goodbye after this time, unless the peer does before.
    pub(super) fn close_after(&mut self, now: Time, patience: Duration) {
        if let State::Open { farewell } = &mut self.state {
            *farewell = Some(now.after(patience));
        }
    }

    /// A frame that was reported is shown.
    pub(super) const fn shown(&mut self) {
        self.unshown = self.unshown.saturating_sub(1);
    }

    fn link(&self) -> LinkId {
        LinkId::dialled(u64::from(self.opened) - 1)
    }

    fn open(&mut self, now: Time) {
        self.opened += 1;
        let until = now.after(OPEN_TIMEOUT);
        self.state = State::Opening { until };
        let (link, endpoint) = (self.link(), self.settings.endpoint.clone());
        self.actions.push_back(Action::Open { link, endpoint });
    }

    fn not_opened(&mut self, now: Time, why: Unopened) {
        if self.opened >= self.settings.attempts.get() {
            return self.end(Ending::Unopened(why));
        }
        let wait = PAUSE;
        let until = now.after(wait);
        self.state = State::Pausing { until };
        self.events.push_back(Event::NotYet { why, wait });
    }

    fn hand_out(&mut self, frame: Frame) {
        self.unwritten.push_back(frame.len());
        self.unwritten_bytes += frame.len();
        let link = self.link();
        self.actions.push_back(Action::Send { link, frame });
    }

    fn written(&mut self) {
        if let Some(length) = self.unwritten.pop_front() {
            self.unwritten_bytes -= length;
        }
        if self.unwritten.is_empty() && self.has_refused {
            self.has_refused = false;
            self.events.push_back(Event::Room);
        }
    }

    fn received(&mut self, now: Time, frame: Frame) {
        let mut after = None;
        if let Frame::Pong(payload) = &frame {
            let position = self.pings.iter().position(|(sent, _)| sent == payload);
            // A pong answers the latest ping and may leave out those before it (RFC 6455, section 5.5.3).
            if let Some(position) = position {
                after = Some(now.since(self.pings[position].1));
                self.pings.truncate(position);
            }
        }
        self.unshown += 1;
        self.events.push_back(Event::Received { frame, after });
    }

    fn end(&mut self, ending: Ending) {
        self.state = State::Ended;
        self.events.push_back(Event::Ended(ending));
    }
}

impl Machine for Console {
    type Event = Event;

    fn handle_input(&mut self, now: Time, input: Input) {
        if input.link() != Some(self.link()) {
            return;
        }
        match (self.state, input) {
            (State::Opening { .. }, Input::Opened { .. }) => {
                self.state = State::Open { farewell: None };
                self.events.push_back(Event::Opened);
                if let Some(introduction) = self.settings.introduction.take() {
                    self.hand_out(introduction);
                }
            }
            (State::Opening { .. }, Input::OpenFailed { why, .. }) => {
                self.not_opened(now, Unopened::Failed(why));
            }
            (State::Closing, Input::OpenFailed { .. }) => self.end(Ending::Closed(Closure::Local)),
            (State::Open { .. } | State::Closing, Input::Closed { why, .. }) => {
                self.end(Ending::Closed(why));
            }
            (State::Open { .. } | State::Closing, Input::Frame { frame, .. }) => {
                self.received(now, frame);
            }
            (State::Open { .. }, Input::Written { .. }) => self.written(),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        match self.state {
            State::Opening { until } if until <= now => {
                let (code, reason) = (CloseCode::GOING_AWAY, "timeout".to_owned());
                let link = self.link();
                self.actions.push_back(Action::Close { link, code, reason });
                self.not_opened(now, Unopened::Timeout);
            }
            State::Pausing { until } if until <= now => self.open(now),
            State::Open {
                farewell: Some(until),
            } if until <= now => self.close(CloseCode::NORMAL, String::new()),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let (at, timer) = match self.state {
            State::Opening { until } => (until, "open"),
            State::Pausing { until } => (until, "pause"),
            State::Open { farewell } => (farewell?, "farewell"),
            State::Closing | State::Ended => return None,
        };
        Some(Deadline { at, timer })
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        if self.unshown < MAX_UNSHOWN {
            MAX_FRAME
        } else {
            0
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
