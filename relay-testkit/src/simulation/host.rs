//! One machine on the network, with the application behind it.

use relay_proto::{Action, Input, LinkId, Machine, Pump, Step, Time};
use std::{mem, time::Duration};

/// One machine and the application behind it.
pub(super) trait Host {
    fn handle_input(&mut self, now: Time, input: Input);
    /// Delivers events to the application and returns the next action; none: it waits until the time given.
    fn step(&mut self, now: Time) -> Result<Action, Option<Time>>;
    fn read_limit(&self, link: LinkId) -> usize;
}

/// A machine whose application is a closure.
pub struct Node<M: Machine> {
    /// The machine in its run loop.
    pub pump: Pump<M>,
    /// It has done its last.
    pub(super) is_finished: bool,
    application: Application<M>,
}

type Application<M> = Box<dyn FnMut(&mut M, Time, <M as Machine>::Event)>;

impl<M: Machine> Node<M> {
    pub(super) fn new(machine: M, application: Application<M>) -> Self {
        Self {
            pump: Pump::new(machine),
            is_finished: false,
            application,
        }
    }

    /// Another machine takes the place of this one.
    pub(super) fn restart(&mut self, machine: M) {
        self.pump = Pump::new(machine);
        self.is_finished = false;
    }
}

impl<M: Machine> Host for Node<M> {
    fn handle_input(&mut self, now: Time, input: Input) {
        self.pump.handle_input(now, input);
    }

    fn step(&mut self, now: Time) -> Result<Action, Option<Time>> {
        loop {
            match self.pump.step(now) {
                Step::Perform(action) => return Ok(action),
                Step::Deliver(event) => {
                    let application = &mut self.application;
                    self.pump
                        .command(now, |machine, now| application(machine, now, event));
                }
                Step::Wait { until } => {
                    if let Some(deadline) = until {
                        assert!(
                            deadline.at > now,
                            "no deadline is in the past: {deadline:?} at {now:?}"
                        );
                    }
                    return Err(until.map(|deadline| deadline.at));
                }
                Step::Finished => {
                    // Another takes its place at once, before the clock goes far.
                    let next = now.after(Duration::from_millis(1));
                    return Err((!mem::replace(&mut self.is_finished, true)).then_some(next));
                }
            }
        }
    }

    fn read_limit(&self, link: LinkId) -> usize {
        self.pump.machine().read_limit(link)
    }
}
