//! The sessions a relay holds for its clients.

use super::{ResumeError, RetentionLimits, Session, SessionId};
use crate::{Deadline, LinkId, Random, Time};
use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

/// How many sessions a registry holds, and how they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryConfig {
    /// The most sessions, with a link or without. Default: 100,000, as many as links on a large relay.
    pub sessions: usize,
    /// The most sessions of one key. Default: 1,000, as many as programs that share one.
    pub sessions_per_key: usize,
    /// How long a new session lives without a link. Default: 2 minutes.
    pub expires_in: Duration,
    /// How much each session keeps.
    pub retention: RetentionLimits,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            sessions: 100_000,
            sessions_per_key: 1_000,
            expires_in: Duration::from_secs(120),
            retention: RetentionLimits::default(),
        }
    }
}

/// Sessions by id, each granted to a key and, most of the time, on a link; `T` is what the owner keeps for each.
///
/// A session whose key does not match is as good as none: a stranger learns nothing about it. All operations take time
/// logarithmic in the number of sessions.
#[derive(Debug)]
pub struct Registry<K, T> {
    config: RegistryConfig,
    sessions: BTreeMap<SessionId, Held<K, T>>,
    links: BTreeMap<LinkId, SessionId>,
    keys: BTreeMap<K, usize>,
    /// Those without a link, by the time they are gone, per key and over all.
    expiring: BTreeSet<(Time, SessionId)>,
    expiring_by_key: BTreeSet<(K, Time, SessionId)>,
}

#[derive(Debug)]
struct Held<K, T> {
    key: K,
    session: Session,
    owned: T,
    /// The time under which it is sorted.
    expires: Option<Time>,
}

/// A new session has its place.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the owner must settle both")]
pub struct Opened<T> {
    /// Its name, to be told to the client.
    pub id: SessionId,
    /// The session of the same key that had to go for it, and what was kept for it.
    pub evicted: Option<(SessionId, T)>,
}

/// There is no room for a new session; what was to be kept for it comes back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are as many sessions as may be")]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct RegistryFull<T>(pub T);

/// A session goes on on a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the owner must settle both")]
pub struct Resumed {
    /// What the client is to send next: the `receiveNext` for it.
    pub receive_next: u64,
    /// The link it had until now. Nothing that still comes from it counts; close it before the client is answered.
    pub fenced: Option<LinkId>,
}

impl<K: Clone + Ord, T> Registry<K, T> {
    /// No sessions yet.
    pub const fn new(config: RegistryConfig) -> Self {
        Self {
            config,
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            keys: BTreeMap::new(),
            expiring: BTreeSet::new(),
            expiring_by_key: BTreeSet::new(),
        }
    }

    /// Puts a new session on a link, under a new random name.
    ///
    /// Where there is no room, the session of the same key that would be the next to expire makes some: one key never
    /// costs another its sessions.
    ///
    /// # Errors
    ///
    /// If there is no room and every session of the key has a link.
    pub fn open(
        &mut self,
        now: Time,
        random: &mut Random,
        key: &K,
        link: LinkId,
        owned: T,
    ) -> Result<Opened<T>, RegistryFull<T>> {
        let of_key = self.keys.get(key).copied().unwrap_or_default();
        let mut evicted = None;
        if self.sessions.len() >= self.config.sessions || of_key >= self.config.sessions_per_key {
            let Some(oldest) = self.first_to_expire(key) else {
                return Err(RegistryFull(owned));
            };
            evicted = self.end(oldest).map(|owned| (oldest, owned));
        }
        self.cut(now, link);
        let mut session = Session::new(now, self.config.expires_in, self.config.retention);
        session
            .attach(link, 1)
            .expect("a new session goes on from the first frame");
        let id = loop {
            let id = SessionId::random(random);
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        *self.keys.entry(key.clone()).or_default() += 1;
        self.links.insert(link, id);
        let held = Held {
            key: key.clone(),
            session,
            owned,
            expires: None,
        };
        self.sessions.insert(id, held);
        Ok(Opened { id, evicted })
    }

    /// Goes on with a session on a new link, from the frame the client wants next.
    ///
    /// # Errors
    ///
    /// If the key has no such session, or the client's number cannot be true. Whatever session there is is untouched; the
    /// client is told the reason and gets a new one.
    pub fn resume(
        &mut self,
        now: Time,
        key: &K,
        id: SessionId,
        link: LinkId,
        receive_next: u64,
    ) -> Result<Resumed, ResumeError> {
        let held = self.sessions.get_mut(&id).filter(|held| held.key == *key);
        let held = held.ok_or(ResumeError::Unknown)?;
        let fenced = held.session.attach(link, receive_next)?;
        let receive_next = held.session.receive_next();
        if let Some(fenced) = fenced {
            self.links.remove(&fenced);
        }
        if self.links.get(&link) != Some(&id) {
            self.cut(now, link);
            self.links.insert(link, id);
        }
        self.sort(id);
        Ok(Resumed {
            receive_next,
            fenced,
        })
    }

    /// The session on a link. A fenced link has none.
    pub fn on_link(&self, link: LinkId) -> Option<SessionId> {
        self.links.get(&link).copied()
    }

    /// Works on a session and what is kept for it.
    ///
    /// One that has [ended](Session::end) in this is handed back by the next [`handle_timeout`](Self::handle_timeout).
    pub fn update<R>(
        &mut self,
        id: SessionId,
        work: impl FnOnce(&mut Session, &mut T) -> R,
    ) -> Option<R> {
        let held = self.sessions.get_mut(&id)?;
        let link = held.session.link();
        let result = work(&mut held.session, &mut held.owned);
        if held.session.link() != link
            && let Some(link) = link
        {
            self.links.remove(&link);
        }
        if let Some(link) = held.session.link() {
            self.links.insert(link, id);
        }
        self.sort(id);
        Some(result)
    }

    /// A link has ended: its session, if it has one, waits for the next.
    pub fn cut(&mut self, now: Time, link: LinkId) -> Option<SessionId> {
        let id = self.links.remove(&link)?;
        if let Some(held) = self.sessions.get_mut(&id) {
            held.session.detach(now, link);
        }
        self.sort(id);
        Some(id)
    }

    /// Ends a session; what was kept for it comes back.
    pub fn end(&mut self, id: SessionId) -> Option<T> {
        let held = self.sessions.remove(&id)?;
        if let Some(link) = held.session.link() {
            self.links.remove(&link);
        }
        if let Some(at) = held.expires {
            self.expiring.remove(&(at, id));
            self.expiring_by_key.remove(&(held.key.clone(), at, id));
        }
        if let Some(count) = self.keys.get_mut(&held.key) {
            *count -= 1;
            if *count == 0 {
                self.keys.remove(&held.key);
            }
        }
        Some(held.owned)
    }

    /// When the next session expires.
    pub fn deadline(&self) -> Option<Deadline> {
        self.expiring.first().map(|&(at, _)| Deadline {
            at,
            timer: "session expiry",
        })
    }

    /// Ends one session whose time is over, if there is one; to be called until there is none.
    pub fn handle_timeout(&mut self, now: Time) -> Option<(SessionId, T)> {
        let &(at, id) = self.expiring.first()?;
        if at > now {
            return None;
        }
        self.end(id).map(|owned| (id, owned))
    }

    /// All sessions, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().map(|held| &held.session)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn first_to_expire(&self, key: &K) -> Option<SessionId> {
        let from = (key.clone(), Time::ZERO, SessionId::from_bits(0));
        let (of_key, _, id) = self.expiring_by_key.range(from..).next()?;
        (of_key == key).then_some(*id)
    }

    /// Sorts a session by its deadline, which may have changed.
    fn sort(&mut self, id: SessionId) {
        let Some(held) = self.sessions.get_mut(&id) else {
            return;
        };
        let expires = if held.session.is_gone() {
            Some(Time::ZERO)
        } else {
            held.session.deadline().map(|deadline| deadline.at)
        };
        if expires == held.expires {
            return;
        }
        if let Some(at) = held.expires {
            self.expiring.remove(&(at, id));
            self.expiring_by_key.remove(&(held.key.clone(), at, id));
        }
        if let Some(at) = expires {
            self.expiring.insert((at, id));
            self.expiring_by_key.insert((held.key.clone(), at, id));
        }
        held.expires = expires;
    }
}
