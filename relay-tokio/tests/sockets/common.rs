//! The probe on this binding, and peers for it.

use crate::certificates::{Authority, Identity};
pub(crate) use crate::probe::Probe;
use relay_proto::{Action, CloseCode, Closure, Endpoint, Frame, Input, LinkId, Time};
use relay_tokio::{
    Application, CertificateDer, Config, Driver, TlsAcceptor, certificates_from_pem, spawn,
    tls_acceptor,
};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

/// Passes every event on to the test.
pub(crate) struct Reporter(mpsc::UnboundedSender<Input>);

impl Application<Probe> for Reporter {
    fn handle_event(&mut self, _machine: &mut Probe, _now: Time, event: Input) {
        // The test may have seen enough.
        let _ = self.0.send(event);
    }
}

pub(crate) struct Rig {
    pub(crate) driver: Driver<Probe, Reporter>,
    news: mpsc::UnboundedReceiver<Input>,
}

/// Short where a test waits for it, long where it must not strike.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(200);
    config
}

/// Fails the test where something hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future)
        .await
        .expect("hangs")
}

pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
        let (sender, news) = mpsc::unbounded_channel();
        let driver = spawn(machine, Reporter(sender), config);
        Self { driver, news }
    }

    /// A machine that listens for WebSockets, and where.
    pub(crate) async fn server(machine: Probe, config: Config) -> (Self, SocketAddr) {
        let rig = Self::new(machine, config);
        let (listener, address) = listener().await;
        rig.driver.listen_websocket(listener, None);
        (rig, address)
    }

    pub(crate) async fn tell<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Probe) -> R + Send + 'static,
    ) -> R {
        soon(self.driver.call(|machine, _, _| command(machine)))
            .await
            .unwrap()
    }

    pub(crate) async fn open(&self, endpoint: Endpoint) -> LinkId {
        self.tell(|machine| {
            let link = LinkId::dialled(machine.dialled);
            machine.dialled += 1;
            machine.actions.push_back(Action::Open { link, endpoint });
            link
        })
        .await
    }

    pub(crate) async fn opened(&mut self, endpoint: Endpoint) -> LinkId {
        let link = self.open(endpoint).await;
        assert_eq!(self.next().await, Input::Opened { link });
        link
    }

    pub(crate) async fn send(&self, link: LinkId, frame: Frame) {
        self.tell(move |machine| machine.actions.push_back(Action::Send { link, frame }))
            .await;
    }

    pub(crate) async fn close(&self, link: LinkId, code: CloseCode, reason: &str) {
        let reason = reason.to_owned();
        self.tell(move |machine| {
            machine
                .actions
                .push_back(Action::Close { link, code, reason });
        })
        .await;
    }

    /// The next fact the machine was told.
    pub(crate) async fn next(&mut self) -> Input {
        soon(self.news.recv()).await.expect("the hub has gone")
    }

    pub(crate) async fn accepted(&mut self) -> LinkId {
        match self.next().await {
            Input::Accepted { link, peer } => {
                assert_eq!(peer, Some("127.0.0.1".parse().unwrap()));
                link
            }
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// The next frame; passes over what is written.
    pub(crate) async fn frame(&mut self) -> (LinkId, Frame) {
        loop {
            match self.next().await {
                Input::Frame { link, frame } => return (link, frame),
                Input::Written { .. } => {}
                other => panic!("no frame: {other:?}"),
            }
        }
    }

    /// The end of the link; passes over what comes before.
    pub(crate) async fn closed(&mut self, link: LinkId) -> Closure {
        loop {
            match self.next().await {
                Input::Closed { link: ended, why } if ended == link => return why,
                Input::Frame { .. } | Input::Written { .. } => {}
                other => panic!("not closed: {other:?}"),
            }
        }
    }

    /// Nothing is left to be told: a call and its answer overtake nothing.
    pub(crate) async fn has_no_news(&mut self) -> bool {
        self.tell(|_| ()).await;
        self.news.try_recv().is_err()
    }
}

pub(crate) type Peer = WebSocketStream<TcpStream>;

/// A plain WebSocket client.
pub(crate) async fn connect(address: SocketAddr) -> Peer {
    let tcp = TcpStream::connect(address).await.unwrap();
    let url = format!("ws://{address}/");
    soon(client_async(url, tcp)).await.unwrap().0
}

/// A plain WebSocket server for one client.
pub(crate) async fn accept(listener: &TcpListener) -> Peer {
    let (tcp, _) = soon(listener.accept()).await.unwrap();
    soon(accept_async(tcp)).await.unwrap()
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
