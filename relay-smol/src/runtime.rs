//! What smol lends the driver.

use relay_async::{Clock, FuturesIo};
use smol::{
    Timer,
    net::{TcpListener, TcpStream, resolve},
};
use std::{
    future::Future,
    io,
    net::{Shutdown, SocketAddr},
    time::Instant,
};

/// Stands for smol in the types of [`relay_async`].
#[derive(Clone, Copy, Debug)]
pub enum Smol {}

impl Clock for Smol {
    async fn sleep_until(at: Instant) {
        Timer::at(at).await;
    }
}

impl FuturesIo for Smol {
    type Listener = TcpListener;
    type Tcp = TcpStream;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }

    async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        resolve((host, port)).await
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
