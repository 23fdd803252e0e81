//! One channel: an SMTP session of a client, and what it needs to be served.

use super::{EARLY_LIMIT, HIGH_WATER, Policy, RelayConfig, front::FrontId};
use crate::{
    Deadline, LinkId, Time,
    smtp::{Session, Turn},
};
use alloc::{boxed::Box, sync::Arc};
use bytes::BytesMut;
use core::net::IpAddr;

/// Names a channel for as long as the relay lives, whatever carries it; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChannelId(pub(super) u64);

/// Whose channel it is.
pub(super) struct Owner {
    /// Where its replies go.
    pub(super) front: FrontId,
    /// The client's link, for reports.
    pub(super) link: LinkId,
    /// Where the client comes from, where that is known.
    pub(super) peer: Option<IpAddr>,
    /// What the client may send.
    pub(super) policy: Arc<Policy>,
}

/// A channel, from the wish to have one until its end.
pub(super) struct Channel {
    pub(super) owner: Owner,
    /// The connection it works with.
    pub(super) upstream: Option<LinkId>,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// The upstream is being connected.
    Opening {
        /// SMTP bytes of a client that did not wait.
        early: BytesMut,
    },
    /// In use.
    Open(Box<Open>),
}

pub(super) struct Open {
    pub(super) session: Session,
    pub(super) active: Time,
}

impl Channel {
    /// One whose client waits for the greeting.
    pub(super) fn new(owner: Owner) -> Self {
        Self {
            owner,
            upstream: None,
            stage: Stage::Opening {
                early: BytesMut::new(),
            },
        }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.stage {
            Stage::Open(open) => Some(open),
            Stage::Opening { .. } => None,
        }
    }

    /// How many more bytes it takes now, where so many wait for its upstream.
    pub(super) fn room(&self, upstream_unwritten: usize) -> usize {
        match &self.stage {
            Stage::Opening { early } => EARLY_LIMIT.saturating_sub(early.len()),
            Stage::Open(open) => {
                HIGH_WATER.saturating_sub(open.session.buffered() + upstream_unwritten)
            }
        }
    }

    /// The next timer; `waits_for_client`: the upstream does.
    pub(super) fn deadline(
        &self,
        config: &RelayConfig,
        waits_for_client: bool,
    ) -> Option<Deadline> {
        match &self.stage {
            Stage::Open(open) if waits_for_client && open.session.turn() != Turn::Owner => {
                Some(Deadline {
                    at: open.active.after(config.channel_idle_timeout),
                    timer: "channel idle",
                })
            }
            _ => None,
        }
    }
}
