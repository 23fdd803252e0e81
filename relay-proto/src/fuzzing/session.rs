//! The server's side of an SMTP conversation against a client that says anything.

use crate::smtp::{
    Authentication, Credentials, ReplyParser, Request, Security, Session, SessionConfig, reply,
};
use alloc::vec::Vec;
use bytes::BytesMut;

const MAX_RECIPIENTS: usize = 3;
const MAX_MESSAGE_BYTES: usize = 64;

/// The longest line: one with a message of AUTH.
const MAX_LINE: usize = 12_288;

/// Where pieces matter. How the session refuses a DATA by itself: what is behind it in the same piece is content, what comes
/// later is commands. And where TLS begins: what is behind STARTTLS in the same piece is dropped.
const PIECES_MATTER: [&[u8]; 4] = [
    b"Ready to start TLS",
    b"No valid recipients",
    b"Need MAIL command",
    b"Content has begun with BDAT",
];

/// The conversation is the same however the client's bytes arrive, and lawful also where they are refused.
pub fn smtp_session(input: &[u8]) {
    let (size, input) = super::piece_size(input);
    let whole = converse([input].into_iter(), true);
    for size in [size, 1] {
        let pieces = converse(input.chunks(size), true);
        assert_eq!(comparable(&pieces), comparable(&whole));
    }
    converse(input.chunks(size), false);
}

/// Everything the session said and asked, in order, with the content of each message in one piece.
fn converse<'a>(pieces: impl Iterator<Item = &'a [u8]>, takes_content: bool) -> Vec<u8> {
    let mut config = SessionConfig::new("mx.example".parse().expect("a host name"));
    config.max_recipients = MAX_RECIPIENTS;
    config.max_message_bytes = Some(MAX_MESSAGE_BYTES as u64);
    config.max_errors = 5;
    config.capabilities.chunking = true;
    config.security = Security::StartTls;
    config.authentication = Some(Authentication {
        required: false,
        in_clear: true,
        max_failures: 3,
    });
    let mut conversation = Conversation {
        session: Session::new(config),
        replies: ReplyParser::new(),
        transcript: Vec::new(),
        stage: Stage::Idle,
        takes_content,
    };
    conversation.session.greet(reply(220, "", "mx.example"));
    conversation.drain();
    for piece in pieces {
        conversation.session.handle_bytes(piece);
        conversation.drain();
    }
    conversation.transcript
}

/// The transcript as far as it does not depend on the pieces.
fn comparable(transcript: &[u8]) -> &[u8] {
    let end = PIECES_MATTER
        .iter()
        .filter_map(|text| memchr::memmem::find(transcript, text))
        .min();
    &transcript[..end.unwrap_or(transcript.len())]
}

/// A session and its owner, who checks that what he is asked is in order.
struct Conversation {
    session: Session,
    replies: ReplyParser,
    transcript: Vec<u8>,
    stage: Stage,
    takes_content: bool,
}

enum Stage {
    Idle,
    Recipients(usize),
    Content(BytesMut),
    Over,
}

impl Conversation {
    fn drain(&mut self) {
        loop {
            let request = self.session.poll_request();
            let output = self.session.poll_output();
            if let Some(output) = &output {
                self.transcript.extend_from_slice(output);
                self.replies.push(output);
                while self.replies.next_reply().expect("lawful").is_some() {}
                assert!(self.replies.is_empty());
            }
            match request {
                Some(request) => self.answer(request),
                None if output.is_none() => break,
                None => {}
            }
        }
        assert!(self.session.buffered() < MAX_LINE);
        assert_eq!(self.session.poll_output(), None);
    }

    fn answer(&mut self, request: Request) {
        let stage = core::mem::replace(&mut self.stage, Stage::Over);
        let asked = alloc::format!("[{request:?}]");
        self.stage = match (request, stage) {
            (Request::Mail { reverse_path, .. }, Stage::Idle) => {
                let accepted = reverse_path
                    .address()
                    .is_none_or(|address| address.domain() != "no");
                self.respond(accepted, 250);
                if accepted {
                    Stage::Recipients(0)
                } else {
                    Stage::Idle
                }
            }
            (Request::Recipient(path), Stage::Recipients(count)) => {
                assert!(count < MAX_RECIPIENTS);
                let accepted = path
                    .address()
                    .is_none_or(|address| address.domain() != "no");
                self.respond(accepted, 250);
                Stage::Recipients(count + usize::from(accepted))
            }
            (Request::Data, Stage::Recipients(count)) => {
                assert_ne!(count, 0);
                self.respond(self.takes_content, 354);
                if self.takes_content {
                    Stage::Content(BytesMut::new())
                } else {
                    Stage::Recipients(count)
                }
            }
            // What comes by BDAT comes unasked.
            (Request::Content(piece), Stage::Recipients(1..)) => {
                assert!(piece.len() <= MAX_MESSAGE_BYTES);
                self.stage = Stage::Content(BytesMut::from(&piece[..]));
                return;
            }
            (Request::EndOfContent, Stage::Recipients(1..)) => {
                self.respond(true, 250);
                Stage::Idle
            }
            (Request::Content(piece), Stage::Content(mut content)) => {
                content.extend_from_slice(&piece);
                assert!(content.len() <= MAX_MESSAGE_BYTES);
                self.stage = Stage::Content(content);
                return;
            }
            (Request::EndOfContent, Stage::Content(content)) => {
                self.transcript.extend_from_slice(&content);
                self.respond(content.len() % 2 == 0, 250);
                Stage::Idle
            }
            (Request::Credentials(credentials), Stage::Idle) => {
                self.session
                    .respond(if credentials == Credentials::new("alice", "sesame") {
                        reply(235, "2.7.0", "yes")
                    } else {
                        reply(535, "5.7.8", "no")
                    });
                Stage::Idle
            }
            (Request::StartTls, Stage::Idle) => {
                assert_eq!(self.session.buffered(), 0);
                self.session
                    .respond(reply(220, "2.0.0", "Ready to start TLS"));
                // In clear, and too late.
                self.session.handle_bytes(b"MAIL FROM:<evil@b>\r\n");
                assert_eq!(self.session.poll_request(), None);
                self.session.secured();
                assert_eq!(self.session.buffered(), 0);
                Stage::Idle
            }
            (Request::Reset, Stage::Recipients(_) | Stage::Content(_)) => Stage::Idle,
            (Request::Quit, Stage::Idle) => Stage::Over,
            (request, _) => panic!("{request:?} is out of order"),
        };
        self.transcript.extend_from_slice(asked.as_bytes());
    }

    fn respond(&mut self, accepted: bool, code: u16) {
        self.session.respond(if accepted {
            reply(code, "", "yes")
        } else {
            reply(550, "5.7.1", "no")
        });
    }
}
