//! What a flood takes up, and what becomes of it.

use super::{
    peer::{MODERN, Peer, policy, take_message},
    rig::{CLIENT, Rig, config, pooled, seconds},
};
use crate::{
    CloseCode, Frame, Input, LinkId,
    mail::{
        relay::{Event, Policy, RelayConfig},
        wire::{Message, Word, encode_word},
    },
    session::{Body, Delivery, RetentionLimits, Session},
};
use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

/// A key of this account is granted on a new link; why not, if not.
fn arrive(rig: &mut Rig, number: u64, policy: Policy) -> Option<String> {
    let link = LinkId::accepted(number);
    rig.accept(link);
    rig.authenticate(link);
    rig.grant(link, policy);
    match rig.first_message(link) {
        Message::AuthenticateResponse(Ok(_)) => {
            assert!(rig.is_open(link));
            None
        }
        Message::AuthenticateResponse(Err(denied)) => {
            assert!(!denied.is_permanent());
            let retry_after = denied.retry_after.unwrap();
            assert!((seconds(5)..=seconds(10)).contains(&retry_after));
            assert_eq!(rig.close_code(link), Some(CloseCode::POLICY_VIOLATION));
            Some(denied.error)
        }
        other => panic!("{other:?}"),
    }
}

fn nothing_is_held(rig: &Rig) {
    assert_eq!(rig.pump.machine().held_bytes(), 0);
}

#[test]
fn an_account_has_so_many_links_and_is_told_when_to_come_for_another() {
    let mut rig = Rig::new(config());
    let alice = || Policy {
        max_links: Some(2),
        ..policy("alice")
    };
    assert_eq!(arrive(&mut rig, 0, alice()), None);
    assert_eq!(arrive(&mut rig, 1, alice()), None);
    let refused = arrive(&mut rig, 2, alice()).unwrap();
    assert_eq!(refused, "this API key has as many links as it may");
    let told = rig.events.iter().any(
        |event| matches!(event, Event::AuthenticationRefused { error, .. } if *error == refused),
    );
    assert!(told);
    assert_eq!(arrive(&mut rig, 3, policy("bob")), None);
    rig.lose(LinkId::accepted(1));
    assert_eq!(arrive(&mut rig, 4, alice()), None);
}

#[test]
fn ten_thousand_links_that_say_nothing_keep_nobody_out() {
    let mut rig = Rig::new(config());
    for number in 0..10_000 {
        rig.accept(LinkId::accepted(number));
    }
    assert_eq!(rig.pump.machine().links(), 888);
    let turned_away = |event: &&Event| {
        matches!(event, Event::TurnedAway { why, .. }
            if *why == "too many links from this address that are not authenticated")
    };
    assert_eq!(rig.events.iter().filter(turned_away).count(), 10_000 - 888);
    let last = LinkId::accepted(9_999);
    assert_eq!(rig.close_code(last), Some(CloseCode::TRY_AGAIN_LATER));
    // From elsewhere others come in, and in ten seconds from there, too.
    let other = LinkId::accepted(10_000);
    rig.accept_from(other, "2001:db8::1");
    assert!(rig.is_open(other));
    rig.pass(seconds(11));
    assert_eq!(rig.pump.machine().links(), 0);
    assert_eq!(arrive(&mut rig, 20_000, policy("alice")), None);
}

#[test]
fn the_links_of_one_account_leave_some_to_others() {
    let mut rig = Rig::new(RelayConfig {
        max_links: 45,
        ..config()
    });
    let refused = (0..45).find_map(|number| {
        let refused = arrive(&mut rig, number, policy("mallory"));
        refused.map(|refused| (number, refused))
    });
    let (granted, why) = refused.unwrap();
    assert_eq!(granted, 40);
    assert!(why.contains("while others need some"), "{why}");
    for number in 100..105 {
        let account = format!("account {number}");
        assert_eq!(arrive(&mut rig, number, policy(&account)), None);
    }
}

#[test]
fn a_client_that_comes_back_for_its_session_needs_no_further_link() {
    let mut rig = Rig::new(RelayConfig {
        max_links: 2,
        ..pooled()
    });
    let mut peer = Peer::connect(&mut rig, 0);
    // Its old link is dead, and nobody has noticed.
    assert_eq!(peer.resume(&mut rig, 1, "alice"), None);
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::GOING_AWAY));
    // For somebody else's session nothing is replaced.
    assert!(arrive(&mut rig, 2, policy("alice")).is_some());
}

#[test]
fn an_account_has_so_many_messages_under_way_in_all_its_sessions() {
    let mut rig = Rig::new(pooled());
    let mut peers: Vec<_> = (0..70).map(|link| Peer::connect(&mut rig, link)).collect();
    let mut other = Peer::connect_as(&mut rig, 100, "bob");
    let mut refused = 0;
    for (index, peer) in peers.iter_mut().enumerate() {
        let channels: Vec<_> = (0..64)
            .map(|number| peer.open(index as u128 * 64 + number, None))
            .collect();
        peer.talk(&mut rig);
        for channel in channels {
            match &*peer.hears(channel) {
                "[ready]" => {}
                "[error 421, later]" => refused += 1,
                heard => panic!("{heard}"),
            }
        }
        assert!(rig.is_open(peer.link));
    }
    assert_eq!(70 * 64 - refused, 4096);
    let channel = other.open(10_000, None);
    other.talk(&mut rig);
    assert_eq!(other.hears(channel), "[ready]");
    for peer in &mut peers {
        peer.cut(&mut rig);
    }
    other.cut(&mut rig);
    rig.pass(seconds(1000));
    nothing_is_held(&rig);
}

/// Opens a channel on which as much as the window lets waits for an upstream that takes nothing.
fn clog(rig: &mut Rig, peer: &mut Peer, number: u128) -> String {
    let channel = peer.open(number, None);
    peer.say(
        channel,
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 400000 LAST\r\n",
    );
    peer.say(channel, &"x".repeat(400_000));
    peer.talk(rig);
    peer.hears(channel)
}

#[test]
fn bytes_are_bounded_for_an_account_and_for_all() {
    let bounds: [fn(&mut RelayConfig, &mut Policy); 2] = [
        |_, alice| alice.max_held_bytes = Some(2_000_000),
        |config, _| config.max_held_bytes = 9 * 250_000,
    ];
    for bound in bounds {
        let (mut config, mut alice) = (pooled(), policy("alice"));
        bound(&mut config, &mut alice);
        let mut rig = Rig::new(config);
        let mut peer = Peer::connect_under(&mut rig, 0, alice);
        let mut accepted = 0;
        let heard = loop {
            let heard = clog(&mut rig, &mut peer, accepted);
            if heard != "[ready]" {
                break heard;
            }
            accepted += 1;
            assert!(accepted < 20);
        };
        assert_eq!(heard, "[error 421, later]");
        // A window is 256 KiB.
        assert!((7..=9).contains(&accepted), "{accepted}");
        let held = rig.pump.machine().held_bytes();
        assert!((1_900_000..2_600_000).contains(&held), "{held}");
        let mut other = Peer::connect_as(&mut rig, 1, "bob");
        let channel = other.open(100, None);
        other.talk(&mut rig);
        assert_eq!(other.hears(channel), "[ready]");
        // Whoever waits in vain gives it all back.
        rig.pass(seconds(9));
        peer.talk(&mut rig);
        let heard = clog(&mut rig, &mut peer, 200);
        assert_eq!(heard, "[ready]");
        peer.cut(&mut rig);
        other.cut(&mut rig);
        rig.pass(seconds(1000));
        nothing_is_held(&rig);
    }
}

#[test]
fn what_is_over_is_not_counted_any_more() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.send(1, None);
    peer.talk(&mut rig);
    assert!(rig.pump.machine().held_bytes() > 0);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    peer.close(channel);
    peer.talk(&mut rig);
    nothing_is_held(&rig);
}

#[test]
fn ten_thousand_channels_opened_and_closed_leave_nothing_behind() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    for number in 0..10_000 {
        let channel = peer.send(number, None);
        peer.close(channel);
        peer.talk(&mut rig);
    }
    assert!(rig.is_open(peer.link));
    assert!(rig.dialled() < 10, "{}", rig.dialled());
    nothing_is_held(&rig);
}

/// A client that sends whatever it likes, and acknowledges nothing as long as it receives nothing.
fn unbounded(rig: &mut Rig) -> Peer {
    let mut peer = Peer::connect(rig, 0);
    let limits = RetentionLimits::new(usize::MAX, usize::MAX);
    peer.session = Session::new(rig.now, Duration::MAX, limits);
    peer.session.attach(peer.link, 1).unwrap();
    peer
}

#[test]
fn whoever_opens_channels_without_end_and_acknowledges_nothing_is_cut() {
    let mut rig = Rig::new(pooled());
    let mut peer = unbounded(&mut rig);
    let mut number = 0;
    while rig.is_open(peer.link) {
        number += 1;
        assert!(number < 10_000, "never cut");
        let channel = peer.open(number, None);
        peer.close(channel);
        peer.flush(&mut rig);
        let held = rig.pump.machine().held_bytes();
        assert!(held < 1 << 20, "{held} after {number}");
    }
    assert_eq!(rig.close_code(CLIENT), Some(CloseCode::POLICY_VIOLATION));
    nothing_is_held(&rig);
}

#[test]
fn replies_nobody_takes_are_bounded_on_all_channels_of_a_session() {
    let mut rig = Rig::new(pooled());
    let mut peer = unbounded(&mut rig);
    let channels: Vec<_> = (0..64).map(|number| peer.open(number, None)).collect();
    for channel in channels {
        peer.say(channel, &"EHLO a\r\n".repeat(40_000));
    }
    peer.flush(&mut rig);
    let held = rig.pump.machine().held_bytes();
    let most = 64 * (256 + 64 + 64) * 1024 + (2 << 20);
    assert!(held > 1 << 20 && held < most, "{held} of {most}");
    // It has acknowledged nothing, and says nothing any more.
    rig.pass(seconds(1000));
    nothing_is_held(&rig);
}

#[test]
fn credit_of_a_byte_at_a_time_costs_one_frame_each() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.open(1, None);
    // More replies than its window takes.
    peer.say(channel, &"NOOP\r\n".repeat(20_000));
    let mut heard = Vec::new();
    let mut hear = |rig: &mut Rig, peer: &mut Peer| {
        while peer.flush(rig) {
            for frame in rig.sent(peer.link) {
                let Frame::Binary(frame) = frame else {
                    continue;
                };
                let new = peer.session.handle_frame(peer.link, &frame).unwrap();
                if let Some(Delivery { seq, body }) = new {
                    peer.session.take_over(seq);
                    if let Body::Data { payload, .. } = body {
                        heard.push(payload.len());
                    }
                }
            }
        }
        (heard.len(), heard.iter().sum::<usize>())
    };
    let (before, bytes) = hear(&mut rig, &mut peer);
    assert_eq!(bytes, 256 * 1024);
    for _ in 0..1000 {
        let word = Word::Credit { channel, bytes: 1 };
        peer.channels.announce(encode_word(&word));
        hear(&mut rig, &mut peer);
    }
    let (frames, bytes) = hear(&mut rig, &mut peer);
    assert_eq!((frames - before, bytes), (1000, 256 * 1024 + 1000));
    assert!(rig.is_open(peer.link));
}

#[test]
fn sessions_nobody_comes_back_to_cost_their_own_account_only() {
    let mut config = pooled();
    // As many sessions an account may have.
    config.max_links = 1000;
    let mut rig = Rig::new(config);
    let mut other = Peer::connect_as(&mut rig, 0, "bob");
    other.cut(&mut rig);
    for number in 1..1200 {
        let mut peer = Peer::connect(&mut rig, number);
        peer.open(u128::from(number), None);
        peer.talk(&mut rig);
        peer.cut(&mut rig);
    }
    let relay = rig.pump.machine();
    assert_eq!(relay.fronts.sessions.len(), 1001);
    assert_eq!(relay.channels.len(), 1000);
    assert_eq!(other.resume(&mut rig, 2000, "bob"), None);
    other.cut(&mut rig);
    rig.pass(seconds(121));
    assert_eq!(rig.pump.machine().fronts.sessions.len(), 0);
    nothing_is_held(&rig);
}

#[test]
fn of_a_hundred_thousand_recipients_a_hundred_are_taken() {
    let (mut rig, upstream) = Rig::open(Policy::default());
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    rig.upstream_says(upstream, "250 fine\r\n");
    for number in 0..100 {
        rig.client_says(&format!("RCPT TO:<r{number}@d.example>\r\n"));
        rig.upstream_says(upstream, "250 fine\r\n");
    }
    rig.upstream_hears(upstream);
    rig.client_hears();
    for _ in 0..100 {
        rig.client_says(&"RCPT TO:<more@d.example>\r\n".repeat(1000));
        let refusals = rig.client_hears().matches("452 4.5.3 ").count();
        assert_eq!(refusals, 1000);
        assert!(rig.pump.machine().held_bytes() < 64 * 1024);
    }
    assert_eq!(rig.upstream_hears(upstream), "");
    rig.client_says("DATA\r\n");
    assert_eq!(rig.upstream_hears(upstream), "DATA\r\n");
}

#[test]
fn refused_recipients_without_end_end_the_message() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.open(1, None);
    peer.say(channel, "MAIL FROM:<a@b.example>\r\n");
    peer.talk(&mut rig);
    let upstream = rig.greet("250 mx.example\r\n");
    rig.upstream_says(upstream, "250 fine\r\n");
    peer.talk(&mut rig);
    peer.hears(channel);
    let mut refused = 0;
    let heard = loop {
        peer.say(channel, &format!("RCPT TO:<r{refused}@d.example>\r\n"));
        peer.talk(&mut rig);
        rig.upstream_says(upstream, "550 5.1.1 nobody\r\n");
        peer.talk(&mut rig);
        let heard = peer.hears(channel);
        if heard != "550 5.1.1 nobody\r\n" {
            break heard;
        }
        refused += 1;
        assert!(refused < 2000);
    };
    assert_eq!(refused, 1000);
    assert!(heard.starts_with("421 4.5.3 "), "{heard}");
    assert!(heard.ends_with("[closed]"), "{heard}");
    assert!(rig.is_open(peer.link));

    // In one flight, with content behind them, of which the server hears nothing.
    let channel = peer.open(2, None);
    let recipients = "RCPT TO:<r@d.example>\r\n".repeat(1500);
    let content = "BDAT 3 LAST\r\nx\r\n";
    peer.say(
        channel,
        &format!("MAIL FROM:<a@b.example>\r\n{recipients}{content}"),
    );
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    let mut asked = 0;
    loop {
        let heard = rig.upstream_hears(upstream);
        assert!(!heard.contains("BDAT"), "{heard}");
        asked += heard.matches("RCPT").count();
        for line in heard.lines() {
            let refuses = line.starts_with("RCPT");
            rig.upstream_says(upstream, if refuses { "550 no\r\n" } else { "250 ok\r\n" });
        }
        if heard.is_empty() {
            break;
        }
    }
    assert!((1000..=1100).contains(&asked), "{asked}");
    peer.talk(&mut rig);
    let heard = peer.hears(channel);
    assert_eq!(heard.matches("550 no\r\n").count(), 1000);
    assert!(heard.contains("421 4.5.3 ") && heard.ends_with("[closed]"));
}

#[test]
fn frames_that_say_nothing_are_read_at_fifty_a_second_and_mail_goes_on_after_them() {
    let nothing = Frame::Text(r#"{"type":"NOTHING"}"#.into());
    let ping = Frame::Ping("?".into());
    let pong = Frame::Pong("?".into());
    for frame in [nothing, ping, pong] {
        let (mut rig, _) = Rig::open(Policy::default());
        assert!(rig.read_limit(CLIENT) > 0);
        let input = |frame: &Frame| Input::Frame {
            link: CLIENT,
            frame: frame.clone(),
        };
        for _ in 0..200 {
            rig.input(input(&frame));
            assert!(rig.read_limit(CLIENT) > 0);
        }
        // What was read before the driver has asked again.
        for _ in 0..50 {
            rig.input(input(&frame));
        }
        assert_eq!(rig.read_limit(CLIENT), 0);
        rig.pass(Duration::from_millis(999));
        assert_eq!(rig.read_limit(CLIENT), 0);
        rig.pass(Duration::from_millis(1));
        assert!(rig.read_limit(CLIENT) > 0);
        rig.client_says("NOOP\r\n");
        assert_eq!(rig.client_hears_smtp(), "250 2.0.0 Ok\r\n");
    }
}

#[test]
fn acknowledgements_of_nothing_new_are_too_many_at_some_time() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    for _ in 0..250 {
        peer.session.beat();
        assert!(peer.flush(&mut rig));
    }
    assert_eq!(rig.read_limit(CLIENT), 0);
    rig.pass(seconds(1));
    assert!(rig.read_limit(CLIENT) > 0);
}
