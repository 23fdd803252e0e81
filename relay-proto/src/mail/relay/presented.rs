//! What the keeper of the keys is shown.

use super::Event;
use crate::{LinkId, mail::wire::ApiKey};
use alloc::string::String;
use core::net::IpAddr;

/// What a client shows when it knocks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presented {
    /// The key.
    pub key: ApiKey,
    /// Name and version of the client's software, as it says.
    pub agent: Option<String>,
    /// Where it comes from.
    pub peer: Option<IpAddr>,
}

impl Presented {
    /// Takes [`Event::KeyPresented`] out of the events; every other one comes back.
    ///
    /// # Errors
    ///
    /// The event, where it is another.
    pub fn from_event(event: Event) -> Result<(LinkId, Self), Event> {
        match event {
            Event::KeyPresented {
                link,
                key,
                agent,
                peer,
            } => Ok((link, Self { key, agent, peer })),
            other => Err(other),
        }
    }
}
