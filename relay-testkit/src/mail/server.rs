//! A mail server that refuses mallory.

use crate::{
    Binding, Running,
    peer::{self, HANGS},
};
use relay_proto::{
    LinkId, Time,
    smtp::{Server, ServerConfig, ServerEvent, SessionConfig, reply},
};
use relay_transport::{Config, tls::StreamTls};
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::mpsc::{Receiver, Sender, channel},
};

type Answer = Box<dyn FnMut(&mut Server, Time, ServerEvent) + Send>;

/// A mail server on the binding. It refuses every recipient called mallory, and takes everything else.
pub struct MailServer<B: Binding> {
    address: SocketAddr,
    inbox: Receiver<Vec<u8>>,
    _running: B::Running<Server, Answer>,
}

impl<B: Binding> MailServer<B> {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// Where it cannot listen.
    pub fn start() -> Self {
        let (deliver, inbox) = channel();
        let mut react = answering(deliver);
        let answer: Answer = Box::new(move |server, now, event| react(server, now, &event));
        let running = B::spawn(machine(), answer, Config::default());
        let (listener, address) = peer::listener();
        // It listens until it ends.
        drop(running.listen_stream(listener, StreamTls::None));
        Self {
            address,
            inbox,
            _running: running,
        }
    }
}

impl<B: Binding> MailServer<B> {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether nothing is there that was not handed out by [`delivered`](Self::delivered). A message that is there is lost.
    pub fn is_empty(&self) -> bool {
        self.inbox.try_recv().is_err()
    }

    /// Waits for the next message it takes.
    ///
    /// # Panics
    ///
    /// Where none comes within a minute.
    pub fn delivered(&self) -> Vec<u8> {
        self.inbox.recv_timeout(HANGS).expect("a message comes")
    }
}

impl<B: Binding> fmt::Debug for MailServer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

pub(crate) fn machine() -> Server {
    let session = SessionConfig::new("mx.test".parse().unwrap());
    Server::new(ServerConfig::new(session))
}

/// How the server's questions are answered.
pub(crate) fn answering(
    deliver: Sender<Vec<u8>>,
) -> impl FnMut(&mut Server, Time, &ServerEvent) + Send + 'static {
    let mut messages: BTreeMap<LinkId, Vec<u8>> = BTreeMap::new();
    move |server, now, event| match event {
        ServerEvent::Mail { link, .. } => {
            server.respond(now, *link, reply(250, "2.1.0", "ok"));
        }
        ServerEvent::Recipient { link, forward_path } => {
            let answer = match forward_path.to_string().contains("mallory") {
                true => reply(550, "5.1.1", "No such user"),
                false => reply(250, "2.1.5", "ok"),
            };
            server.respond(now, *link, answer);
        }
        ServerEvent::Content { link, content } => {
            messages
                .entry(*link)
                .or_default()
                .extend_from_slice(content);
        }
        ServerEvent::EndOfContent { link } => {
            // Nobody may want to know what comes.
            let _ = deliver.send(messages.remove(link).unwrap_or_default());
            server.respond(now, *link, reply(250, "2.0.0", "taken"));
        }
        ServerEvent::Reset { link } | ServerEvent::Closed { link, .. } => {
            messages.remove(link);
        }
        _ => {}
    }
}
