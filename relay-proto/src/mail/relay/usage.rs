//! What accounts take up of the relay, and what is too much.

use super::{Policy, RelayConfig};
use crate::admission::allowance;
use alloc::{collections::BTreeMap, sync::Arc};

/// What a channel takes up besides what waits on it, in bytes: its SMTP session and the places it has in maps.
const CHANNEL: usize = 2 * 1024;

/// What accounts take up at the moment. Those that take up nothing are not in it.
#[derive(Debug, Default)]
pub(super) struct Usage {
    accounts: BTreeMap<Arc<str>, Taken>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    links: usize,
    channels: usize,
    bytes: usize,
}

impl Usage {
    /// Why the account gets no further link, where it gets none; `links` are there in all, the one it asks for and has not yet
    /// among them, and `replaced` of its own end for it.
    pub(super) fn refuses_link(
        &self,
        policy: &Policy,
        config: &RelayConfig,
        links: usize,
        replaced: usize,
    ) -> Option<&'static str> {
        let taken = self.of(&policy.account).links.saturating_sub(replaced);
        let free = config.max_links.saturating_sub(links.saturating_sub(1));
        if policy.max_links.is_some_and(|most| taken >= most) {
            Some("this API key has as many links as it may")
        } else if replaced == 0 && allowance(taken, free) == 0 {
            Some("this API key has as many links as it may while others need some")
        } else {
            None
        }
    }

    /// Why the account gets no further channel, where it gets none.
    pub(super) fn refuses_channel(
        &self,
        policy: &Policy,
        config: &RelayConfig,
    ) -> Option<&'static str> {
        let taken = self.of(&policy.account);
        let free = config.max_held_bytes.saturating_sub(self.bytes);
        if taken.channels >= policy.max_channels {
            Some("this API key has as many messages under way as it may")
        } else if policy
            .max_held_bytes
            .is_some_and(|most| taken.bytes >= most)
        {
            Some("this API key has as many bytes under way as it may")
        } else if allowance(taken.bytes, free) == 0 {
            Some("the relay holds as many bytes as it may")
        } else {
            None
        }
    }

    pub(super) fn link_begins(&mut self, account: &str) {
        self.change(account, |taken| taken.links += 1);
    }

    pub(super) fn link_ends(&mut self, account: &str) {
        self.change(account, |taken| taken.links -= 1);
    }

    pub(super) fn channel_begins(&mut self, account: &str) {
        self.change(account, |taken| {
            taken.channels += 1;
            taken.bytes += CHANNEL;
        });
    }

    pub(super) fn channel_ends(&mut self, account: &str) {
        self.change(account, |taken| {
            taken.channels -= 1;
            taken.bytes -= CHANNEL;
        });
    }

    /// What somebody holds for the account has become so many bytes.
    pub(super) fn holds(&mut self, account: &str, held: &mut usize, bytes: usize) {
        let before = core::mem::replace(held, bytes);
        if before != bytes {
            self.change(account, |taken| taken.bytes = taken.bytes + bytes - before);
        }
    }

    /// How many bytes are held for all accounts together.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn of(&self, account: &str) -> Taken {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    fn change(&mut self, account: &str, change: impl FnOnce(&mut Taken)) {
        let mut taken = self.of(account);
        let before = taken.bytes;
        change(&mut taken);
        self.bytes = self.bytes + taken.bytes - before;
        if taken == Taken::default() {
            self.accounts.remove(account);
        } else if let Some(known) = self.accounts.get_mut(account) {
            *known = taken;
        } else {
            self.accounts.insert(account.into(), taken);
        }
    }
}
