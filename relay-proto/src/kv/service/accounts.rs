//! What accounts take up of the service, and what is too much. An account is a key.

use super::{
    account::{KeyDigest, Policy},
    config::ServiceConfig,
    front::FrontId,
};
use crate::{
    Time,
    admission::allowance,
    kv::wire::{Code, Failure},
    pacing::TokenBucket,
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

/// When it makes sense to come back where something is used up by others.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Accounts {
    accounts: BTreeMap<KeyDigest, Account>,
    links: usize,
    held: usize,
    /// Those with a client that waits for its turn. They take turns, so that none waits for another's many calls.
    line: VecDeque<KeyDigest>,
}

#[derive(Debug)]
pub(super) struct Account {
    pub(super) policy: Arc<Policy>,
    pub(super) name: Arc<str>,
    pub(super) space: Arc<str>,
    bucket: Option<TokenBucket>,
    links: usize,
    held: usize,
    /// Its clients that wait for their turn.
    line: VecDeque<FrontId>,
}

impl Account {
    fn new(now: Time, policy: Policy) -> Self {
        Self {
            name: policy.name.as_str().into(),
            space: policy.store.as_str().into(),
            bucket: policy.rate.map(|rate| TokenBucket::new(now, rate)),
            policy: Arc::new(policy),
            links: 0,
            held: 0,
            line: VecDeque::new(),
        }
    }
}

impl Accounts {
    /// There are these accounts from now on. What those that stay have taken up stays taken up.
    pub(super) fn set(&mut self, now: Time, accounts: Vec<(KeyDigest, Policy)>) {
        let mut before = core::mem::take(&mut self.accounts);
        for (key, policy) in accounts {
            let rate = policy.rate;
            let mut account = Account::new(now, policy);
            if let Some(known) = before.remove(&key) {
                (account.links, account.held) = (known.links, known.held);
                account.line = known.line;
                if let (Some(mut bucket), Some(rate)) = (known.bucket, rate) {
                    bucket.set_rate(now, rate);
                    account.bucket = Some(bucket);
                }
            }
            self.accounts.insert(key, account);
        }
    }

    pub(super) fn get(&self, key: KeyDigest) -> Option<&Account> {
        self.accounts.get(&key)
    }

    /// Why the account gets no further link, where it gets none.
    pub(super) fn refuses_link(
        &self,
        config: &ServiceConfig,
        key: KeyDigest,
    ) -> Option<&'static str> {
        let account = self.accounts.get(&key)?;
        let free = config.max_links.saturating_sub(self.links);
        let most = account.policy.max_links;
        if most.is_some_and(|most| account.links >= most) {
            Some("this API key has as many links as it may")
        } else if free == 0 {
            Some("too many links")
        } else if allowance(account.links, free) == 0 {
            Some("this API key has as many links as it may while others need some")
        } else {
            None
        }
    }

    pub(super) fn link_begins(&mut self, key: KeyDigest) {
        self.links += 1;
        if let Some(account) = self.accounts.get_mut(&key) {
            account.links += 1;
        }
    }

    pub(super) fn link_ends(&mut self, key: KeyDigest) {
        self.links -= 1;
        if let Some(account) = self.accounts.get_mut(&key) {
            account.links = account.links.saturating_sub(1);
        }
    }

    /// Lets a call in, or says why not.
    pub(super) fn admit(
        &mut self,
        now: Time,
        config: &ServiceConfig,
        key: KeyDigest,
    ) -> Result<(), Failure> {
        let too_many = |error: &str, retry_after| Failure {
            retry_after: Some(retry_after),
            ..Failure::new(Code::TOO_MANY_REQUESTS, error)
        };
        let free = config.max_held_bytes.saturating_sub(self.held);
        let Some(account) = self.accounts.get_mut(&key) else {
            return Ok(());
        };
        if allowance(account.held, free) == 0 {
            let error = "too many bytes of this API key are under way";
            return Err(too_many(error, RETRY));
        }
        if let Some(bucket) = &mut account.bucket
            && let Err(next) = bucket.take(now)
        {
            // A millisecond is the least that can be said.
            let wait = next.since(now).max(Duration::from_millis(1));
            return Err(too_many("too many requests", wait));
        }
        Ok(())
    }

    /// A client of the account holds so many bytes from now on.
    pub(super) fn hold(&mut self, key: KeyDigest, charged: &mut usize, bytes: usize) {
        let before = core::mem::replace(charged, bytes);
        self.held = self.held - before + bytes;
        if let Some(account) = self.accounts.get_mut(&key) {
            account.held = (account.held + bytes).saturating_sub(before);
        }
    }

    /// The client waits for its turn.
    pub(super) fn wait(&mut self, key: KeyDigest, front: FrontId) {
        if let Some(account) = self.accounts.get_mut(&key) {
            if account.line.is_empty() {
                self.line.push_back(key);
            }
            account.line.push_back(front);
        }
    }

    /// The client whose turn it is.
    pub(super) fn next(&mut self) -> Option<FrontId> {
        while let Some(key) = self.line.pop_front() {
            let Some(account) = self.accounts.get_mut(&key) else {
                continue;
            };
            let front = account.line.pop_front();
            if !account.line.is_empty() {
                self.line.push_back(key);
            }
            if front.is_some() {
                return front;
            }
        }
        None
    }

    /// How many links there are.
    pub(super) const fn links(&self) -> usize {
        self.links
    }
}
