//! Accepts links: a loop per listener, a task per connection.

use crate::{
    context::Context,
    link::{self, Fact},
    transport::{ByteStream, Socket, Transport, WebSocket},
};
use relay_proto::Input;
use relay_transport::{PAUSE_AFTER_FAILED_ACCEPT, fault, websocket};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    select,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, tungstenite::protocol::Role};

/// What a listener expects of a connection.
#[derive(Clone)]
pub(crate) enum Kind {
    WebSocket(Option<TlsAcceptor>),
    Stream,
}

/// Everything an accepted connection needs.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) kind: Kind,
    pub(crate) facts: mpsc::Sender<Fact>,
    pub(crate) context: Arc<Context>,
    /// Turns true, or loses its sender, when the hub ends.
    pub(crate) ending: watch::Receiver<bool>,
}

/// Accepts connections until the hub ends.
pub(crate) async fn accept(listener: TcpListener, door: Door) {
    let handshakes = Arc::new(Semaphore::new(door.context.config.max_handshakes.max(1)));
    let mut ending = door.ending.clone();
    let accepting = async {
        loop {
            let permit = Arc::clone(&handshakes)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((tcp, peer)) => {
                    tokio::spawn(door.clone().receive(tcp, peer, permit));
                }
                Err(error) if fault::is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
                }
            }
        }
    };
    select! {
        _ = ending.wait_for(|ending| *ending) => {}
        () = accepting => {}
    }
}

impl Door {
    /// Makes a link of a connection and runs it. The permit is held as long as the peer has proved nothing.
    async fn receive(self, tcp: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        // It fails only on a connection that is gone, which the first read tells as well.
        let _ = tcp.set_nodelay(true);
        let tls = match &self.kind {
            Kind::WebSocket(tls) => tls.clone(),
            Kind::Stream => {
                drop(permit);
                return self.enter(peer, ByteStream::new(tcp)).await;
            }
        };
        let mut ending = self.ending.clone();
        let upgraded = timeout(self.context.config.handshake_timeout, async {
            let socket: Box<dyn Socket> = match tls {
                Some(tls) => Box::new(tls.accept(tcp).await?),
                None => Box::new(tcp),
            };
            self.upgrade(socket).await
        });
        let upgraded = select! {
            _ = ending.wait_for(|ending| *ending) => return,
            upgraded = upgraded => upgraded.unwrap_or_else(|elapsed| Err(elapsed.into())),
        };
        drop(permit);
        match upgraded {
            Ok(websocket) => self.enter(peer, websocket).await,
            Err(error) => tracing::debug!(%peer, %error, "connection not accepted"),
        }
    }

    /// The server's half of the opening handshake (RFC 6455, section 4.2).
    ///
    /// The library bounds the request to 64 KiB, and refuses one that has bytes behind it.
    async fn upgrade(&self, mut socket: Box<dyn Socket>) -> io::Result<WebSocket<Box<dyn Socket>>> {
        let config = websocket::config(self.context.config.max_frame_bytes);
        // The socket is lent, so that a client that asks for something else still gets an answer.
        match accept_async_with_config(&mut socket, Some(config)).await {
            Ok(_) => {}
            Err(error) => {
                if let Some(answer) = fault::refusal(&error) {
                    socket.write_all(answer.as_bytes()).await?;
                    link::drain(&mut socket).await;
                }
                return Err(io::Error::other(error));
            }
        }
        let websocket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
        Ok(WebSocket(websocket))
    }

    /// Announces the link and runs it to its end.
    async fn enter(self, peer: SocketAddr, transport: impl Transport) {
        let id = self.context.next_accepted();
        let close_timeout = self.context.config.close_timeout;
        let (handle, link) = link::new(id, self.facts, close_timeout);
        link.report(Fact {
            input: Input::Accepted {
                link: id,
                peer: Some(peer.ip().to_canonical()),
            },
            handle: Some(handle),
        })
        .await;
        link.run(transport).await;
    }
}
