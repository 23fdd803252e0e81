//! Client, relay and an SMTP server joined without a socket: on virtual time, with faults, from seeds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod network;

use bytes::{Bytes, BytesMut};
use network::{Faults, Host, Network, Node};
use relay_proto::{
    BackoffPolicy, LinkId, Machine, Priority, Pump, Random, StreamAddress, Time,
    mail::{
        client::{Client, ClientConfig, ConnectionState, Error, Event, InDoubtPolicy, Submission},
        relay::{self, Policy, Relay, RelayConfig},
        wire::{ApiKey, Denied},
    },
    smtp::{
        Address, Code, Envelope, ForwardPath, Reply, Script, Server, ServerConfig, ServerEvent,
        SessionConfig,
    },
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);

/// What a test sees of the three.
#[derive(Default)]
struct Seen {
    client: Vec<Event>,
    relay: Vec<relay::Event>,
    /// Messages the server has taken responsibility for.
    delivered: Vec<Bytes>,
    /// Chance in a thousand that the server refuses a message, in one of several ways.
    moody: u64,
    /// How many connections the server was opened.
    connections: usize,
    /// How many messages it refused because their connection had carried enough.
    worn_out: usize,
}

/// The mail server at the end: refuses nobody but mallory, and takes messages by their end of content.
#[derive(Default)]
struct Mailbox {
    messages: BTreeMap<LinkId, BytesMut>,
    /// How many messages came on each connection.
    begun: BTreeMap<LinkId, u64>,
}

/// What kind of server it is, by the seed: the extensions it has, how many messages it takes on a connection, and how long it
/// lets one be idle.
fn server_kind(seed: u64) -> (ServerConfig, u64) {
    let mut session = SessionConfig::new("mx.test".parse().unwrap());
    session.max_message_bytes = Some(64 << 20);
    session.capabilities.pipelining = seed.is_multiple_of(2);
    session.capabilities.chunking = (seed / 2).is_multiple_of(2);
    let mut config = ServerConfig::new(session);
    config.command_timeout = [300, 2, 20][seed as usize / 4 % 3] * SECOND;
    (config, [u64::MAX, 1, 3][seed as usize / 12 % 3])
}

/// A machine with a closure for its application.
type Behind<M, E> = Node<M, Box<dyn FnMut(&mut M, Time, E)>>;

struct World {
    network: Network,
    client: Behind<Client, Event>,
    relay: Behind<Relay, relay::Event>,
    server: Behind<Server, ServerEvent>,
    seen: Rc<RefCell<Seen>>,
}

impl World {
    fn new(seed: u64, configure: impl FnOnce(&mut ClientConfig)) -> Self {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let mut config = ClientConfig::new("ws://relay.test".parse().unwrap(), ApiKey::new("good"));
        configure(&mut config);
        let client = Client::new(config, [seed as u8; 32], Time::ZERO);
        let relay = new_relay(seed);
        let (config, messages_per_connection) = server_kind(seed);
        let server = Server::new(config);

        let log = Rc::clone(&seen);
        let on_client = move |_: &mut Client, _, event| log.borrow_mut().client.push(event);
        let log = Rc::clone(&seen);
        let on_relay = move |relay: &mut Relay, now, event: relay::Event| {
            if let relay::Event::KeyPresented { link, key, .. } = &event {
                if *key == ApiKey::new("good") {
                    relay.grant(now, *link, Policy::default());
                } else {
                    relay.deny(now, *link, Denied::for_good("unknown key"));
                }
            }
            log.borrow_mut().relay.push(event);
        };
        let log = Rc::clone(&seen);
        let mut mailbox = Mailbox::default();
        let mut moods = Random::new([seed as u8; 32]);
        let on_server = move |server: &mut Server, now, event: ServerEvent| {
            let ok = |text| Reply::new(Code::OK, None, text);
            match event {
                ServerEvent::Opened { .. } => log.borrow_mut().connections += 1,
                ServerEvent::Mail { link, .. } => {
                    let begun = mailbox.begun.entry(link).or_default();
                    *begun += 1;
                    let is_worn_out = *begun > messages_per_connection;
                    log.borrow_mut().worn_out += usize::from(is_worn_out);
                    let enough = relay_proto::smtp::reply(421, "4.7.0", "Enough for now");
                    server.respond(now, link, if is_worn_out { enough } else { ok("ok") });
                }
                ServerEvent::Recipient { link, forward_path } => {
                    let refused = forward_path.to_string().contains("mallory");
                    let no = relay_proto::smtp::reply(550, "5.1.1", "No such user");
                    server.respond(now, link, if refused { no } else { ok("ok") });
                    mailbox.messages.insert(link, BytesMut::new());
                }
                ServerEvent::Content { link, content } => {
                    let message = mailbox.messages.entry(link).or_default();
                    message.extend_from_slice(&content);
                }
                ServerEvent::EndOfContent { link } => {
                    let message = mailbox.messages.remove(&link).unwrap_or_default();
                    let mood = moods.next_u64();
                    if mood % 1000 < log.borrow().moody {
                        let code = [421, 451, 550][(mood >> 32) as usize % 3];
                        server.respond(now, link, relay_proto::smtp::reply(code, "", "no"));
                        return;
                    }
                    log.borrow_mut().delivered.push(message.freeze());
                    server.respond(now, link, ok("taken"));
                }
                ServerEvent::Reset { link } | ServerEvent::Closed { link, .. } => {
                    mailbox.messages.remove(&link);
                }
                _ => {}
            }
        };
        Self {
            network: Network::new(seed),
            client: Node {
                pump: Pump::new(client),
                application: Box::new(on_client),
            },
            relay: Node {
                pump: Pump::new(relay),
                application: Box::new(on_relay),
            },
            server: Node {
                pump: Pump::new(server),
                application: Box::new(on_server),
            },
            seen,
        }
    }

    fn submit(&mut self, submission: Submission) -> u64 {
        let now = self.network.now;
        self.client
            .pump
            .command(now, |client, now| client.submit(now, submission))
            .unwrap();
        self.client.pump.machine().statistics().queued
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.network.now.after(duration);
        let mut hosts: [&mut dyn Host; 3] = [&mut self.client, &mut self.relay, &mut self.server];
        self.network.run(&mut hosts, end);
    }

    /// Runs until `done` says so; panics where that takes more than so much virtual time.
    fn run_until(&mut self, within: Duration, done: impl Fn(&Client) -> bool) {
        let end = self.network.now.after(within);
        while !done(self.client.pump.machine()) {
            assert!(
                self.network.now < end,
                "not done in time: {:?}",
                self.client.pump.machine().statistics()
            );
            self.run_for(SECOND);
        }
    }

    fn settle_all(&mut self, within: Duration) {
        self.run_until(within, |client| {
            let statistics = client.statistics();
            statistics.processed + statistics.failed == statistics.queued
        });
    }

    fn outcomes(&self) -> BTreeMap<String, Result<(), Error>> {
        let outcome = |event: &Event| {
            let (id, result) = event.outcome()?;
            Some((id.to_string(), result.map(drop).map_err(Clone::clone)))
        };
        self.seen
            .borrow()
            .client
            .iter()
            .filter_map(outcome)
            .collect()
    }

    fn in_doubt(&self) -> usize {
        let doubts = |event: &&Event| matches!(event, Event::InDoubt { .. });
        self.seen.borrow().client.iter().filter(doubts).count()
    }

    /// How often each message arrived, by the number in its subject.
    fn deliveries(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for message in &self.seen.borrow().delivered {
            let subject = message.strip_prefix(b"Subject: ").unwrap();
            let digits = subject.iter().take_while(|byte| byte.is_ascii_digit());
            let number = digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
            *counts.entry(number).or_default() += 1;
        }
        counts
    }
}

fn new_relay(seed: u64) -> Relay {
    let upstream = StreamAddress::new("mx.test", 25, false);
    let mut config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
    config.pool.max_idle = [16, 0, 1][seed as usize / 36 % 3];
    Relay::new(config, [1; 32])
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn mail(number: u64, to: &[&str], body: &[u8]) -> Submission {
    let envelope = Envelope::new(
        address("alice@example.org"),
        to.iter().map(|to| address(to)),
    );
    let mut content = format!("Subject: {number}\r\n\r\n").into_bytes();
    content.extend_from_slice(body);
    Submission::message(envelope.unwrap(), content.into())
}

#[test]
fn a_message_arrives_byte_for_byte_and_everything_comes_to_rest() {
    let mut world = World::new(1, |_| {});
    let body = b"first\r\n.\r\n..dots\r\n\xff\xfe 8-bit \x00 and NUL\r\n.";
    world.submit(mail(7, &["bob@example.net"], body));
    world.settle_all(10 * SECOND);
    let mut expected = b"Subject: 7\r\n\r\n".to_vec();
    expected.extend_from_slice(body);
    expected.extend_from_slice(b"\r\n");
    assert_eq!(world.seen.borrow().delivered, [Bytes::from(expected)]);
    world.run_until(60 * SECOND, |client| {
        client.state() == ConnectionState::Disconnected
    });
    assert_eq!(world.client.pump.machine().deadline(), None);
    let disconnected = |event: &relay::Event| matches!(event, relay::Event::Disconnected { .. });
    assert!(world.seen.borrow().relay.iter().any(disconnected));
    assert_eq!(world.relay.pump.machine().links(), 0);
}

#[test]
fn refused_recipients_are_named_and_the_others_get_the_message() {
    let mut world = World::new(2, |_| {});
    world.submit(mail(
        1,
        &["bob@example.net", "mallory@example.net"],
        b"x\r\n",
    ));
    world.submit(mail(2, &["mallory@example.net"], b"x\r\n"));
    world.settle_all(10 * SECOND);
    let seen = world.seen.borrow();
    let receipt = seen.client.iter().find_map(|event| match event {
        Event::Processed { receipt, .. } => Some(receipt),
        _ => None,
    });
    let receipt = receipt.expect("one succeeds");
    assert_eq!(
        receipt.accepted,
        [ForwardPath::from(address("bob@example.net"))]
    );
    let [(refused, reply)] = &receipt.rejected[..] else {
        panic!("{receipt:?}");
    };
    assert_eq!(refused, &ForwardPath::from(address("mallory@example.net")));
    assert_eq!(reply.to_string(), "550 5.1.1 No such user");
    drop(seen);
    let outcomes = world.outcomes();
    assert!(outcomes["2"].as_ref().unwrap_err().is_permanent());
    assert_eq!(world.deliveries(), BTreeMap::from([(1, 1)]));
}

#[test]
fn a_wrong_key_fails_at_once_and_says_so() {
    let mut world = World::new(3, |config| config.api_key = ApiKey::new("wrong"));
    world.submit(mail(1, &["bob@example.net"], b""));
    world.settle_all(10 * SECOND);
    let outcomes = world.outcomes();
    let error = outcomes["1"].as_ref().unwrap_err();
    assert!(matches!(error, Error::Authentication(_)), "{error}");
    assert!(error.to_string().contains("unknown key"), "{error}");
}

#[test]
fn a_raw_script_returns_its_transcript() {
    let mut world = World::new(4, |_| {});
    let script = "MAIL FROM:<alice@example.org>\nRCPT TO:<bob@example.net>\nDATA\nSubject: 9\n\nhi\n.\nQUIT\n";
    world.submit(Submission::script(
        Script::parse(script.as_bytes()).unwrap(),
    ));
    world.settle_all(10 * SECOND);
    assert_eq!(world.deliveries(), BTreeMap::from([(9, 1)]));
    let seen = world.seen.borrow();
    let receipt = seen
        .client
        .iter()
        .find_map(|event| Some(event.outcome()?.1.unwrap()));
    let said: Vec<String> = receipt
        .unwrap()
        .transcript
        .iter()
        .map(|exchange| exchange.line.escape_ascii().to_string())
        .collect();
    assert_eq!(
        said,
        [
            "",
            "EHLO localhost",
            "MAIL FROM:<alice@example.org>",
            "RCPT TO:<bob@example.net>",
            "DATA",
            "."
        ]
    );
}

#[test]
fn thirty_mebibytes_pass_in_bounded_memory() {
    let mut world = World::new(5, |config| config.timeouts.message = 3600 * SECOND);
    let line = b"0123456789abcdef \xe4\xf6\xfc .\r\n".repeat(1_400_000);
    assert!(line.len() > 30 << 20);
    world.submit(mail(1, &["bob@example.net"], &line));
    world.settle_all(3600 * SECOND);
    assert_eq!(world.outcomes()["1"], Ok(()));
    let seen = world.seen.borrow();
    assert!(seen.delivered[0].ends_with(&line[line.len() - 1000..]));
    assert_eq!(
        seen.delivered[0].len(),
        line.len() + "Subject: 1\r\n\r\n".len()
    );
    // The wires hold a few frames each, and both machines stop when those are full.
    assert!(
        world.network.largest_lane_bytes < 2 << 20,
        "{}",
        world.network.largest_lane_bytes
    );
}

#[test]
fn priorities_hold_across_the_whole_way() {
    let mut world = World::new(6, |_| {});
    for number in 0..20 {
        let priorities = [
            Priority::Low,
            Priority::Normal,
            Priority::High,
            Priority::Critical,
        ];
        let priority = priorities[number as usize % 4];
        world.submit(mail(number, &["bob@example.net"], b"").with_priority(priority));
    }
    world.settle_all(120 * SECOND);
    let order: Vec<u64> = {
        let seen = world.seen.borrow();
        let subject = |message: &Bytes| String::from_utf8_lossy(&message[9..11]).trim().to_owned();
        seen.delivered
            .iter()
            .map(|message| subject(message).parse().unwrap())
            .collect()
    };
    let mut expected: Vec<u64> = (0..20).collect();
    expected.sort_by_key(|number| (3 - number % 4, *number));
    assert_eq!(order, expected);
}

#[test]
fn messages_share_connections_and_what_a_server_does_between_them_is_not_noticed() {
    let mut worn_out = 0;
    for seed in 0..36 {
        let mut world = World::new(seed, |_| {});
        for number in 0..12 {
            world.submit(mail(number, &["bob@example.net"], b"x\r\n"));
            // Now and then the server's patience for an idle connection ends.
            world.run_for([SECOND / 10, 4 * SECOND][number as usize % 2]);
        }
        world.settle_all(60 * SECOND);
        assert!(world.outcomes().values().all(Result::is_ok), "seed {seed}");
        let ones = (0..12).map(|number| (number, 1));
        assert_eq!(world.deliveries(), ones.collect(), "seed {seed}");
        let seen = world.seen.borrow();
        let failed = |event: &relay::Event| matches!(event, relay::Event::ChannelFailed { .. });
        assert!(
            !seen.relay.iter().any(failed),
            "seed {seed}: {:?}",
            seen.relay
        );
        if seed < 4 {
            assert!(seen.connections <= 2, "seed {seed}: {}", seen.connections);
        }
        worn_out += seen.worn_out;
    }
    assert!(worn_out > 0, "some were told 421 at MAIL");
}

/// Whatever the network does: every accepted message ends exactly once; what succeeded has arrived; what arrived twice
/// was reported in doubt; and once the faults stop, everything drains.
#[test]
fn nothing_is_lost_and_doubles_are_announced_whatever_the_network_does() {
    let (mut in_doubt, mut doubled, mut reconnects) = (0, 0, 0);
    for seed in 0..100 {
        let faults = Faults {
            cut: 1 + seed % 40,
            dead: if seed % 3 == 0 { 10 } else { 0 },
            refuse: seed % 5 * 50,
            full: 0,
        };
        let mut world = World::new(seed, |config| {
            config.reconnect = BackoffPolicy::new(SECOND, 5 * SECOND, None);
            config.retry = BackoffPolicy::new(SECOND, 5 * SECOND, None);
            config.in_doubt = InDoubtPolicy::SendAgain(u32::MAX);
            config.idle = (seed % 2 == 0).then_some(SECOND);
        });
        world.network.faults = faults;
        for number in 0..8 {
            let body = vec![b'x'; (number as usize % 3) * 40_000];
            world.submit(mail(number, &["bob@example.net"], &body));
        }
        world.run_for(30 * SECOND);
        world.network.faults = Faults::default();
        world.settle_all(3600 * SECOND);
        let outcomes = world.outcomes();
        assert_eq!(outcomes.len(), 8, "seed {seed}");
        assert!(
            outcomes.values().all(Result::is_ok),
            "seed {seed}: {outcomes:?}"
        );
        let deliveries = world.deliveries();
        assert_eq!(deliveries.len(), 8, "seed {seed}: {deliveries:?}");
        let doubles: usize = deliveries.values().map(|count| count - 1).sum();
        assert!(doubles <= world.in_doubt(), "seed {seed}: {deliveries:?}");
        in_doubt += world.in_doubt();
        doubled += doubles;
        reconnects += world.client.pump.machine().statistics().reconnects;
    }
    println!("{in_doubt} in doubt, {doubled} doubled, {reconnects} reconnects");
    assert!(
        in_doubt > 0 && doubled > 0 && reconnects > 100,
        "the faults hit where it matters"
    );
}

/// Both sides are killed, stopped, stalled and refused at random moments: every accepted message is reported exactly once, as
/// what it is. What was delivered is a success or in doubt, and never more often than the doubts account for.
#[test]
fn no_report_is_wrong_whoever_dies() {
    let seeds = std::env::var("SEEDS").map_or(100, |seeds| seeds.parse().unwrap());
    let mut kinds = [0; 4];
    for seed in 0..seeds {
        for (count, more) in kinds.iter_mut().zip(walk(seed)) {
            *count += more;
        }
    }
    println!("succeeded, failed, in doubt, left: {kinds:?}");
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

fn walk(seed: u64) -> [usize; 4] {
    const MESSAGES: u64 = 8;
    let mut world = World::new(seed, |config| {
        let attempts = [None, Some(1), Some(4)][seed as usize % 3];
        config.reconnect = BackoffPolicy::new(SECOND, 5 * SECOND, attempts);
        config.retry = BackoffPolicy::new(SECOND, 5 * SECOND, attempts);
        config.in_doubt = [
            InDoubtPolicy::Fail,
            InDoubtPolicy::SendAgain(1),
            InDoubtPolicy::SendAgain(u32::MAX),
        ][seed as usize / 3 % 3];
        config.idle = seed.is_multiple_of(2).then_some(SECOND);
        config.timeouts.message = [1, 5, 60][seed as usize / 9 % 3] * SECOND;
    });
    world.network.faults = Faults {
        cut: seed % 7 * 5,
        dead: seed % 4 * 3,
        refuse: seed % 5 * 50,
        full: 0,
    };
    world.seen.borrow_mut().moody = seed % 11 * 40;
    for number in 0..MESSAGES {
        let body = vec![b'x'; (number as usize % 3) * 40_000];
        world.submit(mail(number, &["bob@example.net"], &body));
    }
    let mut ended = false;
    for _ in 0..300 {
        let pause = world.network.random.up_to(SECOND / 5);
        world.run_for(pause);
        let now = world.network.now;
        if world.network.chance(10) {
            world.network.crash(1);
            world.relay.pump = Pump::new(new_relay(seed));
        }
        if world.network.chance(20) {
            let host = world.network.random.next_u64() as usize % 3;
            let until = now.after(world.network.random.up_to(20 * SECOND));
            world.network.stalled = Some((host, until));
        }
        if world.network.chance(2) {
            let patience = world.network.random.up_to(10 * SECOND);
            world
                .client
                .pump
                .command(now, |client, now| client.shutdown(now, patience));
            ended = true;
        }
    }
    world.network.faults = Faults::default();
    world.seen.borrow_mut().moody = 0;
    if ended {
        world.run_until(3600 * SECOND, Machine::is_finished);
    } else {
        world.settle_all(3600 * SECOND);
    }
    // What is still under way behind the relay comes to its end.
    world.run_for(3600 * SECOND);

    assert_eq!(world.relay.pump.machine().upstreams(), 0, "seed {seed}");

    let (deliveries, outcomes) = (world.deliveries(), world.outcomes());
    let seen = world.seen.borrow();
    let mut left = BTreeMap::new();
    for event in &seen.client {
        if let Event::Terminated { left: unsettled } = event {
            left.extend(
                unsettled
                    .iter()
                    .map(|left| (left.id.to_string(), left.in_doubt)),
            );
        }
    }
    let mut kinds = [0; 4];
    for number in 0..MESSAGES {
        let id = (number + 1).to_string();
        let context = format!("seed {seed}, message {id}");
        let reports = seen.client.iter().filter_map(Event::outcome);
        let reports = reports.filter(|(reported, _)| reported.to_string() == id);
        let count = reports.count() + usize::from(left.contains_key(&id));
        assert_eq!(count, 1, "{context}: reported once");
        let doubt = |event: &&Event| matches!(event, Event::InDoubt { id: doubted, .. } if doubted.to_string() == id);
        let doubts = seen.client.iter().filter(doubt).count();
        let arrived = deliveries.get(&number).copied().unwrap_or(0);
        let (kind, may_have_arrived) = match (outcomes.get(&id), left.get(&id)) {
            (Some(Ok(())), _) => {
                assert!(arrived > 0, "{context}: a success has arrived");
                (0, true)
            }
            (Some(Err(Error::InDoubt(_))), _) => (2, true),
            (Some(Err(_)), _) => (1, false),
            (None, in_doubt) => (3, in_doubt == Some(&true)),
        };
        assert!(
            arrived == 0 || may_have_arrived,
            "{context}: {:?}",
            outcomes.get(&id)
        );
        assert!(
            arrived <= doubts + 1,
            "{context}: {arrived} times, {doubts} doubts"
        );
        kinds[kind] += 1;
    }
    kinds
}

/// The client dies again and again, the links with it and without, and its disk is full now and then: what was accepted
/// arrives, each doubt is told, and what is settled is gone from the disk.
#[test]
fn with_its_outbox_on_disk_a_client_that_dies_loses_nothing_and_doubles_nothing_silently() {
    let (mut accepted, mut refused, mut restored, mut doubled) = (0, 0, 0, 0);
    let seeds = std::env::var("SEEDS").map_or(100, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let counts = live_and_die(seed);
        accepted += counts[0];
        refused += counts[1];
        restored += counts[2];
        doubled += counts[3];
    }
    println!("{accepted} accepted, {refused} refused, {restored} restored, {doubled} doubled");
    assert!(accepted > 300 && refused > 10 && restored > 100 && doubled > 0);
}

fn live_and_die(seed: u64) -> [usize; 4] {
    let mut config = None;
    let mut world = World::new(seed, |given| {
        given.reconnect = BackoffPolicy::new(SECOND, 5 * SECOND, None);
        given.retry = BackoffPolicy::new(SECOND, 5 * SECOND, None);
        given.in_doubt = InDoubtPolicy::SendAgain(u32::MAX);
        config = Some(given.clone());
    });
    let config = config.unwrap();
    let mut lives = 0;
    let mut restart = |world: &mut World| {
        lives += 1;
        world.network.crash(0);
        let (now, seed) = (world.network.now, [lives; 32]);
        let records = world.network.disk.records(now);
        let client = Client::restore(config.clone(), seed, now, records).unwrap();
        world.client.pump = Pump::new(client);
    };
    restart(&mut world);
    world.network.faults = Faults {
        cut: seed % 7 * 5,
        dead: seed % 4 * 3,
        refuse: seed % 5 * 50,
        full: seed % 3 * 50,
    };
    world.seen.borrow_mut().moody = seed % 11 * 40;
    // Numbers of messages by the ids the present client gave them, and the numbers it has accepted.
    let (mut ids, mut accepted) = (BTreeMap::new(), BTreeSet::new());
    let (mut refused, mut read) = (0, 0);
    for round in 0..200 {
        let now = world.network.now;
        if round % 20 == 0 {
            let body = vec![b'x'; (round as usize % 3) * 40_000];
            let mail = mail(round, &["bob@example.net"], &body);
            let submit = |client: &mut Client, now| client.submit(now, mail);
            match world.client.pump.command(now, submit) {
                Ok(id) => drop(ids.insert(id, round)),
                Err(_) => refused += 1,
            }
        }
        let pause = world.network.random.up_to(SECOND / 5);
        world.run_for(pause);
        for event in &world.seen.borrow().client[read..] {
            if let Event::Queued { id, .. } = event {
                accepted.insert(ids[id]);
            } else if let Event::Refused { .. } = event {
                refused += 1;
            }
        }
        read = world.seen.borrow().client.len();
        if world.network.chance(30) {
            restart(&mut world);
            ids.clear();
        }
    }
    world.network.faults = Faults::default();
    world.seen.borrow_mut().moody = 0;
    world.settle_all(3600 * SECOND);
    world.run_for(60 * SECOND);

    let (deliveries, seen) = (world.deliveries(), world.seen.borrow());
    let (mut restored, mut refused_by_server) = (0, 0);
    for event in &seen.client {
        match event {
            Event::Restored { .. } => restored += 1,
            Event::Failed { .. } => refused_by_server += 1,
            _ => {}
        }
    }
    let missing = accepted
        .iter()
        .filter(|number| !deliveries.contains_key(number));
    assert!(
        missing.count() <= refused_by_server,
        "seed {seed}: {accepted:?}, {deliveries:?}"
    );
    let doubled: usize = deliveries.values().map(|count| count - 1).sum();
    assert!(doubled <= world.in_doubt(), "seed {seed}: {deliveries:?}");
    let left = world.network.disk.records(world.network.now);
    assert!(left.is_empty(), "seed {seed}: {left:?}");
    [accepted.len(), refused, restored, doubled]
}
