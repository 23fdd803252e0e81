//! How a server behaves.

use crate::smtp::SessionConfig;
use core::time::Duration;

/// How a [`Server`](super::Server) behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// How each conversation is held. Peers on this machine may say passwords in clear whatever
    /// [`Authentication::in_clear`](crate::smtp::Authentication::in_clear) says: nobody else reads along.
    pub session: SessionConfig,
    /// The most links at a time. Further ones are told 421.
    pub max_links: usize,
    /// How long a client may take for a command (RFC 5321, section 4.5.3.2.7).
    pub command_timeout: Duration,
    /// How long a client may pause in its content (RFC 5321, section 4.5.3.2.5).
    pub content_timeout: Duration,
}

impl ServerConfig {
    /// At most 100 links, so that all of them together hold some 20 MB; five minutes for a command, three for content to go on.
    pub const fn new(session: SessionConfig) -> Self {
        Self {
            session,
            max_links: 100,
            command_timeout: Duration::from_secs(5 * 60),
            content_timeout: Duration::from_secs(3 * 60),
        }
    }
}
