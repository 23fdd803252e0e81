//! One link of a client.

use super::account::KeyDigest;
use super::pattern::Patterns;
use crate::{
    Action, Deadline, Frame, LinkId, Time,
    link::{Chatter, Heartbeat},
    session::SessionId,
};
use alloc::{collections::VecDeque, string::String, sync::Arc};
use core::time::Duration;

/// What waits in the driver for a link, in bytes, above which it gets no more for the moment.
pub(super) const OUTGOING_HIGH_WATER: usize = 256 * 1024;

/// What a credential allows.
#[derive(Debug)]
pub(super) struct Rights {
    pub(super) key: KeyDigest,
    pub(super) with_token: bool,
    pub(super) patterns: Patterns,
}

pub(super) struct Link {
    id: LinkId,
    pub(super) rights: Arc<Rights>,
    pub(super) heartbeat: Heartbeat,
    pub(super) chatter: Chatter,
    pub(super) state: State,
    /// The lengths of the frames the driver has not reported as written.
    unwritten: VecDeque<usize>,
    unwritten_bytes: usize,
    /// The deadline under which it is sorted.
    pub(super) sorted: Option<Time>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing was said yet.
    Fresh,
    /// The first thing it has said was that it wants the durable dialect.
    Greeting,
    /// It speaks the plain dialect.
    Plain,
    /// It is this session's.
    Durable(SessionId),
    /// The driver was told to close it.
    Closing { why: String },
}

impl Link {
    pub(super) fn new(id: LinkId, rights: Arc<Rights>, heartbeat: Duration, now: Time) -> Self {
        Self {
            id,
            rights,
            heartbeat: Heartbeat::new(heartbeat, now),
            chatter: Chatter::new(),
            state: State::Fresh,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            sorted: None,
        }
    }

    pub(super) fn send(&mut self, frame: Frame, actions: &mut VecDeque<Action>) {
        self.unwritten.push_back(frame.len());
        self.unwritten_bytes += frame.len();
        let link = self.id;
        actions.push_back(Action::Send { link, frame });
    }

    /// The oldest frame has left. That of one with content is a sign of life; a ping, which is empty, is none.
    pub(super) fn written(&mut self, now: Time) {
        let length = self.unwritten.pop_front().unwrap_or_default();
        self.unwritten_bytes -= length;
        if length > 0 {
            self.heartbeat.heard(now);
        }
    }

    /// Whether its peer takes what it is sent so slowly that it gets no more, and is not read, until it does.
    pub(super) const fn is_slow(&self) -> bool {
        self.unwritten_bytes > OUTGOING_HIGH_WATER
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self.state {
            State::Closing { .. } => None,
            _ => Deadline::earliest([self.heartbeat.deadline(), self.chatter.deadline()]),
        }
    }
}
