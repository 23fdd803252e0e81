//! The client on virtual time, against a service played by hand.

use super::*;
use crate::{
    Closure, Frame, OpenError, OutboxLimits, Priority, Pump, Step,
    kv::wire::{ClientMessage, Code, Notification, decode_client},
    link::{BackoffPolicy, LinkError},
    session::{Body, RetentionLimits, Session, SessionFrame, SessionId},
};
use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use bytes::Bytes;

mod durable;
mod introduction;
mod links;
mod plain;
mod queue;
mod states;
mod throttling;
mod weaknesses;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A client, a clock, and a service that says what a test has it say.
struct Bench {
    pump: Pump<Client>,
    now: Time,
    actions: VecDeque<Action>,
    events: Vec<Event>,
    link: Option<LinkId>,
    /// The service's end of the session, while the durable dialect is spoken.
    far: Option<Session>,
    /// What it grants next.
    terms: Terms,
}

/// What a service grants.
struct Terms {
    session: u64,
    known: bool,
    sequence: u64,
    store: u128,
    max_calls: u64,
}

fn key() -> Credential {
    Credential::ApiKey("the-key".into())
}

fn token() -> Credential {
    Credential::Token("the-token".into())
}

impl Bench {
    fn new(credential: Credential, configure: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::new("ws://kv.example".parse().unwrap(), credential);
        configure(&mut config);
        Self {
            pump: Pump::new(Client::new(config, [3; 32], Time::ZERO)),
            now: Time::ZERO,
            actions: VecDeque::new(),
            events: Vec::new(),
            link: None,
            far: None,
            terms: Terms {
                session: 1,
                known: false,
                sequence: 0,
                store: 7,
                max_calls: 100,
            },
        }
    }

    /// With a key, and a service that was told to be plain HPKV.
    fn plain() -> Self {
        Self::new(key(), |config| config.durable = false)
    }

    /// With a key and everything as it is by default.
    fn by_default() -> Self {
        Self::new(key(), |_| {})
    }

    fn client(&self) -> &Client {
        self.pump.machine()
    }

    fn state(&self) -> ConnectionState {
        self.client().state()
    }

    fn statistics(&self) -> Statistics {
        self.client().statistics()
    }

    /// Runs the machine until it waits; says what it waits for.
    fn run(&mut self) -> Option<Deadline> {
        loop {
            match self.pump.step(self.now) {
                Step::Perform(action) => {
                    if let Action::Open { link, .. } = &action {
                        self.link = Some(*link);
                        self.far_leaves();
                    }
                    self.actions.push_back(action);
                }
                Step::Deliver(event) => self.events.push(event),
                Step::Wait { until } => {
                    assert!(until.is_none_or(|deadline| deadline.at > self.now));
                    return until;
                }
                Step::Finished => return None,
            }
        }
    }

    fn far_leaves(&mut self) {
        let now = self.now;
        if let Some(far) = &mut self.far
            && let Some(link) = far.link()
        {
            far.detach(now, link);
        }
    }

    fn input(&mut self, input: Input) {
        self.pump.handle_input(self.now, input);
        self.run();
    }

    fn command<R>(&mut self, command: impl FnOnce(&mut Client, Time) -> R) -> R {
        let result = self.pump.command(self.now, command);
        self.run();
        result
    }

    fn call(&mut self, call: Call) -> CallId {
        self.command(|client, now| client.call(now, call)).unwrap()
    }

    /// Lets time pass to the next deadline, which must be of this timer; acknowledgements and signs of life may go before.
    fn elapse(&mut self, timer: &str) {
        for _ in 0..1000 {
            let deadline = self.run().expect("a deadline");
            self.now = deadline.at;
            self.run();
            if deadline.timer == timer {
                return;
            }
            let goes_on = ["acknowledgement", "beat", "heartbeat"];
            assert!(goes_on.contains(&deadline.timer), "{deadline:?}");
        }
        panic!("{timer} never comes");
    }

    /// Lets so much time pass, serving each deadline.
    fn pass(&mut self, time: Duration) {
        let until = self.now.after(time);
        while let Some(deadline) = self.run()
            && deadline.at <= until
        {
            self.now = deadline.at;
        }
        self.now = until;
        self.run();
    }

    fn link(&self) -> LinkId {
        self.link.expect("a link was opened")
    }

    /// The link is open.
    fn opened(&mut self) {
        let link = self.link();
        self.input(Input::Opened { link });
    }

    fn cut(&mut self) {
        let (link, detail) = (self.link(), "reset".into());
        let why = Closure::Lost { detail };
        self.input(Input::Closed { link, why });
        self.far_leaves();
    }

    fn refused(&mut self, status: u16) {
        let why = OpenError::Refused {
            endpoint: "x".into(),
            status,
            retry_after: None,
        };
        let link = self.link();
        self.input(Input::OpenFailed { link, why });
    }

    fn text(&mut self, text: &str) {
        let (link, frame) = (self.link(), Frame::Text(text.to_owned().into()));
        self.input(Input::Frame { link, frame });
    }

    /// The service says this, in the dialect of the link.
    fn says(&mut self, json: &str) {
        let Some(far) = self.far.as_mut().filter(|far| far.link().is_some()) else {
            return self.text(json);
        };
        far.send(Body::Control(json.as_bytes())).unwrap();
        self.far_flushes();
    }

    fn far_flushes(&mut self) {
        while let Some(message) = self.far.as_mut().and_then(Session::poll_frame) {
            let (link, frame) = (self.link(), Frame::Binary(message));
            self.input(Input::Frame { link, frame });
        }
    }

    fn answers(&mut self, number: u64, more: &str) {
        self.says(&format!(r#"{{"code":200,"messageId":{number}{more}}}"#));
    }

    fn fails(&mut self, number: u64, code: u16) {
        let error = format!(r#"{{"code":{code},"error":"no","messageId":{number}}}"#);
        self.says(&error);
    }

    /// Everything the client did since last asked, written at once: `open`, `close 1000`, what it said as JSON; what it said in a
    /// session, with `~` before it.
    fn sent(&mut self) -> Vec<String> {
        let mut lines = vec![];
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Open { .. } => lines.push("open".to_string()),
                Action::Close { code, .. } => lines.push(format!("close {code}")),
                Action::Send { link, frame } => {
                    lines.extend(self.hears(link, &frame));
                    self.input(Input::Written { link });
                }
                other => panic!("{other:?}"),
            }
        }
        lines
    }

    fn hears(&mut self, link: LinkId, frame: &Frame) -> Option<String> {
        match frame {
            Frame::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            Frame::Binary(message) => {
                let far = self.far.as_mut().filter(|far| far.link() == Some(link))?;
                let delivery = far.handle_frame(link, message).unwrap()?;
                far.take_over(delivery.seq);
                let Body::Control(word) = delivery.body else {
                    panic!("not a word");
                };
                Some("~".to_string() + core::str::from_utf8(&word).unwrap())
            }
            _ => None,
        }
    }

    /// The numbers of the calls the client made since last asked.
    fn made(&mut self) -> Vec<u64> {
        let sent = self.sent();
        let said = sent.iter().filter_map(|line| {
            let json = line.trim_start_matches('~').to_owned();
            match decode_client(&json.into()).ok()? {
                ClientMessage::Call(request) => Some(request.message_id),
                ClientMessage::Hello { .. } => None,
            }
        });
        said.collect()
    }

    /// What the client asks for the durable dialect with.
    fn hello(&mut self) -> (u64, crate::kv::wire::Hello) {
        let sent = self.sent();
        let json = sent.last().expect("a hello").clone();
        match decode_client(&json.into()) {
            Ok(ClientMessage::Hello { message_id, hello }) => (message_id, hello),
            other => panic!("{other:?}"),
        }
    }

    /// The service grants the session asked for, or a new one where `is_new`.
    fn grants(&mut self, number: u64, is_new: bool) {
        let now = self.now;
        if is_new {
            self.far = Some(Session::new(now, 60 * SECOND, RetentionLimits::default()));
        }
        let link = self.link();
        let receive_next = self.far.as_ref().unwrap().receive_next();
        let Terms {
            session,
            known,
            sequence,
            store,
            max_calls,
        } = self.terms;
        self.text(&format!(
            r#"{{"code":200,"messageId":{number},"durable":{{"session":"{session:032x}","receiveNext":{receive_next},"expiresInMs":60000,
            "heartbeatMs":20000,"maxCalls":{max_calls},"known":{known},"sequence":{sequence},"store":"{store:032x}"}}}}"#
        ));
        let client_wants = self
            .client()
            .session
            .as_ref()
            .map_or(1, |session| session.resume().receive_next);
        let far = self.far.as_mut().unwrap();
        far.attach(link, client_wants).unwrap();
        self.far_flushes();
    }

    /// Opens the link and grants a new session.
    fn opened_durable(&mut self) {
        self.opened();
        let (number, _) = self.hello();
        self.grants(number, true);
    }

    /// Opens the link and goes on in the session there was.
    fn resumed(&mut self) {
        self.opened();
        let (number, hello) = self.hello();
        assert!(hello.resume.is_some());
        self.grants(number, false);
    }

    /// How calls have ended since last asked.
    fn ended(&mut self) -> Vec<(CallId, Result<Answer, CallError>)> {
        let events = core::mem::take(&mut self.events);
        let ended = events.into_iter().filter_map(|event| match event {
            Event::Answered { id, result } => Some((id, result)),
            _ => None,
        });
        ended.collect()
    }

    /// The end of the one call that has ended.
    fn end(&mut self) -> Result<Answer, CallError> {
        let mut ended = self.ended();
        assert_eq!(ended.len(), 1, "{ended:?}");
        ended.remove(0).1
    }

    fn count(&self, counts: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| counts(event)).count()
    }
}

fn lost() -> CallError {
    let detail = "reset".into();
    CallError::Connection(LinkError::Closed(Closure::Lost { detail }))
}
