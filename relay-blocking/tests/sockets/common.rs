//! The probe on this binding, and peers for it.

use crate::certificates::{Authority, Identity};
pub(crate) use crate::probe::Probe;
use relay_blocking::{
    Application, CertificateDer, Config, Driver, TlsAcceptor, certificates_from_pem, spawn,
    tls_acceptor,
};
use relay_proto::{Action, CloseCode, Closure, Endpoint, Frame, Input, LinkId, Time};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    time::Duration,
};
use tungstenite::{Error, Message, WebSocket, protocol::CloseFrame};

/// Passes every event on to the test.
pub(crate) struct Reporter(mpsc::Sender<Input>);

impl Application<Probe> for Reporter {
    fn handle_event(&mut self, _machine: &mut Probe, _now: Time, event: Input) {
        // The test may have seen enough.
        let _ = self.0.send(event);
    }
}

pub(crate) struct Rig {
    pub(crate) driver: Driver<Probe, Reporter>,
    news: mpsc::Receiver<Input>,
}

/// Nothing takes that long: the test fails.
pub(crate) const HANGS: Duration = Duration::from_secs(30);

/// Short where a test waits for it, long where it must not strike.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(200);
    config
}

pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) fn websocket(address: SocketAddr) -> Endpoint {
    Endpoint::WebSocket(format!("ws://{address}/").parse().unwrap())
}

pub(crate) fn text(text: &str) -> Frame {
    Frame::Text(text.to_owned().into())
}

impl Rig {
    pub(crate) fn new(machine: Probe, config: Config) -> Self {
        let (sender, news) = mpsc::channel();
        let driver = spawn(machine, Reporter(sender), config);
        Self { driver, news }
    }

    /// A machine that listens for WebSockets, and where.
    pub(crate) fn server(machine: Probe, config: Config) -> (Self, SocketAddr) {
        let rig = Self::new(machine, config);
        let (listener, address) = listener();
        rig.driver.listen_websocket(listener, None).unwrap();
        (rig, address)
    }

    pub(crate) fn tell<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Probe) -> R + Send + 'static,
    ) -> R {
        self.driver.call(|machine, _, _| command(machine)).unwrap()
    }

    pub(crate) fn open(&self, endpoint: Endpoint) -> LinkId {
        self.tell(|machine| {
            let link = LinkId::dialled(machine.dialled);
            machine.dialled += 1;
            machine.actions.push_back(Action::Open { link, endpoint });
            link
        })
    }

    pub(crate) fn opened(&self, endpoint: Endpoint) -> LinkId {
        let link = self.open(endpoint);
        assert_eq!(self.next(), Input::Opened { link });
        link
    }

    pub(crate) fn send(&self, link: LinkId, frame: Frame) {
        self.tell(move |machine| machine.actions.push_back(Action::Send { link, frame }));
    }

    pub(crate) fn close(&self, link: LinkId, code: CloseCode, reason: &str) {
        let reason = reason.to_owned();
        self.tell(move |machine| {
            machine
                .actions
                .push_back(Action::Close { link, code, reason });
        });
    }

    /// The next fact the machine was told.
    pub(crate) fn next(&self) -> Input {
        self.news.recv_timeout(HANGS).expect("hangs, or has gone")
    }

    pub(crate) fn accepted(&self) -> LinkId {
        match self.next() {
            Input::Accepted { link, peer } => {
                assert_eq!(peer, Some("127.0.0.1".parse().unwrap()));
                link
            }
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// The next frame; passes over what is written.
    pub(crate) fn frame(&self) -> (LinkId, Frame) {
        loop {
            match self.next() {
                Input::Frame { link, frame } => return (link, frame),
                Input::Written { .. } => {}
                other => panic!("no frame: {other:?}"),
            }
        }
    }

    /// The end of the link; passes over what comes before.
    pub(crate) fn closed(&self, link: LinkId) -> Closure {
        loop {
            match self.next() {
                Input::Closed { link: ended, why } if ended == link => return why,
                Input::Frame { .. } | Input::Written { .. } => {}
                other => panic!("not closed: {other:?}"),
            }
        }
    }

    /// Nothing is left to be told: a call and its answer overtake nothing.
    pub(crate) fn has_no_news(&self) -> bool {
        self.tell(|_| ());
        self.news.try_recv().is_err()
    }
}

/// A TCP connection that fails the test where it hangs.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

fn patient(tcp: TcpStream) -> TcpStream {
    tcp.set_read_timeout(Some(HANGS)).unwrap();
    tcp.set_write_timeout(Some(HANGS)).unwrap();
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

/// A link, and the plain peer at its other end.
pub(crate) fn opened(rig: &Rig, address: SocketAddr, listener: &TcpListener) -> (LinkId, Peer) {
    let link = rig.open(websocket(address));
    let peer = accept(listener);
    assert_eq!(rig.next(), Input::Opened { link });
    (link, peer)
}

/// A root certificate, and a server with a certificate for `localhost` signed by it.
pub(crate) fn certificates(authority_name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let authority = Authority::new(authority_name);
    let Identity { certificate, key } = authority.identity("localhost");
    let acceptor = tls_acceptor(certificate.as_bytes(), key.as_bytes()).unwrap();
    let root = certificates_from_pem(authority.root.as_bytes())
        .unwrap()
        .remove(0);
    (root, acceptor)
}
