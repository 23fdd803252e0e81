//! Connections to the upstream, and who waits for one.

use super::{RelayConfig, channel::ChannelId, output::Output, shares::Shares, upstream::Upstream};
use crate::{Deadline, LinkId, Time, smtp::Capabilities};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

/// So many connections there may be before a channel has to wait for one of them to become free.
const AT_ONCE: usize = 16;

/// How long it then waits before it gets one of its own, and up to twice as long, since one clock runs for all. Where the server is
/// quick, the others have served it long before that, and with less work than a new connection takes.
const PATIENCE: Duration = Duration::from_millis(100);

/// Every connection to the upstream, from the wish to have one until the driver says it has ended.
#[derive(Default)]
pub(super) struct Pool {
    pub(super) upstreams: BTreeMap<LinkId, Upstream>,
    /// Those that are greeted and serve nobody, the one used last at the end: it is taken first, so that the others age.
    idle: Vec<LinkId>,
    /// Those that serve nobody yet: being connected, greeted, or asked whether they still live.
    coming: BTreeSet<LinkId>,
    /// Channels that wait for a connection, and whose those are that serve one.
    shares: Shares,
    /// What the upstream has offered last.
    capabilities: Option<Capabilities>,
    /// Until when some are kept greeted ahead of time.
    demand_until: Option<Time>,
    /// Until when none is, since one could not be had.
    discouraged_until: Option<Time>,
    opened: u64,
    /// How many channels have got a connection.
    served: u64,
    /// When those have waited for long enough who come before this number, counted like `served`.
    review: Option<(Time, u64)>,
}

impl Pool {
    /// What clients are offered where it has to be said before there is a connection.
    ///
    /// As long as the upstream has not been heard, it is taken to carry what mail servers do: a message it turns out not to carry is
    /// refused by name, but what is not offered is not even tried.
    pub(super) fn capabilities(&self, config: &RelayConfig) -> Capabilities {
        let known = config.pool.capabilities.as_ref();
        known
            .or(self.capabilities.as_ref())
            .cloned()
            .unwrap_or(Capabilities {
                eight_bit_mime: true,
                smtputf8: true,
                enhanced_status_codes: true,
                ..Capabilities::default()
            })
    }

    /// The upstream has said what it offers.
    pub(super) fn learn(&mut self, capabilities: &Capabilities) {
        self.capabilities = Some(capabilities.clone());
    }

    /// Mail is about to come.
    pub(super) fn expect_mail(&mut self, config: &RelayConfig, now: Time) {
        self.demand_until = Some(now.after(config.pool.idle_timeout));
    }

    /// A connection could not be had. Returns the channel that gets none for it, unless others are still being opened for all that
    /// may have one. None is opened ahead of time for a while.
    pub(super) fn missed(&mut self, config: &RelayConfig, now: Time) -> Option<ChannelId> {
        self.discouraged_until = Some(now.after(config.pool.idle_timeout));
        if self.coming.len() < self.shares.due(config.max_upstreams) {
            self.shares.give_up()
        } else {
            None
        }
    }

    /// Whether a channel more of this account could only wait for others to end. One that has none may wait for its first.
    pub(super) fn is_full(&self, account: &str, config: &RelayConfig) -> bool {
        let total = config.max_upstreams;
        let is_used_up = self.idle.is_empty()
            && self.coming.len() <= self.shares.due(total)
            && self.upstreams.len() >= total;
        (total == 0 || self.shares.has(account))
            && (is_used_up || self.shares.is_used_up(account, total))
    }

    pub(super) fn wait(&mut self, account: &str, channel: ChannelId) {
        self.shares.wait(account, channel);
    }

    pub(super) fn stop_waiting(&mut self, channel: ChannelId) {
        self.shares.stop_waiting(channel);
    }

    /// A connection for the channel whose turn it is, and that channel. One that was idle for long is asked first
    /// whether it still lives.
    pub(super) fn serve(
        &mut self,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> Option<(ChannelId, LinkId)> {
        let due = self.shares.due(config.max_upstreams);
        while due > 0
            && let Some(link) = self.idle.last().copied()
            && let Some(upstream) = self.upstreams.get_mut(&link)
        {
            if !upstream.may_be_dead(config, now) {
                let channel = self.shares.lease(link, config.max_upstreams)?;
                self.idle.pop();
                self.served += 1;
                return Some((channel, link));
            }
            if self.coming.len() >= due {
                return None;
            }
            self.idle.pop();
            self.coming.insert(link);
            upstream.check(now, output);
        }
        None
    }

    /// Opens connections for those that wait and for those that are expected; gives up those being opened that are too many.
    /// Returns the connections with news.
    pub(super) fn balance(
        &mut self,
        config: &RelayConfig,
        now: Time,
        is_running: bool,
        output: &mut Output,
    ) -> Vec<LinkId> {
        let before = |until: Option<Time>| until.is_some_and(|until| now < until);
        let expected = is_running && before(self.demand_until) && !before(self.discouraged_until);
        let room = if is_running { config.pool.max_idle } else { 0 };
        let room = room.saturating_sub(self.idle.len());
        let minimum = config.pool.min_idle.saturating_sub(self.idle.len());
        let ahead = if expected { minimum.min(room) } else { 0 };
        let due = self.shares.due(config.max_upstreams);
        let mut changed = Vec::new();
        let at_once = AT_ONCE.max(config.pool.max_idle);
        let overdue = self.overdue(now, due);
        // Nobody waits for what another account has begun.
        let overdue = if self.shares.are_several() {
            due
        } else {
            overdue
        };
        while self.coming.len() < due + ahead
            && (self.upstreams.len() < at_once || self.coming.len() < overdue)
            && self.upstreams.len() < config.max_upstreams
        {
            let link = LinkId::dialled(self.opened);
            self.opened += 1;
            let upstream = Upstream::open(link, config, now, output);
            self.upstreams.insert(link, upstream);
            self.coming.insert(link);
            changed.push(link);
        }
        while self.coming.len() > due + room
            && let Some(link) = self.coming.pop_last()
        {
            if let Some(upstream) = self.upstreams.get_mut(&link) {
                upstream.quit(config, now, output);
            }
            changed.push(link);
        }
        changed
    }

    /// How many of the channels that may have a connection have waited for long enough; sets the clock for the others.
    fn overdue(&mut self, now: Time, due: usize) -> usize {
        if due == 0 {
            self.review = None;
            return 0;
        }
        let anew = (now.after(PATIENCE), self.served + due as u64);
        let (until, last) = *self.review.get_or_insert(anew);
        if last <= self.served {
            // All of those have been served meanwhile.
            self.review = Some(anew);
            return 0;
        }
        if now < until {
            return 0;
        }
        self.review = Some(anew);
        usize::try_from(last - self.served).map_or(due, |overdue| overdue.min(due))
    }

    /// When to see whether somebody has waited for too long.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.review.map(|(at, _)| Deadline {
            at,
            timer: "upstream queue",
        })
    }

    /// A connection serves nobody and could serve the next. It is kept where there is room for it, and says goodbye otherwise.
    pub(super) fn rest(
        &mut self,
        link: LinkId,
        config: &RelayConfig,
        now: Time,
        is_running: bool,
        output: &mut Output,
    ) {
        self.forget(link);
        self.shares.give_back(link);
        let is_wanted = self.shares.due(config.max_upstreams) > 0
            || (is_running && self.idle.len() < config.pool.max_idle);
        let Some(upstream) = self.upstreams.get_mut(&link) else {
            return;
        };
        if is_wanted && !upstream.is_worn(config, now) {
            upstream.rest(config, now);
            self.idle.push(link);
        } else {
            upstream.quit(config, now, output);
        }
    }

    /// Says goodbye to those that are idle.
    pub(super) fn quit_idle(
        &mut self,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> Vec<LinkId> {
        for link in &self.idle {
            if let Some(upstream) = self.upstreams.get_mut(link) {
                upstream.quit(config, now, output);
            }
        }
        core::mem::take(&mut self.idle)
    }

    /// The driver says that a connection has ended.
    pub(super) fn remove(&mut self, link: LinkId) {
        self.upstreams.remove(&link);
        self.shares.give_back(link);
    }

    /// A connection serves nobody any more, nor will it. Returns whether it was about to.
    pub(super) fn forget(&mut self, link: LinkId) -> bool {
        if let Some(index) = self.idle.iter().rposition(|idle| *idle == link) {
            self.idle.remove(index);
        }
        self.coming.remove(&link)
    }
}
