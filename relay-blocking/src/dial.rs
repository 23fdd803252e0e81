//! Opens links: name lookup, TCP, TLS, WebSocket upgrade.

use crate::{
    socket::{Security, Socket},
    transport::{ByteStream, Transport, WebSocket},
};
use mio::{Interest, Registry, Token, net::TcpStream};
use relay_proto::{Closure, Endpoint, OpenError};
use relay_transport::{Config, fault, tls, websocket};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    vec,
};
use tungstenite::{
    ClientHandshake, HandshakeError, client::client_with_config, handshake::MidHandshake,
};

/// What is to be opened, and how.
pub(crate) struct Plan {
    endpoint: Endpoint,
    name: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    max_frame_bytes: usize,
}

/// What must wait, and so happens on a thread of its own: the name lookup, and reading the platform's certificates.
pub(crate) struct Preparation {
    config: Config,
    tls: Mutex<Option<Arc<ClientConfig>>>,
}

impl Preparation {
    pub(crate) const fn new(config: Config) -> Self {
        let tls = Mutex::new(None);
        Self { config, tls }
    }

    pub(crate) fn prepare(&self, endpoint: Endpoint) -> Result<(Plan, Vec<SocketAddr>), OpenError> {
        let name = endpoint.to_string();
        let (host, port, is_tls) = match &endpoint {
            Endpoint::WebSocket(url) => (url.host(), url.port(), url.is_tls()),
            Endpoint::Stream(to) => (to.host(), to.port(), to.is_tls()),
        };
        let addresses = (host, port)
            .to_socket_addrs()
            .map_err(|error| fault::unresolved(name.clone(), &error))?
            .collect();
        let tls = match is_tls {
            true => Some(
                self.tls(host)
                    .map_err(|detail| fault::tls_unavailable(name.clone(), detail))?,
            ),
            false => None,
        };
        let max_frame_bytes = self.config.max_frame_bytes;
        let plan = Plan {
            endpoint,
            name,
            tls,
            max_frame_bytes,
        };
        Ok((plan, addresses))
    }

    /// What TLS with `host` on an open link takes.
    pub(crate) fn secure(&self, host: &str) -> Result<Security, Closure> {
        let (config, name) = self.tls(host).map_err(fault::not_secured)?;
        Ok(Security::Client(config, name))
    }

    /// The TLS client, made when it is first needed.
    fn tls(&self, host: &str) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
        let mut made = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        let config = match &*made {
            Some(config) => Arc::clone(config),
            None => {
                let config = tls::client_config(self.config.extra_roots.clone())
                    .map_err(|error| error.to_string())?;
                Arc::clone(made.insert(config))
            }
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("no certificate can name the host {host:?}"))?;
        Ok((config, name))
    }
}

/// A link that is being opened.
pub(crate) enum Dialling {
    LookingUp,
    Connecting {
        tcp: TcpStream,
        others: vec::IntoIter<SocketAddr>,
        plan: Plan,
    },
    Securing {
        socket: Socket,
        plan: Plan,
    },
    Upgrading {
        handshake: Box<MidHandshake<ClientHandshake<Socket>>>,
        name: String,
    },
}

/// Where an opening has come to.
pub(crate) enum Opening {
    Waiting(Dialling),
    Open(Box<dyn Transport>),
}

/// Where events of a socket are to be reported.
pub(crate) struct Registration<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) token: Token,
}

impl Registration<'_> {
    pub(crate) fn register(&self, tcp: &mut TcpStream) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(tcp, self.token, interest)
    }
}

impl Dialling {
    /// Starts to connect to the first address, or to the next where that fails at once.
    pub(crate) fn connect(
        plan: Plan,
        addresses: Vec<SocketAddr>,
        registration: &Registration<'_>,
    ) -> Result<Opening, OpenError> {
        let nothing = io::Error::other("the host has no address");
        Self::connect_next(plan, addresses.into_iter(), nothing, registration)
    }

    fn connect_next(
        plan: Plan,
        mut others: vec::IntoIter<SocketAddr>,
        mut error: io::Error,
        registration: &Registration<'_>,
    ) -> Result<Opening, OpenError> {
        for address in others.by_ref() {
            let connecting = TcpStream::connect(address).and_then(|mut tcp| {
                registration.register(&mut tcp)?;
                Ok(tcp)
            });
            match connecting {
                Ok(tcp) => return Ok(Opening::Waiting(Self::Connecting { tcp, others, plan })),
                Err(failure) => error = failure,
            }
        }
        Err(fault::unreachable(plan.name, &error))
    }

    /// Goes on as far as the socket allows.
    pub(crate) fn proceed(self, registration: &Registration<'_>) -> Result<Opening, OpenError> {
        match self {
            Self::LookingUp => Ok(Opening::Waiting(self)),
            Self::Connecting { tcp, others, plan } => match connected(&tcp) {
                Poll::Pending => Ok(Opening::Waiting(Self::Connecting { tcp, others, plan })),
                Poll::Ready(Ok(())) => plan.secure(tcp),
                Poll::Ready(Err(error)) => Self::connect_next(plan, others, error, registration),
            },
            Self::Securing { socket, plan } => plan.upgrade(socket),
            Self::Upgrading { handshake, name } => upgraded(handshake.handshake(), name),
        }
    }
}

/// Whether a connection that was begun is there.
fn connected(tcp: &TcpStream) -> Poll<io::Result<()>> {
    if let Some(error) = tcp.take_error().transpose() {
        return Poll::Ready(error.and_then(Err));
    }
    match tcp.peer_addr() {
        Ok(_) => Poll::Ready(tcp.set_nodelay(true)),
        // Some systems say the one, some the other, while it takes its time.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput
            ) =>
        {
            Poll::Pending
        }
        Err(error) => Poll::Ready(Err(error)),
    }
}

impl Plan {
    fn secure(mut self, tcp: TcpStream) -> Result<Opening, OpenError> {
        let socket = match self.tls.take() {
            None => Socket::Plain(tcp),
            Some((config, name)) => Socket::client(tcp, config, name)
                .map_err(|error| fault::tls_unavailable(self.name.clone(), error.to_string()))?,
        };
        self.upgrade(socket)
    }

    fn upgrade(self, mut socket: Socket) -> Result<Opening, OpenError> {
        match socket.handshake() {
            Poll::Pending => {
                return Ok(Opening::Waiting(Dialling::Securing { socket, plan: self }));
            }
            Poll::Ready(Err(error)) => return Err(fault::tls(self.name, &error)),
            Poll::Ready(Ok(())) => {}
        }
        match &self.endpoint {
            Endpoint::Stream(_) => Ok(Opening::Open(Box::new(ByteStream::new(socket)))),
            Endpoint::WebSocket(url) => {
                let config = websocket::config(self.max_frame_bytes);
                let handshake = client_with_config(url.as_str(), socket, Some(config));
                upgraded(handshake, self.name)
            }
        }
    }
}

type Handshake<T> = Result<T, HandshakeError<ClientHandshake<Socket>>>;

fn upgraded<R>(
    handshake: Handshake<(tungstenite::WebSocket<Socket>, R)>,
    name: String,
) -> Result<Opening, OpenError> {
    match handshake {
        Ok((websocket, _)) => Ok(Opening::Open(Box::new(WebSocket::new(websocket)))),
        Err(HandshakeError::Interrupted(handshake)) => {
            let handshake = Box::new(handshake);
            Ok(Opening::Waiting(Dialling::Upgrading { handshake, name }))
        }
        Err(HandshakeError::Failure(error)) => Err(fault::upgrade(name, error)),
    }
}
