//! A front, its site and its connections, driven step by step.

use relay_http::Front;
use relay_proto::{
    Action, Closure, Deadline, Frame, Input, LinkId, Machine, Pump, Step, Time,
    http::{Answer, Request, Response, Site},
};
use relay_transport::Config;
use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    net::IpAddr,
    time::Duration,
};

/// The example of RFC 6455, section 1.3.
pub(crate) const UPGRADE: &str = "GET /ws?token=x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What it is answered.
pub(crate) const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

pub(crate) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A site that has WebSockets at `/ws`, something to read at `/plain` and nothing elsewhere. It writes down what it hears.
pub(crate) struct Ledger {
    pub(crate) actions: VecDeque<Action>,
    pub(crate) heard: Vec<Input>,
    pub(crate) asked: Vec<(LinkId, Option<IpAddr>, Request)>,
    pub(crate) limit: usize,
    pub(crate) echoes: bool,
    pub(crate) finished: bool,
    pub(crate) alarm: Option<Time>,
    pub(crate) rang: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            actions: VecDeque::new(),
            heard: Vec::new(),
            asked: Vec::new(),
            limit: 1000,
            echoes: false,
            finished: false,
            alarm: None,
            rang: 0,
        }
    }
}

impl Machine for Ledger {
    type Event = ();

    fn handle_input(&mut self, _now: Time, input: Input) {
        if let Input::Frame { link, frame } = &input
            && self.echoes
        {
            let link = *link;
            let frame = match frame {
                // Besides the answer the front gives.
                Frame::Ping(_) => Frame::Pong("!".into()),
                other => other.clone(),
            };
            self.actions.push_back(Action::Send { link, frame });
        }
        self.heard.push(input);
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
            self.rang += 1;
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.alarm.map(|at| Deadline { at, timer: "alarm" })
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        self.limit
    }

    fn is_finished(&self) -> bool {
        self.finished
    }
}

impl Site for Ledger {
    fn handle_request(
        &mut self,
        now: Time,
        link: LinkId,
        peer: Option<IpAddr>,
        request: &Request,
    ) -> Answer {
        self.asked.push((link, peer, request.clone()));
        match request.path() {
            "/ws" => Answer::Upgrade,
            "/plain" => Answer::Respond(Response::json(200, "{}")),
            "/later" => Answer::RespondLater {
                at: now.after(Duration::from_secs(3)),
                response: Response::new(403),
            },
            _ => Answer::Respond(Response::new(404)),
        }
    }
}

/// What the driver knows of a connection.
#[derive(Default)]
struct Wire {
    sent: Vec<u8>,
    unwritten: Vec<usize>,
    closing: bool,
    ended: bool,
}

/// A driver by hand.
pub(crate) struct Desk {
    pump: Pump<Front<Ledger>>,
    pub(crate) now: Time,
    wires: BTreeMap<LinkId, Wire>,
    /// What is to be opened and stored, and what is sent on links nobody accepted.
    pub(crate) other: Vec<Action>,
    pub(crate) finished: bool,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self {
            pump: Pump::new(Front::new(Ledger::default(), config)),
            now: Time::ZERO,
            wires: BTreeMap::new(),
            other: Vec::new(),
            finished: false,
        }
    }

    pub(crate) fn accept(&mut self) -> LinkId {
        self.accept_from(PEER)
    }

    pub(crate) fn accept_from(&mut self, peer: IpAddr) -> LinkId {
        let link = LinkId::accepted(self.wires.len() as u64);
        self.wires.insert(link, Wire::default());
        let peer = Some(peer);
        self.tell(Input::Accepted { link, peer });
        link
    }

    /// A connection that is a WebSocket, of which nothing was heard yet.
    pub(crate) fn open(&mut self) -> LinkId {
        let link = self.accept();
        self.say(link, UPGRADE);
        assert_eq!(self.answer(link), SWITCHING);
        let peer = Some(PEER);
        assert_eq!(self.heard(), [Input::Accepted { link, peer }]);
        self.write(link);
        link
    }

    pub(crate) fn say(&mut self, link: LinkId, bytes: impl AsRef<[u8]>) {
        let frame = Frame::Binary(bytes.as_ref().to_vec().into());
        self.tell(Input::Frame { link, frame });
    }

    pub(crate) fn tell(&mut self, input: Input) {
        self.pump.handle_input(self.now, input);
        self.run();
    }

    /// Everything that was sent on a link is written.
    pub(crate) fn write(&mut self, link: LinkId) {
        while self.write_one(link) {}
    }

    /// The oldest of what was sent on a link is written, where there is any.
    pub(crate) fn write_one(&mut self, link: LinkId) -> bool {
        let wire = self.wires.get_mut(&link).unwrap();
        if wire.ended || wire.unwritten.is_empty() {
            return false;
        }
        wire.unwritten.remove(0);
        self.tell(Input::Written { link });
        true
    }

    /// The connection ends.
    pub(crate) fn end(&mut self, link: LinkId) {
        let wire = self.wires.get_mut(&link).unwrap();
        if mem::replace(&mut wire.ended, true) {
            return;
        }
        let why = if wire.closing { Closure::Local } else { lost() };
        self.tell(Input::Closed { link, why });
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        self.run();
    }

    pub(crate) fn command<R>(&mut self, command: impl FnOnce(&mut Ledger) -> R) -> R {
        let result = self.pump.command(self.now, |front, now| {
            front.command(now, |site, _| command(site))
        });
        self.run();
        result
    }

    /// The site has this to do.
    pub(crate) fn act(&mut self, action: Action) {
        self.command(|site| site.actions.push_back(action));
    }

    pub(crate) fn site(&self) -> &Ledger {
        self.pump.machine().site()
    }

    /// What the site was told since the last time.
    pub(crate) fn heard(&mut self) -> Vec<Input> {
        self.command(|site| mem::take(&mut site.heard))
    }

    /// What was sent on a link since the last time.
    pub(crate) fn sent(&mut self, link: LinkId) -> Vec<u8> {
        mem::take(&mut self.wires.get_mut(&link).unwrap().sent)
    }

    pub(crate) fn answer(&mut self, link: LinkId) -> String {
        String::from_utf8(self.sent(link)).unwrap()
    }

    /// Whether the front has asked for the end of the connection.
    pub(crate) fn is_closed(&self, link: LinkId) -> bool {
        self.wires[&link].closing
    }

    pub(crate) fn is_over(&self, link: LinkId) -> bool {
        self.wires[&link].ended
    }

    pub(crate) fn links(&self) -> Vec<LinkId> {
        self.wires.keys().copied().collect()
    }

    pub(crate) fn unwritten(&self, link: LinkId) -> usize {
        self.wires[&link].unwritten.iter().sum()
    }

    pub(crate) fn read_limit(&self, link: LinkId) -> usize {
        self.pump.machine().read_limit(link)
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.pump.machine().deadline()
    }

    fn run(&mut self) {
        loop {
            match self.pump.step(self.now) {
                Step::Perform(action) => self.perform(action),
                Step::Deliver(()) => {}
                Step::Wait { .. } => return,
                Step::Finished => return self.finished = true,
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match &action {
            Action::Send { link, frame } if self.wires.contains_key(link) => {
                let wire = self.wires.get_mut(link).unwrap();
                if wire.ended {
                    // It goes nowhere.
                    return;
                }
                assert!(!wire.closing, "{link} is sent on too late");
                let Frame::Binary(bytes) = frame else {
                    panic!("{link} is no WebSocket: {frame:?}");
                };
                assert!(!bytes.is_empty());
                wire.sent.extend_from_slice(bytes);
                wire.unwritten.push(bytes.len());
            }
            Action::Close { link, .. } if self.wires.contains_key(link) => {
                let wire = self.wires.get_mut(link).unwrap();
                assert!(
                    !mem::replace(&mut wire.closing, true),
                    "{link} is closed twice"
                );
            }
            _ => self.other.push(action),
        }
    }
}

pub(crate) fn lost() -> Closure {
    Closure::Lost {
        detail: "cut".to_owned(),
    }
}

pub(crate) fn text(text: &str) -> Frame {
    Frame::Text(text.to_owned().into())
}

/// A frame as clients send it: `first` is its first byte, and the mask is zero.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
