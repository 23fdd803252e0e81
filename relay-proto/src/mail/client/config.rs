//! How a client behaves. Every default says why.

use crate::{
    Endpoint, WebSocketUrl,
    link::{BackoffPolicy, UplinkPolicy},
    mail::wire::ApiKey,
    outbox::OutboxLimits,
    pacing::Rate,
    smtp::HostName,
};
use alloc::string::String;
use core::time::Duration;

/// Everything a client needs to know; [`new`](Self::new) fills in what most need.
///
/// A `heartbeat` or timeout below a millisecond counts as one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The relay.
    pub endpoint: WebSocketUrl,
    /// What the relay knows this client by.
    pub api_key: ApiKey,
    /// What the client calls itself towards the relay, for the relay's logs.
    pub agent: String,
    /// The name given in EHLO (RFC 5321, section 4.1.1.1); `localhost` says nothing and is accepted by relays.
    pub host_name: HostName,
    /// How much may be queued: 1,000 submissions and 256 MiB, so that a dead relay cannot exhaust memory.
    pub queue: OutboxLimits,
    /// How long the link stays open with nothing to send: 5 s, which joins bursts. Zero: close at once.
    /// None: keep it, and restore it when it is lost.
    pub idle: Option<Duration>,
    /// How a lost link is restored: waits of up to 1, 2, 4 … 30 s, ten times.
    pub reconnect: BackoffPolicy,
    /// How a submission that failed for the moment is tried again: waits of up to 1, 2, 4 s, three times.
    pub retry: BackoffPolicy,
    /// What happens to a message whose fate is unknown and cannot be asked.
    pub in_doubt: InDoubtPolicy,
    /// Whether the durable dialect is asked for: true, since with a relay that grants it a lost link costs nothing and many
    /// messages are under way at once. With one that does not, the base dialect is spoken all the same.
    pub durable: bool,
    /// The most messages under way at once in the durable dialect: 512, which makes 5,000 a second on a path of 100 ms. Sixteen are at first,
    /// and more as long as none is answered later for that, so that what is urgent has little to wait for; beyond those not
    /// more than 64 of the relay's windows hold. A relay may grant fewer; zero counts as one.
    pub max_channels: usize,
    /// How many submissions are sent at most: none, as many as the relay takes. It holds in either dialect, and for each
    /// try. Where a relay measures by the same rate, a burst of one less leaves room for a path that is slow for one
    /// message and not for the next.
    ///
    /// Where the relay, or the server behind it, asks for less
    /// ([`Error::asks_to_slow_down`](super::Error::asks_to_slow_down)), the client sends half as much after a time, and more
    /// again as that is taken, up to this rate, with [`Event::Throttled`](super::Event::Throttled) and
    /// [`Event::RateRecovered`](super::Event::RateRecovered). Submissions that are refused so wait for their turn again; that is
    /// no try of theirs, unless a mail server takes nothing at all for half a minute. What bounds their wait is their
    /// maximum age.
    pub rate: Option<Rate>,
    /// The silence after which the link is probed, and after which the probe counts as failed: 30 s, below
    /// the idle limit of the usual proxies and address translators.
    pub heartbeat: Duration,
    /// The patience with each step.
    pub timeouts: Timeouts,
}

/// The patience with each step.
///
/// In the durable dialect the clocks of messages under way stand still without a link, and begin anew on the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Name lookup, TCP, TLS and upgrade together: 10 s.
    pub open: Duration,
    /// From the API key to the relay's answer: 30 s, since a relay may ask another service.
    pub authentication: Duration,
    /// From asking for a channel to its readiness, and from its end to the relay's word for it: 10 s. In the durable dialect
    /// neither is waited for.
    pub channel: Duration,
    /// From leaving the queue to the end of data: 60 s. Raise it for large messages on slow links. In the durable dialect, where
    /// messages share the link, without any sign that it goes on: a piece of 16 KiB that leaves, credit, a reply.
    pub message: Duration,
    /// From the end of data to the final reply: 10 minutes (RFC 5321, section 4.5.3.2.6). A client that gives up earlier
    /// sends again what is delivered all the same; a relay that is gone is found out by its silence long before.
    pub outcome: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(10),
            authentication: Duration::from_secs(30),
            channel: Duration::from_secs(10),
            message: Duration::from_secs(60),
            outcome: Duration::from_secs(10 * 60),
        }
    }
}

/// What happens to a message that was sent whole but whose reply never came: the receiver may have
/// taken it or not (RFC 1047). With the outbox on disk, also to one that was being sent when the process ended.
///
/// In the durable dialect only to one of which the relay says that it does not know either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InDoubtPolicy {
    /// Send it again, at most this many times; then fail. The receiver may get it more than once.
    SendAgain(u32),
    /// Fail and say so. The receiver may not have got it.
    Fail,
}

impl ClientConfig {
    /// The defaults, for this relay and key.
    pub fn new(endpoint: WebSocketUrl, api_key: ApiKey) -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            endpoint,
            api_key,
            agent: String::from(concat!("relay-proto/", env!("CARGO_PKG_VERSION"))),
            host_name: "localhost".parse().expect("localhost is a domain"),
            queue: OutboxLimits::new(1000, 256 << 20),
            idle: Some(Duration::from_secs(5)),
            reconnect: BackoffPolicy::new(SECOND, Duration::from_secs(30), Some(10)),
            retry: BackoffPolicy::new(SECOND, Duration::from_secs(30), Some(3)),
            in_doubt: InDoubtPolicy::SendAgain(1),
            durable: true,
            max_channels: 512,
            rate: None,
            heartbeat: Duration::from_secs(30),
            timeouts: Timeouts::default(),
        }
    }

    /// The same without timers that are due as soon as they are set.
    pub(super) fn with_timers_that_can_wait(mut self) -> Self {
        let Timeouts {
            open,
            authentication,
            channel,
            message,
            outcome,
        } = &mut self.timeouts;
        let heartbeat = &mut self.heartbeat;
        for timer in [open, authentication, channel, message, outcome, heartbeat] {
            *timer = (*timer).max(Duration::from_millis(1));
        }
        self
    }

    pub(super) fn uplink(&self) -> UplinkPolicy {
        UplinkPolicy {
            endpoint: Endpoint::WebSocket(self.endpoint.clone()),
            open_timeout: self.timeouts.open,
            authentication_timeout: self.timeouts.authentication,
            heartbeat: self.heartbeat,
            reconnect: self.reconnect,
        }
    }
}
