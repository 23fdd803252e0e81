//! News of a relay.

use crate::{
    LinkId,
    mail::wire::{ApiKey, Violation},
    smtp::{ForwardPath, Reply, ReversePath},
    storage::StorageError,
};
use alloc::string::String;
use core::net::IpAddr;

/// News of a [`Relay`](super::Relay), for the application, its logs and its metrics.
///
/// Nothing here holds the content of a message, and `Debug` shows no key. `link` is always the client's, in a session the one it
/// is on, or was on last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client has connected.
    Connected {
        /// Its link.
        link: LinkId,
        /// Where it comes from, where the transport knows.
        peer: Option<IpAddr>,
    },
    /// A client was closed at once: the relay is full, or about to end. Nothing else about this link follows.
    TurnedAway {
        /// Its link.
        link: LinkId,
        /// Where it comes from, where the transport knows.
        peer: Option<IpAddr>,
        /// What it was told.
        why: &'static str,
    },
    /// A client has presented a key. Answer with [`Relay::grant`](super::Relay::grant) or
    /// [`Relay::deny`](super::Relay::deny).
    KeyPresented {
        /// Its link.
        link: LinkId,
        /// The key.
        key: ApiKey,
        /// Name and version of the client's software, as it says.
        agent: Option<String>,
        /// Where it comes from, where the transport knows.
        peer: Option<IpAddr>,
    },
    /// The key was granted.
    Authenticated {
        /// The client's link.
        link: LinkId,
    },
    /// The key was denied, its account has as many links as it may, or it was taken away from a client that was in.
    AuthenticationRefused {
        /// The client's link.
        link: LinkId,
        /// What the client was told.
        error: String,
    },
    /// A channel is open: its SMTP begins.
    ChannelOpened {
        /// The client's link.
        link: LinkId,
    },
    /// A channel could not be opened, or broke.
    ChannelFailed {
        /// The client's link.
        link: LinkId,
        /// Why, with everything that is known; the client is told less.
        why: String,
    },
    /// The upstream has accepted a message.
    MessageRelayed {
        /// The client's link.
        link: LinkId,
        /// The sender.
        reverse_path: ReversePath,
        /// How many recipients the upstream has accepted.
        recipients: usize,
        /// The length of the content in bytes, as the client sent it.
        bytes: u64,
        /// The upstream's reply.
        reply: Reply,
    },
    /// A message, or a recipient of one, was refused by the policy or by the upstream.
    MessageRefused {
        /// The client's link.
        link: LinkId,
        /// What was refused.
        refused: Refused,
        /// The reply.
        reply: Reply,
    },
    /// A message ended before its end of data was forwarded: nothing of it is delivered.
    MessageAbandoned {
        /// The client's link.
        link: LinkId,
        /// The sender.
        reverse_path: ReversePath,
        /// Why.
        why: String,
    },
    /// The upstream was lost after the end of data was forwarded and before its reply: nobody knows whether the message is
    /// delivered. The client, if it is still there, saw the channel break without a final reply.
    MessageInDoubt {
        /// The client's link.
        link: LinkId,
        /// The sender.
        reverse_path: ReversePath,
        /// How many recipients the upstream has accepted.
        recipients: usize,
        /// Why.
        why: String,
    },
    /// A client has come back to its session, which goes on on this link. What was begun on the one before is from now on
    /// reported under this one.
    SessionResumed {
        /// The client's new link.
        link: LinkId,
    },
    /// A client did not come back to its session in time. What was not past its end of data is abandoned.
    SessionExpired {
        /// The link it had last.
        link: LinkId,
    },
    /// The ledger's storage has begun to fail. Messages in the durable dialect are refused for the moment, and outcomes held
    /// back, until it works again.
    StorageFailed {
        /// Why.
        error: StorageError,
    },
    /// The ledger's storage works again.
    StorageRecovered,
    /// A client broke the protocol; its link is being closed.
    Violation {
        /// The client's link.
        link: LinkId,
        /// What was wrong.
        violation: Violation,
    },
    /// A client's link has ended.
    Disconnected {
        /// The link.
        link: LinkId,
        /// Why.
        why: String,
        /// How many frames of unknown type the client had sent.
        ignored_frames: u64,
    },
    /// The relay has ended. The last event, and the only one of its kind. Links still open then end without one of their own.
    Finished,
}

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The sender, at MAIL.
    Sender(ReversePath),
    /// A recipient, at RCPT. Others may be accepted.
    Recipient(ForwardPath),
    /// The message, at DATA before its content.
    Data(ReversePath),
    /// The message, in or after its content.
    Content(ReversePath),
}
