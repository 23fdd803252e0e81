//! WebSockets that send what they are told, right or wrong (RFC 6455).

use super::PATIENCE;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What a frame is (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// One end of a WebSocket.
pub(crate) struct WebSocket {
    stream: BufReader<TcpStream>,
    /// Clients must mask, servers must not (RFC 6455, section 5.1).
    pub(crate) masks: bool,
}

impl WebSocket {
    /// A client whose upgrade has succeeded.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_to(address, "/")
    }

    /// The same, for this path and query.
    pub(crate) fn connect_to(address: SocketAddr, target: &str) -> Self {
        let mut socket = Self::new(TcpStream::connect(address).unwrap(), true);
        socket.send(format!("GET {target} HTTP/1.1\r\n").as_bytes());
        socket.send(
            b"Host: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let head = socket.read_head().unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        socket
    }

    /// The server's end, once the upgrade is done.
    fn accept(stream: TcpStream) -> io::Result<Self> {
        let mut socket = Self::new(stream, false);
        let head = socket.read_head()?;
        let key = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(name, value)| {
                name.eq_ignore_ascii_case("sec-websocket-key")
                    .then_some(value)
            });
        let key = derive_accept_key(key.unwrap().as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
        );
        socket.stream.get_mut().write_all(answer.as_bytes())?;
        Ok(socket)
    }

    fn new(stream: TcpStream, masks: bool) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = BufReader::new(stream);
        Self { stream, masks }
    }

    fn read_head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }

    /// Sends bytes as they are, whatever the peer makes of them; it may have hung up already.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// What sends while this reads.
    pub(crate) fn sender(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    /// Sends the head of a frame that claims to have `length` bytes.
    pub(crate) fn send_head(&mut self, opcode: Opcode, length: usize) {
        let mut head = vec![0x80 | opcode as u8];
        let mask = if self.masks { 0x80 } else { 0 };
        match length {
            0..126 => head.push(mask | length as u8),
            126..0x1_0000 => {
                head.push(mask | 126);
                head.extend((length as u16).to_be_bytes());
            }
            _ => {
                head.push(mask | 127);
                head.extend((length as u64).to_be_bytes());
            }
        }
        if self.masks {
            // This mask changes nothing.
            head.extend([0; 4]);
        }
        self.send(&head);
    }

    pub(crate) fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.send_head(opcode, payload.len());
        self.send(payload);
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.send_frame(Opcode::Text, text.as_bytes());
    }

    /// The next frame.
    pub(crate) fn read_frame(&mut self) -> io::Result<(Opcode, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                u64::from_be_bytes(length) as usize
            }
            length => usize::from(length),
        };
        let mut mask = [0; 4];
        if head[1] & 0x80 != 0 {
            self.stream.read_exact(&mut mask)?;
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        let opcode = match head[0] {
            0x81 => Opcode::Text,
            0x82 => Opcode::Binary,
            0x88 => Opcode::Close,
            0x89 => Opcode::Ping,
            0x8a => Opcode::Pong,
            other => panic!("a peer of ours has sent a frame that begins with {other:#x}"),
        };
        Ok((opcode, payload))
    }

    /// Waits for a text frame that contains `part`; false if the peer hangs up before.
    pub(crate) fn hears(&mut self, part: &str) -> bool {
        while let Ok((opcode, payload)) = self.read_frame() {
            let is_text = opcode == Opcode::Text;
            if is_text && String::from_utf8_lossy(&payload).contains(part) {
                return true;
            }
        }
        false
    }

    /// Waits for a text frame that contains `part`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, part: &str) {
        assert!(self.hears(part), "the peer has hung up without {part:?}");
    }

    /// Waits for the close frame: its code and reason.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> (u16, String) {
        loop {
            let (opcode, payload) = self.read_frame().unwrap();
            if opcode == Opcode::Close {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (code, String::from_utf8_lossy(&payload[2..]).into_owned());
            }
        }
    }

    /// Reads until the peer says goodbye or hangs up.
    fn hears_out(&mut self) {
        while !matches!(self.read_frame(), Ok((Opcode::Close, _)) | Err(_)) {}
    }

    /// Reads until the peer hangs up, one way or the other.
    pub(crate) fn drain(&mut self) {
        let mut discarded = [0; 4096];
        while matches!(self.stream.read(&mut discarded), Ok(1..)) {}
    }
}

/// A WebSocket server, or at least something that lets clients upgrade.
pub(crate) struct WebSocketServer {
    pub(crate) url: String,
}

impl WebSocketServer {
    /// Treats every client alike, until the test ends.
    pub(crate) fn start(treat: impl Fn(&mut WebSocket) + Send + 'static) -> Self {
        Self::start_tcp(move |stream| {
            // A client may give up at any time.
            if let Ok(mut socket) = WebSocket::accept(stream) {
                treat(&mut socket);
                socket.hears_out();
            }
        })
    }

    /// Treats every connection alike, until the test ends.
    pub(crate) fn start_tcp(treat: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                treat(stream.unwrap());
            }
        });
        Self { url }
    }
}
