//! What is spoken on a link: plain HPKV, or the durable dialect, which has to be asked for.

use super::{
    CallError, Client, ConnectionState, Event,
    durable::{Durable, Violation, WINDOW},
};
use crate::{
    CloseCode, Deadline, Frame, Time,
    kv::wire::{
        self, ClientMessage, Code, Failure, Grant, Hello, Notification, Operation, Request, Seen,
        ServiceMessage, Success,
    },
};
use alloc::boxed::Box;
use bytes::Bytes;
use core::mem;

/// What is spoken on the present link.
#[derive(Debug)]
pub(super) enum Dialect {
    /// There is no link.
    None,
    /// The durable dialect was asked for under this number. After `until` the service counts as plain; none: it has granted it before,
    /// so its answer is waited for. `replays`: it was asked for the changes that were missed, which a grant is followed by.
    Introducing {
        hello: u64,
        until: Option<Time>,
        replays: bool,
    },
    /// Text messages that end with the link. `hello`: under which number the durable dialect was asked for in vain, so far.
    Plain { hello: Option<u64> },
    /// The frames of a session.
    Durable,
}

impl Dialect {
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Introducing { until, .. } => until.map(|at| Deadline {
                at,
                timer: "introduction",
            }),
            Self::None | Self::Plain { .. } | Self::Durable => None,
        }
    }
}

/// What is known of the service, for as long as the client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Unknown,
    /// It does not speak the durable dialect, and is not asked any more.
    Plain,
    /// It has granted it.
    Durable,
}

impl Client {
    // ---- introduction ----

    /// A link is open.
    pub(super) fn introduce(&mut self, now: Time) {
        self.has_gap = self.was_connected || self.seen.is_some();
        if !self.config.durable || self.peer == Peer::Plain {
            return self.speak_plainly(now, None);
        }
        let hello = self.next_number();
        let message = ClientMessage::Hello {
            message_id: hello,
            hello: Hello {
                client: self.id,
                resume: self.session.as_ref().map(|session| session.resume()),
                after: self.seen,
            },
        };
        let message = wire::encode_client(&message);
        self.uplink.send(Frame::Text(message));
        let until = if self.peer == Peer::Durable {
            None
        } else {
            self.uplink.authenticated(now);
            Some(now.after(self.config.timeouts.introduction))
        };
        self.dialect = Dialect::Introducing {
            hello,
            until,
            replays: self.seen.is_some(),
        };
        self.enter(now, ConnectionState::Introducing);
    }

    fn next_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// A service that does not answer does not know what it was asked.
    pub(super) fn introduction_timeout(&mut self, now: Time) {
        if let Dialect::Introducing {
            hello,
            until: Some(until),
            ..
        } = self.dialect
            && until <= now
        {
            self.peer = Peer::Plain;
            self.speak_plainly(now, Some(hello));
        }
    }

    /// Whether this answers the question for the durable dialect, now or too late; if so it is dealt with.
    fn handle_introduction(&mut self, now: Time, answer: &wire::Answer) -> bool {
        let (number, is_late) = match self.dialect {
            Dialect::Introducing { hello, .. } => (hello, false),
            Dialect::Plain { hello: Some(hello) } => (hello, true),
            _ => return false,
        };
        if answer.message_id != Some(number) {
            return false;
        }
        match (&answer.result, is_late) {
            (Ok(Success::Granted(grant)), false) => self.handle_grant(now, grant),
            (Ok(Success::Granted(_)), true) => {
                // From here on the service reads frames of a session, and knows nothing of what was said in between.
                self.peer = Peer::Durable;
                let reason = "the session was granted too late";
                self.break_with_service(now, CloseCode::NORMAL, reason.into());
            }
            (Err(failure), false) => self.handle_denial(now, number, failure),
            (_, false) => {
                self.peer = Peer::Plain;
                self.speak_plainly(now, None);
            }
            (_, true) => self.counts.ignored += 1,
        }
        true
    }

    /// The service does not grant the durable dialect.
    fn handle_denial(&mut self, now: Time, hello: u64, failure: &Failure) {
        let is_for_now = [Code::TOO_MANY_REQUESTS, Code::UNAVAILABLE].contains(&failure.code);
        if !is_for_now {
            self.peer = Peer::Plain;
        } else if !self.flight.is_empty() {
            // It knows what became of what was sent, so it is worth asking once more.
            self.uplink.close(CloseCode::NORMAL, "");
            let error = CallError::Refused(failure.clone());
            return self.link_lost(now, error, failure.retry_after);
        }
        self.speak_plainly(now, Some(hello));
    }

    fn speak_plainly(&mut self, now: Time, hello: Option<u64>) {
        self.uplink.authenticated(now);
        self.dialect = Dialect::Plain { hello };
        self.session = None;
        self.ask_reads_again(&CallError::Forgotten);
        self.connected(now, false, false);
        self.tell_gap();
    }

    /// Changes may have been missed that nobody will tell.
    fn tell_gap(&mut self) {
        if self.has_gap && self.config.credential.subscribes() {
            let after = self.seen.map(|seen| seen.sequence);
            self.events.push_back(Event::Missed { after, first: None });
        }
    }

    fn connected(&mut self, now: Time, durable: bool, resumed: bool) {
        self.was_connected = true;
        self.enter(now, ConnectionState::Connected);
        self.events.push_back(Event::Connected { durable, resumed });
    }

    fn handle_grant(&mut self, now: Time, grant: &Grant) {
        if let Err(violation) = self.take_grant(now, grant) {
            self.break_with_service(now, CloseCode::PROTOCOL_ERROR, violation);
        }
    }

    fn take_grant(&mut self, now: Time, grant: &Grant) -> Result<(), Violation> {
        let Some(link) = self.uplink.link() else {
            return Ok(());
        };
        let ours = self.session.as_deref_mut();
        let ours = ours.filter(|session| session.id() == grant.session && grant.gone.is_none());
        let resumed = ours.is_some();
        match ours {
            Some(session) => session.go_on(now, link, grant)?,
            None => {
                let session = Durable::granted(now, link, grant)?;
                self.session = Some(Box::new(session));
            }
        }
        self.peer = Peer::Durable;
        self.uplink.authenticated(now);
        let introduction = mem::replace(&mut self.dialect, Dialect::Durable);
        if !resumed {
            if !grant.known {
                for sent in self.flight.drain_changes() {
                    self.unanswered(sent, CallError::Forgotten);
                }
            }
            self.flight.begin_again();
        }
        if self.seen.and_then(|seen| seen.store) != Some(grant.store) {
            self.seen = Some(Seen {
                sequence: grant.sequence,
                store: Some(grant.store),
            });
        }
        self.connected(now, true, resumed);
        let replays = matches!(introduction, Dialect::Introducing { replays: true, .. });
        if !resumed && !replays {
            self.tell_gap();
        }
        Ok(())
    }

    // ---- hearing ----

    pub(super) fn handle_frame(&mut self, now: Time, frame: Frame) {
        match (&self.dialect, frame) {
            (Dialect::Introducing { .. } | Dialect::Plain { .. }, Frame::Text(message)) => {
                self.handle_message(now, &message);
            }
            (Dialect::Durable, Frame::Binary(message)) => {
                let Some(session) = &mut self.session else {
                    return;
                };
                match session.receive(&message) {
                    Ok(Some(message)) => self.handle_message(now, &message),
                    Ok(None) => {}
                    Err(violation) => {
                        self.break_with_service(now, CloseCode::PROTOCOL_ERROR, violation);
                    }
                }
            }
            // Nothing that belongs here; a service with odd habits is a service still.
            _ => self.counts.ignored += 1,
        }
    }

    fn handle_message(&mut self, now: Time, message: &Bytes) {
        match wire::decode_service(message) {
            Ok(Some(said)) => {
                // Something has come through: the link is worth its backoff again.
                self.uplink.start_over();
                self.handle_said(now, said);
            }
            Ok(None) => self.counts.ignored += 1,
            Err(malformed) => match self.dialect {
                Dialect::Introducing { hello, .. } if malformed.message_id == Some(hello) => {
                    self.peer = Peer::Plain;
                    self.speak_plainly(now, None);
                }
                _ => self.handle_nonsense(malformed.message_id),
            },
        }
    }

    fn handle_said(&mut self, now: Time, said: ServiceMessage) {
        match said {
            ServiceMessage::Answer(answer) => {
                if !self.handle_introduction(now, &answer) {
                    self.handle_answer(now, answer);
                }
            }
            ServiceMessage::Notification(notification) => self.handle_notification(notification),
            ServiceMessage::Missed(missed) => {
                self.has_seen(missed.first.saturating_sub(1));
                self.events.push_back(Event::Missed {
                    after: Some(missed.after),
                    first: Some(missed.first),
                });
            }
        }
    }

    fn handle_notification(&mut self, notification: Notification) {
        if matches!(self.dialect, Dialect::Introducing { replays: true, .. }) {
            // It comes again after those that were missed; or there is a gap, and this is in it.
            return;
        }
        if let Some(sequence) = notification.sequence {
            self.has_seen(sequence);
        }
        self.counts.notifications += 1;
        self.events.push_back(Event::Notified(notification));
    }

    fn has_seen(&mut self, sequence: u64) {
        let store = self.seen.and_then(|seen| seen.store);
        self.seen = Some(Seen { sequence, store });
    }

    /// Leaves a service that does what makes no sense; a session with it is over, since the two will never agree again.
    fn break_with_service(&mut self, now: Time, code: CloseCode, reason: Violation) {
        self.uplink.close(code, &reason);
        self.session = None;
        self.link_lost(now, CallError::Protocol { reason }, None);
    }

    // ---- speaking ----

    /// Sends what may be sent, as far as the transport keeps up.
    pub(super) fn fill(&mut self, now: Time) {
        self.paced_until = None;
        while self.may_speak() {
            let again = self.flight.next_again();
            if again.is_none() && !self.may_begin() {
                return;
            }
            if !self.pacer.is_ready(now) {
                self.paced_until = self.pacer.deadline().map(|deadline| deadline.at);
                return;
            }
            if let Some((number, call)) = again {
                let operation = call.operation.clone();
                if !self.speak(now, number, operation) {
                    return;
                }
                self.flight.begun_again(now, number);
                self.pacer.sent(now);
            } else if !self.begin(now) {
                return;
            }
        }
    }

    fn may_speak(&self) -> bool {
        !matches!(self.dialect, Dialect::None | Dialect::Introducing { .. })
            && (self.flight.under_way() as u64) < self.most_calls()
            && self.uplink.unwritten_bytes() < WINDOW
    }

    /// Whether a call waits that may be sent for the first time. In the durable dialect not while one is unanswered that is that many
    /// numbers older: a service keeps what it has answered since.
    fn may_begin(&self) -> bool {
        let first = match self.dialect {
            Dialect::Durable => self.flight.first(),
            _ => None,
        };
        let behind = first.map_or(0, |first| self.next_number - first);
        self.outbox.is_ready() && behind < self.most_calls()
    }

    fn most_calls(&self) -> u64 {
        let granted = match (&self.dialect, &self.session) {
            (Dialect::Durable, Some(session)) => session.max_calls(),
            _ => u64::MAX,
        };
        granted.min(self.config.max_calls as u64).max(1)
    }

    /// Sends the next call that waits; false: it waits on, for room.
    fn begin(&mut self, now: Time) -> bool {
        let Some(entry) = self.outbox.take() else {
            return false;
        };
        if matches!(self.dialect, Dialect::Plain { .. }) && !entry.item.is_text() {
            self.unsendable(entry, CallError::NotText);
            return true;
        }
        let number = self.next_number();
        let operation = entry.item.operation.clone();
        self.flight.begin(now, number, entry);
        if self.speak(now, number, operation) {
            self.pacer.sent(now);
            return true;
        }
        // It was never sent, so its number is free.
        self.next_number = number;
        if let Some(sent) = self.flight.take(number) {
            self.outbox.put_back(sent.entry, None);
        }
        false
    }

    /// Says one call on the link there is; false where there is no room in the session.
    fn speak(&mut self, now: Time, number: u64, operation: Operation) -> bool {
        let session = match self.dialect {
            Dialect::Durable => self.session.as_mut(),
            _ => None,
        };
        if session
            .as_ref()
            .is_some_and(|session| !session.has_room(operation.len()))
        {
            return false;
        }
        let settled = session.as_ref().and(self.flight.first());
        let message = wire::encode_client(&ClientMessage::Call(Request {
            message_id: number,
            settled: settled.map(|first| first - 1),
            operation,
        }));
        match session {
            Some(session) => {
                if !session.say(&message) {
                    return false;
                }
                session.flush(now, &mut self.uplink);
            }
            None => self.uplink.send(Frame::Text(message)),
        }
        true
    }
}

/// Whether a service that closes the link with this code over what it was asked should not be asked again.
pub(super) const fn refuses_the_question(code: CloseCode) -> bool {
    matches!(
        code,
        CloseCode::PROTOCOL_ERROR
            | CloseCode::UNSUPPORTED_DATA
            | CloseCode::INVALID_PAYLOAD
            | CloseCode::POLICY_VIOLATION
    )
}
