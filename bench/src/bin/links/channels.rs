//! Many channels on one link: what a frame costs among them, and what each holds.

use crate::measure::{Report, Stopwatch, resident};
use bytes::Bytes;
use relay_proto::{
    LinkId, Priority, Time,
    channels::{Channels, ChannelsConfig},
    session::{Body, RetentionLimits, Session},
};
use std::{error::Error, hint::black_box, time::Duration};

const LINK: LinkId = LinkId::accepted(0);
const NUMBERS: [usize; 4] = [1, 10, 100, 1_000];
/// Frames between two acknowledgements.
const FLIGHT: usize = 64;
/// Channels in all whose memory is looked at, since that of a few does not show.
const HELD: usize = 20_000;

struct End {
    session: Session,
    channels: Channels,
}

impl End {
    fn new(number: usize) -> Self {
        let mut session = Session::new(Time::ZERO, Duration::MAX, RetentionLimits::default());
        session
            .attach(LINK, 1)
            .expect("a new session begins with 1");
        let mut config = ChannelsConfig::default();
        config.max_channels = number;
        let mut channels = Channels::new(config);
        for _ in 0..number {
            channels.open(Priority::Normal).expect("so many may be");
        }
        Self { session, channels }
    }

    /// Sends on a channel; whatever stands in line goes out.
    fn send(&mut self, channel: u64, payload: &Bytes) -> Bytes {
        self.channels
            .write(channel, payload.clone())
            .expect("there is room");
        let body = self.channels.poll(self.session.room());
        let body = body.expect("there is credit");
        self.session.send(body.borrowed()).expect("there is room");
        self.session.poll_frame().expect("there is a link")
    }

    /// Takes a frame, and works it off.
    fn receive(&mut self, frame: &Bytes) {
        let new = self.session.handle_frame(LINK, frame);
        let delivery = new.expect("it is a frame").expect("it is new");
        if let Body::Data { channel, payload } = black_box(delivery.body) {
            let counted = self.channels.received(channel, payload.len());
            assert_eq!(counted, Ok(true));
            self.channels.consumed(channel, payload.len());
        }
        self.session.take_over(delivery.seq);
    }
}

/// From one end to the other, on all channels in turns.
fn pass(number: usize, flights: usize, watch: &mut Stopwatch) {
    let (mut from, mut to) = (End::new(number), End::new(number));
    let payload = Bytes::from_static(&[7; 200]);
    let mut turns = (1..=number as u64).cycle();
    for _ in 0..flights {
        watch.run(|| {
            for channel in turns.by_ref().take(FLIGHT) {
                let frame = from.send(channel, &payload);
                to.receive(&frame);
            }
            while let Some((channel, bytes)) = to.channels.poll_grant() {
                from.channels
                    .granted(channel, bytes)
                    .expect("it was opened");
            }
            let acknowledgement = to.session.poll_frame().expect("there is something to say");
            let new = from.session.handle_frame(LINK, &acknowledgement);
            assert_eq!(new, Ok(None));
        });
    }
}

/// How time and memory grow with the channels.
pub fn growth(repetitions: u32, flights: usize) -> Result<(), Box<dyn Error>> {
    for repetition in 0..repetitions {
        let report = Report {
            table: "growth: channels of a link",
            repetition,
        };
        for number in NUMBERS {
            let mut watch = Stopwatch::default();
            pass(number, flights, &mut watch);
            let each = watch.total().as_nanos() as f64 / (flights * FLIGHT) as f64;
            report.cost(
                "a frame of 200 bytes to the other end, channels open",
                "relay-proto",
                Some(number as f64),
                "ns",
                each,
            )?;
        }
    }
    Ok(())
}

/// Memory of one end with its session, for each of its channels. To be asked before anything else has left holes.
pub fn memory() -> Result<(), Box<dyn Error>> {
    let report = Report {
        table: "growth: channels of a link",
        repetition: 0,
    };
    let mut held = Vec::new();
    for number in NUMBERS {
        let before = resident("self")?;
        held.extend((0..HELD / number).map(|_| End::new(number)));
        let each = (resident("self")? - before) * 1024.0 / HELD as f64;
        report.cost(
            "memory of an end for each of its channels, channels open",
            "relay-proto",
            Some(number as f64),
            "bytes",
            each,
        )?;
    }
    black_box(held);
    Ok(())
}
