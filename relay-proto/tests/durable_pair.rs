//! Sessions, channels and words put together as a client and a relay do it, over links that are cut.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use bytes::Bytes;
use proptest::prelude::*;
use relay_proto::{
    LinkId, Priority, Time,
    channels::{Channels, ChannelsConfig},
    mail::{
        DeliveryId,
        wire::{Word, decode_word, encode_word},
    },
    session::{Body, RetentionLimits, Session},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

const WINDOW: usize = 100;

/// One end with an owner who keeps what arrives, by channel, and works it off when told to.
struct End {
    session: Session,
    channels: Channels,
    arrived: BTreeMap<u64, Vec<u8>>,
    unread: BTreeMap<u64, usize>,
    closed: Vec<u64>,
}

impl End {
    fn new() -> Self {
        let mut config = ChannelsConfig::default();
        config.window = WINDOW as u64;
        config.peer_window = WINDOW as u64;
        config.frame = 16;
        Self {
            session: Session::new(Time::ZERO, Duration::MAX, RetentionLimits::new(8, 300)),
            channels: Channels::new(config),
            arrived: BTreeMap::new(),
            unread: BTreeMap::new(),
            closed: Vec::new(),
        }
    }

    /// What goes to the link now, up to `most` frames; what is not handed out yet stays in its channel.
    fn flush(&mut self, most: usize) -> Vec<Bytes> {
        while let Some((channel, bytes)) = self.channels.poll_grant() {
            let word = Word::Credit { channel, bytes };
            self.channels.announce(encode_word(&word));
        }
        while let Some(body) = self.channels.poll(self.session.room()) {
            self.session.send(body.borrowed()).unwrap();
        }
        std::iter::from_fn(|| self.session.poll_frame())
            .take(most)
            .collect()
    }

    fn receive(&mut self, link: LinkId, message: &Bytes) {
        let Some(delivery) = self.session.handle_frame(link, message).unwrap() else {
            return;
        };
        match delivery.body {
            Body::Data { channel, payload } => {
                if self.channels.received(channel, payload.len()).unwrap() {
                    self.arrived.entry(channel).or_default().extend(&payload);
                    let unread = self.unread.entry(channel).or_default();
                    *unread += payload.len();
                    assert!(*unread <= WINDOW);
                }
            }
            Body::Control(payload) => match decode_word(&payload).unwrap().unwrap() {
                Word::Open { channel, .. } => {
                    self.channels.opened(channel, Priority::Normal).unwrap();
                }
                Word::Credit { channel, bytes } => self.channels.granted(channel, bytes).unwrap(),
                Word::Closed { channel, .. } => {
                    assert!(self.channels.close(channel));
                    self.closed.push(channel);
                }
                word => panic!("nobody says {word:?}"),
            },
        }
        self.session.take_over(delivery.seq);
    }

    fn work_off(&mut self, channel: u64) {
        if let Some(unread) = self.unread.remove(&channel) {
            self.channels.consumed(channel, unread);
        }
    }
}

/// The two and the link between them.
struct World {
    client: End,
    relay: End,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
    links: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            client: End::new(),
            relay: End::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            links: 0,
        };
        world.connect();
        world
    }

    const fn link(&self) -> LinkId {
        LinkId::accepted(self.links)
    }

    /// A new link, while the relay may not have noticed that the old one is gone.
    fn connect(&mut self) {
        self.client.session.detach(Time::ZERO, self.link());
        self.up.clear();
        self.down.clear();
        self.links += 1;
        let wanted = self.client.session.receive_next();
        self.relay.session.attach(self.link(), wanted).unwrap();
        let wanted = self.relay.session.receive_next();
        self.client.session.attach(self.link(), wanted).unwrap();
    }

    fn move_frames(&mut self, most: usize) {
        self.up.extend(self.client.flush(most));
        self.down.extend(self.relay.flush(most));
        let link = self.link();
        for message in self.up.drain(..most.min(self.up.len())) {
            self.relay.receive(link, &message);
        }
        for message in self.down.drain(..most.min(self.down.len())) {
            self.client.receive(link, &message);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        up: bool,
        channel: u64,
        bytes: Vec<u8>,
    },
    Move {
        most: usize,
    },
    Cut,
    WorkOff {
        up: bool,
        channel: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = proptest::collection::vec(any::<u8>(), 1..60);
    let step = prop_oneof![
        4 => (any::<bool>(), 1_u64..4, bytes).prop_map(|(up, channel, bytes)| Step::Write { up, channel, bytes }),
        4 => (1_usize..6).prop_map(|most| Step::Move { most }),
        1 => Just(Step::Cut),
        2 => (any::<bool>(), 1_u64..4).prop_map(|(up, channel)| Step::WorkOff { up, channel }),
    ];
    proptest::collection::vec(step, 0..150)
}

proptest! {
    #[test]
    fn every_byte_of_every_channel_arrives_once_and_in_order(steps in steps()) {
        let mut world = World::new();
        for id in 1..=3 {
            let channel = world.client.channels.open(Priority::Normal).unwrap();
            prop_assert_eq!(channel, id);
            let delivery = DeliveryId::from_bits(u128::from(id));
            world.client.channels.announce(encode_word(&Word::Open { channel, delivery, sent_under: None }));
        }
        let mut written: [BTreeMap<u64, Vec<u8>>; 2] = Default::default();
        for step in steps {
            match step {
                Step::Write { up, channel, bytes } => {
                    let end = if up { &mut world.client } else { &mut world.relay };
                    if end.channels.write(channel, bytes.clone().into()).is_ok() {
                        written[usize::from(up)].entry(channel).or_default().extend(bytes);
                    }
                }
                Step::Move { most } => world.move_frames(most),
                Step::Cut => world.connect(),
                Step::WorkOff { up, channel } => {
                    let end = if up { &mut world.relay } else { &mut world.client };
                    end.work_off(channel);
                }
            }
        }
        // The client closes behind its last byte; then nothing more goes wrong.
        let calm = |world: &mut World| for _ in 0..400 {
            world.move_frames(8);
            for channel in 1..=3 {
                world.client.work_off(channel);
                world.relay.work_off(channel);
            }
        };
        calm(&mut world);
        for channel in 1..=3 {
            let word = Word::Closed { channel, reason: None, outcome: None };
            prop_assert!(world.client.channels.finish(channel, encode_word(&word)));
        }
        calm(&mut world);
        prop_assert_eq!(&world.client.arrived, &written[0]);
        prop_assert_eq!(&world.relay.arrived, &written[1]);
        prop_assert_eq!(&world.relay.closed, &[1, 2, 3]);
        for end in [&world.client, &world.relay] {
            prop_assert!(end.channels.is_empty());
            prop_assert_eq!(end.session.unacknowledged(), (0, 0));
        }
    }
}
