//! The plainest tunnel there is: bytes of a TCP connection as binary messages of a WebSocket, and back.

use crate::Outcome;
use futures_util::{SinkExt, StreamExt};
use std::net::{IpAddr, SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Bytes, Message},
};

/// The end next to the client: takes TCP, speaks WebSocket to the far end.
pub(crate) fn near(here: IpAddr, far: SocketAddr) -> Outcome<()> {
    serve(here, move |tcp| async move {
        let stream = connect(far).await?;
        let (websocket, _) = client_async(format!("ws://{far}/"), stream).await?;
        carry(tcp, websocket).await
    })
}

/// The end next to the server.
pub(crate) fn far(here: IpAddr, server: SocketAddr) -> Outcome<()> {
    serve(here, move |tcp| async move {
        let websocket = accept_async(tcp).await?;
        carry(connect(server).await?, websocket).await
    })
}

async fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn serve<F>(here: IpAddr, handle: impl Fn(TcpStream) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind((here, 0)).await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (tcp, _) = listener.accept().await?;
            tcp.set_nodelay(true)?;
            tokio::spawn(handle(tcp));
        }
    })
}

async fn carry(tcp: TcpStream, websocket: WebSocketStream<TcpStream>) -> Outcome<()> {
    let (mut from_tcp, mut to_tcp) = tcp.into_split();
    let (mut to_websocket, mut from_websocket) = websocket.split();
    let there = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_tcp.read(&mut buffer).await?;
            if count == 0 {
                return Outcome::Ok(());
            }
            let message = Message::Binary(Bytes::copy_from_slice(&buffer[..count]));
            to_websocket.send(message).await?;
        }
    };
    let back = async {
        while let Some(message) = from_websocket.next().await {
            to_tcp.write_all(&message?.into_data()).await?;
        }
        Outcome::Ok(())
    };
    select! {
        ended = there => ended,
        ended = back => ended,
    }
}
