//! Every state of a client with a session against every input.

use super::*;
use crate::mail::{
    Outcome,
    wire::{Granted, encode_word},
};

fn words() -> Vec<Bytes> {
    let error = |code| ChannelError {
        error: "no".into(),
        code,
        retry_after: None,
    };
    let mut words = vec![
        Word::Open {
            channel: 9,
            delivery: DeliveryId::from_bits(1),
            sent_under: None,
        },
        Word::Draining {
            deadline: SECOND,
            spread: None,
        },
    ];
    for channel in [1, 2, 99] {
        words.push(Word::Ready { channel });
        words.push(Word::Credit { channel, bytes: 1 });
        words.push(Word::Credit {
            channel,
            bytes: (1 << 53) - 1,
        });
        for code in [None, Some(421), Some(550)] {
            let error = error(code);
            words.push(Word::Error { channel, error });
        }
        for outcome in [
            None,
            Some(Outcome::InDoubt),
            Some(world::answered("250 ok")),
            Some(world::answered("451 later")),
            Some(world::answered("550 no")),
        ] {
            let reason = None;
            words.push(Word::Closed {
                channel,
                reason,
                outcome,
            });
        }
    }
    let mut words: Vec<_> = words.iter().map(encode_word).collect();
    words.push(Bytes::from_static(b"{\"type\":\"SOMETHING_NEW\"}"));
    words.push(Bytes::from_static(b"{\"type\":\"AUTHENTICATE\"}"));
    words.push(Bytes::from_static(b"nonsense"));
    words
}

/// What a relay may send next, in order.
fn frames(world: &World) -> Vec<Frame> {
    let sent = world.far.as_ref().map_or(0, |far| far.session.sent());
    let seq = u8::try_from(sent + 1).expect("a byte is enough for a short test");
    let mut messages: Vec<Vec<u8>> = words()
        .iter()
        .map(|word| [&[1, seq, 0], &word[..]].concat())
        .collect();
    for channel in [1, 2, 99] {
        for text in [
            &b"250 ok\r\n"[..],
            b"250 ok\r\n250 ok\r\n250 ok\r\n",
            b"421 bye\r\n",
            b"\0\xff\r\n",
        ] {
            messages.push([&[2, seq, 0, channel], text].concat());
        }
    }
    messages.extend([
        vec![],
        vec![0, 0],
        vec![0, 127],
        vec![9],
        vec![1, seq + 1, 0],
    ]);
    let binary = messages
        .into_iter()
        .map(|message| Frame::Binary(message.into()));
    let mut frames: Vec<Frame> = binary.collect();
    let mut grant = world.terms.clone();
    for (receive_next, id) in [(1, 1), (1, 2), (200, 1)] {
        grant.receive_next = receive_next;
        grant.session = crate::session::SessionId::from_bits(id);
        let durable = Some(grant.clone());
        let limits = Limits::default();
        frames.push(wire::encode(&Message::AuthenticateResponse(Ok(Granted {
            limits,
            durable,
        }))));
    }
    frames.push(wire::encode(&Message::AuthenticateResponse(Ok(
        Granted::default(),
    ))));
    frames.push(wire::encode(&Message::AuthenticateResponse(Err(
        Denied::for_good("no"),
    ))));
    frames.push(Frame::Text(Bytes::from_static(b"nonsense")));
    frames.push(Frame::Pong(Bytes::new()));
    frames
}

#[test]
fn every_state_with_a_session_withstands_every_input() {
    type Reach = fn(&mut World);
    let reach: [(ConnectionState, Reach); 8] = [
        (ConnectionState::Disconnected, |world| {
            world.bench.send_mail();
            world.settle();
            world.bench.elapse("idle");
            world.settle();
        }),
        (ConnectionState::Authenticated, |world| {
            world.bench.send_mail();
            world.settle();
        }),
        (ConnectionState::ChannelOpening, |world| {
            world.bench.send_mail();
            world.bench.send_mail();
            world.exchange(2);
        }),
        (ConnectionState::ChannelReady, |world| {
            world.answers = false;
            world.bench.send_mail();
            world.bench.send_mail();
            world.settle();
        }),
        (ConnectionState::Reconnecting, |world| {
            world.answers = false;
            world.bench.send_mail();
            world.bench.send_mail();
            world.settle();
            world.cut();
        }),
        (ConnectionState::Connecting, |world| {
            world.answers = false;
            world.bench.send_mail();
            world.settle();
            world.cut();
            world.reconnect();
        }),
        (ConnectionState::Authenticating, |world| {
            world.answers = false;
            world.bench.send_mail();
            world.bench.send_mail();
            world.settle();
            world.cut();
            world.reconnect();
            let link = world.bench.link();
            world.bench.input(Input::Opened { link });
        }),
        // The same in a session that nobody has granted yet.
        (ConnectionState::Authenticating, |world| {
            world.bench.send_mail();
            world.settle();
            world.bench.elapse("idle");
            world.settle();
            world.bench.now = world.bench.now.after(600 * SECOND);
            world.bench.send_mail();
            world.bench.run();
            let link = world.bench.link();
            world.bench.input(Input::Opened { link });
        }),
    ];
    let inputs: [fn(LinkId) -> Input; 4] = [
        |link| Input::Opened { link },
        |link| Input::OpenFailed {
            link,
            why: OpenError::Abandoned,
        },
        |link| Input::Written { link },
        |link| Input::Closed {
            link,
            why: Closure::Local,
        },
    ];
    for (state, reach) in reach {
        let prepared = || {
            let mut world = World::new(|_| {});
            reach(&mut world);
            assert_eq!(world.bench.state(), state);
            world
        };
        let frames = frames(&prepared());
        for case in 0..inputs.len() + frames.len() {
            for ours in [true, false] {
                let mut world = prepared();
                let link = if ours {
                    world.bench.link()
                } else {
                    LinkId::dialled(99)
                };
                let input = match inputs.get(case) {
                    Some(make) => make(link),
                    None => {
                        let frame = frames[case - inputs.len()].clone();
                        Input::Frame { link, frame }
                    }
                };
                world.bench.input(input);
                if !ours {
                    assert_eq!(
                        world.bench.state(),
                        state,
                        "a stranger's input changes nothing"
                    );
                }
                // Whatever has happened, no deadline spins, the machine ends, and no submission is lost or settled twice.
                for _ in 0..5 {
                    if let Some(due) = world.bench.run() {
                        world.bench.now = due.at;
                    }
                }
                world.bench.pump.command(world.bench.now, Client::stop);
                world.bench.run();
                assert!(world.bench.client().is_finished());
                let Some(Event::Terminated { left }) = world.bench.events.last() else {
                    panic!("no terminal event");
                };
                let submitted = world.bench.client().statistics().queued as usize;
                assert_eq!(left.len() + world.bench.outcomes().len(), submitted);
            }
        }
    }
}

#[test]
fn secrets_and_content_stay_out_of_debug_output() {
    let mut world = World::new(|_| {});
    world.answers = false;
    world.bench.submit(mail("private words"));
    world.settle();
    let debug = format!("{:?} {:?}", world.bench.pump, world.bench.events);
    assert!(!debug.contains("private words") && !debug.contains("secret-key"));
}
