//! All sockets of one hub: who they belong to, which have something to do, and which take too long.

mod secure;

pub(crate) use secure::OnRequest;

use crate::{
    accept::{Door, Guest, Kind, Reception},
    dial::{Dialling, Found, Opening, Registration},
    link::{Link, News},
    socket::Socket,
};
use mio::{Events, Interest, Poll, Registry, Token, net::TcpListener};
use relay_proto::{CloseCode, Closure, Endpoint, Frame, Input, LinkId, OpenError};
use relay_transport::{Config, PAUSE_AFTER_FAILED_ACCEPT, fault};
use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    net::SocketAddr,
    task,
    time::{Duration, Instant},
};

/// The token of the waker.
pub(crate) const WAKER: Token = Token(0);

/// Events taken from the system at once; more wait there.
const EVENTS: usize = 256;

/// Whose turn it is, by itself or by the clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Link(LinkId),
    Door(Token),
}

struct Entry {
    token: Token,
    state: State,
    overdue: Option<Instant>,
    tls: OnRequest,
}

enum State {
    /// The present step has time until then.
    Dialling(Dialling, Option<Instant>),
    Guest(Guest, Token),
    Open(Link),
    /// TLS is being started on what was open.
    Securing(Socket),
    /// Nothing is left but to hear the peer out.
    Draining(Socket),
}

pub(crate) struct Network {
    poll: Poll,
    events: Events,
    config: Config,
    owners: BTreeMap<Token, Owner>,
    entries: BTreeMap<LinkId, Entry>,
    doors: BTreeMap<Token, Door>,
    /// Those that have something to do now.
    ready: BTreeSet<Owner>,
    alarms: BTreeSet<(Instant, Owner)>,
    accepted: u64,
    next_token: usize,
}

impl Network {
    pub(crate) fn new(poll: Poll, config: Config) -> Self {
        Self {
            poll,
            events: Events::with_capacity(EVENTS),
            config,
            owners: BTreeMap::new(),
            entries: BTreeMap::new(),
            doors: BTreeMap::new(),
            ready: BTreeSet::new(),
            alarms: BTreeSet::new(),
            accepted: 0,
            next_token: WAKER.0 + 1,
        }
    }

    /// Whether the link is there, in whatever state.
    pub(crate) fn knows(&self, link: LinkId) -> bool {
        self.entries.contains_key(&link)
    }

    /// Waits until something is to do, at the longest until `deadline`, and tells what; true: the waker has woken it.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> (BTreeSet<Owner>, bool) {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let until = [deadline, alarm].into_iter().flatten().min();
        let timeout = match self.ready.is_empty() {
            true => until.map(|until| until.saturating_duration_since(Instant::now())),
            false => Some(Duration::ZERO),
        };
        if let Err(error) = self.poll.poll(&mut self.events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            // What was announced before is in the events all the same.
            tracing::warn!(%error, "cannot wait for the network");
        }
        let mut woken = false;
        for event in &self.events {
            match self.owners.get(&event.token()) {
                Some(owner) => drop(self.ready.insert(*owner)),
                None => woken |= event.token() == WAKER,
            }
        }
        (mem::take(&mut self.ready), woken)
    }

    /// Sees to it that the link is asked for its [`progress`](Self::progress).
    pub(crate) fn touch(&mut self, link: LinkId) {
        if self.entries.contains_key(&link) {
            self.ready.insert(Owner::Link(link));
        }
    }

    /// Takes those whose time is up.
    pub(crate) fn overdue(&mut self) -> Option<Owner> {
        let now = Instant::now();
        let (_, owner) = *self.alarms.first().filter(|(at, _)| *at <= now)?;
        self.alarms.pop_first();
        Some(owner)
    }

    fn new_token(&mut self, owner: Owner) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.owners.insert(token, owner);
        token
    }

    fn enter(&mut self, link: LinkId, entry: Entry) {
        let overdue = entry.overdue;
        self.entries.insert(link, entry);
        if let Some(at) = overdue {
            self.alarms.insert((at, Owner::Link(link)));
        }
        self.touch(link);
    }

    fn forget(&mut self, link: LinkId) {
        let Some(entry) = self.entries.remove(&link) else {
            return;
        };
        self.owners.remove(&entry.token);
        if let Some(at) = entry.overdue {
            self.alarms.remove(&(at, Owner::Link(link)));
        }
        if let State::Guest(_, door) = entry.state {
            self.leave_door(door);
        }
    }

    /// One guest less in this door.
    fn leave_door(&mut self, token: Token) {
        if let Some(door) = self.doors.get_mut(&token) {
            door.handshakes -= 1;
            self.ready.insert(Owner::Door(token));
        }
    }

    /// Sets when a link takes too long.
    fn set_overdue(&mut self, link: LinkId, overdue: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(&link) else {
            return;
        };
        let owner = Owner::Link(link);
        let before = mem::replace(&mut entry.overdue, overdue);
        if before == overdue {
            return;
        }
        if let Some(at) = before {
            self.alarms.remove(&(at, owner));
        }
        if let Some(at) = overdue {
            self.alarms.insert((at, owner));
        }
    }

    /// A link the machine wants; [`connect`](Self::connect) goes on when its host is found.
    pub(crate) fn open(&mut self, link: LinkId, endpoint: &Endpoint) {
        let entry = Entry {
            token: self.new_token(Owner::Link(link)),
            state: State::Dialling(Dialling::LookingUp, None),
            overdue: None,
            tls: match endpoint {
                Endpoint::Stream(to) if !to.is_tls() => OnRequest::Client(to.host().to_owned()),
                Endpoint::Stream(_) | Endpoint::WebSocket(_) => OnRequest::Never,
            },
        };
        self.enter(link, entry);
    }

    /// Goes on with an opening whose host has been looked up; says so where it has failed.
    pub(crate) fn connect(&mut self, link: LinkId, found: Found) -> Option<Input> {
        let token = self.entries.get(&link)?.token;
        let registry = self.poll.registry();
        let registration = Registration { registry, token };
        let opening =
            found.and_then(|(plan, addresses)| Dialling::connect(plan, addresses, &registration));
        self.opening(link, (None, None), opening)
    }

    /// Goes on from `before`, the step that had time until `until`.
    fn opening(
        &mut self,
        link: LinkId,
        (before, until): (Option<mem::Discriminant<Dialling>>, Option<Instant>),
        opening: Result<Opening, OpenError>,
    ) -> Option<Input> {
        match opening {
            Ok(Opening::Waiting(dialling)) => {
                let until = match before == Some(mem::discriminant(&dialling)) {
                    true => until,
                    false => Some(Instant::now() + self.config.connect_timeout),
                };
                let overdue = [dialling.wake_at(), until].into_iter().flatten().min();
                self.set_overdue(link, overdue);
                self.set_state(link, State::Dialling(dialling, until));
                None
            }
            Ok(Opening::Open(transport)) => {
                let open = Link::new(transport, self.config.close_timeout);
                self.set_overdue(link, None);
                self.set_state(link, State::Open(open));
                Some(Input::Opened { link })
            }
            Err(why) => {
                self.forget(link);
                Some(Input::OpenFailed { link, why })
            }
        }
    }

    fn set_state(&mut self, link: LinkId, state: State) {
        if let Some(entry) = self.entries.get_mut(&link) {
            entry.state = state;
        }
    }

    /// Sends a frame; nothing where the link has ended.
    pub(crate) fn send(&mut self, link: LinkId, frame: Frame) {
        if let Some(State::Open(open)) = self.entries.get_mut(&link).map(|entry| &mut entry.state) {
            open.send(frame);
            self.touch(link);
        }
    }

    /// Closes a link, or stops opening it, which is told at once.
    pub(crate) fn close(&mut self, link: LinkId, code: CloseCode, reason: String) -> Option<Input> {
        match &mut self.entries.get_mut(&link)?.state {
            State::Open(open) => {
                open.close(code, reason);
                let overdue = open.overdue();
                self.set_overdue(link, overdue);
                self.touch(link);
                None
            }
            State::Dialling(..) => {
                self.forget(link);
                let why = OpenError::Abandoned;
                Some(Input::OpenFailed { link, why })
            }
            State::Securing(_) => {
                self.forget(link);
                let why = Closure::Local;
                Some(Input::Closed { link, why })
            }
            State::Guest(..) | State::Draining(_) => None,
        }
    }

    /// The next that a link does or hears; none: nothing the machine has to know. Pending: it has to wait.
    pub(crate) fn progress(&mut self, link: LinkId, limit: usize) -> task::Poll<Option<Input>> {
        let Some(entry) = self.entries.get_mut(&link) else {
            return task::Poll::Pending;
        };
        match &mut entry.state {
            State::Open(open) => {
                let news = open.progress(limit);
                let overdue = open.overdue();
                self.set_overdue(link, overdue);
                news.map(|news| match news {
                    News::Frame(frame) => Some(Input::Frame { link, frame }),
                    News::Written => Some(Input::Written { link }),
                    News::Nothing => None,
                    News::ReadyForTls => self.secure(link),
                    News::Closed(why) => {
                        self.drain_socket(link, !matches!(why, Closure::Lost { .. }));
                        Some(Input::Closed { link, why })
                    }
                })
            }
            State::Securing(socket) => {
                let handshake = socket.handshake();
                handshake.map(|handshake| self.secured(link, handshake))
            }
            State::Draining(socket) => match socket.discard() {
                task::Poll::Pending => task::Poll::Pending,
                task::Poll::Ready(Ok(1..)) => task::Poll::Ready(None),
                task::Poll::Ready(_) => {
                    self.forget(link);
                    task::Poll::Pending
                }
            },
            State::Dialling(dialling, until) => {
                let before = (Some(mem::discriminant(&*dialling)), *until);
                let dialling = mem::replace(dialling, Dialling::LookingUp);
                let token = entry.token;
                let registry = self.poll.registry();
                let opening = dialling.proceed(&Registration { registry, token });
                self.opening(link, before, opening)
                    .map_or(task::Poll::Pending, |input| task::Poll::Ready(Some(input)))
            }
            State::Guest(..) => self.receive(link),
        }
    }

    /// Ends our direction of a link that has closed, and hears the peer out where its socket still works.
    fn drain_socket(&mut self, link: LinkId, works: bool) {
        let Some(entry) = self.entries.remove(&link) else {
            return;
        };
        let token = entry.token;
        if let Some(at) = entry.overdue {
            self.alarms.remove(&(at, Owner::Link(link)));
        }
        match entry.state {
            State::Open(open) if works => self.drain(link, token, open.into_socket()),
            State::Securing(socket) if works => self.drain(link, token, socket),
            _ => drop(self.owners.remove(&token)),
        }
    }

    fn drain(&mut self, link: LinkId, token: Token, mut socket: Socket) {
        if socket.shutdown().is_ok() {
            let entry = Entry {
                token,
                state: State::Draining(socket),
                overdue: Some(Instant::now() + self.config.close_timeout),
                tls: OnRequest::Never,
            };
            self.enter(link, entry);
        } else {
            self.owners.remove(&token);
        }
    }

    /// Goes on with the reception of a guest.
    fn receive(&mut self, link: LinkId) -> task::Poll<Option<Input>> {
        let Some(Entry {
            token,
            state: State::Guest(guest, door),
            overdue,
            tls,
        }) = self.entries.remove(&link)
        else {
            return task::Poll::Pending;
        };
        let peer = guest.peer;
        match guest.proceed() {
            Reception::Waiting(guest) => {
                let state = State::Guest(guest, door);
                let entry = Entry {
                    token,
                    state,
                    overdue,
                    tls,
                };
                self.entries.insert(link, entry);
                return task::Poll::Pending;
            }
            Reception::Open(transport) => {
                let entry = Entry {
                    token,
                    state: State::Open(Link::new(transport, self.config.close_timeout)),
                    overdue,
                    tls,
                };
                self.enter(link, entry);
                self.set_overdue(link, None);
                self.leave_door(door);
                let peer = Some(peer.ip().to_canonical());
                return task::Poll::Ready(Some(Input::Accepted { link, peer }));
            }
            Reception::Refused(error, socket) => {
                tracing::debug!(%peer, %error, "connection not accepted");
                if let Some(at) = overdue {
                    self.alarms.remove(&(at, Owner::Link(link)));
                }
                match socket {
                    Some(socket) => self.drain(link, token, socket),
                    None => drop(self.owners.remove(&token)),
                }
                self.leave_door(door);
            }
        }
        task::Poll::Pending
    }

    /// Ends what takes too long, and says so where the machine knows of it.
    pub(crate) fn expire(&mut self, link: LinkId) -> Option<Input> {
        let entry = self.entries.get(&link)?;
        if entry.overdue? > Instant::now() {
            return None;
        }
        if let State::Dialling(_, until) = entry.state
            && until.is_none_or(|until| until > Instant::now())
        {
            // Not the end: another address is to be tried.
            self.set_overdue(link, None);
            self.touch(link);
            return None;
        }
        let state = self.take(link)?;
        match state {
            State::Open(open) => {
                let why = open.expire();
                Some(Input::Closed { link, why })
            }
            State::Securing(_) => {
                let why = fault::tls_too_slow();
                Some(Input::Closed { link, why })
            }
            State::Guest(guest, door) => {
                tracing::debug!(peer = %guest.peer, "connection not accepted: no upgrade in time");
                self.leave_door(door);
                None
            }
            State::Dialling(dialling, _) => {
                let why = dialling.expire();
                Some(Input::OpenFailed { link, why })
            }
            State::Draining(_) => None,
        }
    }

    fn take(&mut self, link: LinkId) -> Option<State> {
        let entry = self.entries.remove(&link)?;
        self.owners.remove(&entry.token);
        Some(entry.state)
    }

    /// Opens a door: the listener reports to this token from now on.
    pub(crate) fn add_door(&mut self, mut listener: TcpListener, kind: Kind) -> io::Result<Token> {
        let token = Token(self.next_token);
        let registry = self.poll.registry();
        registry.register(&mut listener, token, Interest::READABLE)?;
        self.next_token += 1;
        self.owners.insert(token, Owner::Door(token));
        let door = Door {
            listener,
            kind,
            handshakes: 0,
            paused: None,
        };
        self.doors.insert(token, door);
        self.ready.insert(Owner::Door(token));
        Ok(token)
    }

    /// Closes a door; those who came through it stay.
    pub(crate) fn remove_door(&mut self, token: Token) {
        self.doors.remove(&token);
        self.owners.remove(&token);
    }

    /// Lets in who stands at the door, as many as may be in the handshake at once.
    pub(crate) fn admit(&mut self, token: Token) {
        let Some(door) = self.doors.get_mut(&token) else {
            return;
        };
        if door.paused.is_some_and(|until| until > Instant::now()) {
            return;
        }
        door.paused = None;
        while door.handshakes < self.config.max_handshakes.max(1) {
            match door.listener.accept() {
                Ok((tcp, peer)) => {
                    door.handshakes += 1;
                    let kind = door.kind.clone();
                    return self.welcome(token, tcp, peer, kind);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if fault::is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    let until = Instant::now() + PAUSE_AFTER_FAILED_ACCEPT;
                    door.paused = Some(until);
                    self.alarms.insert((until, Owner::Door(token)));
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, door: Token, mut tcp: mio::net::TcpStream, peer: SocketAddr, kind: Kind) {
        // More may stand there; those inside have their turn first.
        self.ready.insert(Owner::Door(door));
        // It fails only on a connection that is gone, which the first read tells as well.
        let _ = tcp.set_nodelay(true);
        let link = LinkId::accepted(self.accepted);
        self.accepted += 1;
        let token = self.new_token(Owner::Link(link));
        let registry: &Registry = self.poll.registry();
        if let Err(error) = (Registration { registry, token }).register(&mut tcp) {
            tracing::warn!(%error, "cannot watch a connection");
            self.owners.remove(&token);
            self.leave_door(door);
            return;
        }
        let tls = kind
            .on_request()
            .map_or(OnRequest::Never, OnRequest::Server);
        let guest = Guest::new(tcp, peer, kind, &self.config);
        let entry = Entry {
            token,
            state: State::Guest(guest, door),
            overdue: Some(Instant::now() + self.config.handshake_timeout),
            tls,
        };
        self.enter(link, entry);
    }

    /// Closes all doors and links.
    fn go_away(&mut self) {
        for token in mem::take(&mut self.doors).into_keys() {
            self.owners.remove(&token);
        }
        for link in self.entries.keys().copied().collect::<Vec<_>>() {
            match self.entries.get(&link).map(|entry| &entry.state) {
                Some(State::Dialling(..) | State::Guest(..) | State::Securing(_)) => {
                    self.forget(link);
                }
                _ => drop(self.close(link, CloseCode::GOING_AWAY, String::new())),
            }
        }
    }

    /// Closes everything, as the end of a machine wants it, and waits for that.
    pub(crate) fn run_out(&mut self) {
        self.go_away();
        while !self.entries.is_empty() {
            let (ready, _) = self.wait(None);
            while let Some(owner) = self.overdue() {
                if let Owner::Link(link) = owner {
                    self.expire(link);
                }
            }
            for owner in ready {
                if let Owner::Link(link) = owner
                    && self.progress(link, 0).is_ready()
                {
                    self.touch(link);
                }
            }
        }
    }
}
