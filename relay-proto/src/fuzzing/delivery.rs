//! Both sides of an SMTP conversation, joined.

use super::{driver::Choices, with_line_ends_mended};
use crate::smtp::{
    Address, Conversation, Dialogue, Envelope, ForwardPath, Request, Session, SessionConfig, reply,
};
use alloc::{format, vec::Vec};
use bytes::Bytes;

const MAX_MESSAGE_BYTES: u64 = 1024;

/// Whatever is sent, whatever the server refuses, and however the bytes arrive: client and server agree on what
/// was delivered to whom.
pub fn smtp_delivery(input: &[u8]) {
    let mut choices = Choices(input);
    let size = usize::from(choices.byte()).max(1);
    let from: Address = "a@b.example".parse().expect("an address");
    let recipients = (0..=choices.byte() % 4).map(|number| {
        format!("c{number}@d.example")
            .parse::<Address>()
            .expect("an address")
    });
    let envelope = Envelope::new(from, recipients).expect("there are recipients");
    let mut choices_of_server = Choices(choices.bytes(6));
    let content = Bytes::copy_from_slice(choices.0);

    let host_name = || "a.example".parse().expect("a host name");
    let mut dialogue = Dialogue::new(host_name(), envelope, content.clone());
    let mut config = SessionConfig::new(host_name());
    config.max_message_bytes = Some(MAX_MESSAGE_BYTES);
    let mut session = Session::new(config);
    session.greet(reply(220, "", "b.example"));

    let mut said = |usual: u16| match choices_of_server.byte() % 8 {
        0 => reply(451, "", "later"),
        1 => reply(550, "", "no"),
        2 => reply(421, "", "bye"),
        _ => reply(usual, "", "yes"),
    };
    let (mut accepted, mut received, mut delivered) = (Vec::new(), Vec::new(), None);
    loop {
        let request = session.poll_request();
        let from_server = session.poll_output();
        for piece in from_server.iter().flat_map(|bytes| bytes.chunks(size)) {
            dialogue.handle_bytes(piece);
        }
        let asked = request.is_some();
        match request {
            Some(Request::Mail { .. }) => session.respond(said(250)),
            Some(Request::Recipient(path)) => {
                let answer = said(250);
                if answer.is_positive() {
                    accepted.push(path);
                }
                session.respond(answer);
            }
            Some(Request::Data) => session.respond(said(354)),
            Some(Request::Content(piece)) => received.extend_from_slice(&piece),
            Some(Request::EndOfContent) => {
                let answer = said(250);
                delivered = Some(answer.is_positive());
                session.respond(answer);
            }
            _ => {}
        }
        let from_client = dialogue.poll_output(size);
        for piece in from_client.iter().flat_map(|bytes| bytes.chunks(size)) {
            session.handle_bytes(piece);
        }
        if !asked && from_server.is_none() && from_client.is_none() {
            break;
        }
    }

    match dialogue.outcome().expect("nobody has more to say") {
        Ok(completed) => {
            assert_eq!(delivered, Some(true));
            assert_eq!(received, with_line_ends_mended(&content));
            assert_eq!(completed.accepted, accepted);
        }
        Err(error) => {
            assert_ne!(delivered, Some(true), "{error}");
            let refused: Vec<ForwardPath> = error
                .rejected()
                .iter()
                .map(|(path, _)| path.clone())
                .collect();
            assert!(refused.iter().all(|path| !accepted.contains(path)));
        }
    }
}
