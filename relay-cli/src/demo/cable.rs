//! A cable with scissors: passes bytes between client and relay, and cuts one connection.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpSocket, TcpStream},
    select,
    sync::oneshot,
};

/// A cable that is not plugged in: who connects to it waits.
pub(super) struct Cable {
    listener: TcpListener,
    address: SocketAddr,
}

impl Cable {
    /// Lays a cable.
    ///
    /// # Errors
    ///
    /// Where there is no free port.
    pub(super) fn lay() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // A short cable: what is in it when it is cut is far from a whole message.
        socket.set_recv_buffer_size(64 * 1024)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(16)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where to connect to.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes connections on to `target` from now on, and cuts the first one when `limit` bytes have gone
    /// towards it. Returns the news of the cut.
    pub(super) fn plug_in(self, target: SocketAddr, limit: usize) -> oneshot::Receiver<()> {
        let (tell, cut) = oneshot::channel();
        tokio::spawn(async move {
            let mut scissors = Some(tell);
            while let Ok((client, _)) = self.listener.accept().await {
                tokio::spawn(connect(client, target, limit, scissors.take()));
            }
        });
        cut
    }
}

async fn connect(
    client: TcpStream,
    target: SocketAddr,
    limit: usize,
    scissors: Option<oneshot::Sender<()>>,
) {
    let limit = scissors.as_ref().map(|_| limit);
    let cut = pass(client, target, limit).await;
    if let (Ok(true), Some(scissors)) = (cut, scissors) {
        // The story may be over.
        let _ = scissors.send(());
    }
}

/// Passes bytes until an end hangs up, or to the limit; says whether it was the limit. Both connections break then.
async fn pass(client: TcpStream, target: SocketAddr, limit: Option<usize>) -> io::Result<bool> {
    let relay = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_relay, mut to_relay) = relay.into_split();
    let there = async {
        let mut buffer = [0; 16 * 1024];
        let mut passed = 0;
        loop {
            let count = from_client.read(&mut buffer).await?;
            if count == 0 {
                return Ok(false);
            }
            to_relay.write_all(&buffer[..count]).await?;
            passed += count;
            if limit.is_some_and(|limit| passed >= limit) {
                return Ok(true);
            }
        }
    };
    let back = async {
        copy(&mut from_relay, &mut to_client).await?;
        Ok(false)
    };
    select! {
        cut = there => cut,
        ended = back => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_connection_is_cut_and_the_second_is_not() {
        let relay = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = relay.local_addr().unwrap();
        let cable = Cable::lay().unwrap();
        let address = cable.address();
        let cut = cable.plug_in(target, 10);
        let received = tokio::spawn(async move {
            let mut received = [0; 2];
            for count in &mut received {
                let (mut stream, _) = relay.accept().await.unwrap();
                let mut bytes = Vec::new();
                // A connection that was cut may end with an error.
                let _ = stream.read_to_end(&mut bytes).await;
                *count = bytes.len();
            }
            received
        });
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(&[0; 10]).await.unwrap();
        cut.await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(&[0; 100]).await.unwrap();
        drop(second);
        assert_eq!(received.await.unwrap(), [10, 100]);
    }
}
