use super::*;
use crate::smtp::{Address, Dialogue, ForwardPath, Request, Session, SessionConfig, reply};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use proptest::prelude::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn envelope(recipients: usize) -> Envelope {
    let recipients = (0..recipients).map(|index| address(&format!("r{index}@d.example")));
    Envelope::new(address("a@b.example"), recipients).unwrap()
}

fn offered() -> Capabilities {
    Capabilities {
        pipelining: true,
        chunking: true,
        ..Capabilities::default()
    }
}

fn flight(recipients: usize, content: &'static str) -> Flight {
    Flight::new(&offered(), envelope(recipients), content.into())
}

fn said(flight: &mut Flight, most: usize) -> Vec<String> {
    core::iter::from_fn(|| flight.poll_output(most))
        .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        .collect()
}

fn error(flight: &Flight) -> &DialogueError {
    match flight.outcome() {
        Some(Err(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_is_said_in_one_piece_where_it_fits() {
    let mut flight = flight(2, ".dot\nline");
    assert_eq!(
        said(&mut flight, 1000),
        [
            "MAIL FROM:<a@b.example>\r\nRCPT TO:<r0@d.example>\r\nRCPT TO:<r1@d.example>\r\nBDAT 12 LAST\r\n.dot\r\nline\r\n"
        ]
    );
    flight.handle_bytes(b"250 m\r\n250 r\r\n550 no\r\n");
    assert_eq!(flight.outcome(), None);
    flight.handle_bytes(b"250 queued\r\n");
    let Some(Ok(completed)) = flight.outcome() else {
        panic!("{:?}", flight.outcome());
    };
    assert_eq!(completed.reply.to_string(), "250 queued");
    assert_eq!(
        completed.accepted,
        [ForwardPath::from(address("r0@d.example"))]
    );
    assert_eq!(completed.rejected.len(), 1);
    assert_eq!(said(&mut flight, 1000), ["QUIT\r\n"]);
}

#[test]
fn content_is_handed_out_in_chunks_and_only_the_last_passes_the_end_of_data() {
    let mut flight = flight(1, "ab\r\ncd\n");
    let mut pieces = Vec::new();
    while !flight.is_past_end_of_data() {
        let piece = flight.poll_output(3).unwrap();
        pieces.push(String::from_utf8(piece.to_vec()).unwrap());
    }
    // The LF that was cut off its CR is in the first chunk already.
    assert_eq!(
        pieces,
        [
            "MAIL FROM:<a@b.example>\r\nRCPT TO:<r0@d.example>\r\nBDAT 4\r\nab\r\n",
            "BDAT 2\r\ncd",
            "BDAT 2 LAST\r\n\r\n"
        ]
    );
    flight.handle_bytes(b"250 m\r\n250 r\r\n250 c\r\n250 c\r\n250 queued\r\n");
    assert!(matches!(flight.outcome(), Some(Ok(_))));
}

#[test]
fn empty_content_and_a_lone_line_end_cut_in_two_are_chunks() {
    let mut empty = flight(1, "");
    assert!(said(&mut empty, 1)[0].ends_with("BDAT 0 LAST\r\n"));
    let mut cut = flight(1, "\r\n\r\n");
    let pieces = said(&mut cut, 1);
    assert!(pieces[0].ends_with("BDAT 2\r\n\r\n"), "{pieces:?}");
    assert_eq!(pieces[1..], ["BDAT 2\r\n\r\n", "BDAT 0 LAST\r\n"]);
}

#[test]
fn a_refusal_is_the_outcome_and_what_follows_it_is_consumed() {
    let mut refused = flight(2, "x\r\n");
    said(&mut refused, 1000);
    refused.handle_bytes(b"550 5.7.1 not you\r\n");
    let DialogueError::Refused { stage, reply, .. } = error(&refused) else {
        panic!("{refused:?}");
    };
    assert_eq!((*stage, reply.code().as_u16()), (Stage::Mail, 550));
    refused.handle_bytes(b"503 r\r\n503 r\r\n503 b\r\n");
    assert_eq!(said(&mut refused, 1000), ["QUIT\r\n"]);
    refused.handle_bytes(b"221 bye\r\n");
    assert!(matches!(
        error(&refused),
        DialogueError::Refused {
            stage: Stage::Mail,
            ..
        }
    ));

    let mut nobody = flight(2, "x\r\n");
    said(&mut nobody, 1000);
    nobody.handle_bytes(b"250 m\r\n550 a\r\n450 b\r\n");
    let DialogueError::NoRecipient { rejected } = error(&nobody) else {
        panic!("{nobody:?}");
    };
    assert_eq!(rejected.len(), 2);
    nobody.handle_bytes(b"554 no valid recipients\r\n");
    assert!(matches!(error(&nobody), DialogueError::NoRecipient { .. }));
}

#[test]
fn a_refusal_before_the_content_is_all_said_ends_it_there() {
    for (replies, stage) in [
        ("550 no\r\n", Stage::Mail),
        ("250 m\r\n250 r\r\n552 5.3.4 too much\r\n", Stage::Content),
    ] {
        let mut flight = flight(1, "0123456789");
        assert!(flight.poll_output(4).is_some());
        flight.handle_bytes(replies.as_bytes());
        let DialogueError::Refused { stage: found, .. } = error(&flight) else {
            panic!("{flight:?}");
        };
        assert_eq!(*found, stage);
        assert_eq!(said(&mut flight, 4), ["QUIT\r\n"]);
        assert!(!flight.is_past_end_of_data());
    }
}

#[test]
fn a_421_is_not_answered() {
    for (replies, stage) in [
        ("421 m\r\n", Stage::Mail),
        ("250 m\r\n421 r\r\n", Stage::Recipient),
        ("250 m\r\n250 r\r\n421 c\r\n", Stage::Content),
        ("250 m\r\n250 r\r\n250 c\r\n421 u\r\n", Stage::Content),
    ] {
        let mut flight = flight(1, "0123456789");
        assert!(flight.poll_output(4).is_some());
        flight.handle_bytes(replies.as_bytes());
        let DialogueError::Refused { stage: found, .. } = error(&flight) else {
            panic!("{replies}: {flight:?}");
        };
        assert_eq!(*found, stage, "{replies}");
        assert!(said(&mut flight, 4).is_empty(), "{replies}");
    }
}

#[test]
fn a_server_that_does_not_keep_to_the_order_is_found_out() {
    let cases = [
        ("", "250 surplus\r\n", Stage::Mail),
        ("said", "354 go\r\n", Stage::Mail),
        ("said", "250 m\r\n354 r\r\n", Stage::Recipient),
        ("said", "250 m\r\n250 r\r\n354 b\r\n", Stage::EndOfData),
    ];
    for (says, replies, stage) in cases {
        let mut flight = flight(1, "x\r\n");
        if !says.is_empty() {
            said(&mut flight, 1000);
        }
        flight.handle_bytes(replies.as_bytes());
        let DialogueError::OutOfTurn { stage: found, .. } = error(&flight) else {
            panic!("{replies}: {flight:?}");
        };
        assert_eq!(*found, stage, "{replies}");
    }
    let mut garbled = flight(1, "x\r\n");
    said(&mut garbled, 1000);
    garbled.handle_bytes(b"250 m\r\nwhat?\r\n");
    assert!(matches!(
        error(&garbled),
        DialogueError::Garbled {
            stage: Stage::Recipient,
            ..
        }
    ));
    assert!(said(&mut garbled, 1000).is_empty());
}

#[test]
fn what_the_server_does_not_offer_is_named_and_nothing_is_sent() {
    let cases = [
        (
            Capabilities {
                chunking: false,
                ..offered()
            },
            "CHUNKING",
            "x",
        ),
        (
            Capabilities {
                pipelining: false,
                ..offered()
            },
            "PIPELINING",
            "x",
        ),
        (offered(), "8BITMIME", "\u{e9}"),
    ];
    for (offered, missing, content) in cases {
        let mut flight = Flight::new(&offered, envelope(1), content.into());
        let DialogueError::Unsupported { extension, .. } = error(&flight) else {
            panic!("{flight:?}");
        };
        assert_eq!(*extension, missing);
        assert_eq!(said(&mut flight, 1000), ["QUIT\r\n"]);
        assert!(!flight.is_past_end_of_data());
    }
}

#[test]
fn debug_shows_no_content() {
    let shown = format!("{:?}", flight(1, "secret"));
    assert!(
        !shown.contains("secret") && shown.contains("content_bytes: 6"),
        "{shown}"
    );
}

/// A server that answers MAIL, each RCPT and the end of content with these codes, and remembers what it took.
struct Server {
    session: Session,
    mail: u16,
    recipients: Vec<u16>,
    end: u16,
    asked: usize,
    content: Vec<u8>,
    delivered: Vec<Vec<u8>>,
}

impl Server {
    fn serve(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.session.handle_bytes(bytes);
        let mut said = Vec::new();
        loop {
            let code = match self.session.poll_request() {
                Some(Request::Mail { .. }) => self.mail,
                Some(Request::Recipient(_)) => {
                    self.asked += 1;
                    self.recipients[self.asked - 1]
                }
                Some(Request::Data) => 354,
                Some(Request::Content(content)) => {
                    self.content.extend_from_slice(&content);
                    continue;
                }
                Some(Request::EndOfContent) => {
                    if self.end < 300 {
                        self.delivered.push(core::mem::take(&mut self.content));
                    }
                    self.end
                }
                Some(_) => continue,
                None => match self.session.poll_output() {
                    Some(output) => {
                        said.extend_from_slice(&output);
                        continue;
                    }
                    None => return said,
                },
            };
            self.session
                .respond(reply(code, "", format!("answer {code}")));
        }
    }
}

/// Lets the two talk until neither has more to say.
fn talk(conversation: &mut dyn Conversation, server: &mut Server, most: usize, first: &[u8]) {
    let mut heard = first.to_vec();
    loop {
        conversation.handle_bytes(&heard);
        let mut said = Vec::new();
        while let Some(output) = conversation.poll_output(most) {
            said.extend_from_slice(&output);
        }
        if said.is_empty() {
            return;
        }
        heard = server.serve(&said);
    }
}

proptest! {
    /// Whoever refuses what, a flight comes to the outcome that a dialogue comes to, and delivers the same.
    #[test]
    fn a_flight_ends_as_a_dialogue_does(
        mail in prop::sample::select(vec![250_u16, 250, 250, 251, 421, 451, 550]),
        recipients in prop::collection::vec(prop::sample::select(vec![250_u16, 250, 251, 421, 450, 550, 553]), 1..5),
        end in prop::sample::select(vec![250_u16, 250, 421, 452, 554]),
        max_recipients in 1_usize..5,
        max_message_bytes in prop::option::of(5_u64..60),
        content in prop::collection::vec(prop::sample::select(b"a.\r\n\xe9".to_vec()), 0..40),
        most in 1_usize..50,
    ) {
        let mut config = SessionConfig::new("mx.example".parse().unwrap()).with_chunking();
        config.max_recipients = max_recipients;
        config.max_message_bytes = max_message_bytes;
        config.require_hello = false;
        let server = || {
            let mut session = Session::new(config.clone());
            session.greet(reply(220, "", "mx.example"));
            Server {
                session,
                mail,
                recipients: recipients.clone(),
                end,
                asked: 0,
                content: Vec::new(),
                delivered: Vec::new(),
            }
        };
        let (mut lockstep, mut pipelined) = (server(), server());
        let content = Bytes::from(content);
        let envelope = envelope(recipients.len());
        let host_name = "client.example".parse().unwrap();
        let mut dialogue = Dialogue::new(host_name, envelope.clone(), content.clone());
        let greeting = lockstep.serve(b"");
        talk(&mut dialogue, &mut lockstep, most, &greeting);

        let mut greeting = pipelined.serve(b"EHLO me\r\n");
        let ehlo = greeting.split_off("220 mx.example\r\n".len());
        let mut parser = ReplyParser::new();
        parser.push(&ehlo);
        let offered = Capabilities::from_reply(&parser.next_reply().unwrap().unwrap());
        let mut flight = Flight::new(&offered, envelope, content);
        talk(&mut flight, &mut pipelined, most, b"");

        prop_assert!(flight.outcome().is_some());
        prop_assert_eq!(flight.outcome(), dialogue.outcome());
        prop_assert_eq!(&pipelined.delivered, &lockstep.delivered);
        let is_delivered = matches!(flight.outcome(), Some(Ok(_)));
        prop_assert_eq!(pipelined.delivered.len(), usize::from(is_delivered));
        prop_assert!(!dialogue.is_past_end_of_data() || flight.is_past_end_of_data());
        prop_assert!(pipelined.session.is_closed());
    }
}
