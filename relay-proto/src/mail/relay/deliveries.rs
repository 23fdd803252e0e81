//! What the ledger has to say before the end of data goes out, and before its reply goes back.

use super::{
    Event, Relay,
    channel::{ChannelId, Message},
    front::{Ending, FrontId},
    timers::Timed,
    transaction::Answer,
    trouble::Trouble,
    upstream::Loss,
};
use crate::{
    LinkId, Time,
    mail::{
        DeliveryId, Outcome,
        ledger::{Known, LedgerEvent, NotBegun},
        wire::ChannelError,
    },
    smtp::{ForwardPath, Reply},
};
use alloc::{format, string::ToString, sync::Arc, vec::Vec};

/// Whose delivery, and which.
pub(super) type DeliveryKey = (Arc<str>, DeliveryId);

/// A delivery whose end of data an upstream has got, or is about to.
pub(super) struct Forwarded {
    key: DeliveryKey,
    rejected: Vec<(ForwardPath, Reply)>,
}

impl Relay {
    fn delivery_key(&self, id: ChannelId) -> Option<DeliveryKey> {
        let channel = self.channels.get(&id)?;
        let message = channel.message.as_ref()?;
        let account = channel.owner.policy.account.as_str().into();
        Some((account, message.delivery))
    }

    /// The delivery is about to be worked on anew: what an earlier channel has of it, mostly one of a session that is lost, is
    /// dropped. It is not past its end of data, or the ledger would know it.
    pub(super) fn supersede(&mut self, now: Time, key: &DeliveryKey) {
        if let Some(earlier) = self.working.remove(key) {
            let why = "the same delivery has been begun anew on another channel";
            let ending = Ending::Failed(ChannelError {
                error: why.into(),
                code: None,
                retry_after: Some(self.retry_after()),
            });
            self.end_channel(now, earlier, why, ending);
        }
    }

    /// All content of the channel's message is there: the intent to forward its end is written down first.
    pub(super) fn begin_delivery(&mut self, now: Time, id: ChannelId) {
        let Some(key) = self.delivery_key(id) else {
            return;
        };
        match self.ledger.begin(now, &key.0, key.1) {
            Ok(()) => {
                self.deliveries.insert(key, id);
            }
            Err(NotBegun::Known) => self.defer_to_known(now, id, &key),
            Err(error @ (NotBegun::Full | NotBegun::Storage(_))) => {
                self.refuse_unwritten(now, id, &error.to_string());
            }
        }
    }

    /// Another channel came first with the same delivery.
    fn defer_to_known(&mut self, now: Time, id: ChannelId, key: &DeliveryKey) {
        let why = "the same delivery has been under way before";
        match self.ledger.look_up(&key.0, key.1) {
            Some(Known::Settled(outcome)) => {
                let ending = Ending::Known(outcome.clone());
                self.end_channel(now, id, why, ending);
            }
            _ => {
                if let Some(channel) = self.channels.get(&id)
                    && let FrontId::Session(session) = channel.owner.front
                    && let Some(front) = self.fronts.sessions.get_mut(&session)
                {
                    front.await_instead(id, key.1);
                    self.waiting.entry(key.clone()).or_default().insert(session);
                    self.output.stirred.insert(session);
                }
                self.close_channel(now, id, why);
            }
        }
    }

    /// The end of data cannot be forwarded, for a reason that is not the upstream's. A reply would end the delivery, and the
    /// ledger does not know that: what is left of an earlier attempt, on a link nobody has heard of for long, could still come and be
    /// delivered beside the client's next one. So the channel ends without one, and the client tries again under the same name.
    fn refuse_for_now(&mut self, now: Time, id: ChannelId, error: &str, why: &str) {
        let Some(channel) = self.channels.get(&id) else {
            return;
        };
        let link = channel.owner.link;
        let ending = Ending::Failed(ChannelError {
            error: error.into(),
            code: Some(451),
            retry_after: Some(self.retry_after()),
        });
        self.end_channel(now, id, why, ending);
        let why = why.into();
        self.output
            .events
            .push_back(Event::ChannelFailed { link, why });
    }

    /// The intent cannot be written down.
    fn refuse_unwritten(&mut self, now: Time, id: ChannelId, why: &str) {
        let error = "the relay cannot write down what it does; try again later";
        let why = format!("a message cannot be written down in the ledger: {why}");
        self.refuse_for_now(now, id, error, &why);
    }

    /// Does what the ledger's news ask for; whether there were any.
    pub(super) fn follow_ledger(&mut self, now: Time) -> bool {
        let mut any = false;
        while let Some(event) = self.ledger.poll_event() {
            any = true;
            match event {
                LedgerEvent::Begun { account, delivery } => {
                    self.delivery_begun(now, &(account, delivery));
                }
                LedgerEvent::NotBegun {
                    account,
                    delivery,
                    error,
                } => {
                    let key = (account, delivery);
                    let channel = self.deliveries.remove(&key);
                    self.tell_to_retry(&key);
                    if let Some(channel) = channel {
                        self.refuse_unwritten(now, channel, &error.to_string());
                    }
                }
                LedgerEvent::Settled { account, delivery } => {
                    self.delivery_settled(now, &(account, delivery));
                }
                LedgerEvent::StorageFailed { error } => {
                    let event = Event::StorageFailed { error };
                    self.output.events.push_back(event);
                }
                LedgerEvent::StorageRecovered => {
                    self.output.events.push_back(Event::StorageRecovered);
                }
                // The mark tells who would have to know.
                LedgerEvent::Forgotten { .. } => {}
            }
        }
        any
    }

    /// The intent is safe: the end of data goes out.
    fn delivery_begun(&mut self, now: Time, key: &DeliveryKey) {
        let found = self.deliveries.get(key).copied();
        let Some((id, channel)) = found.and_then(|id| Some((id, self.channels.get_mut(&id)?)))
        else {
            return self.withdraw(key);
        };
        if channel
            .message
            .as_ref()
            .is_some_and(|message| message.is_forwarded)
        {
            return;
        }
        let upstream = channel
            .upstream
            .and_then(|link| self.pool.upstreams.get_mut(&link));
        let (answer, link) = match upstream {
            Some(upstream) => (
                upstream.end_of_content(&self.config, now, &mut self.output),
                channel.upstream,
            ),
            None => (Answer::Never, None),
        };
        self.touched.extend(link.map(Timed::Link));
        match (answer, link, &mut channel.message) {
            (Answer::Later, Some(link), Some(message)) => {
                message.is_forwarded = true;
                let forwarded = Forwarded {
                    key: key.clone(),
                    rejected: message.rejected.clone(),
                };
                self.forwarded.insert(link, forwarded);
                if let FrontId::Session(session) = channel.owner.front {
                    self.output.stirred.insert(session);
                }
            }
            // It was refused before it was all sent, which ends it like a refusal of the whole.
            (Answer::Now(reply), _, Some(message)) => {
                message.reply = Some(reply.clone());
                let rejected = message.rejected.clone();
                let outcome = Outcome::Answered { reply, rejected };
                self.ledger.settle(now, &key.0, key.1, outcome);
            }
            _ => {
                self.withdraw(key);
                let error = "nothing was delivered: the mail server is gone";
                self.refuse_for_now(now, id, error, "the mail server is gone");
            }
        }
    }

    /// The upstream has answered something. Returns the reply where the channel may have it at once: that to the end of data,
    /// or to what is refused before it was all sent, is written down first.
    pub(super) fn delivery_answered(
        &mut self,
        now: Time,
        link: LinkId,
        reply: Reply,
    ) -> Option<Reply> {
        let Some(Forwarded { key, rejected }) = self.forwarded.remove(&link) else {
            return Some(reply);
        };
        let message = self
            .deliveries
            .get(&key)
            .and_then(|id| self.channels.get_mut(id)?.message.as_mut());
        if let Some(message) = message {
            message.reply = Some(reply.clone());
        }
        let outcome = Outcome::Answered { reply, rejected };
        self.ledger.settle(now, &key.0, key.1, outcome);
        None
    }

    /// An upstream is lost that had a delivery; whether the ledger is to tell the channel of it.
    pub(super) fn delivery_lost(
        &mut self,
        now: Time,
        link: LinkId,
        loss: Loss,
        trouble: &Trouble,
    ) -> bool {
        let Some(Forwarded { key, .. }) = self.forwarded.remove(&link) else {
            return false;
        };
        if loss != Loss::InDoubt {
            self.withdraw(&key);
            return false;
        }
        self.ledger.settle(now, &key.0, key.1, Outcome::InDoubt);
        let id = self.deliveries.get(&key);
        if let Some(channel) = id.and_then(|id| self.channels.get_mut(id)) {
            channel.upstream = None;
            let (link, why) = (channel.owner.link, trouble.detail());
            self.output
                .events
                .push_back(Event::ChannelFailed { link, why });
        }
        true
    }

    /// The outcome is safe: whoever waits for it is told.
    fn delivery_settled(&mut self, now: Time, key: &DeliveryKey) {
        let Some(Known::Settled(outcome)) = self.ledger.look_up(&key.0, key.1) else {
            return;
        };
        let outcome = outcome.clone();
        self.tell_waiting(key, || Ending::Known(outcome.clone()));
        let Some(id) = self.deliveries.remove(key) else {
            return;
        };
        let message = self
            .channels
            .get_mut(&id)
            .and_then(|channel| channel.message.as_mut());
        let answered = message.and_then(|message| {
            message.is_forwarded = false;
            message.reply.take()
        });
        match answered {
            Some(reply) => {
                self.channel_reply(id, reply);
                self.drive(now, id);
            }
            None => self.end_channel(now, id, "in doubt", Ending::Known(outcome)),
        }
    }

    fn tell_waiting(&mut self, key: &DeliveryKey, ending: impl Fn() -> Ending) {
        for session in self.waiting.remove(key).unwrap_or_default() {
            if let Some(front) = self.fronts.sessions.get_mut(&session) {
                front.tell_waiting(key.1, &mut self.output, &ending);
            }
        }
    }

    /// The delivery they wait for was not begun after all: they may try for themselves.
    fn tell_to_retry(&mut self, key: &DeliveryKey) {
        let retry_after = self.retry_after();
        self.tell_waiting(key, || {
            Ending::Failed(ChannelError {
                error: "the earlier attempt ended without a delivery; try again".into(),
                code: Some(451),
                retry_after: Some(retry_after),
            })
        });
    }

    /// The end of data was not forwarded.
    fn withdraw(&mut self, key: &DeliveryKey) {
        self.ledger.withdraw(&key.0, key.1);
        if let Some(channel) = self.deliveries.remove(key)
            && let Some(message) = self
                .channels
                .get_mut(&channel)
                .and_then(|channel| channel.message.as_mut())
        {
            message.is_forwarded = false;
        }
        self.tell_to_retry(key);
    }

    /// The upstream is about to be released: what it was to forward and has not is taken back.
    pub(super) fn delivery_released(&mut self, link: LinkId, is_past_end: bool) {
        if !is_past_end && let Some(Forwarded { key, .. }) = self.forwarded.remove(&link) {
            self.withdraw(&key);
        }
    }

    /// A channel has ended. What its upstream has got goes on without it; what only waited to be written down does not.
    pub(super) fn delivery_left(&mut self, id: ChannelId, account: &str, message: &Message) {
        let key = (Arc::from(account), message.delivery);
        if self.working.get(&key) == Some(&id) {
            self.working.remove(&key);
        }
        if self.deliveries.get(&key) == Some(&id) {
            if message.is_forwarded {
                self.deliveries.remove(&key);
            } else {
                self.withdraw(&key);
            }
        }
    }
}
