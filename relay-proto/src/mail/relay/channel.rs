//! One channel: an SMTP session of a client, and what it needs to be served.

use super::{EARLY_LIMIT, HIGH_WATER, Policy, RelayConfig, front::FrontId};
use crate::{
    Deadline, LinkId, Time,
    mail::DeliveryId,
    smtp::{ForwardPath, MailParameters, Reply, ReversePath, Session, Turn},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use bytes::BytesMut;
use core::net::IpAddr;

/// Names a channel for as long as the relay lives, whatever carries it; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChannelId(pub(super) u64);

/// Whose channel it is.
pub(super) struct Owner {
    /// Where its replies go.
    pub(super) front: FrontId,
    /// The client's link, for reports; in a session the one it is on, or was on last.
    pub(super) link: LinkId,
    /// Where the client comes from, where that is known.
    pub(super) peer: Option<IpAddr>,
    /// What the client may send.
    pub(super) policy: Arc<Policy>,
}

/// Where a channel's SMTP begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the greeting, once there is a connection, which then is the channel's own until its end.
    Greeting,
    /// Behind EHLO and at once. Each message takes a connection, or waits for one, and gives it back.
    Hello,
}

/// A channel, from the wish to have one until its end.
pub(super) struct Channel {
    pub(super) owner: Owner,
    /// How it came to be.
    pub(super) start: Start,
    /// The connection it works with.
    pub(super) upstream: Option<LinkId>,
    /// Until when it waits for a connection.
    pub(super) waits_until: Option<Time>,
    pub(super) stage: Stage,
    /// In the durable dialect: the delivery it is for.
    pub(super) message: Option<Message>,
    /// The bytes the account is charged for what waits here and at the upstream.
    pub(super) held: usize,
}

/// A delivery that has a name, and is in the ledger from before its end of data on.
pub(super) struct Message {
    pub(super) delivery: DeliveryId,
    /// The upstream has got the end of data, or gets it as soon as it agrees.
    pub(super) is_forwarded: bool,
    /// The reply to it, until that is written down.
    pub(super) reply: Option<Reply>,
    /// How many recipients are accepted.
    pub(super) accepted: usize,
    /// Those that are not.
    pub(super) rejected: Vec<(ForwardPath, Reply)>,
    /// The one the upstream was asked about.
    pub(super) asked: Option<ForwardPath>,
}

impl Message {
    pub(super) const fn new(delivery: DeliveryId) -> Self {
        Self {
            delivery,
            is_forwarded: false,
            reply: None,
            accepted: 0,
            rejected: Vec::new(),
            asked: None,
        }
    }

    /// Another MAIL begins with no recipients.
    pub(super) fn begin(&mut self) {
        *self = Self::new(self.delivery);
    }

    /// A recipient has its reply.
    pub(super) fn recipient(&mut self, forward_path: ForwardPath, reply: &Reply) {
        if reply.is_positive() {
            self.accepted += 1;
        } else {
            self.rejected.push((forward_path, reply.clone()));
        }
    }
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
    /// The MAIL that has no reply yet.
    pub(super) mail: Option<Mail>,
}

/// What MAIL says. It is kept until its reply, so that it can be said to another connection.
#[derive(Clone)]
pub(super) struct Mail {
    pub(super) reverse_path: ReversePath,
    pub(super) parameters: MailParameters,
}

impl Channel {
    pub(super) fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.stage {
            Stage::Open(open) => Some(open),
            Stage::Opening { .. } => None,
        }
    }

    /// Whether a reply of the relay's own may stand for one the upstream does not give any more. To a delivery with a name only
    /// where MAIL or RCPT waits for it: a reply to the end of data ends it, so that one has to be in the ledger first.
    pub(super) fn may_reply(&self) -> bool {
        match (&self.message, &self.stage) {
            (Some(message), Stage::Open(open)) => open.mail.is_some() || message.asked.is_some(),
            _ => true,
        }
    }

    /// How many bytes wait here.
    pub(super) fn buffered(&self) -> usize {
        match &self.stage {
            Stage::Opening { early } => early.len(),
            Stage::Open(open) => open.session.buffered(),
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
        if let Some(at) = self.waits_until {
            let timer = "upstream wait";
            return Some(Deadline { at, timer });
        }
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
