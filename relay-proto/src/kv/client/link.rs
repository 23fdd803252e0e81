//! The life of the client's link: opening, loss, another attempt.

use super::{
    CallError, Client, ConnectionState, Event,
    dialect::{Dialect, Peer, refuses_the_question},
};
use crate::{
    CloseCode, Closure, OpenError, Time,
    link::{Change, LinkError},
};
use core::time::Duration;

impl Client {
    pub(super) fn apply(&mut self, now: Time, change: Change) {
        match change {
            Change::Opening => self.enter(now, ConnectionState::Connecting),
            Change::Opened => self.introduce(now),
            Change::Frame(frame) => self.handle_frame(now, frame),
            // What has room now is sent by whoever called.
            Change::Written => {}
            Change::Lost(error) => self.lose(now, error),
        }
    }

    /// Leaves the link, or the attempt or the wait for one.
    pub(super) fn hang_up(&mut self, now: Time, code: CloseCode, reason: &str) {
        self.idle_until = None;
        if self.uplink.link().is_some() {
            self.events.push_back(Event::Disconnected { error: None });
        }
        if let Some(session) = &mut self.session {
            session.hurry();
            session.flush(now, &mut self.uplink);
            session.leave(now);
        }
        self.dialect = Dialect::None;
        self.uplink.close(code, reason);
        self.uplink.start_over();
        self.enter(now, ConnectionState::Disconnected);
    }

    /// Sorts a lost link: some statuses are the service's way to refuse the credential, and some closures its way not to know the
    /// durable dialect.
    fn lose(&mut self, now: Time, error: LinkError) {
        let mut hint = None;
        let error = match error {
            LinkError::Open(OpenError::Refused {
                status: status @ (401 | 403),
                ..
            }) => CallError::Credential { status },
            error => {
                if let LinkError::Open(OpenError::Refused { retry_after, .. }) = &error {
                    hint = *retry_after;
                }
                if let LinkError::Closed(Closure::Peer {
                    code: Some(code), ..
                }) = &error
                    && matches!(self.dialect, Dialect::Introducing { .. })
                    && self.peer == Peer::Unknown
                    && refuses_the_question(*code)
                {
                    self.peer = Peer::Plain;
                }
                CallError::Connection(error)
            }
        };
        self.link_lost(now, error, hint);
    }

    /// The link is gone: what was sent is in doubt or goes back, unless a session keeps it, and the next attempt is scheduled where
    /// there is a reason for one.
    pub(super) fn link_lost(&mut self, now: Time, error: CallError, hint: Option<Duration>) {
        self.idle_until = None;
        self.events.push_back(Event::Disconnected {
            error: Some(error.clone()),
        });
        match core::mem::replace(&mut self.dialect, Dialect::None) {
            Dialect::Plain { .. } => self.ask_reads_again(&error),
            Dialect::Durable => {
                let session = self.session.as_mut();
                if session.is_some_and(|session| session.link_lost(now)) {
                    self.session = None;
                }
            }
            Dialect::None | Dialect::Introducing { .. } => {}
        }
        let is_permanent = match &error {
            CallError::Credential { .. } => true,
            CallError::Connection(LinkError::Open(why)) => why.is_permanent(),
            _ => false,
        };
        if is_permanent {
            return self.give_up(now, &error);
        }
        if !self.wants_link() {
            self.uplink.start_over();
            return self.enter(now, ConnectionState::Disconnected);
        }
        match self.uplink.retry(now, &mut self.random, hint) {
            Some((attempt, at)) => {
                self.enter(now, ConnectionState::Reconnecting);
                let of = self.config.reconnect.attempts;
                self.events
                    .push_back(Event::Reconnecting { attempt, of, at });
            }
            None => self.give_up(now, &error),
        }
    }

    /// Ends everything, so that nobody waits for ever. The next call, or `connect`, tries afresh.
    fn give_up(&mut self, now: Time, error: &CallError) {
        self.is_kept = false;
        self.session = None;
        self.uplink.start_over();
        self.enter(now, ConnectionState::Failed);
        self.end_all(error);
    }
}
