//! A relay with many links: what each costs when it comes, and what it holds while nothing happens.

use crate::measure::{Report, resident};
use futures_util::{SinkExt, StreamExt, future::join_all};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use relay_proto::{
    Frame,
    mail::wire::{ApiKey, DurableRequest, Message, decode, encode},
};
use rustls::pki_types::ServerName;
use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpSocket,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{WebSocketStream, client_async_with_config, tungstenite};
use tungstenite::protocol::WebSocketConfig;

type Failure = Box<dyn Error>;

/// As many as are opened at a time where they are to come one after the other.
pub const AT_A_TIME: usize = 50;

/// All links have the same.
pub const KEY: &str = "key";

/// A relay lets 1,000 be unauthenticated at once, and asks the others to come back.
const UNAUTHENTICATED: usize = 900;

pub trait Connection: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Connection for S {}

pub type Link = WebSocketStream<Box<dyn Connection>>;

/// The program, as a user runs it.
pub struct Relay {
    process: Child,
    pub address: SocketAddr,
    /// Where its links come from: the ports of one address are too few, and searching the last free ones takes long.
    pub from: u8,
    connector: Option<TlsConnector>,
    _directory: TempDir,
}

impl Relay {
    pub fn start(secure: bool) -> Result<Self, Failure> {
        let directory = TempDir::new()?;
        let mut command = Command::new(program());
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.args(["--api-key", KEY]);
        command.arg("--mailbox").arg(directory.path());
        let mut connector = None;
        if secure {
            let CertifiedKey { cert, signing_key } =
                generate_simple_self_signed(["localhost".into()])?;
            let [certificate, key] =
                ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
            fs::write(&certificate, cert.pem())?;
            fs::write(&key, signing_key.serialize_pem())?;
            command
                .arg("--tls-cert")
                .arg(certificate)
                .arg("--tls-key")
                .arg(key);
            let mut roots = rustls::RootCertStore::empty();
            roots.add(cert.der().clone())?;
            // Named, since a peer that is compared elsewhere brings another.
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
            connector = Some(TlsConnector::from(Arc::new(config)));
        }
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!(
                    "{}: {error}; build it, or say in RELAY where it is",
                    program().display()
                )
            })?;
        let said = process.stdout.take().ok_or("its output is piped")?;
        let mut address = None;
        for line in BufReader::new(said).lines() {
            // ws://127.0.0.1:8025 or wss://…, wherever in the line.
            let line = line?;
            address = line.split("://").nth(1).and_then(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
                rest[..end.unwrap_or(rest.len())].parse().ok()
            });
            if address.is_some() {
                break;
            }
        }
        let address = address.ok_or("the relay does not say where it listens")?;
        Ok(Self {
            process,
            address,
            from: 0,
            connector,
            _directory: directory,
        })
    }

    /// Its memory in KiB.
    pub fn memory(&self) -> Result<f64, Failure> {
        resident(&self.process.id().to_string())
    }

    /// The processor time it has used.
    fn cpu(&self) -> Result<Duration, Failure> {
        // The file of the process would be about its first thread alone.
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let schedule = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += schedule
                .split(' ')
                .next()
                .ok_or("no time")?
                .parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// A link that is let in, with a session.
    async fn link(&self, index: usize) -> Result<Link, Failure> {
        let socket = TcpSocket::new_v4()?;
        let from = SocketAddr::from(([127, self.from, 1 + (index / 5000) as u8, 1], 0));
        socket.bind(from)?;
        let tcp = socket.connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let (socket, scheme): (Box<dyn Connection>, _) = match &self.connector {
            Some(connector) => {
                let name = ServerName::try_from("localhost")?;
                (Box::new(connector.connect(name, tcp).await?), "wss")
            }
            None => (Box::new(tcp), "ws"),
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(1024)
            .write_buffer_size(0);
        let url = format!("{scheme}://localhost/");
        let (mut link, _) = client_async_with_config(url, socket, Some(config)).await?;
        let Frame::Text(words) = encode(&Message::Authenticate {
            api_key: ApiKey::new(KEY),
            agent: None,
            durable: Some(DurableRequest::New),
        }) else {
            return Err("authentication is text".into());
        };
        link.send(tungstenite::Message::Text(words.try_into()?))
            .await?;
        let answer = link.next().await.ok_or("the relay hangs up")??;
        let tungstenite::Message::Text(words) = answer else {
            return Err(format!("instead of an answer comes {answer:?}").into());
        };
        match decode(&Frame::Text(words.into()))? {
            Some(Message::AuthenticateResponse(Ok(granted))) if granted.durable.is_some() => {
                Ok(link)
            }
            other => Err(format!("no session: {other:?}").into()),
        }
    }

    pub async fn links(
        &self,
        from: usize,
        to: usize,
        at_a_time: usize,
    ) -> Result<(Vec<Link>, Duration), Failure> {
        let mut links = Vec::new();
        let mut slowest = Duration::ZERO;
        let mut next = from;
        while next < to {
            let last = to.min(next + at_a_time);
            let began = Instant::now();
            let opened = join_all((next..last).map(|index| async move {
                let link = self.link(index).await;
                (link, began.elapsed())
            }));
            for (link, took) in opened.await {
                links.push(link?);
                slowest = slowest.max(took);
            }
            next = last;
        }
        Ok((links, slowest))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/relay");
    env::var_os("RELAY").map_or_else(|| built.into(), PathBuf::from)
}

/// Memory of idle links, as their number grows.
pub async fn memory(repetition: u32, most: usize) -> Result<(), Failure> {
    let report = Report {
        table: "growth: links of a relay",
        repetition,
    };
    for (secure, series) in [(false, "plain"), (true, "TLS")] {
        let relay = Relay::start(secure)?;
        // What is made for the first link is not counted for all.
        let (mut links, _) = relay.links(0, 1, 1).await?;
        let before = relay.memory()?;
        for number in [10, 100, 1_000, 8_000] {
            if number > most {
                break;
            }
            let (more, _) = relay.links(links.len(), number + 1, AT_A_TIME).await?;
            links.extend(more);
            let each = (relay.memory()? - before) / number as f64;
            report.cost(
                "idle links: memory of the relay for each",
                series,
                Some(number as f64),
                "KiB",
                each,
            )?;
        }
    }
    Ok(())
}

/// As many links as a relay lets be unauthenticated at once, and the next as soon as these are in, as after a restart.
pub async fn storm(repetition: u32, number: usize) -> Result<(), Failure> {
    let report = Report {
        table: "growth: links of a relay",
        repetition,
    };
    for (secure, series) in [(false, "plain"), (true, "TLS")] {
        let relay = Relay::start(secure)?;
        let (_first, _) = relay.links(0, 1, 1).await?;
        let cpu = relay.cpu()?;
        let (links, slowest) = relay.links(1, number, UNAUTHENTICATED).await?;
        let each = (relay.cpu()? - cpu).as_secs_f64() / links.len() as f64 * 1e6;
        let x = Some(number as f64);
        report.cost(
            "links in a storm, 900 at once: processor time of the relay for each",
            series,
            x,
            "µs",
            each,
        )?;
        report.cost(
            "links in a storm, 900 at once: the slowest of 900 is let in after",
            series,
            x,
            "s",
            slowest.as_secs_f64(),
        )?;
    }
    Ok(())
}
