//! What one account's flood costs another, in virtual time.

use super::{
    peer::{MODERN, Peer, message},
    rig::{Rig, seconds, warm},
};
use crate::{Input, LinkId, Time, mail::relay::RelayConfig};
use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

/// A round trip to the mail server.
const ROUND_TRIP: Duration = Duration::from_millis(10);
/// From this number on messages are slow: the server thinks about them for long.
const SLOW: u128 = 1_000_000;

/// A relay, a mail server that answers in its time, and clients.
struct World {
    rig: Rig,
    /// What happens at the server, and when.
    due: BTreeMap<(Time, usize), (LinkId, String)>,
    happened: usize,
    heard: BTreeMap<LinkId, String>,
    opened: usize,
    next_message: u128,
    /// How long a usual message takes, and one from [`SLOW`] on.
    takes: [Duration; 2],
}

impl World {
    fn new(config: RelayConfig, takes: [Duration; 2]) -> Self {
        Self {
            rig: Rig::new(config),
            due: BTreeMap::new(),
            happened: 0,
            heard: BTreeMap::new(),
            opened: 0,
            next_message: 0,
            takes,
        }
    }

    fn later(&mut self, wait: Duration, link: LinkId, text: &str) {
        let at = (self.rig.now.after(wait), self.happened);
        self.happened += 1;
        self.due.insert(at, (link, text.to_string()));
    }

    /// The server hears what it was sent, and begins to answer.
    fn listen(&mut self) -> bool {
        let mut any = false;
        while self.opened < self.rig.dialled() {
            let link = LinkId::dialled(self.opened as u64);
            self.opened += 1;
            self.heard.insert(link, String::new());
            self.later(ROUND_TRIP, link, "220 mx.example\r\n");
        }
        let links: Vec<_> = self.heard.keys().copied().collect();
        for link in links {
            let said = self.rig.upstream_hears(link);
            any |= !said.is_empty();
            self.heard.get_mut(&link).unwrap().push_str(&said);
            while let Some((reply, wait)) = self.next_command(link) {
                self.later(wait, link, reply);
            }
        }
        any
    }

    fn next_command(&mut self, link: LinkId) -> Option<(&'static str, Duration)> {
        let heard = self.heard.get_mut(&link)?;
        let end = heard.find("\r\n")? + 2;
        let line = &heard[..end - 2];
        let Some(chunk) = line.strip_prefix("BDAT ") else {
            let reply = match line.get(..4)? {
                "EHLO" => MODERN,
                "QUIT" => "221 bye\r\n",
                _ => "250 fine\r\n",
            };
            heard.drain(..end);
            return Some((reply, ROUND_TRIP));
        };
        let length: usize = chunk.split(' ').next()?.parse().ok()?;
        let is_last = chunk.ends_with(" LAST");
        let content = heard.get(end..end + length)?;
        let number = content.strip_prefix("Subject: ");
        let number = number.and_then(|rest| rest.lines().next()?.parse::<u128>().ok());
        let takes = self.takes[usize::from(number.is_some_and(|number| number >= SLOW))];
        heard.drain(..end + length);
        if is_last {
            Some(("250 2.0.0 queued\r\n", ROUND_TRIP + takes))
        } else {
            Some(("250 chunk\r\n", ROUND_TRIP))
        }
    }

    /// All say what they have to say; then the next thing happens at the server, or time passes up to `until`.
    fn step(&mut self, clients: &mut [&mut dyn Client], until: Time) {
        loop {
            let mut any = false;
            for client in clients.iter_mut() {
                any |= client.act(&mut self.rig, &mut self.next_message);
            }
            if !(any | self.listen()) {
                break;
            }
        }
        let at = self.due.first_key_value().map_or(until, |((at, _), _)| *at);
        let wait = at.min(until).since(self.rig.now);
        self.rig.pass(wait);
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= self.rig.now
        {
            let (link, text) = entry.remove();
            if self.rig.is_opening(link) {
                self.rig.input(Input::Opened { link });
            }
            if self.rig.is_open(link) {
                self.rig.upstream_says(link, &text);
            }
        }
    }

    fn run(&mut self, clients: &mut [&mut dyn Client], time: Duration) {
        let until = self.rig.now.after(time);
        while self.rig.now < until {
            self.step(clients, until);
        }
    }
}

trait Client {
    /// Says what it has to say now; whether anything moved.
    fn act(&mut self, rig: &mut Rig, next_message: &mut u128) -> bool;
}

/// Sends one message at a time, the next when the one before is delivered.
struct Steady {
    peer: Peer,
    under_way: Option<(u64, Time)>,
    took: Vec<Duration>,
}

impl Steady {
    fn new(rig: &mut Rig, number: u64, account: &str) -> Self {
        Self {
            peer: Peer::connect_as(rig, number, account),
            under_way: None,
            took: Vec::new(),
        }
    }

    fn median(&mut self) -> Duration {
        self.took.sort();
        assert!(self.took.len() >= 20, "{} messages", self.took.len());
        self.took[self.took.len() / 2]
    }
}

impl Client for Steady {
    fn act(&mut self, rig: &mut Rig, next_message: &mut u128) -> bool {
        let any = self.peer.flush(rig) | self.peer.receive(rig);
        if let Some((channel, since)) = self.under_way {
            let heard = self.peer.hears(channel);
            assert!(!heard.contains("[error"), "{heard}");
            if !heard.contains("queued") {
                return any;
            }
            self.took.push(rig.now.since(since));
            self.peer.close(channel);
        }
        *next_message += 1;
        self.under_way = Some((self.peer.send(*next_message, None), rig.now));
        true
    }
}

/// What a client does that wants all for itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flood {
    /// As many messages at once as it may.
    Usual,
    /// The same, and the server thinks about each for long.
    Slow,
    /// Messages that never end.
    Endless,
    /// Complete messages whose replies it does not wait for.
    Abandoned,
}

struct Flooder {
    peer: Peer,
    flood: Flood,
    under_way: BTreeMap<u64, String>,
    delivered: usize,
    /// How many it has begun at this moment.
    began: (Time, usize),
}

impl Flooder {
    fn new(rig: &mut Rig, number: u64, account: &str, flood: Flood) -> Self {
        Self {
            peer: Peer::connect_as(rig, number, account),
            flood,
            under_way: BTreeMap::new(),
            delivered: 0,
            began: (rig.now, 0),
        }
    }
}

impl Client for Flooder {
    fn act(&mut self, rig: &mut Rig, next_message: &mut u128) -> bool {
        let any = self.peer.flush(rig) | self.peer.receive(rig);
        let mut ended = Vec::new();
        for (channel, heard) in &mut self.under_way {
            heard.push_str(&self.peer.hears(*channel));
            let is_delivered = heard.contains("queued");
            let is_left = self.flood == Flood::Abandoned && heard.contains("250 fine\r\n250 fine");
            if is_delivered || is_left || heard.contains("[error") || heard.contains("[closed]") {
                self.delivered += usize::from(is_delivered);
                ended.push(*channel);
            }
        }
        for channel in ended {
            self.under_way.remove(&channel);
            self.peer.close(channel);
        }
        if self.began.0 != rig.now {
            self.began = (rig.now, 0);
        }
        // What was refused is tried again later, so that time passes.
        let mut began = false;
        while self.under_way.len() < 64 && self.began.1 < 64 {
            *next_message += 1;
            self.began.1 += 1;
            began = true;
            let number = *next_message
                + match self.flood {
                    Flood::Slow | Flood::Abandoned => SLOW,
                    Flood::Usual | Flood::Endless => 0,
                };
            let channel = self.peer.open(number, None);
            let whole = message(number);
            self.peer.say(
                channel,
                match self.flood {
                    Flood::Endless => &whole[..whole.len() - 4],
                    Flood::Usual | Flood::Slow | Flood::Abandoned => &whole,
                },
            );
            self.under_way.insert(channel, String::new());
        }
        any | began
    }
}

fn as_clients(flood: &mut [Flooder]) -> Vec<&mut dyn Client> {
    flood.iter_mut().map(|one| one as &mut dyn Client).collect()
}

/// The median time of a message of one client, while another account does this on three links.
fn median(flood: Option<Flood>, max_upstreams: usize) -> Duration {
    let config = RelayConfig {
        max_upstreams,
        ..warm()
    };
    let mut world = World::new(config, [Duration::from_millis(20), seconds(2)]);
    let mut flooders: Vec<_> = (0..3)
        .filter_map(|number| Some(Flooder::new(&mut world.rig, number, "mallory", flood?)))
        .collect();
    world.run(&mut as_clients(&mut flooders), seconds(1));
    let mut steady = Steady::new(&mut world.rig, 100, "alice");
    let mut clients = as_clients(&mut flooders);
    clients.push(&mut steady);
    world.run(&mut clients, seconds(2));
    assert!(world.rig.pump.machine().upstreams() <= max_upstreams);
    steady.median()
}

#[test]
fn a_flood_of_one_account_does_not_slow_the_mail_of_another() {
    for max_upstreams in [2, 20, 100] {
        let alone = median(None, max_upstreams);
        for flood in [Flood::Usual, Flood::Slow, Flood::Endless, Flood::Abandoned] {
            let beside = median(Some(flood), max_upstreams);
            assert!(
                beside <= alone + alone / 10,
                "{flood:?} on {max_upstreams}: {alone:?} alone, {beside:?} beside it"
            );
        }
    }
}

#[test]
fn two_accounts_share_a_mail_server_that_is_too_slow_for_both() {
    for (max_upstreams, links) in [(1, [1, 1]), (8, [1, 1]), (8, [3, 1]), (9, [1, 3])] {
        let config = RelayConfig {
            max_upstreams,
            ..warm()
        };
        let mut world = World::new(config, [Duration::from_millis(20); 2]);
        let mut all = Vec::new();
        for (account, links) in ["mallory", "alice"].iter().zip(links) {
            for _ in 0..links {
                let number = all.len() as u64;
                all.push(Flooder::new(&mut world.rig, number, account, Flood::Usual));
            }
        }
        world.run(&mut as_clients(&mut all), seconds(4));
        let (first, second) = all.split_at(links[0]);
        let [first, second] = [first, second]
            .map(|links| links.iter().map(|link| link.delivered).sum::<usize>() as f64);
        assert!(first > 30.0, "{first}");
        let ratio = first / second;
        assert!(
            (0.9..=1.1).contains(&ratio),
            "{first} for {links:?} links, and {second}, of {max_upstreams}"
        );
    }
}
