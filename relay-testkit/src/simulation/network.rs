//! A virtual network: machines joined by wires with latency, small socket buffers and faults, on one
//! virtual clock and one seed. No socket, no thread, no waiting.

use super::{
    disk::{ANSWERS, Disk},
    host::Host,
    trace::{self, Trace},
};
use relay_proto::{
    Action, Closure, Endpoint, Frame, Input, LinkId, OpenError, Random, Time, storage::BatchId,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// How many frames a socket buffer takes before the sender has to wait for the reader.
const BUFFER: usize = 4;

/// The relay's place among the hosts, which takes WebSockets.
pub(super) const RELAY: usize = 1;
/// The mail server's, which takes byte streams.
pub(super) const SERVER: usize = 2;
/// The clients' places. Not every world has all.
pub(super) const CLIENTS: [usize; 3] = [0, 3, 4];
/// How many hosts there are at most.
pub(super) const HOSTS: usize = 5;
/// What they are called in a trace.
pub(super) const NAMES: [&str; HOSTS] = ["client", "relay", "server", "client 2", "client 3"];

/// One end of a wire: the host's index and its name for the link.
pub(super) type End = (usize, LinkId);

/// What is on its way to one end.
#[derive(Default)]
struct Lane {
    frames: VecDeque<(Time, Input)>,
    /// Senders' frames that are not in the socket buffer yet.
    unwritten: usize,
}

/// How a wire breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Both ends learn of it.
    Cut,
    /// Nobody learns of it: a half-open link.
    Dead,
    /// The end that dialled learns of it, and what it had sent still arrives, late: the old socket is still writing.
    Zombie,
    /// The end that was dialled learns of it, and the other does not.
    Reset,
}

/// What goes wrong by itself, each with a chance in a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A wire is cut, at each frame.
    pub cut: u64,
    /// A wire goes dead, at each frame.
    pub dead: u64,
    /// One end alone learns that the wire is gone, at each frame.
    pub zombie: u64,
    /// A connection cannot be opened.
    pub refuse: u64,
    /// A disk does not take a batch.
    pub full: u64,
    /// A disk takes seconds for a batch.
    pub slow_disk: u64,
}

/// What one turn has brought to a host.
pub(super) enum Told {
    /// A frame from that end has arrived, and so has all that end has sent.
    Caught { to: End, from: End },
    /// A batch is stored, or is not.
    Stored {
        host: usize,
        batch: BatchId,
        is_stored: bool,
    },
}

/// The wires, the clock and the disks.
pub struct Network {
    /// The time of the world. Each host has its own besides.
    pub now: Time,
    pub(super) random: Random,
    pub(super) latency: Duration,
    pub(super) faults: Faults,
    /// Breaks of wires between client and relay that are planned, by the number of the frame they strike at.
    pub(super) planned: BTreeMap<u64, Break>,
    /// How many frames were sent between client and relay.
    pub(super) frames: u64,
    /// This host reads nothing until then.
    pub(super) stalled: Option<(usize, Time)>,
    pub(super) disks: [Option<Disk>; HOSTS],
    /// By how many nanoseconds each host's clock is ahead of the world's.
    pub(super) ahead: [i64; HOSTS],
    pub(super) trace: Trace,
    /// Wires that broke or were closed, by their ends, since this was last taken.
    pub(super) broken: Vec<(End, Option<usize>)>,
    peers: BTreeMap<End, End>,
    lanes: BTreeMap<End, Lane>,
    /// Ends between client and relay.
    websockets: BTreeSet<End>,
    accepted: u64,
    /// The most bytes that were ever under way to one end of a wire.
    pub(super) largest_lane_bytes: usize,
}

impl Network {
    pub(super) fn new(seed: u64, trace: Trace) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            now: Time::ZERO,
            random: Random::new(bytes),
            latency: Duration::from_millis(10),
            faults: Faults::default(),
            planned: BTreeMap::new(),
            frames: 0,
            stalled: None,
            disks: [const { None }; HOSTS],
            ahead: [0; HOSTS],
            trace,
            broken: Vec::new(),
            peers: BTreeMap::new(),
            lanes: BTreeMap::new(),
            websockets: BTreeSet::new(),
            accepted: 0,
            largest_lane_bytes: 0,
        }
    }

    /// What the host's own clock shows.
    pub(super) fn local(&self, host: usize) -> Time {
        Time::from_nanos(self.now.as_nanos().saturating_add_signed(self.ahead[host]))
    }

    /// Lets one thing happen, or nothing and it is `end`; whether there was something, and what was told to whom.
    pub(super) fn turn(&mut self, hosts: &mut [&mut dyn Host], end: Time) -> (bool, Option<Told>) {
        let mut wake_up: Option<Time> = None;
        for index in 0..hosts.len() {
            loop {
                match hosts[index].step(self.local(index)) {
                    Ok(action) => self.perform(hosts, index, action),
                    Err(until) => {
                        let until = until.map(|until| {
                            let ahead = self.ahead[index].saturating_neg();
                            Time::from_nanos(until.as_nanos().saturating_add_signed(ahead))
                        });
                        wake_up = [wake_up, until].into_iter().flatten().min();
                        break;
                    }
                }
            }
        }
        if let Some(end) = self.next_to_deliver(hosts) {
            return (true, self.deliver(hosts, end));
        }
        if self.stalled.is_some_and(|(_, until)| until <= self.now) {
            self.stalled = None;
            return (true, None);
        }
        let wake_up = [wake_up, self.stalled.map(|(_, until)| until)];
        let wake_up = wake_up.into_iter().flatten().min();
        let arrival = self.next_arrival(hosts);
        let next = [wake_up, arrival].into_iter().flatten().min();
        match next {
            Some(next) if next <= end => {
                // A clock that was set back stands still for its machine, so its timers may seem due.
                self.now = self.now.max(next).max(self.just_after(next));
                (true, None)
            }
            _ => {
                self.now = end;
                (false, None)
            }
        }
    }

    /// Time goes on, also where a wake-up lies in the past of the world's clock.
    fn just_after(&self, next: Time) -> Time {
        if next <= self.now {
            self.now.after(Duration::from_millis(1))
        } else {
            next
        }
    }

    /// The host is gone with everything it knew; its peers find their links cut. The next machine in its place has
    /// other links.
    pub(super) fn crash(&mut self, host: usize) {
        self.trace
            .say(self.now, || format!("** {} is killed", NAMES[host]));
        let stored = self.random.next_u64() as usize % 3;
        if let Some(disk) = &mut self.disks[host] {
            disk.crash(self.now, stored);
        }
        let ends = self.peers.keys().filter(|(index, _)| *index == host);
        for end in ends.copied().collect::<Vec<_>>() {
            self.break_wire(end, Break::Cut);
        }
        self.lanes.retain(|(index, _), _| *index != host);
    }

    pub(super) fn chance(&mut self, in_a_thousand: u64) -> bool {
        in_a_thousand > 0 && self.random.next_u64() % 1000 < in_a_thousand
    }

    /// Whether nothing is on its way to anybody.
    pub(super) fn is_quiet(&self) -> bool {
        self.lanes.values().all(|lane| lane.frames.is_empty())
    }

    pub(super) fn last_batch(&self, host: usize) -> Option<BatchId> {
        self.disks[host].as_ref().and_then(Disk::last)
    }

    fn perform(&mut self, hosts: &mut [&mut dyn Host], index: usize, action: Action) {
        self.trace.say(self.now, || {
            format!("{} {}", NAMES[index], trace::action(&action))
        });
        match action {
            Action::Open { link, endpoint } => self.open(index, link, &endpoint),
            Action::Send { link, frame } => self.send(hosts, index, link, frame),
            // A virtual wire is as good with TLS as without.
            Action::StartTls { link, .. } => self.post((index, link), Input::Secured { link }),
            Action::Store { batch, writes } => {
                let fault = self.chance(self.faults.full);
                let fault = fault.then(|| self.random.next_u64().is_multiple_of(2));
                let answer = match &mut self.disks[index] {
                    Some(disk) => disk.take(batch, writes, fault),
                    None => Input::Stored {
                        batch,
                        result: Err(relay_proto::storage::StorageError::Absent),
                    },
                };
                let slow = if self.chance(self.faults.slow_disk) {
                    self.random.up_to(Duration::from_secs(8))
                } else {
                    Duration::ZERO
                };
                self.post_later((index, ANSWERS), answer, slow);
            }
            Action::Close { link, code, reason } => {
                let end = (index, link);
                if let Some(peer) = self.unjoin(end, Some(index)) {
                    let why = Closure::Peer {
                        code: Some(code),
                        reason,
                    };
                    self.post(peer, Input::Closed { link: peer.1, why });
                }
                self.lanes.remove(&end);
                let why = Closure::Local;
                hosts[index].handle_input(self.local(index), Input::Closed { link, why });
            }
        }
    }

    fn open(&mut self, index: usize, link: LinkId, endpoint: &Endpoint) {
        let end = (index, link);
        if self.chance(self.faults.refuse) {
            let why = OpenError::Unreachable {
                endpoint: endpoint.to_string(),
                detail: "refused by the simulation".into(),
            };
            return self.post(end, Input::OpenFailed { link, why });
        }
        let host = match endpoint {
            Endpoint::WebSocket(_) => RELAY,
            Endpoint::Stream(_) => SERVER,
        };
        let peer = (host, LinkId::accepted(self.accepted));
        self.accepted += 1;
        self.peers.insert(end, peer);
        self.peers.insert(peer, end);
        if host == RELAY {
            self.websockets.extend([end, peer]);
        }
        let from = Some([10, 0, 0, 1].into());
        self.post(
            peer,
            Input::Accepted {
                link: peer.1,
                peer: from,
            },
        );
        self.post(end, Input::Opened { link });
    }

    fn send(&mut self, hosts: &mut [&mut dyn Host], index: usize, link: LinkId, frame: Frame) {
        let end = (index, link);
        if let Some(kind) = self.breaks_at(end) {
            self.break_wire(end, kind);
        }
        let Some(peer) = self.peers.get(&end).copied() else {
            return;
        };
        if let Frame::Ping(payload) = &frame {
            // The peer's transport answers by itself.
            let frame = Frame::Pong(payload.clone());
            self.post(end, Input::Frame { link, frame });
        }
        let link_there = peer.1;
        self.post(
            peer,
            Input::Frame {
                link: link_there,
                frame,
            },
        );
        let lane = self.lanes.entry(peer).or_default();
        let bytes = lane.frames.iter().map(|(_, input)| match input {
            Input::Frame { frame, .. } => frame.len(),
            _ => 0,
        });
        self.largest_lane_bytes = self.largest_lane_bytes.max(bytes.sum());
        if lane.frames.len() > BUFFER {
            lane.unwritten += 1;
        } else {
            hosts[index].handle_input(self.local(index), Input::Written { link });
        }
    }

    /// Whether the frame now sent is the wire's last, and how that ends.
    fn breaks_at(&mut self, end: End) -> Option<Break> {
        if self.websockets.contains(&end) {
            self.frames += 1;
            if let Some(kind) = self.planned.get(&self.frames) {
                return Some(*kind);
            }
        }
        let Faults {
            cut, dead, zombie, ..
        } = self.faults;
        if cut + dead + zombie == 0 {
            return None;
        }
        let drawn = self.random.next_u64();
        match drawn % 1000 {
            number if number < cut => Some(Break::Cut),
            number if number < cut + dead => Some(Break::Dead),
            number if number < cut + dead + zombie => {
                Some([Break::Zombie, Break::Reset][(drawn >> 32) as usize % 2])
            }
            _ => None,
        }
    }

    fn post(&mut self, to: End, input: Input) {
        self.post_later(to, input, Duration::ZERO);
    }

    fn post_later(&mut self, to: End, input: Input, later: Duration) {
        let jitter = self.random.up_to(self.latency);
        let lane = self.lanes.entry(to).or_default();
        let earliest = lane.frames.back().map_or(Time::ZERO, |(at, _)| *at);
        let at = self.now.after(self.latency + jitter + later).max(earliest);
        lane.frames.push_back((at, input));
    }

    /// Parts the two ends; the other one.
    fn unjoin(&mut self, end: End, by: Option<usize>) -> Option<End> {
        let peer = self.peers.remove(&end)?;
        self.peers.remove(&peer);
        self.websockets.remove(&end);
        self.websockets.remove(&peer);
        self.broken.extend([(end, by), (peer, by)]);
        Some(peer)
    }

    pub(super) fn break_wire(&mut self, end: End, kind: Break) {
        let Some(peer) = self.unjoin(end, None) else {
            return;
        };
        self.trace.say(self.now, || {
            let [one, other] = [end, peer].map(|(host, link)| format!("{} {link}", NAMES[host]));
            format!("** {kind:?}: {one} to {other}")
        });
        let was_dialled =
            |(host, _): End, (from, _): End| host == SERVER || host == RELAY && from != SERVER;
        let (dialled, accepted) = if was_dialled(end, peer) {
            (peer, end)
        } else {
            (end, peer)
        };
        match kind {
            Break::Cut => {
                for end in [dialled, accepted] {
                    self.lose_lane(end);
                    self.tell_lost(end, Duration::ZERO);
                }
            }
            Break::Dead => {
                self.lose_lane(dialled);
                self.lose_lane(accepted);
            }
            Break::Zombie => self.half_break(dialled, accepted),
            Break::Reset => self.half_break(accepted, dialled),
        }
    }

    /// One end learns of it. What it had sent still arrives, late, and the other end is told much later, if at all.
    fn half_break(&mut self, told: End, other: End) {
        self.lose_lane(told);
        self.tell_lost(told, Duration::ZERO);
        let late = self.random.up_to(Duration::from_secs(40));
        if let Some(lane) = self.lanes.get_mut(&other) {
            for (at, _) in &mut lane.frames {
                *at = at.after(late);
            }
        }
        if self.random.next_u64().is_multiple_of(2) {
            self.tell_lost(other, late);
        }
    }

    fn tell_lost(&mut self, (host, link): End, later: Duration) {
        let why = Closure::Lost {
            detail: "by the simulation".into(),
        };
        self.post_later((host, link), Input::Closed { link, why }, later);
    }

    /// What was on its way is lost. A connection being opened is still answered once.
    fn lose_lane(&mut self, end: End) {
        if let Some(lane) = self.lanes.get_mut(&end) {
            lane.frames.retain(|(_, input)| {
                matches!(input, Input::Opened { .. } | Input::Accepted { .. })
            });
            lane.unwritten = 0;
        }
    }

    /// Whose turn it is to be handed something that has arrived and that it reads.
    fn next_to_deliver(&self, hosts: &[&mut dyn Host]) -> Option<End> {
        self.lanes.iter().find_map(|(end, lane)| {
            let (at, input) = lane.frames.front()?;
            (*at <= self.now && self.reads(hosts, *end, input)).then_some(*end)
        })
    }

    fn deliver(&mut self, hosts: &mut [&mut dyn Host], end: End) -> Option<Told> {
        let lane = self.lanes.get_mut(&end)?;
        let (_, input) = lane.frames.pop_front()?;
        let is_caught_up = lane.frames.is_empty();
        let written = lane.unwritten > 0 && lane.frames.len() >= BUFFER;
        lane.unwritten -= usize::from(written);
        let ends = matches!(input, Input::Closed { .. } | Input::OpenFailed { .. });
        if ends || (is_caught_up && !self.peers.contains_key(&end)) {
            self.lanes.remove(&end);
        }
        let peer = self.peers.get(&end).copied();
        if written && let Some((host, link)) = peer {
            hosts[host].handle_input(self.local(host), Input::Written { link });
        }
        let mut told = None;
        match (&input, &mut self.disks[end.0]) {
            (Input::Stored { batch, result }, Some(disk)) => {
                disk.answer(self.now, &input);
                told = Some(Told::Stored {
                    host: end.0,
                    batch: *batch,
                    is_stored: result.is_ok(),
                });
            }
            (Input::Frame { .. }, _) if is_caught_up => {
                told = peer.map(|from| Told::Caught { to: end, from });
            }
            _ => {}
        }
        self.trace.say(self.now, || {
            format!("{} {}", NAMES[end.0], trace::input(&input))
        });
        hosts[end.0].handle_input(self.local(end.0), input);
        told
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
