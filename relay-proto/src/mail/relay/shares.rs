//! How accounts share the connections to the upstream.

use super::channel::ChannelId;
use crate::{LinkId, admission::allowance};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Which channels wait for a connection, and which account has how many.
///
/// The account that has fewest comes first; among equals they take turns, and within an account whoever has waited longest. So a
/// flood of one account waits behind what others send now and then, and accounts that all have more than enough to send get
/// equally many.
#[derive(Default)]
pub(super) struct Shares {
    accounts: BTreeMap<Arc<str>, Account>,
    /// The accounts for which somebody waits, by what they have and by their turn.
    line: BTreeSet<(usize, u64, Arc<str>)>,
    waiting: BTreeMap<ChannelId, (Arc<str>, u64)>,
    leased: BTreeMap<LinkId, Arc<str>>,
    tickets: u64,
    /// The turn of the account served last. One that comes anew begins with it: it owes nothing and is owed nothing for the time
    /// before.
    turn: u64,
}

#[derive(Default)]
struct Account {
    leased: usize,
    turn: u64,
    /// In the order in which they came.
    waiting: BTreeMap<u64, ChannelId>,
}

impl Shares {
    /// The channel waits for a connection.
    pub(super) fn wait(&mut self, account: &str, channel: ChannelId) {
        let known = self.accounts.get_key_value(account);
        let name = known.map_or_else(|| account.into(), |(name, _)| Arc::clone(name));
        let ticket = self.tickets;
        self.tickets += 1;
        self.waiting.insert(channel, (Arc::clone(&name), ticket));
        let begins = self.turn;
        self.change(&name, |account| {
            if account.waiting.is_empty() {
                account.turn = account.turn.max(begins);
            }
            account.waiting.insert(ticket, channel);
        });
    }

    /// The channel does not wait any more. Whether it did.
    pub(super) fn stop_waiting(&mut self, channel: ChannelId) -> bool {
        let Some((account, ticket)) = self.waiting.remove(&channel) else {
            return false;
        };
        self.change(&account, |account| {
            account.waiting.remove(&ticket);
        });
        true
    }

    /// The channel whose turn it is to have this connection, of `total` that there are at most. It is its account's until
    /// [`give_back`](Self::give_back).
    pub(super) fn lease(&mut self, link: LinkId, total: usize) -> Option<ChannelId> {
        let (leased, turn, name) = self.line.first()?;
        if allowance(*leased, self.free(total)) == 0 {
            return None;
        }
        let (turn, name) = (*turn, Arc::clone(name));
        let (_, channel) = self.accounts.get(&name)?.waiting.first_key_value()?;
        let channel = *channel;
        self.turn = turn;
        self.change(&name, |account| {
            account.turn = turn + 1;
            account.leased += 1;
        });
        self.stop_waiting(channel);
        self.leased.insert(link, name);
        Some(channel)
    }

    /// The connection is no account's any more.
    pub(super) fn give_back(&mut self, link: LinkId) {
        if let Some(name) = self.leased.remove(&link) {
            self.change(&name, |account| account.leased -= 1);
        }
    }

    /// How many of the channels that wait may have a connection now, of `total`; where several accounts wait, it may be some more
    /// than turn out to get one.
    pub(super) fn due(&self, total: usize) -> usize {
        let free = self.free(total);
        let mut due = 0;
        for (leased, _, name) in &self.line {
            let allowance = allowance(*leased, free - due);
            if allowance == 0 {
                break;
            }
            let waiting = self.accounts.get(name).map_or(0, |held| held.waiting.len());
            due += waiting.min(allowance);
        }
        due
    }

    /// Whether several accounts have connections, or wait for one.
    pub(super) fn are_several(&self) -> bool {
        self.accounts.len() > 1
    }

    /// Whether a channel more of this account could only wait for others of its own to end.
    pub(super) fn is_used_up(&self, account: &str, total: usize) -> bool {
        self.accounts.get(account).is_some_and(|account| {
            account.waiting.len() >= allowance(account.leased, self.free(total))
        })
    }

    /// Whether the account has a connection, or waits for one.
    pub(super) fn has(&self, account: &str) -> bool {
        self.accounts.contains_key(account)
    }

    /// The channel that gets none where one less can be had than was thought: of the account that has and wants most, the
    /// one that has waited longest.
    pub(super) fn give_up(&mut self) -> Option<ChannelId> {
        let wants = |(leased, _, name): &&(usize, u64, Arc<str>)| {
            let waiting = self.accounts.get(name).map_or(0, |held| held.waiting.len());
            leased + waiting
        };
        let (_, _, name) = self.line.iter().max_by_key(wants)?;
        let (_, channel) = self.accounts.get(name)?.waiting.first_key_value()?;
        let channel = *channel;
        self.stop_waiting(channel);
        Some(channel)
    }

    fn free(&self, total: usize) -> usize {
        total.saturating_sub(self.leased.len())
    }

    /// Changes an account and its place in the line; one that has nothing and wants nothing is forgotten.
    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Account)) {
        let account = self.accounts.entry(Arc::clone(name)).or_default();
        let mut place = (account.leased, account.turn, Arc::clone(name));
        self.line.remove(&place);
        change(account);
        if !account.waiting.is_empty() {
            (place.0, place.1) = (account.leased, account.turn);
            self.line.insert(place);
        } else if account.leased == 0 {
            self.accounts.remove(name);
        }
    }
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;
