//! Client and service of the key-value protocol put together on virtual time, over links that are cut at any frame, and with
//! services that are killed and restored. A model counts what was asked and what was answered.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use relay_proto::{
    Action, BackoffPolicy, Closure, Endpoint, Input, LinkId, Machine, OpenError, Pump, Random,
    Step, Time,
    http::{Answer as Verdict, Request, Site},
    kv::{
        client::{
            Answer, Call, CallError, CallId, Client, ClientConfig, Credential, Event, Statistics,
        },
        service::{KeyDigest, Policy, Service, ServiceConfig},
    },
    pacing::Rate,
    storage::{BatchId, Record, Write},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// What happens in a world, besides calls.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    calls: usize,
    /// Of a thousand steps, at how many a link is cut.
    cuts: u64,
    /// And at how many the service is killed.
    kills: u64,
    /// Whether the service speaks the durable dialect.
    durable: bool,
    rate: Option<u64>,
}

fn plan(durable: bool) -> impl Strategy<Value = Plan> {
    let rate = prop_oneof![3 => Just(None), 1 => (20u64..100).prop_map(Some)];
    (any::<u64>(), 1usize..60, 0u64..60, 0u64..15, rate).prop_map(
        move |(seed, calls, cuts, kills, rate)| Plan {
            seed,
            calls,
            cuts,
            kills,
            durable,
            rate,
        },
    )
}

enum Arrival {
    /// At the client.
    Near(Input),
    /// At the service.
    Far(Input),
    /// A client asks for a WebSocket.
    Request { near: LinkId, target: String },
    /// A batch is on the disk, of the service of this life.
    Stored {
        life: u64,
        batch: BatchId,
        writes: Vec<Write>,
    },
}

/// A link, by the client's name for it.
struct Wire {
    far: LinkId,
    /// When the last frame arrives in each direction: none overtakes.
    near_at: Time,
    far_at: Time,
}

struct World {
    random: Random,
    now: Time,
    client: Pump<Client>,
    service: Pump<Service>,
    plan: Plan,
    /// How often the service was killed.
    life: u64,
    disk: Disk,
    disk_at: Time,
    arrivals: BTreeMap<(Time, u64), Arrival>,
    count: u64,
    wires: BTreeMap<LinkId, Wire>,
    accepted: u64,
    outcomes: BTreeMap<CallId, Result<Answer, CallError>>,
    /// The numbers of the changes that were told, and how often some may be missing.
    told: Vec<u64>,
    missed: usize,
    ended: bool,
}

/// Values by table and key.
type Disk = BTreeMap<(String, bytes::Bytes), bytes::Bytes>;

fn write(disk: &mut Disk, writes: Vec<Write>) {
    for write in writes {
        match write {
            Write::Put { table, key, value } => disk.insert((table.into(), key), value),
            Write::Delete { table, key } => disk.remove(&(table.into(), key)),
        };
    }
}

/// A token for everything, whose holder is told of every change.
fn token(service: &mut Pump<Service>) -> Credential {
    let request = Request::new("POST", "/token/websocket")
        .with_field("Host", "kv.example")
        .with_field("x-api-key", "the key")
        .with_body(r#"{"subscribePatterns":["*"]}"#);
    let verdict = service.command(Time::ZERO, |service, now| {
        service.handle_request(now, LinkId::accepted(u64::MAX >> 1), None, &request)
    });
    let Verdict::Respond(response) = verdict else {
        panic!("{verdict:?}");
    };
    let body = str::from_utf8(response.body()).unwrap();
    Credential::Token(body.split('"').nth(3).unwrap().to_owned())
}

fn service(plan: &Plan, life: u64, records: Vec<Record>, now: Time) -> Pump<Service> {
    let mut config = ServiceConfig::new(1_790_000_000 * SECOND);
    config.durable = plan.durable;
    config.session_expiry = 3 * SECOND;
    config.max_calls = 16;
    // The names of sessions come of it, and those of an earlier life must not come again.
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&life.to_be_bytes());
    let mut service = Service::restore(config, seed, now, records).unwrap();
    let mut policy = Policy::default();
    policy.rate = plan.rate.map(Rate::per_second);
    service.set_accounts(now, vec![(KeyDigest::of("the key"), policy)]);
    Pump::new(service)
}

impl World {
    fn new(plan: Plan) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&plan.seed.to_be_bytes());
        let url = "ws://kv.example".parse().unwrap();
        let mut service = service(&plan, 0, vec![], Time::ZERO);
        // A service gives no token before it has stored what it signs them with.
        let mut disk = BTreeMap::new();
        while let Step::Perform(action) = service.step(Time::ZERO) {
            let Action::Store { batch, writes } = action else {
                panic!("{action:?}");
            };
            write(&mut disk, writes);
            let result = Ok(());
            service.handle_input(Time::ZERO, Input::Stored { batch, result });
        }
        let mut config = ClientConfig::new(url, token(&mut service));
        config.reconnect = BackoffPolicy::new(20 * MILLISECOND, SECOND, None);
        config.timeouts.call = 3000 * SECOND;
        config.timeouts.introduction = 5 * SECOND;
        Self {
            random: Random::new(seed),
            now: Time::ZERO,
            client: Pump::new(Client::new(config, seed, Time::ZERO)),
            service,
            plan,
            life: 0,
            disk,
            disk_at: Time::ZERO,
            arrivals: BTreeMap::new(),
            count: 0,
            wires: BTreeMap::new(),
            accepted: 0,
            outcomes: BTreeMap::new(),
            told: vec![],
            missed: 0,
            ended: false,
        }
    }

    fn one_in_a_thousand(&mut self, times: u64) -> bool {
        self.random.next_u64() % 1000 < times
    }

    fn latency(&mut self) -> Duration {
        MILLISECOND + self.random.up_to(20 * MILLISECOND)
    }

    fn schedule(&mut self, at: Time, arrival: Arrival) {
        self.count += 1;
        self.arrivals.insert((at, self.count), arrival);
    }

    /// The client's name of a link of the service.
    fn near(&self, far: LinkId) -> Option<LinkId> {
        let mut wires = self.wires.iter();
        wires
            .find(|(_, wire)| wire.far == far)
            .map(|(near, _)| *near)
    }

    fn tell_near(&mut self, near: LinkId, input: Input) {
        let latency = self.latency();
        let Some(wire) = self.wires.get_mut(&near) else {
            return;
        };
        wire.near_at = wire.near_at.max(self.now.after(latency));
        let at = wire.near_at;
        self.schedule(at, Arrival::Near(input));
    }

    fn tell_far(&mut self, near: LinkId, input: Input) {
        let latency = self.latency();
        let Some(wire) = self.wires.get_mut(&near) else {
            return;
        };
        wire.far_at = wire.far_at.max(self.now.after(latency));
        let at = wire.far_at;
        self.schedule(at, Arrival::Far(input));
    }

    /// A link ends for both, each of which learns it in its time; what was on the way on it is lost.
    fn cut(&mut self, near: LinkId) {
        let Some(wire) = self.wires.remove(&near) else {
            return;
        };
        let on_the_way = |arrival: &Arrival| match arrival {
            Arrival::Near(input) => input.link() == Some(near),
            Arrival::Far(input) => input.link() == Some(wire.far),
            _ => false,
        };
        let keep = |arrival: &Arrival| matches!(arrival, Arrival::Far(Input::Accepted { .. }));
        self.arrivals
            .retain(|_, arrival| keep(arrival) || !on_the_way(arrival));
        let lost = || Closure::Lost {
            detail: "cut".into(),
        };
        let (a, b) = (self.latency(), self.latency());
        let (link, why) = (near, lost());
        self.schedule(
            self.now.after(a),
            Arrival::Near(Input::Closed { link, why }),
        );
        let (link, why) = (wire.far, lost());
        self.schedule(
            self.now.after(20 * MILLISECOND + b),
            Arrival::Far(Input::Closed { link, why }),
        );
    }

    /// The service's process is killed and started again: what was not on the disk is gone.
    fn kill(&mut self) {
        self.life += 1;
        let links: Vec<_> = self.wires.keys().copied().collect();
        for near in links {
            self.cut(near);
        }
        self.arrivals
            .retain(|_, arrival| !matches!(arrival, Arrival::Far(_) | Arrival::Stored { .. }));
        let record = |((table, key), value): (&(String, bytes::Bytes), &bytes::Bytes)| Record {
            table: table.clone(),
            key: key.clone(),
            value: value.clone(),
            age: Duration::ZERO,
        };
        let records = self.disk.iter().map(record).collect();
        self.service = service(&self.plan, self.life, records, self.now);
    }

    /// Lets both machines do what they can.
    fn run(&mut self) {
        loop {
            match self.client.step(self.now) {
                Step::Perform(action) => self.client_does(action),
                Step::Deliver(event) => self.client_says(event),
                Step::Wait { .. } => break,
                Step::Finished => {
                    self.ended = true;
                    break;
                }
            }
        }
        loop {
            match self.service.step(self.now) {
                Step::Perform(action) => self.service_does(action),
                Step::Deliver(_) => {}
                Step::Wait { .. } | Step::Finished => break,
            }
        }
    }

    fn client_does(&mut self, action: Action) {
        match action {
            Action::Open { link, endpoint } => {
                let Endpoint::WebSocket(url) = endpoint else {
                    panic!("{endpoint}");
                };
                let (_, target) = url.as_str().split_once("kv.example").unwrap();
                let (near, target) = (link, target.to_owned());
                let at = self.now.after(self.latency());
                self.schedule(at, Arrival::Request { near, target });
            }
            Action::Send { link, frame } => {
                if let Some(far) = self.wires.get(&link).map(|wire| wire.far) {
                    let at = self.now.after(MILLISECOND / 10);
                    self.schedule(at, Arrival::Near(Input::Written { link }));
                    self.tell_far(link, Input::Frame { link: far, frame });
                }
            }
            Action::Close { link, code, reason } => {
                if let Some(far) = self.wires.get(&link).map(|wire| wire.far) {
                    let why = Closure::Peer {
                        code: Some(code),
                        reason,
                    };
                    self.tell_far(link, Input::Closed { link: far, why });
                    self.wires.remove(&link);
                }
                let why = Closure::Local;
                let at = self.now.after(MILLISECOND);
                self.schedule(at, Arrival::Near(Input::Closed { link, why }));
            }
            other => panic!("{other:?}"),
        }
    }

    fn client_says(&mut self, event: Event) {
        match event {
            Event::Answered { id, result } => {
                let before = self.outcomes.insert(id, result);
                assert_eq!(before, None, "call {id} has ended twice");
            }
            Event::Notified(change) => self.told.push(change.sequence.unwrap()),
            Event::Missed { .. } => self.missed += 1,
            Event::Terminated { left } => assert!(left.is_empty(), "{left:?}"),
            _ => {}
        }
    }

    fn service_does(&mut self, action: Action) {
        match action {
            Action::Send { link, frame } => {
                let at = self.now.after(MILLISECOND / 10);
                self.schedule(at, Arrival::Far(Input::Written { link }));
                if let Some(near) = self.near(link) {
                    self.tell_near(near, Input::Frame { link: near, frame });
                }
            }
            Action::Close { link, code, reason } => {
                if let Some(near) = self.near(link) {
                    let why = Closure::Peer {
                        code: Some(code),
                        reason,
                    };
                    self.tell_near(near, Input::Closed { link: near, why });
                    self.wires.remove(&near);
                }
                let why = Closure::Local;
                let at = self.now.after(MILLISECOND);
                self.schedule(at, Arrival::Far(Input::Closed { link, why }));
            }
            Action::Store { batch, writes } => {
                // Batches are stored in their order.
                let at = self.now.after(self.latency());
                self.disk_at = self.disk_at.max(at);
                let (at, life) = (self.disk_at, self.life);
                self.schedule(
                    at,
                    Arrival::Stored {
                        life,
                        batch,
                        writes,
                    },
                );
            }
            other => panic!("{other:?}"),
        }
    }

    fn arrives(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Near(input) => self.client.handle_input(self.now, input),
            Arrival::Far(input) => self.service.handle_input(self.now, input),
            Arrival::Stored {
                life,
                batch,
                writes,
            } => {
                if life != self.life {
                    return;
                }
                write(&mut self.disk, writes);
                let result = Ok(());
                self.service
                    .handle_input(self.now, Input::Stored { batch, result });
            }
            Arrival::Request { near, target } => self.requested(near, &target),
        }
    }

    fn requested(&mut self, near: LinkId, target: &str) {
        let far = LinkId::accepted(self.accepted);
        self.accepted += 1;
        let request = Request::new("GET", target)
            .with_field("Host", "kv.example")
            .with_field("Connection", "Upgrade")
            .with_field("Upgrade", "websocket");
        let verdict = self.service.command(self.now, |service, now| {
            service.handle_request(now, far, None, &request)
        });
        match verdict {
            Verdict::Upgrade => {
                let (near_at, far_at) = (self.now, self.now);
                self.wires.insert(
                    near,
                    Wire {
                        far,
                        near_at,
                        far_at,
                    },
                );
                let (link, peer) = (far, None);
                self.service
                    .handle_input(self.now, Input::Accepted { link, peer });
                self.tell_near(near, Input::Opened { link: near });
            }
            Verdict::Respond(response) | Verdict::RespondLater { response, .. } => {
                let why = OpenError::Refused {
                    endpoint: "the service".into(),
                    status: response.status(),
                    retry_after: None,
                };
                let at = self.now.after(MILLISECOND);
                self.schedule(at, Arrival::Near(Input::OpenFailed { link: near, why }));
            }
        }
    }

    /// Goes on to whatever comes next; false where nothing does.
    fn step(&mut self) -> bool {
        self.run();
        let next = self.arrivals.first_key_value().map(|((at, _), _)| *at);
        let timers = [
            self.client.machine().deadline(),
            self.service.machine().deadline(),
        ];
        let timers = timers.into_iter().flatten().map(|deadline| deadline.at);
        let Some(at) = next.into_iter().chain(timers).min() else {
            return false;
        };
        self.now = self.now.max(at);
        if let Some(entry) = self.arrivals.first_entry()
            && entry.key().0 <= self.now
        {
            let arrival = entry.remove();
            self.arrives(arrival);
        }
        self.run();
        true
    }

    fn call(&mut self, call: Call) -> CallId {
        let id = self
            .client
            .command(self.now, |client, now| client.call(now, call));
        id.unwrap()
    }

    /// Runs until all these have ended.
    fn settle(&mut self, calls: &[CallId]) {
        for _ in 0..1_000_000 {
            if calls.iter().all(|id| self.outcomes.contains_key(id)) {
                return;
            }
            assert!(self.step(), "nothing goes on");
        }
        panic!("calls never end");
    }

    fn statistics(&self) -> Statistics {
        self.client.machine().statistics()
    }
}

/// What a world has come to.
struct Judged {
    increments: Vec<Result<i64, CallError>>,
    /// Each with the tag it appends.
    appends: Vec<(String, Result<(), CallError>)>,
    count: i64,
    log: String,
    told: Vec<u64>,
    missed: usize,
}

fn play(plan: &Plan) -> Judged {
    let mut world = World::new(plan.clone());
    let set = world.call(Call::set("log", "log:"));
    world.settle(&[set]);
    world.outcomes[&set].as_ref().unwrap();
    let mut calls = vec![];
    let mut made = 0;
    while made < plan.calls {
        if world.one_in_a_thousand(200) {
            let call = match made % 3 {
                0 => Call::patch("log", format!("<{made}>")),
                1 => Call::increment("n", 1),
                _ => Call::get("n"),
            };
            calls.push((made, world.call(call)));
            made += 1;
        }
        if !world.step() {
            world.now = world.now.after(MILLISECOND);
        }
        if world.one_in_a_thousand(plan.cuts)
            && let Some(near) = world.wires.keys().next().copied()
        {
            world.cut(near);
        }
        if world.one_in_a_thousand(plan.kills) {
            world.kill();
        }
    }
    let ids: Vec<_> = calls.iter().map(|(_, id)| *id).collect();
    world.settle(&ids);
    assert_eq!(world.statistics().queue_bytes, 0);
    // From here on nothing goes wrong.
    let (n, log) = (world.call(Call::get("n")), world.call(Call::get("log")));
    world.settle(&[n, log]);
    let value = |id| match &world.outcomes[&id] {
        Ok(answer) => Some(answer.clone().value().unwrap()),
        Err(error) => {
            assert!(error.is_not_found(), "{error}");
            None
        }
    };
    let text = |id| value(id).map(|value| String::from_utf8(value.to_vec()).unwrap());
    let mut judged = Judged {
        increments: vec![],
        appends: vec![],
        count: text(n).map_or(0, |text| text.parse().unwrap()),
        log: text(log).unwrap(),
        told: vec![],
        missed: world.missed,
    };
    for (made, id) in calls {
        let outcome = world.outcomes[&id].clone();
        match made % 3 {
            0 => judged
                .appends
                .push((format!("<{made}>"), outcome.map(drop))),
            1 => judged
                .increments
                .push(outcome.map(|answer| answer.number().unwrap())),
            _ => assert!(
                outcome.is_ok() || outcome.is_err_and(|error| error.is_not_found()),
                "what only reads is always answered"
            ),
        }
    }
    // What was told of late is told by then.
    let late = world.now.after(60 * SECOND);
    while world.now < late && world.step() {}
    judged.told = std::mem::take(&mut world.told);
    world
        .client
        .command(world.now, |client, now| client.shutdown(now, SECOND));
    for _ in 0..1000 {
        if world.ended || !world.step() {
            break;
        }
    }
    assert!(world.ended);
    judged
}

/// What is answered was applied once; what is in doubt at most once; and of what failed otherwise nothing.
fn holds(judged: &Judged) -> usize {
    let mut in_doubt = 0;
    for (tag, outcome) in &judged.appends {
        let times = judged.log.matches(tag.as_str()).count();
        match outcome {
            Ok(()) => assert_eq!(times, 1, "{tag} in {}", judged.log),
            Err(error) => {
                assert!(error.is_in_doubt(), "{error}");
                assert!(times <= 1, "{tag} in {}", judged.log);
                in_doubt += 1;
            }
        }
    }
    let numbers: Vec<_> = judged.increments.iter().flatten().copied().collect();
    let distinct: BTreeSet<_> = numbers.iter().copied().collect();
    assert_eq!(distinct.len(), numbers.len(), "two have the same number");
    assert!(judged.told.is_sorted_by(|a, b| a < b), "{:?}", judged.told);
    let doubtful = judged.increments.len() - numbers.len();
    assert!(numbers.len() as i64 <= judged.count);
    assert!(judged.count <= judged.increments.len() as i64);
    in_doubt + doubtful
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: ProptestConfig::default().cases / 2,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    /// Whatever happens to links, sessions and the service: with a store on disk nothing is in doubt, and every change is told once.
    #[test]
    fn in_the_durable_dialect_every_change_is_applied_exactly_once(plan in plan(true)) {
        let judged = play(&plan);
        prop_assert_eq!(holds(&judged), 0);
        // The first set, and all that came behind it.
        let changes = 1 + judged.appends.len() as u64 + judged.increments.len() as u64;
        prop_assert_eq!(judged.missed, 0);
        prop_assert_eq!(&judged.told, &(1..=changes).collect::<Vec<_>>());
        let count = judged.increments.len() as i64;
        prop_assert_eq!(judged.count, count);
        let numbers: BTreeSet<_> = judged.increments.into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(numbers, (1..=count).collect::<BTreeSet<_>>());
    }

    /// A plain service leaves some in doubt, and never applies one twice or loses one it has answered.
    #[test]
    fn in_the_plain_dialect_no_change_is_applied_twice_or_lost_silently(plan in plan(false)) {
        holds(&play(&plan));
    }
}

/// So that the tests above cannot pass because nothing ever goes wrong in them.
#[test]
fn cuts_and_kills_do_leave_calls_in_doubt_where_the_service_is_plain() {
    let in_doubt: usize = (0..20)
        .map(|seed| {
            holds(&play(&Plan {
                seed,
                calls: 40,
                cuts: 50,
                kills: 10,
                durable: false,
                rate: None,
            }))
        })
        .sum();
    assert!(in_doubt > 10, "{in_doubt}");
}

#[test]
fn equal_seeds_have_equal_outcomes() {
    let plan = Plan {
        seed: 5,
        calls: 50,
        cuts: 40,
        kills: 10,
        durable: true,
        rate: Some(30),
    };
    let (one, other) = (play(&plan), play(&plan));
    assert_eq!(one.log, other.log);
    assert_eq!(one.increments, other.increments);
}
