//! A machine that does what a test tells it and reports all it is told; the bindings' tests share it.

use relay_proto::{Action, Deadline, Frame, Input, LinkId, Machine, Time};
use std::collections::{BTreeSet, VecDeque};

pub(crate) struct Probe {
    pub(crate) actions: VecDeque<Action>,
    pub(crate) news: VecDeque<Input>,
    /// The read limit of every link that is not paused.
    pub(crate) limit: usize,
    pub(crate) paused: BTreeSet<LinkId>,
    /// Links pause by themselves after every frame.
    pub(crate) pauses_after_frame: bool,
    pub(crate) echoes: bool,
    pub(crate) finished: bool,
    pub(crate) dialled: u64,
}

impl Probe {
    pub(crate) const fn new() -> Self {
        Self {
            actions: VecDeque::new(),
            news: VecDeque::new(),
            limit: 1 << 20,
            paused: BTreeSet::new(),
            pauses_after_frame: false,
            echoes: false,
            finished: false,
            dialled: 0,
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
        self.news.push_back(input);
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
