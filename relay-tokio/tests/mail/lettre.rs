//! lettre's messages the whole way: client, relay, server.

use super::{binding::Tokio, client_of, start_relay};
use lettre::{
    Address, AsyncTransport, Message,
    address::Envelope,
    message::{Mailbox, header},
};
use relay_tokio::{
    Config,
    mail::{Client, lettre::RelayTransport},
};

use relay_testkit::mail::{MailServer, client_config};

#[path = "../../examples/lettre.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod example;

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_html_and_images_arrive_byte_for_byte() {
    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let mailer = RelayTransport::from_url(&format!("ws://{address}/"), "good").unwrap();
    let letter = example::letter("alice@example.org", "bob@example.net").unwrap();
    let formatted = letter.formatted();
    assert!(formatted.len() > 130_000, "the file is in it");
    let receipt = mailer.send(letter).await.unwrap();
    assert_eq!(receipt.reply.to_string(), "250 2.0.0 taken");
    assert!(mx.delivered() == formatted);

    mailer.shutdown().await;
    let late = example::letter("alice@example.org", "bob@example.net").unwrap();
    let error = mailer.send(late).await.unwrap_err();
    assert!(error.is_transport_shutdown(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refused_are_named_and_blind_copies_stay_blind() {
    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let mailer = RelayTransport::from(client_of(address));
    let message = |to: &[&str]| {
        let mut builder = Message::builder()
            .from(mailbox("Alice <alice@example.org>"))
            .bcc(mailbox("carol@example.com"));
        for to in to {
            builder = builder.to(mailbox(to));
        }
        builder.subject("x").body("hello\n".to_owned()).unwrap()
    };
    let receipt = mailer
        .send(message(&["bob@example.net", "mallory@example.net"]))
        .await
        .unwrap();
    let accepted: Vec<_> = receipt.accepted.iter().map(ToString::to_string).collect();
    assert_eq!(accepted, ["<bob@example.net>", "<carol@example.com>"]);
    assert_eq!(receipt.rejected[0].0.to_string(), "<mallory@example.net>");
    let arrived = String::from_utf8(mx.delivered()).unwrap();
    assert!(!arrived.contains("carol"), "{arrived}");

    let nobody = Message::builder()
        .from(mailbox("alice@example.org"))
        .to(mailbox("mallory@example.net"))
        .body(String::new())
        .unwrap();
    let error = mailer.send(nobody).await.unwrap_err();
    assert!(error.is_permanent() && !error.is_transient());
    assert_eq!(error.status().map(|code| code.as_u16()), Some(550));
    assert_eq!(error.rejected()[0].1.text(), "No such user");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_messages_go_as_they_are_unless_an_address_is_none() {
    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let mailer = RelayTransport::from(client_of(address));
    let bob: Address = "bob@example.net".parse().unwrap();
    let content = b"Subject: raw\r\n\r\n.\r\n..dots, \xff and no Message-ID\r\n";
    let report = Envelope::new(None, vec![bob.clone()]).unwrap();
    mailer.send_raw(&report, content).await.unwrap();
    assert_eq!(mx.delivered(), content);

    let smuggled = Address::new_dangerous("bob>\r\nRSET\r\nMAIL FROM:<eve", "example.net");
    let hostile = Envelope::new(Some(bob), vec![smuggled]).unwrap();
    let error = mailer.send_raw(&hostile, content).await.unwrap_err();
    let expected = r#""bob>\r\nRSET\r\nMAIL FROM:<eve@example.net" is not an address"#;
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(mailer.client().stats().await.unwrap().queued, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_can_be_written_for_any_transport() {
    async fn send_with<T: AsyncTransport + Send + Sync>(mailer: &T) -> Result<T::Ok, T::Error> {
        let message = Message::builder()
            .from(mailbox("alice@example.org"))
            .to(mailbox("bob@example.net"))
            .header(header::ContentType::TEXT_PLAIN)
            .body("hello\n".to_owned())
            .unwrap();
        mailer.send(message).await
    }
    let mx = MailServer::<Tokio>::start();
    let (_relay, address) = start_relay(mx.address(), None);
    let mut wrong = client_config(&format!("ws://{address}/"));
    wrong.api_key = relay_proto::mail::wire::ApiKey::new("wrong");
    let wrong = RelayTransport::from(Client::start(wrong, Config::default()));
    let error = send_with(&wrong).await.unwrap_err();
    assert!(error.is_permanent() && error.status().is_none(), "{error}");
    send_with(&RelayTransport::from(client_of(address)))
        .await
        .unwrap();
    assert!(mx.delivered().ends_with(b"hello\r\n"));
}
