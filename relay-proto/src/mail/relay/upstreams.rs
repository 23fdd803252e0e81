//! What happens on connections to the upstream.

use super::{
    Phase, Relay,
    channel::{Channel, ChannelId},
    timers::Timed,
    trouble::Trouble,
    upstream::{Loss, News, Upstream},
};
use crate::{LinkId, Time};
use bytes::Bytes;

impl Relay {
    pub(super) fn upstream_opened(&mut self, link: LinkId) {
        if let Some(upstream) = self.pool.upstreams.get_mut(&link) {
            upstream.opened();
        }
    }

    pub(super) fn upstream_frame(&mut self, now: Time, link: LinkId, bytes: &Bytes) {
        let Some(upstream) = self.pool.upstreams.get_mut(&link) else {
            return;
        };
        let channel = upstream.channel();
        upstream.handle_bytes(bytes);
        // All replies at hand are taken before the next command goes out, so that a surplus one is noticed.
        while let Some(upstream) = self.pool.upstreams.get_mut(&link)
            && let Some(news) = upstream.next_news(&self.config, now, &mut self.output)
        {
            match news {
                News::Nothing => {}
                News::Greeted(capabilities) => self.pool.learn(&capabilities),
                News::Replied(reply) => {
                    if let Some(reply) = self.delivery_answered(now, link, reply)
                        && let Some(channel) = channel
                    {
                        self.channel_reply(channel, reply);
                    }
                }
                News::Failed(trouble) => self.upstream_failed(now, link, &trouble, false),
            }
        }
        let upstream = self.pool.upstreams.get(&link);
        if upstream.is_some_and(Upstream::is_out_of_step) {
            let trouble = Trouble::broke_protocol("a reply without a command");
            self.upstream_failed(now, link, &trouble, false);
        }
        if let Some(channel) = channel {
            self.drive(now, channel);
        }
        self.rest_upstream(now, link);
    }

    pub(super) fn upstream_written(&mut self, now: Time, link: LinkId) {
        if let Some(upstream) = self.pool.upstreams.get_mut(&link) {
            upstream.written(&self.config, now);
            if let Some(channel) = upstream.channel() {
                self.drive(now, channel);
            }
        }
    }

    pub(super) fn upstream_failed(
        &mut self,
        now: Time,
        link: LinkId,
        trouble: &Trouble,
        link_ended: bool,
    ) {
        let Some(upstream) = self.pool.upstreams.get_mut(&link) else {
            return;
        };
        let channel = upstream.channel();
        let loss = upstream.fail(trouble, link_ended, &mut self.output);
        if link_ended {
            self.pool.remove(link);
        }
        self.touched.insert(Timed::Link(link));
        let was_coming = self.pool.forget(link);
        let channel = match loss {
            Loss::NotOpened if was_coming => self.pool.missed(&self.config, now),
            _ => channel,
        };
        let is_told = self.delivery_lost(now, link, loss, trouble);
        if let Some(channel) = channel.filter(|_| !is_told) {
            self.channel_lost(now, channel, loss, trouble);
        }
    }

    pub(super) fn upstream_timeout(&mut self, now: Time, link: LinkId) {
        let Some(upstream) = self.pool.upstreams.get_mut(&link) else {
            return;
        };
        let Some(deadline) = upstream.deadline().filter(|deadline| deadline.at <= now) else {
            return;
        };
        if upstream.is_at_rest() {
            upstream.quit(&self.config, now, &mut self.output);
            self.pool.forget(link);
        } else {
            self.upstream_failed(now, link, &Trouble::Timeout(deadline.timer), false);
        }
    }

    /// A channel does not need its connection any more.
    pub(super) fn release_upstream(&mut self, now: Time, link: Option<LinkId>, why: &str) {
        let Some(link) = link else { return };
        if let Some(upstream) = self.pool.upstreams.get_mut(&link) {
            let keeps = self.config.pool.max_idle > 0 && matches!(self.phase, Phase::Running);
            let is_past_end = upstream.is_past_end_of_data();
            upstream.release(keeps, &self.config, now, why, &mut self.output);
            self.delivery_released(link, is_past_end);
            self.touched.insert(Timed::Link(link));
            self.rest_upstream(now, link);
        }
    }

    /// Takes back a connection that has just become free.
    fn rest_upstream(&mut self, now: Time, link: LinkId) {
        let upstream = self.pool.upstreams.get(&link);
        if upstream.is_some_and(Upstream::is_free) {
            let is_running = matches!(self.phase, Phase::Running);
            let output = &mut self.output;
            self.pool.rest(link, &self.config, now, is_running, output);
        }
    }

    /// Matches channels that wait with connections that are idle, and opens as many as are needed.
    pub(super) fn supply(&mut self, now: Time) {
        while let Some((id, link)) = self.pool.serve(&self.config, now, &mut self.output) {
            self.lease(now, id, link);
        }
        let is_running = matches!(self.phase, Phase::Running);
        let output = &mut self.output;
        let changed = self.pool.balance(&self.config, now, is_running, output);
        self.touched.extend(changed.into_iter().map(Timed::Link));
        self.timers.set(Timed::Queue, self.pool.deadline());
    }

    fn lease(&mut self, now: Time, id: ChannelId, link: LinkId) {
        let channel = self.channels.get_mut(&id);
        let upstream = self.pool.upstreams.get_mut(&link);
        let (Some(channel), Some(upstream)) = (channel, upstream) else {
            return;
        };
        upstream.lease(id, channel.owner.link);
        channel.waits_until = None;
        channel.upstream = Some(link);
        self.touched.insert(Timed::Channel(id));
        self.pool.expect_mail(&self.config, now);
        self.channel_ready(now, id);
        self.drive(now, id);
    }

    pub(super) fn upstream_of(&self, channel: &Channel) -> Option<&Upstream> {
        channel
            .upstream
            .and_then(|link| self.pool.upstreams.get(&link))
    }
}
