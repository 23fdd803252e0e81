//! Who stands behind a machine, in the words every binding shares.

use crate::{Machine, Time};

/// What stands behind a machine: it takes the news and may answer at once.
///
/// Both methods run where the machine runs and must not block it; what takes time goes elsewhere and comes back
/// with a call of the binding's driver. A closure over machine, time and event is an application, too.
pub trait Application<M: Machine>: Send + 'static {
    /// Takes an event. Commands may be given to the machine on the spot.
    fn handle_event(&mut self, machine: &mut M, now: Time, event: M::Event);

    /// Learns, once, that the last handle to the driver is gone, so that no more calls can come.
    ///
    /// The machine keeps running unless this tells it to end. Does nothing by default.
    fn handle_abandoned(&mut self, machine: &mut M, now: Time) {
        let _ = (machine, now);
    }
}

impl<M, F> Application<M> for F
where
    M: Machine,
    F: FnMut(&mut M, Time, M::Event) + Send + 'static,
{
    fn handle_event(&mut self, machine: &mut M, now: Time, event: M::Event) {
        self(machine, now, event);
    }
}

/// The machine has ended, so the call was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine has ended")]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct Stopped;

/// How many events a reader was too slow for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} events were missed")]
#[expect(clippy::exhaustive_structs, reason = "a number and no more")]
pub struct Missed(pub u64);
