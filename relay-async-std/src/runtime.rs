//! What async-std lends the driver.

use async_std::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    task,
};
use relay_async::{Clock, FuturesIo};
use std::{
    future::Future,
    io,
    net::{Shutdown, SocketAddr},
    time::Instant,
};

/// Stands for async-std in the types of [`relay_async`].
#[derive(Clone, Copy, Debug)]
pub enum AsyncStd {}

impl Clock for AsyncStd {
    async fn sleep_until(at: Instant) {
        task::sleep(at.saturating_duration_since(Self::now())).await;
    }
}

impl FuturesIo for AsyncStd {
    type Listener = TcpListener;
    type Tcp = TcpStream;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        task::spawn(task);
    }

    async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs().await?.collect())
    }

    async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect(to).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let (tcp, peer) = listener.accept().await?;
        // It fails only on a connection that is gone, which the first read tells as well.
        let _ = tcp.set_nodelay(true);
        Ok((tcp, peer))
    }

    fn shutdown(tcp: &TcpStream) -> io::Result<()> {
        tcp.shutdown(Shutdown::Write)
    }
}
