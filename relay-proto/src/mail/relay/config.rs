//! How a relay behaves.

#[cfg(doc)]
use super::Policy;
use crate::{
    StreamAddress,
    mail::ledger::LedgerLimits,
    smtp::{Access, Capabilities, HostName},
};
use core::time::Duration;

/// How a [`Relay`](super::Relay) behaves. [`new`](Self::new) fills in the defaults; every field may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// The SMTP server all mail goes to.
    pub upstream: StreamAddress,
    /// What the upstream has to offer and to know before it gets mail: STARTTLS, AUTH. Default: nothing.
    pub upstream_access: Access,
    /// The relay's own name: in its greeting, and in EHLO towards the upstream.
    pub host_name: HostName,
    /// The most client links at once; further ones are closed with 1013. Default 10,000, some 100 MiB of idle
    /// WebSockets. An [account](Policy::account) takes up to eight times as many as it leaves, but one in any case.
    pub max_links: usize,
    /// The most client links at once whose key is not decided yet; further ones are closed with 1013. Default 1,000, so
    /// that strangers can't take every place. One address (for IPv6: its /64) takes up to eight times as many as it leaves, but one in
    /// any case.
    pub max_unauthenticated_links: usize,
    /// The most upstream links at once, idle ones included; further messages wait, or are refused for the moment. Default 500: mail
    /// servers limit the connections of one client to about as many.
    ///
    /// An [account](Policy::account) takes up to eight times as many as it leaves, but one in any case: alone up to 444 of 500, so
    /// that whoever comes next finds some. Where there are too few, whoever has fewest gets the next, and among equals they take
    /// turns. Where one account is to have `n` at once, `n + n / 8 + 1` are enough.
    pub max_upstreams: usize,
    /// How many bytes the relay holds before it takes no further messages, for the moment: those that wait for the upstream, or for
    /// the client to take or to acknowledge them, and a little for every channel. Default 1 GiB, which is most of what a small
    /// server has; ordinary mail streams through and needs a thousandth of that.
    ///
    /// Of these too an [account](Policy::account) takes up to eight times as much as it leaves. What is under way goes on, and may
    /// still fill its windows.
    pub max_held_bytes: usize,
    /// How connections to the upstream are kept for the next message.
    pub pool: PoolConfig,
    /// Whether clients that ask for the durable dialect get it. Default: they do.
    pub durable: bool,
    /// How long a session lives without a link. Default 2 min: longer than most networks take to come back.
    pub session_expiry: Duration,
    /// The same while a message in it is past its end of data and not answered, or if it is shorter, the above. Default
    /// 15 min: longer than `upstream_final_timeout`, so that the client is told.
    pub session_expiry_past_end: Duration,
    /// The most channels a session has at once, which is as many messages. Default 512, which makes 5,000 small messages a second on a
    /// path of 100 ms. What their windows hold together is bounded as well: see `channel_window`.
    pub max_channels: usize,
    /// How many bytes a client may send on a channel before its upstream has taken any. Default 256 KiB, which makes 2.5 MB/s
    /// on a path of 100 ms; at least 128 KiB. A session in which channels without a connection to the upstream hold more than
    /// 128 windows loses those that come in addition, for the moment; our client keeps below half of that.
    pub channel_window: u64,
    /// Over which time clients in sessions are asked to come back when the relay ends. Default 10 s, so that 10,000 clients
    /// make a thousand TLS handshakes a second.
    pub restart_spread: Duration,
    /// How much the ledger remembers of deliveries, and for how long.
    pub ledger: LedgerLimits,
    /// How long a client may take to authenticate, and the application to decide. Default 10 s: a client sends its key
    /// with its first frame, so this covers a slow network and no more.
    pub authentication_timeout: Duration,
    /// How long a client may be silent before it is pinged, and again before it is cut. Default 30 s, below the minute
    /// after which proxies drop quiet connections.
    pub heartbeat_interval: Duration,
    /// How long a channel waits for its client. Default 5 min (RFC 5321, section 4.5.3.2.7).
    pub channel_idle_timeout: Duration,
    /// How long connecting to the upstream, its greeting, TLS, AUTH and its replies to EHLO may take together. Default 9 s, so that a
    /// client that gives up after 10 s hears the reason.
    pub upstream_open_timeout: Duration,
    /// How long the upstream may take to answer MAIL, RCPT, DATA and RSET. Default 5 min (RFC 5321, section 4.5.3.2).
    pub upstream_reply_timeout: Duration,
    /// How long the upstream may take no content. Default 3 min (RFC 5321, section 4.5.3.2.5).
    pub upstream_content_timeout: Duration,
    /// How long the upstream may take to answer the end of data. Default 10 min (RFC 5321, section 4.5.3.2.6): one that
    /// is given up too early may deliver all the same.
    pub upstream_final_timeout: Duration,
}

impl RelayConfig {
    /// A relay called `host_name` in front of `upstream`, with defaults for everything else.
    pub fn new(upstream: StreamAddress, host_name: HostName) -> Self {
        Self {
            upstream,
            upstream_access: Access::NONE,
            host_name,
            max_links: 10_000,
            max_unauthenticated_links: 1_000,
            max_upstreams: 500,
            max_held_bytes: 1 << 30,
            pool: PoolConfig::new(),
            durable: true,
            session_expiry: Duration::from_secs(2 * 60),
            session_expiry_past_end: Duration::from_secs(15 * 60),
            max_channels: 512,
            channel_window: 256 * 1024,
            restart_spread: Duration::from_secs(10),
            ledger: LedgerLimits::default(),
            authentication_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(30),
            channel_idle_timeout: Duration::from_secs(5 * 60),
            upstream_open_timeout: Duration::from_secs(9),
            upstream_reply_timeout: Duration::from_secs(5 * 60),
            upstream_content_timeout: Duration::from_secs(3 * 60),
            upstream_final_timeout: Duration::from_secs(10 * 60),
        }
    }
}

/// How a relay keeps connections to its upstream, greeted and ready, for the next message.
///
/// The next MAIL follows the final reply to the message before at once, as RFC 5321, section 4.1.4, allows; RSET comes between
/// where a transaction was given up. The connection used last is taken first, so that in quiet times the others
/// reach their `idle_timeout`. Whatever becomes of a connection that carries no message costs no message anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// How many idle connections the relay tries to have while mail is expected: for one `idle_timeout` after a client has
    /// authenticated or a connection was taken for a message. Default 1: the next message finds a greeted connection,
    /// and a relay that sends one at a time holds one too many at most.
    pub min_idle: usize,
    /// The most idle connections; one that is more says goodbye. Default 16, a third of what Postfix grants one client. 0: every
    /// channel has its own connection, and none is kept.
    pub max_idle: usize,
    /// How long a connection stays idle before it says goodbye. Default 60 s: well below the 5 minutes a server has to wait for the
    /// next command (RFC 5321, section 4.5.3.2.7), and long enough for mail that comes every few seconds.
    pub idle_timeout: Duration,
    /// After how long an idle connection is asked with NOOP whether it still lives before it is used. Default 15 s:
    /// under load nothing is asked, and servers under stress drop idle clients after about as long.
    pub check_after: Duration,
    /// The age from which a connection takes no further message. Default 5 min, so that a change of the server's address or
    /// certificate is followed.
    pub max_age: Duration,
    /// The most messages on one connection. Default 100: servers that limit them allow about as many.
    pub max_messages: u32,
    /// What clients are told that the upstream carries where it has to be said before there is a connection; `None`: what it
    /// has offered last. Default `None`. A message the upstream then turns out not to carry is refused.
    pub capabilities: Option<Capabilities>,
}

impl PoolConfig {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            min_idle: 1,
            max_idle: 16,
            idle_timeout: Duration::from_secs(60),
            check_after: Duration::from_secs(15),
            max_age: Duration::from_secs(5 * 60),
            max_messages: 100,
            capabilities: None,
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self::new()
    }
}
