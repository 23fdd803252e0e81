//! A key-value client before a service that does what a scenario says.

use super::{Group, named};
use crate::{
    Binding, Transcript,
    conformance::rig::Rig,
    kv::{DurablePeer, ServicePeer, client_config, client_event},
    peer::{self, answer_upgrade, listener},
};
use relay_proto::{
    Time,
    kv::client::{Call, Client, ClientConfig, ConnectionState, Credential, Event},
};
use std::{net::TcpListener, time::Duration};
use tungstenite::protocol::CloseFrame;

pub(super) fn all<B: Binding>() -> Group {
    named![
        every_call_is_answered,
        a_service_that_does_not_know_the_durable_dialect,
        a_credential_that_is_refused,
        a_call_the_service_refuses,
        a_call_too_many,
        a_cut_with_calls_under_way,
        changes_are_told_and_missed_ones_too,
        frames_that_are_no_messages,
        a_clean_close_by_the_service,
        disconnecting_before_another_attempt,
        a_shutdown_waits_for_answers,
        a_session_outlives_its_links,
    ]
}

fn client<B: Binding>(config: ClientConfig) -> Rig<B, Client> {
    let machine = Client::new(config, [7; 32], Time::ZERO);
    Rig::spawn(machine, peer::config(), client_event, |_, _, _| {})
}

/// A client of plain services, and the listener it comes to.
fn plain<B: Binding>(credential: Credential) -> (Rig<B, Client>, TcpListener) {
    let (listener, address) = listener();
    let mut config = client_config(address, credential);
    config.durable = false;
    (client(config), listener)
}

fn key() -> Credential {
    Credential::ApiKey("good key".to_owned())
}

fn token() -> Credential {
    Credential::Token("token+/=".to_owned())
}

fn call<B: Binding>(client: &Rig<B, Client>, call: Call) {
    client.tell(|client, now| client.call(now, call).map(drop).unwrap());
}

/// Waits until a call has ended.
fn ended<B: Binding>(client: &Rig<B, Client>) {
    client.find(|event| matches!(event, Event::Answered { .. }).then_some(()));
}

fn connected<B: Binding>(client: &Rig<B, Client>) {
    client.find(|event| matches!(event, Event::Connected { .. }).then_some(()));
}

/// Ends a client that has nothing left to do.
fn over<B: Binding>(transcript: &mut Transcript, client: Rig<B, Client>) {
    client.rest();
    client.tell(Client::stop);
    transcript.saw("client", client.finished());
}

fn every_call_is_answered<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = plain::<B>(key());
    let cases = [
        (Call::set("k", "{\"a\":1}"), r#""code":200,"success":true"#),
        (
            Call::patch("k", "{\"b\":2}"),
            r#""code":200,"success":true"#,
        ),
        (
            Call::get("k"),
            r#""code":200,"key":"k","value":"{\"a\":1,\"b\":2}""#,
        ),
        (
            Call::increment("n", -2),
            r#""code":200,"success":true,"newValue":-2"#,
        ),
        (
            Call::range("a", "z").limit(2),
            r#""code":200,"records":[{"key":"k","value":"v"},{"key":"n","value":-2}],"count":2,"truncated":true"#,
        ),
        (Call::delete("k"), r#""code":200,"success":true"#),
    ];
    let mut service = None;
    for (asked, answer) in cases {
        call(&client, asked);
        service
            .get_or_insert_with(|| ServicePeer::accept(&listener))
            .answer(answer);
        ended(&client);
    }
    over(transcript, client);
}

fn a_service_that_does_not_know_the_durable_dialect<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let client = client::<B>(client_config(address, key()));
    call(&client, Call::get("k"));
    let mut service = ServicePeer::accept(&listener);
    service.know_no_hello();
    service.answer(r#""code":200,"key":"k","value":"v""#);
    ended(&client);
    over(transcript, client);
}

fn a_credential_that_is_refused<B: Binding>(transcript: &mut Transcript) {
    for credential in [key(), token()] {
        let (client, listener) = plain::<B>(credential);
        call(&client, Call::get("k"));
        let request = answer_upgrade(&listener, "HTTP/1.1 403 Forbidden\r\n\r\n");
        let line = request.lines().next().unwrap_or_default().to_owned();
        transcript.note("service", line);
        ended(&client);
        over(transcript, client);
    }
}

fn a_call_the_service_refuses<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = plain::<B>(key());
    let mut service = None;
    for code in [404, 403, 400] {
        call(&client, Call::get("k"));
        service
            .get_or_insert_with(|| ServicePeer::accept(&listener))
            .answer(&format!(r#""code":{code},"error":"no""#));
        ended(&client);
    }
    over(transcript, client);
}

fn a_call_too_many<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = plain::<B>(key());
    call(&client, Call::increment("n", 1));
    let mut service = ServicePeer::accept(&listener);
    service.answer(r#""code":429,"error":"slowly","retryAfterMs":20"#);
    service.answer(r#""code":200,"newValue":1"#);
    ended(&client);
    over(transcript, client);
}

fn a_cut_with_calls_under_way<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = plain::<B>(key());
    client.tell(|client, now| {
        for asked in [Call::increment("n", 1), Call::get("n")] {
            client.call(now, asked).unwrap();
        }
    });
    let mut service = ServicePeer::accept(&listener);
    service.call();
    service.call();
    drop(service);
    let mut service = ServicePeer::accept(&listener);
    service.answer(r#""code":200,"key":"n","value":"1""#);
    client.find(|event| matches!(event, Event::Answered { result: Ok(_), .. }).then_some(()));
    over(transcript, client);
}

fn changes_are_told_and_missed_ones_too<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = plain::<B>(token());
    client.tell(Client::connect);
    let mut service = ServicePeer::accept(&listener);
    service.say(r#"{"type":"notification","key":"k","value":"v","timestamp":1}"#);
    service.say(r#"{"type":"notification","key":"k","value":null,"timestamp":2}"#);
    client.find(|event| {
        matches!(event, Event::Notified(change) if change.value.is_none()).then_some(())
    });
    drop(service);
    let service = ServicePeer::accept(&listener);
    client.find(|event| matches!(event, Event::Missed { .. }).then_some(()));
    over(transcript, client);
    drop(service);
}

fn frames_that_are_no_messages<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = plain::<B>(token());
    call(&client, Call::get("k"));
    let mut service = ServicePeer::accept(&listener);
    let number = service.call().message_id;
    for frame in [
        "null",
        "42",
        "hello",
        "[]",
        r#"{"code":200,"messageId":"1"}"#,
    ] {
        service.say(frame);
    }
    let bytes = tungstenite::Message::binary(vec![0xff; 3]);
    service.peer().send(bytes).unwrap();
    service.say(&format!(
        r#"{{"code":404,"error":"no","messageId":{number}}}"#
    ));
    ended(&client);
    let ignored = client.tell(|client, _| client.statistics().ignored);
    transcript.note("client", format!("{ignored} frames ignored"));
    over(transcript, client);
}

fn a_clean_close_by_the_service<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = plain::<B>(token());
    client.tell(Client::connect);
    let mut service = ServicePeer::accept(&listener);
    connected(&client);
    let close = CloseFrame {
        code: 1000.into(),
        reason: "bye".into(),
    };
    service.peer().close(Some(close)).unwrap();
    service.peer().close_frame();
    let again = ServicePeer::accept(&listener);
    connected(&client);
    over(transcript, client);
    drop(again);
}

fn disconnecting_before_another_attempt<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let mut config = client_config(address, token());
    config.durable = false;
    let an_hour = Duration::from_secs(3600);
    config.reconnect = relay_proto::BackoffPolicy::new(an_hour, an_hour, None);
    let client = client::<B>(config);
    client.tell(Client::connect);
    let service = ServicePeer::accept(&listener);
    connected(&client);
    drop(service);
    client.find(|event| matches!(event, Event::Reconnecting { .. }).then_some(()));
    client.tell(Client::disconnect);
    let state = client.tell(|client, _| client.state());
    assert_eq!(state, ConnectionState::Disconnected);
    over(transcript, client);
}

fn a_shutdown_waits_for_answers<B: Binding>(transcript: &mut Transcript) {
    let (client, listener) = plain::<B>(key());
    call(&client, Call::increment("n", 1));
    let mut service = ServicePeer::accept(&listener);
    client.tell(|client, now| client.shutdown(now, Duration::MAX));
    let late = client.tell(|client, now| client.call(now, Call::get("k")).unwrap_err());
    transcript.note("client", late.to_string());
    service.answer(r#""code":200,"newValue":1"#);
    transcript.saw("client", client.finished());
}

/// Which frames there are depends on the time things take; what comes of them does not.
fn a_session_outlives_its_links<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let client = client::<B>(client_config(address, key()));
    client.tell(|client, now| {
        for _ in 0..3 {
            client.call(now, Call::increment("n", 1)).unwrap();
        }
    });
    let mut service = DurablePeer::new();
    let mut link = service.accept(&listener);
    service.apply(&mut link);
    service.tell(&mut link);
    // This one's answer gets lost with the link, and the third call may.
    service.apply(&mut link);
    drop(link);
    let mut link = service.accept(&listener);
    service.tell(&mut link);
    service.apply(&mut link);
    service.tell(&mut link);
    for _ in 0..3 {
        let answer = client.find(|event| match event {
            Event::Answered { id, result } => {
                Some(format!("call {id}: {:?}", result.unwrap().number()))
            }
            _ => None,
        });
        transcript.note("client", answer);
    }
    assert_eq!(service.applied.len(), 3, "each once");
    client.rest();
    client.tell(Client::stop);
    client.finished();
}
