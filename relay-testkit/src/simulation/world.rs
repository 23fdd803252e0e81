//! Client, relay and mail server on one network, each of which can be killed and comes back.

use super::{
    disk::Disk,
    host::{Host, Node},
    mailbox::Mailbox,
    network::{CLIENT, NAMES, Network, RELAY, SERVER, Told},
    oracle::Oracle,
    plan::Plan,
    trace::Trace,
};
use bytes::Bytes;
use relay_proto::{
    BackoffPolicy, Pump, StreamAddress, Time,
    mail::{
        client::{Client, ClientConfig, Event, Submission, SubmissionId},
        relay::{self, Policy, Relay, RelayConfig},
        wire::{ApiKey, Denied},
    },
    smtp::{Address, Envelope, ServerConfig, SessionConfig},
};
use std::{cell::RefCell, rc::Rc, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

/// No wire ever holds more under way to one end: both machines stop when their buffers are full.
const MOST_UNDER_WAY: usize = 2 << 20;

/// Everything there is.
pub struct World {
    plan: Plan,
    config: ClientConfig,
    /// The wires, the clock and the disks.
    pub network: Network,
    /// The client.
    pub client: Node<Client>,
    /// The relay.
    pub relay: Node<Relay>,
    server: Mailbox,
    /// Who judges.
    pub oracle: Rc<RefCell<Oracle>>,
    /// All the client has said.
    pub client_events: Rc<RefCell<Vec<Event>>>,
    /// All the relay has said.
    pub relay_events: Rc<RefCell<Vec<relay::Event>>>,
    lives: u64,
    trace: Trace,
}

impl World {
    /// What the plan says, before anything happens. The client's configuration may be changed.
    pub fn new(plan: &Plan, trace: Trace, configure: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::new("ws://relay.test".parse().unwrap(), ApiKey::new("good"));
        config.reconnect = BackoffPolicy::new(SECOND, 5 * SECOND, plan.attempts);
        config.retry = BackoffPolicy::new(SECOND, 5 * SECOND, plan.attempts);
        config.in_doubt = plan.in_doubt;
        config.idle = plan.idle;
        config.timeouts.message = plan.patience;
        configure(&mut config);

        let mut network = Network::new(plan.seed, trace.clone());
        network.disks[CLIENT] = plan.client_disk.then(Disk::default);
        network.disks[RELAY] = plan.relay_disk.then(Disk::default);
        let strict = plan.durable;
        let oracle = Rc::new(RefCell::new(Oracle::new(strict, plan.attempts.is_none())));
        let client_events = Rc::new(RefCell::new(Vec::new()));
        let relay_events = Rc::new(RefCell::new(Vec::new()));

        let (log, judge, story) = (Rc::clone(&client_events), Rc::clone(&oracle), trace.clone());
        let on_client = move |_: &mut Client, now: Time, event: Event| {
            story.say(now, || format!("client says {event:?}"));
            judge.borrow_mut().client_says(&event);
            log.borrow_mut().push(event);
        };
        let (log, story) = (Rc::clone(&relay_events), trace.clone());
        let on_relay = move |relay: &mut Relay, now: Time, event: relay::Event| {
            story.say(now, || format!("relay says {event:?}"));
            if let relay::Event::KeyPresented { link, key, .. } = &event {
                if *key == ApiKey::new("good") {
                    relay.grant(now, *link, Policy::default());
                } else {
                    relay.deny(now, *link, Denied::for_good("unknown key"));
                }
            }
            log.borrow_mut().push(event);
        };
        let (server, most_messages) = server_kind(plan.server);
        let server = Mailbox::new(server, most_messages, plan.seed, Rc::clone(&oracle));
        let client = new_client(&config, seed(plan.seed, 0), &network);
        let relay = new_relay(plan, seed(plan.seed, 1), &network);
        Self {
            plan: plan.clone(),
            config,
            network,
            client: Node::new(client, Box::new(on_client)),
            relay: Node::new(relay, Box::new(on_relay)),
            server,
            oracle,
            client_events,
            relay_events,
            lives: 1,
            trace,
        }
    }

    /// Makes wires, disks and server as bad as planned.
    pub(super) const fn hurt(&mut self) {
        self.network.faults = self.plan.faults;
        self.server.set_moods(self.plan.moods);
    }

    /// From now on nothing goes wrong that has not gone wrong yet.
    pub(super) fn heal(&mut self) {
        self.trace.say(self.network.now, || {
            "** nothing goes wrong from now on".into()
        });
        self.network.faults = super::Faults::default();
        self.network.planned.clear();
        self.server.set_moods(super::Moods::default());
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.network.now.after(duration);
        loop {
            let mut hosts: [&mut dyn Host; 3] =
                [&mut self.client, &mut self.relay, &mut self.server];
            let (goes_on, told) = self.network.turn(&mut hosts, end);
            self.judge(told);
            if !goes_on {
                return;
            }
        }
    }

    fn judge(&mut self, told: Option<Told>) {
        let mut oracle = self.oracle.borrow_mut();
        oracle.last_batch = self.network.last_batch(RELAY);
        match told {
            Some(Told::Caught { to, from }) if to.0 == RELAY && from.0 == SERVER => {
                oracle.relay_read(from.1);
            }
            Some(Told::Stored {
                host: RELAY,
                batch,
                is_stored,
            }) => oracle.relay_stored(batch, is_stored),
            _ => {}
        }
        for ((host, link), by) in self.network.broken.drain(..) {
            if host == SERVER {
                oracle.wire_lost(link, by == Some(RELAY));
            }
        }
        let under_way = self.network.largest_lane_bytes;
        assert!(
            under_way < MOST_UNDER_WAY,
            "{under_way} bytes were under way to one end of a wire"
        );
    }

    /// Submits a message with a number of its own.
    pub fn submit(
        &mut self,
        number: u64,
        submission: Submission,
        content: Bytes,
    ) -> Option<SubmissionId> {
        let now = self.network.local(CLIENT);
        let submit = |client: &mut Client, now| client.submit(now, submission);
        let submitted = self.client.pump.command(now, submit);
        let id = submitted.ok()?;
        self.trace.say(self.network.now, || {
            format!("** message {number} is submission {id}")
        });
        self.oracle.borrow_mut().submitted(id, number, content);
        Some(id)
    }

    /// The client is killed and comes back.
    pub(super) fn kill_client(&mut self, disk_is_left: bool) {
        self.network.crash(CLIENT);
        if !disk_is_left && let Some(disk) = &mut self.network.disks[CLIENT] {
            *disk = Disk::default();
        }
        let is_left = disk_is_left && self.plan.client_disk;
        self.oracle.borrow_mut().client_died(is_left);
        self.judge(None);
        self.lives += 1;
        self.client.pump = Pump::new(new_client(
            &self.config,
            seed(self.plan.seed, self.lives),
            &self.network,
        ));
    }

    /// The relay is killed and comes back.
    pub(super) fn kill_relay(&mut self, disk_is_left: bool) {
        self.network.crash(RELAY);
        // One that was killed before the disk had taken its first word is like one that has lost it.
        let now = self.network.now;
        let disk = self.network.disks[RELAY].as_ref();
        let was_written = disk.is_some_and(|disk| !disk.records(now).is_empty());
        if !disk_is_left && let Some(disk) = &mut self.network.disks[RELAY] {
            *disk = Disk::default();
        }
        let is_left = disk_is_left && was_written;
        self.judge(None);
        self.oracle.borrow_mut().relay_died(is_left);
        self.lives += 1;
        self.relay.pump = Pump::new(new_relay(
            &self.plan,
            seed(self.plan.seed, self.lives),
            &self.network,
        ));
    }

    /// The mail server is killed and comes back.
    pub(super) fn kill_server(&mut self) {
        self.network.crash(SERVER);
        self.judge(None);
        self.server.restart(server_kind(self.plan.server).0);
    }

    /// A host's clock jumps.
    pub(super) fn jump(&mut self, host: usize, by: i64) {
        self.trace.say(self.network.now, || {
            format!(
                "** the clock of the {} jumps by {} s",
                NAMES[host],
                by / 1_000_000_000
            )
        });
        self.network.ahead[host] += by;
        if host == RELAY {
            self.oracle.borrow_mut().relay_clock_jumps(by);
        }
    }

    /// Runs until everything accepted has its end; panics where that takes more than so much virtual time.
    pub fn settle_all(&mut self, within: Duration) {
        let end = self.network.now.after(within);
        // What was submitted just now is accepted first.
        self.run_for(SECOND);
        while !self.oracle.borrow().all_settled() {
            assert!(
                self.network.now < end,
                "not everything is settled {within:?} after the last fault: {:?}",
                self.client.pump.machine().statistics()
            );
            self.run_for(SECOND);
        }
    }
}

/// Seeds of the machines: a new one for each life.
fn seed(seed: u64, life: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&life.to_le_bytes());
    bytes
}

fn new_client(config: &ClientConfig, seed: [u8; 32], network: &Network) -> Client {
    let now = network.local(CLIENT);
    match &network.disks[CLIENT] {
        Some(disk) => Client::restore(config.clone(), seed, now, disk.records(network.now))
            .unwrap_or_else(|error| panic!("the client cannot read what it has stored: {error}")),
        None => Client::new(config.clone(), seed, now),
    }
}

fn new_relay(plan: &Plan, seed: [u8; 32], network: &Network) -> Relay {
    let upstream = StreamAddress::new("mx.test", 25, false);
    let mut config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
    config.pool.max_idle = [16, 0, 1][plan.server as usize / 36 % 3];
    config.durable = plan.durable;
    let now = network.local(RELAY);
    match &network.disks[RELAY] {
        Some(disk) => Relay::restore(config, seed, now, disk.records(network.now))
            .unwrap_or_else(|error| panic!("the relay cannot read its ledger: {error}")),
        None => Relay::new(config, seed),
    }
}

/// What kind of server it is: the extensions it has, how long it lets a connection be idle, and how many messages it takes on
/// one.
fn server_kind(kind: u64) -> (ServerConfig, u64) {
    let mut session = SessionConfig::new("mx.test".parse().unwrap());
    session.max_message_bytes = Some(64 << 20);
    session.capabilities.pipelining = kind.is_multiple_of(2);
    session.capabilities.chunking = (kind / 2).is_multiple_of(2);
    let mut config = ServerConfig::new(session);
    config.command_timeout = [300, 2, 20][kind as usize / 4 % 3] * SECOND;
    (config, [u64::MAX, 1, 3][kind as usize / 12 % 3])
}

/// A message with its number in sender and subject, and its content.
pub fn mail(number: u64, to: &[&str], body: &[u8]) -> (Submission, Bytes) {
    let address = |text: &str| -> Address { text.parse().unwrap() };
    let from = address(&format!("m{number}@example.org"));
    let envelope = Envelope::new(from, to.iter().map(|to| address(to)));
    let mut content = format!("Subject: {number}\r\n\r\n").into_bytes();
    content.extend_from_slice(body);
    let content = Bytes::from(content);
    (
        Submission::message(envelope.unwrap(), content.clone()),
        content,
    )
}
