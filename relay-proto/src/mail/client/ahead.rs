//! What goes out behind the API key, before the relay has answered it, so that a message on a new link costs one round trip.
//!
//! Only to a relay that has granted the durable dialect before: what it granted then is taken for granted until it answers. The
//! relay may act on what goes ahead although its answer never comes, so every message says later under which mark of the relay's
//! ledger it was sent, as always, and that is the mark of the earlier grant: nothing goes ahead without one. Where the outbox is
//! on disk that grant is there, too, so that it need not have been this process it was given to.

use super::{Client, ClientConfig, Error, dialect::Dialect, durable::Durable};
use crate::{
    LinkId, Time,
    mail::wire::{DurableGrant, DurableRequest, Limits, Violation},
    smtp::Capabilities,
};
use alloc::{boxed::Box, string::String};
use core::time::Duration;

/// What a relay takes before it has decided on the key, in bytes and in frames.
const MOST: Allowance = Allowance {
    bytes: 64 << 10,
    frames: 64,
};

/// No frame of a session is longer: a chunk with its command, or a word.
const LONGEST_FRAME: usize = 18 << 10;

/// How long a grant is taken for a promise: a ledger does not forget within a day what it then has to be asked for.
pub(super) const PROMISE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a relay has granted last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Until then they are taken for a promise.
    pub(super) until: Time,
    pub(super) limits: Limits,
    pub(super) max_channels: u64,
    pub(super) window: u64,
    pub(super) ledger_mark: String,
    pub(super) capabilities: Capabilities,
}

impl Terms {
    pub(super) fn of(now: Time, limits: Limits, grant: &DurableGrant) -> Self {
        Self {
            until: now.after(PROMISE),
            limits,
            max_channels: grant.max_channels,
            window: grant.window,
            ledger_mark: grant.ledger_mark.clone(),
            capabilities: grant.capabilities.clone(),
        }
    }

    /// Whether what went ahead under these is as if it had been granted.
    pub(super) const fn are_kept_by(&self, granted: &Self) -> bool {
        self.window == granted.window && self.max_channels <= granted.max_channels
    }
}

/// How much may still go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    bytes: usize,
    frames: usize,
}

impl Allowance {
    pub(super) const fn takes_a_frame(self) -> bool {
        self.bytes >= LONGEST_FRAME && self.frames > 0
    }

    pub(super) const fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.frames = self.frames.saturating_sub(1);
    }

    /// Whether anything went ahead.
    pub(super) fn is_touched(self) -> bool {
        self != MOST
    }
}

impl Durable {
    /// A session that is asked for and not granted yet, on this link.
    pub(super) fn ahead(
        now: Time,
        link: LinkId,
        terms: &Terms,
        config: &ClientConfig,
    ) -> Result<Self, Violation> {
        let mut durable = Self::new(now, link, terms, config)?;
        durable.ahead = Some(MOST);
        Ok(durable)
    }

    /// Goes on in this session on a link on which that is not granted yet: not with the first frames of all, which could be
    /// mistaken for those of another session.
    fn resume_ahead(&mut self, link: LinkId) {
        let next = self.session.resend_from();
        if next > 1 && self.session.attach(link, next).is_ok() {
            self.ahead = Some(MOST);
        }
    }

    /// Whether the relay's answer on the present link is not there, and something may be said all the same.
    pub(super) const fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Whether something was said on the present link that the relay has not granted yet.
    pub(super) fn went_ahead(&self) -> bool {
        self.ahead.is_some_and(Allowance::is_touched)
    }
}

impl Client {
    /// Takes this for what the relay will grant next; none: nothing is known. What it was before.
    pub(super) fn remember(&mut self, terms: Option<Terms>) -> Option<Terms> {
        if let Some(spool) = &mut self.spool {
            spool.remember(terms.is_some());
        }
        core::mem::replace(&mut self.promised, terms)
    }

    /// Begins to speak in the session that was asked for just now, where the relay may be trusted to grant it.
    pub(super) fn go_ahead(&mut self, now: Time, request: Option<DurableRequest>) {
        let Some(link) = self.uplink.link() else {
            return;
        };
        let Some(terms) = self.promised.as_ref().filter(|terms| now < terms.until) else {
            return;
        };
        self.limits = terms.limits;
        match (request, &mut self.dialect) {
            (Some(DurableRequest::New), _) => {
                if let Ok(durable) = Durable::ahead(now, link, terms, &self.config) {
                    self.dialect = Dialect::Durable(Box::new(durable));
                }
            }
            (Some(DurableRequest::Resume { .. }), Dialect::Durable(durable)) => {
                durable.resume_ahead(link);
            }
            _ => {}
        }
    }

    /// The link has ended before the relay has said whether it grants the session. `error`: why. Nothing goes ahead on the
    /// next one, so that whatever is wrong with that costs one link.
    pub(super) fn fall_behind(&mut self, now: Time, error: &Error) {
        let Dialect::Durable(durable) = &mut self.dialect else {
            return;
        };
        if !durable.is_ahead() {
            return;
        }
        if durable.id().is_some() {
            durable.leave(now);
            self.remember(None);
            return;
        }
        self.remember(None);
        // A relay that refuses the key has thrown away what came behind it. Any other may have acted on it.
        let is_refused = matches!(error, Error::Authentication(_));
        self.take_back_ahead(is_refused);
    }

    /// What went ahead goes back to the front of the queue. `is_unsent`: it is known to have gone nowhere.
    pub(super) fn take_back_ahead(&mut self, is_unsent: bool) {
        let Dialect::Durable(durable) = core::mem::take(&mut self.dialect) else {
            return;
        };
        for sending in durable.into_sendings().rev() {
            self.put_back(if is_unsent {
                sending.entry
            } else {
                sending.into_entry()
            });
        }
    }
}
