//! Upstreams that want TLS, and to know who the relay is.

use super::rig::{CLIENT, Rig, config};
use crate::{
    Input, LinkId,
    mail::{
        relay::{Event, Policy, RelayConfig},
        wire::Message,
    },
    smtp::{Access, Credentials},
};

const OFFER: &str = "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n";

/// A channel that waits for an upstream, which has been greeted and has said this to EHLO.
fn opening(offer: &str) -> (Rig, LinkId) {
    let config = RelayConfig {
        upstream_access: Access {
            start_tls: true,
            credentials: Some(Credentials::new("alice", "sesame")),
        },
        ..config()
    };
    let mut rig = Rig::serving_with(config, Policy::default());
    rig.send(CLIENT, &Message::ChannelOpen);
    let link = rig.upstream();
    rig.input(Input::Opened { link });
    rig.upstream_says(link, "220 mx\r\n");
    assert_eq!(rig.upstream_hears(link), "EHLO relay.example\r\n");
    rig.upstream_says(link, offer);
    (rig, link)
}

/// What the client and what the operator is told.
fn trouble(rig: &mut Rig) -> (alloc::string::String, alloc::string::String) {
    let [Message::ChannelError(error)] = &rig.messages(CLIENT)[..] else {
        panic!("no error");
    };
    let [Event::ChannelFailed { why, .. }] = &rig.events[..] else {
        panic!("{:?}", rig.events);
    };
    (error.error.clone(), why.clone())
}

#[test]
fn a_channel_is_ready_when_the_upstream_knows_the_relay_behind_tls() {
    let (mut rig, link) = opening(OFFER);
    assert_eq!(rig.upstream_hears(link), "STARTTLS\r\n");
    rig.upstream_says(link, "220 go\r\n");
    // Nothing in clear counts from here on, and nothing is said.
    rig.upstream_says(link, "250 evil\r\n");
    assert_eq!(rig.upstream_hears(link), "");
    rig.input(Input::Secured { link });
    assert_eq!(rig.upstream_hears(link), "EHLO relay.example\r\n");
    rig.upstream_says(link, "250-mx\r\n250 AUTH PLAIN\r\n");
    let auth = "AUTH PLAIN AGFsaWNlAHNlc2FtZQ==\r\n";
    assert_eq!(rig.upstream_hears(link), auth);
    assert!(rig.messages(CLIENT).is_empty());
    rig.upstream_says(link, "235 welcome\r\n");
    assert!(matches!(
        rig.messages(CLIENT)[..],
        [Message::ChannelReady, Message::FromServer(_)]
    ));
    // A driver that says so twice changes nothing.
    rig.input(Input::Secured { link });
    assert_eq!(rig.upstream_hears(link), "");
}

#[test]
fn a_reply_that_comes_with_the_agreement_to_tls_ends_the_link() {
    for more in ["250-evil", "250 evil\r\n"] {
        let (mut rig, link) = opening(OFFER);
        rig.upstream_says(link, &alloc::format!("220 go\r\n{more}"));
        let (client, operator) = trouble(&mut rig);
        assert!(client.ends_with("broke the SMTP protocol"), "{client}");
        assert!(operator.contains("a reply ahead of TLS"), "{operator}");
        assert!(rig.close_code(link).is_some());
    }
}

#[test]
fn an_upstream_without_tls_gets_no_password_and_no_mail() {
    let (mut rig, link) = opening("250-mx\r\n250 AUTH PLAIN\r\n");
    assert_eq!(rig.upstream_hears(link), "");
    let (client, _) = trouble(&mut rig);
    assert!(client.contains("does not offer STARTTLS"), "{client}");
    assert!(rig.close_code(link).is_some());
}

#[test]
fn why_the_relay_is_not_let_in_is_for_its_operator() {
    let (mut rig, link) = opening(OFFER);
    rig.upstream_says(link, "220 go\r\n");
    rig.input(Input::Secured { link });
    rig.upstream_says(link, OFFER);
    rig.upstream_says(link, "535 5.7.8 alice is on holiday\r\n");
    let (client, operator) = trouble(&mut rig);
    assert!(client.contains("does not let this relay in"), "{client}");
    assert!(!client.contains("alice"), "{client}");
    assert!(operator.contains("535 5.7.8 alice is on holiday"));
}
