//! An HTTP proxy for tests, on std's threads and sockets. Shared by the tests of several crates.

use rustls::{ServerConfig, ServerConnection};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
};

/// How a proxy behaves.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// Where which `HOST:PORT` is; anything else is a bad gateway.
    pub(crate) hosts: Vec<(String, SocketAddr)>,
    /// The Proxy-Authorization it demands.
    pub(crate) authorization: Option<&'static str>,
    /// It sends its answer byte by byte, with an interim one before it.
    pub(crate) dribbles: bool,
    /// It answers so, whatever it is asked, and ends the connection.
    pub(crate) answer: Option<&'static str>,
    /// It wants TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// A running proxy, for as long as the test runs.
pub(crate) struct ProxyPeer {
    pub(crate) address: SocketAddr,
    heads: mpsc::Receiver<String>,
}

impl ProxyPeer {
    pub(crate) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heads) = mpsc::channel();
        thread::spawn(move || {
            for tcp in listener.incoming() {
                let (manners, sender) = (manners.clone(), sender.clone());
                thread::spawn(move || {
                    // A client that is displeased goes, which is its right.
                    let _ = serve(Connection::new(tcp.unwrap(), &manners), &manners, &sender);
                });
            }
        });
        Self { address, heads }
    }

    /// What it was asked, in the order of the requests.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.heads.try_iter().collect()
    }
}

fn serve(client: Connection, manners: &Manners, heads: &mpsc::Sender<String>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
        if !head.starts_with(&b"CONNECT "[..head.len().min(8)]) {
            client.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
            return client.end();
        }
    }
    let head = String::from_utf8(head).unwrap();
    // Whoever started this may have seen enough.
    let _ = heads.send(head.clone());
    if let Some(answer) = manners.answer {
        client.write(answer.as_bytes())?;
        return client.end();
    }
    if let Some(wanted) = manners.authorization
        && !head.contains(&format!("\r\nProxy-Authorization: {wanted}\r\n"))
    {
        client.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\n\r\n")?;
        return client.end();
    }
    let target = head
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split_once(' '));
    let (target, _) = target.expect("it is asked for nothing but tunnels");
    let known = manners.hosts.iter().find(|(host, _)| host == target);
    let Some(Ok(server)) = known.map(|(_, address)| TcpStream::connect(address)) else {
        client.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nsad\n")?;
        return client.end();
    };
    server.set_nodelay(true)?;
    if manners.dribbles {
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n";
        for byte in answer {
            client.write(&[*byte])?;
        }
    } else {
        client.write(b"HTTP/1.0 200 OK\r\n\r\n")?;
    }
    carry(client, server)
}

/// Carries bytes both ways until both are done.
fn carry(client: Connection, mut server: TcpStream) -> io::Result<()> {
    let client = Arc::new(client);
    let downwards = {
        let (client, mut server) = (Arc::clone(&client), server.try_clone()?);
        thread::spawn(move || -> io::Result<()> {
            let mut piece = [0; 16 * 1024];
            loop {
                match server.read(&mut piece)? {
                    0 => return client.tcp.shutdown(Shutdown::Write),
                    length => client.write(&piece[..length])?,
                }
            }
        })
    };
    let mut piece = [0; 16 * 1024];
    loop {
        match client.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(length) => server.write_all(&piece[..length])?,
        }
    }
    // The server may have gone before.
    let _ = server.shutdown(Shutdown::Write);
    let _ = downwards.join();
    Ok(())
}

/// A client's connection, which one thread may read while another writes.
struct Connection {
    tcp: TcpStream,
    tls: Option<Mutex<ServerConnection>>,
    /// Received, and not yet taken by TLS.
    sealed: Mutex<Vec<u8>>,
}

impl Connection {
    fn new(tcp: TcpStream, manners: &Manners) -> Self {
        tcp.set_nodelay(true).unwrap();
        let tls = manners.tls.clone();
        let tls = tls.map(|config| Mutex::new(ServerConnection::new(config).unwrap()));
        let sealed = Mutex::default();
        Self { tcp, tls, sealed }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else {
            return (&self.tcp).read(buffer);
        };
        loop {
            match tls.lock().unwrap().reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let mut sealed = self.sealed.lock().unwrap();
            if sealed.is_empty() {
                // Nobody holds the connection while it waits.
                sealed.resize(4096, 0);
                let length = (&self.tcp).read(&mut sealed)?;
                sealed.truncate(length);
            }
            let mut tls = tls.lock().unwrap();
            let taken = tls.read_tls(&mut &sealed[..])?;
            sealed.drain(..taken);
            let opened = tls.process_new_packets();
            while tls.wants_write() {
                tls.write_tls(&mut &self.tcp)?;
            }
            opened.map_err(io::Error::other)?;
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &self.tls else {
            return (&self.tcp).write_all(bytes);
        };
        let mut tls = tls.lock().unwrap();
        for piece in bytes.chunks(4096) {
            tls.writer().write_all(piece)?;
            while tls.wants_write() {
                tls.write_tls(&mut &self.tcp)?;
            }
        }
        Ok(())
    }

    /// Says goodbye and hears the client out, so that the system does not throw away what was said.
    fn end(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let mut tls = tls.lock().unwrap();
            tls.send_close_notify();
            while tls.wants_write() {
                tls.write_tls(&mut &self.tcp)?;
            }
        }
        self.tcp.shutdown(Shutdown::Write)?;
        while (&self.tcp).read(&mut [0; 1024])? > 0 {}
        Ok(())
    }
}
