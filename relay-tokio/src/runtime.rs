//! What tokio lends the driver.

use relay_async::{Buffered, Clock, Origins, Runtime};
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Instant};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, lookup_host},
    time,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config, client_async_with_config,
    tungstenite::{
        self,
        handshake::client::Request,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};

/// Stands for tokio in the types of [`relay_async`].
#[derive(Clone, Copy, Debug)]
pub enum Tokio {}

/// TCP, or TLS over it.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

type Socket = Box<dyn Connection>;

fn boxed(connection: impl Connection + 'static) -> Compat<Socket> {
    let boxed: Socket = Box::new(connection);
    boxed.compat()
}

impl Clock for Tokio {
    fn now() -> Instant {
        time::Instant::now().into_std()
    }

    fn sleep_until(at: Instant) -> impl Future<Output = ()> + Send {
        time::sleep_until(at.into())
    }
}

impl Runtime for Tokio {
    type Listener = TcpListener;
    type Socket = Compat<Socket>;
    type WebSocket = WebSocketStream<Compat<Buffered<Compat<Socket>>>>;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }

    async fn connect(to: SocketAddr) -> io::Result<Self::Socket> {
        let tcp = TcpStream::connect(to).await?;
        tcp.set_nodelay(true)?;
        Ok(boxed(tcp))
    }

    async fn accept(listener: &TcpListener) -> io::Result<(Self::Socket, SocketAddr)> {
        let (tcp, peer) = listener.accept().await?;
        // It fails only on a connection that is gone, which the first read tells as well.
        let _ = tcp.set_nodelay(true);
        Ok((boxed(tcp), peer))
    }

    async fn tls_connect(
        socket: Self::Socket,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self::Socket> {
        let connecting = TlsConnector::from(config).connect(name, socket.into_inner());
        Ok(boxed(connecting.await?))
    }

    async fn tls_accept(
        socket: Self::Socket,
        config: Arc<ServerConfig>,
    ) -> Result<Self::Socket, (Self::Socket, io::Error)> {
        let accepting = TlsAcceptor::from(config).accept(socket.into_inner());
        match accepting.into_fallible().await {
            Ok(tls) => Ok(boxed(tls)),
            Err((error, socket)) => Err((socket.compat(), error)),
        }
    }

    async fn websocket_connect(
        socket: Self::Socket,
        request: Request,
        config: WebSocketConfig,
    ) -> Result<Self::WebSocket, tungstenite::Error> {
        let socket = Buffered::new(socket).compat();
        let (websocket, _) = client_async_with_config(request, socket, Some(config)).await?;
        Ok(websocket)
    }

    async fn websocket_accept(
        socket: Self::Socket,
        config: WebSocketConfig,
        origins: Origins,
    ) -> Result<Self::WebSocket, (Self::Socket, tungstenite::Error)> {
        let mut socket = socket.into_inner();
        // Lent, so that it can be given back. The library refuses a request that has bytes behind it, so none are lost.
        match accept_hdr_async_with_config(&mut socket, origins, Some(config)).await {
            Ok(_) => {
                let socket = Buffered::new(socket.compat()).compat();
                Ok(WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await)
            }
            Err(error) => Err((socket.compat(), error)),
        }
    }

    fn socket(websocket: &mut Self::WebSocket) -> &mut Buffered<Self::Socket> {
        websocket.get_mut().get_mut()
    }
}
