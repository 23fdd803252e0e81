//! What a runtime lends the driver.

use crate::Buffered;
use futures_util::{
    Sink, Stream,
    io::{AsyncRead, AsyncWrite},
};
use relay_transport::{FAR, Origins};
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use std::{
    fmt::Debug,
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::select;
use tungstenite::{Message, handshake::client::Request, protocol::WebSocketConfig};

/// A runtime's clock.
///
/// Implemented, like [`Runtime`], by a type that stands for the runtime and of which there need not be a value; it can be
/// cloned and shown so that the handles that name it can.
pub trait Clock: Clone + Debug + Send + Sync + 'static {
    /// What the clock shows. A runtime whose clock a test can stop overrides it.
    fn now() -> Instant {
        Instant::now()
    }

    /// Waits until the clock shows at least `at`.
    fn sleep_until(at: Instant) -> impl Future<Output = ()> + Send;
}

/// A runtime: tasks, sockets, TLS and WebSockets, besides its [`Clock`].
///
/// Where the runtime's sockets are those of futures-io, implement `FuturesIo` instead (feature `futures-io`), which asks
/// for less. Dropping a future that one of these functions has returned abandons what it was about to do.
pub trait Runtime: Clock {
    /// A bound TCP listener.
    type Listener: Send + Sync + 'static;

    /// A connection: TCP, or TLS over it. Closing it ends this side's direction and no more (RFC 9293, section 3.6).
    type Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// A WebSocket over such a connection. It answers pings and close frames by itself.
    type WebSocket: Stream<Item = Result<Message, tungstenite::Error>>
        + Sink<Message, Error = tungstenite::Error>
        + Unpin
        + Send
        + 'static;

    /// Runs a task to its end, whoever waits for it.
    fn spawn(task: impl Future<Output = ()> + Send + 'static);

    /// Looks up the addresses of a host, which may be an address itself.
    fn resolve(host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects over TCP, with Nagle's algorithm off.
    fn connect(to: SocketAddr) -> impl Future<Output = io::Result<Self::Socket>> + Send;

    /// Takes the next connection, with Nagle's algorithm off.
    fn accept(
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Socket, SocketAddr)>> + Send;

    /// The client's side of the TLS handshake, with a server that must show a certificate for `name`.
    ///
    /// An error holds the [`rustls::Error`], where there is one.
    fn tls_connect(
        socket: Self::Socket,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    ) -> impl Future<Output = io::Result<Self::Socket>> + Send;

    /// The server's side of the TLS handshake. Where it fails, the connection comes back, so that the driver can hear the
    /// client out: TLS has told it why.
    fn tls_accept(
        socket: Self::Socket,
        config: Arc<ServerConfig>,
    ) -> impl Future<Output = Result<Self::Socket, (Self::Socket, io::Error)>> + Send;

    /// The client's side of the opening handshake (RFC 6455, section 4.1).
    fn websocket_connect(
        socket: Self::Socket,
        request: Request,
        config: WebSocketConfig,
    ) -> impl Future<Output = Result<Self::WebSocket, tungstenite::Error>> + Send;

    /// The server's side of the opening handshake (RFC 6455, section 4.2). Where it fails, the connection comes back: the
    /// driver answers.
    fn websocket_accept(
        socket: Self::Socket,
        config: WebSocketConfig,
        origins: Origins,
    ) -> impl Future<Output = Result<Self::WebSocket, (Self::Socket, tungstenite::Error)>> + Send;

    /// The connection below a WebSocket, with what is still to be flushed.
    fn socket(websocket: &mut Self::WebSocket) -> &mut Buffered<Self::Socket>;
}

/// Waits, for up to about 30 years.
pub(crate) fn sleep<C: Clock>(duration: Duration) -> impl Future<Output = ()> + Send {
    C::sleep_until(C::now() + duration.min(FAR))
}

/// The future's result; none where it takes longer than that.
pub(crate) async fn timeout<C: Clock, T>(
    patience: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    select! {
        biased;
        result = future => Some(result),
        () = sleep::<C>(patience) => None,
    }
}
