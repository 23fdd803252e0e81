//! A mail relay between clients and mail servers that do what a scenario says.

use super::{Group, named};
use crate::{
    Binding, Transcript,
    conformance::rig::Rig,
    mail::{KEY, UpstreamPeer, decide, relay_config, relay_event},
    peer::{self, HANGS, Peer, connect, deserted, listener},
    transcript,
};
use relay_proto::{
    Frame, Time,
    mail::{
        relay::{Event, Presented, Relay, RelayConfig},
        wire::{self, ApiKey, Message},
    },
};
use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

pub(super) fn all<B: Binding>() -> Group {
    named![
        a_message_is_relayed,
        a_key_that_is_refused,
        a_client_that_says_nothing,
        a_client_that_breaks_the_protocol,
        a_half_open_client,
        a_client_that_is_lost_in_the_content,
        an_upstream_nobody_listens_for,
        an_upstream_that_refuses,
        an_upstream_that_stalls,
        an_upstream_that_is_cut_behind_the_end_of_data,
        an_upstream_that_answers_after_its_client_is_gone,
        a_drain_finishes_what_is_under_way,
        a_stop_ends_everything,
    ]
}

const SHORT: Duration = Duration::from_millis(50);

/// Everything of a message's dialogue that comes before its content.
const COMMANDS: [&str; 4] = [
    "EHLO client.test",
    "MAIL FROM:<alice@example.org>",
    "RCPT TO:<bob@example.net>",
    "DATA",
];

const CONTENT: &str = "Subject: x\r\n\r\nhello\r\n";

/// A relay before this upstream, and where it listens.
fn relay<B: Binding>(
    upstream: SocketAddr,
    change: impl FnOnce(&mut RelayConfig),
) -> (Rig<B, Relay>, SocketAddr) {
    let mut config = relay_config(upstream);
    change(&mut config);
    let machine = Relay::new(config, [7; 32]);
    let rig = Rig::spawn(machine, peer::config(), relay_event, decide_at_once);
    let (_, address) = rig.listen_websocket(None);
    (rig, address)
}

/// What the application does with a key.
pub(super) fn decide_at_once(relay: &mut Relay, now: Time, event: &Event) {
    if let Ok((link, presented)) = Presented::from_event(event.clone()) {
        match decide(&presented) {
            Ok(policy) => relay.grant(now, link, policy),
            Err(denied) => relay.deny(now, link, denied),
        }
    }
}

/// Ends a relay whose clients and upstreams have gone.
fn ended<B: Binding>(transcript: &mut Transcript, relay: Rig<B, Relay>) {
    relay.alone();
    relay.tell(Relay::stop);
    transcript.saw("relay", relay.finished());
}

fn disconnected<B: Binding>(relay: &Rig<B, Relay>) {
    relay.find(|event| matches!(event, Event::Disconnected { .. }).then_some(()));
}

/// A client's end of one link, in the hands of a scenario.
struct Client(Peer);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        Self(connect(address))
    }

    fn authenticated(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client.present(KEY);
        client.hear();
        client
    }

    /// One whose channel is open, before an upstream that has no extensions.
    fn greeted(address: SocketAddr, upstream: &TcpListener) -> (Self, UpstreamPeer) {
        let mut client = Self::authenticated(address);
        client.say(&Message::ChannelOpen);
        let mut upstream = UpstreamPeer::greeting(upstream);
        upstream.agree_up_to("EHLO");
        upstream.reply("250 mx.test");
        for expected in ["SMTP_CHANNEL_READY", "SMTP_FROM_SERVER"] {
            assert_eq!(client.hear().kind(), expected);
        }
        (client, upstream)
    }

    fn present(&mut self, key: &str) {
        self.say(&Message::Authenticate {
            api_key: ApiKey::new(key),
            agent: None,
            durable: None,
        });
    }

    fn say(&mut self, message: &Message) {
        let frame = wire::encode(message);
        let text = str::from_utf8(transcript::payload(&frame)).unwrap();
        self.0.send(tungstenite::Message::text(text)).unwrap();
    }

    /// Says one line of SMTP.
    fn command(&mut self, line: &str) {
        self.say(&Message::ToServer(format!("{line}\r\n").into()));
    }

    /// Says everything up to the content, in step with the replies.
    fn commands_up_to(&mut self, upstream: &mut UpstreamPeer, last: &str) {
        for line in COMMANDS {
            self.command(line);
            let verb = line.split(' ').next().unwrap();
            // The relay has greeted its upstream already.
            if verb != "EHLO" {
                upstream.agree_up_to(verb);
                if verb == last {
                    return;
                }
                upstream.reply(if verb == "DATA" {
                    "354 go on"
                } else {
                    "250 ok"
                });
            }
            self.hear();
        }
    }

    /// Says a message to its end, which the upstream leaves without a reply.
    fn message(&mut self, upstream: &mut UpstreamPeer) {
        self.commands_up_to(upstream, "");
        self.say(&Message::ToServer(format!("{CONTENT}.\r\n").into()));
        while upstream.line() != "." {}
    }

    fn hear(&mut self) -> Message {
        let message = self.0.message();
        let tungstenite::Message::Text(text) = message else {
            panic!("no text: {message:?}");
        };
        wire::decode(&Frame::Text(text.into())).unwrap().unwrap()
    }

    /// Hears the relay's goodbye, past everything else, and answers it.
    fn goodbye(mut self) {
        self.0.close_frame();
        assert!(self.0.ends_cleanly());
    }

    fn leave(mut self) {
        self.0.close(None).unwrap();
        self.0.ends_cleanly();
    }
}

fn a_message_is_relayed<B: Binding>(transcript: &mut Transcript) {
    let (upstream, mx) = listener();
    let (relay, address) = relay::<B>(mx, |_| {});
    let (mut client, mut upstream) = Client::greeted(address, &upstream);
    client.message(&mut upstream);
    upstream.reply("250 2.0.0 taken");
    client.hear();
    client.command("QUIT");
    client.hear();
    client.say(&Message::ChannelClosed { reason: None });
    client.hear();
    upstream.agree_up_to("QUIT");
    upstream.reply("221 bye");
    drop(upstream);
    client.leave();
    disconnected(&relay);
    ended(transcript, relay);
}

fn a_key_that_is_refused<B: Binding>(transcript: &mut Transcript) {
    let (relay, address) = relay::<B>(deserted(), |_| {});
    let mut client = Client::connect(address);
    client.present("wrong");
    client.hear();
    client.goodbye();
    disconnected(&relay);
    ended(transcript, relay);
}

fn a_client_that_says_nothing<B: Binding>(transcript: &mut Transcript) {
    let (relay, address) = relay::<B>(deserted(), |config| config.authentication_timeout = SHORT);
    Client::connect(address).goodbye();
    disconnected(&relay);
    ended(transcript, relay);
}

fn a_client_that_breaks_the_protocol<B: Binding>(transcript: &mut Transcript) {
    let (relay, address) = relay::<B>(deserted(), |_| {});
    let mut client = Client::authenticated(address);
    client.0.send("hello?".into()).unwrap();
    client.goodbye();
    disconnected(&relay);
    ended(transcript, relay);
}

fn a_half_open_client<B: Binding>(transcript: &mut Transcript) {
    let (relay, address) = relay::<B>(deserted(), |config| config.heartbeat_interval = SHORT);
    // From now on it does not even answer a ping.
    let client = Client::connect(address);
    disconnected(&relay);
    drop(client);
    ended(transcript, relay);
}

fn a_client_that_is_lost_in_the_content<B: Binding>(transcript: &mut Transcript) {
    let (upstream, mx) = listener();
    let (relay, address) = relay::<B>(mx, |_| {});
    let (mut client, mut upstream) = Client::greeted(address, &upstream);
    client.commands_up_to(&mut upstream, "");
    client.say(&Message::ToServer(CONTENT.into()));
    assert_eq!(upstream.line(), "Subject: x");
    drop(client);
    disconnected(&relay);
    // Without its end, nothing of it is delivered.
    let mut rest = Vec::new();
    loop {
        match upstream.line() {
            line if line.is_empty() && rest.len() > 1 => break,
            line => rest.push(line),
        }
    }
    transcript.note("upstream", format!("{rest:?}, then the end"));
    ended(transcript, relay);
}

fn an_upstream_nobody_listens_for<B: Binding>(transcript: &mut Transcript) {
    let (relay, address) = relay::<B>(deserted(), |_| {});
    let mut client = Client::authenticated(address);
    client.say(&Message::ChannelOpen);
    client.hear();
    client.leave();
    disconnected(&relay);
    ended(transcript, relay);
}

fn an_upstream_that_refuses<B: Binding>(transcript: &mut Transcript) {
    let (upstream, mx) = listener();
    let (relay, address) = relay::<B>(mx, |_| {});
    let (mut client, mut upstream) = Client::greeted(address, &upstream);
    client.commands_up_to(&mut upstream, "RCPT");
    upstream.reply("550 5.1.1 No such user");
    client.hear();
    client.leave();
    disconnected(&relay);
    upstream.agree_up_to("QUIT");
    drop(upstream);
    ended(transcript, relay);
}

fn an_upstream_that_stalls<B: Binding>(transcript: &mut Transcript) {
    let (upstream, mx) = listener();
    let stalled = |config: &mut RelayConfig| config.upstream_open_timeout = SHORT;
    let (relay, address) = relay::<B>(mx, stalled);
    let mut client = Client::authenticated(address);
    client.say(&Message::ChannelOpen);
    let silent = peer::accept_tcp(&upstream);
    client.hear();
    client.leave();
    disconnected(&relay);
    drop(silent);
    ended(transcript, relay);
}

fn an_upstream_that_is_cut_behind_the_end_of_data<B: Binding>(transcript: &mut Transcript) {
    let (upstream, mx) = listener();
    let (relay, address) = relay::<B>(mx, |_| {});
    let (mut client, mut upstream) = Client::greeted(address, &upstream);
    client.message(&mut upstream);
    drop(upstream);
    client.hear();
    client.leave();
    disconnected(&relay);
    ended(transcript, relay);
}

fn an_upstream_that_answers_after_its_client_is_gone<B: Binding>(transcript: &mut Transcript) {
    let (upstream, mx) = listener();
    let (relay, address) = relay::<B>(mx, |_| {});
    let (mut client, mut upstream) = Client::greeted(address, &upstream);
    client.message(&mut upstream);
    drop(client);
    disconnected(&relay);
    upstream.reply("250 2.0.0 taken");
    relay.find(|event| matches!(event, Event::MessageRelayed { .. }).then_some(()));
    upstream.agree_up_to("QUIT");
    upstream.reply("221 bye");
    drop(upstream);
    ended(transcript, relay);
}

fn a_drain_finishes_what_is_under_way<B: Binding>(transcript: &mut Transcript) {
    let (upstream, mx) = listener();
    let (relay, address) = relay::<B>(mx, |_| {});
    let idle = Client::authenticated(address);
    let (mut client, mut upstream) = Client::greeted(address, &upstream);
    client.message(&mut upstream);
    relay.rest();
    relay.tell(|relay, now| relay.drain(now, now.after(HANGS)));
    idle.goodbye();
    disconnected(&relay);
    // Who comes now is turned away.
    Client::connect(address).goodbye();
    relay.find(|event| matches!(event, Event::TurnedAway { .. }).then_some(()));
    upstream.reply("250 2.0.0 taken");
    client.hear();
    client.say(&Message::ChannelClosed { reason: None });
    upstream.agree_up_to("QUIT");
    upstream.reply("221 bye");
    drop(upstream);
    client.goodbye();
    transcript.saw("relay", relay.finished());
}

fn a_stop_ends_everything<B: Binding>(transcript: &mut Transcript) {
    let (upstream, mx) = listener();
    let (relay, address) = relay::<B>(mx, |_| {});
    let (mut client, mut upstream) = Client::greeted(address, &upstream);
    client.message(&mut upstream);
    relay.rest();
    relay.tell(Relay::stop);
    client.goodbye();
    assert_eq!(upstream.line(), "", "the connection has ended");
    transcript.saw("relay", relay.finished());
}
