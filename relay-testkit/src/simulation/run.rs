//! Runs of plans: one, many, and the smallest that still fails.

use super::{
    network::{CLIENTS, RELAY, SERVER},
    oracle::Verdict,
    plan::Plan,
    trace::Trace,
    world::{World, mail},
};
use crate::mail::submissions;
use relay_proto::Machine;
use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);

/// So long after it was submitted a message is accepted, or is not.
const SLOWEST_DISK: Duration = Duration::from_secs(10);

/// So long after the last message is settled nothing is left at the relay either: it waits for the reply to a message for ten
/// minutes, and keeps a session for a quarter of an hour.
const AT_REST_WITHIN: Duration = Duration::from_secs(1800);

/// What many runs came to, so that it is seen that they go where it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many runs.
    pub runs: u64,
    /// Messages delivered, failed, left in doubt, handed back, and gone with their client.
    pub messages: [u64; 5],
    /// Messages that were sent again after a doubt.
    pub sent_again: u64,
    /// Messages found on the client's disk.
    pub restored: u64,
    /// Links of the client beyond each run's first.
    pub reconnects: u64,
    /// Frames between client and relay.
    pub frames: u64,
    /// The longest it took from the last fault until everything was settled.
    pub slowest: Duration,
}

impl Tally {
    /// Adds what others have done.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        for (sum, more) in self.messages.iter_mut().zip(other.messages) {
            *sum += more;
        }
        self.sent_again += other.sent_again;
        self.restored += other.restored;
        self.reconnects += other.reconnects;
        self.frames += other.frames;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [delivered, failed, in_doubt, handed_back, gone] = self.messages;
        write!(
            f,
            "{} runs, {} frames, {} reconnects: {delivered} messages delivered, {failed} failed, {in_doubt} in doubt, \
             {handed_back} handed back, {gone} gone with their client; {} sent again, {} restored; settled within {:?}",
            self.runs, self.frames, self.reconnects, self.sent_again, self.restored, self.slowest
        )
    }
}

/// A run that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// The smallest plan with which it does.
    pub plan: Plan,
    /// What was promised.
    pub what: String,
    /// What happened.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\n{:#?}", self.plan)?;
        writeln!(f, "\nseed {}: {}", self.plan.seed, self.what)
    }
}

/// Runs a plan; panics where a promise is broken.
pub fn run(plan: &Plan, trace: Trace) -> Tally {
    let mut world = World::new(plan, trace, |_| {});
    world.hurt();
    let every = (plan.moments / plan.messages.max(1)).max(1);
    let mut submitted = 0;
    for moment in 0..plan.moments.max(plan.messages) {
        if moment % every == 0 && submitted < plan.messages {
            submit(&mut world, plan, submitted);
            submitted += 1;
        }
        let pause = world.network.random.up_to(SECOND / 4);
        world.run_for(pause);
        mishap(&mut world, plan);
    }
    world.heal();
    finish(&mut world, plan.settles_within())
}

fn submit(world: &mut World, plan: &Plan, number: u64) {
    let length = world.network.random.next_u64() as usize % plan.longest.max(1);
    let lines = b"0123456789abcdef\r\n.\r\n".repeat(length / 21 + 1);
    let (mut submission, content) = mail(number, &["bob@example.net"], &lines);
    if let Some(lifetime) = plan.lifetime {
        submission = submission.with_max_age(lifetime);
    }
    world.submit(number, submission, content);
}

/// One of the things that go wrong at a moment, or none.
fn mishap(world: &mut World, plan: &Plan) {
    let mishaps = plan.mishaps;
    if world.network.chance(mishaps.client_killed) {
        let host = world.any_client();
        world.kill_client(host, true);
    }
    if world.network.chance(mishaps.client_disk_lost) {
        let host = world.any_client();
        world.kill_client(host, false);
    }
    if world.network.chance(mishaps.relay_killed) {
        world.kill_relay(true);
    }
    if world.network.chance(mishaps.relay_disk_lost) {
        world.kill_relay(false);
    }
    if world.network.chance(mishaps.relay_drained) {
        let patience = world.network.random.up_to(30 * SECOND);
        world.drain_relay(patience);
    }
    if world.network.chance(mishaps.relay_converted) {
        world.convert_relay();
    }
    if world.network.chance(mishaps.client_shut_down) {
        let host = world.any_client();
        let patience = world.network.random.up_to(30 * SECOND);
        world.shut_down_client(host, patience);
    }
    if world.network.chance(mishaps.cancelled) {
        world.cancel_one();
    }
    if world.network.chance(mishaps.server_killed) {
        world.kill_server();
    }
    if world.network.chance(mishaps.stall) {
        let host = any_host(world);
        let until = world.network.random.up_to(20 * SECOND);
        world.network.stalled = Some((host, world.network.now.after(until)));
    }
    if world.network.chance(mishaps.clock_jumps) {
        let host = any_host(world);
        let by = world.network.random.up_to(925 * SECOND).as_secs() as i64 - 10;
        world.jump(host, by * 1_000_000_000);
    }
    if world.network.chance(mishaps.pause) {
        let pause = world.network.random.up_to(180 * SECOND);
        world.run_for(pause);
    }
}

fn any_host(world: &mut World) -> usize {
    match world.network.random.next_u64() % 3 {
        0 => world.any_client(),
        1 => RELAY,
        _ => SERVER,
    }
}

/// Lets everything come to its end, and counts.
pub(super) fn finish(world: &mut World, within: Duration) -> Tally {
    let healed = world.network.now;
    // What a slow disk was given just before is accepted first.
    world.run_for(SLOWEST_DISK);
    world.settle_all(within);
    let slowest = world.network.now.since(healed);
    // What is still under way behind the relay comes to its end as well.
    world.run_for(AT_REST_WITHIN);
    let oracle = world.oracle.borrow();
    oracle.at_rest();
    let relay = world.relay.pump.machine();
    assert_eq!(relay.upstreams(), 0, "no connection to the server is left");
    let clients = || world.clients.iter().map(|client| client.pump.machine());
    if clients().all(|client| client.deadline().is_none()) {
        assert_eq!(relay.links(), 0, "the relay knows that the client is gone");
        assert!(world.network.is_quiet(), "nothing is under way");
    }
    for client in clients() {
        let held = client.statistics().queue_bytes;
        assert_eq!(held, 0, "the client holds nothing");
    }
    for disk in CLIENTS
        .iter()
        .filter_map(|host| world.network.disks[*host].as_ref())
    {
        let left = submissions(disk.records(world.network.now));
        assert!(left.is_empty(), "no submission is on disk: {left:?}");
    }
    let mut messages = [0; 5];
    for fate in oracle.fates.values().filter(|fate| fate.accepted) {
        let index = match fate.verdict {
            Some(Verdict::Delivered) => 0,
            Some(Verdict::Failed) => 1,
            Some(Verdict::InDoubt) => 2,
            Some(Verdict::HandedBack) => 3,
            None => 4,
        };
        messages[index] += 1;
    }
    Tally {
        runs: 1,
        messages,
        sent_again: oracle.fates.values().map(|fate| fate.doubts as u64).sum(),
        restored: oracle.restored as u64,
        reconnects: clients().map(|client| client.statistics().reconnects).sum(),
        frames: world.network.frames,
        slowest,
    }
}

/// What a run says when it breaks a promise.
pub(super) fn attempt(body: impl FnOnce() -> Tally) -> Result<Tally, String> {
    panic::catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        text.unwrap_or_else(|| "a panic without words".into())
    })
}

/// Runs seeds until one fails, and makes that one as small as it goes.
///
/// # Errors
///
/// The first run that broke a promise.
pub fn run_many(seeds: impl IntoIterator<Item = u64>) -> Result<Tally, Box<Failure>> {
    let mut sum = Tally::default();
    for seed in seeds {
        let plan = Plan::of(seed);
        match attempt(|| run(&plan, Trace::default())) {
            Ok(tally) => sum.add(&tally),
            Err(_) => return Err(Box::new(minimised(plan))),
        }
    }
    Ok(sum)
}

/// What each seed breaks that breaks a promise.
pub fn survey(seeds: impl IntoIterator<Item = u64>) -> Vec<(u64, String)> {
    let broken = |seed| {
        Some((
            seed,
            attempt(|| run(&Plan::of(seed), Trace::default())).err()?,
        ))
    };
    seeds.into_iter().filter_map(broken).collect()
}

fn minimised(mut plan: Plan) -> Failure {
    let fails = |plan: &Plan| attempt(|| run(plan, Trace::default())).is_err();
    let mut tries = 0;
    while let Some(smaller) = plan.smaller().into_iter().find(&fails) {
        plan = smaller;
        tries += 1;
        if tries > 100 {
            break;
        }
    }
    let trace = Trace::kept();
    let what = attempt(|| run(&plan, trace.clone())).err();
    Failure {
        plan,
        what: what
            .unwrap_or_else(|| "it fails sometimes only, so something is not from the seed".into()),
        trace: trace.lines(),
    }
}
