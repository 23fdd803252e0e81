//! A driver without sockets, which also checks that the relay keeps its side of the contract.

use crate::{
    Action, CloseCode, Closure, Frame, Input, LinkId, Machine, OpenError, Pump, Step,
    StreamAddress, Time,
    mail::{
        relay::{Event, Policy, Relay, RelayConfig},
        wire::{ApiKey, DurableRequest, Message, decode, encode},
    },
    storage::{BatchId, Record, StorageError, Write},
};
use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::{String, ToString},
    vec::Vec,
};
use bytes::{Bytes, BytesMut};
use core::{mem, time::Duration};

pub(super) const CLIENT: LinkId = LinkId::accepted(0);

pub(super) struct Rig {
    pub(super) pump: Pump<Relay>,
    pub(super) now: Time,
    pub(super) events: Vec<Event>,
    /// Links whose sends are not reported as written until [`write`](Self::write) says so.
    pub(super) slow: BTreeSet<LinkId>,
    pub(super) finished: bool,
    /// How many MAIL commands the upstreams were sent.
    pub(super) mails: usize,
    /// Batches a storage has not answered, where the relay has one.
    pub(super) batches: VecDeque<(BatchId, Vec<Write>)>,
    stores: bool,
    links: BTreeMap<LinkId, Link>,
    dialled: Vec<LinkId>,
}

#[derive(Default)]
struct Link {
    opening: bool,
    closed: Option<(CloseCode, String)>,
    sent: Vec<Frame>,
    unwritten: VecDeque<usize>,
}

/// A relay that keeps no connections, so that each channel has its own.
pub(super) fn config() -> RelayConfig {
    let mut config = pooled();
    config.pool.max_idle = 0;
    config
}

/// A relay that does, and opens none ahead of time.
pub(super) fn pooled() -> RelayConfig {
    let mut config = warm();
    config.pool.min_idle = 0;
    config
}

/// A relay as it comes.
pub(super) fn warm() -> RelayConfig {
    RelayConfig::new(
        StreamAddress::new("mx.example", 25, false),
        "relay.example".parse().unwrap(),
    )
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Rig {
    pub(super) fn new(config: RelayConfig) -> Self {
        Self::with(Relay::new(config, [7; 32]), false)
    }

    /// A relay with a storage, which has these records.
    pub(super) fn storing(config: RelayConfig, records: Vec<Record>) -> Self {
        let now = Time::from_nanos(1);
        let mut rig = Self::with(Relay::restore(config, [9; 32], now, records).unwrap(), true);
        rig.run();
        // A new ledger writes down its name.
        if !rig.batches.is_empty() {
            rig.stored(Ok(()));
        }
        rig
    }

    fn with(relay: Relay, stores: bool) -> Self {
        Self {
            pump: Pump::new(relay),
            batches: VecDeque::new(),
            stores,
            now: Time::from_nanos(1),
            events: Vec::new(),
            slow: BTreeSet::new(),
            finished: false,
            mails: 0,
            links: BTreeMap::new(),
            dialled: Vec::new(),
        }
    }

    /// A relay with one client whose key is granted with this policy.
    pub(super) fn serving(policy: Policy) -> Self {
        Self::serving_with(config(), policy)
    }

    pub(super) fn serving_with(config: RelayConfig, policy: Policy) -> Self {
        let mut rig = Self::new(config);
        rig.accept(CLIENT);
        rig.authenticate(CLIENT);
        rig.grant(CLIENT, policy);
        rig.messages(CLIENT);
        rig.events.clear();
        rig
    }

    /// A relay with one client, an open channel and a greeted upstream, whose link is returned.
    pub(super) fn open(policy: Policy) -> (Self, LinkId) {
        Self::open_with(
            config(),
            policy,
            "250-mx.example\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n",
        )
    }

    /// The same with an upstream that has no limit.
    pub(super) fn open_unlimited() -> (Self, LinkId) {
        Self::open_with(config(), Policy::default(), "250 mx.example\r\n")
    }

    pub(super) fn open_with(config: RelayConfig, policy: Policy, ehlo: &str) -> (Self, LinkId) {
        let mut rig = Self::serving_with(config, policy);
        rig.send(CLIENT, &Message::ChannelOpen);
        let upstream = rig.greet(ehlo);
        assert_eq!(rig.messages(CLIENT)[0], Message::ChannelReady);
        rig.events.clear();
        (rig, upstream)
    }

    /// The upstream dialled last opens, greets and offers this.
    pub(super) fn greet(&mut self, ehlo: &str) -> LinkId {
        let link = self.upstream();
        self.input(Input::Opened { link });
        self.upstream_says(link, "220 mx.example ESMTP\r\n");
        assert_eq!(self.upstream_hears(link), "EHLO relay.example\r\n");
        self.upstream_says(link, ehlo);
        link
    }

    /// The same with a message up to the given point.
    pub(super) fn at(point: Point) -> (Self, LinkId) {
        let (mut rig, upstream) = Self::open(Policy::default());
        let steps = [
            (Point::Mail, "MAIL FROM:<a@b.example>\r\n", ""),
            (Point::Transaction, "", "250 2.1.0 ok\r\n"),
            (Point::Recipient, "RCPT TO:<c@d.example>\r\n", ""),
            (Point::Addressed, "", "250 2.1.5 ok\r\n"),
            (Point::Data, "DATA\r\n", ""),
            (Point::Content, "", "354 go\r\n"),
            (Point::Content, "Subject: x\r\n\r\nhalf", ""),
            (Point::Final, " done\r\n.\r\n", ""),
        ];
        for (reached, client_says, upstream_says) in steps {
            if reached > point {
                break;
            }
            rig.client_says(client_says);
            rig.upstream_says(upstream, upstream_says);
        }
        rig.upstream_hears(upstream);
        rig.messages(CLIENT);
        rig.events.clear();
        (rig, upstream)
    }

    pub(super) fn accept(&mut self, link: LinkId) {
        self.accept_from(link, "192.0.2.7");
    }

    pub(super) fn accept_from(&mut self, link: LinkId, address: &str) {
        self.links.insert(link, Link::default());
        let peer = Some(address.parse().unwrap());
        self.input(Input::Accepted { link, peer });
    }

    pub(super) fn authenticate(&mut self, link: LinkId) {
        self.authenticate_for(link, None);
    }

    /// A client presents its key and asks for the durable dialect, or does not.
    pub(super) fn authenticate_for(&mut self, link: LinkId, durable: Option<DurableRequest>) {
        let message = Message::Authenticate {
            api_key: ApiKey::new("k"),
            agent: None,
            durable,
        };
        self.send(link, &message);
    }

    pub(super) fn grant(&mut self, link: LinkId, policy: Policy) {
        let now = self.now;
        self.pump
            .command(now, |relay, now| relay.grant(now, link, policy));
        self.run();
    }

    /// The storage answers the oldest batch.
    pub(super) fn stored(&mut self, result: Result<(), StorageError>) -> Vec<Write> {
        let (batch, writes) = self.batches.pop_front().unwrap();
        self.input(Input::Stored { batch, result });
        writes
    }

    /// The first client gets a channel that starts behind EHLO.
    pub(super) fn start(&mut self) {
        let now = self.now;
        self.pump
            .command(now, |relay, now| relay.client_starts(now, CLIENT));
        self.run();
    }

    pub(super) fn send(&mut self, link: LinkId, message: &Message) {
        let frame = encode(message);
        self.input(Input::Frame { link, frame });
    }

    /// The client says this on its channel.
    pub(super) fn client_says(&mut self, smtp: &str) {
        if !smtp.is_empty() {
            let bytes = Bytes::copy_from_slice(smtp.as_bytes());
            self.send(CLIENT, &Message::ToServer(bytes));
        }
    }

    pub(super) fn upstream_says(&mut self, link: LinkId, smtp: &str) {
        if !smtp.is_empty() {
            let frame = Frame::Binary(Bytes::copy_from_slice(smtp.as_bytes()));
            self.input(Input::Frame { link, frame });
        }
    }

    /// What has been sent to the upstream since last asked.
    pub(super) fn upstream_hears(&mut self, link: LinkId) -> String {
        let mut heard = BytesMut::new();
        for frame in self.sent(link) {
            match frame {
                Frame::Binary(bytes) => heard.extend_from_slice(&bytes),
                other => panic!("{other:?} on a byte stream"),
            }
        }
        String::from_utf8(heard.to_vec()).unwrap()
    }

    pub(super) fn sent(&mut self, link: LinkId) -> Vec<Frame> {
        self.links
            .get_mut(&link)
            .map(|link| mem::take(&mut link.sent))
            .unwrap_or_default()
    }

    /// What has been sent to a client since last asked.
    pub(super) fn messages(&mut self, link: LinkId) -> Vec<Message> {
        self.sent(link)
            .iter()
            .map(|frame| decode(frame).unwrap().unwrap())
            .collect()
    }

    /// The first thing that has been sent to a client since last asked.
    pub(super) fn first_message(&mut self, link: LinkId) -> Message {
        let frame = self.links.get_mut(&link).unwrap().sent.remove(0);
        decode(&frame).unwrap().unwrap()
    }

    /// The SMTP replies, and in brackets the other messages, the first client was sent since last asked.
    pub(super) fn client_hears(&mut self) -> String {
        let mut heard = String::new();
        for message in self.messages(CLIENT) {
            match message {
                Message::FromServer(bytes) => heard.push_str(str::from_utf8(&bytes).unwrap()),
                Message::ChannelError(error) => {
                    heard.push_str(&alloc::format!("[error {:?}: {error}]", error.code));
                }
                Message::ChannelClosed { .. } => heard.push_str("[closed]"),
                other => heard.push_str(&alloc::format!("[{}]", other.kind())),
            }
        }
        heard
    }

    /// The same where pings were sent as well.
    pub(super) fn client_hears_smtp(&mut self) -> String {
        if let Some(link) = self.links.get_mut(&CLIENT) {
            link.sent.retain(|frame| matches!(frame, Frame::Text(_)));
        }
        self.client_hears()
    }

    /// The upstream link dialled last.
    pub(super) fn upstream(&self) -> LinkId {
        *self.dialled.last().unwrap()
    }

    pub(super) fn dialled(&self) -> usize {
        self.dialled.len()
    }

    /// Whether the driver may still report things about this link.
    pub(super) fn is_open(&self, link: LinkId) -> bool {
        self.links
            .get(&link)
            .is_some_and(|link| !link.opening && link.closed.is_none())
    }

    pub(super) fn is_opening(&self, link: LinkId) -> bool {
        self.links
            .get(&link)
            .is_some_and(|link| link.opening && link.closed.is_none())
    }

    pub(super) fn close_code(&self, link: LinkId) -> Option<CloseCode> {
        self.links
            .get(&link)?
            .closed
            .as_ref()
            .map(|(code, _)| *code)
    }

    pub(super) fn close_reason(&self, link: LinkId) -> String {
        self.links[&link].closed.clone().unwrap().1
    }

    pub(super) fn read_limit(&self, link: LinkId) -> usize {
        self.pump.machine().read_limit(link)
    }

    /// Bytes handed out on a link and not yet written.
    pub(super) fn unwritten(&self, link: LinkId) -> usize {
        self.links[&link].unwritten.iter().sum()
    }

    /// Reports the oldest frame of a slow link as written.
    pub(super) fn write(&mut self, link: LinkId) -> bool {
        let written = self.links.get_mut(&link).unwrap().unwritten.pop_front();
        if written.is_some() {
            self.input(Input::Written { link });
        }
        written.is_some()
    }

    pub(super) fn lose(&mut self, link: LinkId) {
        let why = Closure::Lost {
            detail: "reset".to_owned(),
        };
        self.input(Input::Closed { link, why });
    }

    pub(super) fn input(&mut self, input: Input) {
        match &input {
            Input::Closed { link, .. } | Input::OpenFailed { link, .. } => {
                self.links.entry(*link).or_default().closed = Some((CloseCode(0), String::new()));
            }
            Input::Opened { link } => self.links.entry(*link).or_default().opening = false,
            _ => {}
        }
        self.pump.handle_input(self.now, input);
        self.run();
    }

    /// Lets time pass, serving every timer when it is due.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        while let Some(deadline) = self.pump.machine().deadline()
            && deadline.at <= end
        {
            self.now = self.now.max(deadline.at);
            self.run();
        }
        self.now = end;
        self.run();
    }

    /// Lets time pass while the first client shows that it is alive.
    pub(super) fn pass_alive(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        while self.now < end {
            let frame = Frame::Pong(Bytes::new());
            self.input(Input::Frame {
                link: CLIENT,
                frame,
            });
            self.pass(end.since(self.now).min(seconds(10)));
        }
    }

    /// Lets what waits for something to ride on go alone; whether there was any.
    pub(super) fn acknowledges(&mut self) -> bool {
        let deadline = self.pump.machine().deadline();
        let Some(deadline) = deadline.filter(|deadline| deadline.timer == "acknowledgement") else {
            return false;
        };
        self.now = self.now.max(deadline.at);
        self.run();
        true
    }

    pub(super) fn run(&mut self) {
        loop {
            match self.pump.step(self.now) {
                Step::Perform(action) => self.perform(action),
                Step::Deliver(event) => {
                    assert!(!self.finished, "{event:?} after the last event");
                    self.finished = event == Event::Finished;
                    self.events.push(event);
                }
                Step::Wait { until } => {
                    assert!(until.is_none_or(|until| until.at > self.now));
                    return;
                }
                Step::Finished => {
                    assert!(self.finished, "ended without a last event");
                    return;
                }
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Open { link, endpoint } => {
                assert_eq!(endpoint.to_string(), "mx.example:25");
                let opening = Link {
                    opening: true,
                    ..Link::default()
                };
                assert!(self.links.insert(link, opening).is_none(), "{link} twice");
                self.dialled.push(link);
            }
            Action::Send { link, frame } => {
                let state = self.links.get_mut(&link).unwrap();
                assert!(!state.opening, "sent on {link} before it was open");
                assert_eq!(state.closed, None, "sent on {link} after it was closed");
                if matches!(&frame, Frame::Binary(bytes) if bytes.starts_with(b"MAIL")) {
                    self.mails += 1;
                }
                state.unwritten.push_back(frame.len());
                state.sent.push(frame);
                if !self.slow.contains(&link) {
                    self.write_quietly(link);
                }
            }
            Action::StartTls { link } => {
                assert_eq!(self.pump.machine().read_limit(link), 0);
                assert!(self.links[&link].closed.is_none());
            }
            Action::Close { link, code, reason } => {
                let state = self.links.get_mut(&link).unwrap();
                assert_eq!(state.closed, None, "closed {link} twice");
                state.closed = Some((code, reason));
                let input = if state.opening {
                    let why = OpenError::Abandoned;
                    Input::OpenFailed { link, why }
                } else {
                    let why = Closure::Local;
                    Input::Closed { link, why }
                };
                self.pump.handle_input(self.now, input);
            }
            Action::Store { batch, writes } => {
                assert!(self.stores, "this relay stores nothing");
                self.batches.push_back((batch, writes));
            }
        }
    }

    fn write_quietly(&mut self, link: LinkId) {
        self.links.get_mut(&link).unwrap().unwritten.pop_front();
        self.pump.handle_input(self.now, Input::Written { link });
    }
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Point {
    Idle,
    Mail,
    Transaction,
    Recipient,
    Addressed,
    Data,
    Content,
    Final,
}

/// Those of them at which there is a message.
pub(super) const IN_MESSAGE: [Point; 7] = [
    Point::Mail,
    Point::Transaction,
    Point::Recipient,
    Point::Addressed,
    Point::Data,
    Point::Content,
    Point::Final,
];

pub(super) const POINTS: [Point; 8] = [
    Point::Idle,
    Point::Mail,
    Point::Transaction,
    Point::Recipient,
    Point::Addressed,
    Point::Data,
    Point::Content,
    Point::Final,
];
