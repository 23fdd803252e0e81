//! What a server has to tell and to ask.

use crate::{
    Closure, LinkId,
    smtp::{Credentials, ForwardPath, MailParameters, ReversePath},
};
use bytes::Bytes;
use core::{fmt, net::IpAddr};

/// What an event counts against what is held of a link besides its content, about its size in memory: a peer that sends content byte by
/// byte makes many.
pub(super) const EVENT_BYTES: usize = 128;

/// News from a [`Server`](super::Server).
///
/// A transaction begins with a positive answer to [`Mail`](Self::Mail). It ends with the answer to
/// [`EndOfContent`](Self::EndOfContent), or else with the first [`Reset`](Self::Reset) or [`Closed`](Self::Closed) of its link: then
/// what came of its content is of no use.
///
/// `Debug` shows the length of content only, and no password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A client has connected.
    Opened {
        /// On which link.
        link: LinkId,
        /// From where, where the transport knows.
        peer: Option<IpAddr>,
    },
    /// A question: is the client who it says? The answers of RFC 4954 are 235 2.7.0, 535 5.7.8, and 454 4.7.0 where that cannot be
    /// told now.
    Credentials {
        /// On which link.
        link: LinkId,
        /// Who it says to be, and its proof.
        credentials: Credentials,
    },
    /// A question: may a message from this sender come?
    Mail {
        /// On which link.
        link: LinkId,
        /// The sender.
        reverse_path: ReversePath,
        /// What the client says about the message.
        parameters: MailParameters,
    },
    /// A question: may the message go to this recipient?
    Recipient {
        /// On which link.
        link: LinkId,
        /// The recipient.
        forward_path: ForwardPath,
    },
    /// The next piece of the message: header and body, lines with CRLF as a rule.
    Content {
        /// On which link.
        link: LinkId,
        /// The piece, never empty.
        content: Bytes,
    },
    /// A question: that was the message; is it accepted? Who says yes is responsible for it from then on.
    EndOfContent {
        /// On which link.
        link: LinkId,
    },
    /// The transaction is given up.
    Reset {
        /// On which link.
        link: LinkId,
    },
    /// A link has ended. Nothing about it follows.
    Closed {
        /// Which link.
        link: LinkId,
        /// How it ended.
        why: Closure,
    },
    /// Clients were sent away, as there were too many links or the server is shutting down.
    Refused {
        /// How many since the last event of this kind.
        count: u64,
    },
    /// The server has ended. Nothing follows.
    Finished,
}

impl ServerEvent {
    /// The link the event is about, if it is about one.
    pub const fn link(&self) -> Option<LinkId> {
        match self {
            Self::Opened { link, .. }
            | Self::Credentials { link, .. }
            | Self::Mail { link, .. }
            | Self::Recipient { link, .. }
            | Self::Content { link, .. }
            | Self::EndOfContent { link }
            | Self::Reset { link }
            | Self::Closed { link, .. } => Some(*link),
            Self::Refused { .. } | Self::Finished => None,
        }
    }

    /// Whether the event is to be answered with [`Server::respond`](super::Server::respond).
    pub const fn is_question(&self) -> bool {
        matches!(
            self,
            Self::Credentials { .. }
                | Self::Mail { .. }
                | Self::Recipient { .. }
                | Self::EndOfContent { .. }
        )
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Credentials { credentials, .. } => {
                EVENT_BYTES + credentials.user_name().len() + credentials.expose_password().len()
            }
            Self::Content { content, .. } => EVENT_BYTES + content.len(),
            _ => EVENT_BYTES,
        }
    }
}

impl fmt::Debug for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened {
                link,
                peer: Some(peer),
            } => write!(f, "{link} Opened from {peer}"),
            Self::Opened { link, peer: None } => write!(f, "{link} Opened"),
            Self::Credentials { link, credentials } => write!(f, "{link} {credentials:?}"),
            Self::Mail {
                link,
                reverse_path,
                parameters,
            } => write!(f, "{link} Mail({reverse_path}{parameters})"),
            Self::Recipient { link, forward_path } => write!(f, "{link} Recipient({forward_path})"),
            Self::Content { link, content } => {
                write!(f, "{link} Content({} bytes)", content.len())
            }
            Self::EndOfContent { link } => write!(f, "{link} EndOfContent"),
            Self::Reset { link } => write!(f, "{link} Reset"),
            Self::Closed { link, why } => write!(f, "{link} Closed({why})"),
            Self::Refused { count } => write!(f, "Refused({count})"),
            Self::Finished => f.write_str("Finished"),
        }
    }
}
