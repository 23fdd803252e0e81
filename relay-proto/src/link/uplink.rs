//! The life of the one link a client keeps to its relay: open, prove, watch, lose, open again.

use super::{Backoff, BackoffPolicy, Heartbeat, Pulse};
use crate::{
    Action, CloseCode, Closure, Deadline, Endpoint, Frame, Input, LinkId, OpenError, Random, Time,
};
use alloc::{collections::VecDeque, string::String};
use bytes::Bytes;
use core::time::Duration;

/// How a client treats its link.
#[derive(Clone, Debug)]
pub(crate) struct UplinkPolicy {
    pub(crate) endpoint: Endpoint,
    pub(crate) open_timeout: Duration,
    pub(crate) authentication_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) reconnect: BackoffPolicy,
}

/// News of the link for the protocol above.
#[derive(Debug)]
pub(crate) enum Change {
    /// An attempt begins.
    Opening,
    /// The link is open; the protocol introduces itself now.
    Opened,
    /// The peer said something.
    Frame(Frame),
    /// Something that was sent has left; there may be room for more.
    Written,
    /// The link is gone, or never came. The protocol decides between `retry` and `rest`.
    Lost(LinkError),
}

/// Why a link is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It could not be opened.
    #[error(transparent)]
    Open(OpenError),
    /// It ended.
    #[error(transparent)]
    Closed(Closure),
    /// It did not open in time.
    #[error("the link did not open in time")]
    OpenTimeout,
    /// The peer did not answer the introduction in time: the API key, or the question for a session.
    #[error("the peer did not answer the authentication in time")]
    AuthenticationTimeout,
    /// The peer was silent for two heartbeat intervals: the link is half open.
    #[error("the peer fell silent; the connection is taken for dead")]
    Silent,
}

#[derive(Debug)]
enum State {
    Down,
    Opening { link: LinkId, until: Time },
    Authenticating { link: LinkId, until: Time },
    Up { link: LinkId, heartbeat: Heartbeat },
    Waiting { until: Time },
}

/// The link's life cycle. It knows no protocol: what is said on the link comes from its owner.
#[derive(Debug)]
pub(crate) struct Uplink {
    policy: UplinkPolicy,
    state: State,
    backoff: Backoff,
    opened: u64,
    unwritten: VecDeque<usize>,
    unwritten_bytes: usize,
    bytes_sent: u64,
    bytes_received: u64,
    actions: VecDeque<Action>,
}

impl Uplink {
    pub(crate) const fn new(policy: UplinkPolicy) -> Self {
        let backoff = Backoff::new(policy.reconnect);
        Self {
            policy,
            state: State::Down,
            backoff,
            opened: 0,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            bytes_sent: 0,
            bytes_received: 0,
            actions: VecDeque::new(),
        }
    }

    /// Whether there is no link and none is coming.
    pub(crate) const fn is_down(&self) -> bool {
        matches!(self.state, State::Down)
    }

    /// The link that stands or is being opened.
    pub(crate) const fn link(&self) -> Option<LinkId> {
        match self.state {
            State::Opening { link, .. }
            | State::Authenticating { link, .. }
            | State::Up { link, .. } => Some(link),
            State::Down | State::Waiting { .. } => None,
        }
    }

    /// How many links were asked for.
    pub(crate) const fn opened(&self) -> u64 {
        self.opened
    }

    /// How many attempts there were since the peer last proved itself.
    pub(crate) const fn attempts(&self) -> u32 {
        self.backoff.attempt()
    }

    /// Bytes of frames handed out and received.
    pub(crate) const fn traffic(&self) -> (u64, u64) {
        (self.bytes_sent, self.bytes_received)
    }

    /// Bytes handed out that the transport has not taken yet.
    pub(crate) const fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes
    }

    /// Opens a link where there is none and none is coming.
    pub(crate) fn open(&mut self, now: Time) -> bool {
        if !self.is_down() {
            return false;
        }
        self.dial(now);
        true
    }

    /// The protocol's introduction was accepted: from here on the heartbeat watches the link.
    pub(crate) fn authenticated(&mut self, now: Time) {
        if let State::Authenticating { link, .. } = self.state {
            let heartbeat = Heartbeat::new(self.policy.heartbeat, now);
            self.state = State::Up { link, heartbeat };
        }
    }

    /// Retries start counting anew: the peer has answered what only a working peer can, or what the link was wanted
    /// for is settled.
    pub(crate) const fn start_over(&mut self) {
        self.backoff.reset();
    }

    /// Sends a frame; nothing happens where no link is open.
    pub(crate) fn send(&mut self, frame: Frame) {
        if let State::Authenticating { link, .. } | State::Up { link, .. } = self.state {
            self.unwritten.push_back(frame.len());
            self.unwritten_bytes += frame.len();
            self.bytes_sent += frame.len() as u64;
            self.actions.push_back(Action::Send { link, frame });
        }
    }

    /// Leaves the link, politely where it stands, and rests.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        if let Some(link) = self.leave() {
            let reason = String::from(reason);
            self.actions.push_back(Action::Close { link, code, reason });
        }
    }

    /// Schedules the next attempt, at least `hint` from now: which one it is and when. None: give up and rest.
    pub(crate) fn retry(
        &mut self,
        now: Time,
        random: &mut Random,
        hint: Option<Duration>,
    ) -> Option<(u32, Time)> {
        let wait = self.backoff.next_wait(random, hint)?;
        let until = now.after(wait);
        self.state = State::Waiting { until };
        Some((self.backoff.attempt(), until))
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let (at, timer) = match &self.state {
            State::Down => return None,
            State::Opening { until, .. } => (*until, "open"),
            State::Authenticating { until, .. } => (*until, "authentication"),
            State::Up { heartbeat, .. } => return heartbeat.deadline(),
            State::Waiting { until } => (*until, "reconnect"),
        };
        Some(Deadline { at, timer })
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) -> Option<Change> {
        if self.deadline().is_none_or(|deadline| deadline.at > now) {
            return None;
        }
        let error = match &mut self.state {
            State::Down => return None,
            State::Waiting { .. } => {
                self.dial(now);
                return Some(Change::Opening);
            }
            State::Opening { .. } => LinkError::OpenTimeout,
            State::Authenticating { .. } => LinkError::AuthenticationTimeout,
            State::Up { heartbeat, .. } => match heartbeat.handle_timeout(now)? {
                Pulse::Ping => {
                    self.send(Frame::Ping(Bytes::new()));
                    return None;
                }
                Pulse::Dead => LinkError::Silent,
            },
        };
        self.close(CloseCode::GOING_AWAY, "timeout");
        Some(Change::Lost(error))
    }

    /// Takes a fact; those of links that are no longer ours are dropped.
    pub(crate) fn handle_input(&mut self, now: Time, input: Input) -> Option<Change> {
        match input {
            Input::Opened { link } => match self.state {
                State::Opening { link: ours, .. } if link == ours => {
                    let until = now.after(self.policy.authentication_timeout);
                    self.state = State::Authenticating { link, until };
                    Some(Change::Opened)
                }
                _ => None,
            },
            Input::OpenFailed { link, why } if self.link() == Some(link) => {
                self.leave();
                Some(Change::Lost(LinkError::Open(why)))
            }
            Input::Closed { link, why } if self.link() == Some(link) => {
                self.leave();
                Some(Change::Lost(LinkError::Closed(why)))
            }
            Input::Written { link } if self.link() == Some(link) => {
                let written = self.unwritten.pop_front()?;
                self.unwritten_bytes -= written;
                // A peer that takes in a large message slowly may have nothing to say, and finds our ping behind all that
                // was sent before it. The ping itself, which is empty, proves nothing by having left.
                if written > 0
                    && let State::Up { heartbeat, .. } = &mut self.state
                {
                    heartbeat.heard(now);
                }
                Some(Change::Written)
            }
            Input::Frame { link, frame } if self.link() == Some(link) => {
                self.bytes_received += frame.len() as u64;
                if let State::Up { heartbeat, .. } = &mut self.state {
                    heartbeat.heard(now);
                }
                match frame {
                    Frame::Text(_) | Frame::Binary(_) => Some(Change::Frame(frame)),
                    Frame::Ping(_) => None,
                    Frame::Pong(_) => {
                        self.start_over();
                        None
                    }
                }
            }
            _ => None,
        }
    }

    fn dial(&mut self, now: Time) {
        let link = LinkId::dialled(self.opened);
        self.opened += 1;
        let until = now.after(self.policy.open_timeout);
        self.state = State::Opening { link, until };
        let endpoint = self.policy.endpoint.clone();
        self.actions.push_back(Action::Open { link, endpoint });
    }

    /// Forgets the link and what was to be said on it and was not handed out yet.
    fn leave(&mut self) -> Option<LinkId> {
        let link = self.link();
        self.state = State::Down;
        self.unwritten.clear();
        self.unwritten_bytes = 0;
        link
    }
}
