//! Who gets the next connection.

use super::*;
use alloc::vec::Vec;

/// Accounts that always have more to send, on so many connections.
struct Rig {
    shares: Shares,
    total: usize,
    channels: u64,
    links: u64,
    owners: BTreeMap<ChannelId, Arc<str>>,
}

impl Rig {
    fn new(total: usize) -> Self {
        Self {
            shares: Shares::default(),
            total,
            channels: 0,
            links: 0,
            owners: BTreeMap::new(),
        }
    }

    fn wait(&mut self, account: &str, channels: usize) {
        for _ in 0..channels {
            let channel = ChannelId(self.channels);
            self.channels += 1;
            self.owners.insert(channel, account.into());
            self.shares.wait(account, channel);
        }
    }

    /// Who gets a connection, as long as somebody does.
    fn serve(&mut self) -> Vec<(LinkId, Arc<str>)> {
        let mut served = Vec::new();
        loop {
            let (due, link) = (self.shares.due(self.total), LinkId::dialled(self.links));
            let Some(channel) = self.shares.lease(link, self.total) else {
                assert_eq!(due, 0);
                return served;
            };
            assert!(due > 0);
            self.links += 1;
            served.push((link, Arc::clone(&self.owners[&channel])));
        }
    }

    fn count(&mut self, account: &str) -> usize {
        let served = self.serve();
        served.iter().filter(|(_, name)| **name == *account).count()
    }
}

#[test]
fn no_account_takes_all_and_each_finds_one() {
    for (total, alone) in [(1, 1), (2, 1), (3, 2), (9, 8), (100, 88), (500, 444)] {
        let mut rig = Rig::new(total);
        rig.wait("flood", 1000);
        assert_eq!(rig.count("flood"), alone, "of {total}");
        rig.wait("other", 1);
        assert_eq!(rig.count("other"), usize::from(alone < total), "of {total}");
    }
}

#[test]
fn floods_of_several_leave_something_for_the_next() {
    let mut rig = Rig::new(500);
    let taken: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|flood| {
            rig.wait(flood, 1000);
            rig.count(flood)
        })
        .collect();
    assert_eq!(taken, [444, 49, 6]);
    rig.wait("d", 1);
    assert_eq!(rig.count("d"), 1);
}

#[test]
fn what_is_given_back_goes_to_whoever_has_fewest_until_all_have_as_many() {
    let mut rig = Rig::new(90);
    rig.wait("a", 1000);
    let mut leased = rig.serve();
    assert_eq!(leased.len(), 80);
    rig.wait("b", 1000);
    leased.extend(rig.serve());
    for _ in 0..200 {
        let (link, _) = leased.remove(0);
        rig.shares.give_back(link);
        leased.extend(rig.serve());
    }
    let of = |account: &str| leased.iter().filter(|(_, name)| **name == *account).count();
    assert!(of("a").abs_diff(of("b")) <= 1, "{} {}", of("a"), of("b"));
    assert!(leased.len() > 80);
}

#[test]
fn one_connection_is_taken_in_turns_also_by_one_who_asks_again_each_time() {
    let mut rig = Rig::new(1);
    rig.wait("flood", 100);
    let mut order = Vec::new();
    let mut leased = rig.serve();
    for _ in 0..40 {
        let (link, account) = leased.remove(0);
        if !rig.shares.has("single") {
            rig.wait("single", 1);
        }
        order.push(account);
        rig.shares.give_back(link);
        leased.extend(rig.serve());
    }
    let single = order.iter().filter(|account| &***account == "single");
    assert_eq!(single.count(), 20);
}

#[test]
fn within_an_account_the_first_to_come_is_the_first_served() {
    let mut rig = Rig::new(1);
    rig.wait("a", 5);
    rig.shares.stop_waiting(ChannelId(0));
    rig.shares.stop_waiting(ChannelId(3));
    let mut order = Vec::new();
    while let Some(channel) = rig.shares.lease(LinkId::dialled(0), 1) {
        order.push(channel.0);
        rig.shares.give_back(LinkId::dialled(0));
    }
    assert_eq!(order, [1, 2, 4]);
}

#[test]
fn what_cannot_be_had_is_missed_by_whoever_wants_most() {
    let mut rig = Rig::new(10);
    rig.wait("single", 1);
    rig.wait("flood", 3);
    let missed: Vec<_> = core::iter::from_fn(|| rig.shares.give_up()).collect();
    assert_eq!(missed[..2], [ChannelId(1), ChannelId(2)]);
    assert_eq!(missed.len(), 4);
}

#[test]
fn an_account_that_has_and_wants_nothing_is_forgotten() {
    let mut rig = Rig::new(10);
    rig.wait("a", 20);
    assert!(rig.shares.is_used_up("a", 10) && !rig.shares.is_used_up("b", 10));
    for (link, _) in rig.serve() {
        rig.shares.give_back(link);
        // Whatever was said of it is said once.
        rig.shares.give_back(link);
    }
    for channel in 0..20 {
        rig.shares.stop_waiting(ChannelId(channel));
    }
    let shares = rig.shares;
    assert!(shares.accounts.is_empty() && shares.line.is_empty());
    assert!(shares.waiting.is_empty() && shares.leased.is_empty());
}
