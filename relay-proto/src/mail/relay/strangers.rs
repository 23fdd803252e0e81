//! Links whose key is not decided yet.

use crate::{
    LinkId,
    admission::{allowance, network},
};
use alloc::collections::BTreeMap;
use core::net::IpAddr;

/// The links whose key is not decided yet, by where they come from.
///
/// One place takes up to eight times as many as it leaves, so that a flood from there does not keep out the others. Links
/// of unknown origin are of one place.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    links: BTreeMap<LinkId, Option<IpAddr>>,
    places: BTreeMap<Option<IpAddr>, usize>,
}

impl Strangers {
    /// Why a link from here is turned away, where it is; `most` are let in.
    pub(super) fn turns_away(&self, peer: Option<IpAddr>, most: usize) -> Option<&'static str> {
        let from_there = self.places.get(&peer.map(network)).copied();
        let free = most.saturating_sub(self.links.len());
        if free == 0 {
            Some("too many links that are not authenticated")
        } else if allowance(from_there.unwrap_or_default(), free) == 0 {
            Some("too many links from this address that are not authenticated")
        } else {
            None
        }
    }

    pub(super) fn insert(&mut self, link: LinkId, peer: Option<IpAddr>) {
        let place = peer.map(network);
        self.remove(link);
        self.links.insert(link, place);
        *self.places.entry(place).or_default() += 1;
    }

    /// The key of the link is decided, or the link has ended.
    pub(super) fn remove(&mut self, link: LinkId) {
        if let Some(place) = self.links.remove(&link)
            && let Some(count) = self.places.get_mut(&place)
        {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&place);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
