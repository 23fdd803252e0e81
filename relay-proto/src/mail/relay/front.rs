//! Who a channel speaks with, as far as the channel needs to know it.

use super::{
    channel::ChannelId, client_link::ClientLink, durable_front::DurableFront, output::Output,
};
use crate::{
    LinkId,
    mail::{Outcome, wire::ChannelError},
    session::SessionId,
};
use alloc::{collections::BTreeMap, string::String};
use bytes::Bytes;

/// Who carries the client's side of a channel: its requests come from there, its replies go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrontId {
    /// A client's link in the base dialect, which has one channel at a time.
    Link(LinkId),
    /// A client's session in the durable dialect, which has many.
    Session(SessionId),
}

/// What a channel says to its client, in the words of the dialect the client speaks.
///
/// The way back is the relay's: [`channel_bytes`](super::Relay::channel_bytes),
/// [`channel_taken`](super::Relay::channel_taken), [`close_channel`](super::Relay::close_channel) and
/// [`channel_room`](super::Relay::channel_room).
pub(super) trait Front {
    /// Whether more replies find room. A front that has said no reports with `channel_taken` that there is room again.
    fn has_room(&self, channel: ChannelId) -> bool;

    /// The channel's SMTP session begins.
    fn ready(&mut self, channel: ChannelId, output: &mut Output);

    /// SMTP bytes for the client. They may wait for others as long as the client does not have to act on them.
    fn say(&mut self, channel: ChannelId, smtp: &Bytes, output: &mut Output);

    /// A channel has said something, and the next move is the client's.
    fn awaits_client(&mut self, output: &mut Output);

    /// The channel has ended; nothing more comes of it.
    fn ended(&mut self, channel: ChannelId, ending: Ending, output: &mut Output);
}

/// How a channel ended, as its client is told.
#[derive(Debug)]
pub(super) enum Ending {
    /// In order, or with a last reply that says it all.
    Closed {
        /// Why, for people.
        reason: Option<String>,
    },
    /// In the durable dialect: this became of its delivery, which the client need not be told in SMTP any more.
    Known(Outcome),
    /// It could not be opened, or broke.
    Failed(ChannelError),
}

impl Ending {
    /// It ended in order.
    pub(super) const CLOSED: Self = Self::Closed { reason: None };

    /// It broke, and nobody knows when another would do better.
    pub(super) fn failed(error: impl Into<String>) -> Self {
        Self::Failed(plain_error(error))
    }
}

/// An error that neither a reply code nor a time to come back belongs to.
pub(super) fn plain_error(error: impl Into<String>) -> ChannelError {
    ChannelError {
        error: error.into(),
        code: None,
        retry_after: None,
    }
}

/// Everybody channels speak with.
#[derive(Default)]
pub(super) struct Fronts {
    pub(super) clients: BTreeMap<LinkId, ClientLink>,
    pub(super) sessions: BTreeMap<SessionId, DurableFront>,
}

impl Fronts {
    pub(super) fn get_mut(&mut self, front: FrontId) -> Option<&mut dyn Front> {
        match front {
            FrontId::Link(link) => self
                .clients
                .get_mut(&link)
                .map(|client| client as &mut dyn Front),
            FrontId::Session(session) => self
                .sessions
                .get_mut(&session)
                .map(|session| session as &mut dyn Front),
        }
    }
}
