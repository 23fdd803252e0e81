//! One client's link: who it is, and what it does at the moment.

use super::{Policy, RelayConfig, output::Outgoing, upstream::HIGH_WATER};
use crate::{
    CloseCode, Deadline, Frame, LinkId, Time,
    link::Heartbeat,
    mail::wire::Violation,
    smtp::{Session, Turn},
};
use alloc::{boxed::Box, string::String, vec::Vec};
use bytes::BytesMut;
use core::net::IpAddr;

/// The largest frame taken before the key is decided, and the most bytes kept that came too early.
pub(super) const EARLY_LIMIT: usize = 64 * 1024;
/// The largest frame taken from a client that is served.
pub(super) const FRAME_LIMIT: usize = 1024 * 1024;
/// The most frames kept that came before the key was decided.
const EARLY_FRAMES: usize = 16;
/// Replies waiting for the client's socket, in bytes, above which nothing is read from it.
pub(super) const REPLIES_HIGH_WATER: usize = 64 * 1024;

/// A client's link, from its acceptance until the driver says it has ended.
pub(super) struct ClientLink {
    pub(super) peer: Option<IpAddr>,
    pub(super) heartbeat: Heartbeat,
    pub(super) outgoing: Outgoing,
    pub(super) ignored_frames: u64,
    pub(super) state: State,
}

pub(super) enum State {
    /// The key has not come.
    Unauthenticated { until: Time },
    /// The application has the key.
    Deciding { until: Time, early: Early },
    /// The key is good.
    Serving(Serving),
    /// The driver was told to close it.
    Closing { why: String },
}

pub(super) struct Serving {
    pub(super) policy: Policy,
    pub(super) channel: Channel,
}

/// The one channel a link has in the base dialect.
pub(super) enum Channel {
    /// None was opened yet.
    Never,
    /// The last one has ended. The client may not know yet: what it still sends to it is ignored.
    Ended,
    /// The upstream is being connected.
    Opening {
        upstream: LinkId,
        /// SMTP bytes of a client that did not wait.
        early: BytesMut,
    },
    /// In use.
    Open(Box<OpenChannel>),
}

pub(super) struct OpenChannel {
    pub(super) upstream: LinkId,
    pub(super) session: Session,
    pub(super) active: Time,
}

/// Frames that came before the key was decided. The driver is told not to read then, but may have had them at hand.
#[derive(Default)]
pub(super) struct Early {
    frames: Vec<Frame>,
    bytes: usize,
}

impl Early {
    pub(super) fn push(&mut self, frame: Frame) -> Result<(), Violation> {
        self.bytes += frame.len();
        self.frames.push(frame);
        if self.bytes > EARLY_LIMIT || self.frames.len() > EARLY_FRAMES {
            return Err(Violation {
                code: CloseCode::POLICY_VIOLATION,
                reason: "wait for AUTHENTICATE_RESPONSE".into(),
            });
        }
        Ok(())
    }

    pub(super) fn into_frames(self) -> Vec<Frame> {
        self.frames
    }
}

impl ClientLink {
    pub(super) fn new(link: LinkId, peer: Option<IpAddr>, config: &RelayConfig, now: Time) -> Self {
        Self {
            peer,
            heartbeat: Heartbeat::new(config.heartbeat_interval, now),
            outgoing: Outgoing::new(link),
            ignored_frames: 0,
            state: State::Unauthenticated {
                until: now.after(config.authentication_timeout),
            },
        }
    }

    /// The upstream of the channel, if one is open or being opened.
    pub(super) fn upstream(&self) -> Option<LinkId> {
        match &self.state {
            State::Serving(serving) => match &serving.channel {
                Channel::Opening { upstream, .. } => Some(*upstream),
                Channel::Open(open) => Some(open.upstream),
                Channel::Never | Channel::Ended => None,
            },
            _ => None,
        }
    }

    pub(super) fn open_channel(&mut self) -> Option<&mut OpenChannel> {
        match &mut self.state {
            State::Serving(Serving {
                channel: Channel::Open(open),
                ..
            }) => Some(open),
            _ => None,
        }
    }

    /// Whether the client takes its replies so slowly that it gets no more of them, and is not read, until it does.
    pub(super) const fn is_slow(&self) -> bool {
        self.outgoing.bytes() > REPLIES_HIGH_WATER
    }

    /// The largest frame ever taken in this state.
    pub(super) const fn frame_limit(&self) -> usize {
        match self.state {
            State::Serving(_) => FRAME_LIMIT,
            _ => EARLY_LIMIT,
        }
    }

    /// The largest frame taken now; `upstream_unwritten` is how much waits for the upstream of its channel.
    pub(super) fn read_limit(&self, upstream_unwritten: usize) -> usize {
        let serving = match &self.state {
            State::Unauthenticated { .. } => return EARLY_LIMIT,
            State::Deciding { .. } | State::Closing { .. } => return 0,
            State::Serving(serving) => serving,
        };
        let waiting_for_upstream = match &serving.channel {
            Channel::Never | Channel::Ended => false,
            Channel::Opening { early, .. } => early.len() >= EARLY_LIMIT,
            Channel::Open(open) => open.session.buffered() + upstream_unwritten > HIGH_WATER,
        };
        if waiting_for_upstream || self.is_slow() {
            0
        } else {
            FRAME_LIMIT
        }
    }

    /// The next timer; `waits_for_client`: the upstream of its channel does.
    pub(super) fn deadline(
        &self,
        config: &RelayConfig,
        waits_for_client: bool,
    ) -> Option<Deadline> {
        let heartbeat = self.heartbeat.deadline();
        let own = match &self.state {
            State::Closing { .. } => return None,
            State::Unauthenticated { until } | State::Deciding { until, .. } => Some(Deadline {
                at: *until,
                timer: "authentication",
            }),
            State::Serving(Serving {
                channel: Channel::Open(open),
                ..
            }) if waits_for_client && open.session.turn() != Turn::Owner => Some(Deadline {
                at: open.active.after(config.channel_idle_timeout),
                timer: "channel idle",
            }),
            State::Serving(_) => None,
        };
        Deadline::earliest([own, heartbeat])
    }
}
