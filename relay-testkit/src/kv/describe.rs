//! News of the client, in lines that are the same from run to run.

use relay_proto::kv::client::{Answer, Event};

/// News of a key-value client.
#[expect(
    clippy::unnecessary_wraps,
    reason = "all of them belong into the transcript"
)]
pub(crate) fn client_event(event: &Event) -> Option<String> {
    Some(match event {
        Event::StateChanged { from, to } => format!("{from} -> {to}"),
        Event::Connected { durable, resumed } => {
            let dialect = if *durable { "durable" } else { "plain" };
            let resumed = if *resumed { ", resumed" } else { "" };
            format!("connected, {dialect}{resumed}")
        }
        Event::Disconnected { error: None } => "disconnected".to_owned(),
        Event::Disconnected { error: Some(error) } => format!("disconnected: {error}"),
        Event::Reconnecting { attempt, .. } => format!("reconnecting, attempt {attempt}"),
        Event::Throttled { .. } => "throttled".to_owned(),
        Event::Answered { id, result } => match result {
            Ok(answer) => format!("call {id}: {}", shown(answer)),
            Err(error) => format!("call {id} failed: {error}"),
        },
        Event::Notified(change) => match &change.value {
            Some(value) => format!("{} is now {:?}", change.key, String::from_utf8_lossy(value)),
            None => format!("{} is gone", change.key),
        },
        Event::Missed { after, first } => format!("missed, after {after:?} before {first:?}"),
        Event::Terminated { left } => {
            let left: Vec<_> = left
                .iter()
                .map(|left| {
                    let doubt = if left.in_doubt { " in doubt" } else { "" };
                    format!("call {}{doubt}", left.id)
                })
                .collect();
            format!("terminated, left: [{}]", left.join(", "))
        }
        other => format!("{other:?}"),
    })
}

fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Value(value) => format!("{:?}", String::from_utf8_lossy(value)),
        Answer::Done => "done".to_owned(),
        Answer::Number(number) => number.to_string(),
        Answer::Range(range) => {
            let records = range.records.iter().map(|record| {
                let value = String::from_utf8_lossy(&record.value);
                format!("{}={value}", record.key)
            });
            let more = if range.truncated { " and more" } else { "" };
            format!("{}{more}", records.collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}
