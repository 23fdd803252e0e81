//! Connections that are kept for the next message.

use super::{
    peer::Peer,
    rig::{CLIENT, Rig, pooled, seconds, warm},
};
use crate::{
    Input, LinkId, Machine, OpenError,
    mail::{
        relay::{Event, Policy, RelayConfig},
        wire::Message,
    },
    smtp::Capabilities,
};
use alloc::{format, string::String};
use core::time::Duration;

const PLAIN: &str = "250 mx.example\r\n";
const FULL: &str = "250-mx.example\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";
const READY: &str = "[SMTP_CHANNEL_READY]220 relay.example ESMTP\r\n";

fn serving(config: RelayConfig) -> Rig {
    Rig::serving_with(config, Policy::default())
}

/// A relay with a client and a connection that has carried a message and is idle.
fn used(config: RelayConfig) -> (Rig, LinkId) {
    let (mut rig, upstream) = Rig::open_with(config, Policy::default(), PLAIN);
    deliver(&mut rig, upstream);
    close(&mut rig);
    assert_eq!(rig.upstream_hears(upstream), "");
    rig.events.clear();
    (rig, upstream)
}

/// A message from the open channel, on this connection.
fn deliver(rig: &mut Rig, upstream: LinkId) {
    for (client_says, upstream_says) in [
        ("MAIL FROM:<a@b.example>\r\n", "250 ok\r\n"),
        ("RCPT TO:<c@d.example>\r\n", "250 ok\r\n"),
        ("DATA\r\n", "354 go\r\n"),
        ("x\r\n.\r\n", "250 queued\r\n"),
    ] {
        rig.client_says(client_says);
        assert_eq!(rig.upstream_hears(upstream), client_says);
        rig.upstream_says(upstream, upstream_says);
        assert_eq!(rig.client_hears(), upstream_says);
    }
}

fn close(rig: &mut Rig) {
    rig.send(CLIENT, &Message::ChannelClosed { reason: None });
    assert_eq!(rig.client_hears(), "[closed]");
}

fn open(rig: &mut Rig) -> String {
    rig.send(CLIENT, &Message::ChannelOpen);
    rig.client_hears()
}

fn command(rig: &mut Rig, command: fn(&mut super::super::Relay, crate::Time)) {
    let now = rig.now;
    rig.pump.command(now, command);
    rig.run();
}

#[test]
fn the_next_channel_finds_the_connection_of_the_last() {
    let (mut rig, upstream) = used(pooled());
    for _ in 0..3 {
        assert_eq!(open(&mut rig), READY);
        deliver(&mut rig, upstream);
        deliver(&mut rig, upstream);
        close(&mut rig);
    }
    assert_eq!(rig.dialled(), 1);
}

#[test]
fn a_client_that_authenticates_finds_a_greeted_connection() {
    let mut rig = serving(warm());
    assert_eq!(rig.dialled(), 1);
    let first = rig.greet(PLAIN);
    assert_eq!(open(&mut rig), READY);
    // The next one is greeted meanwhile.
    assert_eq!(rig.dialled(), 2);
    let second = rig.greet(PLAIN);
    deliver(&mut rig, first);
    close(&mut rig);
    assert_eq!(rig.dialled(), 2);
    assert_eq!(
        (rig.upstream_hears(first), rig.upstream_hears(second)),
        (String::new(), String::new())
    );
}

#[test]
fn a_channel_takes_the_connection_that_is_being_greeted() {
    let mut rig = serving(RelayConfig {
        max_upstreams: 1,
        ..warm()
    });
    assert_eq!(open(&mut rig), "");
    rig.greet(PLAIN);
    assert_eq!(rig.client_hears(), READY);
}

#[test]
fn a_transaction_that_was_given_up_is_reset_before_the_next() {
    let (mut rig, upstream) = used(pooled());
    open(&mut rig);
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    rig.client_hears();
    close(&mut rig);
    assert_eq!(
        rig.upstream_hears(upstream),
        "MAIL FROM:<a@b.example>\r\nRSET\r\n"
    );
    assert!(matches!(
        rig.events[..],
        [_, Event::MessageAbandoned { .. }]
    ));
    // Not before it is answered.
    assert_eq!(open(&mut rig), "");
    assert_eq!(rig.dialled(), 2);
    rig.upstream_says(upstream, "250 ok\r\n");
    assert_eq!(rig.client_hears(), READY);
    deliver(&mut rig, upstream);
}

#[test]
fn nothing_stays_open_for_longer_than_the_idle_bound() {
    for config in [pooled(), warm()] {
        let (mut rig, upstream) = used(config);
        rig.lose(CLIENT);
        rig.pass(seconds(59));
        assert_eq!(rig.upstream_hears(upstream), "");
        rig.pass(seconds(1));
        assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
        rig.upstream_says(upstream, "221 bye\r\n");
        rig.pass(seconds(10));
        assert_eq!(rig.pump.machine().upstreams(), 0);
        assert_eq!(rig.pump.machine().deadline(), None);
    }
}

#[test]
fn a_client_that_sends_nothing_keeps_nothing_open() {
    let mut rig = serving(warm());
    let upstream = rig.greet(PLAIN);
    rig.pass_alive(seconds(60));
    assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
    rig.pass_alive(seconds(1000));
    assert_eq!((rig.dialled(), rig.pump.machine().upstreams()), (1, 0));
}

#[test]
fn a_connection_that_dies_while_idle_costs_nothing() {
    let endings: [fn(&mut Rig, LinkId); 3] = [
        |rig, upstream| rig.lose(upstream),
        |rig, upstream| rig.upstream_says(upstream, "421 4.4.2 idle\r\n"),
        |rig, upstream| rig.upstream_says(upstream, "garbage\r\n"),
    ];
    for end in endings {
        let (mut rig, upstream) = used(pooled());
        end(&mut rig, upstream);
        assert!(!rig.is_open(upstream));
        assert_eq!(rig.events, []);
        assert_eq!(open(&mut rig), "");
        let next = rig.greet(PLAIN);
        assert_eq!(rig.client_hears(), READY);
        deliver(&mut rig, next);
    }
}

#[test]
fn a_connection_idle_for_long_is_asked_before_it_is_used() {
    let (mut rig, upstream) = used(pooled());
    rig.pass(seconds(14));
    assert_eq!(open(&mut rig), READY);
    close(&mut rig);
    rig.pass(seconds(1));
    assert_eq!(open(&mut rig), "");
    assert_eq!(rig.upstream_hears(upstream), "NOOP\r\n");
    assert_eq!(rig.dialled(), 1);
    rig.upstream_says(upstream, "250 ok\r\n");
    assert_eq!(rig.client_hears(), READY);
    deliver(&mut rig, upstream);
}

#[test]
fn a_connection_that_does_not_answer_when_asked_is_replaced() {
    let endings: [fn(&mut Rig, LinkId); 4] = [
        |rig, upstream| rig.lose(upstream),
        |rig, upstream| rig.upstream_says(upstream, "421 4.4.2 idle\r\n"),
        |rig, upstream| rig.upstream_says(upstream, "500 what\r\n"),
        |rig, _| rig.pass(seconds(2)),
    ];
    for end in endings {
        let (mut rig, upstream) = used(pooled());
        rig.pass(seconds(20));
        assert_eq!(open(&mut rig), "");
        end(&mut rig, upstream);
        assert!(!rig.is_open(upstream));
        assert_eq!((rig.client_hears(), rig.events.len()), (String::new(), 0));
        let next = rig.greet(PLAIN);
        assert_eq!(rig.client_hears(), READY);
        deliver(&mut rig, next);
    }
}

#[test]
fn a_mail_that_a_kept_connection_did_not_live_to_answer_goes_to_another() {
    let endings: [fn(&mut Rig, LinkId); 2] = [
        |rig, upstream| rig.lose(upstream),
        |rig, upstream| rig.upstream_says(upstream, "421 4.7.0 too many messages\r\n"),
    ];
    for end in endings {
        let (mut rig, upstream) = used(pooled());
        open(&mut rig);
        rig.client_says("MAIL FROM:<a@b.example>\r\n");
        end(&mut rig, upstream);
        assert_eq!(rig.client_hears(), "");
        assert_eq!(rig.upstream_hears(upstream), "MAIL FROM:<a@b.example>\r\n");
        let next = rig.greet(PLAIN);
        assert_eq!(rig.upstream_hears(next), "MAIL FROM:<a@b.example>\r\n");
        // That one is new: what becomes of it is what becomes of the message.
        end(&mut rig, next);
        let heard = rig.client_hears();
        assert!(
            heard.starts_with('4') && heard.ends_with("[closed]"),
            "{heard}"
        );
        assert_eq!(rig.dialled(), 2);
    }
}

#[test]
fn a_message_that_was_begun_is_not_begun_again() {
    let (mut rig, upstream) = used(pooled());
    open(&mut rig);
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    rig.client_says("RCPT TO:<c@d.example>\r\n");
    rig.client_hears();
    rig.lose(upstream);
    assert!(rig.client_hears().starts_with("451 4.4.2 "));
    assert_eq!(rig.dialled(), 1);
}

#[test]
fn a_connection_carries_so_many_messages_and_no_more() {
    let mut config = pooled();
    config.pool.max_messages = 2;
    let (mut rig, upstream) = used(config);
    open(&mut rig);
    deliver(&mut rig, upstream);
    // The channel goes on with another one.
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
    let next = rig.greet(PLAIN);
    assert_eq!(rig.upstream_hears(next), "MAIL FROM:<a@b.example>\r\n");
}

#[test]
fn a_connection_serves_up_to_an_age() {
    let mut config = pooled();
    config.pool.max_age = seconds(30);
    let (mut rig, upstream) = used(config);
    rig.pass(seconds(29));
    assert_eq!(rig.upstream_hears(upstream), "");
    rig.pass(seconds(1));
    assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
}

#[test]
fn a_server_that_says_421_at_the_end_of_a_message_is_not_used_again() {
    let (mut rig, upstream) = used(pooled());
    open(&mut rig);
    for (client_says, upstream_says) in [
        ("MAIL FROM:<a@b.example>\r\n", "250 ok\r\n"),
        ("RCPT TO:<c@d.example>\r\n", "250 ok\r\n"),
        ("DATA\r\n", "354 go\r\n"),
        ("x\r\n.\r\n", "421 4.3.2 no\r\n"),
    ] {
        rig.client_says(client_says);
        rig.upstream_says(upstream, upstream_says);
    }
    assert!(rig.client_hears().ends_with("421 4.3.2 no\r\n[closed]"));
    assert!(rig.upstream_hears(upstream).ends_with("QUIT\r\n"));
}

#[test]
fn idle_connections_are_bounded() {
    let mut config = pooled();
    config.pool.max_idle = 1;
    let (mut rig, first) = used(config);
    open(&mut rig);
    let other = LinkId::accepted(1);
    rig.accept(other);
    rig.authenticate(other);
    rig.grant(other, Policy::default());
    rig.send(other, &Message::ChannelOpen);
    let second = rig.greet(PLAIN);
    close(&mut rig);
    rig.lose(other);
    assert_eq!(rig.upstream_hears(first), "");
    assert_eq!(rig.upstream_hears(second), "QUIT\r\n");
}

#[test]
fn an_upstream_that_refuses_is_not_tried_ahead_of_time_again() {
    let mut rig = serving(warm());
    let link = rig.upstream();
    let why = OpenError::Abandoned;
    rig.input(Input::OpenFailed { link, why });
    rig.pass_alive(seconds(100));
    assert_eq!((rig.dialled(), rig.events.len()), (1, 0));
    rig.send(CLIENT, &Message::ChannelOpen);
    let link = rig.upstream();
    let why = OpenError::Abandoned;
    rig.input(Input::OpenFailed { link, why });
    assert!(
        rig.client_hears_smtp()
            .starts_with("[error Some(421): the mail server mx.example:25 cannot")
    );
    assert_eq!(rig.dialled(), 2);
}

#[test]
fn a_server_that_takes_one_connection_at_a_time_serves_as_well() {
    let mut rig = serving(warm());
    let first = rig.upstream();
    rig.send(CLIENT, &Message::ChannelOpen);
    let second = rig.upstream();
    assert_ne!(first, second);
    let refuse = |rig: &mut Rig, link| {
        rig.input(Input::Opened { link });
        rig.upstream_says(link, "421 4.7.0 too many connections\r\n");
        assert!(!rig.is_open(link));
    };
    refuse(&mut rig, second);
    assert_eq!((rig.client_hears(), rig.events.len()), (String::new(), 0));
    rig.input(Input::Opened { link: first });
    rig.upstream_says(first, "220 hi\r\n");
    rig.upstream_says(first, PLAIN);
    assert_eq!(rig.client_hears(), READY);
    rig.upstream_hears(first);
    for _ in 0..3 {
        deliver(&mut rig, first);
        close(&mut rig);
        assert_eq!(open(&mut rig), READY);
    }
    // It is not asked for another with every message.
    assert_eq!(rig.dialled(), 2);
}

#[test]
fn with_bounds_of_zero_messages_are_carried_all_the_same() {
    let bounds: [fn(&mut RelayConfig); 4] = [
        |config| config.pool.idle_timeout = seconds(0),
        |config| config.pool.check_after = seconds(0),
        |config| config.pool.max_age = seconds(0),
        |config| config.pool.max_messages = 0,
    ];
    for bound in bounds {
        let mut config = pooled();
        bound(&mut config);
        let mut rig = serving(config);
        for _ in 0..2 {
            let dialled = rig.dialled();
            rig.send(CLIENT, &Message::ChannelOpen);
            let mut upstream = rig.upstream();
            if rig.dialled() > dialled {
                upstream = rig.greet(PLAIN);
            } else if rig.upstream_hears(upstream) == "NOOP\r\n" {
                rig.upstream_says(upstream, "250 ok\r\n");
            }
            assert_eq!(rig.client_hears(), READY);
            deliver(&mut rig, upstream);
            close(&mut rig);
            rig.upstream_hears(upstream);
            rig.pass(seconds(1));
        }
    }
}

#[test]
fn a_drain_and_a_stop_say_goodbye_to_idle_connections() {
    let (mut rig, upstream) = used(pooled());
    command(&mut rig, |relay, now| {
        relay.drain(now, now.after(seconds(60)));
    });
    assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
    assert!(!rig.finished);
    rig.upstream_says(upstream, "221 bye\r\n");
    assert!(rig.finished);

    let (mut rig, upstream) = used(pooled());
    command(&mut rig, super::super::Relay::stop);
    assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
    assert!(rig.finished && !rig.is_open(upstream));
}

#[test]
fn a_drain_takes_connections_back_and_keeps_none() {
    let (mut rig, upstream) = used(pooled());
    open(&mut rig);
    command(&mut rig, |relay, now| {
        relay.drain(now, now.after(seconds(60)));
    });
    deliver(&mut rig, upstream);
    rig.client_says("QUIT\r\n");
    assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
}

#[test]
fn a_channel_behind_ehlo_starts_before_there_is_a_connection() {
    let mut rig = serving(pooled());
    rig.start();
    assert_eq!((rig.client_hears(), rig.dialled()), (String::new(), 0));
    rig.client_says("NOOP\r\n");
    assert_eq!(rig.client_hears(), "250 2.0.0 Ok\r\n");
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    let upstream = rig.greet(PLAIN);
    assert_eq!(rig.upstream_hears(upstream), "MAIL FROM:<a@b.example>\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    assert_eq!(rig.client_hears(), "250 ok\r\n");
}

#[test]
fn channels_behind_ehlo_share_connections_message_by_message() {
    let mut rig = serving(RelayConfig {
        max_upstreams: 1,
        ..pooled()
    });
    rig.start();
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    let upstream = rig.greet(PLAIN);
    rig.upstream_says(upstream, "250 ok\r\n");
    rig.client_hears();

    let other = LinkId::accepted(1);
    rig.accept(other);
    rig.authenticate(other);
    rig.grant(other, Policy::default());
    let now = rig.now;
    rig.pump
        .command(now, |relay, now| relay.client_starts(now, other));
    let mail = Message::ToServer("MAIL FROM:<second@b.example>\r\n".into());
    rig.send(other, &mail);
    rig.upstream_hears(upstream);
    rig.client_says("RSET\r\n");
    assert_eq!(rig.upstream_hears(upstream), "RSET\r\n");
    rig.upstream_says(upstream, "250 ok\r\n");
    assert_eq!(
        rig.upstream_hears(upstream),
        "MAIL FROM:<second@b.example>\r\n"
    );
    assert_eq!(rig.dialled(), 1);
}

#[test]
fn a_burst_shares_some_connections_and_gets_more_where_the_server_is_slow() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    for number in 1..=40 {
        peer.send(number, None);
    }
    peer.flush(&mut rig);
    assert_eq!(rig.dialled(), 16);
    rig.pass(Duration::from_millis(99));
    assert_eq!(rig.dialled(), 16);
    rig.pass(Duration::from_millis(101));
    assert_eq!(rig.dialled(), 40);
}

#[test]
fn waiting_for_a_connection_comes_to_an_end() {
    let mut rig = serving(RelayConfig {
        max_upstreams: 0,
        ..pooled()
    });
    rig.start();
    rig.client_says("MAIL FROM:<a@b.example>\r\n");
    rig.pass(seconds(8));
    assert_eq!(rig.client_hears(), "");
    rig.pass(seconds(1));
    let heard = rig.client_hears();
    assert!(
        heard.starts_with("451 4.4.2 ") && heard.ends_with("did not answer in time\r\n[closed]"),
        "{heard}"
    );
}

#[test]
fn what_the_upstream_offered_last_is_offered_before_there_is_a_connection() {
    let ehlo = |rig: &mut Rig| {
        rig.start();
        rig.client_says("EHLO me\r\n");
        let heard = rig.client_hears();
        close(rig);
        heard
    };
    let mut rig = serving(pooled());
    let offered = ehlo(&mut rig);
    assert!(
        offered.contains("8BITMIME") && offered.contains("SMTPUTF8"),
        "{offered}"
    );

    let (mut rig, _) = used(pooled());
    let offered = ehlo(&mut rig);
    assert!(
        !offered.contains("8BITMIME") && !offered.contains("SMTPUTF8"),
        "{offered}"
    );

    let mut config = pooled();
    config.pool.capabilities = Some(Capabilities {
        smtputf8: true,
        ..Capabilities::default()
    });
    let (mut rig, _) = used(config);
    let offered = ehlo(&mut rig);
    assert!(
        !offered.contains("8BITMIME") && offered.contains("SMTPUTF8"),
        "{offered}"
    );
}

#[test]
fn a_message_the_upstream_turns_out_not_to_carry_is_refused_by_name() {
    let cases = [
        ("SMTPUTF8", PLAIN, "553 5.6.7 "),
        ("BODY=8BITMIME", PLAIN, "555 5.6.3 "),
        ("SIZE=1001", FULL, "552 5.3.4 "),
    ];
    for (parameter, ehlo, refusal) in cases {
        let mut rig = serving(pooled());
        rig.start();
        rig.client_says(&format!("MAIL FROM:<a@b.example> {parameter}\r\n"));
        let upstream = rig.greet(ehlo);
        assert_eq!(rig.upstream_hears(upstream), "", "{parameter}");
        let heard = rig.client_hears();
        assert!(heard.starts_with(refusal), "{heard}");
        assert!(matches!(
            rig.events.last(),
            Some(Event::MessageRefused { .. })
        ));
        // The connection is none the worse for it.
        rig.client_says("MAIL FROM:<a@b.example> BODY=7BIT\r\n");
        assert!(
            rig.upstream_hears(upstream)
                .starts_with("MAIL FROM:<a@b.example>")
        );
    }
}

#[test]
fn a_message_past_its_end_gives_its_connection_back_when_it_is_answered() {
    let (mut rig, upstream) = used(pooled());
    open(&mut rig);
    for (client_says, upstream_says) in [
        ("MAIL FROM:<a@b.example>\r\n", "250 ok\r\n"),
        ("RCPT TO:<c@d.example>\r\n", "250 ok\r\n"),
        ("DATA\r\n", "354 go\r\n"),
        ("x\r\n.\r\n", ""),
    ] {
        rig.client_says(client_says);
        rig.upstream_says(upstream, upstream_says);
    }
    rig.client_hears();
    close(&mut rig);
    assert_eq!(open(&mut rig), "");
    rig.upstream_says(upstream, "250 queued\r\n");
    assert_eq!(rig.client_hears(), READY);
    assert!(
        rig.events
            .iter()
            .any(|event| matches!(event, Event::MessageRelayed { .. }))
    );
}
