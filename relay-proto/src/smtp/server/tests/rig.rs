use super::link;
use crate::{
    Action, Closure, Deadline, Frame, Input, LinkId, Machine, Pump, Step, Time,
    smtp::{Reply, Server, ServerConfig, ServerEvent, reply},
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    format,
    string::String,
    vec::Vec,
};
use bytes::Bytes;
use core::{mem, net::IpAddr, time::Duration};

/// A server with a driver that does what it is asked at once, and an application that notes everything.
pub(super) struct Rig {
    pub(super) pump: Pump<Server>,
    pub(super) now: Time,
    /// Whether the network takes what is sent.
    pub(super) writes: bool,
    /// Whether the application says yes to every question.
    pub(super) agrees: bool,
    unwritten: VecDeque<LinkId>,
    /// The links on which TLS is being started.
    pub(super) securing: BTreeSet<LinkId>,
    sent: BTreeMap<LinkId, String>,
    pub(super) events: Vec<ServerEvent>,
    pub(super) finished: bool,
}

impl Rig {
    pub(super) fn new(config: ServerConfig) -> Self {
        Self {
            pump: Pump::new(Server::new(config)),
            now: Time::ZERO,
            writes: true,
            agrees: true,
            unwritten: VecDeque::new(),
            securing: BTreeSet::new(),
            sent: BTreeMap::new(),
            events: Vec::new(),
            finished: false,
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.pump.handle_input(self.now, input);
        self.act();
    }

    pub(super) fn accept(&mut self, index: u64) {
        let peer = Some(IpAddr::from([192, 0, 2, 1]));
        let link = link(index);
        self.input(Input::Accepted { link, peer });
    }

    pub(super) fn say(&mut self, index: u64, bytes: impl AsRef<[u8]>) {
        self.frame(index, bytes.as_ref());
        self.run();
    }

    pub(super) fn frame(&mut self, index: u64, bytes: &[u8]) {
        let frame = Frame::Binary(Bytes::copy_from_slice(bytes));
        let link = link(index);
        self.input(Input::Frame { link, frame });
    }

    /// The driver has started TLS, if it was to.
    pub(super) fn secure(&mut self, index: u64) {
        let link = link(index);
        if self.securing.remove(&link) {
            self.input(Input::Secured { link });
        }
    }

    pub(super) fn lose(&mut self, index: u64) {
        let detail = "reset".into();
        let why = Closure::Lost { detail };
        let link = link(index);
        self.securing.remove(&link);
        self.input(Input::Closed { link, why });
    }

    /// Carries out actions alone: the application takes nothing.
    pub(super) fn act(&mut self) {
        while let Some(action) = self
            .pump
            .command(self.now, |server, _| server.poll_action())
        {
            self.perform(action);
        }
    }

    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Send {
                link,
                frame: Frame::Binary(bytes),
            } => {
                assert!(!self.securing.contains(&link), "said while TLS starts");
                let text = core::str::from_utf8(&bytes).unwrap();
                self.sent.entry(link).or_default().push_str(text);
                self.unwritten.push_back(link);
            }
            Action::Close { link, .. } => {
                self.securing.remove(&link);
                self.unwritten.retain(|unwritten| *unwritten != link);
                let why = Closure::Local;
                self.pump
                    .handle_input(self.now, Input::Closed { link, why });
            }
            Action::StartTls { link } => {
                assert!(!self.unwritten.contains(&link) || !self.writes);
                assert_eq!(self.pump.machine().read_limit(link), 0);
                self.securing.insert(link);
            }
            unexpected => panic!("{unexpected:?}"),
        }
        self.write();
    }

    pub(super) fn write(&mut self) {
        while self.writes
            && let Some(link) = self.unwritten.pop_front()
        {
            self.pump.handle_input(self.now, Input::Written { link });
        }
    }

    pub(super) fn run(&mut self) -> Option<Deadline> {
        loop {
            match self.pump.step(self.now) {
                Step::Perform(action) => self.perform(action),
                Step::Deliver(event) => {
                    if self.agrees && event.is_question() {
                        let yes = match event {
                            ServerEvent::Credentials { .. } => reply(235, "2.7.0", "Welcome"),
                            _ => reply(250, "2.0.0", "Ok"),
                        };
                        assert!(self.respond(event.link().unwrap(), yes));
                    }
                    self.events.push(event);
                }
                Step::Wait { until } => return until,
                Step::Finished => {
                    self.finished = true;
                    return None;
                }
            }
        }
    }

    pub(super) fn respond(&mut self, link: LinkId, reply: Reply) -> bool {
        let respond = |server: &mut Server, now| server.respond(now, link, reply);
        self.pump.command(self.now, respond)
    }

    pub(super) fn shutdown(&mut self) {
        self.pump
            .command(self.now, |server, now| server.shutdown(now));
        self.run();
    }

    pub(super) fn wait(&mut self, duration: Duration) -> Option<Deadline> {
        self.now = self.now.after(duration);
        self.run()
    }

    pub(super) fn read_limit(&self, index: u64) -> usize {
        self.pump.machine().read_limit(link(index))
    }

    /// What was sent since the last look.
    pub(super) fn sent(&mut self, index: u64) -> String {
        self.sent.remove(&link(index)).unwrap_or_default()
    }

    /// The codes of what was sent since the last look.
    pub(super) fn codes(&mut self, index: u64) -> Vec<u16> {
        let sent = self.sent(index);
        let last_lines = sent.lines().filter(|line| line.as_bytes()[3] == b' ');
        last_lines.map(|line| line[..3].parse().unwrap()).collect()
    }

    /// The events since the last look, without what opened.
    pub(super) fn news(&mut self) -> Vec<String> {
        let events = mem::take(&mut self.events);
        let events = events.iter().map(|event| format!("{event:?}"));
        events.filter(|event| !event.contains("Opened")).collect()
    }
}
