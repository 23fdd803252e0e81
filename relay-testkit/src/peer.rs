//! Plain peers on std sockets, for whatever binding is judged.

use relay_proto::{Endpoint, Frame, StreamAddress};
use relay_transport::Config;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Mutex,
    thread,
    time::Duration,
};
use tungstenite::{Error, Message, WebSocket, protocol::CloseFrame};

/// Nothing takes that long: the scenario fails.
pub(crate) const HANGS: Duration = Duration::from_secs(60);

/// Short where a scenario waits for it, long where it must not strike.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(200);
    config
}

/// A listener on a free port of this machine, and where it is.
///
/// # Panics
///
/// Where there is no free port.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that refuses every connection for as long as this process lives. It belongs to the near end of a connection, so that
/// no other test can be given its port to listen at.
///
/// # Panics
///
/// Where there is no free port.
pub fn deserted() -> SocketAddr {
    static HELD: Mutex<Vec<(TcpListener, TcpStream)>> = Mutex::new(Vec::new());
    let (far, address) = listener();
    let near = TcpStream::connect(address).unwrap();
    let deserted = near.local_addr().unwrap();
    HELD.lock().unwrap().push((far, near));
    deserted
}

/// A link to a WebSocket server.
pub(crate) fn websocket(address: SocketAddr) -> Endpoint {
    Endpoint::WebSocket(format!("ws://{address}/").parse().unwrap())
}

/// A link to a TCP server.
pub(crate) fn stream(address: SocketAddr) -> Endpoint {
    Endpoint::Stream(StreamAddress::new("127.0.0.1", address.port(), false))
}

pub(crate) fn text(text: &str) -> Frame {
    Frame::Text(text.to_owned().into())
}

pub(crate) fn binary(bytes: impl Into<Vec<u8>>) -> Frame {
    Frame::Binary(bytes.into().into())
}

/// A TCP connection that fails the scenario where it hangs.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

fn patient(tcp: TcpStream) -> TcpStream {
    tcp.set_read_timeout(Some(HANGS)).unwrap();
    tcp.set_write_timeout(Some(HANGS)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

pub(crate) fn accept_tcp(listener: &TcpListener) -> TcpStream {
    patient(listener.accept().unwrap().0)
}

/// A plain WebSocket.
pub(crate) struct Peer(WebSocket<TcpStream>);

impl Peer {
    pub(crate) fn send(&mut self, message: Message) -> Result<(), Error> {
        self.0.send(message)
    }

    /// The next message; none after a clean end.
    pub(crate) fn next(&mut self) -> Option<Result<Message, Error>> {
        match self.0.read() {
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => None,
            result => Some(result),
        }
    }

    /// The next message, which must come.
    pub(crate) fn message(&mut self) -> Message {
        self.next().unwrap().unwrap()
    }

    /// The close frame, past everything else.
    pub(crate) fn close_frame(&mut self) -> CloseFrame {
        loop {
            if let Message::Close(close) = self.message() {
                return close.unwrap();
            }
        }
    }

    /// Ends the closing handshake: nothing is left to come.
    pub(crate) fn ends_cleanly(mut self) -> bool {
        self.next().is_none()
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.0.flush()
    }

    pub(crate) fn close(&mut self, close: Option<CloseFrame>) -> Result<(), Error> {
        self.0.close(close)
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.0.into_inner()
    }
}

/// A plain WebSocket client.
pub(crate) fn connect(address: SocketAddr) -> Peer {
    let url = format!("ws://{address}/");
    Peer(tungstenite::client(url, tcp(address)).unwrap().0)
}

/// A plain WebSocket server for one client.
pub(crate) fn accept(listener: &TcpListener) -> Peer {
    Peer(tungstenite::accept(accept_tcp(listener)).unwrap())
}

/// Sends `request` and returns all that comes back.
pub(crate) fn answer(address: SocketAddr, request: &str) -> String {
    let mut tcp = tcp(address);
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good an end as any.
    let _ = tcp.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// The head of an HTTP request.
pub(crate) fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The lines of a request's head without the key, which is random. Their order means nothing (RFC 6455, section 4.1).
pub(crate) fn shown_head(head: &str) -> Vec<String> {
    let mut lines: Vec<_> = head.trim_end().lines().collect();
    lines[1..].sort_by_key(|line| line.split(':').next().unwrap_or_default().to_lowercase());
    let shown = |line: &&str| match line.split_once(": ") {
        Some((name, _)) if name.eq_ignore_ascii_case("sec-websocket-key") => name.to_owned(),
        _ => (*line).to_owned(),
    };
    lines.iter().map(shown).collect()
}

/// Lets one client in, reads its upgrade request and answers with this, whatever it is. Returns the request.
pub(crate) fn answer_upgrade(listener: &TcpListener, answer: &str) -> String {
    let mut tcp = accept_tcp(listener);
    let head = read_head(&mut tcp);
    tcp.write_all(answer.as_bytes()).unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    // A reset after the answer is as good an end as any.
    let _ = tcp.read_to_end(&mut Vec::new());
    head
}

/// Passes bytes both ways; cuts the first connection after it has carried so many from the client.
///
/// # Panics
///
/// Where there is no free port.
pub(crate) fn cutting_proxy(to: SocketAddr, cut_after: u64) -> SocketAddr {
    let (listener, address) = listener();
    thread::spawn(move || {
        let mut budget = Some(cut_after);
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(to).unwrap());
            pass(
                far.try_clone().unwrap(),
                near.try_clone().unwrap(),
                u64::MAX,
            );
            pass(near, far, budget.take().unwrap_or(u64::MAX));
        }
    });
    address
}

/// Passes so many bytes on, then ends both directions.
fn pass(from: TcpStream, mut to: TcpStream, limit: u64) {
    thread::spawn(move || {
        let _ = io::copy(&mut (&from).take(limit), &mut to);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
