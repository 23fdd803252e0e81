//! AUTH and STARTTLS, as a driver and an application see them.

use super::{MINUTE, Rig, config, link};
use crate::{
    Action, Frame, Input, LinkId, Machine, Time,
    smtp::{Authentication, Security, Server, ServerConfig, reply},
};
use alloc::vec::Vec;
use core::net::IpAddr;

const AUTH: &str = "AUTH PLAIN AGFsaWNlAHNlc2FtZQ==\r\n";

fn asking(security: Security) -> ServerConfig {
    let mut config = config();
    config.session.security = security;
    config.session.authentication = Some(Authentication::required());
    config
}

#[test]
fn who_may_send_is_the_application_s_to_say() {
    let mut rig = Rig::new(asking(Security::Tls));
    rig.agrees = false;
    rig.accept(0);
    rig.say(0, "EHLO c\r\n");
    rig.say(0, AUTH);
    assert_eq!(rig.codes(0), [220, 250]);
    // However long it takes.
    assert_eq!(rig.wait(60 * MINUTE), None);
    assert_eq!(rig.news(), ["in-0 Credentials(\"alice\", …)"]);
    assert!(rig.respond(link(0), reply(535, "5.7.8", "No")));
    rig.say(0, "MAIL FROM:<a@b>\r\n");
    rig.say(0, AUTH);
    rig.news();
    assert!(rig.respond(link(0), reply(235, "2.7.0", "Yes")));
    rig.say(0, "MAIL FROM:<a@b>\r\n");
    assert_eq!(rig.codes(0), [535, 530, 235]);
    assert_eq!(rig.news(), ["in-0 Mail(<a@b>)"]);
}

#[test]
fn a_peer_on_this_machine_may_say_its_password_in_clear() {
    for (peer, code) in [
        ("127.0.0.1", 235),
        ("::ffff:127.0.0.1", 235),
        ("192.0.2.1", 538),
    ] {
        let mut rig = Rig::new(asking(Security::StartTls));
        let peer: IpAddr = peer.parse().unwrap();
        let (link, peer) = (link(0), Some(peer));
        rig.input(Input::Accepted { link, peer });
        rig.say(0, "EHLO c\r\n");
        rig.say(0, AUTH);
        assert_eq!(rig.codes(0), [220, 250, code], "{peer:?}");
    }
}

#[test]
fn tls_is_started_behind_the_reply_and_nothing_read_until_then() {
    let mut server = Server::new(asking(Security::StartTls));
    let (now, link) = (Time::ZERO, link(0));
    server.handle_input(now, Input::Accepted { link, peer: None });
    say(&mut server, link, "EHLO c\r\n");
    while server.poll_action().is_some() {}
    say(&mut server, link, "STARTTLS\r\nMAIL FROM:<evil@b>\r\n");
    // Before any of it is carried out: else the driver could read the peer's first words of TLS.
    assert_eq!(server.read_limit(link), 0);
    let ready = Frame::Binary("220 2.0.0 Ready to start TLS\r\n".into());
    let actions: Vec<_> = core::iter::from_fn(|| server.poll_action()).collect();
    assert_eq!(
        actions,
        [
            Action::Send { link, frame: ready },
            Action::StartTls { link }
        ]
    );
    say(&mut server, link, "MAIL FROM:<evil@b>\r\n");
    server.handle_input(now, Input::Written { link });
    assert_eq!((server.poll_action(), server.read_limit(link)), (None, 0));
    // The driver bounds how long it takes.
    assert_eq!(server.deadline(), None);
    server.handle_input(now, Input::Secured { link });
    assert_eq!(server.poll_action(), None);
    assert!(server.read_limit(link) > 0);
    assert!(server.deadline().is_some());
}

fn say(server: &mut Server, link: LinkId, text: &'static str) {
    let frame = Frame::Binary(text.into());
    server.handle_input(Time::ZERO, Input::Frame { link, frame });
}

#[test]
fn a_conversation_goes_on_behind_tls() {
    let mut rig = Rig::new(asking(Security::StartTls));
    rig.accept(0);
    rig.say(0, "EHLO c\r\nMAIL FROM:<a@b>\r\n");
    rig.say(0, "STARTTLS\r\n");
    assert_eq!(rig.codes(0), [220, 250, 530, 220]);
    rig.secure(0);
    rig.say(0, "EHLO c\r\n");
    rig.say(0, AUTH);
    rig.say(0, "MAIL FROM:<a@b>\r\nSTARTTLS\r\nQUIT\r\n");
    assert_eq!(rig.codes(0), [250, 235, 250, 503, 221]);
    // A driver that says so twice changes nothing.
    rig.input(Input::Secured { link: link(0) });
    assert_eq!(rig.sent(0), "");
}

#[test]
fn whoever_is_starting_tls_is_told_of_a_shutdown_behind_it() {
    for again in [false, true] {
        let mut rig = Rig::new(asking(Security::StartTls));
        rig.accept(0);
        rig.say(0, "EHLO c\r\nSTARTTLS\r\n");
        assert_eq!(rig.codes(0), [220, 250, 220]);
        rig.shutdown();
        assert!(!rig.finished);
        if again {
            // No time for that.
            rig.shutdown();
            assert_eq!(rig.sent(0), "");
        } else {
            rig.secure(0);
            rig.run();
            assert_eq!(rig.codes(0), [421]);
        }
        assert!(rig.finished);
    }
}
