//! News for whoever runs a service.

use crate::{CloseCode, LinkId, storage::StorageError};
use alloc::{string::String, sync::Arc};
use core::net::IpAddr;

/// News from a [`Service`](super::Service), for logs and statistics; nothing needs an answer. No keys, tokens, keys of the store or
/// values are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client has connected.
    Connected {
        /// Its link.
        link: LinkId,
        /// Where it came from, where the transport knows.
        peer: Option<IpAddr>,
        /// The [name](super::Policy::name) of its key.
        name: Arc<str>,
        /// Whether it came with a token.
        with_token: bool,
    },
    /// A client speaks the durable dialect, in a new session.
    SessionOpened {
        /// Its link.
        link: LinkId,
    },
    /// A client goes on in the session it had.
    SessionResumed {
        /// Its link.
        link: LinkId,
    },
    /// A client did not come back in time: its session is gone.
    SessionExpired,
    /// A client was not let in.
    Refused {
        /// Where it came from, where the transport knows.
        peer: Option<IpAddr>,
        /// Why.
        why: &'static str,
    },
    /// A token was made.
    TokenMade {
        /// Where whoever asked for it came from, where the transport knows.
        peer: Option<IpAddr>,
        /// The [name](super::Policy::name) of its key.
        name: Arc<str>,
    },
    /// A client has broken the protocol; its link is closed.
    Violation {
        /// Its link.
        link: LinkId,
        /// With what code.
        code: CloseCode,
        /// What was wrong.
        reason: String,
    },
    /// A client took its notifications so slowly, or was away for so long, that some are not known any more. It is told.
    Missed {
        /// Its link.
        link: LinkId,
    },
    /// A link has ended.
    Disconnected {
        /// Which one.
        link: LinkId,
        /// Why.
        why: String,
    },
    /// The storage has begun to fail. Calls that change something are answered with 503 until it works again.
    StorageFailed {
        /// Why.
        error: StorageError,
    },
    /// The storage works again.
    StorageRecovered,
    /// The service has ended, as it was told to; nothing follows.
    Finished,
}
