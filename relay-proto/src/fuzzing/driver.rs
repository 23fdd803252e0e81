//! A driver that keeps to the contract of [`crate::machine`], for peers and applications that keep to nothing.

use crate::{
    Action, Closure, Endpoint, Frame, Input, LinkId, Machine, OpenError, Pump, Step, Time,
    storage::{BatchId, Record, StorageError, Write},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use bytes::Bytes;
use core::{str, time::Duration};

/// More than a machine may hand out for a link that takes nothing, in bytes.
const MAX_UNWRITTEN: usize = 1024 * 1024;

/// More than a machine may do without being told anything.
const MAX_STEPS: usize = 10_000;

/// What an SMTP server may say at some time.
pub(super) const REPLIES: [&str; 12] = [
    "220 mx.example\r\n",
    "250-mx.example\r\n250-SIZE 100\r\n250 8BITMIME\r\n",
    "250-mx.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
    "250-mx.example\r\n250 PIPELINING\r\n",
    "250 2.0.0 ok\r\n",
    "354 go on\r\n",
    "221 bye\r\n",
    "421 4.3.2 busy\r\n",
    "451 4.3.0 later\r\n",
    "550 5.7.1 no\r\n",
    "250-",
    "250 ok\r\n250 ok\r\n",
];

/// What is left of a fuzz input. Every draw takes something, and behind the end there are zeros.
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl<'a> Choices<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    pub(super) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let index = usize::from(self.byte()) % of.len().max(1);
        of.get(index).copied()
    }
}

#[derive(Default)]
struct Link {
    /// A byte stream, not a WebSocket.
    stream: bool,
    open: bool,
    closing: bool,
    unwritten: Vec<usize>,
}

/// A machine, its links and its clock.
pub(super) struct Driver<M: Machine> {
    pub(super) pump: Pump<M>,
    pub(super) now: Time,
    links: BTreeMap<LinkId, Link>,
    accepted: u64,
    /// What the machine has said on WebSockets, since this was last taken.
    pub(super) said: Vec<(LinkId, Frame)>,
    batches: VecDeque<(BatchId, Vec<Write>)>,
    /// What is stored, by table and key.
    records: BTreeMap<(&'static str, Bytes), Bytes>,
}

impl<M: Machine> Driver<M> {
    pub(super) fn new(machine: M) -> Self {
        Self {
            pump: Pump::new(machine),
            now: Time::ZERO,
            links: BTreeMap::new(),
            accepted: 0,
            said: Vec::new(),
            batches: VecDeque::new(),
            records: BTreeMap::new(),
        }
    }

    /// Does what the machine wants, and returns its events.
    pub(super) fn run(&mut self) -> Vec<M::Event> {
        let mut events = Vec::new();
        for _ in 0..MAX_STEPS {
            match self.pump.step(self.now) {
                Step::Perform(action) => self.perform(action),
                Step::Deliver(event) => events.push(event),
                Step::Wait { until } => {
                    assert!(until.is_none_or(|until| until.at > self.now));
                    return events;
                }
                Step::Finished => return events,
            }
        }
        panic!("the machine is never done");
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Open { link, endpoint } => {
                let state = Link {
                    stream: matches!(endpoint, Endpoint::Stream(_)),
                    ..Link::default()
                };
                let known = self.links.insert(link, state);
                assert!(known.is_none(), "{link} is opened twice");
            }
            Action::Send { link, frame } => {
                let state = self
                    .links
                    .get_mut(&link)
                    .expect("a link that is sent on is there");
                assert!(state.open && !state.closing, "{link} is sent on");
                if let Frame::Text(text) = &frame {
                    assert!(str::from_utf8(text).is_ok());
                }
                state.unwritten.push(frame.len());
                let is_stream = state.stream;
                assert!(state.unwritten.iter().sum::<usize>() <= MAX_UNWRITTEN);
                if !is_stream {
                    self.said.push((link, frame));
                }
            }
            Action::StartTls { link } => panic!("{link} is to be secured"),
            Action::Close { link, .. } => {
                let state = self
                    .links
                    .get_mut(&link)
                    .expect("a link that is closed is there");
                assert!(!state.closing, "{link} is closed twice");
                state.closing = true;
            }
            Action::Store { batch, writes } => {
                assert!(!writes.is_empty());
                self.batches.push_back((batch, writes));
            }
        }
    }

    /// The process is killed and another begins, with what is stored.
    pub(super) fn crash(self, restart: impl FnOnce(Time, Vec<Record>) -> M) -> Self {
        let record = |((table, key), value): (&(&str, Bytes), &Bytes)| Record {
            table: (*table).into(),
            key: key.clone(),
            value: value.clone(),
            age: Duration::ZERO,
        };
        let machine = restart(self.now, self.records.iter().map(record).collect());
        Self {
            now: self.now,
            records: self.records,
            ..Self::new(machine)
        }
    }

    /// Whether something is to be stored.
    pub(super) fn stores(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Stores the oldest batch, or fails to, where there is one.
    pub(super) fn store(&mut self, choices: &mut Choices<'_>) {
        let Some((batch, writes)) = self.batches.pop_front() else {
            return;
        };
        let result = if choices.byte().is_multiple_of(4) {
            let detail = "the disk".into();
            Err(StorageError::Full { detail })
        } else {
            for write in writes {
                match write {
                    Write::Put { table, key, value } => self.records.insert((table, key), value),
                    Write::Delete { table, key } => self.records.remove(&(table, key)),
                };
            }
            Ok(())
        };
        self.tell(Input::Stored { batch, result });
    }

    /// The link that is accepted next.
    pub(super) const fn next_accepted(&self) -> LinkId {
        LinkId::accepted(self.accepted)
    }

    pub(super) fn accept(&mut self, choices: &mut Choices<'_>) {
        let link = LinkId::accepted(self.accepted);
        self.accepted += 1;
        let state = Link {
            open: true,
            ..Link::default()
        };
        self.links.insert(link, state);
        let peer = (choices.byte().is_multiple_of(2)).then_some([127, 0, 0, 1].into());
        self.tell(Input::Accepted { link, peer });
    }

    /// Lets something happen to one of the links: what its peer says comes from `says`, which is told whether it is a
    /// byte stream. Returns what the machine was told.
    pub(super) fn disturb(
        &mut self,
        choices: &mut Choices<'_>,
        says: impl FnOnce(LinkId, bool, &mut Choices<'_>) -> Frame,
    ) -> Option<(LinkId, Frame)> {
        let links: Vec<_> = self.links.keys().copied().collect();
        let link = choices.one_of(&links)?;
        let state = self.links.get_mut(&link).expect("the link was just listed");
        let input = match choices.byte() % 8 {
            _ if !state.open => {
                if choices.byte().is_multiple_of(4) || state.closing {
                    self.links.remove(&link);
                    let why = OpenError::Abandoned;
                    Input::OpenFailed { link, why }
                } else {
                    state.open = true;
                    Input::Opened { link }
                }
            }
            0 => {
                let closing = self.links.remove(&link).is_some_and(|state| state.closing);
                let why = if closing {
                    Closure::Local
                } else {
                    Closure::Lost {
                        detail: "cut".into(),
                    }
                };
                Input::Closed { link, why }
            }
            1 | 2 => {
                if state.unwritten.is_empty() {
                    return None;
                }
                state.unwritten.remove(0);
                Input::Written { link }
            }
            _ => {
                let frame = says(link, state.stream, choices);
                if frame.len() > self.pump.machine().read_limit(link) {
                    return None;
                }
                self.tell(Input::Frame {
                    link,
                    frame: frame.clone(),
                });
                return Some((link, frame));
            }
        };
        self.tell(input);
        None
    }

    /// A while passes: from nothing to more than any timeout.
    pub(super) fn wait(&mut self, choices: &mut Choices<'_>) {
        self.now = self
            .now
            .after(Duration::from_millis(1 << (choices.byte() % 22)));
    }

    fn tell(&mut self, input: Input) {
        self.pump.handle_input(self.now, input);
    }

    /// Ends every link, as a driver does whose machine has ended, and checks that it has.
    pub(super) fn finish(mut self) {
        assert!(self.pump.machine().is_finished());
        for (link, state) in core::mem::take(&mut self.links) {
            let input = if state.open {
                let why = Closure::Local;
                Input::Closed { link, why }
            } else {
                let why = OpenError::Abandoned;
                Input::OpenFailed { link, why }
            };
            self.tell(input);
        }
        assert_eq!(self.run().len(), 0);
        assert!(self.pump.machine().deadline().is_none());
    }
}

/// A JSON frame, or part of one, or anything.
pub(super) fn text(choices: &mut Choices<'_>, known: &[&str]) -> Frame {
    let length = usize::from(choices.byte());
    if length < 200
        && let Some(known) = choices.one_of(known)
    {
        return Frame::Text(Bytes::copy_from_slice(known.as_bytes()));
    }
    let payload = Bytes::copy_from_slice(choices.bytes(length));
    match choices.byte() % 4 {
        0 => Frame::Ping(payload),
        1 => Frame::Pong(payload),
        2 => Frame::Binary(payload),
        _ if str::from_utf8(&payload).is_ok() => Frame::Text(payload),
        _ => Frame::Binary(payload),
    }
}

/// A line, or part of one, or anything.
pub(super) fn stream(choices: &mut Choices<'_>, known: &[&str]) -> Bytes {
    let length = usize::from(choices.byte());
    if length < 200
        && let Some(known) = choices.one_of(known)
    {
        return Bytes::copy_from_slice(known.as_bytes());
    }
    // A stream never hands over nothing.
    match choices.bytes(length) {
        [] => Bytes::from_static(b"\r"),
        bytes => Bytes::copy_from_slice(bytes),
    }
}
