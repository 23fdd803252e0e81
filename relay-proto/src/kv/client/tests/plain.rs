//! Calls of a plain service, and what becomes of them when links end.

use super::*;

fn connected() -> Bench {
    let mut bench = Bench::plain();
    bench.command(|client, now| client.connect(now));
    bench.opened();
    assert_eq!(bench.sent(), ["open"]);
    bench.events.clear();
    bench
}

#[test]
fn every_call_is_made_and_answered_as_hpkv_does_it() {
    let mut bench = connected();
    let cases = [
        (
            Call::get("k"),
            r#"{"op":1,"key":"k","messageId":1}"#,
            r#","key":"k","value":"v""#,
            Answer::Value("v".into()),
        ),
        (
            Call::set("k", "a \"b\""),
            r#"{"op":2,"key":"k","value":"a \"b\"","messageId":2}"#,
            r#","success":true,"message":"ok""#,
            Answer::Done,
        ),
        (
            Call::patch("k", r#"{"a":1}"#),
            r#"{"op":3,"key":"k","value":"{\"a\":1}","messageId":3}"#,
            r#","success":true"#,
            Answer::Done,
        ),
        (
            Call::delete("k"),
            r#"{"op":4,"key":"k","messageId":4}"#,
            r#","success":true"#,
            Answer::Done,
        ),
        (
            Call::range("a", "b").limit(10),
            r#"{"op":5,"key":"a","endKey":"b","limit":10,"messageId":5}"#,
            r#","records":[{"key":"a","value":"1"}],"count":1,"truncated":true"#,
            Answer::Range(Range {
                records: vec![crate::kv::wire::Record {
                    key: "a".into(),
                    value: "1".into(),
                }],
                truncated: true,
            }),
        ),
        (
            Call::increment("n", -2),
            r#"{"op":6,"key":"n","value":-2,"messageId":6}"#,
            r#","success":true,"newValue":-7"#,
            Answer::Number(-7),
        ),
        (
            Call::get("n"),
            r#"{"op":1,"key":"n","messageId":7}"#,
            r#","key":"n","value":-7"#,
            Answer::Value("-7".into()),
        ),
    ];
    for (number, (call, request, more, answer)) in (1..).zip(cases) {
        let id = bench.call(call);
        assert_eq!(bench.sent(), [request]);
        bench.answers(number, more);
        assert_eq!(bench.ended(), [(id, Ok(answer))]);
    }
    let statistics = bench.statistics();
    assert_eq!((statistics.calls, statistics.succeeded), (7, 7));
    assert_eq!((statistics.under_way, statistics.queue_bytes), (0, 0));
}

#[test]
fn answers_may_come_in_any_order() {
    let mut bench = connected();
    let ids = [
        bench.call(Call::increment("n", 1)),
        bench.call(Call::increment("n", 1)),
    ];
    assert_eq!(bench.made(), [1, 2]);
    bench.answers(2, r#","newValue":2"#);
    bench.answers(1, r#","newValue":1"#);
    assert_eq!(
        bench.ended(),
        [
            (ids[1], Ok(Answer::Number(2))),
            (ids[0], Ok(Answer::Number(1)))
        ]
    );
}

#[test]
fn refusals_have_their_codes() {
    let mut bench = connected();
    for (number, code) in (1..).zip([400, 403, 404, 413, 503, 507, 418]) {
        bench.call(Call::set("k", "v"));
        bench.fails(number, code);
        let error = bench.end().unwrap_err();
        assert_eq!(error.code(), Some(Code(code)));
        assert_eq!(error.is_not_found(), code == 404);
        assert_eq!(error.is_forbidden(), code == 403);
        assert!(!error.is_in_doubt());
        assert_eq!(
            error.to_string(),
            format!("the service refused it: no ({code})")
        );
    }
}

#[test]
fn a_cut_leaves_changes_in_doubt_and_asks_again_what_only_reads() {
    let mut bench = connected();
    let ids: Vec<_> = [
        Call::set("k", "v"),
        Call::get("k"),
        Call::patch("k", "v"),
        Call::range("a", "b"),
        Call::delete("k"),
        Call::increment("n", 1),
    ]
    .map(|call| bench.call(call))
    .into();
    bench.sent();
    bench.cut();
    let ended = bench.ended();
    let in_doubt: Vec<_> = ended.iter().map(|(id, _)| *id).collect();
    assert_eq!(in_doubt, [ids[0], ids[2], ids[4], ids[5]]);
    for (_, result) in ended {
        assert_eq!(result, Err(CallError::InDoubt(Box::new(lost()))));
    }
    assert_eq!(bench.statistics().in_doubt, 4);
    bench.elapse("reconnect");
    bench.opened();
    assert_eq!(
        bench.sent(),
        [
            "open",
            r#"{"op":1,"key":"k","messageId":7}"#,
            r#"{"op":5,"key":"a","endKey":"b","messageId":8}"#
        ]
    );
    bench.answers(7, r#","key":"k","value":"v""#);
    assert_eq!(bench.ended(), [(ids[1], Ok(Answer::Value("v".into())))]);
}

#[test]
fn what_was_never_sent_is_not_in_doubt() {
    let mut bench = Bench::plain();
    let id = bench.call(Call::increment("n", 1));
    bench.cut();
    assert!(bench.ended().is_empty());
    bench.elapse("reconnect");
    bench.opened();
    bench.made();
    bench.answers(1, r#","newValue":1"#);
    assert_eq!(bench.ended(), [(id, Ok(Answer::Number(1)))]);
}

#[test]
fn what_is_not_text_is_not_sent_to_a_plain_service() {
    let mut bench = connected();
    bench.call(Call::set("k", Bytes::from_static(b"\xff\0")));
    assert_eq!(bench.end(), Err(CallError::NotText));
    assert!(bench.sent().is_empty());
    // What it sends so all the same is understood.
    bench.call(Call::get("k"));
    bench.answers(1, r#","key":"k","value":"/wA=","encoding":"base64""#);
    let value = Bytes::from_static(b"\xff\0");
    assert_eq!(bench.end(), Ok(Answer::Value(value)));
}

#[test]
fn an_answer_that_makes_no_sense_ends_the_call() {
    let mut bench = connected();
    bench.call(Call::get("k"));
    bench.answers(1, r#","success":true"#);
    assert_eq!(bench.end(), Err(CallError::Unintelligible));
    bench.call(Call::increment("n", 1));
    bench.answers(2, r#","success":true"#);
    assert!(bench.end().unwrap_err().is_in_doubt());
    bench.call(Call::increment("n", 1));
    bench.says(r#"{"code":"200","messageId":3}"#);
    assert!(bench.end().unwrap_err().is_in_doubt());
}

#[test]
fn a_token_is_told_changes_and_that_some_may_be_missing_after_a_cut() {
    let mut bench = Bench::new(token(), |config| config.durable = false);
    bench.command(|client, now| client.connect(now));
    bench.opened();
    bench.says(r#"{"type":"notification","key":"k","value":"v","timestamp":5}"#);
    bench.says(r#"{"type":"notification","key":"k","value":null,"timestamp":6,"sequence":12}"#);
    let notified: Vec<_> = bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Notified(notification) => Some(notification.clone()),
            _ => None,
        })
        .collect();
    let expected = |value: Option<Bytes>, timestamp, sequence| Notification {
        key: "k".into(),
        value,
        timestamp: Some(timestamp),
        sequence,
    };
    assert_eq!(
        notified,
        [
            expected(Some("v".into()), 5, None),
            expected(None, 6, Some(12))
        ]
    );
    assert_eq!(bench.statistics().notifications, 2);
    let missed = |event: &Event| matches!(event, Event::Missed { .. });
    assert_eq!(bench.count(missed), 0);
    bench.cut();
    // Nothing is to be done, and the link is restored all the same.
    bench.elapse("reconnect");
    bench.opened();
    assert_eq!(bench.count(missed), 1);
    let after = Some(12);
    assert_eq!(
        bench.events.last(),
        Some(&Event::Missed { after, first: None })
    );
}
