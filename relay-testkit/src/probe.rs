//! A machine that does what a test tells it and reports all it is told.

use relay_proto::{Action, Deadline, Frame, Input, LinkId, Machine, Time};
use std::collections::{BTreeSet, VecDeque};

/// A machine that does what a test tells it and reports all it is told.
#[derive(Debug)]
pub(crate) struct Probe {
    /// What it wants done next.
    pub(crate) actions: VecDeque<Action>,
    /// What it was told and the application has not heard yet.
    pub(crate) news: VecDeque<Input>,
    /// The read limit of every link that is not paused.
    pub(crate) limit: usize,
    /// The links it does not read from.
    pub(crate) paused: BTreeSet<LinkId>,
    /// Links pause by themselves after every frame.
    pub(crate) pauses_after_frame: bool,
    /// It sends back text and binary frames.
    pub(crate) echoes: bool,
    /// Frames are news.
    pub(crate) tells_frames: bool,
    /// It has ended.
    pub(crate) finished: bool,
    /// How many links it has asked for.
    pub(crate) dialled: u64,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            actions: VecDeque::new(),
            news: VecDeque::new(),
            limit: 1 << 20,
            paused: BTreeSet::new(),
            pauses_after_frame: false,
            echoes: false,
            tells_frames: true,
            finished: false,
            dialled: 0,
        }
    }
}

impl Probe {
    /// One that sends back what it gets.
    pub(crate) fn echoing() -> Self {
        Self {
            echoes: true,
            ..Self::default()
        }
    }

    /// One that takes frames of up to so many bytes.
    pub(crate) fn limited(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// One whose links pause after every frame.
    pub(crate) fn pausing() -> Self {
        Self {
            pauses_after_frame: true,
            ..Self::default()
        }
    }
}

impl Machine for Probe {
    type Event = Input;

    fn handle_input(&mut self, _now: Time, input: Input) {
        if let Input::Frame { link, frame } = &input {
            if self.pauses_after_frame {
                self.paused.insert(*link);
            }
            if self.echoes && !matches!(frame, Frame::Ping(_) | Frame::Pong(_)) {
                let (link, frame) = (*link, frame.clone());
                self.actions.push_back(Action::Send { link, frame });
            }
        }
        if self.tells_frames || !matches!(input, Input::Frame { .. }) {
            self.news.push_back(input);
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn deadline(&self) -> Option<Deadline> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<Input> {
        self.news.pop_front()
    }

    fn read_limit(&self, link: LinkId) -> usize {
        if self.paused.contains(&link) {
            0
        } else {
            self.limit
        }
    }

    fn is_finished(&self) -> bool {
        self.finished
    }
}
