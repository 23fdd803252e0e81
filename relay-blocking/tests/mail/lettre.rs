//! lettre's messages the whole way: client, relay, server.

use super::{BOB, binding::Blocking, client_of, start_relay};
use lettre::{
    Message, Transport,
    message::{Attachment, Mailbox, MultiPart, SinglePart},
};
use relay_blocking::mail::lettre::RelayTransport;
use relay_testkit::mail::MailServer;

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

#[test]
fn a_letter_with_an_attachment_arrives_byte_for_byte_and_the_refused_are_named() {
    let mx = MailServer::<Blocking>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let mailer = RelayTransport::from_url(&format!("ws://{address}/"), "good").unwrap();
    let every_byte: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let attachment = Attachment::new("every byte.bin".to_owned());
    let letter = Message::builder()
        .from(mailbox("Alice <alice@example.org>"))
        .to(mailbox(BOB))
        .to(mailbox("mallory@example.net"))
        .subject("Grüße")
        .message_id(None)
        .multipart(
            MultiPart::mixed()
                .singlepart(SinglePart::html("<p>Hello, Bob.</p>\n.\n".to_owned()))
                .singlepart(
                    attachment.body(every_byte, "application/octet-stream".parse().unwrap()),
                ),
        )
        .unwrap();
    let receipt = mailer.send(&letter).unwrap();
    assert_eq!(receipt.reply.to_string(), "250 2.0.0 taken");
    assert_eq!(receipt.rejected[0].0.to_string(), "<mallory@example.net>");
    assert!(mx.delivered() == letter.formatted());
}

#[test]
fn an_end_and_a_refusal_have_lettres_names() {
    let mx = MailServer::<Blocking>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let mailer = RelayTransport::from(client_of(address));
    let letter = |to| {
        let builder = Message::builder().from(mailbox("Alice <alice@example.org>"));
        builder
            .to(mailbox(to))
            .subject("x")
            .body("hello\n".to_owned())
            .unwrap()
    };
    let refused = mailer.send(&letter("mallory@example.net")).unwrap_err();
    assert!(refused.is_permanent(), "{refused}");
    assert_eq!(
        refused.status().map(|code| code.to_string()),
        Some("550".into())
    );
    mailer.shutdown();
    let late = mailer.send(&letter(BOB)).unwrap_err();
    assert!(late.is_transport_shutdown(), "{late}");
}
