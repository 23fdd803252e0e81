//! The life of the client's link: introduction, loss, another attempt.

use super::{Client, ConnectionState, Error, Event, dialect::Dialect};
use crate::{
    CloseCode, Closure, Frame, OpenError, Time,
    link::{Change, LinkError},
    mail::wire::{self, AUTHENTICATION_REFUSED, Denied, Message},
    session::FRUITLESS_LINKS,
};
use alloc::string::ToString;
use core::time::Duration;

impl Client {
    /// Leaves the link for want of work, or because the client ends.
    pub(super) fn hang_up(&mut self, now: Time, code: CloseCode, reason: &str) {
        self.idle_until = None;
        if self.uplink.link().is_some() {
            self.events.push_back(Event::Disconnected { error: None });
        }
        self.flush_all(now);
        if let Dialect::Durable(durable) = &mut self.dialect {
            durable.leave(now);
        }
        self.uplink.close(code, reason);
        self.uplink.start_over();
    }

    pub(super) fn apply(&mut self, now: Time, change: Change) {
        match change {
            Change::Opening => {
                self.enter(now, ConnectionState::Connecting);
                self.events.push_back(Event::Connecting);
            }
            Change::Opened => {
                self.enter(now, ConnectionState::Connected);
                self.events.push_back(Event::Connected);
                let durable = self.durable_request(now);
                self.uplink.send(wire::encode(&Message::Authenticate {
                    api_key: self.config.api_key.clone(),
                    agent: Some(self.config.agent.clone()),
                    durable,
                }));
                self.enter(now, ConnectionState::Authenticating);
                self.go_ahead(now, durable);
            }
            Change::Frame(frame) if self.state.is_authenticated() => {
                self.handle_dialect_frame(now, frame);
            }
            Change::Frame(frame) => self.handle_answer(now, &frame),
            Change::Written => self.flush(now),
            Change::Lost(error) => self.lose(now, error),
        }
    }

    /// What comes before the relay knows us: its answer to the API key, which is text in either dialect.
    fn handle_answer(&mut self, now: Time, frame: &Frame) {
        match wire::decode(frame) {
            Ok(Some(Message::AuthenticateResponse(answer)))
                if self.state == ConnectionState::Authenticating =>
            {
                self.handle_authentication(now, answer);
            }
            // What makes no sense yet changes nothing.
            Ok(_) => {}
            Err(violation) => self.break_with_relay(now, violation),
        }
    }

    /// What the relay says in the base dialect.
    pub(super) fn handle_message(&mut self, now: Time, message: Message) {
        match message {
            Message::ChannelReady => self.channel_ready(now),
            Message::FromServer(bytes) => self.channel_bytes(now, &bytes),
            Message::ChannelClosed { reason } => self.channel_closed(now, reason),
            Message::ChannelError(error) => self.channel_failed(now, error),
            // What only a client says, or what comes too late, changes nothing.
            _ => {}
        }
    }

    fn handle_authentication(&mut self, now: Time, answer: Result<wire::Granted, Denied>) {
        match answer {
            Ok(granted) => {
                self.limits = granted.limits;
                self.uplink.authenticated(now);
                self.enter(now, ConnectionState::Authenticated);
                let limits = granted.limits;
                self.events.push_back(Event::Authenticated { limits });
                if let Err(violation) = self.choose_dialect(now, granted.durable) {
                    return self.break_with_relay(now, violation);
                }
                self.enter_channels(now);
            }
            Err(denied) => {
                self.uplink.close(CloseCode::NORMAL, "");
                // A refused key is not tried again fast, even where the relay names no time.
                let hint = denied.retry_after.unwrap_or(self.config.reconnect.cap);
                self.link_lost(now, Error::Authentication(denied), Some(hint));
            }
        }
    }

    /// Sorts a lost link: some closures and statuses are the relay's way to refuse the key.
    fn lose(&mut self, now: Time, error: LinkError) {
        let refused_key = match &error {
            LinkError::Open(OpenError::Refused {
                status: 401 | 403, ..
            }) => true,
            LinkError::Closed(Closure::Peer { code, .. }) => *code == Some(AUTHENTICATION_REFUSED),
            _ => false,
        };
        let hint = match &error {
            LinkError::Open(OpenError::Refused { retry_after, .. }) => *retry_after,
            _ => None,
        };
        let error = if refused_key {
            Error::Authentication(Denied {
                error: error.to_string(),
                retry_after: hint,
                permanent: Some(true),
            })
        } else {
            Error::Connection(error)
        };
        self.link_lost(now, error, hint);
    }

    /// The link is gone: what was being sent goes back or is in doubt, and the next attempt is scheduled
    /// where there is a reason for one.
    pub(super) fn link_lost(&mut self, now: Time, error: Error, hint: Option<Duration>) {
        self.idle_until = None;
        self.events.push_back(Event::Disconnected {
            error: Some(error.clone()),
        });
        let is_permanent = error.is_permanent();
        let mut hint = hint;
        self.fall_behind(now, &error);
        match &mut self.dialect {
            Dialect::Base(channel) => match channel.abandon() {
                Some((entry, true)) => self.in_doubt(entry, error.clone()),
                Some((entry, false)) if self.uplink.attempts() >= FRUITLESS_LINKS => {
                    self.send_last(now, entry, error.clone());
                }
                Some((entry, false)) => self.put_back(entry),
                None => {}
            },
            Dialect::Durable(durable) => {
                if let Some(spread) = durable.draining() {
                    hint = hint.or(Some(self.random.up_to(spread)));
                }
                if durable.link_lost(now) {
                    self.break_up_session(now, &error);
                }
            }
        }
        if is_permanent {
            return self.give_up(now, &error);
        }
        if !self.outbox.is_ready() && !self.dialect.has_deliveries() && self.config.idle.is_some() {
            if self.outbox.waiting() == 0 {
                self.uplink.start_over();
            }
            return self.enter(now, ConnectionState::Disconnected);
        }
        self.seek_again(now, hint, || error);
    }

    /// Schedules the next attempt; where there is none, fails what waits.
    pub(super) fn seek_again(
        &mut self,
        now: Time,
        hint: Option<Duration>,
        error: impl FnOnce() -> Error,
    ) {
        match self.uplink.retry(now, &mut self.random, hint) {
            Some((attempt, at)) => {
                self.enter(now, ConnectionState::Reconnecting);
                let of = self.config.reconnect.attempts;
                self.events
                    .push_back(Event::Reconnecting { attempt, of, at });
            }
            None => self.give_up(now, &error()),
        }
    }

    /// Fails everything that waits, so that nobody waits for ever. The next submission tries afresh.
    fn give_up(&mut self, now: Time, error: &Error) {
        self.give_up_session(Some(error.to_string()));
        self.uplink.start_over();
        self.enter(now, ConnectionState::Failed);
        for (id, delivery) in self.outbox.drain() {
            self.failed(id, &delivery, error.clone());
        }
    }
}
