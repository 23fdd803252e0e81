//! Every state meets every input: no panic, and the contract with the driver is kept (the rig checks it).

use super::rig::{CLIENT, POINTS, Rig, config, pooled, seconds, warm};
use super::{
    peer::{MODERN, Peer, numbered},
    sessions::past_the_end,
};
use crate::{
    CloseCode, Closure, Frame, Input, LinkId, OpenError,
    mail::{
        relay::{Event, Policy},
        wire::{ApiKey, ChannelError, Denied, Granted, Message, encode},
    },
    session::Body,
};
use alloc::{boxed::Box, string::String, vec::Vec};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

type Prepare = Box<dyn Fn() -> (Rig, LinkId)>;

/// Names no link there is.
const NOBODY: LinkId = LinkId::dialled(1 << 40);

fn states() -> Vec<(String, Prepare)> {
    let mut states: Vec<(String, Prepare)> = alloc::vec![
        (
            "no client".into(),
            Box::new(|| (Rig::new(config()), NOBODY)),
        ),
        (
            "unauthenticated".into(),
            Box::new(|| {
                let mut rig = Rig::new(config());
                rig.accept(CLIENT);
                (rig, NOBODY)
            }),
        ),
        (
            "deciding".into(),
            Box::new(|| {
                let mut rig = Rig::new(config());
                rig.accept(CLIENT);
                rig.authenticate(CLIENT);
                (rig, NOBODY)
            }),
        ),
        (
            "no channel yet".into(),
            Box::new(|| (Rig::serving(Policy::default()), NOBODY)),
        ),
        (
            "opening".into(),
            Box::new(|| {
                let mut rig = Rig::serving(Policy::default());
                rig.send(CLIENT, &Message::ChannelOpen);
                let upstream = rig.upstream();
                (rig, upstream)
            }),
        ),
        (
            "greeting".into(),
            Box::new(|| {
                let mut rig = Rig::serving(Policy::default());
                rig.send(CLIENT, &Message::ChannelOpen);
                let upstream = rig.upstream();
                rig.input(Input::Opened { link: upstream });
                rig.upstream_says(upstream, "220 hi\r\n");
                (rig, upstream)
            }),
        ),
        (
            "quitting".into(),
            Box::new(|| {
                let (mut rig, upstream) = Rig::open(Policy::default());
                rig.client_says("QUIT\r\n");
                (rig, upstream)
            }),
        ),
        (
            "greeting ahead of time".into(),
            Box::new(|| {
                let mut rig = Rig::serving_with(warm(), Policy::default());
                let upstream = rig.upstream();
                rig.input(Input::Opened { link: upstream });
                (rig, upstream)
            }),
        ),
        (
            "kept".into(),
            Box::new(|| {
                let mut rig = Rig::serving_with(warm(), Policy::default());
                let upstream = rig.greet("250 mx.example\r\n");
                (rig, upstream)
            }),
        ),
        (
            "asked whether it lives".into(),
            Box::new(|| {
                let mut rig = Rig::serving_with(warm(), Policy::default());
                let upstream = rig.greet("250 mx.example\r\n");
                rig.pass(seconds(20));
                rig.send(CLIENT, &Message::ChannelOpen);
                (rig, upstream)
            }),
        ),
        (
            "kept, with a MAIL".into(),
            Box::new(|| {
                let mut rig = Rig::serving_with(warm(), Policy::default());
                let upstream = rig.greet("250 mx.example\r\n");
                rig.pass(seconds(1));
                rig.send(CLIENT, &Message::ChannelOpen);
                rig.client_says("MAIL FROM:<a@b.example>\r\n");
                (rig, upstream)
            }),
        ),
        (
            "behind EHLO, without a connection".into(),
            Box::new(|| {
                let mut rig = Rig::serving_with(pooled(), Policy::default());
                rig.start();
                rig.client_says("MAIL FROM:<a@b.example>\r\n");
                let upstream = rig.upstream();
                rig.input(Input::Opened { link: upstream });
                (rig, upstream)
            }),
        ),
        (
            "behind EHLO, with one".into(),
            Box::new(|| {
                let mut rig = Rig::serving_with(pooled(), Policy::default());
                rig.start();
                rig.client_says("MAIL FROM:<a@b.example>\r\n");
                let upstream = rig.greet("250 mx.example\r\n");
                (rig, upstream)
            }),
        ),
        (
            "finished".into(),
            Box::new(|| {
                let (mut rig, upstream) = Rig::open(Policy::default());
                let now = rig.now;
                rig.pump.command(now, |relay, now| relay.stop(now));
                rig.run();
                (rig, upstream)
            }),
        ),
    ];
    states.push((
        "in a session".into(),
        Box::new(|| {
            let mut rig = Rig::new(pooled());
            Peer::connect(&mut rig, 0);
            (rig, NOBODY)
        }),
    ));
    states.push((
        "in a session, with half a message".into(),
        Box::new(|| {
            let mut rig = Rig::new(pooled());
            let mut peer = Peer::connect(&mut rig, 0);
            let channel = peer.open(1, None);
            peer.say(channel, "MAIL FROM:<a@b.example>\r\n");
            peer.talk(&mut rig);
            let upstream = rig.greet(MODERN);
            (rig, upstream)
        }),
    ));
    states.push((
        "in a session, past the end of data".into(),
        Box::new(|| {
            let (rig, _, _, upstream) = past_the_end();
            (rig, upstream)
        }),
    ));
    states.push((
        "in a session whose client is away".into(),
        Box::new(|| {
            let (mut rig, mut peer, _, upstream) = past_the_end();
            peer.cut(&mut rig);
            (rig, upstream)
        }),
    ));
    for (offers, ehlo) in [
        ("PIPELINING", "250-mx\r\n250 PIPELINING\r\n"),
        ("CHUNKING", "250-mx\r\n250 CHUNKING\r\n"),
        ("both", "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"),
    ] {
        for (command, content) in [("DATA", ""), ("BDAT 3 LAST", "abc"), ("BDAT 3", "abc")] {
            for answers in 0..4 {
                states.push((
                    alloc::format!("{offers}, {answers} answers to a flight with {command}"),
                    Box::new(move || {
                        let (mut rig, upstream) = Rig::open_with(pooled(), Policy::default(), ehlo);
                        rig.client_says(&alloc::format!(
                            "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n{command}\r\n{content}"
                        ));
                        for answer in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"]
                            .iter()
                            .take(answers)
                        {
                            rig.upstream_says(upstream, answer);
                        }
                        (rig, upstream)
                    }),
                ));
            }
        }
    }
    for point in POINTS {
        states.push((
            alloc::format!("{point:?}"),
            Box::new(move || Rig::at(point)),
        ));
        states.push((
            alloc::format!("{point:?}, draining"),
            Box::new(move || {
                let (mut rig, upstream) = Rig::at(point);
                let (now, deadline) = (rig.now, rig.now.after(seconds(100)));
                rig.pump
                    .command(now, |relay, now| relay.drain(now, deadline));
                rig.run();
                (rig, upstream)
            }),
        ));
        states.push((
            alloc::format!("{point:?}, client gone"),
            Box::new(move || {
                let (mut rig, upstream) = Rig::at(point);
                rig.lose(CLIENT);
                (rig, upstream)
            }),
        ));
    }
    states
}

fn frames() -> Vec<Frame> {
    let data = |bytes: &'static [u8]| Message::ToServer(Bytes::from_static(bytes));
    let messages = [
        Message::Authenticate {
            api_key: ApiKey::new("k"),
            agent: None,
            durable: None,
        },
        Message::AuthenticateResponse(Ok(Granted::default())),
        Message::ChannelOpen,
        Message::ChannelReady,
        data(b""),
        data(b"QUIT\r\n"),
        data(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"),
        data(b"RSET\r\n"),
        data(b"x\r\n.\r\n"),
        data(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 3 LAST\r\nabc"),
        data(b"BDAT 3\r\nabc"),
        data(b"\xff\0\r\n\r\n\r\n"),
        Message::FromServer(Bytes::new()),
        Message::ChannelClosed { reason: None },
        Message::ChannelError(ChannelError {
            error: String::new(),
            code: None,
            retry_after: None,
        }),
    ];
    let mut frames: Vec<_> = messages.iter().map(encode).collect();
    frames.extend([
        Frame::Text(Bytes::from_static(b"{\"type\":\"NEW\"}")),
        Frame::Text(Bytes::from_static(b"{\"type\":")),
        Frame::Text(Bytes::from_static(b"\xff")),
        Frame::Binary(Bytes::new()),
        Frame::Ping(Bytes::new()),
        Frame::Pong(Bytes::new()),
    ]);
    for reply in [
        "220 hi\r\n",
        "250 ok\r\n",
        "250-more\r\n",
        "354 go\r\n",
        "421 bye\r\n",
        "451 later\r\n",
        "550 no\r\n",
        "garbage\r\n",
        "250 a\r\n250 b\r\n421 c\r\n",
        "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
        "250-mx\r\n250 PIPELINING\r\n",
        "250 a\r\n250 b\r\n354 c\r\n",
    ] {
        frames.push(Frame::Binary(Bytes::from_static(reply.as_bytes())));
    }
    // In a session the next number is 1, or 3 or 4 where a message was begun.
    for seq in [1, 3, 4] {
        for (channel, word) in [
            (1, "OPEN"),
            (2, "OPEN"),
            (1, "CLOSED"),
            (1, "READY"),
            (1, "CREDIT"),
        ] {
            let payload = alloc::format!(
                r#"{{"type":"SMTP_CHANNEL_{word}","channelId":{channel},"deliveryId":"0000000000000000000000000000000{channel}","bytes":9}}"#
            );
            frames.push(Frame::Binary(numbered(
                seq,
                0,
                Body::Control(payload.as_bytes()),
            )));
        }
        for channel in [1, 2] {
            let payload = &b"RCPT TO:<c@d.example>\r\nBDAT 3 LAST\r\nabc"[..];
            frames.push(Frame::Binary(numbered(
                seq,
                0,
                Body::Data { channel, payload },
            )));
        }
    }
    frames.push(Frame::Binary(Bytes::from_static(&[0, 0])));
    frames.push(Frame::Binary(Bytes::from_static(&[0, 100])));
    frames
}

fn inputs(upstream: LinkId) -> Vec<Input> {
    let mut inputs = Vec::new();
    for link in [CLIENT, upstream, NOBODY] {
        for frame in frames() {
            inputs.push(Input::Frame { link, frame });
        }
        inputs.push(Input::Written { link });
        let why = Closure::Peer {
            code: Some(CloseCode::NORMAL),
            reason: String::new(),
        };
        inputs.push(Input::Closed { link, why });
    }
    inputs
}

#[test]
fn every_state_survives_every_input() {
    for (state, prepare) in states() {
        let (_, upstream) = prepare();
        let mut tried = inputs(upstream);
        if state == "opening" {
            tried.push(Input::Opened { link: upstream });
            tried.push(Input::OpenFailed {
                link: upstream,
                why: OpenError::Abandoned,
            });
        }
        for input in tried {
            // Nothing is heard of a link that is not open.
            let unheard = match &input {
                Input::Frame { link, .. }
                | Input::Written { link }
                | Input::Closed { link, .. } => state == "opening" && *link == upstream,
                _ => false,
            };
            if unheard {
                continue;
            }
            let (mut rig, _) = prepare();
            rig.input(input.clone());
            finish(rig, &state, &input);
        }
    }
}

#[test]
fn every_state_survives_every_command_and_timer() {
    type Command = fn(&mut crate::mail::relay::Relay, crate::Time);
    let commands: [Command; 4] = [
        |relay, now| relay.grant(now, CLIENT, Policy::default()),
        |relay, now| {
            let denied = Denied {
                error: "no".into(),
                retry_after: None,
                permanent: Some(true),
            };
            relay.deny(now, CLIENT, denied);
        },
        |relay, now| relay.drain(now, now.after(seconds(1))),
        |relay, now| relay.stop(now),
    ];
    for (state, prepare) in states() {
        for command in commands {
            let (mut rig, _) = prepare();
            let now = rig.now;
            rig.pump.command(now, command);
            rig.run();
            finish(rig, &state, "a command");
        }
        let (mut rig, _) = prepare();
        rig.pass(seconds(100_000));
        finish(rig, &state, "time");
    }
}

/// Whatever has happened, time and a stop end everything, with one last event.
fn finish(mut rig: Rig, state: &str, what: impl core::fmt::Debug) {
    rig.pass(seconds(10_000));
    assert!(rig.pump.machine().upstreams() <= 1, "{state} and {what:?}");
    let now = rig.now;
    rig.pump.command(now, |relay, now| relay.stop(now));
    rig.run();
    let endings = rig
        .events
        .iter()
        .filter(|event| **event == Event::Finished)
        .count();
    assert_eq!(endings, 1, "{state} and {what:?}: {:?}", rig.events);
    assert_eq!(rig.read_limit(CLIENT), 0, "{state} and {what:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Any walk through the states keeps the contract, and no message ends twice.
    #[test]
    fn any_sequence_of_inputs_is_survived(
        keeps in 0_usize..3,
        starts_behind_ehlo: bool,
        steps in vec((0_usize..7, any::<prop::sample::Index>()), 0..60),
    ) {
        let mut rig = Rig::serving_with([config, pooled, warm][keeps](), Policy::default());
        let frames = frames();
        for (kind, index) in steps {
            let upstream = if rig.dialled() > 0 { rig.upstream() } else { NOBODY };
            let frame = index.get(&frames).clone();
            match kind {
                0 | 1 if rig.is_open(CLIENT) => rig.input(Input::Frame { link: CLIENT, frame }),
                2 | 3 if rig.is_open(upstream) => rig.input(Input::Frame { link: upstream, frame }),
                2 | 3 if rig.is_opening(upstream) => rig.input(Input::Opened { link: upstream }),
                4 if rig.is_open(CLIENT) => {
                    let script = ["MAIL FROM:<a@b.example>\r\n", "RCPT TO:<c@d.example>\r\n", "DATA\r\n", "x\r\n.\r\n"];
                    rig.client_says(script[index.index(script.len())]);
                }
                5 if rig.is_open(CLIENT) && starts_behind_ehlo => rig.start(),
                6 => rig.pass(seconds(index.index(100) as u64)),
                _ => {}
            }
        }
        let messages = rig.events.iter().filter(|event| matches!(
            event,
            Event::MessageRelayed { .. } | Event::MessageInDoubt { .. } | Event::MessageAbandoned { .. }
        )).count();
        let mails = rig.mails;
        prop_assert!(messages <= mails, "{messages} endings of {mails} messages");
        finish(rig, "a walk", "any sequence");
    }
}
