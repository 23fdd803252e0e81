//! How a client behaves. Every default says why.

use super::url::ServiceUrl;
use crate::{
    Endpoint,
    link::{BackoffPolicy, UplinkPolicy},
    outbox::OutboxLimits,
    pacing::Rate,
};
use alloc::string::String;
use core::{fmt, time::Duration};

/// What the service knows a client by.
///
/// It travels in the URL, as HPKV wants it, so use `wss://`. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum Credential {
    /// A key, which may do what its account may.
    ApiKey(String),
    /// A token, which also subscribes to the changes it was made for.
    Token(String),
}

impl Credential {
    /// Its name in the URL, and what it is.
    pub(super) fn in_query(&self) -> (&'static str, &str) {
        match self {
            Self::ApiKey(key) => ("apiKey", key),
            Self::Token(token) => ("token", token),
        }
    }

    /// Whether changes are told to who comes with it.
    pub const fn subscribes(&self) -> bool {
        matches!(self, Self::Token(_))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey(…)",
            Self::Token(_) => "Token(…)",
        })
    }
}

/// Everything a client needs to know; [`new`](Self::new) fills in what most need.
///
/// A `heartbeat` or timeout below a millisecond counts as one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The service.
    pub service: ServiceUrl,
    /// What the service knows this client by.
    pub credential: Credential,
    /// How much may wait or be under way: 1,000 calls and 64 MiB, so that a service that is away cannot exhaust memory.
    pub queue: OutboxLimits,
    /// How long the link stays open with nothing to do: 30 s with a key, which joins what a program does in one go. Zero: close at
    /// once. None, as with a token, which is there to be told: once there was a link it is kept, and restored when it is lost.
    pub idle: Option<Duration>,
    /// How a lost link is restored, and how the first one is tried again: waits of up to 1, 2, 4 … 30 s, for ever, since every
    /// call has an end of its own.
    pub reconnect: BackoffPolicy,
    /// Whether the durable dialect is asked for: true, since with a service that grants it every change is applied exactly once
    /// whatever happens to links. With one that does not, the plain dialect is spoken all the same.
    pub durable: bool,
    /// How often a call may be made: none, so as often as the service takes it. Where a service asks to slow down (code 429), the client
    /// does, as [`Pacer`](crate::pacing::Pacer) says, and tries again.
    pub rate: Option<Rate>,
    /// The most calls under way at once: 256. A service may grant fewer; zero counts as one.
    pub max_calls: usize,
    /// The silence after which the link is probed, and after which the probe counts as failed: 30 s, below the idle limit of
    /// the usual proxies and address translators.
    pub heartbeat: Duration,
    /// The patience with each step.
    pub timeouts: Timeouts,
}

/// The patience with each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Name lookup, TCP, TLS and upgrade together: 10 s.
    pub open: Duration,
    /// From asking for the durable dialect to the answer, behind which a service counts as plain: 2 s. Where the service has
    /// granted it before there is as much patience as with the opening.
    pub introduction: Duration,
    /// From handing a call in to its answer, waiting without a link included, where the call names no time of its own: 10 s. No
    /// call lives longer than an hour, since a service remembers a client without a link for a day.
    pub call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(10),
            introduction: Duration::from_secs(2),
            call: Duration::from_secs(10),
        }
    }
}

/// Timers below it are due as soon as they are set.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// No call lives longer.
const LONGEST_CALL: Duration = Duration::from_secs(60 * 60);

impl ClientConfig {
    /// The defaults, for this service and credential.
    pub fn new(service: ServiceUrl, credential: Credential) -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            service,
            queue: OutboxLimits::new(1000, 64 << 20),
            idle: (!credential.subscribes()).then_some(Duration::from_secs(30)),
            credential,
            reconnect: BackoffPolicy::new(SECOND, Duration::from_secs(30), None),
            durable: true,
            rate: None,
            max_calls: 256,
            heartbeat: Duration::from_secs(30),
            timeouts: Timeouts::default(),
        }
    }

    /// The same without timers that are due as soon as they are set.
    pub(super) fn with_timers_that_can_wait(mut self) -> Self {
        let Timeouts {
            open,
            introduction,
            call,
        } = &mut self.timeouts;
        for timer in [open, introduction, call, &mut self.heartbeat] {
            *timer = (*timer).max(SHORTEST);
        }
        self
    }

    /// How long a call lives that asks for so much.
    pub(super) fn lifetime(&self, asked: Option<Duration>) -> Duration {
        asked
            .unwrap_or(self.timeouts.call)
            .clamp(SHORTEST, LONGEST_CALL)
    }

    pub(super) fn uplink(&self) -> UplinkPolicy {
        UplinkPolicy {
            endpoint: Endpoint::WebSocket(self.service.websocket(&self.credential)),
            open_timeout: self.timeouts.open,
            authentication_timeout: self.timeouts.open.max(self.timeouts.introduction),
            heartbeat: self.heartbeat,
            reconnect: self.reconnect,
        }
    }
}
