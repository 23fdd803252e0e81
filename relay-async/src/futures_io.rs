//! Every runtime whose sockets are those of futures-io.

use crate::{Buffered, Clock, Runtime};
use async_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};
use futures_rustls::{TlsAcceptor, TlsConnector};
use futures_util::io::{AsyncRead, AsyncWrite};
use relay_transport::Origins;
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tungstenite::{
    handshake::client::Request,
    protocol::{Role, WebSocketConfig},
};

/// What differs between runtimes whose sockets are those of futures-io. Whatever implements it is a [`Runtime`], with TLS
/// of futures-rustls and WebSockets of async-tungstenite.
pub trait FuturesIo: Clock {
    /// A bound TCP listener.
    type Listener: Send + Sync + 'static;

    /// A TCP connection.
    type Tcp: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// As [`Runtime::spawn`].
    fn spawn(task: impl Future<Output = ()> + Send + 'static);

    /// As [`Runtime::resolve`].
    fn resolve(host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// As [`Runtime::connect`].
    fn connect(to: SocketAddr) -> impl Future<Output = io::Result<Self::Tcp>> + Send;

    /// As [`Runtime::accept`].
    fn accept(
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Tcp, SocketAddr)>> + Send;

    /// Ends this side's direction. Asked for by itself, since closing a connection does no such thing on every runtime.
    fn shutdown(tcp: &Self::Tcp) -> io::Result<()>;
}

impl<R: FuturesIo> Runtime for R {
    type Listener = R::Listener;
    type Socket = Box<dyn Connection>;
    type WebSocket = WebSocketStream<Buffered<Self::Socket>>;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        R::spawn(task);
    }

    fn resolve(host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        R::resolve(host, port)
    }

    async fn connect(to: SocketAddr) -> io::Result<Self::Socket> {
        Ok(Box::new(Tcp::<R>(R::connect(to).await?)))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(Self::Socket, SocketAddr)> {
        let (tcp, peer) = R::accept(listener).await?;
        Ok((Box::new(Tcp::<R>(tcp)), peer))
    }

    async fn tls_connect(
        socket: Self::Socket,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self::Socket> {
        let tls = TlsConnector::from(config).connect(name, socket).await?;
        Ok(Box::new(tls))
    }

    async fn tls_accept(
        socket: Self::Socket,
        config: Arc<ServerConfig>,
    ) -> Result<Self::Socket, (Self::Socket, io::Error)> {
        let accepting = TlsAcceptor::from(config).accept(socket).into_fallible();
        match accepting.await {
            Ok(tls) => Ok(Box::new(tls)),
            Err((error, socket)) => Err((socket, error)),
        }
    }

    async fn websocket_connect(
        socket: Self::Socket,
        request: Request,
        config: WebSocketConfig,
    ) -> Result<Self::WebSocket, tungstenite::Error> {
        let socket = Buffered::new(socket);
        let (websocket, _) = client_async_with_config(request, socket, Some(config)).await?;
        Ok(websocket)
    }

    async fn websocket_accept(
        mut socket: Self::Socket,
        config: WebSocketConfig,
        origins: Origins,
    ) -> Result<Self::WebSocket, (Self::Socket, tungstenite::Error)> {
        // Lent, so that it can be given back. The library refuses a request that has bytes behind it, so none are lost.
        match accept_hdr_async_with_config(&mut socket, origins, Some(config)).await {
            Ok(_) => {
                let socket = Buffered::new(socket);
                Ok(WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await)
            }
            Err(error) => Err((socket, error)),
        }
    }

    fn socket(websocket: &mut Self::WebSocket) -> &mut Buffered<Self::Socket> {
        websocket.get_mut()
    }
}

/// TCP, or TLS over it.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

/// A TCP connection that ends its direction when it is closed.
struct Tcp<R: FuturesIo>(R::Tcp);

impl<R: FuturesIo> AsyncRead for Tcp<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<R: FuturesIo> AsyncWrite for Tcp<R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.as_mut().poll_flush(context))?;
        Poll::Ready(R::shutdown(&self.0))
    }
}
