//! TCP, or TLS over it, without waiting.

use mio::net::TcpStream;
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned,
    pki_types::ServerName,
};
use std::{
    io::{self, Read, Write},
    net::Shutdown,
    sync::Arc,
    task::Poll,
};

/// A socket in non-blocking mode; what would wait fails with [`io::ErrorKind::WouldBlock`].
#[derive(Debug)]
pub(crate) enum Socket {
    Plain(TcpStream),
    /// TLS over whatever leads to the server: with a proxy of `https` there is another TLS below.
    Client(Box<StreamOwned<ClientConnection, Self>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// How TLS begins on a connection.
#[derive(Clone)]
pub(crate) enum Security {
    Client(Arc<ClientConfig>, ServerName<'static>),
    Server(Arc<ServerConfig>),
}

/// Tells apart what failed and what only has to wait.
pub(crate) fn would_block<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl Socket {
    pub(crate) fn client(
        below: Self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let connection = ClientConnection::new(config, name)?;
        Ok(Self::Client(Box::new(StreamOwned::new(connection, below))))
    }

    pub(crate) fn server(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let connection = ServerConnection::new(config)?;
        Ok(Self::Server(Box::new(StreamOwned::new(connection, tcp))))
    }

    /// TLS over what was without it so far.
    pub(crate) fn secure(self, security: Security) -> io::Result<Self> {
        match (self, security) {
            // A proxy's TLS may be below.
            (socket, Security::Client(config, name)) => Self::client(socket, config, name),
            (Self::Plain(tcp), Security::Server(config)) => Self::server(tcp, config),
            _ => return Err(io::Error::other("it is in force already")),
        }
        .map_err(io::Error::other)
    }

    /// Goes on with the TLS handshake; ready at once where there is none.
    pub(crate) fn handshake(&mut self) -> Poll<io::Result<()>> {
        loop {
            let done = match self {
                Self::Client(tls) if tls.conn.is_handshaking() => {
                    tls.conn.complete_io(&mut tls.sock)
                }
                Self::Server(tls) if tls.conn.is_handshaking() => {
                    tls.conn.complete_io(&mut tls.sock)
                }
                _ => return Poll::Ready(Ok(())),
            };
            match would_block(done) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok((0, 0))) => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Ends our direction, as far as the system takes it now.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        // A peer that takes nothing now misses the goodbye of TLS and sees the end of TCP.
        match self {
            Self::Plain(tcp) => tcp.shutdown(Shutdown::Write),
            Self::Client(tls) => {
                tls.conn.send_close_notify();
                let _ = tls.flush();
                tls.sock.shutdown()
            }
            Self::Server(tls) => {
                tls.conn.send_close_notify();
                let _ = tls.flush();
                tls.sock.shutdown(Shutdown::Write)
            }
        }
    }

    /// Throws away a piece of what still comes; ready at its end.
    ///
    /// A socket closed with unread bytes in it makes the kernel reset the connection, and the peer may then
    /// never see what was sent last.
    pub(crate) fn discard(&mut self) -> Poll<io::Result<usize>> {
        would_block(self.tcp().read(&mut [0; 4096]))
    }

    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Client(tls) => tls.sock.tcp(),
            Self::Server(tls) => &mut tls.sock,
        }
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Client(tls) => tls.write(bytes),
            Self::Server(tls) => tls.write(bytes),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Client(tls) => tls.read(buffer),
            Self::Server(tls) => tls.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.write_some(bytes) {
            // A TLS connection whose buffer is full takes nothing, which is not the end of the stream.
            Ok(0) if !matches!(self, Self::Plain(_)) => {
                self.flush()?;
                self.write_some(bytes)
            }
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            // What the upper TLS has handed down may still wait in the lower one.
            Self::Client(tls) => tls.flush().and_then(|()| tls.sock.flush()),
            Self::Server(tls) => tls.flush(),
        }
    }
}
