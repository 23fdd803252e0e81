//! The mail client alone among strangers.

use super::{
    driver::{Choices, Driver, REPLIES, stream, text},
    numbers::Numbers,
};
use crate::{
    Frame, LinkId, Time,
    mail::{
        client::{self, Client, ClientConfig, ConnectionState, Submission, SubmissionId},
        wire::{self, ApiKey, DurableGrant, DurableRequest, Granted, Limits, Message, encode},
    },
    outbox::Priority,
    session::{Body, SessionId},
    smtp::{Address, Capabilities, Envelope, Script},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use bytes::Bytes;
use core::time::Duration;

/// The most a session keeps to send it again.
const MOST_IN_SESSION: usize = 1 << 20;

const RELAY_FRAMES: [&str; 11] = [
    r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"durable":{"session":"00000000000000000000000000000001","receiveNext":1,"expiresInMs":1000,"heartbeatMs":1000,"maxChannels":2,"window":100,"ledgerMark":"a","capabilities":["PIPELINING","CHUNKING","SIZE 1000"]}}"#,
    r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"durable":{"session":"00000000000000000000000000000002","receiveNext":1,"expiresInMs":1000,"heartbeatMs":1000,"maxChannels":9,"window":9000,"ledgerMark":"b","capabilities":["PIPELINING","CHUNKING"],"gone":"x"}}"#,
    r#"{"type":"AUTHENTICATE_RESPONSE","success":true}"#,
    r#"{"type":"AUTHENTICATE_RESPONSE","success":true,"limits":{"maxMessageBytes":20,"maxRecipients":1}}"#,
    r#"{"type":"AUTHENTICATE_RESPONSE","success":false,"error":"no"}"#,
    r#"{"type":"AUTHENTICATE_RESPONSE","success":false,"error":"later","retryAfterMs":100}"#,
    r#"{"type":"SMTP_CHANNEL_READY"}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED"}"#,
    r#"{"type":"SMTP_CHANNEL_ERROR","error":"busy","code":421,"retryAfterMs":100}"#,
    r#"{"type":"SMTP_CHANNEL_ERROR","error":"no","code":550}"#,
    r#"{"type":"SMTP_CHANNEL_ERROR","error":"too fast","code":450,"retryAfterMs":100}"#,
];

const RELAY_WORDS: [&str; 12] = [
    r#"{"type":"SMTP_CHANNEL_READY","channelId":1}"#,
    r#"{"type":"SMTP_CHANNEL_CREDIT","channelId":1,"bytes":1000}"#,
    r#"{"type":"SMTP_CHANNEL_CREDIT","channelId":2,"bytes":9007199254740991}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":2,"outcome":{"inDoubt":true}}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1,"outcome":{"reply":"250 ok\r\n"}}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":2,"outcome":{"reply":"451 no\r\n"}}"#,
    r#"{"type":"SMTP_CHANNEL_ERROR","channelId":1,"error":"no","code":550}"#,
    r#"{"type":"SMTP_CHANNEL_ERROR","channelId":2,"error":"later","retryAfterMs":100}"#,
    r#"{"type":"SMTP_CHANNEL_ERROR","channelId":1,"error":"too fast","code":450,"retryAfterMs":100}"#,
    r#"{"type":"RELAY_DRAINING","deadlineMs":1000,"spreadMs":1000}"#,
    r#"{"type":"SOMETHING_NEW"}"#,
];

/// However relay and application behave, the client keeps to its contract and settles every submission exactly once.
pub fn mail_client(input: &[u8]) {
    let mut choices = Choices(input);
    let endpoint = "ws://relay.example/".parse().expect("a URL");
    let mut config = ClientConfig::new(endpoint, ApiKey::new("key"));
    config.queue.items = 4;
    let is_durable = choices.byte() % 2 == 1;
    let mut lives = 0_u8;
    let mut restore = |now, records| {
        lives = lives.wrapping_add(1);
        Client::restore(config.clone(), [lives % 2; 32], now, records)
            .expect("what a client has stored is read back")
    };
    let mut driver = Driver::new(match is_durable {
        true => restore(Time::ZERO, Vec::new()),
        false => Client::new(config.clone(), [7; 32], Time::ZERO),
    });
    let mut watch = ClientWatch::default();
    let mut relay = Sessions::default();
    while !choices.0.is_empty() {
        let now = driver.now;
        match choices.byte() % 16 {
            0 => {
                let submission = submission(&mut choices);
                let submit = |client: &mut Client, now| client.submit(now, submission);
                // What is refused changes nothing; what is not is told among the events.
                let _ = driver.pump.command(now, submit);
            }
            1 => driver.wait(&mut choices),
            2 => {
                let ids: Vec<_> = watch.unsettled.iter().copied().collect();
                if let Some(id) = choices.one_of(&ids)
                    && driver
                        .pump
                        .command(now, |client, now| client.cancel(now, id))
                        .is_some()
                {
                    watch.unsettled.remove(&id);
                }
            }
            3 if choices.byte() == 0 => {
                let patience = Duration::from_secs(60);
                driver
                    .pump
                    .command(now, |client, now| client.shutdown(now, patience));
            }
            4..=6 if driver.stores() => driver.store(&mut choices),
            7 if is_durable && choices.byte() < 64 && !watch.terminated => {
                driver = driver.crash(&mut restore);
                relay.link = None;
                let accepted = watch.crash();
                watch.see(driver.run());
                assert!(
                    watch.known.is_superset(&accepted),
                    "{accepted:?} were accepted, {:?} found",
                    watch.known
                );
            }
            _ => {
                let told =
                    driver.disturb(&mut choices, |link, _, choices| relay.say(link, choices));
                if let Some((link, frame)) = told {
                    relay.told(link, &frame);
                }
            }
        }
        watch.see(driver.run());
        for (link, frame) in driver.said.drain(..) {
            relay.hear(link, &frame);
        }
        let kept = driver.pump.machine().statistics().unacknowledged_bytes;
        assert!(kept <= MOST_IN_SESSION);
    }
    let now = driver.now;
    driver.pump.command(now, Client::stop);
    watch.see(driver.run());
    while driver.stores() {
        driver.store(&mut choices);
        watch.see(driver.run());
    }
    assert!(watch.terminated && watch.unsettled.is_empty());
    driver.finish();
}

/// What the relay knows of its sessions.
#[derive(Default)]
struct Sessions {
    /// What the client asked for on the link there is, and in which session it is there.
    asked: Option<DurableRequest>,
    link: Option<(LinkId, SessionId)>,
    sessions: BTreeMap<SessionId, Numbers>,
}

impl Sessions {
    fn say(&self, link: LinkId, choices: &mut Choices<'_>) -> Frame {
        match choices.byte() % 16 {
            0..=2 => text(choices, &RELAY_FRAMES),
            3 | 4 => encode(&Message::FromServer(stream(choices, &REPLIES))),
            5..=7 => in_session(choices),
            _ => match self.link {
                Some((ours, session)) if ours == link => {
                    let numbers = self.sessions[&session];
                    let body = match choices.byte() % 8 {
                        0 => None,
                        1..=3 => Some(Body::Data {
                            channel: 1 + u64::from(choices.byte() % 4),
                            payload: stream(choices, &REPLIES),
                        }),
                        _ => {
                            let word = choices.one_of(&RELAY_WORDS).unwrap_or_default();
                            Some(Body::Control(Bytes::from_static(word.as_bytes())))
                        }
                    };
                    numbers.frame(choices, body)
                }
                _ => self.grant(choices),
            },
        }
    }

    /// The session that was asked for, or another.
    fn grant(&self, choices: &mut Choices<'_>) -> Frame {
        let kind = choices.byte();
        let known = match self.asked {
            Some(DurableRequest::Resume { session, .. }) if kind < 200 => self
                .sessions
                .get(&session)
                .map(|numbers| (session, *numbers)),
            _ => None,
        };
        let new = SessionId::from_bits(self.sessions.len() as u128 + 1);
        let (session, numbers) = known.unwrap_or((new, Numbers::NEW));
        let is_resumed = known.is_some();
        let asked_to_resume = matches!(self.asked, Some(DurableRequest::Resume { .. }));
        let limits = Limits::default();
        let durable = DurableGrant {
            session,
            receive_next: match choices.byte() {
                odd @ 240.. => u64::from(odd - 239),
                _ => numbers.received + 1,
            },
            expires_in: Duration::from_secs(1),
            heartbeat: Duration::from_secs(10),
            max_channels: 1 + u64::from(kind % 4),
            window: [100, 1 << 20][usize::from(kind % 2)],
            ledger_mark: format!("mark {}", kind % 3),
            capabilities: Capabilities {
                pipelining: true,
                chunking: true,
                ..Capabilities::default()
            },
            gone: (asked_to_resume && !is_resumed).then(|| "gone".into()),
        };
        encode(&Message::AuthenticateResponse(Ok(Granted {
            limits,
            durable: Some(durable),
        })))
    }

    /// The client was told this.
    fn told(&mut self, link: LinkId, frame: &Frame) {
        if let Some((ours, session)) = self.link
            && ours == link
        {
            if let Some(numbers) = self.sessions.get_mut(&session) {
                numbers.says(frame);
            }
        } else if let Ok(Some(Message::AuthenticateResponse(Ok(Granted {
            durable: Some(grant),
            ..
        })))) = wire::decode(frame)
        {
            self.link = Some((link, grant.session));
            let numbers = self.sessions.entry(grant.session).or_insert(Numbers::NEW);
            if let Some(DurableRequest::Resume { receive_next, .. }) = self.asked
                && grant.gone.is_none()
            {
                numbers.next = receive_next;
            }
        }
    }

    /// The client has said this.
    fn hear(&mut self, link: LinkId, frame: &Frame) {
        if let Some((ours, session)) = self.link
            && ours == link
        {
            if let Some(numbers) = self.sessions.get_mut(&session) {
                numbers.hears(frame);
            }
        } else if let Ok(Some(Message::Authenticate { durable, .. })) = wire::decode(frame) {
            self.asked = durable;
        }
    }
}

/// A frame of a session; as long as it is short, its number has a chance to be the next one.
fn in_session(choices: &mut Choices<'_>) -> Frame {
    let header = [choices.byte() % 3, choices.byte() % 8, choices.byte() % 8];
    let channel = [choices.byte() % 4];
    let body = match header[0] {
        0 => Vec::new(),
        1 => RELAY_WORDS[usize::from(choices.byte()) % RELAY_WORDS.len()]
            .as_bytes()
            .to_vec(),
        _ => [&channel[..], &stream(choices, &REPLIES)].concat(),
    };
    let header = if header[0] == 0 {
        &[0, header[2]][..]
    } else {
        &header
    };
    Frame::Binary([header, &body].concat().into())
}

fn submission(choices: &mut Choices<'_>) -> Submission {
    let from: Address = "a@b.example".parse().expect("an address");
    let recipients = ["c@d.example", "\u{e9}@d.example"];
    let recipients = &recipients[..1 + usize::from(choices.byte() % 2)];
    let to = recipients
        .iter()
        .map(|to| to.parse::<Address>().expect("an address"));
    let envelope = Envelope::new(from, to).expect("there are recipients");
    let submission = match choices.byte() % 3 {
        0 => {
            let script = b"MAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nhello\n.\nNOOP\nQUIT\n";
            Submission::script(Script::parse(script).expect("a script"))
        }
        _ => {
            let length = usize::from(choices.byte());
            Submission::message(envelope, Bytes::copy_from_slice(choices.bytes(length)))
        }
    };
    let priorities = [
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ];
    let submission = submission.with_priority(choices.one_of(&priorities).unwrap_or_default());
    match choices.byte() % 4 {
        0 => submission.with_max_age(Duration::from_secs(100)),
        _ => submission,
    }
}

/// What the client reports, and what of it is still to come.
#[derive(Default)]
struct ClientWatch {
    unsettled: BTreeSet<SubmissionId>,
    /// Whatever the present client has accepted or found.
    known: BTreeSet<SubmissionId>,
    state: ConnectionState,
    terminated: bool,
}

impl ClientWatch {
    /// A new client begins; what had been accepted and was not settled.
    fn crash(&mut self) -> BTreeSet<SubmissionId> {
        core::mem::take(self).unsettled
    }

    fn see(&mut self, events: Vec<client::Event>) {
        for event in events {
            assert!(!self.terminated, "{event:?} comes after the end");
            if let Some((id, _)) = event.outcome() {
                assert!(self.unsettled.remove(&id), "{id} is settled twice");
            }
            match event {
                client::Event::Queued { id, .. } | client::Event::Restored { id, .. } => {
                    assert!(self.known.insert(id) && self.unsettled.insert(id));
                }
                client::Event::StateChanged { from, to } => {
                    assert_eq!(from, self.state);
                    assert!(from.may_become(to));
                    self.state = to;
                }
                client::Event::Terminated { left } => {
                    self.terminated = true;
                    for unsettled in left {
                        assert!(self.unsettled.remove(&unsettled.id));
                    }
                }
                _ => {}
            }
        }
    }
}
