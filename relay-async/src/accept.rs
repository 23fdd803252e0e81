//! Accepts links: a loop per listener, a task per connection.

use crate::{
    Runtime, TlsAcceptor,
    context::Context,
    link::{self, Fact, Reports},
    runtime::{sleep, timeout},
    transport::{ByteStream, OnRequest, Transport, WebSocket},
};
use futures_util::AsyncWriteExt;
use relay_proto::Input;
use relay_transport::{PAUSE_AFTER_FAILED_ACCEPT, fault, tls::StreamTls};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

/// What a listener expects of a connection.
#[derive(Clone)]
pub(crate) enum Kind {
    WebSocket(Option<TlsAcceptor>),
    Stream(StreamTls),
}

/// Everything an accepted connection needs.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) kind: Kind,
    pub(crate) reports: Reports,
    pub(crate) context: Arc<Context>,
    /// Turns true, or loses its sender, when the hub ends.
    pub(crate) ending: watch::Receiver<bool>,
}

/// Accepts connections until the hub ends.
pub(crate) async fn accept<R: Runtime>(listener: R::Listener, door: Door) {
    let handshakes = Arc::new(Semaphore::new(door.context.config.max_handshakes.max(1)));
    let mut ending = door.ending.clone();
    let accepting = async {
        loop {
            let permit = Arc::clone(&handshakes)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            match R::accept(&listener).await {
                Ok((socket, peer)) => {
                    R::spawn(door.clone().receive::<R>(socket, peer, permit));
                }
                Err(error) if fault::is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep::<R>(PAUSE_AFTER_FAILED_ACCEPT).await;
                }
            }
        }
    };
    select! {
        _ = ending.wait_for(|ending| *ending) => {}
        () = accepting => {}
    }
}

/// A connection that is about to become a link.
enum Entered<R: Runtime> {
    WebSocket(Box<WebSocket<R>>),
    Stream(Box<ByteStream<R>>),
}

async fn secure<R: Runtime>(socket: R::Socket, tls: Option<TlsAcceptor>) -> io::Result<R::Socket> {
    match tls {
        Some(tls) => match R::tls_accept(socket, tls).await {
            Ok(socket) => Ok(socket),
            Err((mut socket, error)) => {
                link::drain(&mut socket).await;
                Err(error)
            }
        },
        None => Ok(socket),
    }
}

impl Door {
    /// Makes a link of a connection and runs it. The permit is held as long as the peer has proved nothing.
    async fn receive<R: Runtime>(
        self,
        socket: R::Socket,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        let mut ending = self.ending.clone();
        // In memory of its own, which a link that is open does not hold.
        let entered = Box::pin(timeout::<R, _>(
            self.context.config.handshake_timeout,
            async {
                match self.kind.clone() {
                    Kind::WebSocket(tls) => {
                        let socket = secure::<R>(socket, tls).await?;
                        let websocket = self.upgrade::<R>(socket).await?;
                        Ok(Entered::WebSocket(Box::new(websocket)))
                    }
                    Kind::Stream(tls) => {
                        let (now, later) = match tls {
                            StreamTls::None => (None, OnRequest::Never),
                            StreamTls::Implicit(tls) => (Some(tls), OnRequest::Never),
                            StreamTls::OnRequest(tls) => (None, OnRequest::Server(tls)),
                        };
                        let socket = secure::<R>(socket, now).await?;
                        let context = Arc::clone(&self.context);
                        let stream = ByteStream::new(socket, later, context);
                        Ok(Entered::Stream(Box::new(stream)))
                    }
                }
            },
        ));
        let entered: io::Result<Entered<R>> = select! {
            _ = ending.wait_for(|ending| *ending) => return,
            entered = entered => entered.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())),
        };
        drop(permit);
        match entered {
            Ok(Entered::WebSocket(websocket)) => self.enter::<R>(peer, websocket).await,
            Ok(Entered::Stream(stream)) => self.enter::<R>(peer, stream).await,
            Err(error) => tracing::debug!(%peer, %error, "connection not accepted"),
        }
    }

    /// The server's half of the opening handshake (RFC 6455, section 4.2).
    ///
    /// The library bounds the request to 64 KiB, and refuses one that has bytes behind it.
    async fn upgrade<R: Runtime>(&self, socket: R::Socket) -> io::Result<WebSocket<R>> {
        let config = self.context.websocket_config();
        let origins = self.context.config.origins.clone();
        match R::websocket_accept(socket, config, origins).await {
            Ok(websocket) => Ok(WebSocket(websocket)),
            Err((mut socket, error)) => {
                // A client that asks for something else still gets an answer.
                if let Some(answer) = fault::refusal(&error) {
                    socket.write_all(answer.as_bytes()).await?;
                    socket.flush().await?;
                    link::drain(&mut socket).await;
                }
                Err(io::Error::other(error))
            }
        }
    }

    /// Announces the link and runs it to its end.
    async fn enter<R: Runtime>(self, peer: SocketAddr, transport: Box<impl Transport>) {
        let id = self.context.next_accepted();
        let close_timeout = self.context.config.close_timeout;
        let (handle, link) = link::new(id, self.reports, close_timeout);
        link.report(Fact::Accepted {
            input: Input::Accepted {
                link: id,
                peer: Some(peer.ip().to_canonical()),
            },
            handle,
        });
        link.run::<R, _>(transport).await;
    }
}
