//! The mail relay alone among strangers, in both dialects.

use super::{
    driver::{Choices, Driver, REPLIES, stream, text},
    numbers::Numbers,
};
use crate::{
    Frame, LinkId, StreamAddress, Time,
    mail::{
        DeliveryId,
        relay::{self, Policy, Relay, RelayConfig},
        wire::{self, ApiKey, Denied, DurableRequest, Granted, Message, Word, encode, encode_word},
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
use core::time::Duration;

/// The most a session keeps to send it again.
const MOST_IN_SESSION: usize = 1 << 20;

/// The most that waits on a channel, or for a socket.
const MOST_WAITING: usize = 1 << 20;

/// What an SMTP client may say at some time.
const COMMANDS: [&str; 14] = [
    "EHLO a\r\n",
    "MAIL FROM:<a@b.example>\r\n",
    "MAIL FROM:<a@b.example> SIZE=1000 BODY=8BITMIME\r\n",
    "RCPT TO:<c@d.example>\r\n",
    "DATA\r\n",
    "hello\r\n..\r\n",
    ".\r\n",
    "RSET\r\n",
    "QUIT\r\n",
    "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n",
    "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 3 LAST\r\nabc",
    "BDAT 5\r\n.\r\n.\r\n",
    "BDAT 0 LAST\r\n",
    "\n.\n",
];

const CLIENT_FRAMES: [&str; 5] = [
    r#"{"type":"AUTHENTICATE","apiKey":"key"}"#,
    r#"{"type":"SMTP_CHANNEL_OPEN"}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED"}"#,
    r#"{"type":"RELAY_DRAINING"}"#,
    r#"{"type":"SMTP_CHANNEL_READY"}"#,
];

/// However clients, upstream, disk and application behave, the relay keeps to its contract, reports every link once in each
/// direction, holds no more than its bounds say, and ends when it is told to.
pub fn mail_relay(input: &[u8]) {
    let mut choices = Choices(input);
    let upstream = StreamAddress::new("mx.example", 25, false);
    let mut config = RelayConfig::new(upstream, "relay.example".parse().expect("a host name"));
    (
        config.max_links,
        config.max_unauthenticated_links,
        config.max_upstreams,
    ) = (4, 3, 2);
    let kind = choices.byte();
    config.durable = kind & 1 != 0;
    let is_stored = kind & 2 != 0;
    config.max_channels = if kind & 4 == 0 { 64 } else { 2 };
    config.ledger.entries = if kind & 8 == 0 { 100 } else { 2 };
    config.session_expiry_past_end = Duration::from_secs(if kind & 16 == 0 { 900 } else { 1 });
    let mut lives = 0_u8;
    let mut restore = |now, records| {
        lives = lives.wrapping_add(1);
        Relay::restore(config.clone(), [lives; 32], now, records)
            .expect("what a relay has stored is read back")
    };
    let mut driver = Driver::new(match is_stored {
        true => restore(Time::ZERO, Vec::new()),
        false => Relay::new(config.clone(), [7; 32]),
    });
    let mut watch = RelayWatch::default();
    let mut clients = Clients::default();
    while !choices.0.is_empty() {
        let now = driver.now;
        match choices.byte() % 16 {
            0 => driver.accept(&mut choices),
            1 => driver.wait(&mut choices),
            2 => {
                let kind = choices.byte();
                let policy = Policy {
                    max_message_bytes: kind.is_multiple_of(2).then_some(20),
                    account: String::from(if kind & 4 == 0 { "" } else { "other" }),
                    ..Policy::default()
                };
                if let Some(link) = watch.keys.pop() {
                    driver
                        .pump
                        .command(now, |relay, now| relay.grant(now, link, policy));
                }
            }
            3 => {
                let denied = Denied {
                    error: "no".into(),
                    retry_after: None,
                    permanent: Some(choices.byte().is_multiple_of(2)),
                };
                if let Some(link) = watch.keys.pop() {
                    driver
                        .pump
                        .command(now, |relay, now| relay.deny(now, link, denied));
                }
            }
            4 if choices.byte() == 0 => {
                let deadline = now.after(Duration::from_secs(60));
                driver
                    .pump
                    .command(now, |relay, now| relay.drain(now, deadline));
            }
            5 | 6 if driver.stores() => driver.store(&mut choices),
            7 if is_stored && choices.byte() < 32 && !watch.finished => {
                driver = driver.crash(&mut restore);
                watch = RelayWatch::default();
                clients.links.clear();
            }
            _ => {
                let told = driver.disturb(&mut choices, |link, is_stream, choices| {
                    if is_stream {
                        return Frame::Binary(stream(choices, &REPLIES));
                    }
                    clients.say(link, choices)
                });
                if let Some((link, frame)) = told {
                    clients.told(link, &frame);
                }
            }
        }
        watch.see(driver.run());
        for (link, frame) in driver.said.drain(..) {
            clients.hear(link, &frame);
        }
        let relay = driver.pump.machine();
        let places = relay.channels() + relay.links() + relay.upstreams();
        let most = relay.sessions() * MOST_IN_SESSION + places * MOST_WAITING;
        assert!(relay.held_bytes() <= most);
        assert!(relay.links() <= 4 && relay.upstreams() <= 2);
    }
    let now = driver.now;
    driver.pump.command(now, Relay::stop);
    watch.see(driver.run());
    assert!(watch.finished);
    driver.finish();
}

/// What the clients know of their sessions.
#[derive(Default)]
struct Clients {
    /// Also those of links that were fenced: a zombie does not know that it is one.
    links: BTreeMap<LinkId, SessionId>,
    sessions: BTreeMap<SessionId, Numbers>,
    mark: String,
}

impl Clients {
    /// What a client says on its WebSocket.
    fn say(&self, link: LinkId, choices: &mut Choices<'_>) -> Frame {
        let Some(session) = self.links.get(&link) else {
            return match choices.byte() % 8 {
                0 => text(choices, &CLIENT_FRAMES),
                1..=3 => encode(&Message::ToServer(stream(choices, &COMMANDS))),
                4 => text(choices, &[]),
                _ => self.introduction(choices),
            };
        };
        let numbers = self.sessions[session];
        let channel = 1 + u64::from(choices.byte() % 6);
        match choices.byte() % 8 {
            0 => text(choices, &CLIENT_FRAMES),
            1 => numbers.frame(choices, None),
            2..=4 => {
                let payload = stream(choices, &COMMANDS);
                numbers.frame(choices, Some(Body::Data { channel, payload }))
            }
            _ => {
                let word = self.word(channel, choices);
                numbers.frame(choices, Some(Body::Control(word)))
            }
        }
    }

    /// A client's first words, or those of one that comes back to any session there was.
    fn introduction(&self, choices: &mut Choices<'_>) -> Frame {
        let all: Vec<_> = self.sessions.iter().collect();
        let durable = match choices.one_of(&all) {
            Some((session, numbers)) if !choices.byte().is_multiple_of(4) => {
                DurableRequest::Resume {
                    session: *session,
                    receive_next: match choices.byte() {
                        odd @ 240.. => u64::from(odd - 239),
                        _ => numbers.received + 1,
                    },
                }
            }
            _ => DurableRequest::New,
        };
        encode(&Message::Authenticate {
            api_key: ApiKey::new("key"),
            agent: None,
            durable: Some(durable),
        })
    }

    fn word(&self, channel: u64, choices: &mut Choices<'_>) -> Bytes {
        let word = match choices.byte() % 8 {
            0..=3 => {
                let id = choices.byte();
                // Its own number most of the time, so that there is something to meet again.
                let id = if id < 200 { channel } else { u64::from(id % 4) };
                Word::Open {
                    channel,
                    delivery: DeliveryId::from_bits(u128::from(id)),
                    sent_under: match choices.byte() % 4 {
                        0 => Some(self.mark.clone()),
                        1 => Some(format!("another:{channel}")),
                        _ => None,
                    },
                }
            }
            4 => Word::Closed {
                channel,
                reason: None,
                outcome: None,
            },
            5 => Word::Credit {
                channel,
                bytes: 1 << (choices.byte() % 53),
            },
            6 => Word::Ready { channel },
            _ => {
                let length = usize::from(choices.byte() % 32);
                return Bytes::copy_from_slice(choices.bytes(length));
            }
        };
        encode_word(&word)
    }

    /// The relay was told this.
    fn told(&mut self, link: LinkId, frame: &Frame) {
        if let Some(session) = self.links.get(&link)
            && let Some(numbers) = self.sessions.get_mut(session)
        {
            numbers.says(frame);
        }
    }

    /// The relay has said this.
    fn hear(&mut self, link: LinkId, frame: &Frame) {
        if let Some(session) = self.links.get(&link)
            && let Some(numbers) = self.sessions.get_mut(session)
        {
            return numbers.hears(frame);
        }
        if let Ok(Some(Message::AuthenticateResponse(Ok(Granted {
            durable: Some(grant),
            ..
        })))) = wire::decode(frame)
        {
            self.mark = grant.ledger_mark;
            self.links.insert(link, grant.session);
            let numbers = self.sessions.entry(grant.session);
            numbers.or_insert(Numbers::NEW).next = grant.receive_next;
        }
    }
}

/// What the relay reports, and what of it needs an answer.
#[derive(Default)]
struct RelayWatch {
    connected: BTreeSet<LinkId>,
    keys: Vec<LinkId>,
    finished: bool,
}

impl RelayWatch {
    fn see(&mut self, events: Vec<relay::Event>) {
        for event in events {
            assert!(!self.finished, "{event:?} comes after the end");
            match event {
                relay::Event::Connected { link, .. } => assert!(self.connected.insert(link)),
                relay::Event::Disconnected { link, .. } => assert!(self.connected.remove(&link)),
                relay::Event::KeyPresented { link, .. } => self.keys.push(link),
                relay::Event::Finished => self.finished = true,
                _ => {}
            }
        }
    }
}
