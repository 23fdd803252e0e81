//! Accepts links: listeners, and the connections that have still to become links.

use crate::{
    socket::Socket,
    transport::{ByteStream, Transport, WebSocket},
};
use mio::net::{TcpListener, TcpStream};
use relay_transport::{Config, Origins, fault, tls::StreamTls, websocket};
use rustls::ServerConfig;
use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Instant,
};
use tungstenite::{
    HandshakeError, ServerHandshake, WebSocket as Protocol, accept_hdr_with_config,
    handshake::MidHandshake,
    protocol::{Role, WebSocketConfig},
};

/// What a listener expects of a connection.
#[derive(Clone)]
pub(crate) enum Kind {
    WebSocket(Option<Arc<ServerConfig>>),
    Stream(StreamTls),
}

impl Kind {
    /// What TLS is started with when the machine asks for it.
    pub(crate) fn on_request(&self) -> Option<Arc<ServerConfig>> {
        match self {
            Self::Stream(StreamTls::OnRequest(tls)) => Some(Arc::clone(tls)),
            _ => None,
        }
    }
}

/// A listener, and how many of its connections have proved nothing yet.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) kind: Kind,
    pub(crate) handshakes: usize,
    /// Set where the system could not give a connection: when to try again.
    pub(crate) paused: Option<Instant>,
}

/// An accepted connection that is not yet a link.
pub(crate) struct Guest {
    pub(crate) peer: SocketAddr,
    stage: Stage,
    terms: Terms,
}

/// What a WebSocket is let in under.
#[derive(Clone)]
struct Terms {
    config: WebSocketConfig,
    origins: Origins,
}

enum Stage {
    Arrived(TcpStream, Kind),
    Securing(Socket, Above),
    Upgrading(Box<MidHandshake<ServerHandshake<Lent, Origins>>>, Lent),
}

/// What comes behind TLS.
#[derive(Clone, Copy)]
enum Above {
    WebSocket,
    Stream,
}

/// Where the reception of a guest has come to.
pub(crate) enum Reception {
    Waiting(Guest),
    Open(Box<dyn Transport>),
    /// It wants no WebSocket and has been told so, as far as there is something to tell.
    Refused(io::Error, Option<Socket>),
}

impl Guest {
    pub(crate) fn new(tcp: TcpStream, peer: SocketAddr, kind: Kind, config: &Config) -> Self {
        Self {
            peer,
            stage: Stage::Arrived(tcp, kind),
            terms: Terms {
                config: websocket::config(config.max_frame_bytes),
                origins: config.origins.clone(),
            },
        }
    }

    /// Goes on as far as the socket allows.
    pub(crate) fn proceed(self) -> Reception {
        match self.stage {
            Stage::Arrived(tcp, kind) => {
                let (above, tls) = match kind {
                    Kind::WebSocket(tls) => (Above::WebSocket, tls),
                    Kind::Stream(StreamTls::Implicit(tls)) => (Above::Stream, Some(tls)),
                    Kind::Stream(StreamTls::None | StreamTls::OnRequest(_)) => {
                        (Above::Stream, None)
                    }
                };
                let socket = match tls {
                    Some(tls) => Socket::server(tcp, tls),
                    None => Ok(Socket::Plain(tcp)),
                };
                match socket {
                    Ok(socket) => Self::secure(self.peer, socket, above, self.terms),
                    Err(error) => Reception::Refused(io::Error::other(error), None),
                }
            }
            Stage::Securing(socket, above) => Self::secure(self.peer, socket, above, self.terms),
            Stage::Upgrading(handshake, lent) => {
                Self::upgraded(self.peer, handshake.handshake(), lent, self.terms)
            }
        }
    }

    fn secure(peer: SocketAddr, mut socket: Socket, above: Above, terms: Terms) -> Reception {
        match socket.handshake() {
            Poll::Ready(Ok(())) => match above {
                Above::Stream => Reception::Open(Box::new(ByteStream::new(socket))),
                Above::WebSocket => {
                    let lent = Lent(Arc::new(Mutex::new(socket)));
                    let Terms { config, origins } = terms.clone();
                    let handshake = accept_hdr_with_config(lent.clone(), origins, Some(config));
                    Self::upgraded(peer, handshake, lent, terms)
                }
            },
            // TLS has told the peer why; heard out, it gets to read that.
            Poll::Ready(Err(error)) => Reception::Refused(error, Some(socket)),
            Poll::Pending => {
                let stage = Stage::Securing(socket, above);
                Reception::Waiting(Self { peer, stage, terms })
            }
        }
    }

    /// The server's half of the opening handshake (RFC 6455, section 4.2).
    ///
    /// The library bounds the request to 64 KiB, and refuses one that has bytes behind it.
    fn upgraded(
        peer: SocketAddr,
        handshake: Result<Protocol<Lent>, HandshakeError<ServerHandshake<Lent, Origins>>>,
        lent: Lent,
        terms: Terms,
    ) -> Reception {
        match handshake {
            Ok(websocket) => {
                drop(websocket);
                let websocket =
                    Protocol::from_raw_socket(lent.back(), Role::Server, Some(terms.config));
                Reception::Open(Box::new(WebSocket::new(websocket)))
            }
            Err(HandshakeError::Interrupted(handshake)) => {
                let stage = Stage::Upgrading(Box::new(handshake), lent);
                Reception::Waiting(Self { peer, stage, terms })
            }
            Err(HandshakeError::Failure(error)) => {
                let answer = fault::refusal(&error);
                let socket = answer.and_then(|answer| {
                    let mut socket = lent.back();
                    // Nothing was sent before, so there is room for it.
                    let sent = socket
                        .write_all(answer.as_bytes())
                        .and_then(|()| socket.flush());
                    sent.is_ok().then_some(socket)
                });
                Reception::Refused(io::Error::other(error), socket)
            }
        }
    }
}

/// A socket lent to the handshake, so that a client that asks for something else still gets an answer.
#[derive(Clone)]
struct Lent(Arc<Mutex<Socket>>);

impl Lent {
    /// One thread alone uses a socket, so there is never anybody to wait for.
    fn socket(&self) -> MutexGuard<'_, Socket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn back(self) -> Socket {
        Arc::into_inner(self.0)
            .expect("the handshake is over and has dropped its end")
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Lent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket().read(buffer)
    }
}

impl Write for Lent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket().flush()
    }
}
