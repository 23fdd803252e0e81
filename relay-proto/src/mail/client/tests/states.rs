//! The table of states, and every state against every input.

use super::*;

/// Every state, reached by a script, against every input: nothing panics, transitions stay in the table,
/// every deadline lies in the future, and the submission is never lost.
#[test]
fn every_state_withstands_every_input() {
    type Reach = fn(&mut Bench);
    let reach: [(ConnectionState, Reach); 9] = [
        (ConnectionState::Disconnected, |_| {}),
        (ConnectionState::Connecting, |bench| {
            bench.send_mail();
        }),
        (ConnectionState::Authenticating, |bench| {
            bench.send_mail();
            let link = bench.link();
            bench.input(Input::Opened { link });
        }),
        (ConnectionState::Authenticated, |bench| {
            bench.send_mail();
            bench.authenticate();
            bench.until_end_of_data();
            bench.server_says("250 ok");
            bench.close_channel();
        }),
        (ConnectionState::ChannelOpening, |bench| {
            bench.send_mail();
            bench.authenticate();
        }),
        (ConnectionState::ChannelReady, |bench| {
            bench.send_mail();
            bench.authenticate();
            bench.says(&Message::ChannelReady);
        }),
        (ConnectionState::ChannelError, |bench| {
            bench.send_mail();
            bench.authenticate();
            bench.says(&Message::ChannelReady);
            bench.server_says("554 no");
        }),
        (ConnectionState::Reconnecting, |bench| {
            bench.send_mail();
            bench.cut();
        }),
        (ConnectionState::Failed, |bench| {
            bench.send_mail();
            let (link, endpoint) = (bench.link(), "x".into());
            let why = OpenError::Refused {
                endpoint,
                status: 401,
                retry_after: None,
            };
            bench.input(Input::OpenFailed { link, why });
        }),
    ];
    let denied = Denied {
        error: "no".into(),
        retry_after: None,
        permanent: None,
    };
    let error = ChannelError {
        error: "no".into(),
        code: None,
        retry_after: None,
    };
    let frames = [
        wire::encode(&Message::Authenticate {
            api_key: ApiKey::new("x"),
            agent: None,
            durable: None,
        }),
        wire::encode(&Message::AuthenticateResponse(Ok(Granted::default()))),
        wire::encode(&Message::AuthenticateResponse(Err(denied))),
        wire::encode(&Message::ChannelOpen),
        wire::encode(&Message::ChannelReady),
        wire::encode(&Message::ToServer(Bytes::from_static(b"QUIT\r\n"))),
        wire::encode(&Message::FromServer(Bytes::from_static(b"250 ok\r\n"))),
        wire::encode(&Message::FromServer(Bytes::from_static(b"550 no\r\n"))),
        wire::encode(&Message::FromServer(Bytes::from_static(
            b"\0\xffgarbage\r\n",
        ))),
        wire::encode(&Message::ChannelClosed { reason: None }),
        wire::encode(&Message::ChannelError(error)),
        Frame::Text(Bytes::from_static(b"{\"type\":\"SOMETHING_NEW\"}")),
        Frame::Text(Bytes::from_static(b"nonsense")),
        Frame::Binary(Bytes::from_static(b"nonsense")),
        Frame::Ping(Bytes::new()),
        Frame::Pong(Bytes::new()),
    ];
    for (state, reach) in reach {
        let inputs: [fn(LinkId) -> Input; 5] = [
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
        ];
        for case in 0..inputs.len() + frames.len() {
            for ours in [true, false] {
                let mut bench = Bench::new(|_| {});
                reach(&mut bench);
                assert_eq!(bench.state(), state);
                let link = match bench.link {
                    Some(link) if ours => link,
                    _ => LinkId::dialled(99),
                };
                let input = match inputs.get(case) {
                    Some(make) => make(link),
                    None => {
                        let frame = frames[case - inputs.len()].clone();
                        Input::Frame { link, frame }
                    }
                };
                bench.input(input);
                if !ours {
                    assert_eq!(bench.state(), state, "a stranger's input changes nothing");
                }
                // Whatever has happened, the machine comes to an end, and no submission is lost.
                bench
                    .pump
                    .command(bench.now, |client, now| client.stop(now));
                bench.run();
                assert!(bench.client().is_finished());
                let Some(Event::Terminated { left }) = bench.events.last() else {
                    panic!("no terminal event");
                };
                let submitted = bench.client().statistics().queued as usize;
                assert_eq!(left.len() + bench.outcomes().len(), submitted);
            }
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
