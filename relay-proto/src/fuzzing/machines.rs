//! The mail client and the mail relay, each alone among strangers.

use super::driver::{Choices, Driver, stream, text};
use crate::{
    Frame, LinkId, StreamAddress, Time,
    mail::{
        client::{self, Client, ClientConfig, ConnectionState, Submission, SubmissionId},
        relay::{self, Policy, Relay, RelayConfig},
        wire::{ApiKey, Denied, Message, encode},
    },
    outbox::Priority,
    smtp::{Address, Envelope, Script},
};
use alloc::{collections::BTreeSet, vec::Vec};
use bytes::Bytes;
use core::time::Duration;

/// What an SMTP server may say at some time.
const REPLIES: [&str; 12] = [
    "220 mx.example\r\n",
    "250-mx.example\r\n250-SIZE 100\r\n250 8BITMIME\r\n",
    "250-mx.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
    "250-mx.example\r\n250 PIPELINING\r\n",
    "250 2.0.0 ok\r\n",
    "354 go on\r\n",
    "221 bye\r\n",
    "421 4.3.2 busy\r\n",
    "451 4.3.0 later\r\n",
    "550 5.7.1 no\r\n",
    "250-",
    "250 ok\r\n250 ok\r\n",
];

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

const RELAY_FRAMES: [&str; 10] = [
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
];

const RELAY_WORDS: [&str; 11] = [
    r#"{"type":"SMTP_CHANNEL_READY","channelId":1}"#,
    r#"{"type":"SMTP_CHANNEL_CREDIT","channelId":1,"bytes":1000}"#,
    r#"{"type":"SMTP_CHANNEL_CREDIT","channelId":2,"bytes":9007199254740991}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":2,"outcome":{"inDoubt":true}}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":1,"outcome":{"reply":"250 ok\r\n"}}"#,
    r#"{"type":"SMTP_CHANNEL_CLOSED","channelId":2,"outcome":{"reply":"451 no\r\n"}}"#,
    r#"{"type":"SMTP_CHANNEL_ERROR","channelId":1,"error":"no","code":550}"#,
    r#"{"type":"SMTP_CHANNEL_ERROR","channelId":2,"error":"later","retryAfterMs":100}"#,
    r#"{"type":"RELAY_DRAINING","deadlineMs":1000,"spreadMs":1000}"#,
    r#"{"type":"SOMETHING_NEW"}"#,
];

/// However clients, upstream and application behave, the relay keeps to its contract, reports every link once in
/// each direction, and ends when it is told to.
pub fn mail_relay(input: &[u8]) {
    let mut choices = Choices(input);
    let upstream = StreamAddress::new("mx.example", 25, false);
    let mut config = RelayConfig::new(upstream, "relay.example".parse().expect("a host name"));
    (
        config.max_links,
        config.max_unauthenticated_links,
        config.max_upstreams,
    ) = (4, 3, 2);
    let mut driver = Driver::new(Relay::new(config, [7; 32]));
    let mut watch = RelayWatch::default();
    while !choices.0.is_empty() {
        let now = driver.now;
        match choices.byte() % 16 {
            0 => driver.accept(&mut choices),
            1 => driver.wait(&mut choices),
            2 => {
                let policy = Policy {
                    max_message_bytes: (choices.byte().is_multiple_of(2)).then_some(20),
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
            _ => driver.disturb(&mut choices, say_to_relay),
        }
        watch.see(driver.run());
    }
    let now = driver.now;
    driver.pump.command(now, Relay::stop);
    watch.see(driver.run());
    assert!(watch.finished);
    driver.finish();
}

fn say_to_relay(is_stream: bool, choices: &mut Choices<'_>) -> Frame {
    if is_stream {
        return Frame::Binary(stream(choices, &REPLIES));
    }
    match choices.byte() % 4 {
        0 => text(choices, &CLIENT_FRAMES),
        _ => encode(&Message::ToServer(stream(choices, &COMMANDS))),
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

/// However relay and application behave, the client keeps to its contract and settles every submission exactly once.
pub fn mail_client(input: &[u8]) {
    let mut choices = Choices(input);
    let endpoint = "ws://relay.example/".parse().expect("a URL");
    let mut config = ClientConfig::new(endpoint, ApiKey::new("key"));
    config.queue.items = 4;
    let is_durable = choices.byte() % 2 == 1;
    let mut lives = 0;
    let mut restore = |now, records| {
        lives += 1;
        Client::restore(config.clone(), [lives % 2; 32], now, records)
            .expect("what a client has stored is read back")
    };
    let mut driver = Driver::new(match is_durable {
        true => restore(Time::ZERO, Vec::new()),
        false => Client::new(config.clone(), [7; 32], Time::ZERO),
    });
    let mut watch = ClientWatch::default();
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
                let accepted = watch.crash();
                watch.see(driver.run());
                assert!(
                    watch.known.is_superset(&accepted),
                    "{accepted:?} were accepted, {:?} found",
                    watch.known
                );
            }
            _ => driver.disturb(&mut choices, say_to_client),
        }
        watch.see(driver.run());
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

fn say_to_client(_is_stream: bool, choices: &mut Choices<'_>) -> Frame {
    match choices.byte() % 8 {
        0..=2 => text(choices, &RELAY_FRAMES),
        3 | 4 => encode(&Message::FromServer(stream(choices, &REPLIES))),
        _ => in_session(choices),
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
