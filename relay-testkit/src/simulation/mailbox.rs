//! The mail server at the end of the way: real SMTP, and an application with moods. It may be slow, refuse, or die between the
//! end of data and its reply.

use super::{host::Host, oracle::Oracle};
use bytes::BytesMut;
use relay_proto::{
    Action, CloseCode, Input, LinkId, Machine, Pump, Random, Step, Time,
    smtp::{Code, Reply, Server, ServerConfig, ServerEvent, reply},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

/// What a mail server is like; chances are in a thousand, for each message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moods {
    /// It refuses a message at its end, for good or for the moment.
    pub refuses: u64,
    /// It dies at the end of a message, having taken it or not, without a reply.
    pub dies: u64,
    /// It answers a question late, by up to half a minute.
    pub slow: u64,
}

/// The mail server's host.
pub(super) struct Mailbox {
    pump: Pump<Server>,
    oracle: Rc<RefCell<Oracle>>,
    moods: Moods,
    random: Random,
    messages: BTreeMap<LinkId, BytesMut>,
    /// How many messages came on each connection, and how many it takes.
    begun: BTreeMap<LinkId, u64>,
    most_messages: u64,
    /// What is answered later. A link has one question open at most.
    later: BTreeSet<(Time, LinkId)>,
    replies: BTreeMap<LinkId, Reply>,
    /// The question that is open there is about a whole message.
    at_end: BTreeSet<LinkId>,
    actions: VecDeque<Action>,
}

impl Mailbox {
    pub(super) fn new(
        config: ServerConfig,
        most_messages: u64,
        seed: u64,
        oracle: Rc<RefCell<Oracle>>,
    ) -> Self {
        let mut bytes = [1; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            pump: Pump::new(Server::new(config)),
            oracle,
            moods: Moods::default(),
            random: Random::new(bytes),
            messages: BTreeMap::new(),
            begun: BTreeMap::new(),
            most_messages,
            later: BTreeSet::new(),
            replies: BTreeMap::new(),
            at_end: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    pub(super) const fn set_moods(&mut self, moods: Moods) {
        self.moods = moods;
    }

    /// Dies and comes back knowing nothing but what it has delivered.
    pub(super) fn restart(&mut self, config: ServerConfig) {
        self.pump = Pump::new(Server::new(config));
        self.messages.clear();
        self.begun.clear();
        self.later.clear();
        self.replies.clear();
        self.at_end.clear();
        self.actions.clear();
    }

    fn chance(&mut self, in_a_thousand: u64) -> bool {
        in_a_thousand > 0 && self.random.next_u64() % 1000 < in_a_thousand
    }

    fn answer(&mut self, now: Time, link: LinkId, reply: Reply) {
        if self.chance(self.moods.slow) {
            let late = self.random.up_to(Duration::from_secs(30));
            self.later.insert((now.after(late), link));
            self.replies.insert(link, reply);
        } else {
            self.respond(now, link, reply);
        }
    }

    fn respond(&mut self, now: Time, link: LinkId, reply: Reply) {
        if self.at_end.remove(&link) {
            self.oracle.borrow_mut().answered(link);
        }
        self.pump
            .command(now, |server, now| server.respond(now, link, reply));
    }

    fn on_event(&mut self, now: Time, event: ServerEvent) {
        let ok = |text| Reply::new(Code::OK, None, text);
        match event {
            ServerEvent::Opened { .. } => self.oracle.borrow_mut().connections += 1,
            ServerEvent::Mail {
                link, reverse_path, ..
            } => {
                let begun = self.begun.entry(link).or_default();
                *begun += 1;
                if *begun > self.most_messages {
                    self.oracle.borrow_mut().worn_out += 1;
                    let enough = reply(421, "4.7.0", "Enough for now");
                    return self.answer(now, link, enough);
                }
                let sender = reverse_path.to_string();
                self.oracle.borrow_mut().begun(link, &sender);
                self.answer(now, link, ok("ok"));
            }
            ServerEvent::Recipient { link, forward_path } => {
                self.messages.insert(link, BytesMut::new());
                let is_refused = forward_path.to_string().contains("mallory");
                let no = reply(550, "5.1.1", "No such user");
                self.answer(now, link, if is_refused { no } else { ok("ok") });
            }
            ServerEvent::Content { link, content } => {
                let message = self.messages.entry(link).or_default();
                message.extend_from_slice(&content);
            }
            ServerEvent::EndOfContent { link } => self.at_end(now, link),
            ServerEvent::Reset { link } => {
                self.forget(link);
                self.oracle.borrow_mut().reset(link);
            }
            ServerEvent::Closed { link, .. } => self.forget(link),
            _ => {}
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.messages.remove(&link);
        self.replies.remove(&link);
        self.at_end.remove(&link);
        self.later.retain(|(_, waiting)| *waiting != link);
    }

    fn at_end(&mut self, now: Time, link: LinkId) {
        let message = self.messages.remove(&link).unwrap_or_default().freeze();
        self.at_end.insert(link);
        let dies = self.chance(self.moods.dies);
        if self.chance(self.moods.refuses) || (dies && self.chance(500)) {
            let code = [421, 451, 550][self.random.next_u64() as usize % 3];
            if !dies {
                self.oracle.borrow_mut().refused(&message, code);
                return self.answer(now, link, reply(code, "", "no"));
            }
        } else {
            self.oracle.borrow_mut().delivered(message);
        }
        if dies {
            self.actions.push_back(Action::Close {
                link,
                code: CloseCode::GOING_AWAY,
                reason: "the server dies".into(),
            });
        } else {
            self.answer(now, link, Reply::new(Code::OK, None, "taken"));
        }
    }
}

impl Host for Mailbox {
    fn handle_input(&mut self, now: Time, input: Input) {
        self.pump.handle_input(now, input);
    }

    fn step(&mut self, now: Time) -> Result<Action, Option<Time>> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Ok(action);
            }
            while let Some(&(at, link)) = self.later.first().filter(|(at, _)| *at <= now) {
                self.later.remove(&(at, link));
                if let Some(reply) = self.replies.remove(&link) {
                    self.respond(now, link, reply);
                }
            }
            let later = self.later.first().map(|(at, _)| *at);
            match self.pump.step(now) {
                Step::Perform(action) => return Ok(action),
                Step::Deliver(event) => self.on_event(now, event),
                Step::Wait { until } => {
                    let until = until.map(|deadline| deadline.at);
                    return Err([until, later].into_iter().flatten().min());
                }
                Step::Finished => return Err(later),
            }
        }
    }

    fn read_limit(&self, link: LinkId) -> usize {
        self.pump.machine().read_limit(link)
    }
}
