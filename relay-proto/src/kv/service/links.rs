//! What clients do on their links: come, speak, take, fall silent, go.

use super::{
    Event, Phase, RESTARTS, Service,
    front::{Call, Front, FrontId},
    link::{Link, State},
};
use crate::{
    Action, CloseCode, Frame, LinkId, Time,
    kv::wire::{ClientMessage, Code, Failure, decode_client},
    link::Pulse,
};
use alloc::{string::String, sync::Arc};
use bytes::Bytes;
use core::net::IpAddr;

impl Service {
    /// Whom [`handle_request`](crate::http::Site::handle_request) has let in comes.
    pub(super) fn accept(&mut self, now: Time, link: LinkId, peer: Option<IpAddr>) {
        if self.links.contains_key(&link) {
            return;
        }
        let admitted = self.admitted.take().filter(|(whom, _)| *whom == link);
        let rights = admitted.map(|(_, rights)| rights);
        let account = rights.and_then(|rights| {
            let account = self.accounts.get(rights.key)?;
            Some((
                rights,
                Arc::clone(&account.name),
                Arc::clone(&account.space),
            ))
        });
        let Some((rights, name, space)) = account else {
            self.actions.push_back(Action::Close {
                link,
                code: CloseCode::POLICY_VIOLATION,
                reason: "nobody has let this link in".into(),
            });
            return;
        };
        self.accounts.link_begins(rights.key);
        let heartbeat = self.config.heartbeat_interval;
        let with_token = rights.with_token;
        let of_link = Link::new(link, Arc::clone(&rights), heartbeat, now);
        self.links.insert(link, of_link);
        let sequence = self.sequence(&space);
        let front = Front::new(rights, space, None, sequence);
        self.add_front(FrontId::Link(link), front);
        self.events.push_back(Event::Connected {
            link,
            peer,
            name,
            with_token,
        });
    }

    pub(super) fn add_front(&mut self, id: FrontId, front: Front) {
        if front.told.is_some() {
            self.subscribers.insert((Arc::clone(&front.space), id));
        }
        self.fronts.insert(id, front);
        self.stirred.insert(id);
    }

    pub(super) fn remove_front(&mut self, id: FrontId) -> Option<Front> {
        let mut front = self.fronts.remove(&id)?;
        self.subscribers.remove(&(Arc::clone(&front.space), id));
        self.behind.remove(&id);
        self.stirred.remove(&id);
        self.accounts.hold(front.rights.key, &mut front.charged, 0);
        Some(front)
    }

    pub(super) fn link_frame(&mut self, now: Time, id: LinkId, frame: &Frame) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.heartbeat.heard(now);
        if frame.len() > self.config.frame_limit() + crate::session::HEADER_LIMIT {
            let why = "the message is too long";
            return self.violated(now, id, CloseCode::MESSAGE_TOO_BIG, why.into());
        }
        let (Frame::Text(payload) | Frame::Binary(payload)) = frame else {
            return link.chatter.heard_nothing(now);
        };
        match link.state {
            State::Closing { .. } => {}
            State::Greeting => {
                let why = "wait for the answer to the hello";
                self.violated(now, id, CloseCode::POLICY_VIOLATION, why.into());
            }
            State::Durable(session) => self.session_frame(now, id, session, frame),
            State::Fresh | State::Plain => {
                let is_first = link.state == State::Fresh;
                link.state = State::Plain;
                self.plain_message(now, id, payload, is_first);
            }
        }
    }

    /// A message outside of any session. Whatever it is, nothing but an answer comes of it.
    fn plain_message(&mut self, now: Time, id: LinkId, payload: &Bytes, is_first: bool) {
        let front = FrontId::Link(id);
        match decode_client(payload) {
            Ok(ClientMessage::Call(request)) => {
                let call = Call::new(request.message_id, None, request.operation);
                self.ask(now, front, call);
            }
            Ok(ClientMessage::Hello { message_id, hello }) if is_first && self.config.durable => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.state = State::Greeting;
                }
                self.ask(now, front, Call::hello(message_id, hello));
            }
            Ok(ClientMessage::Hello { message_id, .. }) => {
                let error = if self.config.durable {
                    "a hello has to be the first message on a link"
                } else {
                    "there is no op 7; there are 1 to 6"
                };
                self.refuse(front, Some(message_id), error);
            }
            Err(malformed) => self.refuse(front, malformed.message_id, &malformed.problem),
        }
    }

    /// What the client has sent is not understood.
    pub(super) fn refuse(&mut self, id: FrontId, message_id: Option<u64>, error: &str) {
        if let Some(front) = self.fronts.get_mut(&id) {
            let failure = Failure::new(Code::BAD_REQUEST, error);
            front.answer(message_id, Err(failure));
            self.stirred.insert(id);
        }
    }

    /// A client that has asked for the durable dialect does not get it.
    pub(super) fn stays_plain(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && link.state == State::Greeting
        {
            link.state = State::Plain;
        }
    }

    /// The client behind a link, if there is one.
    fn front_of(&self, id: LinkId) -> Option<FrontId> {
        match &self.links.get(&id)?.state {
            State::Fresh | State::Greeting | State::Plain => Some(FrontId::Link(id)),
            State::Durable(session) => Some(FrontId::Session(*session)),
            State::Closing { .. } => None,
        }
    }

    pub(super) fn link_written(&mut self, now: Time, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.written(now);
        }
        let front = self.front_of(id);
        self.stirred.extend(front);
    }

    /// Whether anything is read from the link at the moment.
    pub(super) fn is_reading(&self, id: LinkId) -> bool {
        let Some(link) = self.links.get(&id) else {
            return false;
        };
        let takes = |front: &Front| {
            !front.has_enough(self.config.max_calls) && front.has_room_for_answers()
        };
        match link.state {
            _ if link.chatter.is_too_much() => false,
            State::Fresh | State::Plain => {
                let front = self.fronts.get(&FrontId::Link(id));
                !link.is_slow() && front.is_some_and(takes)
            }
            // What it acknowledges makes room, so it is read whatever waits; too many calls are refused.
            State::Durable(_) => !link.is_slow(),
            State::Greeting | State::Closing { .. } => false,
        }
    }

    /// Tells a client what is to be told, as much as its link takes, and has its calls worked on where there is room again.
    pub(super) fn attend(&mut self, now: Time, id: FrontId) {
        if !self.fronts.contains_key(&id) {
            return;
        }
        loop {
            let is_told = self.tell_changes(now, id);
            let link = match id {
                FrontId::Link(link) => {
                    self.send_said(link);
                    Some(link)
                }
                FrontId::Session(session) => self.flush_session(session),
            };
            if let Some(link) = link {
                self.sort(now, link);
            }
            let all_sent = self.fronts.get(&id).is_some_and(Front::is_told);
            if !is_told || !all_sent {
                break;
            }
        }
        let of_session = match id {
            FrontId::Session(session) => self.unacknowledged_bytes(session),
            FrontId::Link(_) => 0,
        };
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let (key, bytes) = (front.rights.key, front.bytes() + of_session);
        self.accounts.hold(key, &mut front.charged, bytes);
        let is_over = front.is_answered() && front.is_told() && of_session == 0;
        if front.is_deaf(self.config.max_calls) {
            let why = "what the service says has to be taken";
            self.end_front(now, id, CloseCode::POLICY_VIOLATION, why);
        } else if is_over && matches!(self.phase, Phase::Draining { .. }) {
            self.end_front(now, id, CloseCode::SERVICE_RESTART, RESTARTS);
        } else {
            self.line_up(id);
        }
    }

    /// The plain dialect.
    fn send_said(&mut self, id: LinkId) {
        let (Some(link), Some(front)) = (
            self.links.get_mut(&id),
            self.fronts.get_mut(&FrontId::Link(id)),
        ) else {
            return;
        };
        while !link.is_slow()
            && let Some(message) = front.take_said()
        {
            link.send(Frame::Text(message), &mut self.actions);
        }
    }

    // ---- the end ----

    /// Ends a client: its session, if it has one, and its link.
    pub(super) fn end_front(&mut self, now: Time, id: FrontId, code: CloseCode, why: &str) {
        match id {
            FrontId::Link(link) => self.close_link(now, link, code, why),
            FrontId::Session(session) => {
                let link = self.end_session(now, session);
                if let Some(link) = link {
                    self.close_link(now, link, code, why);
                }
            }
        }
    }

    /// Closes a link. Its session, if it has one, goes on without.
    pub(super) fn close_link(&mut self, now: Time, id: LinkId, code: CloseCode, why: &str) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if matches!(link.state, State::Closing { .. }) {
            return;
        }
        link.state = State::Closing { why: why.into() };
        self.actions.push_back(Action::Close {
            link: id,
            code,
            reason: why.into(),
        });
        self.remove_front(FrontId::Link(id));
        self.sessions.cut(now, id);
        self.sort(now, id);
    }

    /// The client has broken the protocol: its session, where it has one, is over, too.
    pub(super) fn violated(&mut self, now: Time, id: LinkId, code: CloseCode, reason: String) {
        match self.front_of(id) {
            Some(front) => self.end_front(now, front, code, &reason),
            None => self.close_link(now, id, code, &reason),
        }
        self.events.push_back(Event::Violation {
            link: id,
            code,
            reason,
        });
    }

    pub(super) fn link_closed(&mut self, now: Time, id: LinkId, why: String) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        if let Some(at) = link.sorted {
            self.timers.remove(&(at, id));
        }
        self.accounts.link_ends(link.rights.key);
        self.remove_front(FrontId::Link(id));
        if let Some(session) = self.sessions.cut(now, id)
            && matches!(self.phase, Phase::Draining { .. })
        {
            self.end_session(now, session);
        }
        let why = match link.state {
            State::Closing { why } => why,
            _ => why,
        };
        self.events.push_back(Event::Disconnected { link: id, why });
    }

    pub(super) fn link_timeout(&mut self, now: Time, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.chatter.handle_timeout(now);
        match link.heartbeat.handle_timeout(now) {
            Some(Pulse::Ping) => {
                link.send(Frame::Ping(Bytes::new()), &mut self.actions);
                if let State::Durable(session) = link.state {
                    self.sessions
                        .update(session, |session, ()| session.release_memory());
                }
            }
            Some(Pulse::Dead) => {
                self.close_link(now, id, CloseCode::GOING_AWAY, "no sign of life");
            }
            None => {}
        }
    }
}
