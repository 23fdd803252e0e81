//! A machine that is nothing but a clock.

use relay_proto::{Action, Deadline, Input, LinkId, Machine, Time};

/// Reports the time of every alarm it is set to.
#[derive(Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "tests set what they need")]
pub struct Alarm {
    /// When it rings next.
    pub at: Option<Time>,
    /// When it rang, until the application hears of it.
    pub rung: Option<Time>,
    /// It has ended.
    pub finished: bool,
}

impl Machine for Alarm {
    type Event = Time;

    fn handle_input(&mut self, _now: Time, _input: Input) {}

    fn handle_timeout(&mut self, now: Time) {
        self.at = None;
        self.rung = Some(now);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.at.map(|at| Deadline { at, timer: "alarm" })
    }

    fn poll_action(&mut self) -> Option<Action> {
        None
    }

    fn poll_event(&mut self) -> Option<Time> {
        self.rung.take()
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        0
    }

    fn is_finished(&self) -> bool {
        self.finished
    }
}
