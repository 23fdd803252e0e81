//! How a relay behaves.

use crate::{
    StreamAddress,
    smtp::{Access, HostName},
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
    /// WebSockets.
    pub max_links: usize,
    /// The most client links at once whose key is not decided yet; further ones are closed with 1013. Default 1,000, so
    /// that strangers can't take every place.
    pub max_unauthenticated_links: usize,
    /// The most upstream links at once; further channels are refused for the moment. Default 500: mail servers
    /// limit the connections of one client to about as many.
    pub max_upstreams: usize,
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
    pub const fn new(upstream: StreamAddress, host_name: HostName) -> Self {
        Self {
            upstream,
            upstream_access: Access::NONE,
            host_name,
            max_links: 10_000,
            max_unauthenticated_links: 1_000,
            max_upstreams: 500,
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
