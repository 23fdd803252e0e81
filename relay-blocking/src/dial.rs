//! Opens links: name lookup, TCP, a proxy on the way, TLS, WebSocket upgrade.

use crate::{
    attempts::Attempts,
    socket::{Security, Socket, would_block},
    transport::{ByteStream, Transport, WebSocket},
};
use bytes::{Buf, Bytes};
use mio::{Interest, Registry, Token, net::TcpStream};
use relay_proto::{
    Closure, Endpoint, OpenError,
    proxy::{Answer, Connect},
};
use relay_transport::{
    Config, Route, fault,
    tls::{TlsClients, server_name},
    websocket,
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Instant,
};
use tungstenite::{
    ClientHandshake, HandshakeError, client::client_with_config, handshake::MidHandshake,
};

/// What is to be opened, and how.
pub(crate) struct Plan {
    route: Route,
    /// Taken by the steps they are for.
    proxy_tls: Option<Tls>,
    server_tls: Option<Tls>,
    config: Arc<Config>,
}

/// A plan, and where its first hop is; or why there is none.
pub(crate) type Found = Result<(Box<Plan>, Vec<SocketAddr>), OpenError>;

/// A TLS client, and whom it expects.
type Tls = (Arc<ClientConfig>, ServerName<'static>);

/// What must wait, and so happens on a thread of its own: the name lookup, and reading the platform's certificates.
pub(crate) struct Preparation {
    config: Arc<Config>,
    tls: Mutex<Option<TlsClients>>,
}

impl Preparation {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            tls: Mutex::new(None),
        }
    }

    pub(crate) fn prepare(&self, endpoint: Endpoint) -> Found {
        let route = Route::new(endpoint, &self.config);
        let addresses = route
            .first_hop()
            .to_socket_addrs()
            .map_err(|error| route.unresolved(&error))?
            .collect();
        let unavailable = |detail| route.tls_unavailable(detail);
        let proxy_tls = match route.proxy() {
            Some(proxy) if proxy.is_tls() => {
                let clients = self.tls().map_err(unavailable)?;
                Some((
                    clients.proxy,
                    server_name(proxy.host()).map_err(unavailable)?,
                ))
            }
            _ => None,
        };
        let server_tls = match route.is_tls() {
            true => {
                let clients = self.tls().map_err(unavailable)?;
                let (host, _) = route.server();
                Some((clients.server, server_name(host).map_err(unavailable)?))
            }
            false => None,
        };
        let plan = Box::new(Plan {
            route,
            proxy_tls,
            server_tls,
            config: Arc::clone(&self.config),
        });
        Ok((plan, addresses))
    }

    /// What TLS with `host` on an open link takes.
    pub(crate) fn secure(&self, host: &str) -> Result<Security, Closure> {
        let clients = self.tls().map_err(fault::not_secured)?;
        let name = server_name(host).map_err(fault::not_secured)?;
        Ok(Security::Client(clients.server, name))
    }

    /// The TLS clients, made when they are first needed.
    fn tls(&self) -> Result<TlsClients, String> {
        let mut made = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = &*made {
            return Ok(clients.clone());
        }
        let clients = TlsClients::new(&self.config).map_err(|error| error.to_string())?;
        Ok(made.insert(clients).clone())
    }
}

/// A link that is being opened.
pub(crate) enum Dialling {
    LookingUp,
    Connecting {
        attempts: Attempts,
        plan: Box<Plan>,
    },
    SecuringProxy {
        socket: Socket,
        plan: Box<Plan>,
    },
    Tunnelling {
        socket: Socket,
        unsent: Bytes,
        connect: Connect,
        plan: Box<Plan>,
    },
    Securing {
        socket: Socket,
        plan: Box<Plan>,
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
    /// Starts to connect.
    pub(crate) fn connect(
        plan: Box<Plan>,
        addresses: Vec<SocketAddr>,
        registration: &Registration<'_>,
    ) -> Result<Opening, OpenError> {
        let attempts = Attempts::new(addresses);
        Self::Connecting { attempts, plan }.proceed(registration)
    }

    /// When [`proceed`](Self::proceed) has something to do, even where the socket says nothing.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        match self {
            Self::Connecting { attempts, .. } => attempts.wake_at(),
            _ => None,
        }
    }

    /// Why a link does not open whose present step takes too long. A name lookup does not: the system bounds it.
    pub(crate) fn expire(self) -> OpenError {
        let error = io::Error::from(io::ErrorKind::TimedOut);
        match self {
            Self::LookingUp => OpenError::Abandoned,
            Self::Connecting { plan, .. } => plan.route.no_answer(),
            Self::SecuringProxy { plan, .. } => plan.route.proxy_tls_failed(&error),
            Self::Tunnelling { plan, .. } => plan.route.tunnel_broke(&error),
            Self::Securing { plan, .. } => plan.route.tls_failed(&error),
            Self::Upgrading { name, .. } => fault::upgrade(name, error.into()),
        }
    }

    /// Goes on as far as the socket allows.
    pub(crate) fn proceed(self, registration: &Registration<'_>) -> Result<Opening, OpenError> {
        match self {
            Self::LookingUp => Ok(Opening::Waiting(self)),
            Self::Connecting { mut attempts, plan } => match attempts.proceed(registration) {
                Poll::Pending => Ok(Opening::Waiting(Self::Connecting { attempts, plan })),
                Poll::Ready(Ok(tcp)) => plan.start(Socket::Plain(tcp)),
                Poll::Ready(Err(failed)) => Err(plan.route.unreachable(&failed)),
            },
            Self::SecuringProxy { socket, plan } => plan.secure_proxy(socket),
            Self::Tunnelling {
                socket,
                unsent,
                connect,
                plan,
            } => plan.tunnel(socket, unsent, connect),
            Self::Securing { socket, plan } => plan.secure(socket),
            Self::Upgrading { handshake, name } => upgraded(handshake.handshake(), name),
        }
    }
}

/// The steps from a connection to a link, each of which goes on with the next.
impl Plan {
    /// The connection is there.
    fn start(mut self: Box<Self>, tcp: Socket) -> Result<Opening, OpenError> {
        match self.proxy_tls.take() {
            Some(tls) => {
                let socket = self.client(tcp, tls)?;
                self.secure_proxy(socket)
            }
            None => self.reach_server(tcp),
        }
    }

    fn client(&self, below: Socket, (config, name): Tls) -> Result<Socket, OpenError> {
        Socket::client(below, config, name)
            .map_err(|error| self.route.tls_unavailable(error.to_string()))
    }

    fn secure_proxy(self: Box<Self>, mut socket: Socket) -> Result<Opening, OpenError> {
        match socket.handshake() {
            Poll::Pending => {
                let plan = self;
                Ok(Opening::Waiting(Dialling::SecuringProxy { socket, plan }))
            }
            Poll::Ready(Err(error)) => Err(self.route.proxy_tls_failed(&error)),
            Poll::Ready(Ok(())) => self.reach_server(socket),
        }
    }

    /// Whoever was connected to is ready.
    fn reach_server(self: Box<Self>, socket: Socket) -> Result<Opening, OpenError> {
        match self.route.tunnel() {
            Some(connect) => {
                let unsent = connect.request().clone();
                self.tunnel(socket, unsent, connect)
            }
            None => self.talk(socket),
        }
    }

    fn tunnel(
        self: Box<Self>,
        mut socket: Socket,
        mut unsent: Bytes,
        mut connect: Connect,
    ) -> Result<Opening, OpenError> {
        let plan = self;
        loop {
            // One at a time, so that nothing is read which is the tunnel's already.
            let mut byte = [0];
            let exchanged = match unsent.is_empty() {
                false => would_block(socket.write(&unsent)),
                true => would_block(socket.flush().and_then(|()| socket.read(&mut byte))),
            };
            let length = match exchanged {
                Poll::Ready(Ok(length)) => length,
                Poll::Ready(Err(error)) => return Err(plan.route.tunnel_broke(&error)),
                Poll::Pending => {
                    return Ok(Opening::Waiting(Dialling::Tunnelling {
                        socket,
                        unsent,
                        connect,
                        plan,
                    }));
                }
            };
            if length == 0 {
                return Err(plan.route.no_tunnel(connect.handle_end()));
            }
            if !unsent.is_empty() {
                unsent.advance(length);
                continue;
            }
            let answer = connect.handle_bytes(&byte);
            connect = match answer.map_err(|error| plan.route.no_tunnel(error))? {
                Answer::Incomplete(connect) => connect,
                Answer::Established { .. } => return plan.talk(socket),
            };
        }
    }

    /// What is sent from here on arrives at the server.
    fn talk(mut self: Box<Self>, socket: Socket) -> Result<Opening, OpenError> {
        let socket = match self.server_tls.take() {
            Some(tls) => self.client(socket, tls)?,
            None => return self.upgrade(socket),
        };
        self.secure(socket)
    }

    fn secure(self: Box<Self>, mut socket: Socket) -> Result<Opening, OpenError> {
        match socket.handshake() {
            Poll::Pending => {
                let plan = self;
                Ok(Opening::Waiting(Dialling::Securing { socket, plan }))
            }
            Poll::Ready(Err(error)) => Err(self.route.tls_failed(&error)),
            Poll::Ready(Ok(())) => self.upgrade(socket),
        }
    }

    fn upgrade(&self, socket: Socket) -> Result<Opening, OpenError> {
        match self.route.endpoint() {
            Endpoint::Stream(_) => Ok(Opening::Open(Box::new(ByteStream::new(socket)))),
            Endpoint::WebSocket(url) => {
                let name = url.to_string();
                let request = match websocket::request(url, &self.config.headers) {
                    Ok(request) => request,
                    Err(error) => return Err(fault::upgrade(name, error)),
                };
                let config = websocket::config(self.config.max_frame_bytes);
                upgraded(client_with_config(request, socket, Some(config)), name)
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
