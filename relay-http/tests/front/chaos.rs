//! Whatever clients, the site and the driver do.

use crate::desk::{Desk, UPGRADE, masked, text};
use proptest::{collection::vec, prelude::*, sample::select};
use relay_proto::{Action, CloseCode, Input, LinkId, http::Request};
use std::{collections::BTreeMap, time::Duration};

/// What clients say, or part of it.
fn fragments() -> Vec<Vec<u8>> {
    let mut fragments: Vec<Vec<u8>> = [
        UPGRADE,
        UPGRADE,
        UPGRADE,
        "GET /plain HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /ws HTTP/1.1\r\n",
        "Host: h\r\n",
        "\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "2\r\nab\r\n",
        "0\r\n\r\n",
        "Content-Length: 2\r\n",
        "Expect: 100-continue\r\n",
        "\u{16}\u{3}\u{1}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for first in [0x81, 0x01, 0x80, 0x89, 0x8a, 0x88, 0x82, 0xc1] {
        fragments.push(masked(first, b""));
        fragments.push(masked(first, b"\x03\xe8x"));
        fragments.push(masked(first, &[b'y'; 120]));
    }
    fragments.push(masked(0x82, &[0; 1500]));
    fragments.push(b"\x81\x02hi".to_vec());
    fragments
}

/// All that becomes of these pieces: what the site is asked and told, what the client is answered, and whether that is all.
type Outcome = (Vec<Request>, Vec<Input>, Vec<u8>, bool);

fn outcome<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut desk = Desk::new();
    desk.command(|site| site.echoes = true);
    let link = desk.accept();
    for piece in pieces {
        desk.say(link, piece);
    }
    desk.write(link);
    let mut heard = desk.heard();
    // The driver's writes are cut like its reads.
    heard.retain(|input| !matches!(input, Input::Written { .. }));
    let asked = desk.command(|site| std::mem::take(&mut site.asked));
    let asked = asked.into_iter().map(|(_, _, request)| request).collect();
    (
        asked,
        heard,
        without_continue(desk.sent(link)),
        desk.is_closed(link),
    )
}

/// A client that sends its body at once is not told to.
fn without_continue(answer: Vec<u8>) -> Vec<u8> {
    match answer.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
        Some(rest) => rest.to_vec(),
        None => answer,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Accept,
    Open,
    Say {
        link: usize,
        bytes: Vec<u8>,
        pieces: usize,
    },
    Write {
        link: usize,
    },
    End {
        link: usize,
    },
    Pass {
        milliseconds: u64,
    },
    Send {
        link: usize,
    },
    Close {
        link: usize,
    },
    Limit {
        limit: usize,
    },
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    let link = 0..6_usize;
    prop_oneof![
        2 => Just(Step::Accept),
        3 => Just(Step::Open),
        12 => (link.clone(), select(fragments()), 1..200_usize)
            .prop_map(|(link, bytes, pieces)| Step::Say { link, bytes, pieces }),
        4 => link.clone().prop_map(|link| Step::Write { link }),
        1 => link.clone().prop_map(|link| Step::End { link }),
        2 => (0..5000_u64).prop_map(|milliseconds| Step::Pass { milliseconds }),
        3 => link.clone().prop_map(|link| Step::Send { link }),
        1 => link.prop_map(|link| Step::Close { link }),
        2 => select(vec![0, 1, 1000]).prop_map(|limit| Step::Limit { limit }),
        1 => Just(Step::Finish),
    ]
}

/// What the site was told of a link.
#[derive(Default)]
struct Told {
    accepted: bool,
    closed: bool,
    sent: usize,
    written: usize,
}

fn judge(told: &mut BTreeMap<LinkId, Told>, heard: Vec<Input>) {
    for input in heard {
        let link = input.link().unwrap();
        let link = told.entry(link).or_default();
        assert!(!link.closed, "{input:?} behind the end");
        match &input {
            Input::Accepted { .. } => assert!(!std::mem::replace(&mut link.accepted, true)),
            Input::Closed { .. } => link.closed = true,
            Input::Written { .. } => link.written += 1,
            Input::Frame { .. } => {}
            other => panic!("{other:?}"),
        }
        assert!(link.accepted, "{input:?} before the beginning");
        assert!(link.written <= link.sent, "more is written than was sent");
    }
}

proptest! {
    #[test]
    fn however_bytes_are_cut_the_same_comes_of_them(fragments in vec(select(fragments()), 0..6), upgrades in any::<bool>(), size in 1usize..40) {
        let begin = if upgrades { UPGRADE.as_bytes() } else { b"" };
        let bytes = [begin, &fragments.concat()].concat();
        let whole = outcome([&bytes[..]].into_iter());
        prop_assert_eq!(&outcome(bytes.chunks(size)), &whole);
        prop_assert_eq!(outcome(bytes.chunks(1)), whole);
    }

    #[test]
    fn the_contract_holds_for_site_and_driver(steps in vec(step(), 0..60)) {
        let mut desk = Desk::new();
        let mut told: BTreeMap<LinkId, Told> = BTreeMap::new();
        for step in steps {
            let pick = |desk: &Desk, index: usize| desk.links().get(index).copied().filter(|link| !desk.is_over(*link));
            match step {
                Step::Accept => {
                    if desk.links().len() < 6 {
                        desk.accept();
                    }
                }
                Step::Open => {
                    if desk.links().len() < 6 {
                        let link = desk.accept();
                        desk.say(link, UPGRADE);
                    }
                }
                Step::Say { link, bytes, pieces } => for piece in bytes.chunks(pieces) {
                    if let Some(link) = pick(&desk, link) && desk.read_limit(link) > 0 {
                        desk.say(link, piece);
                    }
                }
                Step::Write { link } => if let Some(link) = pick(&desk, link) {
                    desk.write_one(link);
                }
                Step::End { link } => if let Some(link) = pick(&desk, link) {
                    desk.end(link);
                }
                Step::Pass { milliseconds } => desk.pass(Duration::from_millis(milliseconds)),
                Step::Send { link } => if let Some(link) = pick(&desk, link) {
                    // Its Written may come with the very next step.
                    told.entry(link).or_default().sent += 1;
                    desk.act(Action::Send { link, frame: text("x") });
                }
                Step::Close { link } => if let Some(link) = pick(&desk, link) {
                    desk.act(Action::Close { link, code: CloseCode::NORMAL, reason: String::new() });
                }
                Step::Limit { limit } => desk.command(|site| site.limit = limit),
                Step::Finish => desk.command(|site| site.finished = site.asked.len() > 3),
            }
            let heard = desk.heard();
            judge(&mut told, heard);
            if desk.finished {
                break;
            }
            for link in desk.links() {
                // Pongs, and the few bytes the site has sent.
                prop_assert!(desk.unwritten(link) < 20 * 1024);
            }
        }
        // In the end everybody is let go.
        let unfinished = !desk.finished;
        for link in desk.links() {
            desk.end(link);
        }
        judge(&mut told, desk.heard());
        if unfinished {
            prop_assert!(told.values().all(|link| link.closed || !link.accepted));
            prop_assert!(desk.deadline().is_none());
        }
    }
}
