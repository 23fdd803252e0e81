//! A machine under observation.

use crate::{contract::Contract, transcript};
use relay_proto::{Action, Deadline, Endpoint, Input, LinkId, Machine, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Any machine, with a judge that watches the contract between it and its driver, and a record of what happens.
///
/// It is a machine itself and changes nothing: what it is told it passes on, and what the machine wants done it hands out.
#[derive(Debug)]
pub(crate) struct Monitored<M> {
    machine: M,
    watch: Arc<Watch>,
}

/// What is known of a machine and its driver, for those who watch. It outlives the machine.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    record: Mutex<Record>,
    changed: Condvar,
}

impl Watch {
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the judge has seen what is waited for.
    ///
    /// # Panics
    ///
    /// Where that takes longer than `patience`.
    pub(crate) fn wait(&self, patience: Duration, until: fn(&Contract) -> bool) {
        let is_too_early = |record: &mut Record| !until(&record.contract);
        let waited = self
            .changed
            .wait_timeout_while(self.record(), patience, is_too_early);
        let (record, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "hangs: {:#?}", record.contract);
    }
}

/// What has happened between a machine and its driver.
#[derive(Debug, Default)]
pub(crate) struct Record {
    contract: Contract,
    lines: Vec<Line>,
    /// Accepted links by the order in which the machine has heard of them, whatever ids the driver has used up.
    accepted: Vec<LinkId>,
    streams: BTreeSet<LinkId>,
    accepts_streams: bool,
    closed: bool,
}

/// What was seen of a machine.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What it was told and what it did, link by link, in the order in which it happened there.
    pub(crate) links: Vec<String>,
    /// What it had stored.
    pub(crate) storage: Vec<String>,
    /// What its news say.
    pub(crate) events: Vec<String>,
}

impl Seen {
    pub(crate) fn all(self) -> impl Iterator<Item = String> {
        let links = self.links.into_iter();
        links.chain(self.storage).chain(self.events)
    }
}

#[derive(Debug)]
enum Line {
    Link(LinkId, String),
    /// Bytes of a stream, which come in pieces of any size.
    Received(LinkId, Vec<u8>),
    Storage(String),
    Event(String),
}

impl<M> Monitored<M> {
    /// Puts a machine under observation.
    pub(crate) const fn new(machine: M, watch: Arc<Watch>) -> Self {
        Self { machine, watch }
    }

    /// The machine, to be given commands.
    pub(crate) const fn machine(&mut self) -> &mut M {
        &mut self.machine
    }
}

impl<M: Machine> Machine for Monitored<M> {
    type Event = M::Event;

    fn handle_input(&mut self, now: Time, input: Input) {
        // A machine that has ended ignores what it is told, and so does who watches it.
        if !self.machine.is_finished() {
            let mut record = self.watch.record();
            record.contract.tick(now);
            record.contract.input(&input);
            record.told(&input);
        }
        self.machine.handle_input(now, input);
        self.watch.changed.notify_all();
    }

    fn handle_timeout(&mut self, now: Time) {
        self.watch.record().contract.tick(now);
        self.machine.handle_timeout(now);
        self.watch.record().contract.served(self.machine.deadline());
    }

    fn deadline(&self) -> Option<Deadline> {
        self.machine.deadline()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.watch
            .record()
            .contract
            .handed_out(self.machine.deadline());
        let action = self.machine.poll_action()?;
        let mut record = self.watch.record();
        record.contract.action(&action);
        record.did(&action);
        drop(record);
        Some(action)
    }

    fn poll_event(&mut self) -> Option<M::Event> {
        self.watch
            .record()
            .contract
            .handed_out(self.machine.deadline());
        self.machine.poll_event()
    }

    fn read_limit(&self, link: LinkId) -> usize {
        let limit = self.machine.read_limit(link);
        self.watch.record().contract.limited(link, limit);
        limit
    }

    fn is_finished(&self) -> bool {
        self.machine.is_finished()
    }
}

impl Record {
    /// The judge.
    pub(crate) const fn contract(&self) -> &Contract {
        &self.contract
    }

    /// The links that are accepted from now on are byte streams.
    pub(crate) const fn accept_streams(&mut self) {
        self.accepts_streams = true;
    }

    /// Nothing more belongs to the scenario; the judge goes on.
    pub(crate) const fn close(&mut self) {
        self.closed = true;
    }

    pub(crate) fn event(&mut self, line: String) {
        self.push(Line::Event(line));
    }

    fn push(&mut self, line: Line) {
        if !self.closed {
            self.lines.push(line);
        }
    }

    fn did(&mut self, action: &Action) {
        if let Action::Open { link, endpoint } = action
            && matches!(endpoint, Endpoint::Stream(_))
        {
            self.streams.insert(*link);
        }
        let (link, line) = transcript::action(action);
        self.push(match link {
            Some(link) => Line::Link(link, line),
            None => Line::Storage(line),
        });
    }

    fn told(&mut self, input: &Input) {
        let Some(link) = input.link() else {
            if let Some(line) = transcript::input(input) {
                self.push(Line::Storage(line));
            }
            return;
        };
        if let Input::Accepted { .. } = input {
            self.accepted.push(link);
        }
        match input {
            Input::Accepted { .. } if self.accepts_streams => drop(self.streams.insert(link)),
            Input::Frame { frame, .. } if self.streams.contains(&link) => {
                let bytes = transcript::payload(frame);
                let last = self
                    .lines
                    .iter_mut()
                    .rfind(|line| line.link() == Some(link));
                match last {
                    Some(Line::Received(_, received)) if !self.closed => {
                        received.extend_from_slice(bytes);
                    }
                    _ => self.push(Line::Received(link, bytes.to_vec())),
                }
                return;
            }
            Input::Closed { why, .. }
                if self.streams.contains(&link) && transcript::is_mere_end(why) =>
            {
                return self.push(Line::Link(link, "ended".to_owned()));
            }
            _ => {}
        }
        if let Some(line) = transcript::input(input) {
            self.push(Line::Link(link, line));
        }
    }

    /// What is written down.
    pub(crate) fn seen(&mut self) -> Seen {
        let mut links: BTreeMap<LinkId, Vec<String>> = BTreeMap::new();
        let (mut storage, mut events) = (Vec::new(), Vec::new());
        for line in mem::take(&mut self.lines) {
            match line {
                Line::Link(link, line) => links.entry(link).or_default().push(line),
                Line::Received(link, bytes) => {
                    let line = transcript::received(&bytes);
                    links.entry(link).or_default().push(line);
                }
                Line::Storage(line) => storage.push(line),
                Line::Event(line) => events.push(line),
            }
        }
        for (link, sent) in self.contract.sent() {
            if let Some(lines) = links.get_mut(&link)
                && let Some(line) = transcript::sent(sent)
            {
                lines.push(line);
            }
        }
        let links = links.into_iter();
        let links = links.flat_map(|(link, lines)| {
            let name = self.name(link);
            let told = move |line| format!("{name} {line}");
            lines.into_iter().map(told)
        });
        Seen {
            links: links.collect(),
            storage,
            events,
        }
    }

    fn name(&self, link: LinkId) -> String {
        let accepted = self.accepted.iter().position(|accepted| *accepted == link);
        match accepted {
            Some(index) => LinkId::accepted(index as u64).to_string(),
            None => link.to_string(),
        }
    }
}

impl Line {
    const fn link(&self) -> Option<LinkId> {
        match self {
            Self::Link(link, _) | Self::Received(link, _) => Some(*link),
            Self::Storage(_) | Self::Event(_) => None,
        }
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
