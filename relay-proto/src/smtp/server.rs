//! An SMTP server: a machine with a session on every accepted byte stream.

mod config;
mod event;

pub use config::ServerConfig;
pub use event::ServerEvent;

use super::{Reply, Request, Session, Turn, reply};
use crate::{Action, CloseCode, Deadline, Frame, Input, LinkId, Machine, Time};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    format,
    string::String,
};
use bytes::Bytes;
use core::{mem, net::IpAddr};
use event::EVENT_BYTES;

/// How much of a link's traffic is held, in bytes, before the server stops reading it: input it has not worked through, events the
/// application has not taken, replies the peer has not. Enough for a good rate at a long round trip, little for a thousand links.
const MAX_HELD: usize = 64 * 1024;

/// The most that is read at a time, in bytes.
const MAX_READ: usize = 64 * 1024;

/// An SMTP server (RFC 5321) for byte streams that a driver accepts.
///
/// It asks the application by events and is answered with [`respond`](Self::respond): [`ServerEvent::Credentials`],
/// [`ServerEvent::Mail`], [`ServerEvent::Recipient`] and [`ServerEvent::EndOfContent`] are questions, the rest is news. While a
/// question is open the client waits, and its silence is not held against it.
///
/// TLS is the driver's: where [`SessionConfig::security`](super::SessionConfig::security) offers STARTTLS, the server has it started
/// by [`Action::StartTls`]; what a client has sent behind STARTTLS in clear is never worked on.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    links: BTreeMap<LinkId, Link>,
    /// Links that were one too many and are not closed yet.
    refused: BTreeSet<LinkId>,
    /// Links whose end the application has not heard of. They count as links: else a peer that comes and goes would fill
    /// the queue of a slow application.
    unheard: usize,
    actions: VecDeque<Action>,
    events: VecDeque<ServerEvent>,
    /// Links refused since the application heard of the last, as a number, because anyone can make many.
    refusals: u64,
    life: Life,
}

#[derive(Debug)]
struct Link {
    session: Session,
    /// The lengths of what was sent and is not written yet, oldest first.
    unwritten: VecDeque<usize>,
    unwritten_bytes: usize,
    /// The driver is asked to start TLS. Nothing is read or sent until it has.
    is_securing: bool,
    /// What events the application has not taken weigh.
    untaken_bytes: usize,
    /// When the client last did what it was to do.
    active_at: Time,
    /// The application was told of a question and has not answered it.
    is_asking: bool,
    /// The application was what held the client up, until an unknown time since `active_at`.
    was_held: bool,
    /// The driver is asked to close the link.
    closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    Draining,
    Finished,
}

impl Server {
    /// A server without links.
    pub const fn new(config: ServerConfig) -> Self {
        Self {
            config,
            links: BTreeMap::new(),
            refused: BTreeSet::new(),
            unheard: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            refusals: 0,
            life: Life::Serving,
        }
    }

    /// Answers the question that is open on a link: the one the application was told of and has not answered. 421 ends the session.
    ///
    /// Returns whether there was one: a link may end before the answer comes, and its client then does not know it.
    pub fn respond(&mut self, now: Time, link: LinkId, reply: Reply) -> bool {
        let Some(state) = self.links.get_mut(&link) else {
            return false;
        };
        if !mem::take(&mut state.is_asking) || state.session.turn() != Turn::Owner {
            return false;
        }
        state.session.respond(reply);
        self.work(now, link);
        true
    }

    /// Stops the server: it takes no new links, says 421 where no message is under way, lets the others finish theirs, and ends.
    /// Asked a second time, it says 421 to those as well.
    pub fn shutdown(&mut self, now: Time) {
        let again = self.life == Life::Draining;
        if self.life == Life::Serving {
            self.life = Life::Draining;
        }
        let links: VecDeque<_> = self.links.keys().copied().collect();
        for link in links {
            if again && let Some(state) = self.links.get_mut(&link) {
                state.session.close(shutting_down());
            }
            self.work(now, link);
        }
        self.finish_if_done();
    }

    /// How many clients are connected.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    fn accept(&mut self, now: Time, link: LinkId, peer: Option<IpAddr>) {
        let draining = self.life == Life::Draining;
        if draining || self.links.len() + self.unheard >= self.config.max_links {
            let reply = if draining {
                shutting_down()
            } else {
                reply(421, "4.3.2", "Too many connections, try again later")
            };
            self.refused.insert(link);
            self.refusals += 1;
            self.actions.push_back(Action::Send {
                link,
                frame: Frame::Binary(reply.to_bytes()),
            });
            self.actions.push_back(close(link));
            return;
        }
        let mut config = self.config.session.clone();
        if let Some(authentication) = &mut config.authentication {
            authentication.in_clear |= peer.is_some_and(|peer| peer.to_canonical().is_loopback());
        }
        let mut session = Session::new(config);
        let greeting = format!("{} ESMTP", self.config.session.host_name);
        session.greet(reply(220, "", greeting));
        self.links.insert(
            link,
            Link {
                session,
                unwritten: VecDeque::new(),
                unwritten_bytes: 0,
                is_securing: false,
                untaken_bytes: EVENT_BYTES,
                active_at: now,
                is_asking: false,
                was_held: false,
                closing: false,
            },
        );
        self.events.push_back(ServerEvent::Opened { link, peer });
        self.work(now, link);
    }

    /// Works through what a session has to ask and to say.
    fn work(&mut self, now: Time, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        // A peer that does not take its replies gets no more of them. The last words are few, so they may go on top.
        while state.unwritten_bytes < MAX_HELD || state.session.turn() == Turn::Over {
            let is_idle = state.session.turn() == Turn::Command && !state.session.in_transaction();
            if is_idle && self.life == Life::Draining {
                state.session.close(shutting_down());
            }
            let request = state.session.poll_request();
            let output = state.session.poll_output();
            if request.is_none() && output.is_none() {
                break;
            }
            state.active_at = now;
            if let Some(output) = output {
                self.actions.push_back(state.send(link, output));
            }
            let event = match request {
                Some(Request::StartTls) => {
                    let ready = reply(220, "2.0.0", "Ready to start TLS");
                    state.session.respond(ready);
                    state.is_securing = true;
                    if let Some(output) = state.session.poll_output() {
                        self.actions.push_back(state.send(link, output));
                    }
                    self.actions.push_back(Action::StartTls { link });
                    break;
                }
                Some(Request::Credentials(credentials)) => {
                    ServerEvent::Credentials { link, credentials }
                }
                Some(Request::Mail {
                    reverse_path,
                    parameters,
                }) => ServerEvent::Mail {
                    link,
                    reverse_path,
                    parameters,
                },
                Some(Request::Recipient(forward_path)) => {
                    ServerEvent::Recipient { link, forward_path }
                }
                Some(Request::Data) => {
                    let text = "End data with <CR><LF>.<CR><LF>";
                    state.session.respond(reply(354, "", text));
                    continue;
                }
                Some(Request::Content(content)) => ServerEvent::Content { link, content },
                Some(Request::EndOfContent) => ServerEvent::EndOfContent { link },
                Some(Request::Reset) => ServerEvent::Reset { link },
                Some(Request::Quit) | None => continue,
            };
            state.untaken_bytes += event.weight();
            self.events.push_back(event);
        }
        if state.session.is_closed() && !state.closing {
            state.closing = true;
            self.actions.push_back(close(link));
        }
    }

    fn finish_if_done(&mut self) {
        if self.life == Life::Draining && self.links.is_empty() && self.refused.is_empty() {
            self.life = Life::Finished;
            let refused = self.take_refusals();
            self.events.extend(refused);
            self.events.push_back(ServerEvent::Finished);
        }
    }

    fn take_refusals(&mut self) -> Option<ServerEvent> {
        let count = mem::take(&mut self.refusals);
        (count > 0).then_some(ServerEvent::Refused { count })
    }
}

impl Machine for Server {
    type Event = ServerEvent;

    fn handle_input(&mut self, now: Time, input: Input) {
        if self.life == Life::Finished {
            return;
        }
        match input {
            Input::Accepted { link, peer } => self.accept(now, link, peer),
            Input::Frame {
                link,
                frame: Frame::Binary(bytes),
            } => {
                if let Some(state) = self.links.get_mut(&link) {
                    if state.session.turn() == Turn::Content {
                        state.active_at = now;
                    }
                    state.session.handle_bytes(&bytes);
                    self.work(now, link);
                }
            }
            Input::Written { link } => {
                if let Some(state) = self.links.get_mut(&link) {
                    state.unwritten_bytes -= state.unwritten.pop_front().unwrap_or(0);
                    self.work(now, link);
                }
            }
            Input::Secured { link } => {
                if let Some(state) = self.links.get_mut(&link)
                    && mem::take(&mut state.is_securing)
                {
                    state.session.secured();
                    state.active_at = now;
                    self.work(now, link);
                }
            }
            Input::Closed { link, why } => {
                if self.links.remove(&link).is_some() {
                    self.unheard += 1;
                    self.events.push_back(ServerEvent::Closed { link, why });
                }
                self.refused.remove(&link);
                self.finish_if_done();
            }
            // A server opens and stores nothing, and a byte stream knows nothing else.
            Input::Opened { .. }
            | Input::OpenFailed { .. }
            | Input::Frame { .. }
            | Input::Stored { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        let is_due = |state: &Link| {
            let deadline = state.deadline(&self.config);
            deadline.is_some_and(|deadline| deadline.at <= now)
        };
        let due = self.links.iter().filter(|(_, state)| is_due(state));
        let due: VecDeque<_> = due.map(|(link, _)| *link).collect();
        for link in due {
            if let Some(state) = self.links.get_mut(&link) {
                if mem::take(&mut state.was_held) {
                    state.active_at = now;
                    continue;
                }
                let text = "Timeout, closing connection";
                state.session.close(reply(421, "4.4.2", text));
                self.work(now, link);
            }
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        Deadline::earliest(
            self.links
                .values()
                .map(|state| state.deadline(&self.config)),
        )
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        let Some(event) = self.events.pop_front() else {
            return self.take_refusals();
        };
        if matches!(event, ServerEvent::Closed { .. }) {
            self.unheard -= 1;
        } else if let Some(state) = event.link().and_then(|link| self.links.get_mut(&link)) {
            state.was_held |= state.is_held_by_us();
            state.untaken_bytes -= event.weight();
            state.is_asking = event.is_question();
        }
        Some(event)
    }

    fn read_limit(&self, link: LinkId) -> usize {
        match self.links.get(&link) {
            // Already before the reply to STARTTLS is sent: what a client says to it is TLS, and not for us.
            Some(state) if state.is_securing => 0,
            Some(state) if state.held() < MAX_HELD => MAX_READ,
            Some(_) => 0,
            None if self.refused.contains(&link) => MAX_READ,
            None => 0,
        }
    }

    fn is_finished(&self) -> bool {
        self.life == Life::Finished
    }
}

impl Link {
    fn send(&mut self, link: LinkId, output: Bytes) -> Action {
        self.unwritten.push_back(output.len());
        self.unwritten_bytes += output.len();
        let frame = Frame::Binary(output);
        Action::Send { link, frame }
    }

    fn held(&self) -> usize {
        self.session.buffered() + self.untaken_bytes + self.unwritten_bytes
    }

    /// Whether it is the application alone that keeps the server from reading on.
    fn is_held_by_us(&self) -> bool {
        let held = self.held();
        held >= MAX_HELD && held - self.untaken_bytes < MAX_HELD
    }

    fn deadline(&self, config: &ServerConfig) -> Option<Deadline> {
        let (timer, timeout) = match self.session.turn() {
            _ if self.is_held_by_us() => return None,
            Turn::Owner | Turn::Over => return None,
            Turn::Command => ("command", config.command_timeout),
            Turn::Content => ("content", config.content_timeout),
        };
        let at = self.active_at.after(timeout);
        Some(Deadline { at, timer })
    }
}

const fn close(link: LinkId) -> Action {
    Action::Close {
        link,
        code: CloseCode::NORMAL,
        reason: String::new(),
    }
}

fn shutting_down() -> Reply {
    reply(421, "4.3.2", "Service shutting down")
}

#[cfg(test)]
mod tests;
