//! The contract between machine and driver, as a judge that watches both.

use relay_proto::{
    Action, Closure, Deadline, Frame, Input, LinkId, OpenError, Time, storage::BatchId,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
};

/// How many frames a driver may have read before it learns of a smaller limit, besides small ones.
const READ_AHEAD: u64 = 4;

/// How many bytes of small frames it may have read until then.
const READ_AHEAD_BYTES: usize = 128 * 1024;

/// A small frame has fewer bytes than the one, and counts for no fewer than the other.
const SMALL: (usize, usize) = (16 * 1024, 512);

/// Watches what a driver tells a machine and what the machine has it do, and collects what breaks the
/// contract between them (see [`Action`]).
#[derive(Debug, Default)]
pub(crate) struct Contract {
    now: Time,
    links: BTreeMap<LinkId, Link>,
    /// Batches that are to be stored, oldest first.
    batches: VecDeque<BatchId>,
    violations: Vec<String>,
}

#[derive(Debug)]
struct Link {
    stage: Stage,
    /// The machine has asked for its end.
    asked_to_close: bool,
    /// The machine has asked for TLS, and has no answer.
    securing: bool,
    sent: u64,
    written: u64,
    received: Received,
    limits: Limits,
}

/// What has come on a link.
#[derive(Clone, Copy, Debug, Default)]
struct Received {
    large: u64,
    small_bytes: usize,
}

impl Received {
    fn count(&mut self, frame: &Frame) {
        match frame.len() {
            small if small < SMALL.0 => self.small_bytes += small.max(SMALL.1),
            _ => self.large += 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    Ended,
}

/// The limits a frame may have been read under.
#[derive(Debug, Default)]
struct Limits {
    now: usize,
    /// Earlier ones, and what had come when each was replaced.
    before: VecDeque<(usize, Received)>,
}

/// What became of the frames a machine has sent on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) written: u64,
}

impl Link {
    fn new(stage: Stage) -> Self {
        Self {
            stage,
            asked_to_close: false,
            securing: false,
            sent: 0,
            written: 0,
            received: Received::default(),
            limits: Limits::default(),
        }
    }
}

impl Limits {
    fn set(&mut self, limit: usize, received: Received) {
        if limit != self.now {
            self.before.push_back((self.now, received));
            self.now = limit;
        }
    }

    /// The largest limit that the next frame may have been read under, when this has come.
    fn largest(&mut self, received: Received) -> usize {
        self.before.retain(|(_, then)| {
            received.large < then.large + READ_AHEAD
                && received.small_bytes < then.small_bytes + READ_AHEAD_BYTES
        });
        let before = self.before.iter().map(|(limit, _)| *limit);
        before.chain([self.now]).max().unwrap_or_default()
    }
}

impl Contract {
    /// What has broken the contract so far.
    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The links that are being opened or open.
    pub(crate) fn live(&self) -> impl Iterator<Item = LinkId> {
        let live = |link: &Link| link.stage != Stage::Ended;
        self.links
            .iter()
            .filter(move |(_, link)| live(link))
            .map(|(id, _)| *id)
    }

    /// Whether no fact is to come but by what peers, the machine or the clock may do: what was to be written
    /// or stored is, and what was to be opened or closed is.
    pub(crate) fn is_at_rest(&self) -> bool {
        let rests = |link: &Link| match link.stage {
            Stage::Opening => false,
            Stage::Open => link.written == link.sent && !link.asked_to_close && !link.securing,
            Stage::Ended => true,
        };
        self.batches.is_empty() && self.links.values().all(rests)
    }

    pub(crate) fn sent(&self) -> impl Iterator<Item = (LinkId, Sent)> {
        self.links.iter().map(|(id, link)| {
            let (frames, written) = (link.sent, link.written);
            (*id, Sent { frames, written })
        })
    }

    /// The driver tells the machine the time, with a fact or because a timer is due.
    pub(crate) fn tick(&mut self, now: Time) {
        if now < self.now {
            let before = self.now;
            self.violate(format_args!("time ran back from {before:?} to {now:?}"));
        }
        self.now = self.now.max(now);
    }

    /// The driver takes an action or an event; `deadline` is the machine's.
    pub(crate) fn handed_out(&mut self, deadline: Option<Deadline>) {
        if let Some(Deadline { at, timer }) = deadline
            && at <= self.now
        {
            self.violate(format_args!(
                "the timer {timer:?} was due and not served before the machine was asked for more"
            ));
        }
    }

    /// The machine has served its timers; `deadline` is the next.
    pub(crate) fn served(&mut self, deadline: Option<Deadline>) {
        if let Some(Deadline { at, timer }) = deadline
            && at <= self.now
        {
            self.violate(format_args!(
                "the machine's timer {timer:?} is due again at once"
            ));
        }
    }

    /// The machine has said how much it reads from a link.
    pub(crate) fn limited(&mut self, id: LinkId, limit: usize) {
        if let Some(link) = self.links.get_mut(&id) {
            link.limits.set(limit, link.received);
            if link.securing && limit > 0 {
                self.violate(format_args!("{id}: read although TLS is being started"));
            }
        }
    }

    /// The driver has taken an action.
    pub(crate) fn action(&mut self, action: &Action) {
        match action {
            Action::Open { link: id, .. } => {
                if is_accepted(*id) {
                    self.violate(format_args!(
                        "{id}: opened under the id of an accepted link"
                    ));
                }
                if self.links.insert(*id, Link::new(Stage::Opening)).is_some() {
                    self.violate(format_args!("{id}: opened under an id used before"));
                }
            }
            Action::Send { link: id, .. } => match self.links.get_mut(id) {
                Some(link) if link.stage == Stage::Open && !link.asked_to_close => {
                    link.sent += 1;
                    if link.securing {
                        self.violate(format_args!("{id}: Send although TLS is being started"));
                    }
                }
                // What is said too late goes nowhere and has no answer.
                Some(link) if link.stage != Stage::Opening => {}
                _ => self.violate(format_args!("{id}: Send on a link that is not open yet")),
            },
            Action::StartTls { link: id } => match self.links.get_mut(id) {
                Some(link) if link.stage == Stage::Open && !link.securing => link.securing = true,
                // On a link that has ended it goes nowhere.
                Some(link) if link.stage == Stage::Ended => {}
                _ => self.violate(format_args!("{id}: StartTls out of place")),
            },
            Action::Close { link: id, .. } => match self.links.get_mut(id) {
                Some(link) => link.asked_to_close = true,
                None => self.violate(format_args!("{id}: Close of a link that never was")),
            },
            Action::Store { batch, .. } => self.batches.push_back(*batch),
        }
    }

    /// The driver reports a fact.
    pub(crate) fn input(&mut self, input: &Input) {
        let Some(id) = input.link() else {
            return self.stored(input);
        };
        if let Input::Accepted { .. } = input {
            if !is_accepted(id) {
                self.violate(format_args!(
                    "{id}: accepted under the id of a dialled link"
                ));
            }
            if self.links.insert(id, Link::new(Stage::Open)).is_some() {
                self.violate(format_args!("{id}: accepted under an id used before"));
            }
            return;
        }
        let Some(link) = self.links.get_mut(&id) else {
            return self.violate(format_args!("{id}: {input:?} of a link that never was"));
        };
        let mut broken = String::new();
        let stage = link.stage;
        let mut expect = |expected: Stage| {
            if stage != expected {
                let _ = write!(broken, "{input:?} of a link that is {stage:?}");
            }
            stage == expected
        };
        match input {
            Input::Opened { .. } => {
                if expect(Stage::Opening) {
                    link.stage = Stage::Open;
                }
            }
            Input::OpenFailed { why, .. } => {
                if expect(Stage::Opening) {
                    link.stage = Stage::Ended;
                    if *why == OpenError::Abandoned && !link.asked_to_close {
                        broken.push_str("given up although the machine did not ask for it");
                    }
                }
            }
            Input::Secured { .. } => {
                if expect(Stage::Open) {
                    if !link.securing {
                        broken.push_str("Secured without a StartTls");
                    } else if link.written < link.sent {
                        broken.push_str("Secured before what was sent in clear is written");
                    }
                    link.securing = false;
                }
            }
            Input::Frame { frame, .. } if link.securing => {
                let _ = write!(broken, "{frame:?} although TLS is being started");
            }
            Input::Frame { frame, .. } => {
                if expect(Stage::Open) {
                    let limit = link.limits.largest(link.received);
                    link.received.count(frame);
                    let is_control = matches!(frame, Frame::Ping(_) | Frame::Pong(_));
                    if limit == 0 || (frame.len() > limit && !is_control) {
                        let _ = write!(broken, "{frame:?} although the limit is {limit}");
                    }
                }
            }
            Input::Written { .. } => {
                if expect(Stage::Open) {
                    if link.written == link.sent {
                        broken.push_str("Written without a Send");
                    } else {
                        link.written += 1;
                    }
                }
            }
            Input::Closed { why, .. } => {
                if expect(Stage::Open) {
                    link.stage = Stage::Ended;
                    if *why == Closure::Local && !link.asked_to_close {
                        broken.push_str("closed by this side although the machine did not ask");
                    }
                }
            }
            other => {
                let _ = write!(broken, "{other:?} is unknown to the contract");
            }
        }
        if !broken.is_empty() {
            self.violate(format_args!("{id}: {broken}"));
        }
    }

    fn stored(&mut self, input: &Input) {
        let Input::Stored { batch, .. } = input else {
            return self.violate(format_args!("{input:?} is unknown to the contract"));
        };
        let expected = self.batches.front().copied();
        if expected == Some(*batch) {
            self.batches.pop_front();
        } else {
            self.violate(format_args!(
                "batch {batch}: Stored, where the answer to {expected:?} was to come"
            ));
        }
    }

    fn violate(&mut self, what: std::fmt::Arguments<'_>) {
        self.violations.push(what.to_string());
    }
}

/// Who has issued an id is told by how it is shown.
fn is_accepted(id: LinkId) -> bool {
    id.to_string().starts_with("in-")
}

#[cfg(test)]
#[path = "contract_tests.rs"]
mod tests;
