//! Both ends on a WebSocket library alone, used as well as it can be: one flush per wake.

use super::{PAYLOAD, Pair};
use bytes::Bytes;
use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use std::{io, net::TcpStream, sync::mpsc, thread};
use tungstenite::{
    Error, Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

trait Socket: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin {}
impl<S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin> Socket for S {}

/// Sends back what comes: all that is there, then one flush.
async fn serve(mut socket: impl Socket) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        socket.feed(message?).await?;
        while let Some(Some(message)) = socket.next().now_or_never() {
            socket.feed(message?).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn load(socket: &mut impl Socket, frames: usize, window: usize) -> Result<(), Error> {
    let payload = Bytes::from(vec![7; PAYLOAD]);
    let (mut unsent, mut missing) = (frames, frames);
    while missing > 0 {
        while unsent > 0 && missing - unsent < window {
            socket.feed(Message::Binary(payload.clone())).await?;
            unsent -= 1;
        }
        socket.flush().await?;
        socket.next().await.ok_or(Error::ConnectionClosed)??;
        missing -= 1;
        while let Some(Some(message)) = socket.next().now_or_never() {
            message?;
            missing -= 1;
        }
    }
    Ok(())
}

/// A client on a thread of its own.
struct Client {
    orders: mpsc::Sender<(usize, usize)>,
    done: mpsc::Receiver<()>,
}

impl Pair for Client {
    fn exchange(&mut self, frames: usize, window: usize) {
        self.orders
            .send((frames, window))
            .expect("the client lives");
        self.done.recv().expect("the client lives");
    }
}

/// Runs `serve` and `load` on two threads.
fn pair<S: Send + 'static>(
    sockets: (S, S),
    serve: impl FnOnce(S) -> Result<(), Error> + Send + 'static,
    load: impl FnOnce(S, &mut dyn FnMut() -> Option<(usize, usize)>) -> Result<(), Error>
    + Send
    + 'static,
) -> Box<dyn Pair> {
    let (orders, ordered) = mpsc::channel();
    let (told, done) = mpsc::channel();
    let (server, client) = sockets;
    thread::spawn(move || serve(server));
    thread::spawn(move || {
        let mut first = true;
        let mut next = || {
            if !std::mem::take(&mut first) {
                told.send(()).ok()?;
            }
            ordered.recv().ok()
        };
        load(client, &mut next)
    });
    Box::new(Client { orders, done })
}

fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    Ok((server, client))
}

fn small() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(4096)
}

pub(super) fn tokio_as_published() -> io::Result<Box<dyn Pair>> {
    on_tokio(WebSocketConfig::default())
}

pub(super) fn tokio_small() -> io::Result<Box<dyn Pair>> {
    on_tokio(small())
}

fn on_tokio(config: WebSocketConfig) -> io::Result<Box<dyn Pair>> {
    use tokio_tungstenite::WebSocketStream;
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("there is memory")
    }
    async fn websocket(
        socket: TcpStream,
        role: Role,
        config: WebSocketConfig,
    ) -> WebSocketStream<tokio::net::TcpStream> {
        socket.set_nonblocking(true).expect("it is open");
        let socket = tokio::net::TcpStream::from_std(socket).expect("the runtime runs");
        WebSocketStream::from_raw_socket(socket, role, Some(config)).await
    }
    Ok(pair(
        connected()?,
        move |socket| {
            runtime().block_on(async { serve(websocket(socket, Role::Server, config).await).await })
        },
        move |socket, next| {
            runtime().block_on(async {
                let mut socket = websocket(socket, Role::Client, config).await;
                while let Some((frames, window)) = next() {
                    load(&mut socket, frames, window).await?;
                }
                Ok(())
            })
        },
    ))
}

macro_rules! on_futures_io {
    ($name:ident, $stream:path, $block_on:path, $from:expr) => {
        pub(super) fn $name() -> io::Result<Box<dyn Pair>> {
            use async_tungstenite::WebSocketStream;
            async fn websocket(socket: TcpStream, role: Role) -> WebSocketStream<$stream> {
                WebSocketStream::from_raw_socket($from(socket), role, None).await
            }
            Ok(pair(
                connected()?,
                |socket| $block_on(async { serve(websocket(socket, Role::Server).await).await }),
                |socket, next| {
                    $block_on(async {
                        let mut socket = websocket(socket, Role::Client).await;
                        while let Some((frames, window)) = next() {
                            load(&mut socket, frames, window).await?;
                        }
                        Ok(())
                    })
                },
            ))
        }
    };
}

on_futures_io!(smol, ::smol::net::TcpStream, ::smol::block_on, |socket| {
    ::smol::net::TcpStream::try_from(socket).expect("the reactor runs")
});
on_futures_io!(
    async_std,
    ::async_std::net::TcpStream,
    ::async_std::task::block_on,
    ::async_std::net::TcpStream::from
);

/// A blocking read says nothing of what else is there, so every frame is flushed; this is how the library is used.
pub(super) fn blocking() -> io::Result<Box<dyn Pair>> {
    Ok(pair(
        connected()?,
        |socket| {
            let mut socket = WebSocket::from_raw_socket(socket, Role::Server, None);
            loop {
                let message = socket.read()?;
                socket.send(message)?;
            }
        },
        |socket, next| {
            let mut socket = WebSocket::from_raw_socket(socket, Role::Client, None);
            let payload = Bytes::from(vec![7; PAYLOAD]);
            while let Some((frames, window)) = next() {
                let (mut unsent, mut missing) = (frames, frames);
                while missing > 0 {
                    while unsent > 0 && missing - unsent < window {
                        socket.write(Message::Binary(payload.clone()))?;
                        unsent -= 1;
                    }
                    socket.flush()?;
                    socket.read()?;
                    missing -= 1;
                }
            }
            Ok(())
        },
    ))
}
