//! How submissions fare on the channels of a session.

use super::{
    Client, ConnectionState, Error, Event, Timeout,
    dialect::Dialect,
    durable::{self, Durable, Sending},
    settlement::Delivery,
};
use crate::{
    CloseCode, Frame, LinkId, Time,
    mail::{
        DeliveryId, Outcome,
        wire::{ChannelError, DurableGrant, Violation, Word, decode_word},
    },
    outbox::Entry,
    session::Body,
    smtp::{Completed, DialogueError, Stage},
};
use alloc::{string::String, vec::Vec};

impl Client {
    fn durable(&mut self) -> Option<&mut Durable> {
        match &mut self.dialect {
            Dialect::Durable(durable) => Some(durable),
            Dialect::Base(_) => None,
        }
    }

    /// Opens a channel for this submission, and sends it without waiting for anything.
    pub(super) fn begin_sending(&mut self, now: Time, mut entry: Entry<Delivery>) {
        let timeouts = self.config.timeouts;
        let Some(durable) = self.durable() else {
            return self.put_back(entry);
        };
        let conversation =
            durable::conversation(&entry.item.submission.work, durable.capabilities());
        if let Some(Err(error)) = conversation.outcome() {
            // The relay lacks something it needs; nothing of it is sent.
            let error = Error::Message(error.clone());
            return self.unsuccessful(now, entry, false, error);
        }
        let mark = durable.ledger_mark().clone();
        self.note_sent(now, &mut entry);
        self.keep_marked(&entry, mark);
        let refused = match self.durable() {
            Some(durable) => durable.open(now, entry, conversation, &timeouts),
            None => Some(entry),
        };
        if let Some(entry) = refused {
            self.put_back(entry);
        } else if self.state == ConnectionState::Authenticated {
            self.enter(now, ConnectionState::ChannelOpening);
        }
    }

    /// The relay has granted to go on in the session there is.
    pub(super) fn resume(
        &mut self,
        now: Time,
        link: LinkId,
        grant: DurableGrant,
    ) -> Result<(), Violation> {
        let timeouts = self.config.timeouts;
        let Some(durable) = self.durable() else {
            return Ok(());
        };
        durable.resumed(now, link, grant, &timeouts)?;
        let under_way = durable.count();
        self.events.push_back(Event::SessionResumed { under_way });
        Ok(())
    }

    /// The relay has granted the session in which something went ahead.
    pub(super) fn go_on_granted(
        &mut self,
        now: Time,
        grant: DurableGrant,
    ) -> Result<(), Violation> {
        let timeouts = self.config.timeouts;
        let mark = grant.ledger_mark.clone();
        if let Some(durable) = self.durable() {
            durable.granted_now(now, grant, &timeouts)?;
        }
        if let (Dialect::Durable(durable), Some(spool)) = (&self.dialect, &mut self.spool) {
            for entry in durable.entries() {
                spool.note_mark(entry, mark.clone());
            }
        }
        Ok(())
    }

    /// The states a session that goes on passes through on a new link.
    pub(super) fn enter_channels(&mut self, now: Time) {
        let Some(durable) = self.durable() else {
            return;
        };
        let (any, any_ready) = (durable.has_sendings(), durable.any_ready());
        if any {
            self.enter(now, ConnectionState::ChannelOpening);
        }
        if any_ready {
            self.enter(now, ConnectionState::ChannelReady);
        }
    }

    /// The session is gone. What was under way goes back to the front of the queue under its name: the next session's relay
    /// is asked what became of it.
    pub(super) fn give_up_session(&mut self, reason: Option<String>) {
        if !matches!(self.dialect, Dialect::Durable(_)) {
            return;
        }
        let entries = self.dialect.abandon();
        if !entries.is_empty() {
            let under_way = entries.len();
            self.events
                .push_back(Event::SessionGone { reason, under_way });
        }
        for (entry, _) in entries.into_iter().rev() {
            self.put_back(entry);
        }
    }

    /// Gives up a session that gets nowhere, whatever link it is on. Each of its submissions has made a try, and they go on one
    /// at a time until one gets through, so that one at which links break neither holds up nor takes along the others.
    pub(super) fn break_up_session(&mut self, now: Time, error: &Error) {
        let entries = self.dialect.abandon();
        self.events.push_back(Event::SessionGone {
            reason: Some(String::from("nothing got through on several links")),
            under_way: entries.len(),
        });
        self.abreast = 1;
        for (entry, _) in entries {
            self.send_last(now, entry, error.clone());
        }
    }

    pub(super) fn handle_session_frame(
        &mut self,
        now: Time,
        frame: &Frame,
    ) -> Result<(), Violation> {
        let Some(durable) = self.durable() else {
            return Ok(());
        };
        let Some(body) = durable.receive(frame)? else {
            return Ok(());
        };
        // Something new has come through: the link is worth its backoff again.
        self.uplink.start_over();
        let timeouts = self.config.timeouts;
        match body {
            Body::Control(payload) => match decode_word(&payload)? {
                Some(word) => self.handle_word(now, word),
                None => Ok(()),
            },
            Body::Data { channel, payload } => {
                let Some(durable) = self.durable() else {
                    return Ok(());
                };
                let is_settled = durable.handle_bytes(now, channel, &payload, &timeouts)?;
                self.channel_works(now);
                if is_settled {
                    self.settle_sending(now, channel);
                }
                Ok(())
            }
        }
    }

    fn handle_word(&mut self, now: Time, word: Word) -> Result<(), Violation> {
        let timeouts = self.config.timeouts;
        let Some(durable) = self.durable() else {
            return Ok(());
        };
        match word {
            // Only a client says so.
            Word::Open { .. } => {}
            Word::Ready { channel } => {
                if let Some(sending) = durable.sending(channel) {
                    sending.is_ready = true;
                    self.channel_works(now);
                }
            }
            Word::Credit { channel, bytes } => {
                durable.handle_credit(now, channel, bytes, &timeouts)?;
            }
            Word::Draining { spread, .. } => durable.drain(spread),
            Word::Closed {
                channel,
                reason,
                outcome,
            } => {
                if let Some(sending) = durable.closed(channel) {
                    self.sending_closed(now, sending, reason, outcome);
                    self.leave_channel_states(now);
                }
            }
            Word::Error { channel, error } => {
                if let Some(sending) = durable.closed(channel) {
                    // What the relay has not begun to work on it has not sent; and it makes up no code for what it has.
                    let entry = if sending.is_ready && error.code.is_none() {
                        sending.into_entry()
                    } else {
                        sending.entry
                    };
                    self.unsuccessful(now, entry, false, Error::Channel(error));
                    self.leave_channel_states(now);
                }
            }
        }
        Ok(())
    }

    /// The relay has ended a channel, with an outcome or without.
    fn sending_closed(
        &mut self,
        now: Time,
        sending: Sending,
        reason: Option<String>,
        outcome: Option<Outcome>,
    ) {
        match outcome {
            Some(Outcome::Answered { reply, rejected }) => {
                let Sending {
                    mut entry, started, ..
                } = sending;
                entry.item.conclude();
                if reply.code().class() == 2 {
                    let all = entry.item.submission.envelope();
                    let all = all.map_or(&[][..], |envelope| envelope.forward_paths());
                    let is_rejected = |path| rejected.iter().any(|(rejected, _)| rejected == path);
                    let accepted: Vec<_> = all
                        .iter()
                        .filter(|path| !is_rejected(*path))
                        .cloned()
                        .collect();
                    let completed = Completed {
                        reply,
                        accepted,
                        rejected,
                        transcript: Vec::new(),
                    };
                    return self.succeed(now, entry, started, completed);
                }
                let error = DialogueError::Refused {
                    stage: Stage::EndOfData,
                    reply,
                    rejected,
                };
                self.unsuccessful(now, entry, false, Error::Message(error));
            }
            Some(Outcome::InDoubt) => self.in_doubt(sending.entry, Error::NotKnown),
            None => {
                let error = reason.unwrap_or_else(|| String::from("the relay closed the channel"));
                let error = Error::Channel(unspecific(error));
                self.unsuccessful(now, sending.into_entry(), false, error);
            }
        }
    }

    /// The conversation on a channel has come to its outcome.
    fn settle_sending(&mut self, now: Time, channel: u64) {
        let Some(sending) = self
            .durable()
            .and_then(|durable| durable.close(channel, None))
        else {
            return;
        };
        self.abreast = self.config.max_channels.max(1);
        match sending.conversation.outcome().cloned() {
            Some(Ok(completed)) => {
                let Sending {
                    mut entry, started, ..
                } = sending;
                entry.item.conclude();
                if let Some(durable) = self.durable() {
                    durable.accepted(now.since(started));
                }
                self.succeed(now, entry, started, completed);
            }
            Some(Err(error)) => {
                let mut entry = if error.reply().is_some() {
                    sending.entry
                } else {
                    sending.into_entry()
                };
                // Only the end of data is answered for ever. Before it the relay forgets the attempt; one of an earlier session
                // may still be on its way, and has to be known as the same delivery.
                if let DialogueError::Refused { stage, .. } = &error
                    && *stage == Stage::EndOfData
                {
                    entry.item.conclude();
                }
                self.unsuccessful(now, entry, false, Error::Message(error));
            }
            None => {}
        }
        self.leave_channel_states(now);
    }

    /// It could not be written down that a submission may have been sent, so it is not sent now.
    pub(super) fn break_off_sending(&mut self, now: Time, delivery: DeliveryId) {
        let sending = self.durable().and_then(|durable| {
            let channel = durable.channel_of(delivery)?;
            durable.close(channel, Some("not now"))
        });
        if let Some(sending) = sending {
            self.put_back(sending.into_entry());
            self.leave_channel_states(now);
        }
    }

    /// Ends the channels whose time is over. What may have been delivered is asked for on another one.
    pub(super) fn sendings_timeout(&mut self, now: Time) {
        while let Some(channel) = self.durable().and_then(|durable| durable.overdue(now)) {
            let Some(sending) = self
                .durable()
                .and_then(|durable| durable.close(channel, Some("timeout")))
            else {
                return;
            };
            let timeout = if sending.conversation.is_past_end_of_data() {
                Timeout::Outcome
            } else {
                Timeout::Message
            };
            let entry = sending.into_entry();
            self.unsuccessful(now, entry, false, Error::Timeout(timeout));
            self.leave_channel_states(now);
        }
        if let Some(durable) = self.durable() {
            durable.beat(now);
        }
    }

    fn channel_works(&mut self, now: Time) {
        if self.state == ConnectionState::ChannelOpening
            && self.durable().is_some_and(|durable| durable.any_ready())
        {
            self.enter(now, ConnectionState::ChannelReady);
        }
    }

    /// Where no channel is left.
    fn leave_channel_states(&mut self, now: Time) {
        if self.dialect.has_deliveries() || !self.state.is_authenticated() {
            return;
        }
        if self.state == ConnectionState::ChannelOpening {
            self.enter(now, ConnectionState::ChannelError);
        }
        self.enter(now, ConnectionState::Authenticated);
    }

    /// Leaves a relay that wants to be left as soon as nothing is under way there, and comes back when it says.
    pub(super) fn leave_drained(&mut self, now: Time) {
        let Dialect::Durable(durable) = &self.dialect else {
            return;
        };
        let Some(spread) = durable
            .dismissed()
            .filter(|_| self.state.is_authenticated())
        else {
            return;
        };
        self.hang_up(now, CloseCode::NORMAL, "draining");
        self.dialect = Dialect::default();
        if !self.outbox.is_ready() && self.config.idle.is_some() {
            return self.enter(now, ConnectionState::Disconnected);
        }
        let wait = self.random.up_to(spread);
        let error = String::from("the relay is shutting down");
        self.seek_again(now, Some(wait), || Error::Channel(unspecific(error)));
    }
}

pub(super) const fn unspecific(error: String) -> ChannelError {
    ChannelError {
        error,
        code: None,
        retry_after: None,
    }
}
