//! A service with its links, its disk and its clock.

use super::super::*;
use crate::{
    Closure, Frame,
    http::{Answer, Request, Response, Site},
    kv::{
        ClientId,
        wire::{
            ClientMessage, Code, Grant, Hello, Operation, Request as Call, Resume, Seen,
            ServiceMessage, Success, decode_service, encode_client,
        },
    },
    session::{Body, RetentionLimits, Session, SessionId},
    storage::{BatchId, StorageError, Write},
};
use alloc::{borrow::ToOwned, format, string::String, vec};
use bytes::Bytes;

pub(super) const KEY: &str = "first key";
pub(super) const OTHER: &str = "second key";

/// What a driver does.
pub(super) struct World {
    pub(super) service: Service,
    pub(super) config: ServiceConfig,
    pub(super) now: Time,
    wires: BTreeMap<LinkId, Wire>,
    accepted: u64,
    pub(super) disk: Option<Disk>,
    pub(super) events: Vec<Event>,
    accounts: Vec<(KeyDigest, Policy)>,
    restarts: u8,
}

pub(super) struct Wire {
    /// What was sent and nobody has looked at yet.
    sent: VecDeque<Frame>,
    pub(super) unwritten: VecDeque<usize>,
    pub(super) takes: bool,
    pub(super) closed: Option<(CloseCode, String)>,
}

#[derive(Default)]
pub(super) struct Disk {
    pub(super) records: BTreeMap<(&'static str, Bytes), Bytes>,
    pub(super) waiting: VecDeque<(BatchId, Vec<Write>)>,
    /// Batches wait until somebody stores them.
    pub(super) is_slow: bool,
    pub(super) is_full: bool,
}

pub(super) fn config() -> ServiceConfig {
    ServiceConfig::new(Duration::from_secs(1_790_000_000))
}

pub(super) fn policy() -> Policy {
    Policy::default()
}

impl World {
    pub(super) fn in_memory() -> Self {
        Self::new(config(), None)
    }

    pub(super) fn stored() -> Self {
        Self::new(config(), Some(Disk::default()))
    }

    pub(super) fn with(change: impl FnOnce(&mut ServiceConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        Self::new(config, Some(Disk::default()))
    }

    pub(super) fn new(config: ServiceConfig, disk: Option<Disk>) -> Self {
        let now = Time::ZERO;
        let service = match &disk {
            Some(_) => Service::restore(config.clone(), [1; 32], now, vec![]).unwrap(),
            None => Service::in_memory(config.clone(), [1; 32], now),
        };
        let accounts = vec![
            (KeyDigest::of(KEY), policy()),
            (KeyDigest::of(OTHER), policy()),
        ];
        let mut world = Self {
            service,
            config,
            now,
            wires: BTreeMap::new(),
            accepted: 0,
            disk,
            events: vec![],
            accounts: vec![],
            restarts: 0,
        };
        world.set_accounts(accounts);
        world
    }

    pub(super) fn set_accounts(&mut self, accounts: Vec<(KeyDigest, Policy)>) {
        self.accounts = accounts.clone();
        self.service.set_accounts(self.now, accounts);
        self.run();
    }

    pub(super) fn set_policy(&mut self, key: &str, policy: Policy) {
        let mut accounts = self.accounts.clone();
        accounts.retain(|(known, _)| *known != KeyDigest::of(key));
        accounts.push((KeyDigest::of(key), policy));
        self.set_accounts(accounts);
    }

    /// The process is killed, and another begins with what is stored. All links are gone.
    pub(super) fn restart(&mut self) {
        self.restarts += 1;
        let seed = [1 + self.restarts; 32];
        let (config, now) = (self.config.clone(), self.now);
        self.service = match &mut self.disk {
            Some(disk) => {
                disk.waiting.clear();
                let records = disk.records.iter();
                let records = records.map(|((table, key), value)| Record {
                    table: (*table).to_owned(),
                    key: key.clone(),
                    value: value.clone(),
                    age: Duration::ZERO,
                });
                Service::restore(config, seed, now, records.collect()).unwrap()
            }
            None => Service::in_memory(config, seed, now),
        };
        self.wires.clear();
        let accounts = self.accounts.clone();
        self.set_accounts(accounts);
    }

    // ---- the driver ----

    pub(super) fn tell(&mut self, input: Input) {
        self.service.handle_input(self.now, input);
        self.run();
    }

    pub(super) fn run(&mut self) {
        loop {
            while let Some(action) = self.service.poll_action() {
                self.perform(action);
            }
            while let Some(event) = self.service.poll_event() {
                self.events.push(event);
            }
            if !self.store_one_if_quick() && !self.write_one() {
                break;
            }
        }
        let deadline = self.service.deadline();
        assert!(
            deadline.is_none_or(|deadline| deadline.at > self.now),
            "{deadline:?}"
        );
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send { link, frame } => {
                let wire = self.wires.get_mut(&link).expect("a link that is sent on");
                assert!(wire.closed.is_none(), "{link} is closed");
                wire.unwritten.push_back(frame.len());
                wire.sent.push_back(frame);
            }
            Action::Close { link, code, reason } => {
                if let Some(wire) = self.wires.get_mut(&link) {
                    assert!(wire.closed.is_none(), "{link} is closed twice");
                    wire.closed = Some((code, reason));
                }
            }
            Action::Store { batch, writes } => {
                assert!(!writes.is_empty());
                let disk = self.disk.as_mut().expect("only what has a storage stores");
                disk.waiting.push_back((batch, writes));
            }
            Action::Open { .. } | Action::StartTls { .. } => panic!("{action:?}"),
        }
    }

    fn store_one_if_quick(&mut self) -> bool {
        match &self.disk {
            Some(disk) if !disk.is_slow && !disk.waiting.is_empty() => {
                self.store_one();
                true
            }
            _ => false,
        }
    }

    /// Stores the oldest batch, or fails to where the disk is full.
    pub(super) fn store_one(&mut self) {
        let disk = self.disk.as_mut().unwrap();
        let (batch, writes) = disk.waiting.pop_front().unwrap();
        let result = if disk.is_full {
            let detail = "the disk".into();
            Err(StorageError::Full { detail })
        } else {
            for write in writes {
                match write {
                    Write::Put { table, key, value } => disk.records.insert((table, key), value),
                    Write::Delete { table, key } => disk.records.remove(&(table, key)),
                };
            }
            Ok(())
        };
        let input = Input::Stored { batch, result };
        self.service.handle_input(self.now, input);
    }

    fn write_one(&mut self) -> bool {
        let mut wires = self.wires.iter_mut();
        let ready = wires.find_map(|(link, wire)| {
            let takes = wire.takes && wire.closed.is_none();
            (takes && wire.unwritten.pop_front().is_some()).then_some(*link)
        });
        let Some(link) = ready else {
            return false;
        };
        self.service.handle_input(self.now, Input::Written { link });
        true
    }

    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        while let Some(deadline) = self.service.deadline()
            && deadline.at <= end
        {
            self.now = self.now.max(deadline.at);
            self.service.handle_timeout(self.now);
            self.run();
        }
        self.now = end;
        self.run();
    }

    // ---- links ----

    pub(super) fn request(&mut self, request: &Request) -> Answer {
        self.request_from(request, None)
    }

    pub(super) fn request_from(&mut self, request: &Request, peer: Option<&str>) -> Answer {
        let link = LinkId::accepted(self.accepted);
        let peer = peer.map(|peer| peer.parse().unwrap());
        let answer = self.service.handle_request(self.now, link, peer, request);
        if answer == Answer::Upgrade && request.is_upgrade() {
            self.accepted += 1;
            let wire = Wire {
                sent: VecDeque::new(),
                unwritten: VecDeque::new(),
                takes: true,
                closed: None,
            };
            self.wires.insert(link, wire);
            self.tell(Input::Accepted { link, peer });
        } else {
            self.run();
        }
        answer
    }

    pub(super) fn upgrade(&mut self, target: &str) -> Result<LinkId, Response> {
        let request = Request::new("GET", target).with_field("Upgrade", "websocket");
        let link = LinkId::accepted(self.accepted);
        match self.request(&request) {
            Answer::Upgrade => Ok(link),
            Answer::Respond(response) | Answer::RespondLater { response, .. } => Err(response),
        }
    }

    pub(super) fn connect(&mut self, key: &str) -> LinkId {
        self.upgrade(&format!("/ws?apiKey={key}")).unwrap()
    }

    pub(super) fn token(&mut self, body: &str) -> String {
        let request = Request::new("POST", "/token/websocket")
            .with_field("x-api-key", KEY)
            .with_body(body.to_owned());
        let Answer::Respond(response) = self.request(&request) else {
            panic!("no answer");
        };
        assert_eq!(response.status(), 200, "{}", body_of(&response));
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        body["token"].as_str().unwrap().to_owned()
    }

    pub(super) fn connect_with_token(&mut self, body: &str) -> LinkId {
        let token = self.token(body);
        self.upgrade(&format!("/ws?token={token}")).unwrap()
    }

    pub(super) fn wire(&mut self, link: LinkId) -> &mut Wire {
        self.wires.get_mut(&link).unwrap()
    }

    pub(super) fn send(&mut self, link: LinkId, frame: Frame) {
        self.tell(Input::Frame { link, frame });
    }

    pub(super) fn say(&mut self, link: LinkId, json: &str) {
        self.send(link, Frame::Text(Bytes::copy_from_slice(json.as_bytes())));
    }

    pub(super) fn cut(&mut self, link: LinkId) {
        self.wires.remove(&link);
        let why = Closure::Lost {
            detail: "cut".into(),
        };
        self.tell(Input::Closed { link, why });
    }

    /// What was sent on the link since this was asked last.
    pub(super) fn frames(&mut self, link: LinkId) -> Vec<Frame> {
        let wire = self.wires.get_mut(&link);
        wire.map_or_else(Vec::new, |wire| mem::take(&mut wire.sent).into())
    }

    pub(super) fn texts(&mut self, link: LinkId) -> Vec<String> {
        let frames = self.frames(link).into_iter();
        let texts = frames.filter_map(|frame| match frame {
            Frame::Text(text) => Some(String::from_utf8(text.into()).unwrap()),
            _ => None,
        });
        texts.collect()
    }

    /// What comes of saying this, which is one answer.
    pub(super) fn asks(&mut self, link: LinkId, json: &str) -> String {
        self.say(link, json);
        let mut texts = self.texts(link);
        assert_eq!(texts.len(), 1, "{json} is answered once");
        texts.remove(0)
    }

    pub(super) fn call(&mut self, link: LinkId, operation: Operation) -> Result<Success, Code> {
        let message = ClientMessage::Call(Call {
            message_id: 1,
            settled: None,
            operation,
        });
        self.send(link, Frame::Text(encode_client(&message)));
        let mut answers = self.messages(link).into_iter();
        match (answers.next(), answers.next()) {
            (Some(ServiceMessage::Answer(answer)), None) => {
                answer.result.map_err(|failure| failure.code)
            }
            (first, second) => panic!("{first:?} and {second:?}"),
        }
    }

    pub(super) fn messages(&mut self, link: LinkId) -> Vec<ServiceMessage> {
        let texts = self.texts(link).into_iter();
        let read = |text: String| decode_service(&text.into()).unwrap().unwrap();
        texts.map(read).collect()
    }

    pub(super) fn closed(&self, link: LinkId) -> Option<(u16, String)> {
        let closed = self.wires.get(&link)?.closed.clone();
        closed.map(|(code, reason)| (code.0, reason))
    }
}

pub(super) fn body_of(response: &Response) -> String {
    String::from_utf8(response.body().to_vec()).unwrap()
}

pub(super) fn get(key: &str) -> Operation {
    Operation::Get { key: key.into() }
}

pub(super) fn set(key: &str, value: impl Into<Bytes>) -> Operation {
    let (key, value) = (key.into(), value.into());
    Operation::Set { key, value }
}

pub(super) fn delete(key: &str) -> Operation {
    Operation::Delete { key: key.into() }
}

pub(super) fn increment(key: &str, by: i64) -> Operation {
    let key = key.into();
    Operation::Increment { key, by }
}

pub(super) fn range(key: &str, end_key: &str, limit: Option<u64>) -> Operation {
    let (key, end_key) = (key.into(), end_key.into());
    Operation::Range {
        key,
        end_key,
        limit,
    }
}

/// A client of the durable dialect, as simple as can be.
pub(super) struct Peer {
    pub(super) client: ClientId,
    pub(super) credential: String,
    pub(super) link: LinkId,
    pub(super) session: Session,
    pub(super) id: SessionId,
    pub(super) next: u64,
    pub(super) settled: u64,
    pub(super) heard: Vec<ServiceMessage>,
    pub(super) grant: Grant,
}

impl Peer {
    pub(super) fn new(world: &mut World, client: u128) -> Self {
        Self::with(world, client, &format!("apiKey={KEY}"), None)
    }

    pub(super) fn with(
        world: &mut World,
        client: u128,
        credential: &str,
        after: Option<Seen>,
    ) -> Self {
        let hello = Hello {
            client: ClientId::from_bits(client),
            resume: None,
            after,
        };
        let (link, grant) = greet(world, credential, hello).unwrap();
        let mut session = session();
        session.attach(link, grant.receive_next).unwrap();
        let mut peer = Self {
            client: hello.client,
            credential: credential.into(),
            link,
            session,
            id: grant.session,
            next: 1,
            settled: 0,
            heard: vec![],
            grant,
        };
        peer.exchange(world);
        peer
    }

    /// Comes back on another link, with the session it has or, where that is gone, in a new one; true in the former case.
    pub(super) fn come_back(&mut self, world: &mut World) -> bool {
        self.session.detach(world.now, self.link);
        let resume = Resume {
            session: self.id,
            receive_next: self.session.receive_next(),
        };
        let hello = Hello {
            client: self.client,
            resume: Some(resume),
            after: None,
        };
        let (link, grant) = greet(world, &self.credential, hello).unwrap();
        let is_same = grant.session == self.id;
        assert_eq!(is_same, grant.gone.is_none());
        if !is_same {
            self.session = session();
        }
        self.session.attach(link, grant.receive_next).unwrap();
        (self.link, self.id, self.grant) = (link, grant.session, grant);
        self.exchange(world);
        is_same
    }

    /// Asks under the next number, without waiting for an answer.
    pub(super) fn ask(&mut self, world: &mut World, operation: Operation) -> u64 {
        let message_id = self.next;
        self.next += 1;
        self.ask_as(world, message_id, operation);
        message_id
    }

    pub(super) fn ask_as(&mut self, world: &mut World, message_id: u64, operation: Operation) {
        self.write(message_id, operation);
        self.exchange(world);
    }

    /// The same without sending it yet.
    pub(super) fn write(&mut self, message_id: u64, operation: Operation) {
        let message = ClientMessage::Call(Call {
            message_id,
            settled: Some(self.settled),
            operation,
        });
        self.say(&encode_client(&message));
    }

    pub(super) fn say(&mut self, message: &[u8]) {
        self.session.send(Body::Control(message)).unwrap();
    }

    pub(super) fn call(
        &mut self,
        world: &mut World,
        operation: Operation,
    ) -> Result<Success, Code> {
        let id = self.ask(world, operation);
        self.answer(id).expect("it is answered")
    }

    /// The answer to the call of this number, if it has come; it is heard no more.
    pub(super) fn answer(&mut self, id: u64) -> Option<Result<Success, Code>> {
        let is_its = |message: &ServiceMessage| matches!(message, ServiceMessage::Answer(answer) if answer.message_id == Some(id));
        let at = self.heard.iter().position(is_its)?;
        let ServiceMessage::Answer(answer) = self.heard.remove(at) else {
            unreachable!("it is one");
        };
        Some(answer.result.map_err(|failure| failure.code))
    }

    /// Sends what there is to send and takes what has come, until there is nothing.
    pub(super) fn exchange(&mut self, world: &mut World) {
        loop {
            let mut is_quiet = true;
            while world.closed(self.link).is_none()
                && let Some(frame) = self.session.poll_frame()
            {
                is_quiet = false;
                world.send(self.link, Frame::Binary(frame));
            }
            for frame in world.frames(self.link) {
                is_quiet = false;
                let Frame::Binary(message) = frame else {
                    continue;
                };
                let arrived = self.session.handle_frame(self.link, &message).unwrap();
                let Some(delivery) = arrived else { continue };
                self.session.take_over(delivery.seq);
                let Body::Control(payload) = delivery.body else {
                    panic!("there is no data in this dialect");
                };
                self.heard.push(decode_service(&payload).unwrap().unwrap());
            }
            if is_quiet {
                break;
            }
        }
    }
}

pub(super) fn session() -> Session {
    Session::new(Time::ZERO, Duration::MAX, RetentionLimits::default())
}

pub(super) fn greet(
    world: &mut World,
    credential: &str,
    hello: Hello,
) -> Result<(LinkId, Grant), Code> {
    let link = world.upgrade(&format!("/ws?{credential}")).unwrap();
    let message_id = 0;
    let message = ClientMessage::Hello { message_id, hello };
    world.send(link, Frame::Text(encode_client(&message)));
    let wire = world.wire(link);
    let first = wire.sent.pop_front();
    let Some(Frame::Text(text)) = first else {
        panic!("the first message is the answer, not {first:?}");
    };
    match decode_service(&text).unwrap().unwrap() {
        ServiceMessage::Answer(answer) => match answer.result {
            Ok(Success::Granted(grant)) => Ok((link, grant)),
            Err(failure) => Err(failure.code),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}
