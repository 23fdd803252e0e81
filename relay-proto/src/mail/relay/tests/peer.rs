//! A client of the durable dialect, put together from its parts.

use super::rig::{CLIENT, Rig};
use crate::{
    Frame, Input, LinkId, Priority,
    channels::{Channels, ChannelsConfig},
    mail::{
        DeliveryId, Outcome,
        relay::Policy,
        wire::{DurableGrant, DurableRequest, Message, Word, decode_word, encode_word},
    },
    session::{Body, RetentionLimits, Session, SessionFrame},
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use bytes::Bytes;
use core::time::Duration;

/// What an upstream offers that takes a message in one flight.
pub(super) const MODERN: &str = "250-mx.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n";

pub(super) fn delivery(number: u128) -> DeliveryId {
    DeliveryId::from_bits(number)
}

pub(super) struct Peer {
    pub(super) link: LinkId,
    pub(super) grant: DurableGrant,
    pub(super) session: Session,
    pub(super) channels: Channels,
    /// What was heard on channels, with words in brackets.
    heard: BTreeMap<u64, String>,
    /// What was heard about the relay.
    pub(super) words: Vec<Word>,
    /// How often the client had something to say.
    pub(super) flights: usize,
}

impl Peer {
    pub(super) fn connect(rig: &mut Rig, number: u64) -> Self {
        Self::connect_as(rig, number, "alice")
    }

    pub(super) fn connect_as(rig: &mut Rig, number: u64, account: &str) -> Self {
        Self::connect_under(rig, number, policy(account))
    }

    /// A client with a new session.
    pub(super) fn connect_under(rig: &mut Rig, number: u64, policy: Policy) -> Self {
        let link = LinkId::accepted(number);
        rig.accept(link);
        rig.authenticate_for(link, Some(DurableRequest::New));
        rig.grant(link, policy);
        let grant = grant(rig, link).unwrap();
        assert_eq!((grant.receive_next, grant.gone.as_ref()), (1, None));
        let mut session = Session::new(rig.now, Duration::MAX, RetentionLimits::default());
        session.attach(link, 1).unwrap();
        let config = ChannelsConfig {
            peer_window: grant.window,
            window: grant.window,
            buffer: usize::MAX,
            ..ChannelsConfig::default()
        };
        Self {
            link,
            grant,
            session,
            channels: Channels::new(config),
            heard: BTreeMap::new(),
            words: Vec::new(),
            flights: 0,
        }
    }

    /// Its link is cut; the relay notices.
    pub(super) fn cut(&mut self, rig: &mut Rig) {
        rig.lose(self.link);
        self.session.detach(rig.now, self.link);
    }

    /// Asks for its session on another link; why it is gone, if it is.
    pub(super) fn resume(&mut self, rig: &mut Rig, number: u64, account: &str) -> Option<String> {
        let link = LinkId::accepted(number);
        let request = DurableRequest::Resume {
            session: self.grant.session,
            receive_next: self.session.receive_next(),
        };
        rig.accept(link);
        rig.authenticate_for(link, Some(request));
        rig.grant(link, policy(account));
        let grant = grant(rig, link).unwrap();
        if grant.gone.is_none() {
            assert_eq!(grant.session, self.grant.session);
            self.session.attach(link, grant.receive_next).unwrap();
            self.link = link;
        }
        grant.gone
    }

    /// Opens a channel for a delivery.
    pub(super) fn open(&mut self, number: u128, sent_under: Option<&str>) -> u64 {
        let channel = self.channels.open(Priority::Normal).unwrap();
        let word = Word::Open {
            channel,
            delivery: delivery(number),
            sent_under: sent_under.map(ToString::to_string),
        };
        self.channels.announce(encode_word(&word));
        channel
    }

    pub(super) fn say(&mut self, channel: u64, smtp: &str) {
        let bytes = Bytes::copy_from_slice(smtp.as_bytes());
        self.channels.write(channel, bytes).unwrap();
    }

    /// Opens a channel and says a message in one flight.
    pub(super) fn send(&mut self, number: u128, sent_under: Option<&str>) -> u64 {
        let channel = self.open(number, sent_under);
        self.say(channel, &message(number));
        channel
    }

    pub(super) fn close(&mut self, channel: u64) {
        self.channels.close(channel);
        let (reason, outcome) = (None, None);
        let word = Word::Closed {
            channel,
            reason,
            outcome,
        };
        self.channels.announce(encode_word(&word));
    }

    /// Hands all it may say to its link.
    pub(super) fn flush(&mut self, rig: &mut Rig) -> bool {
        let mut frames = Vec::new();
        while let Some((channel, bytes)) = self.channels.poll_grant() {
            let word = Word::Credit { channel, bytes };
            self.channels.announce(encode_word(&word));
        }
        while let Some(body) = self.channels.poll(self.session.room()) {
            self.session.send(body.borrowed()).unwrap();
        }
        while let Some(frame) = self.session.poll_frame() {
            frames.push(frame);
        }
        self.flights += usize::from(frames.iter().any(|frame| frame[0] != 0));
        let any = !frames.is_empty();
        for frame in frames {
            if rig.is_open(self.link) {
                let (link, frame) = (self.link, Frame::Binary(frame));
                rig.input(Input::Frame { link, frame });
            }
        }
        any
    }

    /// Takes what was sent to it.
    pub(super) fn receive(&mut self, rig: &mut Rig) -> bool {
        let frames = rig.sent(self.link);
        let any = !frames.is_empty();
        for frame in frames {
            let Frame::Binary(frame) = frame else {
                continue;
            };
            let Some(new) = self.session.handle_frame(self.link, &frame).unwrap() else {
                continue;
            };
            self.session.take_over(new.seq);
            match new.body {
                Body::Data { channel, payload } => {
                    if self.channels.received(channel, payload.len()).unwrap() {
                        self.channels.consumed(channel, payload.len());
                        self.note(channel, str::from_utf8(&payload).unwrap());
                    }
                }
                Body::Control(payload) => self.word(decode_word(&payload).unwrap().unwrap()),
            }
        }
        any
    }

    fn word(&mut self, word: Word) {
        match word {
            Word::Credit { channel, bytes } => self.channels.granted(channel, bytes).unwrap(),
            Word::Ready { channel } => self.note(channel, "[ready]"),
            Word::Closed {
                channel, outcome, ..
            } => {
                self.channels.close(channel);
                let text = match outcome {
                    None => "[closed]".into(),
                    Some(Outcome::InDoubt) => "[in doubt]".into(),
                    Some(Outcome::Answered { reply, rejected }) => {
                        let rejected = rejected
                            .iter()
                            .map(|(recipient, reply)| format!(", {recipient}: {reply}"));
                        format!("[outcome {reply}{}]", rejected.collect::<String>())
                    }
                };
                self.note(channel, &text);
            }
            Word::Error { channel, error } => {
                self.channels.close(channel);
                let retries = if error.retry_after.is_some() {
                    ", later"
                } else {
                    ""
                };
                let code = error.code.unwrap_or_default();
                self.note(channel, &format!("[error {code}{retries}]"));
            }
            Word::Open { .. } => panic!("a relay opens nothing"),
            word @ Word::Draining { .. } => self.words.push(word),
        }
    }

    fn note(&mut self, channel: u64, text: &str) {
        self.heard.entry(channel).or_default().push_str(text);
    }

    /// Both say what they can until neither has more to say.
    pub(super) fn talk(&mut self, rig: &mut Rig) {
        while self.flush(rig) | self.receive(rig) || rig.acknowledges() {}
    }

    /// What was heard on a channel since last asked.
    pub(super) fn hears(&mut self, channel: u64) -> String {
        self.heard.remove(&channel).unwrap_or_default()
    }
}

pub(super) fn numbered(seq: u64, ack: u64, body: Body<&[u8]>) -> Bytes {
    let mut session = Session::new(crate::Time::ZERO, Duration::MAX, RetentionLimits::default());
    session.attach(CLIENT, 1).unwrap();
    for _ in 1..seq {
        session.send(Body::Control(b"{}")).unwrap();
        drop(session.poll_frame());
    }
    session.send(body).unwrap();
    let frame = session.poll_frame().unwrap();
    let mut bytes = frame.to_vec();
    assert!(seq < 128 && ack < 128);
    bytes[2] = ack as u8;
    assert!(SessionFrame::decode(&Bytes::from(bytes.clone())).is_ok());
    bytes.into()
}

pub(super) fn policy(account: &str) -> Policy {
    Policy {
        account: account.into(),
        ..Policy::default()
    }
}

fn grant(rig: &mut Rig, link: LinkId) -> Option<DurableGrant> {
    match rig.first_message(link) {
        Message::AuthenticateResponse(Ok(granted)) => granted.durable,
        other => panic!("{other:?}"),
    }
}

/// A message in one flight.
pub(super) fn message(number: u128) -> String {
    let content = format!("Subject: {number}\r\n\r\nhello\r\n");
    format!(
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT {} LAST\r\n{content}",
        content.len()
    )
}

/// An upstream takes a message up to its end of data.
pub(super) fn take_message(rig: &mut Rig, upstream: LinkId) {
    let heard = rig.upstream_hears(upstream);
    assert!(
        heard.starts_with("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"),
        "{heard:?}"
    );
    rig.upstream_says(upstream, "250 2.1.0 fine\r\n250 2.1.5 fine\r\n");
    let heard = rig.upstream_hears(upstream);
    assert!(
        heard.starts_with("BDAT ") && heard.contains(" LAST\r\n"),
        "{heard:?}"
    );
}
