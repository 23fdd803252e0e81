//! TLS on links that are open.

use super::{Network, State};
use crate::{link::Link, socket::Security, transport::ByteStream};
use relay_proto::{Closure, Input, LinkId};
use relay_transport::fault;
use rustls::ServerConfig;
use std::{io, mem, sync::Arc, time::Instant};

/// What TLS a link can start when the machine asks for it.
#[derive(Clone)]
pub(crate) enum OnRequest {
    Never,
    /// With this certificate.
    Server(Arc<ServerConfig>),
    /// With a certificate of this host; how, is to be found out.
    Client(String),
    /// It is asked for, and starts when everything before it is written.
    Due(Security),
}

impl Network {
    /// What TLS a link can start; none: it has ended, or is about to.
    pub(crate) fn tls_on_request(&self, link: LinkId) -> Option<OnRequest> {
        let entry = self.entries.get(&link)?;
        matches!(entry.state, State::Open(_)).then(|| entry.tls.clone())
    }

    /// Starts TLS after what was sent on a link before, or ends the link where that is impossible, and says so.
    pub(crate) fn start_tls(
        &mut self,
        link: LinkId,
        security: Result<Security, Closure>,
    ) -> Option<Input> {
        let entry = self.entries.get_mut(&link)?;
        let State::Open(open) = &mut entry.state else {
            return None;
        };
        match security {
            Ok(security) => {
                entry.tls = OnRequest::Due(security);
                open.start_tls();
                self.touch(link);
                None
            }
            Err(why) => {
                self.drain_socket(link, true);
                Some(Input::Closed { link, why })
            }
        }
    }

    /// Begins the TLS handshake on a link whose socket has taken everything.
    pub(super) fn secure(&mut self, link: LinkId) -> Option<Input> {
        let mut entry = self.entries.remove(&link)?;
        let (State::Open(open), OnRequest::Due(security)) =
            (entry.state, mem::replace(&mut entry.tls, OnRequest::Never))
        else {
            return None;
        };
        match open.into_socket().secure(security) {
            Ok(socket) => {
                entry.state = State::Securing(socket);
                self.entries.insert(link, entry);
                let overdue = Instant::now() + self.config.handshake_timeout;
                self.set_overdue(link, Some(overdue));
                None
            }
            Err(error) => {
                self.owners.remove(&entry.token);
                let why = fault::not_secured(error);
                Some(Input::Closed { link, why })
            }
        }
    }

    /// The TLS handshake is over.
    pub(super) fn secured(&mut self, link: LinkId, handshake: io::Result<()>) -> Option<Input> {
        if let Err(error) = handshake {
            // What it says about the failure is still to reach the peer.
            self.drain_socket(link, true);
            let why = fault::tls_on_link(&error);
            return Some(Input::Closed { link, why });
        }
        self.set_overdue(link, None);
        let mut entry = self.entries.remove(&link)?;
        let State::Securing(socket) = entry.state else {
            return None;
        };
        let transport = Box::new(ByteStream::new(socket));
        entry.state = State::Open(Link::new(transport, self.config.close_timeout));
        self.enter(link, entry);
        Some(Input::Secured { link })
    }
}
