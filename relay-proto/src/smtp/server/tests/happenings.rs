//! Whatever happens, in whatever order.

use super::{MINUTE, Rig, config, link};
use crate::{
    LinkId,
    smtp::{Authentication, Security, ServerEvent, reply},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::mem;
use proptest::prelude::*;

/// What may happen to a server.
#[derive(Clone, Debug)]
enum Happening {
    Accept,
    Say(u64, &'static str),
    Lose(u64),
    Secure(u64),
    Answer(u64, bool),
    Wait(u64),
    Run,
    Network(bool),
    Shutdown,
}

fn happenings() -> impl Strategy<Value = Happening> {
    let lines = [
        "EHLO c\r\n",
        "MAIL FROM:<a@b>\r\n",
        "RCPT TO:<c@d>\r\n",
        "DATA\r\n",
        "Subject: x\r\n\r\nx\r\n",
        "\r\n.\r\n",
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        "RSET\r\n",
        "EHLO c\r\nSTARTTLS\r\nMAIL FROM:<evil@b>\r\n",
        "EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlc2FtZQ==\r\n",
        "AUTH LOGIN\r\nYWxpY2U=\r\n",
        "c2VzYW1l\r\n",
        "QUIT\r\n",
        "nonsense",
        "\r\n",
    ];
    let line = proptest::sample::select(Vec::from(lines));
    prop_oneof![
        3 => Just(Happening::Accept),
        12 => (0..4_u64, line).prop_map(|(index, line)| Happening::Say(index, line)),
        1 => (0..4_u64).prop_map(Happening::Lose),
        4 => (0..4_u64).prop_map(Happening::Secure),
        12 => (0..4_u64, prop::bool::weighted(0.8)).prop_map(|(index, yes)| Happening::Answer(index, yes)),
        1 => (0..4_u64).prop_map(Happening::Wait),
        8 => Just(Happening::Run),
        1 => any::<bool>().prop_map(Happening::Network),
        1 => prop::bool::weighted(0.2).prop_map(|yes| if yes { Happening::Shutdown } else { Happening::Run }),
    ]
}

/// What an application knows of a link.
#[derive(Default)]
struct Known {
    question: Option<ServerEvent>,
    in_transaction: bool,
    closed: bool,
}

/// Checks that news makes sense for whoever stores mail.
fn learn(known: &mut BTreeMap<LinkId, Known>, event: ServerEvent) {
    let Some(link) = event.link() else { return };
    if matches!(event, ServerEvent::Opened { .. }) {
        assert!(known.insert(link, Known::default()).is_none());
    }
    let state = known.get_mut(&link).expect("a link begins with Opened");
    assert!(!state.closed, "{event:?} after Closed");
    let ends = matches!(
        event,
        ServerEvent::Closed { .. } | ServerEvent::Reset { .. }
    );
    assert!(
        ends || state.question.is_none(),
        "{event:?} while a question is open"
    );
    match &event {
        ServerEvent::Mail { reverse_path, .. } => {
            // Injected behind STARTTLS, in clear.
            let evil = reverse_path
                .address()
                .is_some_and(|address| address.local_part() == "evil");
            assert!(!evil && !state.in_transaction);
        }
        ServerEvent::Credentials { .. } => assert!(!state.in_transaction),
        ServerEvent::Recipient { .. }
        | ServerEvent::Content { .. }
        | ServerEvent::EndOfContent { .. } => assert!(state.in_transaction, "{event:?}"),
        ServerEvent::Reset { .. } => assert!(mem::take(&mut state.in_transaction)),
        ServerEvent::Closed { .. } => {
            *state = Known {
                closed: true,
                ..Known::default()
            }
        }
        _ => {}
    }
    if event.is_question() {
        state.question = Some(event);
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_news_makes_sense(happenings in proptest::collection::vec(happenings(), 0..120)) {
        let mut config = config();
        config.max_links = 3;
        config.session.max_message_bytes = Some(100);
        config.session.security = Security::StartTls;
        config.session.authentication = Some(Authentication {
            required: false,
            in_clear: true,
            ..Authentication::required()
        });
        let mut rig = Rig::new(config);
        rig.agrees = false;
        let mut known = BTreeMap::new();
        let mut secured = BTreeSet::new();
        let mut finished = 0;
        let mut accepted = 0;
        let end = [Happening::Run, Happening::Shutdown, Happening::Shutdown, Happening::Run];
        for happening in happenings.into_iter().chain(end) {
            // Links that are young enough to be alive.
            let young = |index: u64| (accepted + 3_u64).saturating_sub(index + 4);
            match happening {
                Happening::Accept => {
                    rig.accept(accepted);
                    accepted += 1;
                }
                Happening::Say(index, line) => {
                    // What the line injects may be said behind TLS.
                    let injects = line.contains("evil") && secured.contains(&young(index));
                    if rig.read_limit(young(index)) > 0 && !injects {
                        rig.frame(young(index), line.as_bytes());
                    }
                }
                Happening::Secure(index) => {
                    rig.secure(young(index));
                    secured.insert(young(index));
                }
                Happening::Lose(index) => rig.lose(young(index)),
                Happening::Answer(index, yes) => {
                    let link = link(young(index));
                    let question = known.get_mut(&link).and_then(|state: &mut Known| state.question.take());
                    let answer = if yes { reply(250, "", "Ok") } else { reply(550, "", "No") };
                    let was_asked = rig.respond(link, answer);
                    prop_assert!(question.is_some() || !was_asked);
                    if let Some(question) = question && was_asked {
                        let state = known.get_mut(&link).unwrap();
                        state.in_transaction = match question {
                            ServerEvent::Mail { .. } => yes,
                            ServerEvent::EndOfContent { .. } | ServerEvent::Credentials { .. } => false,
                            _ => true,
                        };
                    }
                    rig.act();
                }
                Happening::Wait(minutes) => drop(rig.wait(MINUTE * minutes as u32)),
                Happening::Run => drop(rig.run()),
                Happening::Network(writes) => {
                    rig.writes = writes;
                    rig.write();
                    rig.act();
                }
                Happening::Shutdown => rig.shutdown(),
            }
            for event in mem::take(&mut rig.events) {
                prop_assert_eq!(finished, 0);
                finished += usize::from(event == ServerEvent::Finished);
                learn(&mut known, event);
            }
        }
        prop_assert_eq!(finished, 1);
        prop_assert!(rig.finished);
        prop_assert!(known.values().all(|state| state.closed));
    }
}
