//! A mail client before a relay that does what a scenario says.

use super::{Group, named};
use crate::{
    Binding, Transcript,
    conformance::rig::Rig,
    mail::{RelayPeer, base_client_config, client_event, message},
    peer::{self, answer_upgrade, deserted, listener},
};
use relay_proto::{
    Time,
    mail::{
        client::{Client, ClientConfig, ConnectionState, Event, InDoubtPolicy},
        wire::{Denied, Message},
    },
};
use std::{
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};
use tungstenite::protocol::CloseFrame;

pub(super) fn all<B: Binding>() -> Group {
    named![
        a_message_is_taken,
        a_relay_nobody_listens_for,
        a_relay_that_comes_back,
        an_upgrade_refused_for_the_key,
        an_upgrade_refused_for_another_reason,
        an_upgrade_refused_until_later,
        an_upgrade_that_stalls,
        a_key_that_is_refused,
        a_cut_behind_authenticate,
        a_cut_behind_the_end_of_data,
        a_cut_behind_the_end_of_data_where_twice_is_worse_than_never,
        a_relay_that_stalls_at_the_key,
        a_relay_that_stalls_at_the_channel,
        a_half_open_link,
        an_answer_that_comes_too_late,
        a_relay_that_says_goodbye,
        a_relay_that_says_goodbye_over_the_key,
        a_relay_that_breaks_the_protocol,
        a_shutdown_finishes_what_is_under_way,
        a_stop_hands_back_what_is_left,
    ]
}

/// Short where a scenario waits for it, and nothing has to happen in that time.
const SHORT: Duration = Duration::from_millis(50);

/// Short where something has to happen in that time, on a busy machine, too.
const AMPLE: Duration = Duration::from_secs(2);

const BOB: &str = "bob@example.net";

fn client<B: Binding>(config: ClientConfig) -> Rig<B, Client> {
    let machine = Client::new(config, [7; 32], Time::ZERO);
    Rig::spawn(machine, peer::config(), client_event, |_, _, _| {})
}

fn config(relay: SocketAddr) -> ClientConfig {
    base_client_config(&format!("ws://{relay}/"))
}

/// A client with a message to send, and the listener it comes to.
fn sending<B: Binding>(change: impl FnOnce(&mut ClientConfig)) -> (Rig<B, Client>, TcpListener) {
    let (listener, address) = listener();
    let mut config = config(address);
    change(&mut config);
    let client = client::<B>(config);
    submit(&client, "hello");
    (client, listener)
}

/// The same with two messages.
fn sending_two<B: Binding>() -> (Rig<B, Client>, TcpListener) {
    let (listener, address) = listener();
    let client = client::<B>(config(address));
    client.tell(|client, now| {
        for text in ["hello", "and more"] {
            client.submit(now, message(&[BOB], text)).unwrap();
        }
    });
    (client, listener)
}

fn submit<B: Binding>(client: &Rig<B, Client>, text: &str) {
    let submission = message(&[BOB], text);
    client.tell(|client, now| client.submit(now, submission).map(drop).unwrap());
}

/// Waits until a submission has succeeded or failed.
fn settled<B: Binding>(client: &Rig<B, Client>) {
    client.find(|event| event.outcome().is_some().then_some(()));
}

/// Waits until a submission has succeeded and its channel is closed.
fn taken<B: Binding>(client: &Rig<B, Client>) {
    settled(client);
    client.find(|event| {
        let to = ConnectionState::Authenticated;
        matches!(event, Event::StateChanged { to: now, .. } if now == to).then_some(())
    });
}

/// Ends a client that has nothing left to do.
fn ended<B: Binding>(transcript: &mut Transcript, client: Rig<B, Client>) {
    client.rest();
    client.tell(|client, now| client.shutdown(now, Duration::MAX));
    transcript.saw("client", client.finished());
}

/// Ends a client that would try for longer.
fn stopped<B: Binding>(transcript: &mut Transcript, client: Rig<B, Client>) {
    client.rest();
    client.tell(Client::stop);
    transcript.saw("client", client.finished());
}

/// Takes the message on a link of its own, and ends the client.
fn healed<B: Binding>(transcript: &mut Transcript, client: Rig<B, Client>, listener: &TcpListener) {
    let mut relay = RelayPeer::greeted(listener);
    relay.take_message();
    taken(&client);
    ended(transcript, client);
}

fn a_message_is_taken<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|_| {});
    let mut relay = RelayPeer::greeted(&listener);
    let content = relay.take_content();
    transcript.note("relay", format!("content {content:?}"));
    relay.reply("250 2.0.0 taken");
    relay.end_channel();
    taken(&client);
    ended(transcript, client);
    transcript.note("relay", relay.goodbye());
}

fn a_relay_nobody_listens_for<B: Binding>(transcript: &mut Transcript) {
    let client = client::<B>(config(deserted()));
    submit(&client, "hello");
    settled(&client);
    ended(transcript, client);
}

fn a_relay_that_comes_back<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let mut config = config(address);
    config.idle = None;
    let client = client::<B>(config);
    submit(&client, "hello");
    let mut relay = RelayPeer::greeted(&listener);
    relay.take_message();
    taken(&client);
    drop(relay);
    // The link is kept although nothing waits.
    let relay = RelayPeer::authenticated(&listener);
    client.find(|event| matches!(event, Event::Reconnecting { .. }).then_some(()));
    client.find(|event| matches!(event, Event::Authenticated { .. }).then_some(()));
    ended(transcript, client);
    drop(relay);
}

fn an_upgrade_refused_for_the_key<B: Binding>(transcript: &mut Transcript) {
    for answer in [
        "HTTP/1.1 401 Unauthorized\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\n\r\n",
    ] {
        let (client, listener) = sending::<B>(|_| {});
        answer_upgrade(&listener, answer);
        settled(&client);
        ended(transcript, client);
    }
}

fn an_upgrade_refused_for_another_reason<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|_| {});
    let moved = "HTTP/1.1 301 Moved Permanently\r\nLocation: ws://other.example/\r\n\r\n";
    answer_upgrade(&listener, moved);
    healed(transcript, client, &listener);
}

fn an_upgrade_refused_until_later<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|_| {});
    let began = client.tell(|_, now| now);
    let busy = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 17\r\n\r\n";
    answer_upgrade(&listener, busy);
    let at = client.find(|event| match event {
        Event::Reconnecting { at, .. } => Some(at),
        _ => None,
    });
    assert!(at.since(began) >= Duration::from_secs(17));
    stopped(transcript, client);
}

fn an_upgrade_that_stalls<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|config| {
        config.timeouts.open = SHORT;
        config.reconnect.attempts = Some(1);
    });
    // Whoever comes is kept waiting; on a busy machine an attempt may be over before it comes.
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    settled(&client);
    ended(transcript, client);
}

fn a_key_that_is_refused<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|_| {});
    let mut relay = RelayPeer::accept(&listener);
    relay.expect("AUTHENTICATE");
    let denied = Denied::for_good("unknown key");
    relay.say(&Message::AuthenticateResponse(Err(denied)));
    settled(&client);
    ended(transcript, client);
}

fn a_cut_behind_authenticate<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|_| {});
    let mut relay = RelayPeer::accept(&listener);
    relay.expect("AUTHENTICATE");
    drop(relay);
    healed(transcript, client, &listener);
}

fn a_cut_behind_the_end_of_data<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|_| {});
    let mut relay = RelayPeer::greeted(&listener);
    relay.take_content();
    drop(relay);
    healed(transcript, client, &listener);
}

fn a_cut_behind_the_end_of_data_where_twice_is_worse_than_never<B: Binding>(
    transcript: &mut Transcript,
) {
    let (client, listener) = sending::<B>(|config| config.in_doubt = InDoubtPolicy::Fail);
    let mut relay = RelayPeer::greeted(&listener);
    relay.take_content();
    drop(relay);
    settled(&client);
    ended(transcript, client);
}

fn a_relay_that_stalls_at_the_key<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|config| {
        config.timeouts.authentication = SHORT;
        config.reconnect.attempts = Some(1);
    });
    let stalled = [RelayPeer::accept(&listener), RelayPeer::accept(&listener)];
    settled(&client);
    ended(transcript, client);
    drop(stalled);
}

fn a_relay_that_stalls_at_the_channel<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|config| {
        config.timeouts.channel = SHORT;
        config.retry.attempts = Some(0);
    });
    let relay = RelayPeer::authenticated(&listener);
    settled(&client);
    // A relay that does not even close the channel loses the link.
    client.find(|event| matches!(event, Event::Disconnected { .. }).then_some(()));
    ended(transcript, client);
    drop(relay);
}

fn a_half_open_link<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|config| config.heartbeat = AMPLE / 2);
    let silent = RelayPeer::greeted(&listener);
    healed(transcript, client, &listener);
    drop(silent);
}

fn an_answer_that_comes_too_late<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|config| config.timeouts.outcome = AMPLE);
    let mut relay = RelayPeer::greeted(&listener);
    relay.take_content();
    // The client does not wait for the reply for ever.
    relay.hear_end_of_channel();
    relay.reply("250 2.0.0 taken");
    relay.say(&Message::ChannelClosed { reason: None });
    relay.open_channel();
    relay.take_message();
    taken(&client);
    ended(transcript, client);
}

fn a_relay_that_says_goodbye<B: Binding>(transcript: &mut Transcript) {
    let codes = [1001, 1008, 1012, 1013];
    let (client, listener) =
        sending::<B>(|config| config.reconnect.attempts = Some(codes.len() as u32));
    for code in codes {
        let mut relay = RelayPeer::accept(&listener);
        relay.expect("AUTHENTICATE");
        say_goodbye(&mut relay, code);
    }
    healed(transcript, client, &listener);
}

fn a_relay_that_says_goodbye_over_the_key<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|_| {});
    let mut relay = RelayPeer::accept(&listener);
    relay.expect("AUTHENTICATE");
    say_goodbye(&mut relay, 4001);
    settled(&client);
    ended(transcript, client);
}

fn say_goodbye(relay: &mut RelayPeer, code: u16) {
    let close = CloseFrame {
        code: code.into(),
        reason: "enough".into(),
    };
    relay.peer().close(Some(close)).unwrap();
    // The answer, behind what was on the way.
    relay.peer().close_frame();
}

fn a_relay_that_breaks_the_protocol<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending::<B>(|_| {});
    let mut relay = RelayPeer::accept(&listener);
    relay.expect("AUTHENTICATE");
    relay.peer().send("yes".into()).unwrap();
    transcript.note("relay", relay.goodbye());
    healed(transcript, client, &listener);
}

fn a_shutdown_finishes_what_is_under_way<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending_two::<B>();
    let mut relay = RelayPeer::greeted(&listener);
    client.tell(|client, now| client.shutdown(now, Duration::MAX));
    let late = message(&[BOB], "too late");
    let refused = client.tell(|client, now| client.submit(now, late).unwrap_err());
    transcript.note("client", refused.to_string());
    relay.take_message();
    relay.open_channel();
    relay.take_content();
    relay.reply("250 2.0.0 taken");
    // Nothing is left to do, so the client does not wait for the relay to close the channel.
    transcript.note("relay", relay.goodbye());
    transcript.saw("client", client.finished());
}

fn a_stop_hands_back_what_is_left<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = sending_two::<B>();
    let mut relay = RelayPeer::greeted(&listener);
    relay.take_content();
    stopped(transcript, client);
    transcript.note("relay", relay.goodbye());
}
