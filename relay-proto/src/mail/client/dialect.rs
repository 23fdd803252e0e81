//! Which of the two dialects a client speaks, with what is under way in it.

use super::{
    Client, Error, ahead::Terms, base::Channel, durable::Durable, sending::unspecific,
    settlement::Delivery, spool::is_written_down,
};
use crate::{
    CloseCode, Deadline, Frame, LinkId, Time,
    mail::{
        DeliveryId,
        wire::{self, DurableGrant, DurableRequest},
    },
    outbox::Entry,
};
use alloc::{boxed::Box, vec::Vec};

/// Decided by the relay's answer to the API key on each link. Until a relay grants the durable dialect it is the base one.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a client has only one")]
pub(super) enum Dialect {
    /// One channel at a time, which ends with the link.
    Base(Channel),
    /// A session with many channels. It outlives its links, and is here for as long as it is wanted.
    Durable(Box<Durable>),
}

impl Default for Dialect {
    fn default() -> Self {
        Self::Base(Channel::None)
    }
}

impl Dialect {
    /// Whether submissions are out of the queue and not settled.
    pub(super) fn has_deliveries(&self) -> bool {
        match self {
            Self::Base(channel) => channel.has_delivery(),
            Self::Durable(durable) => durable.has_sendings(),
        }
    }

    /// Whether nothing is under way and no end of anything is awaited.
    pub(super) fn is_at_rest(&self) -> bool {
        match self {
            Self::Base(channel) => matches!(channel, Channel::None),
            Self::Durable(durable) => !durable.has_sendings(),
        }
    }

    /// Whether another submission may be sent now, where the relay knows us and so many may be under way.
    pub(super) fn has_vacancy(&self, abreast: usize) -> bool {
        match self {
            Self::Base(channel) => matches!(channel, Channel::None),
            Self::Durable(durable) => durable.has_vacancy(abreast),
        }
    }

    /// Whether something may be said that the relay has not granted yet.
    pub(super) fn is_ahead(&self) -> bool {
        match self {
            Self::Base(_) => false,
            Self::Durable(durable) => durable.is_ahead(),
        }
    }

    /// The bytes of frames the relay has not acknowledged.
    pub(super) fn unacknowledged_bytes(&self) -> usize {
        match self {
            Self::Base(_) => 0,
            Self::Durable(durable) => durable.unacknowledged_bytes(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Base(channel) => channel.deadline(),
            Self::Durable(durable) => durable.deadline(),
        }
    }

    /// Ends all that is under way: what it is about, in the order of its sending, and whether it may have been delivered.
    pub(super) fn abandon(&mut self) -> Vec<(Entry<Delivery>, bool)> {
        match core::mem::take(self) {
            Self::Base(mut channel) => channel.abandon().into_iter().collect(),
            Self::Durable(durable) => durable
                .into_sendings()
                .map(|sending| {
                    let entry = sending.into_entry();
                    let may_be_delivered = entry.item.sent_under.is_some();
                    (entry, may_be_delivered)
                })
                .collect(),
        }
    }
}

impl Client {
    /// How to ask for the durable dialect, where it is wanted: to go on in the session there is, if it has not expired
    /// unused, or in a new one.
    pub(super) fn durable_request(&mut self, now: Time) -> Option<DurableRequest> {
        if let Dialect::Durable(durable) = &mut self.dialect {
            match durable.request(now) {
                Some(resume) => return Some(resume),
                None => self.dialect = Dialect::default(),
            }
        }
        self.config.durable.then_some(DurableRequest::New)
    }

    /// The relay has answered in which dialect to go on on this link.
    ///
    /// # Errors
    ///
    /// Where the grant cannot be true.
    pub(super) fn choose_dialect(
        &mut self,
        now: Time,
        grant: Option<DurableGrant>,
    ) -> Result<(), wire::Violation> {
        let Some(grant) = grant.filter(|_| self.config.durable) else {
            self.choose_base(now);
            return Ok(());
        };
        let Some(link) = self.uplink.link() else {
            return Ok(());
        };
        let promised = self.remember(None);
        let terms = Terms::of(now, self.limits, &grant);
        self.choose_durable(now, link, grant, &terms, promised)?;
        self.remember(Some(terms));
        Ok(())
    }

    /// The relay grants the durable dialect on this link. `promised`: what was taken for granted.
    fn choose_durable(
        &mut self,
        now: Time,
        link: LinkId,
        grant: DurableGrant,
        terms: &Terms,
        promised: Option<Terms>,
    ) -> Result<(), wire::Violation> {
        if let Dialect::Durable(durable) = &mut self.dialect {
            if durable.id().is_none() {
                if !promised.is_some_and(|promised| promised.are_kept_by(terms)) {
                    self.give_up_session(Some("the relay's terms have changed".into()));
                    self.dial_again(now, "the relay's terms have changed");
                    return Ok(());
                }
                return self.go_on_granted(now, grant);
            }
            if durable.id() == Some(grant.session) && grant.gone.is_none() {
                return self.resume(now, link, grant);
            }
            // A relay that says so passes over what went ahead.
            self.give_up_session(grant.gone.clone());
        }
        let durable = Durable::granted(now, link, terms, grant, &self.config)?;
        self.dialect = Dialect::Durable(Box::new(durable));
        Ok(())
    }

    /// The relay speaks the base dialect on this link.
    fn choose_base(&mut self, now: Time) {
        self.remember(None);
        let Dialect::Durable(durable) = &self.dialect else {
            return;
        };
        let (is_new, went_ahead) = (durable.id().is_none(), durable.went_ahead());
        let why = "the relay has no sessions any more";
        if is_new {
            // What is no text means nothing in the base dialect.
            self.take_back_ahead(true);
        } else {
            self.give_up_session(Some(why.into()));
        }
        if went_ahead {
            self.dial_again(now, why);
        }
    }

    /// Leaves a link on which something went ahead that the relay cannot make sense of, for a new one.
    fn dial_again(&mut self, now: Time, why: &str) {
        self.uplink.close(CloseCode::NORMAL, why);
        self.link_lost(now, Error::Channel(unspecific(why.into())), None);
    }

    /// What the relay says in the dialect of this link.
    pub(super) fn handle_dialect_frame(&mut self, now: Time, frame: Frame) {
        let result = match &self.dialect {
            Dialect::Base(_) => match wire::decode(&frame) {
                Ok(Some(message)) => {
                    self.handle_message(now, message);
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(violation) => Err(violation),
            },
            Dialect::Durable(_) => self.handle_session_frame(now, &frame),
        };
        if let Err(violation) = result {
            self.break_with_relay(now, violation);
        }
    }

    /// Leaves a relay that breaks the protocol; a session with it is over, since the two will never agree again.
    pub(super) fn break_with_relay(&mut self, now: Time, violation: wire::Violation) {
        self.give_up_session(Some(violation.reason.clone()));
        self.uplink.close(violation.code, &violation.reason);
        self.link_lost(now, Error::Protocol(violation), None);
    }

    /// Begins to send a submission.
    pub(super) fn begin(&mut self, now: Time, entry: Entry<Delivery>) {
        match &self.dialect {
            Dialect::Base(_) => self.open_channel(now, entry),
            Dialect::Durable(_) => self.begin_sending(now, entry),
        }
    }

    /// Hands out what there is to say, as far as the transport keeps up.
    pub(super) fn flush(&mut self, now: Time) {
        match &mut self.dialect {
            Dialect::Base(_) => self.fill_channel(now),
            Dialect::Durable(durable) => durable.flush(
                now,
                &mut self.uplink,
                |entry| is_written_down(self.spool.as_ref(), entry),
                &self.config.timeouts,
            ),
        }
    }

    /// The same with what could wait for more.
    pub(super) fn flush_all(&mut self, now: Time) {
        if let Dialect::Durable(durable) = &mut self.dialect {
            durable.hurry();
        }
        self.flush(now);
    }

    pub(super) fn dialect_timeout(&mut self, now: Time) {
        match &self.dialect {
            Dialect::Base(_) => self.channel_timeout(now),
            Dialect::Durable(_) => self.sendings_timeout(now),
        }
    }

    /// It could not be written down that a submission may have been sent, so it is not sent now.
    pub(super) fn break_off(&mut self, now: Time, delivery: DeliveryId) {
        match &self.dialect {
            Dialect::Base(channel) => {
                if channel
                    .entry()
                    .is_some_and(|entry| entry.item.id == delivery)
                {
                    self.break_off_channel(now);
                }
            }
            Dialect::Durable(_) => self.break_off_sending(now, delivery),
        }
    }
}
