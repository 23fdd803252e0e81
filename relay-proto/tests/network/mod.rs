//! A virtual network: machines joined by wires with latency, small socket buffers and faults, on one
//! virtual clock and one seed. No socket, no thread, no waiting.

mod disk;

use disk::{ANSWERS, Disk};
use relay_proto::{
    Action, Closure, Endpoint, Frame, Input, LinkId, Machine, OpenError, Pump, Random, Step, Time,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// How many frames a socket buffer takes before the sender has to wait for the reader.
const BUFFER: usize = 4;

/// One machine and the application behind it.
pub(crate) trait Host {
    fn handle_input(&mut self, now: Time, input: Input);
    /// Delivers events to the application and returns the next action; none: it waits until the time given.
    fn step(&mut self, now: Time) -> Result<Action, Option<Time>>;
    fn read_limit(&self, link: LinkId) -> usize;
}

pub(crate) struct Node<M, A> {
    pub(crate) pump: Pump<M>,
    pub(crate) application: A,
}

impl<M: Machine, A: FnMut(&mut M, Time, M::Event)> Host for Node<M, A> {
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
                Step::Wait { until } => return Err(until.map(|deadline| deadline.at)),
                Step::Finished => return Err(None),
            }
        }
    }

    fn read_limit(&self, link: LinkId) -> usize {
        self.pump.machine().read_limit(link)
    }
}

/// One end of a wire: the host's index and its name for the link.
type End = (usize, LinkId);

/// What is on its way to one end.
#[derive(Default)]
struct Lane {
    frames: VecDeque<(Time, Input)>,
    /// Senders' frames that are not in the socket buffer yet.
    unwritten: usize,
}

/// What goes wrong, each with a chance in a thousand at every frame sent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// The wire is cut; both ends learn of it.
    pub(crate) cut: u64,
    /// The wire goes dead; nobody learns of it.
    pub(crate) dead: u64,
    /// The connection cannot be opened.
    pub(crate) refuse: u64,
    /// The disk has no room for a batch.
    pub(crate) full: u64,
}

pub(crate) struct Network {
    pub(crate) now: Time,
    pub(crate) random: Random,
    pub(crate) latency: Duration,
    pub(crate) faults: Faults,
    pub(crate) frames: u64,
    /// This host reads nothing until then.
    pub(crate) stalled: Option<(usize, Time)>,
    /// The disk of the one host that has one.
    pub(crate) disk: Disk,
    peers: BTreeMap<End, End>,
    lanes: BTreeMap<End, Lane>,
    accepted: u64,
    /// The most bytes that were ever under way to one end of a wire.
    pub(crate) largest_lane_bytes: usize,
    /// Indices of the hosts that take WebSockets and byte streams.
    pub(crate) websocket_host: usize,
    pub(crate) stream_host: usize,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            now: Time::ZERO,
            random: Random::new(bytes),
            latency: Duration::from_millis(10),
            faults: Faults::default(),
            frames: 0,
            stalled: None,
            disk: Disk::default(),
            peers: BTreeMap::new(),
            lanes: BTreeMap::new(),
            accepted: 0,
            largest_lane_bytes: 0,
            websocket_host: 1,
            stream_host: 2,
        }
    }

    /// Lets everything happen that happens before `end`, and makes it `end`.
    pub(crate) fn run(&mut self, hosts: &mut [&mut dyn Host], end: Time) {
        loop {
            let mut wake_up: Option<Time> = None;
            for index in 0..hosts.len() {
                loop {
                    match hosts[index].step(self.now) {
                        Ok(action) => self.perform(hosts, index, action),
                        Err(until) => {
                            wake_up = [wake_up, until].into_iter().flatten().min();
                            break;
                        }
                    }
                }
            }
            if self.deliver(hosts) {
                continue;
            }
            if self.stalled.is_some_and(|(_, until)| until <= self.now) {
                self.stalled = None;
                continue;
            }
            let wake_up = [wake_up, self.stalled.map(|(_, until)| until)];
            let wake_up = wake_up.into_iter().flatten().min();
            let arrival = self.next_arrival(hosts);
            let next = [wake_up, arrival].into_iter().flatten().min();
            if next.is_none_or(|next| next > end) {
                self.now = end;
                return;
            }
            self.now = self.now.max(next.unwrap_or(end));
        }
    }

    /// The host is gone with everything it knew; its peers find their links cut. The next machine in its place has
    /// other links.
    pub(crate) fn crash(&mut self, host: usize) {
        if self.lanes.contains_key(&(host, ANSWERS)) {
            let stored = self.random.next_u64() as usize % 3;
            self.disk.crash(self.now, stored);
        }
        let ends = self.peers.keys().filter(|(index, _)| *index == host);
        for end in ends.copied().collect::<Vec<_>>() {
            self.cut(end);
        }
        self.lanes.retain(|(index, _), _| *index != host);
    }

    pub(crate) fn chance(&mut self, in_a_thousand: u64) -> bool {
        self.random.next_u64() % 1000 < in_a_thousand
    }

    fn perform(&mut self, hosts: &mut [&mut dyn Host], index: usize, action: Action) {
        match action {
            Action::Open { link, endpoint } => {
                let end = (index, link);
                if self.chance(self.faults.refuse) {
                    let why = OpenError::Unreachable {
                        endpoint: endpoint.to_string(),
                        detail: "refused by the test".into(),
                    };
                    self.post(end, Input::OpenFailed { link, why });
                    return;
                }
                let host = match endpoint {
                    Endpoint::WebSocket(_) => self.websocket_host,
                    Endpoint::Stream(_) => self.stream_host,
                };
                let peer = (host, LinkId::accepted(self.accepted));
                self.accepted += 1;
                self.peers.insert(end, peer);
                self.peers.insert(peer, end);
                self.post(
                    peer,
                    Input::Accepted {
                        link: peer.1,
                        peer: Some([10, 0, 0, 1].into()),
                    },
                );
                self.post(end, Input::Opened { link });
            }
            Action::Send { link, frame } => {
                let end = (index, link);
                self.frames += 1;
                if self.chance(self.faults.cut) {
                    self.cut(end);
                } else if self.chance(self.faults.dead) {
                    self.unplug(end);
                }
                let Some(peer) = self.peers.get(&end).copied() else {
                    return;
                };
                let input = match frame {
                    Frame::Ping(payload) => {
                        // The peer's transport answers by itself.
                        self.post(
                            end,
                            Input::Frame {
                                link,
                                frame: Frame::Pong(payload.clone()),
                            },
                        );
                        Input::Frame {
                            link: peer.1,
                            frame: Frame::Ping(payload),
                        }
                    }
                    frame => Input::Frame {
                        link: peer.1,
                        frame,
                    },
                };
                self.post(peer, input);
                let lane = self.lanes.entry(peer).or_default();
                let bytes = lane.frames.iter().map(|(_, input)| match input {
                    Input::Frame { frame, .. } => frame.len(),
                    _ => 0,
                });
                self.largest_lane_bytes = self.largest_lane_bytes.max(bytes.sum());
                if lane.frames.len() > BUFFER {
                    lane.unwritten += 1;
                } else {
                    hosts[index].handle_input(self.now, Input::Written { link });
                }
            }
            Action::StartTls { link } => panic!("nobody here starts TLS, and {link} would"),
            Action::Store { batch, writes } => {
                let full = self.chance(self.faults.full);
                let answer = self.disk.take(batch, writes, full);
                self.post((index, ANSWERS), answer);
            }
            Action::Close { link, code, reason } => {
                let end = (index, link);
                if let Some(peer) = self.peers.remove(&end) {
                    self.peers.remove(&peer);
                    let why = Closure::Peer {
                        code: Some(code),
                        reason,
                    };
                    self.post(peer, Input::Closed { link: peer.1, why });
                }
                self.lanes.remove(&end);
                hosts[index].handle_input(
                    self.now,
                    Input::Closed {
                        link,
                        why: Closure::Local,
                    },
                );
            }
        }
    }

    fn post(&mut self, to: End, input: Input) {
        let jitter = self.random.up_to(self.latency);
        let lane = self.lanes.entry(to).or_default();
        let earliest = lane.frames.back().map_or(Time::ZERO, |(at, _)| *at);
        let at = self.now.after(self.latency + jitter).max(earliest);
        lane.frames.push_back((at, input));
    }

    /// What was on its way is lost; both ends learn of the cut.
    fn cut(&mut self, end: End) {
        let Some(peer) = self.peers.remove(&end) else {
            return;
        };
        self.peers.remove(&peer);
        for (host, link) in [end, peer] {
            let lane = self.lanes.entry((host, link)).or_default();
            // A connection being opened is still answered once.
            let opening = |(_, input): &(Time, Input)| {
                matches!(input, Input::Opened { .. } | Input::Accepted { .. })
            };
            lane.frames.retain(opening);
            lane.unwritten = 0;
            let why = Closure::Lost {
                detail: "cut by the test".into(),
            };
            self.post((host, link), Input::Closed { link, why });
        }
    }

    /// Nothing gets through any more, and nobody is told: a half-open link.
    fn unplug(&mut self, end: End) {
        if let Some(peer) = self.peers.remove(&end) {
            self.peers.remove(&peer);
            for end in [end, peer] {
                if let Some(lane) = self.lanes.get_mut(&end) {
                    let opening = |(_, input): &(Time, Input)| {
                        matches!(input, Input::Opened { .. } | Input::Accepted { .. })
                    };
                    lane.frames.retain(opening);
                }
            }
        }
    }

    /// Hands over everything that has arrived and that its receiver reads.
    fn deliver(&mut self, hosts: &mut [&mut dyn Host]) -> bool {
        let arrived = self.lanes.iter().find_map(|(end, lane)| {
            let (at, input) = lane.frames.front()?;
            (*at <= self.now && self.reads(hosts, *end, input)).then_some(*end)
        });
        let Some(end) = arrived else { return false };
        let lane = self.lanes.get_mut(&end).expect("it was found");
        let (_, input) = lane.frames.pop_front().expect("it was found");
        let written = lane.unwritten > 0 && lane.frames.len() >= BUFFER;
        lane.unwritten -= usize::from(written);
        if matches!(input, Input::Closed { .. } | Input::OpenFailed { .. }) {
            self.lanes.remove(&end);
        }
        if written && let Some((host, link)) = self.peers.get(&end).copied() {
            hosts[host].handle_input(self.now, Input::Written { link });
        }
        self.disk.answer(self.now, &input);
        hosts[end.0].handle_input(self.now, input);
        true
    }

    fn next_arrival(&self, hosts: &[&mut dyn Host]) -> Option<Time> {
        let fronts = self.lanes.iter().filter_map(|(end, lane)| {
            let (at, input) = lane.frames.front()?;
            self.reads(hosts, *end, input).then_some(*at)
        });
        fronts.min()
    }

    /// Whether the receiver reads from this link now. Only what the peer sent waits for it.
    fn reads(&self, hosts: &[&mut dyn Host], (host, link): End, input: &Input) -> bool {
        match input {
            Input::Frame { .. } | Input::Closed { .. } => {
                let is_stalled = self.stalled.is_some_and(|(stalled, _)| stalled == host);
                hosts[host].read_limit(link) > 0 && !is_stalled
            }
            _ => true,
        }
    }
}
