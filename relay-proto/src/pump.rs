//! Runs any machine in the right order, so that "drained" is a value and not a rule to remember.

use crate::{Action, Deadline, Input, Machine, Time};

/// What the driver does next.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored a step would hang"
)]
pub enum Step<E> {
    /// Carry out this action.
    Perform(Action),
    /// Give this event to the application.
    Deliver(E),
    /// Nothing to do until an input, a command, or this deadline.
    Wait {
        /// The wake-up; none: only an input or a command goes on.
        until: Option<Deadline>,
    },
    /// The machine has ended and everything it had to say is said.
    Finished,
}

/// A machine with its run loop.
///
/// A driver calls [`step`](Self::step) until it says [`Step::Wait`], then waits for a socket, a command
/// or the deadline, and starts over. Timers that are due run before anything is handed out, and time never
/// runs backwards for the machine, whatever the driver's clock does.
///
/// ```
/// use relay_proto::{Machine, Pump, Step, Time};
///
/// fn drain<M: Machine>(pump: &mut Pump<M>, now: Time) -> Option<Time> {
///     loop {
///         match pump.step(now) {
///             Step::Perform(_action) => { /* hand it to a socket */ }
///             Step::Deliver(_event) => { /* hand it to the application */ }
///             Step::Wait { until } => return until.map(|deadline| deadline.at),
///             Step::Finished => return None,
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Pump<M> {
    machine: M,
    now: Time,
}

impl<M: Machine> Pump<M> {
    /// Puts a machine into its run loop.
    pub const fn new(machine: M) -> Self {
        Self {
            machine,
            now: Time::ZERO,
        }
    }

    /// The machine, to look at.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Reports a fact to the machine.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        let now = self.advance(now);
        self.machine.handle_input(now, input);
    }

    /// Gives the machine a command: `pump.command(now, |client, now| client.submit(now, submission))`.
    pub fn command<R>(&mut self, now: Time, command: impl FnOnce(&mut M, Time) -> R) -> R {
        let now = self.advance(now);
        command(&mut self.machine, now)
    }

    /// What to do next.
    pub fn step(&mut self, now: Time) -> Step<M::Event> {
        let now = self.advance(now);
        loop {
            if self.machine.deadline().is_some_and(is_due(now)) {
                self.machine.handle_timeout(now);
                debug_assert!(
                    !self.machine.deadline().is_some_and(is_due(now)),
                    "timer {:?} is still due after handle_timeout",
                    self.machine.deadline()
                );
            }
            if let Some(action) = self.machine.poll_action() {
                return Step::Perform(action);
            }
            if let Some(event) = self.machine.poll_event() {
                return Step::Deliver(event);
            }
            if self.machine.is_finished() {
                return Step::Finished;
            }
            let until = self.machine.deadline();
            // A machine may settle its inputs when it is asked for actions, and find then that something has been due.
            if !until.is_some_and(is_due(now)) {
                return Step::Wait { until };
            }
        }
    }

    fn advance(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.now
    }
}

fn is_due(now: Time) -> impl Fn(Deadline) -> bool {
    move |deadline| deadline.at <= now
}
