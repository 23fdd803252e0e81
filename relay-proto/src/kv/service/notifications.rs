//! Who is told of changes. Every client has a place in the log of its store; what it takes slowly waits there and nowhere else.

use super::{CATCH_UP, Event, Service, front::FrontId, link::State, store::Space};
use crate::{
    LinkId, Time,
    kv::wire::{Missed, Notification, ServiceMessage},
};
use alloc::{string::ToString, sync::Arc};

/// How much work it may be to find out of which changes a client is told, before others have their turn; see
/// [`Patterns::cost`](super::pattern::Patterns::cost).
const CATCH_UP_COST: usize = 4 << 20;

impl Service {
    /// The number of the last change that is stored.
    pub(super) fn sequence(&self, space: &str) -> u64 {
        let space = self.store.space(space);
        space.map_or(0, Space::committed)
    }

    /// Something has changed in this store.
    pub(super) fn stir_subscribers(&mut self, space: &Arc<str>) {
        let first = FrontId::Link(LinkId::dialled(0));
        let from = (Arc::clone(space), first);
        let subscribers = self.subscribers.range(from..);
        let of_space = subscribers.take_while(|(its, _)| its == space);
        self.stirred.extend(of_space.map(|(_, front)| *front));
    }

    /// Adds the changes the client does not know of to what it is told, as many as there is room for. Whether there were any.
    pub(super) fn tell_changes(&mut self, now: Time, id: FrontId) -> bool {
        let link = match id {
            FrontId::Link(link) => Some(link),
            FrontId::Session(session) => self
                .sessions
                .update(session, |session, ()| session.link())
                .flatten(),
        };
        let Some((id_of_link, link)) = link.and_then(|id| Some((id, self.links.get(&id)?))) else {
            return false;
        };
        let is_waiting = link.state == State::Greeting || self.behind.contains(&id);
        if is_waiting || link.is_slow() {
            return false;
        }
        let Some(front) = self.fronts.get_mut(&id) else {
            return false;
        };
        let Some(mut told) = front.told else {
            return false;
        };
        let Some(space) = self.store.space(&front.space) else {
            return false;
        };
        if told + 1 < space.first_change() {
            let first = space.first_change();
            let missed = Missed { after: told, first };
            front.say(&ServiceMessage::Missed(missed));
            let link = id_of_link;
            self.events.push_back(Event::Missed { link });
            told = first - 1;
        }
        let (before, mut cost) = (told, 0);
        while front.has_room_for_notifications()
            && let Some(change) = space.stored_change(told + 1)
        {
            if cost > CATCH_UP_COST {
                self.behind.insert(id);
                self.catch_up_at.get_or_insert(now.after(CATCH_UP));
                break;
            }
            cost += front.rights.patterns.cost(&change.key);
            told += 1;
            if front.rights.patterns.is_told_of(&change.key) {
                front.say(&ServiceMessage::Notification(Notification {
                    key: change.key.to_string(),
                    value: change.value.clone(),
                    timestamp: Some(change.timestamp),
                    sequence: Some(change.sequence),
                }));
            }
        }
        front.told = Some(told);
        told > before
    }
}
