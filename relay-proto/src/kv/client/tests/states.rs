//! The table of states, and every state against every input.

use super::*;

type Reach = fn() -> Bench;

fn reached() -> Vec<(ConnectionState, Reach)> {
    fn calling(mut bench: Bench) -> Bench {
        bench.call(Call::increment("n", 1));
        bench.call(Call::get("k"));
        bench
    }
    vec![
        (ConnectionState::Disconnected, Bench::by_default),
        (ConnectionState::Connecting, || calling(Bench::by_default())),
        (ConnectionState::Introducing, || {
            let mut bench = calling(Bench::by_default());
            bench.opened();
            bench
        }),
        (ConnectionState::Connected, || {
            let mut bench = calling(Bench::plain());
            bench.opened();
            bench
        }),
        (ConnectionState::Connected, || {
            let mut bench = calling(Bench::by_default());
            bench.opened_durable();
            bench
        }),
        (ConnectionState::Reconnecting, || {
            let mut bench = calling(Bench::by_default());
            bench.cut();
            bench
        }),
        (ConnectionState::Failed, || {
            let mut bench = calling(Bench::by_default());
            bench.refused(403);
            bench
        }),
    ]
}

fn frames() -> Vec<Frame> {
    let texts = [
        r#"{"code":200,"messageId":1}"#,
        r#"{"code":200,"messageId":2,"value":"x","key":"k"}"#,
        r#"{"code":200,"messageId":1,"newValue":1}"#,
        r#"{"code":404,"messageId":1,"error":"no"}"#,
        r#"{"code":429,"messageId":1,"error":"slowly","retryAfterMs":50}"#,
        r#"{"code":429,"error":"slowly"}"#,
        r#"{"code":200,"messageId":99}"#,
        r#"{"code":"200","messageId":1}"#,
        r#"{"type":"notification","key":"k","value":"v"}"#,
        r#"{"type":"missed","after":1,"first":9}"#,
        r#"{"type":"something new"}"#,
        r#"{"code":200,"messageId":1,"durable":{}}"#,
        "{}",
        "[]",
        "null",
        "42",
        "\"x\"",
        "hello",
        "",
    ];
    let text = |text: &str| Frame::Text(Bytes::copy_from_slice(text.as_bytes()));
    let mut frames: Vec<_> = texts.into_iter().map(text).collect();
    let mut far = Session::new(Time::ZERO, SECOND, RetentionLimits::default());
    far.attach(LinkId::accepted(0), 1).unwrap();
    far.send(Body::Control(br#"{"code":404,"messageId":2,"error":"no"}"#))
        .unwrap();
    frames.push(Frame::Binary(far.poll_frame().unwrap()));
    far.send(Body::Data {
        channel: 1,
        payload: b"x",
    })
    .unwrap();
    frames.extend(far.poll_frame().map(Frame::Binary));
    frames.push(Frame::Binary(Bytes::from_static(b"nonsense")));
    frames.push(Frame::Binary(Bytes::new()));
    frames.push(Frame::Ping(Bytes::new()));
    frames.push(Frame::Pong(Bytes::new()));
    frames
}

/// Nothing panics, transitions stay in the table, every deadline lies in the future, and every call ends once.
#[test]
fn every_state_withstands_every_input() {
    let inputs: [fn(LinkId) -> Input; 6] = [
        |link| Input::Accepted { link, peer: None },
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
        |link| Input::Secured { link },
    ];
    let frames = frames();
    for (state, reach) in reached() {
        for case in 0..inputs.len() + frames.len() {
            for ours in [true, false] {
                let mut bench = reach();
                assert_eq!(bench.state(), state);
                let link = match bench.link {
                    Some(link) if ours => link,
                    _ => LinkId::dialled(99),
                };
                let input = match inputs.get(case) {
                    Some(make) => make(link),
                    None => Input::Frame {
                        link,
                        frame: frames[case - inputs.len()].clone(),
                    },
                };
                bench.input(input);
                if !ours {
                    assert_eq!(bench.state(), state, "a stranger's input changes nothing");
                }
                ends_with_every_call_ended_once(bench);
            }
        }
    }
}

/// The same for every command.
#[test]
fn every_state_withstands_every_command() {
    let commands: [fn(&mut Client, Time); 8] = [
        |client, now| client.connect(now),
        |client, now| client.disconnect(now),
        |client, now| client.shutdown(now, SECOND),
        |client, now| client.shutdown(now, Duration::ZERO),
        |client, now| client.set_rate(now, Some(Rate::per_second(1))),
        |client, now| drop(client.call(now, Call::set("k", "v"))),
        |client, now| drop(client.cancel(now, CallId(1))),
        |client, now| client.handle_timeout(now),
    ];
    for (state, reach) in reached() {
        for first in commands {
            for second in commands {
                let mut bench = reach();
                assert_eq!(bench.state(), state);
                bench.command(first);
                bench.pass(MILLISECOND);
                bench.command(second);
                ends_with_every_call_ended_once(bench);
            }
        }
    }
}

fn ends_with_every_call_ended_once(mut bench: Bench) {
    bench.pass(MILLISECOND);
    bench.command(Client::stop);
    assert!(bench.client().is_finished());
    assert_eq!(bench.run(), None);
    let Some(Event::Terminated { left }) = bench.events.last() else {
        panic!("no terminal event");
    };
    let mut ended: Vec<_> = left.iter().map(|unsettled| unsettled.id).collect();
    let terminated = bench.count(|event| matches!(event, Event::Terminated { .. }));
    assert_eq!(terminated, 1);
    ended.extend(bench.ended().into_iter().map(|(id, _)| id));
    let count = ended.len();
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), count, "a call has ended twice");
    let cancelled = bench.statistics().calls as usize - count;
    assert!(cancelled <= 1, "calls are lost");
    // Nothing brings it back.
    let before = bench.actions.len();
    bench.cut_if_any();
    assert_eq!(bench.actions.len(), before);
    assert!(bench.events.is_empty());
}

impl Bench {
    fn cut_if_any(&mut self) {
        if self.link.is_some() {
            self.opened();
            self.cut();
        }
    }
}

#[test]
fn the_transition_table_names_every_state_and_reaches_them_all() {
    let mut reached = vec![ConnectionState::Disconnected];
    for index in 0.. {
        let Some(state) = reached.get(index).copied() else {
            break;
        };
        for next in state.successors() {
            assert_ne!(*next, state);
            if !reached.contains(next) {
                reached.push(*next);
            }
        }
    }
    reached.sort_unstable();
    assert_eq!(reached, ConnectionState::ALL);
}

#[test]
fn the_documentation_shows_the_transition_table() {
    let documentation = include_str!("../state.rs");
    for state in ConnectionState::ALL {
        let successors: Vec<_> = state
            .successors()
            .iter()
            .map(|next| format!("{next:?}"))
            .collect();
        let row = format!("/// | {state:?} | {} |\n", successors.join(", "));
        assert!(documentation.contains(&row), "{row}");
    }
}
