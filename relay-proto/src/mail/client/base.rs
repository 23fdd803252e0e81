//! The base dialect: the SMTP channel a client has open, if any; one submission at a time.

use super::{
    Client, ConnectionState, Error, Timeout, dialect::Dialect, settlement::Delivery,
    spool::is_written_down, submission::Work,
};
use crate::{
    CloseCode, Deadline, Time,
    mail::wire::{self, ChannelError, Message},
    outbox::Entry,
    smtp::{Conversation, Dialogue, ScriptRun},
};
use alloc::{boxed::Box, string::String};
use core::mem;

/// How many bytes of content go into one frame: small enough that a relay serves others in between.
const CHUNK: usize = 16 << 10;

/// How many bytes may wait for the transport before more content is encoded: enough to keep a fast
/// link busy between two wake-ups, little enough that a stalled one holds no large message in memory twice.
const WINDOW: usize = 128 << 10;

#[derive(Debug)]
pub(super) enum Channel {
    None,
    /// Asked for.
    Opening {
        entry: Entry<Delivery>,
        started: Time,
        until: Time,
    },
    /// The dialogue runs.
    Ready {
        entry: Entry<Delivery>,
        started: Time,
        until: Time,
        conversation: Box<dyn Conversation>,
    },
    /// Over for us; the relay has not said so yet. Frames of it may still come and are ignored, since in
    /// the base dialect nothing tells them from those of the next channel.
    Closing {
        until: Time,
    },
}

impl Channel {
    pub(super) const fn has_delivery(&self) -> bool {
        self.entry().is_some()
    }

    /// What is on the channel.
    pub(super) const fn entry(&self) -> Option<&Entry<Delivery>> {
        match self {
            Self::Opening { entry, .. } | Self::Ready { entry, .. } => Some(entry),
            Self::None | Self::Closing { .. } => None,
        }
    }

    /// Gives the channel up: what was on it, and whether its fate is unknown.
    pub(super) fn abandon(&mut self) -> Option<(Entry<Delivery>, bool)> {
        match mem::replace(self, Self::None) {
            Self::None | Self::Closing { .. } => None,
            Self::Opening { entry, .. } => Some((entry, false)),
            Self::Ready {
                entry,
                conversation,
                ..
            } => Some((entry, conversation.is_past_end_of_data())),
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let (at, timer) = match self {
            Self::None => return None,
            Self::Opening { until, .. } => (*until, "channel"),
            Self::Ready {
                until,
                conversation,
                ..
            } if conversation.is_past_end_of_data() => (*until, "outcome"),
            Self::Ready { until, .. } => (*until, "message"),
            Self::Closing { until } => (*until, "channel close"),
        };
        Some(Deadline { at, timer })
    }
}

impl Client {
    /// Asks for a channel for this submission.
    pub(super) fn open_channel(&mut self, now: Time, mut entry: Entry<Delivery>) {
        self.note_sent(now, &mut entry);
        self.keep(&entry, true);
        self.say(&Message::ChannelOpen);
        self.enter(now, ConnectionState::ChannelOpening);
        let until = now.after(self.config.timeouts.channel);
        self.set_channel(Channel::Opening {
            entry,
            started: now,
            until,
        });
    }

    pub(super) fn channel_ready(&mut self, now: Time) {
        let channel = match self.take_channel() {
            Channel::Opening { entry, started, .. } => {
                self.enter(now, ConnectionState::ChannelReady);
                let host_name = self.config.host_name.clone();
                let conversation: Box<dyn Conversation> = match &entry.item.submission.work {
                    Work::Message { envelope, content } => {
                        let (envelope, content) = (envelope.clone(), content.clone());
                        Box::new(Dialogue::new(host_name, envelope, content))
                    }
                    Work::Script(script) => Box::new(ScriptRun::new(host_name, script.clone())),
                };
                let until = started.after(self.config.timeouts.message);
                Channel::Ready {
                    entry,
                    started,
                    until,
                    conversation,
                }
            }
            other => other,
        };
        self.set_channel(channel);
        self.fill_channel(now);
    }

    pub(super) fn channel_bytes(&mut self, now: Time, bytes: &[u8]) {
        if let Dialect::Base(Channel::Ready { conversation, .. }) = &mut self.dialect {
            conversation.handle_bytes(bytes);
            self.fill_channel(now);
            self.settle_channel(now);
        }
    }

    /// Hands out what the dialogue has to say, as far as the transport keeps up, and nothing before it is written down that
    /// the message may have been sent. From the end of data on it is the server that takes the time.
    pub(super) fn fill_channel(&mut self, now: Time) {
        while self.uplink.unwritten_bytes() < WINDOW
            && let Dialect::Base(Channel::Ready {
                entry,
                conversation,
                until,
                ..
            }) = &mut self.dialect
            && is_written_down(self.spool.as_ref(), entry)
        {
            let was_past = conversation.is_past_end_of_data();
            let Some(bytes) = conversation.poll_output(CHUNK) else {
                return;
            };
            if !was_past && conversation.is_past_end_of_data() {
                *until = now.after(self.config.timeouts.outcome);
            }
            let mut at = 0;
            while at < bytes.len() {
                let chunk = wire::data_chunk(&bytes, at, CHUNK);
                at += chunk.len();
                self.uplink.send(wire::encode(&Message::ToServer(chunk)));
            }
        }
    }

    /// Settles the submission as soon as its dialogue has an outcome.
    fn settle_channel(&mut self, now: Time) {
        let (entry, started, conversation) = match self.take_channel() {
            Channel::Ready {
                entry,
                started,
                conversation,
                ..
            } if conversation.outcome().is_some() => (entry, started, conversation),
            undecided => {
                self.set_channel(undecided);
                return;
            }
        };
        // The server has spoken through the whole path: the link is worth its backoff again.
        self.uplink.start_over();
        self.leave_channel(now, None);
        match conversation.outcome() {
            Some(Ok(completed)) => self.succeed(now, entry, started, completed.clone()),
            Some(Err(error)) => {
                self.enter(now, ConnectionState::ChannelError);
                let in_doubt = conversation.is_past_end_of_data() && error.reply().is_none();
                self.unsuccessful(now, entry, in_doubt, Error::Message(error.clone()));
            }
            None => {}
        }
    }

    /// Says that the channel is over, and waits for the relay to say so too.
    fn leave_channel(&mut self, now: Time, reason: Option<&str>) {
        let reason = reason.map(String::from);
        self.say(&Message::ChannelClosed { reason });
        let until = now.after(self.config.timeouts.channel);
        self.set_channel(Channel::Closing { until });
    }

    /// The relay says that the channel is over.
    pub(super) fn channel_closed(&mut self, now: Time, reason: Option<String>) {
        let Dialect::Base(channel) = &self.dialect else {
            return;
        };
        match channel {
            // Before the channel is ready this can only be about an earlier one.
            Channel::None | Channel::Opening { .. } => {}
            Channel::Closing { .. } => self.channel_over(now),
            Channel::Ready { .. } => {
                let error = reason.unwrap_or_else(|| String::from("the relay closed the channel"));
                self.channel_failed(
                    now,
                    ChannelError {
                        error,
                        code: None,
                        retry_after: None,
                    },
                );
            }
        }
    }

    /// The relay refuses the channel or takes it away.
    pub(super) fn channel_failed(&mut self, now: Time, error: ChannelError) {
        let delivery = match &mut self.dialect {
            Dialect::Base(Channel::None) | Dialect::Durable(_) => return,
            Dialect::Base(channel) => channel.abandon(),
        };
        if let Some((entry, in_doubt)) = delivery {
            self.enter(now, ConnectionState::ChannelError);
            self.unsuccessful(now, entry, in_doubt, Error::Channel(error));
        }
        self.channel_over(now);
    }

    /// It could not be written down that the message may have been sent, so it is not sent now.
    pub(super) fn break_off_channel(&mut self, now: Time) {
        if let Some((entry, _)) = self.take_channel().abandon() {
            self.enter(now, ConnectionState::ChannelError);
            self.leave_channel(now, Some("not now"));
            self.put_back(entry);
        }
    }

    fn channel_over(&mut self, now: Time) {
        self.set_channel(Channel::None);
        self.enter(now, ConnectionState::Authenticated);
    }

    pub(super) fn channel_timeout(&mut self, now: Time) {
        let Dialect::Base(channel) = &mut self.dialect else {
            return;
        };
        if channel.deadline().is_none_or(|deadline| deadline.at > now) {
            return;
        }
        let timeout = match channel {
            Channel::Ready { conversation, .. } if conversation.is_past_end_of_data() => {
                Timeout::Outcome
            }
            Channel::Ready { .. } => Timeout::Message,
            _ => Timeout::Channel,
        };
        match channel.abandon() {
            Some((entry, in_doubt)) => {
                self.enter(now, ConnectionState::ChannelError);
                self.leave_channel(now, Some("timeout"));
                self.unsuccessful(now, entry, in_doubt, Error::Timeout(timeout));
            }
            // A relay that does not even close a channel is not worth keeping.
            None => {
                self.uplink.close(CloseCode::GOING_AWAY, "timeout");
                self.link_lost(now, Error::Timeout(timeout), None);
            }
        }
    }

    fn take_channel(&mut self) -> Channel {
        match &mut self.dialect {
            Dialect::Base(channel) => mem::replace(channel, Channel::None),
            Dialect::Durable(_) => Channel::None,
        }
    }

    fn set_channel(&mut self, to: Channel) {
        if let Dialect::Base(channel) = &mut self.dialect {
            *channel = to;
        }
    }

    fn say(&mut self, message: &Message) {
        self.uplink.send(wire::encode(message));
    }
}
