//! A key-value client and a service, both on the binding. How many frames there are depends on the time things take; what comes of them
//! does not.

use super::{Group, named};
use crate::{
    Binding, Transcript,
    conformance::rig::Rig,
    kv::{KEY, KeyValueServer, client_config, client_event},
    peer::{self, cutting_proxy},
};
use relay_proto::{
    Time,
    kv::{
        client::{Answer, Call, CallError, Client, Credential, Event},
        token::{Scope, TokenRequest},
    },
};
use std::{net::SocketAddr, time::Duration};

pub(super) fn all<B: Binding>() -> Group {
    named![
        every_call_goes_the_whole_way,
        every_call_goes_the_whole_way_in_the_plain_dialect,
        increments_are_applied_once_whatever_is_cut,
        a_token_reaches_as_far_as_it_says,
        a_wrong_key_is_refused,
    ]
}

fn key() -> Credential {
    Credential::ApiKey(KEY.to_owned())
}

fn client<B: Binding>(service: SocketAddr, credential: Credential) -> Rig<B, Client> {
    let machine = Client::new(client_config(service, credential), [7; 32], Time::ZERO);
    Rig::spawn(machine, peer::config(), client_event, |_, _, _| {})
}

/// Makes a call and waits for its end.
fn call<B: Binding>(client: &Rig<B, Client>, call: Call) -> Result<Answer, CallError> {
    client.tell(|client, now| client.call(now, call).map(drop).unwrap());
    client.find(|event| match event {
        Event::Answered { result, .. } => Some(result),
        _ => None,
    })
}

fn over<B: Binding>(client: Rig<B, Client>) {
    client.rest();
    client.tell(Client::stop);
    client.finished();
}

/// Waits until this key is told of.
fn told<B: Binding>(client: &Rig<B, Client>) -> String {
    client.find(|event| match &event {
        Event::Notified(_) | Event::Missed { .. } => client_event(&event),
        _ => None,
    })
}

fn whole_way<B: Binding>(transcript: &mut Transcript, durable: bool) {
    let service = KeyValueServer::<B>::speaking(durable);
    let client = client::<B>(service.address(), key());
    let calls = [
        Call::get("k"),
        Call::set("k", r#"{"a":1,"b":{"c":2}}"#),
        Call::patch("k", r#"{"a":null,"b":{"d":3}}"#),
        Call::get("k"),
        Call::increment("n", 41),
        Call::increment("n", 1),
        Call::range("a", "z"),
        Call::range("a", "z").limit(1),
        Call::increment("k", 1),
        Call::delete("k"),
        Call::delete("k"),
        Call::set("bytes", vec![0xff, 0]),
        Call::get("bytes"),
    ];
    for asked in calls {
        let line = format!("{}: ", asked.operation().name());
        let line = line
            + &match call(&client, asked) {
                Ok(Answer::Value(value)) => format!("{:?}", value.escape_ascii().to_string()),
                Ok(Answer::Number(number)) => number.to_string(),
                Ok(Answer::Range(range)) => {
                    let keys: Vec<_> = range.records.iter().map(|record| &*record.key).collect();
                    format!("{keys:?}, truncated: {}", range.truncated)
                }
                Ok(_) => "done".to_owned(),
                Err(error) => error.to_string(),
            };
        transcript.note("client", line);
    }
    let is_durable = client.tell(|client, _| client.statistics().durable);
    assert_eq!(is_durable, durable);
    over(client);
    service.stop();
}

fn every_call_goes_the_whole_way<B: Binding>(transcript: &mut Transcript) {
    whole_way::<B>(transcript, true);
}

fn every_call_goes_the_whole_way_in_the_plain_dialect<B: Binding>(transcript: &mut Transcript) {
    whole_way::<B>(transcript, false);
}

fn increments_are_applied_once_whatever_is_cut<B: Binding>(transcript: &mut Transcript) {
    const CALLS: i64 = 300;
    let service = KeyValueServer::<B>::start();
    // In the middle of them: each has about seventy bytes.
    let client = client::<B>(cutting_proxy(service.address(), 9_000), key());
    client.tell(|client, now| {
        for _ in 0..CALLS {
            client.call(now, Call::increment("n", 1)).unwrap();
        }
    });
    let mut numbers: Vec<i64> = (0..CALLS)
        .map(|_| {
            client.find(|event| match event {
                Event::Answered { result, .. } => Some(result.unwrap().number().unwrap()),
                _ => None,
            })
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=CALLS).collect::<Vec<_>>());
    let statistics = client.tell(|client, _| client.statistics());
    transcript.note(
        "client",
        format!(
            "{CALLS} increments, {} in doubt, links lost: {}",
            statistics.in_doubt, statistics.reconnects
        ),
    );
    over(client);
    service.stop();
}

fn a_token_reaches_as_far_as_it_says<B: Binding>(transcript: &mut Transcript) {
    let service = KeyValueServer::<B>::start();
    let url = format!("http://{}", service.address()).parse().unwrap();
    let mut scope = Scope::default();
    scope.subscribe.push("news:*".to_owned());
    scope.access = Some("news:*".to_owned());
    let minute = Duration::from_secs(60);
    let request = TokenRequest::new(&url, KEY, &scope, Time::ZERO, minute);
    let asking = Rig::<B, _>::spawn(request, peer::config(), |_| None, |_, _, _| {});
    let token = asking.find(Result::ok);
    asking.finished();
    let reader = client::<B>(service.address(), token);
    reader.tell(Client::connect);
    reader.find(|event| matches!(event, Event::Connected { .. }).then_some(()));
    let writer = client::<B>(service.address(), key());
    for (key, value) in [("news:1", "one"), ("other", "x"), ("news:2", "two")] {
        call(&writer, Call::set(key, value)).unwrap();
    }
    call(&writer, Call::delete("news:1")).unwrap();
    for _ in 0..3 {
        transcript.note("reader", told(&reader));
    }
    let forbidden = call(&reader, Call::get("other")).unwrap_err();
    transcript.note("reader", forbidden.code().unwrap().to_string());
    over(reader);
    over(writer);
    service.stop();
}

fn a_wrong_key_is_refused<B: Binding>(transcript: &mut Transcript) {
    let service = KeyValueServer::<B>::start();
    let wrong = Credential::ApiKey("wrong".to_owned());
    let client = client::<B>(service.address(), wrong);
    let error = call(&client, Call::get("k")).unwrap_err();
    transcript.note("client", error.to_string());
    over(client);
    service.stop();
}
