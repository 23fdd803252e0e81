//! One connection, from its first byte to its end.

use crate::websocket::WebSocket;
use bytes::Bytes;
use relay_proto::{Time, http::RequestReader};
use std::{collections::VecDeque, net::IpAddr};

/// A connection that was accepted and has not ended.
pub(crate) struct Connection {
    pub(crate) peer: Option<IpAddr>,
    pub(crate) state: State,
    pub(crate) sends: Sends,
}

pub(crate) enum State {
    /// The client has not yet said all it asks for.
    Requesting { reader: RequestReader, until: Time },
    /// The client is answered then.
    Delayed { response: Bytes, until: Time },
    /// A WebSocket, and a link of the site.
    Open(WebSocket),
    /// The site has asked for the end, and the peer has not yet agreed.
    Closing { websocket: WebSocket, until: Time },
    /// Nothing but the end of the connection is to come; the site knows of no link, or that it has ended.
    Over,
}

/// What was sent and is not written, oldest first.
#[derive(Default)]
pub(crate) struct Sends {
    waiting: VecDeque<Sent>,
    own_bytes: usize,
}

#[derive(Clone, Copy)]
enum Sent {
    /// By the site, which is told once it is written.
    Site,
    /// So many bytes of what HTTP and WebSockets need besides.
    Own(usize),
}

impl Connection {
    pub(crate) fn new(peer: Option<IpAddr>, until: Time) -> Self {
        let reader = RequestReader::new();
        Self {
            peer,
            state: State::Requesting { reader, until },
            sends: Sends::default(),
        }
    }
}

impl Sends {
    pub(crate) fn push_site(&mut self) {
        self.waiting.push_back(Sent::Site);
    }

    pub(crate) fn push_own(&mut self, bytes: usize) {
        self.waiting.push_back(Sent::Own(bytes));
        self.own_bytes += bytes;
    }

    /// Counts the oldest as written; whether it was the site's.
    pub(crate) fn written(&mut self) -> bool {
        match self.waiting.pop_front() {
            Some(Sent::Site) => true,
            Some(Sent::Own(bytes)) => {
                self.own_bytes -= bytes;
                false
            }
            None => false,
        }
    }

    /// How many bytes wait that the site knows nothing of.
    pub(crate) const fn own_bytes(&self) -> usize {
        self.own_bytes
    }
}
