//! The vocabulary every machine and every driver share.
//!
//! A machine is told facts ([`Input`], the time) and answers with work ([`Action`]), news (its events)
//! and one wake-up ([`Deadline`]). It never asks: it has no socket, clock, thread or entropy.
//!
//! # The contract between machine and driver
//!
//! - Every [`Action::Open`] is answered by exactly one [`Input::Opened`] or [`Input::OpenFailed`].
//! - Every [`Action::Send`] is answered by one [`Input::Written`], in order, unless the link ends first.
//! - Every link that was opened or accepted ends in exactly one [`Input::Closed`], also when the machine
//!   itself closed it; nothing about the link follows. A driver drops a socket whose peer does not
//!   finish the closing handshake within two seconds.
//! - A machine sends on links that are open. What it sends on a link that has ended, or that it has closed, goes
//!   nowhere and has no answer.
//! - Every [`Action::StartTls`] is answered by exactly one [`Input::Secured`], unless the link ends first. What was sent
//!   before it goes out in clear, and its `Written` comes first. Where TLS cannot be started, fails, or takes longer than the
//!   driver allows for a handshake, the link ends, and [`Closure::Lost`] says why; there is no way back to clear text.
//! - Nothing that arrives in clear once TLS is agreed on counts as what TLS protects (CVE-2011-0411). A driver hands nothing
//!   up between the action and its answer: what it has read ahead it throws away, and what still lies in the socket is taken
//!   for the peer's handshake, which fails over it. A machine throws away what it has not worked on, has a
//!   [`read_limit`](Machine::read_limit) of zero until the answer (a server from before it sends the reply on which the client
//!   begins, so that the driver does not read that), and sends nothing.
//! - Link ids are never reused, so a late fact about a dead link is recognised and ignored.
//! - Every [`Action::Store`] is answered by exactly one [`Input::Stored`], and batches are answered in the order they were given;
//!   several may be under way. A driver without a [`Storage`](crate::storage::Storage) answers each at once with
//!   [`StorageError::Absent`]. What a machine asks to be stored before it ends is stored, and answered while the machine
//!   has not ended.
//! - A driver carries out actions at once and in order, and may keep any number of frames waiting
//!   for a slow socket: the machine bounds what it hands out before the `Written` of it comes back.

use crate::{
    Endpoint, Time,
    proxy::ProxyFault,
    storage::{BatchId, StorageError, Write},
};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::{fmt, net::IpAddr, time::Duration};

/// A protocol role as a pure state machine.
///
/// Commands (`client.submit(now, …)`) are inherent methods of the machines, not part of this trait.
/// [`Pump`](crate::Pump) runs any machine in the right order; drivers are written against the pump.
pub trait Machine {
    /// News for the application.
    type Event;

    /// Takes a fact from the driver. Cannot fail: a peer's nonsense changes state and shows as output.
    fn handle_input(&mut self, now: Time, input: Input);

    /// Serves every timer that is due at `now`; afterwards [`deadline`](Self::deadline) lies in the future.
    fn handle_timeout(&mut self, now: Time);

    /// The next point in time at which the machine wants [`handle_timeout`](Self::handle_timeout). It holds when there are neither
    /// actions nor events: several inputs may come before the machine is asked for those, and it may settle them together then.
    fn deadline(&self) -> Option<Deadline>;

    /// The next piece of work for the driver, oldest first.
    #[must_use]
    fn poll_action(&mut self) -> Option<Action>;

    /// The next piece of news for the application, oldest first.
    #[must_use]
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// The largest frame, in bytes, the machine takes from this link now; zero: do not read from it.
    ///
    /// This is how a machine pushes back: what is not read fills the peer's send window. After the answer has become
    /// smaller, up to four frames may still come that were read before the driver has asked again, and besides them
    /// small ones of 128 KiB together.
    fn read_limit(&self, link: LinkId) -> usize;

    /// Whether the machine has ended. Inputs are ignored from then on.
    fn is_finished(&self) -> bool;
}

/// Names one transport connection for as long as the machine lives.
///
/// The lowest bit tells who issued it: even ids are dialled by the machine, odd ones accepted by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

impl LinkId {
    /// The `index`-th link the machine opens.
    pub const fn dialled(index: u64) -> Self {
        Self(index << 1)
    }

    /// The `index`-th link the driver accepts.
    pub const fn accepted(index: u64) -> Self {
        Self(index << 1 | 1)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = if self.0 & 1 == 0 { "out" } else { "in" };
        write!(f, "{origin}-{}", self.0 >> 1)
    }
}

/// What crosses a link.
///
/// On a WebSocket each is one message or control frame (RFC 6455, section 5.6). On a byte stream only
/// [`Frame::Binary`] occurs; it is a run of bytes whose boundaries mean nothing.
///
/// `Debug` shows kinds and lengths, never content.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message. The transport has checked that a received one is UTF-8; a sent one is.
    Text(Bytes),
    /// A binary message, or the next bytes of a stream.
    Binary(Bytes),
    /// A ping. The transport answers a received one by itself; the machine sees it as a sign of life.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
}

impl Frame {
    /// The payload's length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(payload)
            | Self::Binary(payload)
            | Self::Ping(payload)
            | Self::Pong(payload) => payload.len(),
        }
    }

    /// Whether the payload has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Text(_) => "Text",
            Self::Binary(_) => "Binary",
            Self::Ping(_) => "Ping",
            Self::Pong(_) => "Pong",
        };
        write!(f, "{kind}({} bytes)", self.len())
    }
}

/// A fact a driver reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A peer has connected and, on a WebSocket, the upgrade is complete.
    Accepted {
        /// The id the driver gave it: [`LinkId::accepted`].
        link: LinkId,
        /// Where it came from, where the transport knows.
        peer: Option<IpAddr>,
    },
    /// The link asked for by [`Action::Open`] is open.
    Opened {
        /// Which link.
        link: LinkId,
    },
    /// The link asked for by [`Action::Open`] could not be opened.
    OpenFailed {
        /// Which link.
        link: LinkId,
        /// Why.
        why: OpenError,
    },
    /// The link is secure: the TLS asked for by [`Action::StartTls`] is in force, and protects all that follows.
    Secured {
        /// Which link.
        link: LinkId,
    },
    /// A frame has arrived.
    Frame {
        /// On which link.
        link: LinkId,
        /// What arrived.
        frame: Frame,
    },
    /// The oldest [`Action::Send`] on this link not yet answered has left for the transport.
    /// It says nothing about the peer having received it.
    Written {
        /// On which link.
        link: LinkId,
    },
    /// The link has ended. Nothing about it follows.
    Closed {
        /// Which link.
        link: LinkId,
        /// How it ended.
        why: Closure,
    },
    /// The oldest [`Action::Store`] not yet answered was carried out, whole or not at all.
    Stored {
        /// Which batch.
        batch: BatchId,
        /// Whether its writes are there after the power has failed.
        result: Result<(), StorageError>,
    },
}

impl Input {
    /// Which link the fact is about, if it is about one.
    pub const fn link(&self) -> Option<LinkId> {
        match self {
            Self::Accepted { link, .. }
            | Self::Opened { link }
            | Self::OpenFailed { link, .. }
            | Self::Secured { link }
            | Self::Frame { link, .. }
            | Self::Written { link }
            | Self::Closed { link, .. } => Some(*link),
            Self::Stored { .. } => None,
        }
    }
}

/// Work for a driver. Exhaustive on purpose: a new action must break the build of every driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored an action would hang"
)]
pub enum Action {
    /// Open a link; answer with [`Input::Opened`] or [`Input::OpenFailed`].
    Open {
        /// The id of the new link: [`LinkId::dialled`].
        link: LinkId,
        /// Where to.
        endpoint: Endpoint,
    },
    /// Send a frame; answer with [`Input::Written`] once the transport has taken it.
    Send {
        /// On which link.
        link: LinkId,
        /// What to send.
        frame: Frame,
    },
    /// Start TLS on a byte stream, after what was sent on it before, as its server where it was accepted and as its client where it was
    /// dialled; answer with [`Input::Secured`], or [`Input::Closed`] where that fails.
    ///
    /// A client expects a certificate for the host of its endpoint. A server needs a listener that was given a certificate for this.
    StartTls {
        /// Which link.
        link: LinkId,
    },
    /// Close the link after what was sent on it before, or stop opening it; answer with [`Input::Closed`]
    /// (with [`Input::OpenFailed`] where it was not open yet).
    Close {
        /// Which link.
        link: LinkId,
        /// The WebSocket close code; without meaning on a byte stream.
        code: CloseCode,
        /// A short reason for people; at most 123 bytes reach the peer.
        reason: String,
    },
    /// Store these records, whole or not at all, and so that they outlive a power failure; answer with [`Input::Stored`].
    Store {
        /// The id of the batch.
        batch: BatchId,
        /// What to change, in this order.
        writes: Vec<Write>,
    },
}

/// When a machine wants to be woken, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Time,
    /// The timer's name, for logs and tests: `"heartbeat"`, `"retry"`.
    pub timer: &'static str,
}

impl Deadline {
    /// The earliest of some deadlines, the first named of those that fall together.
    pub fn earliest(deadlines: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        deadlines
            .into_iter()
            .flatten()
            .min_by_key(|deadline| deadline.at)
    }
}

/// A WebSocket close code (RFC 6455, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the link is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data this endpoint cannot take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A policy of this endpoint was violated.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// The service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The service is overloaded; come back later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closure {
    /// The machine asked for it with [`Action::Close`].
    #[error("closed by this side")]
    Local,
    /// The peer said goodbye with a close frame.
    #[error("closed by the peer: {reason:?} ({})", code.map_or(1005, |code| code.0))]
    Peer {
        /// The code it gave, if any.
        code: Option<CloseCode>,
        /// The reason it gave; may be empty.
        reason: String,
    },
    /// The transport ended without a goodbye: end of stream, a reset, no route.
    #[error("connection lost: {detail}")]
    Lost {
        /// What the transport said.
        detail: String,
    },
    /// The peer broke the transport's rules (RFC 6455), or sent more than the read limit. The driver has
    /// answered with this code.
    #[error("the peer broke the WebSocket protocol: {detail} ({code})")]
    Violation {
        /// The code the driver closed with.
        code: CloseCode,
        /// What was wrong.
        detail: String,
    },
}

/// Why a link could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No connection: name lookup, routing, refused.
    #[error("cannot connect to {endpoint}: {detail}")]
    Unreachable {
        /// Where to.
        endpoint: String,
        /// What the transport said.
        detail: String,
    },
    /// The TLS handshake failed, mostly over the certificate.
    #[error("no secure connection to {endpoint}: {detail}")]
    Tls {
        /// Where to.
        endpoint: String,
        /// What the TLS library said.
        detail: String,
    },
    /// The server answered the upgrade request with another HTTP status than 101.
    #[error("{endpoint} refused the WebSocket upgrade with HTTP status {status}")]
    Refused {
        /// Where to.
        endpoint: String,
        /// The HTTP status code.
        status: u16,
        /// The server's `Retry-After`, where it gave one in seconds.
        retry_after: Option<Duration>,
    },
    /// What answered does not speak WebSocket.
    #[error("{endpoint} is not a WebSocket server: {detail}")]
    NotWebSocket {
        /// Where to.
        endpoint: String,
        /// What was wrong with the answer.
        detail: String,
    },
    /// The proxy on the way does not lead there.
    #[error("no way to {endpoint} through {proxy}: {fault}")]
    Proxy {
        /// Where to.
        endpoint: String,
        /// The proxy, without credentials.
        proxy: String,
        /// What is wrong with it.
        fault: ProxyFault,
    },
    /// The machine closed the link before it was open.
    #[error("given up before it was open")]
    Abandoned,
}

impl OpenError {
    /// Whether the same attempt fails again until something is changed on this side, and may do harm: a proxy that is given
    /// wrong credentials again and again locks the account.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Proxy { fault, .. } => fault.is_about_credentials(),
            _ => false,
        }
    }
}
