//! Two sessions, the links between them, and everything that can happen to those: driven by a fuzzer, by chance, and,
//! in the session's own tests, by all ways there are.

use super::driver::Choices;
use crate::{
    LinkId, Time,
    session::{Body, ResumeError, RetentionLimits, Session, SessionFrame},
};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::{Bytes, BytesMut};
use core::time::Duration;

/// Any message is read without harm, and what was read has one form.
pub fn session_frame(input: &[u8]) {
    let message = Bytes::copy_from_slice(input);
    if let Ok(frame) = SessionFrame::decode(&message) {
        let mut written = BytesMut::new();
        frame.encode(&mut written);
        assert_eq!(written, message);
    }
    // A peer that says this to a session does no harm either.
    let mut session = Session::new(Time::ZERO, Duration::MAX, RetentionLimits::default());
    session
        .attach(LinkId::accepted(0), 1)
        .expect("a new session begins with 1");
    if let Ok(Some(delivery)) = session.handle_frame(LinkId::accepted(0), &message) {
        assert_eq!(delivery.seq, 1);
        session.take_over(1);
        assert!(session.poll_frame().is_some());
    }
}

/// Whatever happens to the links, what is sent is delivered once and in order, and all of it once things calm down.
pub fn session_pair(input: &[u8]) {
    let mut choices = Choices(input);
    let early = choices.byte() % 2 == 1;
    let mut world = World::new(early, Budget::endless());
    while !choices.0.is_empty() {
        let events = world.events();
        let Some(event) = choices.one_of(&events) else {
            break;
        };
        world.happen(event);
    }
    world.heal();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Client,
    Relay,
}

/// How much may still happen.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Budget {
    pub(crate) client_messages: u8,
    pub(crate) relay_messages: u8,
    pub(crate) cuts: u8,
    pub(crate) zombies: u8,
    pub(crate) expiries: u8,
}

impl Budget {
    fn endless() -> Self {
        Self {
            client_messages: u8::MAX,
            relay_messages: u8::MAX,
            cuts: u8::MAX,
            zombies: u8::MAX,
            expiries: 1,
        }
    }
}

/// What can happen next. Wires are named by their index.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The owner sends the next message.
    Send(Side),
    /// The session hands one frame to its wire.
    Flush(Side),
    /// The oldest thing on a wire arrives at this side.
    Arrive(Side, usize),
    /// The owner takes over its oldest or newest delivery.
    TakeOver(Side, bool),
    /// The client opens a new wire.
    Dial,
    /// A wire is cut; what is on it is lost, and neither side knows.
    Cut(usize),
    /// A side finds out that a wire has ended.
    Notice(Side, usize),
    /// The client gives up on a wire. What it has put on it still arrives: the wire is a zombie.
    Abandon,
    /// A session has been without a link for too long.
    Expire(Side),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Message {
    Resume { receive_next: u64 },
    Granted { receive_next: u64 },
    Gone,
    Frame(Bytes),
    Close,
}

/// One end with its owner. The n-th message says n.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
struct Peer {
    session: Session,
    sent: u8,
    delivered: u8,
    /// What is not taken over.
    held: VecDeque<u64>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
struct Wire {
    whole: bool,
    /// Whether each side takes it for open.
    client: bool,
    relay: bool,
    up: VecDeque<Message>,
    down: VecDeque<Message>,
}

/// Things worth knowing that they have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seen {
    pub(crate) fenced: bool,
    pub(crate) refused_as_old: bool,
    pub(crate) repeated: bool,
    pub(crate) told_gone: bool,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
pub(crate) struct World {
    /// Whether the client sends before it has the relay's word.
    early: bool,
    budget: Budget,
    client: Peer,
    relay: Peer,
    /// The wire the client uses.
    dialled: Option<usize>,
    wires: Vec<Wire>,
    pub(crate) seen: Seen,
}

const FRAMES: usize = 5;

impl World {
    pub(crate) fn new(early: bool, budget: Budget) -> Self {
        let peer = || Peer {
            session: Session::new(
                Time::ZERO,
                Duration::from_secs(120),
                RetentionLimits::new(FRAMES, 1024),
            ),
            sent: 0,
            delivered: 0,
            held: VecDeque::new(),
        };
        Self {
            early,
            budget,
            client: peer(),
            relay: peer(),
            dialled: None,
            wires: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Everything that can happen now.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let budget = self.budget;
        for (side, messages) in [
            (Side::Client, budget.client_messages),
            (Side::Relay, budget.relay_messages),
        ] {
            let peer = self.peer(side);
            if messages > 0 && peer.sent < u8::MAX && peer.session.has_room(Body::Control(&[0])) {
                events.push(Event::Send(side));
            }
            if peer.session.link().is_some() {
                events.push(Event::Flush(side));
            } else if budget.expiries > 0 && !peer.session.is_gone() {
                events.push(Event::Expire(side));
            }
            if !peer.held.is_empty() {
                events.push(Event::TakeOver(side, false));
            }
            if peer.held.len() > 1 {
                events.push(Event::TakeOver(side, true));
            }
        }
        match self.dialled {
            None if !self.client.session.is_gone() => events.push(Event::Dial),
            Some(_) if budget.zombies > 0 => events.push(Event::Abandon),
            _ => {}
        }
        for (index, wire) in self.wires.iter().enumerate() {
            if !wire.up.is_empty() {
                events.push(Event::Arrive(Side::Relay, index));
            }
            if !wire.down.is_empty() {
                events.push(Event::Arrive(Side::Client, index));
            }
            if wire.whole && wire.client && wire.relay && budget.cuts > 0 {
                events.push(Event::Cut(index));
            }
            if wire.client && !wire.whole {
                events.push(Event::Notice(Side::Client, index));
            }
            if wire.relay && (!wire.whole || !wire.client && wire.up.is_empty()) {
                events.push(Event::Notice(Side::Relay, index));
            }
        }
        events
    }

    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Send(side) => {
                let messages = match side {
                    Side::Client => &mut self.budget.client_messages,
                    Side::Relay => &mut self.budget.relay_messages,
                };
                *messages = messages.saturating_sub(1);
                let peer = self.peer_mut(side);
                let seq = peer.session.send(Body::Control(&[peer.sent + 1]));
                assert_eq!(seq, Ok(u64::from(peer.sent) + 1));
                peer.sent += 1;
            }
            Event::Flush(side) => {
                self.flush(side);
            }
            Event::Arrive(Side::Relay, wire) => self.arrive_at_relay(wire),
            Event::Arrive(Side::Client, wire) => self.arrive_at_client(wire),
            Event::TakeOver(side, newest) => {
                let peer = self.peer_mut(side);
                let seq = if newest {
                    peer.held.pop_back()
                } else {
                    peer.held.pop_front()
                };
                peer.session.take_over(seq.expect("something is held"));
            }
            Event::Dial => self.dial(),
            Event::Cut(wire) => {
                self.budget.cuts = self.budget.cuts.saturating_sub(1);
                let wire = &mut self.wires[wire];
                wire.whole = false;
                wire.up.clear();
                wire.down.clear();
            }
            Event::Notice(side, wire) => self.ended(side, wire),
            Event::Abandon => {
                self.budget.zombies = self.budget.zombies.saturating_sub(1);
                let wire = self.dialled.expect("a wire is dialled");
                self.ended(Side::Client, wire);
                self.wires[wire].down.clear();
            }
            Event::Expire(side) => {
                self.budget.expiries -= 1;
                let expired = self
                    .peer_mut(side)
                    .session
                    .handle_timeout(Time::from_nanos(u64::MAX));
                assert!(expired);
                if let (Side::Client, Some(wire)) = (side, self.dialled) {
                    self.ended(Side::Client, wire);
                    self.wires[wire].down.clear();
                }
            }
        }
        self.check();
    }

    /// Lets everything happen but new messages and faults; afterwards all has arrived, or the session is known to be gone.
    pub(crate) fn heal(&mut self) {
        // Each wire may hold a resume that fences the next one, so that it takes a few rounds for each.
        let rounds = 8 + 4 * self.wires.len();
        let mut calm = false;
        for _ in 0..rounds {
            calm = !self.go_on();
            if calm {
                break;
            }
        }
        assert!(calm, "it never comes to rest");
        let [client, relay] = [&self.client, &self.relay];
        if client.session.is_gone() {
            return;
        }
        assert!(!relay.session.is_gone(), "the client would have been told");
        for (peer, other) in [(client, relay), (relay, client)] {
            assert_eq!(peer.sent, other.delivered, "not all has arrived");
            assert_eq!(peer.session.unacknowledged(), (0, 0));
        }
    }

    /// Lets arrive what is on the wires, be done what is to be done, and be noticed what there is to notice; whether
    /// there was anything.
    fn go_on(&mut self) -> bool {
        let mut anything = false;
        for index in 0..self.wires.len() {
            while !self.wires[index].up.is_empty() {
                self.happen(Event::Arrive(Side::Relay, index));
                anything = true;
            }
            while !self.wires[index].down.is_empty() {
                self.happen(Event::Arrive(Side::Client, index));
                anything = true;
            }
        }
        anything |= self.settle();
        for event in self.events() {
            if matches!(event, Event::Notice(..) | Event::Dial) {
                self.happen(event);
                anything = true;
            }
        }
        anything
    }

    /// Both owners take over what they have, and hand out what there is to say; whether there was anything.
    pub(crate) fn settle(&mut self) -> bool {
        let mut anything = false;
        for side in [Side::Client, Side::Relay] {
            while !self.peer(side).held.is_empty() {
                self.happen(Event::TakeOver(side, false));
                anything = true;
            }
            while self.flush(side) {
                anything = true;
            }
        }
        anything
    }

    /// What holds at every moment.
    fn check(&self) {
        for (peer, other) in [(&self.client, &self.relay), (&self.relay, &self.client)] {
            assert!(peer.delivered <= other.sent, "made up");
            assert!(peer.session.taken_over() <= u64::from(peer.delivered));
            assert!(peer.session.acknowledged() <= other.session.taken_over());
            let kept = peer.session.unacknowledged().0;
            assert!(kept <= FRAMES);
            if !peer.session.is_gone() {
                let all = kept as u64 + peer.session.acknowledged();
                assert_eq!(all, u64::from(peer.sent), "not kept");
            }
        }
    }

    const fn peer(&self, side: Side) -> &Peer {
        match side {
            Side::Client => &self.client,
            Side::Relay => &self.relay,
        }
    }

    const fn peer_mut(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::Client => &mut self.client,
            Side::Relay => &mut self.relay,
        }
    }

    fn dial(&mut self) {
        let index = self.wires.len();
        let receive_next = self.client.session.receive_next();
        self.wires.push(Wire {
            whole: true,
            client: true,
            relay: true,
            up: VecDeque::from([Message::Resume { receive_next }]),
            down: VecDeque::new(),
        });
        self.dialled = Some(index);
        if self.early {
            let from = self.client.session.resend_from();
            let older = self.client.session.attach(link(index), from);
            assert_eq!(older, Ok(None));
        }
    }

    /// Hands one frame to the wire; whether there was something to say.
    fn flush(&mut self, side: Side) -> bool {
        let session = &mut self.peer_mut(side).session;
        let on = session.link();
        let Some(frame) = session.poll_frame() else {
            return false;
        };
        let on = on.expect("only a session with a link says something");
        let index = (0..self.wires.len()).find(|index| link(*index) == on);
        let wire = &mut self.wires[index.expect("links are wires")];
        let message = Message::Frame(frame);
        match side {
            Side::Client if wire.whole => wire.up.push_back(message),
            Side::Relay if wire.whole && wire.client => wire.down.push_back(message),
            _ => {}
        }
        true
    }

    fn arrive_at_relay(&mut self, index: usize) {
        let message = self.wires[index].up.pop_front();
        match message.expect("something is on the wire") {
            Message::Resume { receive_next } => {
                let answer = match self.relay.session.attach(link(index), receive_next) {
                    Ok(fenced) => {
                        if let Some(fenced) = fenced {
                            self.close(fenced);
                        }
                        let receive_next = self.relay.session.receive_next();
                        Message::Granted { receive_next }
                    }
                    Err(error) => {
                        let waits = self.dialled == Some(index);
                        assert!(
                            !waits || self.relay.session.is_gone(),
                            "an honest client is refused: {error}"
                        );
                        self.seen.refused_as_old |= matches!(error, ResumeError::Behind { .. });
                        Message::Gone
                    }
                };
                if self.wires[index].client {
                    self.wires[index].down.push_back(answer);
                }
            }
            Message::Frame(frame) => self.receive(Side::Relay, index, &frame),
            _ => unreachable!("the client says no such thing"),
        }
    }

    fn arrive_at_client(&mut self, index: usize) {
        let message = self.wires[index].down.pop_front();
        let ours = self.dialled == Some(index);
        match message.expect("something is on the wire") {
            Message::Frame(frame) => self.receive(Side::Client, index, &frame),
            Message::Close => self.ended(Side::Client, index),
            Message::Granted { receive_next } if ours => {
                let older = self.client.session.attach(link(index), receive_next);
                assert_eq!(older, Ok(None), "an honest relay is refused");
            }
            Message::Gone if ours => {
                self.seen.told_gone = true;
                self.client.session.end();
                self.ended(Side::Client, index);
            }
            _ => {}
        }
    }

    fn receive(&mut self, side: Side, index: usize, frame: &Bytes) {
        let peer = self.peer_mut(side);
        let ours = peer.session.link() == Some(link(index));
        let delivery = peer
            .session
            .handle_frame(link(index), frame)
            .expect("an honest peer");
        if let Some(delivery) = delivery {
            assert!(ours, "a fenced link delivers");
            peer.delivered += 1;
            let Body::Control(octets) = delivery.body else {
                panic!("nobody sent data")
            };
            assert_eq!(octets, [peer.delivered][..], "not the next message");
            assert_eq!(delivery.seq, u64::from(peer.delivered));
            peer.held.push_back(delivery.seq);
        } else if ours && frame.first() != Some(&0) {
            self.seen.repeated = true;
        }
    }

    /// The relay closes a wire it has fenced.
    fn close(&mut self, fenced: LinkId) {
        self.seen.fenced = true;
        let index = (0..self.wires.len()).find(|index| link(*index) == fenced);
        let wire = &mut self.wires[index.expect("links are wires")];
        wire.relay = false;
        if wire.whole && wire.client {
            wire.down.push_back(Message::Close);
        }
    }

    fn ended(&mut self, side: Side, index: usize) {
        self.peer_mut(side).session.detach(Time::ZERO, link(index));
        let wire = &mut self.wires[index];
        match side {
            Side::Client => {
                wire.client = false;
                if self.dialled == Some(index) {
                    self.dialled = None;
                }
            }
            Side::Relay => wire.relay = false,
        }
    }
}

fn link(wire: usize) -> LinkId {
    LinkId::accepted(wire as u64)
}
