//! Upstreams of every kind, compared.

use super::rig::{CLIENT, Rig, pooled};
use crate::{
    Input,
    mail::{relay::Policy, wire::Message},
    smtp::{
        Address, Capabilities, Conversation, Envelope, Flight, ForwardPath, Request, Session,
        SessionConfig, reply,
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use proptest::prelude::*;

const ENVELOPE: &str =
    "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@f.example>\r\n";

/// An SMTP server at the upstream's end of the rig, which refuses what it is told to.
struct Mailbox {
    session: Session,
    refuses: Vec<&'static str>,
    recipients: Vec<ForwardPath>,
    content: Vec<u8>,
    delivered: Vec<Delivered>,
}

impl Mailbox {
    fn new(pipelining: bool, chunking: bool, refuses: &[&'static str]) -> Self {
        let mut config = SessionConfig::new("mx.example".parse().unwrap());
        config.capabilities = Capabilities {
            pipelining,
            chunking,
            ..Capabilities::default()
        };
        let mut session = Session::new(config);
        session.greet(reply(220, "", "mx.example ESMTP"));
        Self {
            session,
            refuses: refuses.to_vec(),
            recipients: Vec::new(),
            content: Vec::new(),
            delivered: Vec::new(),
        }
    }

    fn serve(&mut self, heard: &str) -> String {
        self.session.handle_bytes(heard.as_bytes());
        let mut said = Vec::new();
        loop {
            let request = self.session.poll_request();
            let name = match &request {
                Some(Request::Mail { .. }) => "MAIL".to_string(),
                Some(Request::Recipient(to)) => to.to_string(),
                Some(Request::Data) => "DATA".to_string(),
                Some(Request::EndOfContent) => "END".to_string(),
                _ => String::new(),
            };
            let refused = self.refuses.iter().any(|refused| name.contains(refused));
            let answer = if refused {
                reply(550, "", format!("no {name}"))
            } else {
                reply(250, "", format!("ok {name}"))
            };
            match request {
                Some(Request::Mail { .. }) => self.recipients.clear(),
                Some(Request::Recipient(to)) if !refused => self.recipients.push(to),
                Some(Request::Data) if !refused => {
                    self.session.respond(reply(
                        354,
                        "",
                        "Start mail input; end with <CRLF>.<CRLF>",
                    ));
                    continue;
                }
                Some(Request::Content(content)) => self.content.extend_from_slice(&content),
                Some(Request::EndOfContent) => {
                    let content = core::mem::take(&mut self.content);
                    if !refused {
                        self.delivered
                            .push((core::mem::take(&mut self.recipients), content));
                    }
                }
                Some(Request::Reset) => self.content.clear(),
                None => match self.session.poll_output() {
                    Some(output) => {
                        said.extend_from_slice(&output);
                        continue;
                    }
                    None => return String::from_utf8(said).unwrap(),
                },
                _ => {}
            }
            if !name.is_empty() {
                self.session.respond(answer);
            }
        }
    }
}

/// Recipients and content.
type Delivered = (Vec<ForwardPath>, Vec<u8>);

/// Says this and returns what the client heard and what was delivered.
fn converse(
    (pipelining, chunking): (bool, bool),
    refuses: &[&'static str],
    script: &[&str],
) -> (String, Vec<Delivered>) {
    let mut rig = Rig::serving_with(pooled(), Policy::default());
    let mut mailbox = Mailbox::new(pipelining, chunking, refuses);
    rig.send(CLIENT, &Message::ChannelOpen);
    let upstream = rig.upstream();
    rig.input(Input::Opened { link: upstream });
    let said = mailbox.serve("");
    rig.upstream_says(upstream, &said);
    let mut heard = String::new();
    for says in script {
        rig.client_says(says);
        loop {
            let said = rig.upstream_hears(upstream);
            let said = mailbox.serve(&said);
            if said.is_empty() {
                break;
            }
            rig.upstream_says(upstream, &said);
        }
        heard.push_str(&rig.client_hears());
    }
    assert_eq!(rig.dialled(), 1);
    (heard, mailbox.delivered)
}

#[test]
fn a_flight_costs_its_client_one_round_trip_whatever_the_upstream_speaks() {
    for (pipelining, chunking) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut rig = Rig::serving_with(pooled(), Policy::default());
        let mut mailbox = Mailbox::new(pipelining, chunking, &["<e@"]);
        let offered = Capabilities {
            pipelining: true,
            chunking: true,
            ..Capabilities::default()
        };
        let address = |text: &str| text.parse::<Address>().unwrap();
        let recipients = ["c@d.example", "e@f.example"].map(address);
        let envelope = Envelope::new(address("a@b.example"), recipients).unwrap();
        let mut flight = Flight::new(&offered, envelope, ".dot\n".into());
        rig.start();
        let said = flight.poll_output(1024).unwrap();
        assert!(flight.is_past_end_of_data());
        rig.client_says(str::from_utf8(&said).unwrap());
        let upstream = rig.upstream();
        rig.input(Input::Opened { link: upstream });
        let mut heard = String::new();
        loop {
            let said = mailbox.serve(&heard);
            if said.is_empty() {
                break;
            }
            rig.upstream_says(upstream, &said);
            heard = rig.upstream_hears(upstream);
        }
        flight.handle_bytes(rig.client_hears().as_bytes());
        let Some(Ok(completed)) = flight.outcome() else {
            panic!("{:?}", flight.outcome());
        };
        assert_eq!((completed.accepted.len(), completed.rejected.len()), (1, 1));
        assert_eq!(mailbox.delivered[0].1, b".dot\r\n");
    }
}

proptest! {
    /// Whatever the upstream offers and refuses, and however the client cuts what it says, it hears the same, and the same is
    /// delivered.
    #[test]
    fn flights_change_nothing_but_the_number_of_round_trips(
        refusals in proptest::sample::subsequence(vec!["MAIL", "<c@", "<e@", "DATA", "END"], 0..=5),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        // A server without CHUNKING can refuse at DATA, which one with it does at the end.
        let can_differ = refusals.contains(&"DATA");
        for client_chunks in [false, true] {
            let content = if client_chunks { "BDAT 6 LAST\r\nx\r\n.y\n" } else { "DATA\r\n" };
            let flight = format!("{ENVELOPE}{content}");
            let after = match client_chunks {
                true => "RSET\r\n",
                false if refusals.iter().any(|at| matches!(*at, "MAIL" | "DATA"))
                    || (refusals.contains(&"<c@") && refusals.contains(&"<e@")) => "RSET\r\n",
                false => "x\r\n..y\r\n.\r\nRSET\r\n",
            };
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(flight.len())).collect();
            at.extend([0, flight.len()]);
            at.sort_unstable();
            let pieces = at.windows(2).map(|ends| &flight[ends[0]..ends[1]]);
            let script: Vec<&str> = pieces.chain([after, flight.as_str(), after]).collect();
            let lockstep = converse((false, false), &refusals, &script);
            for offered in [(true, false), (false, true), (true, true)] {
                if offered.1 && can_differ {
                    continue;
                }
                let other = converse(offered, &refusals, &script);
                prop_assert_eq!(&other, &lockstep, "{:?}", offered);
            }
            // Told by the refusals alone: two messages, or none.
            let nobody = ["<c@", "<e@"].iter().all(|recipient| refusals.contains(recipient));
            let refused = ["MAIL", "END"].iter().any(|at| refusals.contains(at));
            let delivered = if nobody || refused || can_differ { 0 } else { 2 };
            prop_assert_eq!(lockstep.1.len(), delivered);
        }
    }
}
