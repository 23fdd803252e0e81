//! What the bindings' transports for [lettre] share, whatever their runtime.
//!
//! A transport turns lettre's paths and content into a [`submission`], sends it as the binding sends any other, and answers
//! with a [`Receipt`](super::client::Receipt) or this module's [`Error`].
//!
//! # What is other than with lettre's own transport
//!
//! - One refused recipient does not sink the message: the others get it, and
//!   [`Receipt::rejected`](super::client::Receipt::rejected) names the one with its reply. The result is an error only where
//!   nobody got the message.
//! - Messages are queued, retried and carried over a lost connection by the client; sending a message waits for its
//!   outcome. There is no pool to be sized: clones share one client and one link.
//! - The content is carried as it stands. In particular no `Message-ID` is added to a message without one (RFC 5322, section
//!   3.6.4, recommends it, and lettre adds none by itself): a signature over the header stays valid, and what a receiver gets
//!   is what the program made. `.message_id(None)` has lettre's builder make one. Bcc is lettre's matter, too: its builder
//!   puts those recipients on the paths and leaves them out of the header.

use super::client::{self, Refusal, SendError, Submission, Timeout};
use crate::{
    LinkError, OpenError,
    smtp::{
        Address, AddressError, Code, DialogueError, Envelope, EnvelopeError, ForwardPath, Reply,
        ReversePath,
    },
};
use alloc::{borrow::ToOwned, string::String, vec::Vec};
use bytes::Bytes;

/// Where a message comes from and where it goes, as lettre says it; bindings pass it on and have no word of their own for it.
pub type Paths = ::lettre::address::Envelope;

/// A message of lettre's as a submission.
///
/// Every address is read again, since `lettre::Address::new_dangerous` takes any text at all: what reaches a server is an
/// address, and nothing else (no line end, no second command).
///
/// # Errors
///
/// [`Error::Address`] with the first address that is none.
pub fn submission(paths: &Paths, content: Bytes) -> Result<Submission, Error> {
    let reverse_path = match paths.from() {
        Some(from) => ReversePath::Mailbox(address(from)?),
        None => ReversePath::Null,
    };
    let forward_paths = paths.to().iter().map(address);
    let forward_paths = forward_paths.collect::<Result<Vec<_>, _>>()?;
    let envelope = Envelope::new(reverse_path, forward_paths)?;
    Ok(Submission::message(envelope, content))
}

fn address(theirs: &::lettre::Address) -> Result<Address, Error> {
    let text: &str = theirs.as_ref();
    text.parse().map_err(|why| Error::Address {
        address: text.to_owned(),
        why,
    })
}

/// Why a message has no receipt, with the questions that lettre's own error answers.
///
/// lettre's cannot be made by others. The questions have its names, but two of the answers go further:
/// [`is_transient`](Self::is_transient) and [`is_permanent`](Self::is_permanent) do not only speak of replies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address that no server can be told. Nothing was sent.
    #[error("{address:?} is not an address: {why}")]
    Address {
        /// The text of it.
        address: String,
        /// What is wrong with it.
        why: AddressError,
    },
    /// There is no recipient, which lettre does not allow either.
    #[error(transparent)]
    NoRecipient(#[from] EnvelopeError),
    /// The client did not take it, or could not send it.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Error {
    /// Whether the same message may be accepted later: a 4yz reply, or a relay out of reach.
    ///
    /// The client has tried again by itself before it says so, as often as its configuration says.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Send(SendError::Failed(error)) => error.is_transient(),
            Self::Send(SendError::Refused(refused)) => matches!(refused.why, Refusal::Full { .. }),
            _ => false,
        }
    }

    /// Whether the same message fails again until something is changed: a 5yz reply, a bad address, a wrong key, a
    /// message above the relay's limits.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Address { .. } | Self::NoRecipient(_) => true,
            Self::Send(SendError::Failed(error)) => error.is_permanent(),
            Self::Send(SendError::Refused(refused)) => matches!(
                refused.why,
                Refusal::TooLarge { .. } | Refusal::TooManyRecipients { .. }
            ),
            Self::Send(_) => false,
        }
    }

    /// Whether the message was sent whole and its reply got lost, so that it may have been delivered. It is then
    /// neither transient nor permanent: sending it again may deliver it twice.
    pub const fn is_in_doubt(&self) -> bool {
        matches!(
            self,
            Self::Send(
                SendError::Failed(client::Error::InDoubt(_))
                    | SendError::Unsettled { in_doubt: true }
            )
        )
    }

    /// Whether somebody took too long.
    pub fn is_timeout(&self) -> bool {
        use client::Error;
        matches!(
            self.cause(),
            Some(
                Error::Timeout(Timeout::Channel | Timeout::Message)
                    | Error::Connection(
                        LinkError::OpenTimeout
                            | LinkError::AuthenticationTimeout
                            | LinkError::Silent
                    )
            )
        )
    }

    /// Whether there is no secure connection to the relay, mostly for want of a certificate that is trusted.
    pub fn is_tls(&self) -> bool {
        use client::Error;
        let cause = self.cause();
        matches!(
            cause,
            Some(Error::Connection(LinkError::Open(OpenError::Tls { .. })))
        )
    }

    /// Whether the server, or the relay, said what cannot be understood.
    pub fn is_response(&self) -> bool {
        use client::Error;
        matches!(
            self.cause(),
            Some(
                Error::Protocol(_)
                    | Error::Message(
                        DialogueError::Garbled { .. } | DialogueError::OutOfTurn { .. }
                    )
            )
        )
    }

    /// Whether this side found the message unfit to be sent, or was not to send it any more.
    pub fn is_client(&self) -> bool {
        use client::Error;
        match self {
            Self::Address { .. } | Self::NoRecipient(_) => true,
            Self::Send(SendError::Refused(_) | SendError::Cancelled) => {
                !self.is_transport_shutdown()
            }
            Self::Send(_) => matches!(
                self.cause(),
                Some(
                    Error::Limits(_)
                        | Error::Expired { .. }
                        | Error::Message(
                            DialogueError::Unsupported { .. } | DialogueError::TooLarge { .. }
                        )
                )
            ),
        }
    }

    /// Whether the transport was shut down before the message was sent, or before its outcome was known.
    pub fn is_transport_shutdown(&self) -> bool {
        match self {
            Self::Send(SendError::Stopped(_) | SendError::Unsettled { .. }) => true,
            Self::Send(SendError::Refused(refused)) => {
                matches!(refused.why, Refusal::ShuttingDown)
            }
            _ => false,
        }
    }

    /// The code of the reply that decided, or the one the relay gives for a server it cannot reach.
    pub fn status(&self) -> Option<Code> {
        match self.cause()? {
            client::Error::Channel(error) => error.code.and_then(Code::new),
            error => error.reply().map(Reply::code),
        }
    }

    /// The reply that decided, where one did; with its enhanced code, which lettre leaves in the text.
    pub fn reply(&self) -> Option<&Reply> {
        self.cause()?.reply()
    }

    /// The recipients the server refused, each with its reply; lettre's error names none.
    pub fn rejected(&self) -> &[(ForwardPath, Reply)] {
        match self.cause() {
            Some(client::Error::Message(error)) => error.rejected(),
            _ => &[],
        }
    }

    /// What made the sending fail, also where its outcome is in doubt.
    fn cause(&self) -> Option<&client::Error> {
        let Self::Send(SendError::Failed(error)) = self else {
            return None;
        };
        let mut cause = error;
        while let client::Error::InDoubt(inner) = cause {
            cause = inner;
        }
        Some(cause)
    }
}

#[cfg(test)]
#[path = "lettre_tests.rs"]
mod tests;
