//! One client's link: who it is, and what it does at the moment.

use super::{
    Policy, RelayConfig,
    channel::ChannelId,
    front::{Ending, Front, plain_error},
    output::{Outgoing, Output},
};
use crate::{
    CloseCode, Deadline, Frame, LinkId, Time,
    link::{Chatter, Heartbeat},
    mail::wire::{Denied, DurableRequest, Message, Violation},
    session::SessionId,
};
use alloc::{string::String, sync::Arc, vec::Vec};
use bytes::Bytes;
use core::net::IpAddr;

/// The largest frame taken before the key is decided, and the most bytes kept that came too early.
pub(super) const EARLY_LIMIT: usize = 64 * 1024;
/// The largest frame taken from a client that is served.
pub(super) const FRAME_LIMIT: usize = 1024 * 1024;
/// The most frames kept that came before the key was decided.
const EARLY_FRAMES: usize = 64;
/// Replies waiting for the client's socket, in bytes, above which nothing is read from it.
const REPLIES_HIGH_WATER: usize = 64 * 1024;

/// A client's link, from its acceptance until the driver says it has ended.
pub(super) struct ClientLink {
    pub(super) peer: Option<IpAddr>,
    pub(super) heartbeat: Heartbeat,
    pub(super) chatter: Chatter,
    pub(super) outgoing: Outgoing,
    pub(super) ignored_frames: u64,
    /// Whose it is, once its key is granted.
    pub(super) account: Option<Arc<str>>,
    /// The bytes the account is charged for what waits to be written.
    pub(super) held: usize,
    pub(super) state: State,
}

pub(super) enum State {
    /// The key has not come.
    Unauthenticated { until: Time },
    /// The application has the key.
    Deciding {
        until: Time,
        durable: Option<DurableRequest>,
        early: Early,
    },
    /// The key is refused; its client is told then.
    Refusing { at: Time, denied: Denied },
    /// The key is good, and the client speaks the base dialect.
    Serving(Serving),
    /// The key is good, and the link is this session's.
    Durable(SessionId),
    /// The driver was told to close it.
    Closing { why: String },
}

pub(super) struct Serving {
    pub(super) policy: Arc<Policy>,
    pub(super) slot: Slot,
}

/// The place for the one channel a link has in the base dialect.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    /// None was opened yet.
    Never,
    /// The last one has ended. The client may not know yet: what it still sends to it is ignored.
    Ended,
    /// Open, or being opened.
    Taken(ChannelId),
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
            chatter: Chatter::new(),
            outgoing: Outgoing::new(link),
            ignored_frames: 0,
            account: None,
            held: 0,
            state: State::Unauthenticated {
                until: now.after(config.authentication_timeout),
            },
        }
    }

    /// It has sent what nobody knows.
    pub(super) fn ignores(&mut self, now: Time) {
        self.ignored_frames += 1;
        self.chatter.heard_nothing(now);
    }

    /// The channel that is open or being opened.
    pub(super) const fn channel(&self) -> Option<ChannelId> {
        match self.state {
            State::Serving(Serving {
                slot: Slot::Taken(channel),
                ..
            }) => Some(channel),
            _ => None,
        }
    }

    /// Tells the client what it should not have done.
    pub(super) fn complain(&mut self, error: &str, output: &mut Output) {
        let message = Message::ChannelError(plain_error(error));
        self.outgoing.send_message(&message, output);
    }

    /// Says that the channel has ended.
    pub(super) fn end_channel(&mut self, ending: Ending, output: &mut Output) {
        if let State::Serving(serving) = &mut self.state {
            serving.slot = Slot::Ended;
        }
        let message = match ending {
            Ending::Closed { reason } => Message::ChannelClosed { reason },
            // Nobody asks for outcomes in the base dialect.
            Ending::Known(_) => Message::ChannelClosed { reason: None },
            Ending::Failed(error) => Message::ChannelError(error),
        };
        self.outgoing.send_message(&message, output);
    }

    /// Whether the client takes its replies so slowly that it gets no more of them, and is not read, until it does.
    pub(super) const fn is_slow(&self) -> bool {
        self.outgoing.bytes() > REPLIES_HIGH_WATER
    }

    /// The largest frame ever taken in this state.
    pub(super) const fn frame_limit(&self) -> usize {
        match self.state {
            State::Serving(_) | State::Durable(_) => FRAME_LIMIT,
            _ => EARLY_LIMIT,
        }
    }

    /// The largest frame taken now; `channel_takes`: its channel, if there is one, has room for more.
    pub(super) const fn read_limit(&self, channel_takes: bool) -> usize {
        match self.state {
            _ if self.chatter.is_too_much() => 0,
            State::Unauthenticated { .. } => EARLY_LIMIT,
            State::Serving(_) if channel_takes && !self.is_slow() => FRAME_LIMIT,
            // Each channel has its own bounds.
            State::Durable(_) if !self.is_slow() => FRAME_LIMIT,
            State::Serving(_)
            | State::Durable(_)
            | State::Deciding { .. }
            | State::Refusing { .. }
            | State::Closing { .. } => 0,
        }
    }

    /// The next timer.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let own = match &self.state {
            State::Closing { .. } => return None,
            State::Unauthenticated { until } | State::Deciding { until, .. } => Some(Deadline {
                at: *until,
                timer: "authentication",
            }),
            State::Refusing { at, .. } => Some(Deadline {
                at: *at,
                timer: "refusal",
            }),
            State::Serving(_) | State::Durable(_) => None,
        };
        Deadline::earliest([own, self.heartbeat.deadline(), self.chatter.deadline()])
    }
}

/// The base dialect. Which channel it is needs no saying.
impl Front for ClientLink {
    fn has_room(&self, _: ChannelId) -> bool {
        !self.is_slow()
    }

    fn ready(&mut self, _: ChannelId, output: &mut Output) {
        self.outgoing.send_message(&Message::ChannelReady, output);
    }

    fn say(&mut self, _: ChannelId, smtp: &Bytes, output: &mut Output) {
        self.outgoing.send_smtp(smtp, output);
    }

    /// It says everything at once.
    fn awaits_client(&mut self, _: &mut Output) {}

    fn ended(&mut self, _: ChannelId, ending: Ending, output: &mut Output) {
        self.end_channel(ending, output);
    }
}
