//! Client, relay and mail server on one network, each of which can be killed and comes back.

use super::{
    disk::Disk,
    host::{Host, Node},
    mailbox::Mailbox,
    network::{CLIENTS, NAMES, Network, RELAY, SERVER, Told},
    oracle::Oracle,
    plan::Plan,
    trace::Trace,
};
use bytes::Bytes;
use relay_proto::{
    BackoffPolicy, StreamAddress, Time,
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

/// The most a session keeps to send it again, and what waits behind that.
const MOST_IN_SESSION: usize = 1 << 20;

/// The most that waits on a channel: the window, and replies.
const MOST_ON_CHANNEL: usize = (256 + 128) << 10;

/// The most that waits for a client's socket.
const MOST_ON_LINK: usize = 128 << 10;

/// The most that waits for an upstream's.
const MOST_ON_UPSTREAM: usize = 256 << 10;

/// Everything there is.
pub struct World {
    plan: Plan,
    config: ClientConfig,
    /// Whether the relay grants the durable dialect at present.
    is_durable: bool,
    /// The wires, the clock and the disks.
    pub network: Network,
    /// The clients.
    pub clients: Vec<Node<Client>>,
    /// The relay.
    pub relay: Node<Relay>,
    server: Mailbox,
    /// Who judges.
    pub oracle: Rc<RefCell<Oracle>>,
    /// All the clients have said.
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
        for host in CLIENTS {
            network.disks[host] = plan.client_disk.then(Disk::default);
        }
        network.disks[RELAY] = plan.relay_disk.then(Disk::default);
        // What a ledger may have forgotten is in doubt at any time.
        let is_strict = plan.forgetful.is_none();
        let oracle = Oracle::new(is_strict, !plan.durable, plan.attempts.is_none());
        let oracle = Rc::new(RefCell::new(oracle));
        let client_events = Rc::new(RefCell::new(Vec::new()));
        let relay_events = Rc::new(RefCell::new(Vec::new()));

        let (log, story) = (Rc::clone(&relay_events), trace.clone());
        let rate = plan.rate;
        let on_relay = move |relay: &mut Relay, now: Time, event: relay::Event| {
            story.say(now, || format!("relay says {event:?}"));
            if let relay::Event::KeyPresented { link, key, .. } = &event {
                if *key == ApiKey::new("good") {
                    let policy = Policy {
                        rate,
                        ..Policy::default()
                    };
                    relay.grant(now, *link, policy);
                } else if *key == ApiKey::new("other") {
                    let account = "other".into();
                    let policy = Policy {
                        account,
                        rate,
                        ..Policy::default()
                    };
                    relay.grant(now, *link, policy);
                } else {
                    relay.deny(now, *link, Denied::for_good("unknown key"));
                }
            }
            log.borrow_mut().push(event);
        };
        let (server, most_messages) = server_kind(plan.server);
        let server = Mailbox::new(server, most_messages, plan.seed, Rc::clone(&oracle));
        let client = |host: usize| {
            // The same seed on another account: there the same names are others' deliveries.
            let life = if host == CLIENTS[1] { u64::MAX } else { 0 };
            let machine = new_client(&config, host, seed(plan.seed, life), &network);
            let (log, judge) = (Rc::clone(&client_events), Rc::clone(&oracle));
            let story = trace.clone();
            let application = move |_: &mut Client, now: Time, event: Event| {
                story.say(now, || format!("{} says {event:?}", NAMES[host]));
                judge.borrow_mut().client_says(host, &event);
                log.borrow_mut().push(event);
            };
            Node::new(machine, Box::new(application))
        };
        let clients = CLIENTS.into_iter().take(plan.clients).map(client).collect();
        let relay = new_relay(plan, plan.durable, seed(plan.seed, 1), &network);
        Self {
            plan: plan.clone(),
            config,
            is_durable: plan.durable,
            network,
            clients,
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
            let (first, others) = self.clients.split_first_mut().expect("there is one");
            let mut hosts: Vec<&mut dyn Host> = vec![first, &mut self.relay, &mut self.server];
            hosts.extend(others.iter_mut().map(|client| client as &mut dyn Host));
            let (goes_on, told) = self.network.turn(&mut hosts, end);
            self.judge(told);
            self.restart_the_finished();
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
        drop(oracle);
        self.weigh();
    }

    /// Nobody keeps more than it may.
    fn weigh(&self) {
        let relay = self.relay.pump.machine();
        let held = relay.held_bytes();
        let most = relay.sessions() * MOST_IN_SESSION
            + relay.channels() * MOST_ON_CHANNEL
            + relay.links() * MOST_ON_LINK
            + relay.upstreams() * MOST_ON_UPSTREAM;
        assert!(held <= most, "the relay keeps {held} bytes of {most}");
        for client in &self.clients {
            let kept = client.pump.machine().statistics().unacknowledged_bytes;
            assert!(kept <= MOST_IN_SESSION, "a client keeps {kept} bytes");
        }
    }

    /// Where a machine has come to its end in good order, the next takes its place.
    fn restart_the_finished(&mut self) {
        if self.relay.is_finished {
            self.kill_relay(true);
        }
        let clients = CLIENTS.into_iter().zip(&self.clients);
        let finished = |(_, client): &(usize, &Node<Client>)| client.is_finished;
        let finished: Vec<_> = clients.filter(finished).map(|(host, _)| host).collect();
        for host in finished {
            self.kill_client(host, true);
        }
    }

    fn client(&mut self, host: usize) -> &mut Node<Client> {
        let mut clients = CLIENTS.into_iter().zip(&mut self.clients);
        let (_, client) = clients
            .find(|(name, _)| *name == host)
            .expect("it is a client");
        client
    }

    /// One of the clients there are.
    pub(super) fn any_client(&mut self) -> usize {
        CLIENTS[self.network.random.next_u64() as usize % self.clients.len()]
    }

    /// Submits a message with a number of its own. The clients take turns.
    pub fn submit(
        &mut self,
        number: u64,
        submission: Submission,
        content: Bytes,
    ) -> Option<SubmissionId> {
        let host = CLIENTS[number as usize % self.clients.len()];
        let now = self.network.local(host);
        let submit = |client: &mut Client, now| client.submit(now, submission);
        let submitted = self.client(host).pump.command(now, submit);
        let id = submitted.ok()?;
        self.trace.say(self.network.now, || {
            format!("** message {number} is submission {id} of {}", NAMES[host])
        });
        let mut oracle = self.oracle.borrow_mut();
        oracle.submitted(host, id, number, content);
        Some(id)
    }

    /// Takes one of the submissions back that are not settled, if that is possible.
    pub(super) fn cancel_one(&mut self) {
        let unsettled = self.oracle.borrow().unsettled();
        let index = self.network.random.next_u64() as usize % unsettled.len().max(1);
        let Some(&(host, id)) = unsettled.get(index) else {
            return;
        };
        let now = self.network.local(host);
        let cancel = |client: &mut Client, now| client.cancel(now, id);
        if self.client(host).pump.command(now, cancel).is_some() {
            self.trace.say(self.network.now, || {
                format!("** submission {id} of {} is taken back", NAMES[host])
            });
            self.oracle.borrow_mut().taken_back(host, id);
        }
    }

    /// A client shuts down.
    pub(super) fn shut_down_client(&mut self, host: usize, patience: Duration) {
        self.trace.say(self.network.now, || {
            format!("** {} is to end within {patience:?}", NAMES[host])
        });
        let now = self.network.local(host);
        let shut_down = |client: &mut Client, now| client.shutdown(now, patience);
        self.client(host).pump.command(now, shut_down);
    }

    /// The relay drains.
    pub(super) fn drain_relay(&mut self, patience: Duration) {
        self.trace.say(self.network.now, || {
            format!("** the relay is to end within {patience:?}")
        });
        let now = self.network.local(RELAY);
        let drain = |relay: &mut Relay, now: Time| relay.drain(now, now.after(patience));
        self.relay.pump.command(now, drain);
    }

    /// The relay is killed, and comes back with the other dialect.
    pub(super) fn convert_relay(&mut self) {
        self.is_durable = !self.is_durable;
        self.trace.say(self.network.now, || {
            let dialect = if self.is_durable { "durable" } else { "base" };
            format!("** from now on the relay speaks the {dialect} dialect")
        });
        self.kill_relay(true);
        self.oracle.borrow_mut().relay_converted();
    }

    /// A client is gone and comes back.
    pub(super) fn kill_client(&mut self, host: usize, disk_is_left: bool) {
        self.network.crash(host);
        if !disk_is_left && let Some(disk) = &mut self.network.disks[host] {
            *disk = Disk::default();
        }
        let is_left = disk_is_left && self.plan.client_disk;
        self.oracle.borrow_mut().client_died(host, is_left);
        self.judge(None);
        self.lives += 1;
        let seed = seed(self.plan.seed, self.lives);
        let machine = new_client(&self.config, host, seed, &self.network);
        self.client(host).restart(machine);
    }

    /// The relay is gone and comes back.
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
        let seed = seed(self.plan.seed, self.lives);
        let machine = new_relay(&self.plan, self.is_durable, seed, &self.network);
        self.relay.restart(machine);
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
                self.clients[0].pump.machine().statistics()
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

fn new_client(config: &ClientConfig, host: usize, seed: [u8; 32], network: &Network) -> Client {
    let now = network.local(host);
    let mut config = config.clone();
    if host == CLIENTS[2] {
        config.api_key = ApiKey::new("other");
    }
    match &network.disks[host] {
        Some(disk) => Client::restore(config, seed, now, disk.records(network.now))
            .unwrap_or_else(|error| panic!("the client cannot read what it has stored: {error}")),
        None => Client::new(config, seed, now),
    }
}

fn new_relay(plan: &Plan, is_durable: bool, seed: [u8; 32], network: &Network) -> Relay {
    let upstream = StreamAddress::new("mx.test", 25, false);
    let mut config = RelayConfig::new(upstream, "relay.test".parse().unwrap());
    config.pool.max_idle = [16, 0, 1][plan.server as usize / 36 % 3];
    config.durable = is_durable;
    config.restart_spread = plan.spread;
    if let Some((entries, age)) = plan.forgetful {
        (config.ledger.entries, config.ledger.age) = (entries, age);
    }
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
