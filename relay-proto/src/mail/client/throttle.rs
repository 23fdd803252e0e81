//! How fast submissions go, and whose word makes them slower.

use super::{Client, Error, Event, settlement::Delivery};
use crate::{Time, mail::wire::ChannelError, outbox::Entry, pacing::Rate};

/// The reply code a relay refuses a channel with for the key's rate: 450, "temporarily blocked for policy reasons" (RFC 5321,
/// section 4.2.3).
const OVER_RATE: u16 = 450;

/// How many waits for a server that asks for less are no tries of the messages that wait: with the sixth it has taken nothing for
/// half a minute at least, and that is then a failure like others.
const PATIENCE: u32 = 6;

impl Error {
    /// Whether the relay or the server asks to be sent less. It is about whatever is sent, not about this submission: for a time all
    /// wait, and then they go more slowly.
    ///
    /// That is so where the relay refuses a channel with code 450 and names a time to come back, which means the key's rate; and for
    /// [some of the server's replies](crate::smtp::DialogueError::asks_to_slow_down). A channel refused with 421 is not among
    /// them: the relay or its server is away, restarting, or full at the moment, and only this submission has to wait.
    pub fn asks_to_slow_down(&self) -> bool {
        match self {
            Self::Channel(error) => is_over_rate(error),
            Self::Message(error) => error.asks_to_slow_down(),
            _ => false,
        }
    }
}

fn is_over_rate(error: &ChannelError) -> bool {
    error.code == Some(OVER_RATE) && error.retry_after.is_some()
}

impl Client {
    /// Sets another limit for how many submissions are sent, or none, from now on; see
    /// [`ClientConfig::rate`](super::ClientConfig::rate).
    pub fn set_rate(&mut self, now: Time, limit: Option<Rate>) {
        self.pacer.set_limit(now, limit);
        self.proceed(now);
    }

    /// The submission goes out now.
    pub(super) fn note_sent(&mut self, now: Time, entry: &mut Entry<Delivery>) {
        self.pacer.sent(now);
        entry.item.sent_at = now;
    }

    /// It was answered, and not by a word about how much there is.
    pub(super) fn note_taken(&mut self, now: Time, entry: &Entry<Delivery>) {
        if self.pacer.accepted(now, entry.item.sent_at) {
            let limit = self.pacer.pace().limit;
            self.events.push_back(Event::RateRecovered { limit });
        }
    }

    /// It was refused since there is too much. Whether it may wait for its turn again without that being a try of its own.
    pub(super) fn throttle(&mut self, now: Time, entry: &Entry<Delivery>, error: &Error) -> bool {
        self.counts.throttled += 1;
        let is_news = self
            .pacer
            .throttled(now, entry.item.sent_at, error.retry_after());
        let pace = self.pacer.pace();
        if is_news && let (Some(rate), Some(until)) = (pace.rate, pace.backoff_until) {
            let error = error.clone();
            self.events
                .push_back(Event::Throttled { rate, until, error });
        }
        // A relay that says when to come back means it.
        matches!(error, Error::Channel(_)) || pace.refusals < PATIENCE
    }
}
