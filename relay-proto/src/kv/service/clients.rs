//! Clients of the durable dialect that are remembered, and what their calls have brought, so that none is applied twice.

use super::{account::KeyDigest, config::ServiceConfig};
use crate::{
    Deadline, Time,
    kv::{
        ClientId,
        wire::{Code, Failure, Success},
    },
    session::SessionId,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

/// A client, and the key it is remembered under: with another it is another client.
pub(super) type ClientKey = (KeyDigest, ClientId);

/// How long a client is remembered at least after a restart: as long as a call lives.
const AFTER_RESTART: Duration = Duration::from_secs(60 * 60);

/// What a call that changes something has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Done,
    Incremented(i64),
    Failed(Failure),
}

impl Kept {
    /// What is to be kept of a result; none where the call was not applied and may be tried again under its number.
    pub(super) fn of(result: &Result<Success, Failure>) -> Option<Self> {
        match result {
            Ok(Success::Incremented { new_value }) => Some(Self::Incremented(*new_value)),
            Ok(_) => Some(Self::Done),
            Err(failure) => match failure.code {
                Code::TOO_MANY_REQUESTS | Code::UNAVAILABLE | Code::FULL => None,
                _ => Some(Self::Failed(failure.clone())),
            },
        }
    }

    pub(super) fn to_result(&self) -> Result<Success, Failure> {
        match self {
            Self::Done => Ok(Success::Done),
            Self::Incremented(new_value) => Ok(Success::Incremented {
                new_value: *new_value,
            }),
            Self::Failed(failure) => Err(failure.clone()),
        }
    }
}

#[derive(Debug, Default)]
struct Client {
    /// Calls up to this one need no answer any more.
    settled: u64,
    results: BTreeMap<u64, Kept>,
    presence: Presence,
}

#[derive(Clone, Copy, Debug)]
enum Presence {
    Session(SessionId),
    /// It is forgotten then.
    Away {
        until: Time,
    },
}

impl Default for Presence {
    fn default() -> Self {
        Self::Away { until: Time::ZERO }
    }
}

/// What is known of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was not applied.
    No,
    /// It has brought this.
    Result(Kept),
    /// The client has said that it needs no answer any more.
    Settled,
}

/// The clients that are remembered.
#[derive(Debug, Default)]
pub(super) struct Clients {
    clients: BTreeMap<ClientKey, Client>,
    per_key: BTreeMap<KeyDigest, usize>,
    /// Those without a session, by the time they are forgotten.
    away: BTreeSet<(Time, ClientKey)>,
    away_per_key: BTreeSet<(KeyDigest, Time, ClientId)>,
}

impl Clients {
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn knows(&self, client: ClientKey) -> bool {
        self.clients.contains_key(&client)
    }

    /// Remembers another client, which is to have a session soon. Returns the one of the same key that was forgotten for it, if one
    /// was; none where there is no room.
    pub(super) fn remember(
        &mut self,
        now: Time,
        config: &ServiceConfig,
        client: ClientKey,
    ) -> Option<Option<(ClientKey, Vec<u64>)>> {
        let of_key = self.per_key.get(&client.0).copied().unwrap_or_default();
        let mut forgotten = None;
        if of_key >= config.max_clients_per_key || self.clients.len() >= config.max_clients {
            let oldest = self.away_longest(client.0)?;
            forgotten = Some((oldest, self.forget(oldest)));
        }
        self.clients.insert(client, Client::default());
        *self.per_key.entry(client.0).or_default() += 1;
        self.set_away(client, now.after(config.client_memory));
        Some(forgotten)
    }

    fn away_longest(&self, key: KeyDigest) -> Option<ClientKey> {
        let from = (key, Time::ZERO, ClientId::from_bits(0));
        let (of_key, _, client) = self.away_per_key.range(from..).next()?;
        (*of_key == key).then_some((key, *client))
    }

    /// Forgets a client. Returns the calls of which the results go with it.
    pub(super) fn forget(&mut self, client: ClientKey) -> Vec<u64> {
        self.set_present(client);
        let Some(forgotten) = self.clients.remove(&client) else {
            return Vec::new();
        };
        if let Some(count) = self.per_key.get_mut(&client.0) {
            *count -= 1;
            if *count == 0 {
                self.per_key.remove(&client.0);
            }
        }
        forgotten.results.into_keys().collect()
    }

    /// The client has this session from now on. Returns the one it had.
    pub(super) fn attach(&mut self, client: ClientKey, session: SessionId) -> Option<SessionId> {
        self.set_present(client);
        let presence = &mut self.clients.get_mut(&client)?.presence;
        match core::mem::replace(presence, Presence::Session(session)) {
            Presence::Session(older) => Some(older),
            Presence::Away { .. } => None,
        }
    }

    /// The client has this session no longer.
    pub(super) fn detach(
        &mut self,
        now: Time,
        config: &ServiceConfig,
        client: ClientKey,
        session: SessionId,
    ) {
        let presence = self.clients.get(&client).map(|client| client.presence);
        if matches!(presence, Some(Presence::Session(its)) if its == session) {
            self.set_away(client, now.after(config.client_memory));
        }
    }

    fn set_away(&mut self, client: ClientKey, until: Time) {
        self.set_present(client);
        if let Some(away) = self.clients.get_mut(&client) {
            away.presence = Presence::Away { until };
            self.away.insert((until, client));
            self.away_per_key.insert((client.0, until, client.1));
        }
    }

    /// Takes it from among those that are away.
    fn set_present(&mut self, client: ClientKey) {
        let presence = self.clients.get(&client).map(|client| client.presence);
        if let Some(Presence::Away { until }) = presence {
            self.away.remove(&(until, client));
            self.away_per_key.remove(&(client.0, until, client.1));
        }
    }

    /// The client has said up to where it needs no answers; going back means nothing. Returns the calls of which the results are
    /// forgotten for it.
    pub(super) fn settle(&mut self, client: ClientKey, settled: u64) -> Vec<u64> {
        let Some(client) = self.clients.get_mut(&client) else {
            return Vec::new();
        };
        client.settled = client.settled.max(settled);
        let kept = client.results.split_off(&client.settled.saturating_add(1));
        let forgotten = core::mem::replace(&mut client.results, kept);
        forgotten.into_keys().collect()
    }

    pub(super) fn look_up(&self, client: ClientKey, call: u64) -> Known {
        match self.clients.get(&client) {
            Some(client) if call <= client.settled => Known::Settled,
            Some(client) => match client.results.get(&call) {
                Some(kept) => Known::Result(kept.clone()),
                None => Known::No,
            },
            None => Known::No,
        }
    }

    /// How many results are kept for a client.
    pub(super) fn unsettled(&self, client: ClientKey) -> usize {
        let client = self.clients.get(&client);
        client.map_or(0, |client| client.results.len())
    }

    pub(super) fn settled(&self, client: ClientKey) -> Option<u64> {
        Some(self.clients.get(&client)?.settled)
    }

    pub(super) fn keep(&mut self, client: ClientKey, call: u64, kept: Kept) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.results.insert(call, kept);
        }
    }

    /// What was kept was not stored.
    pub(super) fn take_back(&mut self, client: ClientKey, call: u64) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.results.remove(&call);
        }
    }

    pub(super) fn kept(&self, client: ClientKey, call: u64) -> Option<&Kept> {
        self.clients.get(&client)?.results.get(&call)
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.away.first().map(|&(at, _)| Deadline {
            at,
            timer: "client memory",
        })
    }

    /// A client whose time is over.
    pub(super) fn overdue(&self, now: Time) -> Option<ClientKey> {
        let &(until, client) = self.away.first()?;
        (until <= now).then_some(client)
    }

    // ---- what was stored before ----

    pub(super) fn restore(
        &mut self,
        now: Time,
        config: &ServiceConfig,
        client: ClientKey,
        settled: u64,
        age: Duration,
    ) {
        let restored = Client {
            settled,
            ..Client::default()
        };
        self.clients.insert(client, restored);
        *self.per_key.entry(client.0).or_default() += 1;
        // How long it was there after its record was written is not known.
        let left = config.client_memory.saturating_sub(age);
        let least = AFTER_RESTART.min(config.client_memory);
        self.set_away(client, now.after(left.max(least)));
    }
}
