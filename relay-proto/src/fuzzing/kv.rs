//! The key-value service alone among strangers, in both dialects, and the words it is spoken to with.

use super::{
    driver::{Choices, Driver, text},
    numbers::Numbers,
};
use crate::{
    Frame, LinkId, Time,
    http::{Answer, Request, Site},
    kv::{
        ClientId,
        service::{Event, KeyDigest, Policy, Service, ServiceConfig},
        wire::{
            self, ClientMessage, Hello, Operation, Resume, Seen, ServiceMessage, Success,
            decode_client, decode_service, encode_client, encode_service,
        },
    },
    session::{Body, SessionId},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use bytes::Bytes;
use core::{str, time::Duration};

/// Any bytes are read without harm, and what was read is written as something that says the same. Of what is malformed a service can
/// tell its client.
pub fn kv_wire(input: &[u8]) {
    // The first byte has no meaning here, and is there so that fragments can be shared with other targets.
    let message = Bytes::copy_from_slice(input.get(1..).unwrap_or_default());
    match decode_client(&message) {
        Ok(said) => assert_eq!(decode_client(&encode_client(&said)), Ok(said)),
        Err(malformed) => {
            let answer = ServiceMessage::Answer(malformed.to_answer());
            assert_eq!(decode_service(&encode_service(&answer)), Ok(Some(answer)));
        }
    }
    if let Ok(Some(said)) = decode_service(&message) {
        let again = decode_service(&encode_service(&said));
        // A success of which the code was all there was to read is done, whatever it was meant to be.
        assert_eq!(again, Ok(Some(said)));
    }
}

const KEYS: [&str; 6] = ["a", "ab", "b", "n", "ü", ""];

const VALUES: [&[u8]; 7] = [
    b"1",
    b"-7",
    br#"{"a":1,"b":{"c":null}}"#,
    br#"{"a":null,"d":[1]}"#,
    b"text",
    b"\xff\0",
    b"",
];

const REQUESTS: [&str; 8] = [
    "null",
    "42",
    "{}",
    r#"{"op":1,"key":"a"}"#,
    r#"{"op":9,"key":"a","messageId":1}"#,
    r#"{"op":6,"key":"n","value":1e300,"messageId":2}"#,
    r#"{"op":7,"messageId":3}"#,
    r#"{"op":1,"op":1}"#,
];

/// However clients, disk and application behave, the service keeps to its contract, answers no more calls than were asked, holds no
/// more than its bounds say, and ends when it is told to.
pub fn kv_service(input: &[u8]) {
    let mut choices = Choices(input);
    let mut config = ServiceConfig::new(Duration::from_secs(1_790_000_000));
    (config.max_key_bytes, config.max_value_bytes) = (8, 64);
    (config.max_links, config.max_calls, config.max_clients) = (6, 4, 3);
    config.max_log_changes = 5;
    let kind = choices.byte();
    config.durable = kind & 1 == 0;
    let is_stored = kind & 2 == 0;
    config.max_store_bytes = if kind & 4 == 0 { 10_000 } else { 200 };
    config.max_held_bytes = if kind & 8 == 0 { 1 << 20 } else { 1000 };
    let mut lives = 0_u8;
    let mut restore = |now, records| {
        lives = lives.wrapping_add(1);
        let restored = Service::restore(config.clone(), [lives; 32], now, records);
        let mut service = restored.expect("what a service has stored is read back");
        service.set_accounts(now, accounts(0));
        service
    };
    let mut driver = Driver::new(match is_stored {
        true => restore(Time::ZERO, Vec::new()),
        false => {
            let mut service = Service::in_memory(config.clone(), [7; 32], Time::ZERO);
            service.set_accounts(Time::ZERO, accounts(0));
            service
        }
    });
    let mut watch = Watch::default();
    let mut clients = Clients::default();
    while !choices.0.is_empty() {
        let now = driver.now;
        match choices.byte() % 16 {
            0 | 1 => ask(&mut driver, &mut clients, &mut choices),
            2 => driver.wait(&mut choices),
            3 if choices.byte() < 16 => {
                let kind = choices.byte();
                driver.pump.command(now, |service, now| {
                    service.set_accounts(now, accounts(kind));
                });
            }
            4 if choices.byte() == 0 => {
                let deadline = now.after(Duration::from_secs(60));
                driver
                    .pump
                    .command(now, |service, now| service.drain(now, deadline));
            }
            5..=7 if driver.stores() => driver.store(&mut choices),
            8 if is_stored && choices.byte() < 32 && !watch.finished => {
                driver = driver.crash(&mut restore);
                watch = Watch::default();
                clients.links.clear();
                clients.tokens.clear();
            }
            _ => {
                let told =
                    driver.disturb(&mut choices, |link, _, choices| clients.say(link, choices));
                if let Some((link, frame)) = told {
                    clients.told(link, &frame);
                }
            }
        }
        watch.see(driver.run());
        for (link, frame) in driver.said.drain(..) {
            clients.hear(link, &frame);
        }
        let statistics = driver.pump.machine().statistics();
        assert!(statistics.links <= 6 && statistics.clients <= 3);
        assert!(statistics.bytes <= config.max_store_bytes);
    }
    let now = driver.now;
    driver.pump.command(now, Service::stop);
    watch.see(driver.run());
    assert!(watch.finished);
    driver.finish();
}

fn accounts(kind: u8) -> Vec<(KeyDigest, Policy)> {
    let mut other = Policy::default();
    if kind & 1 != 0 {
        other.store = "other".into();
    }
    other.read_only = kind & 2 != 0;
    if kind & 4 != 0 {
        other.rate = Some(crate::pacing::Rate::per_second(2));
    }
    let mut accounts = Vec::from([(KeyDigest::of("other"), other)]);
    if kind & 8 == 0 {
        accounts.push((KeyDigest::of("key"), Policy::default()));
    }
    accounts
}

/// Somebody asks over HTTP for something.
fn ask(driver: &mut Driver<Service>, clients: &mut Clients, choices: &mut Choices<'_>) {
    let request = match choices.byte() % 8 {
        0..=2 => upgrade("/ws?apiKey=key"),
        3 => upgrade("//ws?apiKey=other"),
        4 => upgrade(&format!("/ws?token={}", clients.token(choices))),
        5 | 6 => {
            let pattern = choices.one_of(&["*", "a*", "a", "^[ab]+$", "(", "(a{9}){9}"]);
            let pattern = pattern.unwrap_or_default();
            let body =
                format!(r#"{{"subscribePatterns":["{pattern}"],"accessPattern":"{pattern}"}}"#);
            Request::new("POST", "/token/websocket")
                .with_field("x-api-key", "key")
                .with_body(body)
        }
        _ => {
            let length = usize::from(choices.byte() % 64);
            let target = String::from_utf8_lossy(choices.bytes(length)).into_owned();
            upgrade(&target)
        }
    };
    let (now, link) = (driver.now, driver.next_accepted());
    let answer = driver.pump.command(now, |service, now| {
        service.handle_request(now, link, None, &request)
    });
    match answer {
        Answer::Upgrade if request.is_upgrade() => driver.accept(choices),
        Answer::Upgrade => {}
        Answer::Respond(response) | Answer::RespondLater { response, .. } => {
            let body = str::from_utf8(response.body()).expect("it is JSON");
            if let Some(token) = body.strip_prefix(r#"{"token":""#) {
                clients.tokens.push(token.trim_end_matches(r#""}"#).into());
            }
        }
    }
}

fn upgrade(target: &str) -> Request {
    Request::new("GET", target).with_field("Upgrade", "websocket")
}

/// What the clients know of their sessions.
#[derive(Default)]
struct Clients {
    /// Also those of links that were fenced: a zombie does not know that it is one.
    links: BTreeMap<LinkId, SessionId>,
    sessions: BTreeMap<SessionId, Numbers>,
    tokens: Vec<String>,
    /// The last sequence number that was heard of on each link; they only grow.
    told: BTreeMap<LinkId, u64>,
}

impl Clients {
    fn token(&self, choices: &mut Choices<'_>) -> &str {
        match usize::from(choices.byte()).checked_rem(self.tokens.len()) {
            Some(index) => &self.tokens[index],
            None => "none",
        }
    }

    /// What a client says on its WebSocket.
    fn say(&self, link: LinkId, choices: &mut Choices<'_>) -> Frame {
        let Some(session) = self.links.get(&link) else {
            return match choices.byte() % 8 {
                0 => text(choices, &REQUESTS),
                1..=3 => Frame::Text(encode_client(&self.hello(choices))),
                _ => Frame::Text(call(choices)),
            };
        };
        let numbers = self.sessions[session];
        match choices.byte() % 8 {
            0 => text(choices, &REQUESTS),
            1 => numbers.frame(choices, None),
            2 => {
                let length = usize::from(choices.byte() % 32);
                let payload = Bytes::copy_from_slice(choices.bytes(length));
                numbers.frame(choices, Some(Body::Control(payload)))
            }
            _ => {
                let payload = call(choices);
                numbers.frame(choices, Some(Body::Control(payload)))
            }
        }
    }

    fn hello(&self, choices: &mut Choices<'_>) -> ClientMessage {
        let all: Vec<_> = self.sessions.iter().collect();
        let resume = match choices.one_of(&all) {
            Some((session, numbers)) if choices.byte() < 200 => Some(Resume {
                session: *session,
                receive_next: numbers.received + 1,
            }),
            _ => None,
        };
        let after = choices.byte().is_multiple_of(4).then(|| Seen {
            sequence: u64::from(choices.byte() % 16),
            store: None,
        });
        ClientMessage::Hello {
            message_id: 0,
            hello: Hello {
                client: ClientId::from_bits(u128::from(choices.byte() % 5)),
                resume,
                after,
            },
        }
    }

    /// The service was told this.
    fn told(&mut self, link: LinkId, frame: &Frame) {
        if let Some(session) = self.links.get(&link)
            && let Some(numbers) = self.sessions.get_mut(session)
        {
            numbers.says(frame);
        }
    }

    /// The service has said this.
    fn hear(&mut self, link: LinkId, frame: &Frame) {
        if let Some(session) = self.links.get(&link)
            && let Some(numbers) = self.sessions.get_mut(session)
        {
            return numbers.hears(frame);
        }
        let Frame::Text(text) = frame else {
            return;
        };
        let said = decode_service(text).expect("a service says what a client understands");
        match said.expect("and knows") {
            ServiceMessage::Answer(answer) => {
                if let Ok(Success::Granted(grant)) = answer.result {
                    self.links.insert(link, grant.session);
                    let numbers = self.sessions.entry(grant.session);
                    numbers.or_insert(Numbers::NEW).next = grant.receive_next;
                }
            }
            ServiceMessage::Notification(notification) => {
                let before = self
                    .told
                    .insert(link, notification.sequence.expect("it counts"));
                assert!(before < notification.sequence, "no change is told twice");
            }
            ServiceMessage::Missed(missed) => assert!(missed.after < missed.first),
        }
    }
}

/// Any call, in JSON.
fn call(choices: &mut Choices<'_>) -> Bytes {
    let key = String::from(choices.one_of(&KEYS).unwrap_or_default());
    let value = Bytes::from_static(choices.one_of(&VALUES).unwrap_or_default());
    let operation = match choices.byte() % 8 {
        0 => Operation::Get { key },
        1 | 2 => Operation::Set { key, value },
        3 => Operation::Patch { key, value },
        4 => Operation::Delete { key },
        5 => Operation::Range {
            key,
            end_key: String::from(choices.one_of(&KEYS).unwrap_or_default()),
            limit: choices.byte().is_multiple_of(2).then_some(2),
        },
        _ => Operation::Increment {
            key,
            by: i64::from(choices.byte()) - 5,
        },
    };
    encode_client(&ClientMessage::Call(wire::Request {
        message_id: u64::from(choices.byte() % 32),
        settled: choices
            .byte()
            .is_multiple_of(2)
            .then(|| u64::from(choices.byte() % 16)),
        operation,
    }))
}

/// What the service reports.
#[derive(Default)]
struct Watch {
    connected: BTreeSet<LinkId>,
    finished: bool,
}

impl Watch {
    fn see(&mut self, events: Vec<Event>) {
        for event in events {
            assert!(!self.finished, "{event:?} comes after the end");
            match event {
                Event::Connected { link, .. } => assert!(self.connected.insert(link)),
                Event::Disconnected { link, .. } => assert!(self.connected.remove(&link)),
                Event::Finished => self.finished = true,
                _ => {}
            }
        }
    }
}
