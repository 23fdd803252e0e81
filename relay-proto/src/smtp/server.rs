//! An SMTP server: a machine with a session on every accepted byte stream.

use super::{
    ForwardPath, MailParameters, Reply, Request, ReversePath, Session, SessionConfig, Turn, reply,
};
use crate::{Action, CloseCode, Closure, Deadline, Frame, Input, LinkId, Machine, Time};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    format,
    string::String,
};
use bytes::Bytes;
use core::{fmt, mem, net::IpAddr, time::Duration};

/// How much of a link's traffic is held, in bytes, before the server stops reading it: input it has not worked through, events the
/// application has not taken, replies the peer has not. Enough for a good rate at a long round trip, little for a thousand links.
const MAX_HELD: usize = 64 * 1024;

/// The most that is read at a time, in bytes.
const MAX_READ: usize = 64 * 1024;

/// What an event counts against [`MAX_HELD`] besides its content, about its size in memory: a peer that sends content byte by
/// byte makes many.
const EVENT_BYTES: usize = 128;

/// How a [`Server`] behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// How each conversation is held.
    pub session: SessionConfig,
    /// The most links at a time. Further ones are told 421.
    pub max_links: usize,
    /// How long a client may take for a command (RFC 5321, section 4.5.3.2.7).
    pub command_timeout: Duration,
    /// How long a client may pause in its content (RFC 5321, section 4.5.3.2.5).
    pub content_timeout: Duration,
}

impl ServerConfig {
    /// At most 100 links, so that all of them together hold some 20 MB; five minutes for a command, three for content to go on.
    pub const fn new(session: SessionConfig) -> Self {
        Self {
            session,
            max_links: 100,
            command_timeout: Duration::from_secs(5 * 60),
            content_timeout: Duration::from_secs(3 * 60),
        }
    }
}

/// An SMTP server (RFC 5321) for byte streams that a driver accepts.
///
/// It asks the application by events and is answered with [`respond`](Self::respond): [`ServerEvent::Mail`],
/// [`ServerEvent::Recipient`] and [`ServerEvent::EndOfContent`] are questions, the rest is news. While a question is open
/// the client waits, and its silence is not held against it.
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

/// News from a [`Server`].
///
/// A transaction begins with a positive answer to [`Mail`](Self::Mail). It ends with the answer to
/// [`EndOfContent`](Self::EndOfContent), or else with the first [`Reset`](Self::Reset) or [`Closed`](Self::Closed) of its link: then
/// what came of its content is of no use.
///
/// `Debug` shows the length of content only.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A client has connected.
    Opened {
        /// On which link.
        link: LinkId,
        /// From where, where the transport knows.
        peer: Option<IpAddr>,
    },
    /// A question: may a message from this sender come?
    Mail {
        /// On which link.
        link: LinkId,
        /// The sender.
        reverse_path: ReversePath,
        /// What the client says about the message.
        parameters: MailParameters,
    },
    /// A question: may the message go to this recipient?
    Recipient {
        /// On which link.
        link: LinkId,
        /// The recipient.
        forward_path: ForwardPath,
    },
    /// The next piece of the message: header and body, lines with CRLF as a rule.
    Content {
        /// On which link.
        link: LinkId,
        /// The piece, never empty.
        content: Bytes,
    },
    /// A question: that was the message; is it accepted? Who says yes is responsible for it from then on.
    EndOfContent {
        /// On which link.
        link: LinkId,
    },
    /// The transaction is given up.
    Reset {
        /// On which link.
        link: LinkId,
    },
    /// A link has ended. Nothing about it follows.
    Closed {
        /// Which link.
        link: LinkId,
        /// How it ended.
        why: Closure,
    },
    /// Clients were sent away, as there were too many links or the server is shutting down.
    Refused {
        /// How many since the last event of this kind.
        count: u64,
    },
    /// The server has ended. Nothing follows.
    Finished,
}

#[derive(Debug)]
struct Link {
    session: Session,
    /// The lengths of what was sent and is not written yet, oldest first.
    unwritten: VecDeque<usize>,
    unwritten_bytes: usize,
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
        let mut session = Session::new(self.config.session.clone());
        let greeting = format!("{} ESMTP", self.config.session.host_name);
        session.greet(reply(220, "", greeting));
        self.links.insert(
            link,
            Link {
                session,
                unwritten: VecDeque::new(),
                unwritten_bytes: 0,
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
                state.unwritten.push_back(output.len());
                state.unwritten_bytes += output.len();
                let frame = Frame::Binary(output);
                self.actions.push_back(Action::Send { link, frame });
            }
            let event = match request {
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

impl ServerEvent {
    /// The link the event is about, if it is about one.
    pub const fn link(&self) -> Option<LinkId> {
        match self {
            Self::Opened { link, .. }
            | Self::Mail { link, .. }
            | Self::Recipient { link, .. }
            | Self::Content { link, .. }
            | Self::EndOfContent { link }
            | Self::Reset { link }
            | Self::Closed { link, .. } => Some(*link),
            Self::Refused { .. } | Self::Finished => None,
        }
    }

    /// Whether the event is to be answered with [`Server::respond`].
    pub const fn is_question(&self) -> bool {
        matches!(
            self,
            Self::Mail { .. } | Self::Recipient { .. } | Self::EndOfContent { .. }
        )
    }

    fn weight(&self) -> usize {
        match self {
            Self::Content { content, .. } => EVENT_BYTES + content.len(),
            _ => EVENT_BYTES,
        }
    }
}

impl fmt::Debug for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened {
                link,
                peer: Some(peer),
            } => write!(f, "{link} Opened from {peer}"),
            Self::Opened { link, peer: None } => write!(f, "{link} Opened"),
            Self::Mail {
                link,
                reverse_path,
                parameters,
            } => write!(f, "{link} Mail({reverse_path}{parameters})"),
            Self::Recipient { link, forward_path } => write!(f, "{link} Recipient({forward_path})"),
            Self::Content { link, content } => {
                write!(f, "{link} Content({} bytes)", content.len())
            }
            Self::EndOfContent { link } => write!(f, "{link} EndOfContent"),
            Self::Reset { link } => write!(f, "{link} Reset"),
            Self::Closed { link, why } => write!(f, "{link} Closed({why})"),
            Self::Refused { count } => write!(f, "Refused({count})"),
            Self::Finished => f.write_str("Finished"),
        }
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
#[path = "server_tests.rs"]
mod tests;
