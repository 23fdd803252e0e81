//! A relay with sessions, channels and a ledger, played by hand.

use super::*;
use crate::{
    channels::{Channels, ChannelsConfig},
    mail::{
        Outcome,
        wire::{DurableGrant, DurableRequest, Word, decode_word, encode_word},
    },
    session::{Body, RetentionLimits, Session, SessionFrame, SessionId},
    smtp::{Capabilities, Size},
};
use alloc::collections::BTreeMap;

/// The relay's end of a session.
pub(super) struct Far {
    pub(super) id: SessionId,
    pub(super) session: Session,
    pub(super) channels: Channels,
    pub(super) sendings: BTreeMap<u64, Incoming>,
    /// What comes before the first frame is for a session that is gone.
    awaits_first: bool,
}

/// What a client sends on a channel.
pub(super) struct Incoming {
    pub(super) delivery: DeliveryId,
    pub(super) bytes: Vec<u8>,
}

/// The client and its relay.
pub(super) struct World {
    pub(super) bench: Bench,
    pub(super) far: Option<Far>,
    links: u64,
    pub(super) terms: DurableGrant,
    pub(super) limits: Limits,
    /// Whether the relay speaks the durable dialect.
    pub(super) durable: bool,
    /// Whether the relay forgets the session a client asks for.
    pub(super) forgets: bool,
    pub(super) asked: Vec<Option<DurableRequest>>,
    pub(super) opened: Vec<(DeliveryId, Option<String>)>,
    pub(super) closed: usize,
    /// What was forwarded, once each.
    pub(super) delivered: Vec<DeliveryId>,
    pub(super) ledger: BTreeMap<DeliveryId, Outcome>,
    /// Whether the ledger reaches back to every mark.
    pub(super) covers: bool,
    /// Whether the relay answers the end of data, and works off what it receives.
    pub(super) answers: bool,
    pub(super) reads: bool,
    pub(super) final_reply: &'static str,
    /// Links break at frames that hold these bytes.
    pub(super) breaks_at: Option<&'static str>,
    /// The relay does all it does, and nothing it says arrives.
    pub(super) is_mute: bool,
    /// What the relay says to the key instead of granting it.
    pub(super) denial: Option<Denied>,
}

pub(super) fn answered(text: &str) -> Outcome {
    Outcome::Answered {
        reply: crate::smtp::reply(text[..3].parse().unwrap(), "2.0.0", &text[4..]),
        rejected: vec![],
    }
}

impl World {
    pub(super) fn new(configure: impl FnOnce(&mut ClientConfig)) -> Self {
        Self::of(Bench::new(configure))
    }

    pub(super) fn of(bench: Bench) -> Self {
        Self {
            bench,
            far: None,
            links: 0,
            terms: DurableGrant {
                session: SessionId::from_bits(0),
                receive_next: 1,
                expires_in: 120 * SECOND,
                heartbeat: 30 * SECOND,
                max_channels: 64,
                window: 256 << 10,
                ledger_mark: "mark-1".into(),
                capabilities: Capabilities {
                    pipelining: true,
                    chunking: true,
                    size: Some(Size::Unlimited),
                    ..Capabilities::default()
                },
                gone: None,
            },
            limits: Limits::default(),
            durable: true,
            forgets: false,
            asked: vec![],
            opened: vec![],
            closed: 0,
            delivered: vec![],
            ledger: BTreeMap::new(),
            covers: true,
            answers: true,
            reads: true,
            final_reply: "250 2.0.0 queued",
            breaks_at: None,
            is_mute: false,
            denial: None,
        }
    }

    fn link(&self) -> LinkId {
        LinkId::accepted(self.links)
    }

    /// Lets the link open; the frames that go out on it before anything else happens.
    pub(super) fn first_flight(&mut self) -> Vec<Frame> {
        self.bench.run();
        let Some(Action::Open { link, .. }) = self.bench.actions.pop_front() else {
            panic!("it wants no link");
        };
        self.bench.input(Input::Opened { link });
        self.waiting()
    }

    /// The frames on their way to the relay.
    pub(super) fn waiting(&self) -> Vec<Frame> {
        let sent = |action: &Action| match action {
            Action::Send { frame, .. } => Some(frame.clone()),
            _ => None,
        };
        self.bench.actions.iter().filter_map(sent).collect()
    }

    /// Lets everything happen that can, at most so many steps: whether it has come to rest.
    pub(super) fn exchange(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            if !self.step() {
                return true;
            }
        }
        false
    }

    pub(super) fn settle(&mut self) {
        assert!(self.exchange(100_000), "it comes to rest");
    }

    /// The same while what is to be stored waits.
    pub(super) fn exchange_without_disk(&mut self, steps: usize) -> bool {
        (0..steps).any(|_| !self.move_one())
    }

    /// One frame, in either direction.
    fn step(&mut self) -> bool {
        self.bench.run();
        while let Some((batch, _)) = self.bench.batches.pop_front() {
            self.bench.input(Input::Stored {
                batch,
                result: Ok(()),
            });
        }
        self.move_one()
    }

    fn move_one(&mut self) -> bool {
        self.bench.run();
        let Some(action) = self.bench.actions.pop_front() else {
            return self.answer() || self.bench.acknowledges();
        };
        match action {
            Action::Open { link, .. } => self.bench.input(Input::Opened { link }),
            Action::Send { link, frame } => {
                if self.bench.link == Some(link) {
                    self.receive(&frame);
                    self.bench.input(Input::Written { link });
                }
            }
            Action::Close { .. } => self.detach(),
            Action::StartTls { .. } => {
                unreachable!("a client of a WebSocket secures nothing later")
            }
            Action::Store { .. } => unreachable!("it is among the batches"),
        }
        true
    }

    fn receive(&mut self, frame: &Frame) {
        match frame {
            Frame::Text(_) => match wire::decode(frame).unwrap().unwrap() {
                Message::Authenticate { durable, .. } => self.authenticate(durable),
                message => panic!("{message:?} where nobody speaks the base dialect"),
            },
            Frame::Binary(message) if self.is_poison(message) => self.cut(),
            Frame::Binary(message) => {
                let link = self.link();
                let Some(far) = &mut self.far else { return };
                if far.awaits_first
                    && !matches!(
                        SessionFrame::decode(message),
                        Ok(SessionFrame::Numbered { seq: 1, .. })
                    )
                {
                    return;
                }
                far.awaits_first = false;
                if let Some(delivery) = far.session.handle_frame(link, message).unwrap() {
                    far.session.take_over(delivery.seq);
                    self.take(delivery.body);
                }
            }
            _ => {}
        }
    }

    fn is_poison(&self, message: &[u8]) -> bool {
        let Some(poison) = self.breaks_at else {
            return false;
        };
        message
            .windows(poison.len())
            .any(|bytes| bytes == poison.as_bytes())
    }

    fn authenticate(&mut self, request: Option<DurableRequest>) {
        self.asked.push(request);
        self.links += 1;
        if let Some(denied) = self.denial.take() {
            self.far = None;
            return self.bench.says(&Message::AuthenticateResponse(Err(denied)));
        }
        let mut granted = Granted {
            limits: self.limits,
            durable: None,
        };
        let link = self.link();
        if let (true, Some(request)) = (self.durable, request) {
            let mut grant = self.terms.clone();
            let receive_next = match (request, &mut self.far) {
                (
                    DurableRequest::Resume {
                        session,
                        receive_next,
                    },
                    Some(far),
                ) if session == far.id && !self.forgets => Some(receive_next),
                (DurableRequest::Resume { .. }, _) => {
                    grant.gone = Some("forgotten".into());
                    None
                }
                _ => None,
            };
            if receive_next.is_none() {
                let mut config = ChannelsConfig::default();
                (config.window, config.peer_window) = (grant.window, grant.window);
                self.far = Some(Far {
                    id: SessionId::from_bits(u128::from(self.links)),
                    session: Session::new(
                        self.bench.now,
                        Duration::MAX,
                        RetentionLimits::default(),
                    ),
                    channels: Channels::new(config),
                    sendings: BTreeMap::new(),
                    awaits_first: grant.gone.is_some(),
                });
            }
            let far = self.far.as_mut().unwrap();
            far.session.attach(link, receive_next.unwrap_or(1)).unwrap();
            grant.session = far.id;
            grant.receive_next = far.session.receive_next();
            granted.durable = Some(grant);
        }
        if !self.is_mute {
            self.bench.says(&Message::AuthenticateResponse(Ok(granted)));
        }
    }

    fn take(&mut self, body: Body<Bytes>) {
        let far = self.far.as_mut().unwrap();
        match body {
            Body::Control(payload) => match decode_word(&payload).unwrap().unwrap() {
                Word::Open {
                    channel,
                    delivery,
                    sent_under,
                } => {
                    far.channels.opened(channel, Priority::Normal).unwrap();
                    self.opened.push((delivery, sent_under.clone()));
                    let known = self.ledger.get(&delivery).cloned();
                    let lost = (sent_under.is_some() && !self.covers).then_some(Outcome::InDoubt);
                    if let Some(outcome) = known.or(lost) {
                        return self.close(channel, Some(outcome));
                    }
                    let bytes = vec![];
                    far.sendings.insert(channel, Incoming { delivery, bytes });
                }
                Word::Closed { channel, .. } => {
                    self.closed += 1;
                    far.channels.close(channel);
                    far.sendings.remove(&channel);
                }
                Word::Credit { channel, bytes } => far.channels.granted(channel, bytes).unwrap(),
                word => panic!("a client does not say {word:?}"),
            },
            Body::Data { channel, payload } => {
                if !far.channels.received(channel, payload.len()).unwrap() {
                    return;
                }
                if self.reads {
                    far.channels.consumed(channel, payload.len());
                }
                let incoming = far.sendings.get_mut(&channel).unwrap();
                incoming.bytes.extend(&payload);
                self.forward(channel);
            }
        }
    }

    /// Works off whole commands. What has its end of data is delivered and written down.
    fn forward(&mut self, channel: u64) {
        loop {
            let far = self.far.as_mut().unwrap();
            let incoming = far.sendings.get_mut(&channel).unwrap();
            let Some(end) = incoming.bytes.iter().position(|byte| *byte == b'\n') else {
                return;
            };
            let line = String::from_utf8(incoming.bytes[..end].to_vec()).unwrap();
            let mut words = line.trim_end().split(' ').skip(1);
            let size: usize = match line.starts_with("BDAT") {
                true => words.next().unwrap().parse().unwrap(),
                false => 0,
            };
            if incoming.bytes.len() < end + 1 + size {
                return;
            }
            incoming.bytes.drain(..=end + size);
            let delivery = incoming.delivery;
            if words.next() == Some("LAST") {
                let accepted = self.final_reply.starts_with('2');
                if accepted {
                    self.delivered.push(delivery);
                }
                self.ledger.insert(delivery, answered(self.final_reply));
                if !self.answers {
                    return;
                }
                self.say(channel, self.final_reply);
            } else {
                self.say(channel, "250 2.0.0 ok");
            }
        }
    }

    pub(super) fn say(&mut self, channel: u64, line: &str) {
        let far = self.far.as_mut().unwrap();
        let line = Bytes::from(format!("{line}\r\n"));
        far.channels.write(channel, line).unwrap();
    }

    pub(super) fn word(&mut self, word: &Word) {
        let far = self.far.as_mut().unwrap();
        far.channels.announce(encode_word(word));
    }

    pub(super) fn close(&mut self, channel: u64, outcome: Option<Outcome>) {
        let far = self.far.as_mut().unwrap();
        far.sendings.remove(&channel);
        far.channels.close(channel);
        self.word(&Word::Closed {
            channel,
            reason: None,
            outcome,
        });
    }

    /// The relay's next frame.
    fn answer(&mut self) -> bool {
        let Some(far) = &mut self.far else {
            return false;
        };
        if far.session.link().is_none() || self.is_mute {
            return false;
        }
        while let Some((channel, bytes)) = far.channels.poll_grant() {
            far.channels
                .announce(encode_word(&Word::Credit { channel, bytes }));
        }
        while let Some(body) = far.channels.poll(far.session.room()) {
            far.session.send(body.borrowed()).unwrap();
        }
        let Some(frame) = far.session.poll_frame() else {
            return false;
        };
        let link = self.bench.link();
        let frame = Frame::Binary(frame);
        self.bench.input(Input::Frame { link, frame });
        true
    }

    fn detach(&mut self) {
        let (now, link) = (self.bench.now, self.link());
        if let Some(far) = &mut self.far {
            far.session.detach(now, link);
        }
    }

    /// The link breaks with all that is on its way.
    pub(super) fn cut(&mut self) {
        self.bench.cut();
        self.bench.actions.clear();
        self.detach();
    }

    /// Waits for the next link, where the client wants one.
    pub(super) fn reconnect(&mut self) {
        while self.bench.state() == ConnectionState::Reconnecting {
            let due = self.bench.run().expect("it waits for the next attempt");
            self.bench.now = due.at;
            self.bench.run();
        }
    }

    pub(super) fn has(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.bench.events.iter().any(wanted)
    }
}
