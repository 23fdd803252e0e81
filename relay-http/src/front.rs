//! The machine.

use crate::{
    connection::{Connection, State},
    handshake,
    websocket::WebSocket,
};
use bytes::Bytes;
use relay_proto::{
    Action, CloseCode, Closure, Deadline, Frame, Input, LinkId, Machine, Time,
    admission::network,
    http::{Answer, Reading, Request, RequestReader, Response, Site},
};
use relay_transport::{Config, PIECE, fault, websocket};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    iter, mem,
    net::IpAddr,
};

/// So many bytes of pongs may wait for a peer that does not read; then it is not read from either.
const MAX_OWN_BYTES: usize = 16 * 1024;

/// A machine over byte streams that speaks HTTP and WebSockets in front of a [`Site`]; see the [crate's page](crate).
///
/// Accepted links are taken for byte streams, all of them. What the site opens, stores and tells is its own affair and passes through.
/// It ends when the site does, and says goodbye (1001) on WebSockets that are open then.
pub struct Front<S> {
    site: S,
    config: Config,
    connections: BTreeMap<LinkId, Connection>,
    /// Those whose request is not whole, and until when it has to be; and those that are answered then.
    requesting: BTreeSet<(Time, LinkId)>,
    /// Those whose peer has not answered a close frame, and until when it has to.
    closing: BTreeSet<(Time, LinkId)>,
    /// Those with something to read: frames, for all that is known.
    unread: BTreeSet<LinkId>,
    actions: VecDeque<Action>,
}

impl<S: Site> Front<S> {
    /// Puts a front before `site`.
    ///
    /// Of `config` it goes by `origins`, `max_frame_bytes`, `close_timeout`, and by `handshake_timeout` for the time from a
    /// connection to its whole request. As many connections as `max_handshakes` may be in that phase; where there are more, the
    /// one gives way that has been in it for longest, of those from the address that has most of them. Whoever is too slow is
    /// hung up on without a word.
    pub fn new(mut site: S, config: Config) -> Self {
        // What it wants from the beginning is about no connection: there is none.
        let actions = iter::from_fn(|| site.poll_action()).collect();
        Self {
            site,
            config,
            connections: BTreeMap::new(),
            requesting: BTreeSet::new(),
            closing: BTreeSet::new(),
            unread: BTreeSet::new(),
            actions,
        }
    }

    /// The site, to look at.
    pub const fn site(&self) -> &S {
        &self.site
    }

    /// Gives the site a command: `front.command(now, |service, now| service.set_accounts(now, accounts))`.
    pub fn command<R>(&mut self, now: Time, command: impl FnOnce(&mut S, Time) -> R) -> R {
        let result = command(&mut self.site, now);
        self.settle(now);
        result
    }

    fn handle_accepted(&mut self, now: Time, link: LinkId, peer: Option<IpAddr>) {
        if self.requesting.len() >= self.config.max_handshakes.max(1)
            && let Some(link) = self.one_to_give_way()
        {
            self.hang_up(link);
        }
        let until = now.after(self.config.handshake_timeout);
        self.requesting.insert((until, link));
        self.connections.insert(link, Connection::new(peer, until));
    }

    /// Of those whose request is not whole the slowest from where most of them come: a flood drives out its own.
    fn one_to_give_way(&self) -> Option<LinkId> {
        let mut places = BTreeMap::new();
        for slow @ (_, link) in &self.requesting {
            let peer = self.connections.get(link).and_then(|found| found.peer);
            let (count, _) = places.entry(peer.map(network)).or_insert((0_usize, slow));
            *count += 1;
        }
        let most = places
            .into_values()
            .max_by_key(|&(count, slowest)| (count, Reverse(slowest)));
        most.map(|(_, (_, link))| *link)
    }

    fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: Bytes) {
        let Some(connection) = self.connections.get_mut(&link) else {
            return;
        };
        match &mut connection.state {
            State::Requesting { reader, until } => {
                let (reader, until) = (mem::take(reader), *until);
                self.read_request(now, link, reader, until, &bytes);
            }
            State::Open(websocket) | State::Closing { websocket, .. } => {
                websocket.push(bytes);
                self.unread.insert(link);
            }
            State::Delayed { .. } | State::Over => {}
        }
    }

    fn read_request(
        &mut self,
        now: Time,
        link: LinkId,
        reader: RequestReader,
        until: Time,
        bytes: &[u8],
    ) {
        match reader.handle_bytes(bytes) {
            Ok(Reading::Incomplete(mut reader)) => {
                if reader.take_wait() {
                    self.send_own(link, Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
                }
                if let Some(connection) = self.connections.get_mut(&link) {
                    connection.state = State::Requesting { reader, until };
                }
            }
            Ok(Reading::Complete { request, rest }) => {
                self.handle_request(now, link, &request, rest);
            }
            Err(error) => self.respond(link, error.to_response().to_bytes("GET")),
        }
    }

    fn handle_request(&mut self, now: Time, link: LinkId, request: &Request, rest: Bytes) {
        let Some(connection) = self.connections.get(&link) else {
            return;
        };
        let peer = connection.peer;
        if !handshake::is_welcome(request, &self.config.origins) {
            return self.respond(link, Response::new(403).to_bytes(request.method()));
        }
        let switch = handshake::switch(request);
        if let Err(refusal) = &switch
            && request.is_upgrade()
        {
            return self.respond(link, refusal.clone());
        }
        match (self.site.handle_request(now, link, peer, request), switch) {
            (Answer::Respond(response), _) => {
                self.respond(link, response.to_bytes(request.method()));
            }
            (Answer::RespondLater { at, response }, _) => {
                let response = response.to_bytes(request.method());
                let until = at;
                self.set_state(link, State::Delayed { response, until });
                self.requesting.insert((until, link));
            }
            (Answer::Upgrade, Err(refusal)) => self.respond(link, refusal),
            (Answer::Upgrade, Ok(switching)) => {
                self.send_own(link, switching);
                self.open(now, link, peer, rest);
            }
        }
    }

    fn open(&mut self, now: Time, link: LinkId, peer: Option<IpAddr>, rest: Bytes) {
        let mut websocket = WebSocket::new(websocket::config(self.config.max_frame_bytes));
        // A client may be so sure of the answer that it does not wait for it.
        websocket.push(rest);
        self.unread.insert(link);
        self.set_state(link, State::Open(websocket));
        self.site.handle_input(now, Input::Accepted { link, peer });
    }

    /// Reads what the site takes from a WebSocket.
    fn read(&mut self, now: Time, link: LinkId) {
        while self.may_read(link) {
            let limit = self.site.read_limit(link);
            match self
                .connections
                .get_mut(&link)
                .map(|found| &mut found.state)
            {
                Some(State::Open(websocket)) => match websocket.read(limit) {
                    Ok(Some(frame)) => {
                        self.site.handle_input(now, Input::Frame { link, frame });
                        self.drain(now);
                    }
                    Ok(None) => {
                        self.unread.remove(&link);
                    }
                    Err(why) => self.end(now, link, why),
                },
                Some(State::Closing { websocket, .. }) => match websocket.read(usize::MAX) {
                    // Too late.
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        self.unread.remove(&link);
                    }
                    Err(_) => self.closed(now, link),
                },
                _ => {
                    self.unread.remove(&link);
                }
            }
        }
        self.send_pongs(link);
    }

    /// Whether a frame that has arrived can be read.
    fn may_read(&self, link: LinkId) -> bool {
        self.unread.contains(&link) && self.takes_more(link)
    }

    /// Whether a frame could be taken if it were there.
    fn takes_more(&self, link: LinkId) -> bool {
        self.connections
            .get(&link)
            .is_some_and(|connection| match &connection.state {
                State::Open(websocket) => {
                    let pongs = connection.sends.own_bytes() + websocket.written();
                    pongs < MAX_OWN_BYTES && self.site.read_limit(link) > 0
                }
                State::Requesting { .. } | State::Closing { .. } => true,
                State::Delayed { .. } | State::Over => false,
            })
    }

    fn send_pongs(&mut self, link: LinkId) {
        if let Some(connection) = self.connections.get_mut(&link)
            && let State::Open(websocket) = &mut connection.state
        {
            let pongs = websocket.take_written();
            self.send_own(link, pongs);
        }
    }

    /// Does one thing the site wants.
    fn perform(&mut self, now: Time, action: Action) {
        let link = match action {
            Action::Send { link, .. } | Action::Close { link, .. } | Action::StartTls { link } => {
                link
            }
            Action::Open { .. } | Action::Store { .. } => return self.actions.push_back(action),
        };
        let Some(connection) = self.connections.get_mut(&link) else {
            // One the site has opened; or one that has ended, and the driver knows.
            return self.actions.push_back(action);
        };
        let State::Open(websocket) = &mut connection.state else {
            // On a link that has ended it goes nowhere.
            return;
        };
        match action {
            Action::Send { frame, .. } => match websocket.write(frame) {
                Ok(()) => {
                    let frame = Frame::Binary(websocket.take_written());
                    connection.sends.push_site();
                    self.actions.push_back(Action::Send { link, frame });
                }
                Err(why) => self.end(now, link, why),
            },
            Action::Close { code, reason, .. } => {
                websocket.close(code, &reason);
                let goodbye = websocket.take_written();
                let until = now.after(self.config.close_timeout);
                if let State::Open(websocket) = mem::replace(&mut connection.state, State::Over) {
                    connection.state = State::Closing { websocket, until };
                }
                self.closing.insert((until, link));
                self.send_own(link, goodbye);
            }
            // What is behind an upgrade has no TLS of its own.
            _ => self.end(now, link, fault::tls_not_prepared()),
        }
    }

    /// Ends a link of the site as the peer, or the site's own mistake, has it.
    fn end(&mut self, now: Time, link: LinkId, why: Closure) {
        let Some(connection) = self.connections.get_mut(&link) else {
            return;
        };
        if let State::Open(websocket) = &mut connection.state {
            if let Closure::Violation { code, detail } = &why {
                websocket.close(*code, detail);
            }
            let goodbye = websocket.take_written();
            self.send_own(link, goodbye);
        }
        self.hang_up(link);
        self.site.handle_input(now, Input::Closed { link, why });
    }

    /// Ends a link of the site as the site has asked.
    fn closed(&mut self, now: Time, link: LinkId) {
        self.hang_up(link);
        let why = Closure::Local;
        self.site.handle_input(now, Input::Closed { link, why });
    }

    /// Sends the last a connection carries.
    fn respond(&mut self, link: LinkId, response: Bytes) {
        self.send_own(link, response);
        self.hang_up(link);
    }

    /// The time of a connection without a link is over.
    fn give_up_or_answer(&mut self, link: LinkId) {
        match self.set_state(link, State::Over) {
            Some(State::Delayed { response, .. }) => self.respond(link, response),
            _ => self.hang_up(link),
        }
    }

    fn hang_up(&mut self, link: LinkId) {
        self.set_state(link, State::Over);
        self.actions.push_back(Action::Close {
            link,
            code: CloseCode::NORMAL,
            reason: String::new(),
        });
    }

    fn send_own(&mut self, link: LinkId, bytes: Bytes) {
        if let Some(connection) = self.connections.get_mut(&link)
            && !bytes.is_empty()
        {
            connection.sends.push_own(bytes.len());
            let frame = Frame::Binary(bytes);
            self.actions.push_back(Action::Send { link, frame });
        }
    }

    fn handle_written(&mut self, now: Time, link: LinkId) {
        if let Some(connection) = self.connections.get_mut(&link)
            && connection.sends.written()
            && matches!(connection.state, State::Open(_) | State::Closing { .. })
        {
            self.site.handle_input(now, Input::Written { link });
        }
    }

    fn handle_closed(&mut self, now: Time, link: LinkId, why: Closure) {
        let before = self.set_state(link, State::Over);
        self.connections.remove(&link);
        let why = match before {
            Some(State::Open(_)) => why,
            Some(State::Closing { .. }) => Closure::Local,
            _ => return,
        };
        self.site.handle_input(now, Input::Closed { link, why });
    }

    /// Changes a connection's state, and what is kept of it elsewhere; the state before.
    fn set_state(&mut self, link: LinkId, state: State) -> Option<State> {
        let connection = self.connections.get_mut(&link)?;
        let before = mem::replace(&mut connection.state, state);
        match before {
            State::Requesting { until, .. } | State::Delayed { until, .. } => {
                self.requesting.remove(&(until, link))
            }
            State::Closing { until, .. } => self.closing.remove(&(until, link)),
            State::Open(_) | State::Over => false,
        };
        if matches!(connection.state, State::Over) {
            self.unread.remove(&link);
        }
        Some(before)
    }

    /// Does what the site wants. Like every driver, it serves what is due first.
    fn drain(&mut self, now: Time) {
        loop {
            if is_due(self.site.deadline(), now) {
                self.site.handle_timeout(now);
            }
            match self.site.poll_action() {
                Some(action) => self.perform(now, action),
                None => break,
            }
        }
    }

    /// Does what the site wants, and reads on where it has become ready for more.
    fn settle(&mut self, now: Time) {
        self.drain(now);
        while let Some(link) = self
            .unread
            .iter()
            .copied()
            .find(|link| self.may_read(*link))
        {
            self.read(now, link);
            self.drain(now);
        }
        if self.site.is_finished() {
            self.finish();
        }
    }

    /// Says goodbye wherever that was not said, and forgets all connections.
    fn finish(&mut self) {
        for (link, connection) in mem::take(&mut self.connections) {
            let mut goodbye = Bytes::new();
            match connection.state {
                State::Open(mut websocket) => {
                    websocket.close(CloseCode::GOING_AWAY, "");
                    goodbye = websocket.take_written();
                }
                State::Requesting { .. } | State::Delayed { .. } | State::Closing { .. } => {}
                State::Over => continue,
            }
            if !goodbye.is_empty() {
                let frame = Frame::Binary(goodbye);
                self.actions.push_back(Action::Send { link, frame });
            }
            self.hang_up(link);
        }
        self.requesting.clear();
        self.closing.clear();
        self.unread.clear();
    }
}

impl<S: Site> Machine for Front<S> {
    type Event = S::Event;

    fn handle_input(&mut self, now: Time, input: Input) {
        if self.site.is_finished() {
            return;
        }
        match input {
            Input::Accepted { link, peer } => self.handle_accepted(now, link, peer),
            Input::Frame { link, frame } if self.connections.contains_key(&link) => {
                if let Frame::Binary(bytes) | Frame::Text(bytes) = frame {
                    self.handle_bytes(now, link, bytes);
                }
            }
            Input::Written { link } if self.connections.contains_key(&link) => {
                self.handle_written(now, link);
            }
            Input::Closed { link, why } if self.connections.contains_key(&link) => {
                self.handle_closed(now, link, why);
            }
            other => self.site.handle_input(now, other),
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        // What is done about one timer may start another, which may be due as well.
        while is_due(self.deadline(), now) {
            if let Some(&(until, link)) = self.requesting.first()
                && until <= now
            {
                self.give_up_or_answer(link);
            }
            if let Some(&(until, link)) = self.closing.first()
                && until <= now
            {
                self.closed(now, link);
            }
            self.settle(now);
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let first = |timers: &BTreeSet<(Time, LinkId)>, timer| {
            timers.first().map(|&(at, _)| Deadline { at, timer })
        };
        Deadline::earliest([
            first(&self.requesting, "request"),
            first(&self.closing, "close"),
            self.site.deadline(),
        ])
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<S::Event> {
        self.site.poll_event()
    }

    fn read_limit(&self, link: LinkId) -> usize {
        if !self.connections.contains_key(&link) {
            return self.site.read_limit(link);
        }
        match !self.unread.contains(&link) && self.takes_more(link) {
            true => PIECE,
            false => 0,
        }
    }

    fn is_finished(&self) -> bool {
        self.site.is_finished()
    }
}

fn is_due(deadline: Option<Deadline>, now: Time) -> bool {
    deadline.is_some_and(|next| next.at <= now)
}
