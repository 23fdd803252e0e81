//! Client, relay and an SMTP server joined without a socket, where nothing goes wrong: what each says of a message.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use bytes::Bytes;
use relay_proto::{
    Machine, Priority,
    mail::{
        client::{ClientConfig, ConnectionState, Error, Event, Receipt, Submission},
        relay,
        wire::ApiKey,
    },
    pacing::Rate,
    smtp::{Address, ForwardPath, Script},
};
use relay_testkit::simulation::{Plan, Trace, Verdict, World, mail};
use std::{collections::BTreeMap, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn plan(seed: u64) -> Plan {
    Plan {
        attempts: Some(3),
        ..Plan::calm(seed)
    }
}

fn world(seed: u64) -> World {
    World::new(&plan(seed), Trace::default(), |_| {})
}

fn submit(world: &mut World, number: u64, to: &[&str], body: &[u8]) {
    let (submission, content) = mail(number, to, body);
    world.submit(number, submission, content).unwrap();
}

fn verdicts(world: &World) -> BTreeMap<u64, Option<Verdict>> {
    let oracle = world.oracle.borrow();
    let verdict =
        |(number, fate): (&u64, &relay_testkit::simulation::Fate)| (*number, fate.verdict);
    oracle.fates.iter().map(verdict).collect()
}

fn receipt(world: &World) -> Receipt {
    let events = world.client_events.borrow();
    let receipt = |event: &Event| match event {
        Event::Processed { receipt, .. } => Some(receipt.clone()),
        _ => None,
    };
    events.iter().find_map(receipt).expect("one succeeds")
}

#[test]
fn a_message_arrives_byte_for_byte_and_everything_comes_to_rest() {
    let mut world = world(1);
    let body = b"first\r\n.\r\n..dots\r\n\xff\xfe 8-bit \x00 and NUL\r\n.\r\n";
    submit(&mut world, 7, &["bob@example.net"], body);
    world.settle_all(10 * SECOND);
    assert_eq!(verdicts(&world)[&7], Some(Verdict::Delivered));
    let mut expected = b"Subject: 7\r\n\r\n".to_vec();
    expected.extend_from_slice(body);
    assert_eq!(world.oracle.borrow().taken, [Bytes::from(expected)]);
    world.run_for(60 * SECOND);
    let client = world.clients[0].pump.machine();
    assert_eq!(client.state(), ConnectionState::Disconnected);
    assert_eq!(client.deadline(), None);
    let disconnected = |event: &relay::Event| matches!(event, relay::Event::Disconnected { .. });
    assert!(world.relay_events.borrow().iter().any(disconnected));
    assert_eq!(world.relay.pump.machine().links(), 0);
}

#[test]
fn refused_recipients_are_named_and_the_others_get_the_message() {
    let mut world = world(2);
    let both = ["bob@example.net", "mallory@example.net"];
    submit(&mut world, 1, &both, b"x\r\n");
    submit(&mut world, 2, &["mallory@example.net"], b"x\r\n");
    world.settle_all(10 * SECOND);
    let receipt = receipt(&world);
    let bob: Address = "bob@example.net".parse().unwrap();
    assert_eq!(receipt.accepted, [ForwardPath::from(bob)]);
    let [(refused, reply)] = &receipt.rejected[..] else {
        panic!("{receipt:?}");
    };
    let mallory: Address = "mallory@example.net".parse().unwrap();
    assert_eq!(refused, &ForwardPath::from(mallory));
    assert_eq!(reply.to_string(), "550 5.1.1 No such user");
    let expected = [(1, Some(Verdict::Delivered)), (2, Some(Verdict::Failed))];
    assert_eq!(verdicts(&world), BTreeMap::from(expected));
}

#[test]
fn a_wrong_key_fails_at_once_and_says_so() {
    let mut world = World::new(&plan(3), Trace::default(), |config| {
        config.api_key = ApiKey::new("wrong");
    });
    submit(&mut world, 1, &["bob@example.net"], b"");
    world.settle_all(10 * SECOND);
    let events = world.client_events.borrow();
    let failure = |event: &Event| match event {
        Event::Failed { error, .. } => Some(error.clone()),
        _ => None,
    };
    let error = events.iter().find_map(failure).expect("it fails");
    assert!(matches!(error, Error::Authentication(_)), "{error}");
    assert!(error.to_string().contains("unknown key"), "{error}");
}

#[test]
fn a_raw_script_returns_its_transcript() {
    let mut world = world(4);
    let content = "Subject: 9\n\nhi\n".replace('\n', "\r\n");
    let script = "MAIL FROM:<alice@example.org>\nRCPT TO:<bob@example.net>\nDATA\nSubject: 9\n\nhi\n.\nQUIT\n";
    let script = Submission::script(Script::parse(script.as_bytes()).unwrap());
    world.submit(9, script, content.into()).unwrap();
    world.settle_all(10 * SECOND);
    assert_eq!(verdicts(&world)[&9], Some(Verdict::Delivered));
    let transcript = receipt(&world).transcript;
    let said = transcript
        .iter()
        .map(|exchange| exchange.line.escape_ascii().to_string());
    let said: Vec<String> = said.collect();
    let expected = [
        "MAIL FROM:<alice@example.org>",
        "RCPT TO:<bob@example.net>",
        "DATA",
        ".",
    ];
    assert!(said.ends_with(&expected.map(String::from)), "{said:?}");
}

#[test]
fn thirty_mebibytes_pass_in_bounded_memory() {
    let mut world = World::new(&plan(5), Trace::default(), |config| {
        config.timeouts.message = 3600 * SECOND;
    });
    let line = b"0123456789abcdef \xe4\xf6\xfc .\r\n".repeat(1_400_000);
    assert!(line.len() > 30 << 20);
    submit(&mut world, 1, &["bob@example.net"], &line);
    // How much is under way at most is judged at every step.
    world.settle_all(3600 * SECOND);
    assert_eq!(verdicts(&world)[&1], Some(Verdict::Delivered));
}

#[test]
fn priorities_hold_across_the_whole_way() {
    let plan = plan(6);
    let mut world = World::new(&plan, Trace::default(), |config| config.max_channels = 1);
    for number in 0..20 {
        let priorities = [
            Priority::Low,
            Priority::Normal,
            Priority::High,
            Priority::Critical,
        ];
        let (submission, content) = mail(number, &["bob@example.net"], b"");
        let priority = priorities[number as usize % 4];
        let submission = submission.with_priority(priority);
        world.submit(number, submission, content).unwrap();
    }
    world.settle_all(120 * SECOND);
    let oracle = world.oracle.borrow();
    let subject = |message: &Bytes| String::from_utf8_lossy(&message[9..11]).trim().to_owned();
    let order = oracle.taken.iter().map(subject);
    let order: Vec<u64> = order.map(|number| number.parse().unwrap()).collect();
    let mut expected: Vec<u64> = (0..20).collect();
    expected.sort_by_key(|number| (3 - number % 4, *number));
    assert_eq!(order, expected);
}

#[test]
fn messages_share_connections_and_what_a_server_does_between_them_is_not_noticed() {
    let mut worn_out = 0;
    for seed in 0..36 {
        let mut world = world(seed);
        for number in 0..12 {
            submit(&mut world, number, &["bob@example.net"], b"x\r\n");
            // Now and then the server's patience for an idle connection ends.
            world.run_for([SECOND / 10, 4 * SECOND][number as usize % 2]);
        }
        world.settle_all(60 * SECOND);
        let delivered = |verdict: &Option<Verdict>| *verdict == Some(Verdict::Delivered);
        assert!(verdicts(&world).values().all(delivered), "seed {seed}");
        let failed = |event: &relay::Event| matches!(event, relay::Event::ChannelFailed { .. });
        let events = world.relay_events.borrow();
        assert!(!events.iter().any(failed), "seed {seed}: {events:?}");
        let oracle = world.oracle.borrow();
        if seed < 4 {
            assert!(
                oracle.connections <= 4,
                "seed {seed}: {}",
                oracle.connections
            );
        }
        worn_out += oracle.worn_out;
    }
    assert!(worn_out > 0, "some were told 421 at MAIL");
}

/// Each time at which the client says something new on its link of this number, from the opening of that link to the report
/// that the message on it is delivered: a wait for the relay lies between one and the next.
fn times_to_speak(trace: &Trace, link: u64) -> Vec<String> {
    let sends = format!("client sends on out-{link}: ");
    let lines = trace.lines();
    let told = |line: &&String| {
        line.contains(&sends) && !line.contains("Acknowledgement") && !line.contains("CLOSED")
    };
    let mut times: Vec<String> = lines
        .iter()
        .filter(told)
        .map(|line| line[..12].to_owned())
        .collect();
    times.dedup();
    times
}

#[test]
fn a_message_on_a_new_link_costs_one_round_trip_where_the_relay_is_known() {
    let trace = Trace::kept();
    let mut world = World::new(&plan(7), trace.clone(), |_| {});
    // The first link ever, one on which the session goes on, and one on which it has expired.
    for (number, pause, expected) in [(0, 10, 2), (1, 600, 1), (2, 10, 1)] {
        submit(&mut world, number, &["bob@example.net"], b"x\r\n");
        world.settle_all(10 * SECOND);
        world.run_for(pause * SECOND);
        let times = times_to_speak(&trace, number);
        assert_eq!(times.len(), expected, "link {number}: {times:?}");
    }
    let lines = trace.lines();
    let resumed = |line: &&String| line.contains("client says SessionResumed");
    assert_eq!(lines.iter().filter(resumed).count(), 1);
    assert_eq!(world.oracle.borrow().taken.len(), 3);
}

/// A hundred messages at once, for a relay that takes so many a second of their key: how long it took, and how often one was refused
/// for the rate.
fn a_hundred_messages(
    durable: bool,
    rate: u64,
    configure: impl FnOnce(&mut ClientConfig),
) -> (Duration, u64) {
    let plan = Plan {
        durable,
        rate: Some(Rate::per_second(rate)),
        // No message has a second try.
        attempts: Some(0),
        ..plan(8)
    };
    let mut world = World::new(&plan, Trace::default(), configure);
    let begun = world.network.now;
    for number in 0..100 {
        submit(&mut world, number, &["bob@example.net"], b"x\r\n");
    }
    world.run_for(SECOND);
    while !world.oracle.borrow().all_settled() {
        world.run_for(SECOND / 10);
        assert!(world.network.now.since(begun) < 120 * SECOND);
    }
    let taken = world.network.now.since(begun);
    let delivered = |verdict: &Option<Verdict>| *verdict == Some(Verdict::Delivered);
    assert!(verdicts(&world).values().all(delivered));
    let statistics = world.clients[0].pump.machine().statistics();
    assert_eq!((statistics.failed, statistics.retried), (0, 0));
    (taken, statistics.throttled)
}

#[test]
fn a_client_learns_the_rate_of_its_key_and_fails_nothing() {
    // As many as in a second go at once, and the base dialect would need thirty seconds anyway.
    for (durable, rate, least) in [(true, 10, 9), (true, 2, 49), (false, 2, 49)] {
        let (taken, refused) = a_hundred_messages(durable, rate, |_| {});
        // A rate that is halved and grows again is three quarters of the most in the mean.
        let most = least * SECOND * 4 / 3;
        assert!(
            (least * SECOND..=most).contains(&taken),
            "{durable} {rate}: {taken:?}"
        );
        // The first flight and, now and then, one that finds out whether it is still so.
        assert!(refused <= 16 + 8, "{durable} {rate}: {refused}");
    }
}

#[test]
fn a_client_that_knows_the_rate_of_its_key_is_never_refused() {
    // One less at once: it may have to wait on the way, and the next not.
    let rate = Rate::per_second(10).with_burst(9);
    let (taken, refused) = a_hundred_messages(true, 10, |config| config.rate = Some(rate));
    assert!((9 * SECOND..=10 * SECOND).contains(&taken), "{taken:?}");
    assert_eq!(refused, 0);
}
