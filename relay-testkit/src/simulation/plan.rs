//! What a run is like: everything that is drawn from its seed before it begins, so that it can be read and made smaller.

use super::{Faults, Moods};
use relay_proto::{Random, mail::client::InDoubtPolicy, pacing::Rate};
use std::time::Duration;

/// What happens to a host at a moment, each with a chance in a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// The client is killed and comes back: with its disk, where it has one.
    pub client_killed: u64,
    /// The client comes back without its disk.
    pub client_disk_lost: u64,
    /// The relay is killed and comes back: with its disk, where it has one.
    pub relay_killed: u64,
    /// The relay comes back without its disk.
    pub relay_disk_lost: u64,
    /// The relay drains, for up to half a minute, ends, and comes back: with its disk, where it has one.
    pub relay_drained: u64,
    /// The relay is killed and comes back with the other dialect: with its disk, where it has one.
    pub relay_converted: u64,
    /// The client shuts down, with up to half a minute of patience, and comes back: with its disk, where it has one.
    pub client_shut_down: u64,
    /// A submission is taken back, where it can be.
    pub cancelled: u64,
    /// The mail server is killed and comes back.
    pub server_killed: u64,
    /// Somebody reads nothing for up to 20 seconds.
    pub stall: u64,
    /// A host's clock jumps: forwards by up to a quarter of an hour, or backwards by up to ten seconds.
    pub clock_jumps: u64,
    /// Nothing is asked of anybody for up to three minutes.
    pub pause: u64,
}

/// A run before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything else is drawn from.
    pub seed: u64,
    /// Whether the relay grants the durable dialect.
    pub durable: bool,
    /// How many clients there are. The third has another account.
    pub clients: usize,
    /// Whether the clients have disks.
    pub client_disk: bool,
    /// Whether the relay has a disk.
    pub relay_disk: bool,
    /// How many deliveries the relay's ledger remembers, and for how long, where that is not for ever.
    pub forgetful: Option<(usize, Duration)>,
    /// Over which time a relay that drains wants its clients back.
    pub spread: Duration,
    /// How many messages the relay takes of each key, where that is bounded.
    pub rate: Option<Rate>,
    /// How long a message may wait in its queue.
    pub lifetime: Option<Duration>,
    /// How many messages are submitted.
    pub messages: u64,
    /// How long the longest is, in bytes.
    pub longest: usize,
    /// How many moments there are.
    pub moments: u64,
    /// How often the client connects, and tries a message, before it gives up; none: for ever.
    pub attempts: Option<u32>,
    /// What the client does about a doubt.
    pub in_doubt: InDoubtPolicy,
    /// How long the client keeps a link it does not need.
    pub idle: Option<Duration>,
    /// How long the client has patience with a message.
    pub patience: Duration,
    /// Which kind of mail server it is.
    pub server: u64,
    /// What goes wrong on wires and disks.
    pub faults: Faults,
    /// What goes wrong with hosts.
    pub mishaps: Moments,
    /// What the mail server is like.
    pub moods: Moods,
}

impl Plan {
    /// A run in which nothing goes wrong.
    pub const fn calm(seed: u64) -> Self {
        Self {
            seed,
            durable: true,
            clients: 1,
            client_disk: false,
            relay_disk: false,
            forgetful: None,
            spread: Duration::from_secs(10),
            rate: None,
            lifetime: None,
            messages: 0,
            longest: 80_000,
            moments: 0,
            attempts: None,
            in_doubt: InDoubtPolicy::SendAgain(u32::MAX),
            idle: Some(Duration::from_secs(5)),
            patience: Duration::from_secs(60),
            server: seed,
            faults: Faults {
                cut: 0,
                dead: 0,
                zombie: 0,
                refuse: 0,
                full: 0,
                slow_disk: 0,
            },
            mishaps: Moments {
                client_killed: 0,
                client_disk_lost: 0,
                relay_killed: 0,
                relay_disk_lost: 0,
                relay_drained: 0,
                relay_converted: 0,
                client_shut_down: 0,
                cancelled: 0,
                server_killed: 0,
                stall: 0,
                clock_jumps: 0,
                pause: 0,
            },
            moods: Moods {
                refuses: 0,
                dies: 0,
                slow: 0,
            },
        }
    }

    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        let mut bytes = [2; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut random = Random::new(bytes);
        let mut below = move |limit: u64| random.next_u64() % limit;
        // Most runs have a few kinds of trouble, each strong enough to matter.
        let mut sometimes = {
            let mut random = Random::new({
                let mut bytes = [3; 32];
                bytes[..8].copy_from_slice(&seed.to_le_bytes());
                bytes
            });
            move |most: u64| match random.next_u64() % 3 {
                0 => 1 + random.next_u64() % most,
                _ => 0,
            }
        };
        let faults = Faults {
            cut: sometimes(60),
            dead: sometimes(20),
            zombie: sometimes(40),
            refuse: sometimes(300),
            full: sometimes(150),
            slow_disk: sometimes(200),
        };
        let mishaps = Moments {
            client_killed: sometimes(60),
            client_disk_lost: sometimes(10),
            relay_killed: sometimes(60),
            relay_disk_lost: sometimes(20),
            server_killed: sometimes(30),
            stall: sometimes(50),
            clock_jumps: sometimes(30),
            pause: sometimes(50),
            relay_drained: sometimes(30),
            relay_converted: sometimes(20) / 4,
            client_shut_down: sometimes(30),
            cancelled: sometimes(100),
        };
        let moods = Moods {
            refuses: sometimes(300),
            dies: sometimes(200),
            slow: sometimes(300),
        };
        let second = Duration::from_secs(1);
        Self {
            durable: below(5) > 0,
            client_disk: below(2) > 0,
            relay_disk: below(2) > 0,
            messages: 1 + below(6),
            longest: [100, 3_000, 80_000][below(3) as usize],
            moments: 10 + below(50),
            attempts: [None, None, None, Some(3)][below(4) as usize],
            in_doubt: [
                InDoubtPolicy::SendAgain(u32::MAX),
                InDoubtPolicy::SendAgain(1),
                InDoubtPolicy::Fail,
            ][below(3) as usize],
            idle: [Some(second), Some(5 * second), None][below(3) as usize],
            patience: [60, 5][below(2) as usize] * second,
            server: below(1 << 20),
            clients: [1, 1, 2, 3][below(4) as usize],
            forgetful: [
                None,
                None,
                None,
                None,
                Some((1, 600 * second)),
                Some((3, 600 * second)),
                Some((1000, second)),
                Some((1000, 60 * second)),
            ][below(8) as usize],
            spread: Duration::from_secs(below(20)),
            lifetime: [None, None, Some(2 * second), Some(60 * second)][below(4) as usize],
            rate: [
                None,
                None,
                None,
                Some(Rate::per_second(1)),
                Some(Rate::per_second(10).with_burst(1)),
            ][below(5) as usize],
            faults,
            mishaps,
            moods,
            ..Self::calm(seed)
        }
    }

    /// So long after the last fault everything accepted has its end: the sum of what has to run out one after the other.
    pub(super) fn settles_within(&self) -> Duration {
        let when = |happens: bool, seconds: u64| Duration::from_secs(seconds) * u32::from(happens);
        let Self {
            faults,
            mishaps,
            moods,
            ..
        } = self;
        // A wire of which only one end knows, or none, that it is gone.
        let is_silent = faults.dead + faults.zombie > 0;
        // What was begun before: the tail of such a wire, a stall, the server's late answers, a disk's, clocks set back.
        let late = when(faults.zombie > 0, 40)
            + when(mishaps.stall > 0, 20)
            + when(moods.slow > 0, 30)
            + when(faults.slow_disk > 0, 10)
            + when(mishaps.clock_jumps > 0, 60);
        // A relay that is told to end does, and its clients come back; those that heard a number wait for both.
        let drained = when(mishaps.relay_drained > 0, 30) + 2 * self.spread;
        // Two links that nobody answers on: two heartbeats, opening, the key, the wait before the next.
        let links = when(is_silent, 2 * (60 + 10 + 30 + 6));
        // The relay, or the client, waits for a reply that was lost.
        let answer = when(is_silent, 600);
        // Each message waits for its retry, and in the worst case meets a dead connection to the server before.
        let patience = if is_silent {
            self.patience
        } else {
            Duration::ZERO
        };
        // Each is refused for the rate once or twice, and others of the same key go before it.
        let turns = when(self.rate.is_some(), 10 * self.clients as u64);
        let each = Duration::from_secs(6) + patience + turns;
        let messages = u32::try_from(self.messages).unwrap_or(u32::MAX);
        Duration::from_secs(60) + late + drained + links + answer + each * messages
    }

    /// Plans that ask for less, the greatest step first.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let mut consider = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            if format!("{plan:?}") != format!("{self:?}") {
                plans.push(plan);
            }
        };
        consider(&|plan| plan.moments /= 2);
        consider(&|plan| plan.moments = plan.moments * 4 / 5);
        consider(&|plan| plan.messages = 1.max(plan.messages / 2));
        consider(&|plan| plan.messages = 1.max(plan.messages - 1));
        consider(&|plan| plan.longest = 100);
        consider(&|plan| plan.faults.cut = 0);
        consider(&|plan| plan.faults.dead = 0);
        consider(&|plan| plan.faults.zombie = 0);
        consider(&|plan| plan.faults.refuse = 0);
        consider(&|plan| plan.faults.full = 0);
        consider(&|plan| plan.faults.slow_disk = 0);
        consider(&|plan| plan.mishaps.client_killed = 0);
        consider(&|plan| plan.mishaps.client_disk_lost = 0);
        consider(&|plan| plan.mishaps.relay_killed = 0);
        consider(&|plan| plan.mishaps.relay_disk_lost = 0);
        consider(&|plan| plan.clients = 1.max(plan.clients - 1));
        consider(&|plan| plan.mishaps.relay_drained = 0);
        consider(&|plan| plan.mishaps.relay_converted = 0);
        consider(&|plan| plan.mishaps.client_shut_down = 0);
        consider(&|plan| plan.mishaps.cancelled = 0);
        consider(&|plan| plan.forgetful = None);
        consider(&|plan| plan.rate = None);
        consider(&|plan| plan.lifetime = None);
        consider(&|plan| plan.mishaps.server_killed = 0);
        consider(&|plan| plan.mishaps.stall = 0);
        consider(&|plan| plan.mishaps.clock_jumps = 0);
        consider(&|plan| plan.mishaps.pause = 0);
        consider(&|plan| plan.moods.refuses = 0);
        consider(&|plan| plan.moods.dies = 0);
        consider(&|plan| plan.moods.slow = 0);
        consider(&|plan| plan.client_disk = false);
        consider(&|plan| plan.relay_disk = false);
        consider(&|plan| plan.server = 0);
        plans
    }
}
