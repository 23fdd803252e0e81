//! Sessions of the durable dialect: how they begin, go on over links, and end.

use super::{
    Event, Service,
    clients::ClientKey,
    front::{Call, Front, FrontId},
    link::State,
};
use crate::{
    CloseCode, Frame, LinkId, Time,
    kv::wire::Answer,
    kv::wire::{
        ClientMessage, Code, Failure, Grant, Hello, Missed, ServiceMessage, Success, decode_client,
        encode_service,
    },
    session::{Body, Delivery, SessionId},
};
use alloc::{
    string::{String, ToString},
    sync::Arc,
};

impl Service {
    /// A client that is remembered gets the session it asks for, or a new one.
    pub(super) fn welcome(
        &mut self,
        now: Time,
        id: FrontId,
        message_id: u64,
        hello: Hello,
        client: ClientKey,
        known: bool,
    ) {
        let FrontId::Link(link) = id else {
            return;
        };
        let granted = if self.clients.knows(client) {
            self.grant(now, link, hello, client, known)
        } else {
            let error = "the client was forgotten while it was welcomed";
            Err(Failure::new(Code::UNAVAILABLE, error))
        };
        match granted {
            Err(failure) => self.answer(id, message_id, Err(failure)),
            Ok(grant) => {
                let session = grant.session;
                self.remove_front(id);
                if let Some(of_link) = self.links.get_mut(&link) {
                    of_link.state = State::Durable(session);
                    let answer = ServiceMessage::Answer(Answer {
                        message_id: Some(message_id),
                        result: Ok(Success::Granted(grant)),
                    });
                    of_link.send(Frame::Text(encode_service(&answer)), &mut self.actions);
                }
                self.stirred.insert(FrontId::Session(session));
            }
        }
    }

    fn grant(
        &mut self,
        now: Time,
        link: LinkId,
        hello: Hello,
        client: ClientKey,
        known: bool,
    ) -> Result<Grant, Failure> {
        let mut gone = None;
        if let Some(resume) = hello.resume {
            match self.resume(now, link, resume.session, resume.receive_next, client) {
                Ok(receive_next) => {
                    self.events.push_back(Event::SessionResumed { link });
                    let session = resume.session;
                    return Ok(self.grant_of(session, receive_next, known, gone));
                }
                Err(why) => gone = Some(why),
            }
        }
        let rights = self.links.get(&link).map(|link| Arc::clone(&link.rights));
        let account = self.accounts.get(client.0);
        let (Some(rights), Some(account)) = (rights, account) else {
            return Err(Failure::new(
                Code::FORBIDDEN,
                "the API key is no longer valid",
            ));
        };
        let space = Arc::clone(&account.space);
        let opened = self
            .sessions
            .open(now, &mut self.random, &client.0, link, ())
            .map_err(|full| Failure::new(Code::UNAVAILABLE, full.to_string()))?;
        if let Some((evicted, ())) = opened.evicted {
            self.session_ended(now, evicted);
        }
        let session = opened.id;
        // Its calls are asked again in the new one, those that wait in the old one among them.
        if let Some(older) = self.clients.attach(client, session) {
            let fenced = self.sessions.update(older, |session, ()| session.link());
            self.sessions.end(older);
            self.session_ended(now, older);
            if let Some(fenced) = fenced.flatten() {
                let why = "the client goes on in another session";
                self.close_link(now, fenced, CloseCode::GOING_AWAY, why);
            }
        }
        let sequence = self.sequence(&space);
        let mut front = Front::new(rights, space, Some(client.1), sequence);
        if let (Some(told), Some(seen)) = (&mut front.told, hello.after) {
            let is_ours = seen.store.is_none_or(|store| store == self.id);
            if is_ours && seen.sequence <= sequence {
                *told = seen.sequence;
            } else {
                // Its numbers are of another store, or of what this one has lost.
                front.say(&ServiceMessage::Missed(Missed {
                    after: seen.sequence,
                    first: sequence + 1,
                }));
                self.events.push_back(Event::Missed { link });
            }
        }
        self.add_front(FrontId::Session(session), front);
        self.events.push_back(Event::SessionOpened { link });
        Ok(self.grant_of(session, 1, known, gone))
    }

    /// Goes on with a session on this link. Returns what the client is to send next.
    fn resume(
        &mut self,
        now: Time,
        link: LinkId,
        session: SessionId,
        receive_next: u64,
        client: ClientKey,
    ) -> Result<u64, String> {
        let front = self.fronts.get(&FrontId::Session(session));
        let is_its = front.is_some_and(|front| front.client == Some(client.1));
        let rights = self.links.get(&link).map(|link| Arc::clone(&link.rights));
        let (true, Some(rights)) = (is_its, rights) else {
            return Err(crate::session::ResumeError::Unknown.to_string());
        };
        let resumed = self
            .sessions
            .resume(now, &client.0, session, link, receive_next)
            .map_err(|error| error.to_string())?;
        if let Some(fenced) = resumed.fenced {
            let why = "the session goes on on another link";
            self.close_link(now, fenced, CloseCode::GOING_AWAY, why);
        }
        self.take_over_rights(session, rights);
        Ok(resumed.receive_next)
    }

    /// The client may have come back with another credential of the same key.
    fn take_over_rights(&mut self, session: SessionId, rights: Arc<super::link::Rights>) {
        let id = FrontId::Session(session);
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let space = self.store.space(&front.space);
        let sequence = space.map_or(0, super::store::Space::committed);
        front.told = match (rights.patterns.subscribes(), front.told) {
            (false, _) => None,
            (true, told) => Some(told.unwrap_or(sequence)),
        };
        front.rights = rights;
        let place = (Arc::clone(&front.space), id);
        if front.told.is_some() {
            self.subscribers.insert(place);
        } else {
            self.subscribers.remove(&place);
        }
    }

    fn grant_of(
        &self,
        session: SessionId,
        receive_next: u64,
        known: bool,
        gone: Option<String>,
    ) -> Grant {
        let front = self.fronts.get(&FrontId::Session(session));
        Grant {
            session,
            receive_next,
            expires_in: self.config.session_expiry,
            heartbeat: self.config.heartbeat_interval,
            max_calls: self.config.max_calls as u64,
            known,
            sequence: front.map_or(0, |front| self.sequence(&front.space)),
            store: self.id,
            gone,
        }
    }

    /// A message has come on a link that has a session.
    pub(super) fn session_frame(&mut self, now: Time, link: LinkId, id: SessionId, frame: &Frame) {
        let Frame::Binary(message) = frame else {
            let why = "a text message in a session, where all are binary";
            return self.violated(now, link, CloseCode::PROTOCOL_ERROR, why.into());
        };
        let arrived = self
            .sessions
            .update(id, |session, ()| session.take_in(link, message));
        if let Some(Ok((_, false))) = arrived
            && let Some(link) = self.links.get_mut(&link)
        {
            link.chatter.heard_nothing(now);
        }
        let front = FrontId::Session(id);
        self.stirred.insert(front);
        let payload = match arrived {
            Some(Ok((
                Some(Delivery {
                    body: Body::Control(payload),
                    ..
                }),
                _,
            ))) => payload,
            Some(Ok((Some(_), _))) => {
                let why = "a data frame, of which this dialect has none";
                return self.violated(now, link, CloseCode::PROTOCOL_ERROR, why.into());
            }
            Some(Err(error)) => {
                return self.violated(now, link, CloseCode::PROTOCOL_ERROR, error.to_string());
            }
            Some(Ok((None, _))) | None => return,
        };
        match decode_client(&payload) {
            Ok(ClientMessage::Call(request)) => {
                let call = Call::new(request.message_id, request.settled, request.operation);
                self.ask(now, front, call);
            }
            Ok(ClientMessage::Hello { message_id, .. }) => {
                let error = "a hello has to be the first message on a link";
                self.refuse(front, Some(message_id), error);
            }
            Err(malformed) => self.refuse(front, malformed.message_id, &malformed.problem),
        }
    }

    /// Hands what is to be told to the session, and what the session has to say to its link, as much as that takes. Returns the link.
    pub(super) fn flush_session(&mut self, id: SessionId) -> Option<LinkId> {
        let front = self.fronts.get_mut(&FrontId::Session(id))?;
        let (links, actions) = (&mut self.links, &mut self.actions);
        let link = self.sessions.update(id, |session, ()| {
            let link = session.link()?;
            let of_link = links.get_mut(&link)?;
            while !of_link.is_slow() {
                if let Some(message) = front.next_said()
                    && session.send(Body::Control(message)).is_ok()
                {
                    front.take_said();
                }
                // Where an answer is still to come, it says what was taken over.
                let frame = if front.is_answered() {
                    session.poll_frame()
                } else {
                    session.poll_numbered()
                };
                match frame {
                    Some(frame) => of_link.send(Frame::Binary(frame), actions),
                    None => break,
                }
            }
            Some(link)
        });
        link.flatten()
    }

    pub(super) fn unacknowledged_bytes(&mut self, id: SessionId) -> usize {
        let bytes = self
            .sessions
            .update(id, |session, ()| session.unacknowledged().1);
        bytes.unwrap_or_default()
    }

    /// Ends a session. Returns the link it had.
    pub(super) fn end_session(&mut self, now: Time, id: SessionId) -> Option<LinkId> {
        let link = self.sessions.update(id, |session, ()| session.link());
        self.sessions.end(id);
        self.session_ended(now, id);
        link.flatten()
    }

    /// A session is gone: what waits in it is not done.
    fn session_ended(&mut self, now: Time, id: SessionId) {
        if let Some(front) = self.remove_front(FrontId::Session(id))
            && let Some(client) = front.client
        {
            let client = (front.rights.key, client);
            self.clients.detach(now, &self.config, client, id);
        }
    }

    pub(super) fn sessions_timeout(&mut self, now: Time) {
        while let Some((id, ())) = self.sessions.handle_timeout(now) {
            self.session_ended(now, id);
            self.events.push_back(Event::SessionExpired);
        }
    }
}
