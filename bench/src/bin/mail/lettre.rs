//! lettre: SMTP on pooled connections, one message at a time on each.

use crate::{
    Outcome,
    case::{Case, Road},
    host::{Host, NEAR},
    letter::letter,
    processes::{Process, Sink},
    race::{race, race_threads},
};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, SmtpTransport, Tokio1Executor, Transport,
    address::Envelope, transport::smtp::PoolConfig,
};
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::fd::{BorrowedFd, RawFd},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

/// Whether lettre is used as it is published, or with TCP_NODELAY set on its connections, as its next release will.
///
/// Without it, the last bytes of a message wait for the acknowledgement of those before, which a receiver delays by 40 ms.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Nagle {
    AsPublished,
    Cured,
}

impl Nagle {
    /// Cures what connections there are, and from now on those that come: lettre opens one now and then.
    fn cure(self, server: SocketAddr) -> Outcome<Option<Cure>> {
        if self == Self::AsPublished {
            return Ok(None);
        }
        set_nodelay(server)?;
        let (end, ended) = channel::<()>();
        let watching = thread::spawn(move || {
            while ended.recv_timeout(CURE_EVERY) == Err(RecvTimeoutError::Timeout) {
                // There may be none at the moment.
                let _ = set_nodelay(server);
            }
        });
        Ok(Some(Cure {
            end: Some(end),
            watching: Some(watching),
        }))
    }
}

/// How long a new connection may have its illness.
const CURE_EVERY: Duration = Duration::from_millis(5);

/// Goes on until it is dropped.
struct Cure {
    end: Option<Sender<()>>,
    watching: Option<thread::JoinHandle<()>>,
}

impl Drop for Cure {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(watching) = self.watching.take() {
            // It has nothing to say.
            let _ = watching.join();
        }
    }
}

/// Sets TCP_NODELAY on all connections of this process to a server, which are not ours to configure otherwise.
#[expect(
    unsafe_code,
    reason = "nothing safe reaches a socket that lettre keeps to itself"
)]
fn set_nodelay(server: SocketAddr) -> Outcome<()> {
    let mut found = 0;
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let descriptor: RawFd = name
            .to_str()
            .ok_or("a descriptor that is no number")?
            .parse()?;
        // SAFETY: a descriptor that was closed meanwhile makes the calls below fail, and nothing here closes one or keeps it.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let socket = socket2::SockRef::from(&descriptor);
        let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
        if peer == Some(server) {
            socket.set_tcp_nodelay(true)?;
            found += 1;
        }
    }
    if found == 0 {
        return Err(format!("no connection to {server} whose TCP_NODELAY could be set").into());
    }
    Ok(())
}

fn envelope(case: &Case) -> Outcome<Envelope> {
    let to = case.recipients().map(|to| to.parse());
    Ok(Envelope::new(
        Some("alice@example.org".parse()?),
        to.collect::<Result<_, _>>()?,
    )?)
}

/// With a thread and a connection for each caller.
pub(crate) fn blocking(case: &Case, nagle: Nagle) -> Outcome<Duration> {
    let road = Road::straight(case)?;
    blocking_to(case, nagle, road.address())
}

fn blocking_to(case: &Case, nagle: Nagle, server: SocketAddr) -> Outcome<Duration> {
    let envelope = envelope(case)?;
    let mailer = SmtpTransport::builder_dangerous(host(server))
        .port(server.port())
        .pool_config(pool(case))
        .build();
    let send = |_, number| {
        mailer.send_raw(&envelope, &letter(number, case.size))?;
        Ok(())
    };
    race_threads(case.callers, case.callers, send)?;
    let _cure = nagle.cure(server)?;
    race_threads(case.callers, case.messages, send)
}

/// With a task and a connection for each caller.
pub(crate) fn tokio(case: &Case, nagle: Nagle) -> Outcome<Duration> {
    let road = Road::straight(case)?;
    tokio_to(case, nagle, road.address())
}

fn tokio_to(case: &Case, nagle: Nagle, server: SocketAddr) -> Outcome<Duration> {
    let (envelope, size) = (envelope(case)?, case.size);
    tokio::runtime::Runtime::new()?.block_on(async {
        let mailer = async_transport(case, server);
        let send = move |_, number| {
            let (mailer, envelope) = (mailer.clone(), envelope.clone());
            async move {
                mailer.send_raw(&envelope, &letter(number, size)).await?;
                Ok(())
            }
        };
        race(case.callers, case.callers, send.clone()).await?;
        let _cure = nagle.cure(server)?;
        race(case.callers, case.messages, send).await
    })
}

fn async_transport(case: &Case, server: SocketAddr) -> AsyncSmtpTransport<Tokio1Executor> {
    AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host(server))
        .port(server.port())
        .pool_config(pool(case))
        .build()
}

fn pool(case: &Case) -> PoolConfig {
    PoolConfig::new().max_size(case.callers as u32)
}

fn host(server: SocketAddr) -> String {
    match server.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// From nothing, in clear, to the acceptance of the first message.
pub(crate) fn cold(case: &Case) -> Outcome<Duration> {
    let road = Road::straight(case)?;
    let envelope = envelope(case)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let began = Instant::now();
        let mailer = async_transport(case, road.address());
        mailer.send_raw(&envelope, &letter(0, case.size)).await?;
        Ok(began.elapsed())
    })
}

/// Which tunnel bytes go through on their way to the server.
#[derive(Clone, Copy)]
pub(crate) enum Tunnel {
    /// Ours, which does nothing but that.
    Plain,
    /// websocat, which many have.
    Websocat,
}

/// Through a WebSocket tunnel between the client and the server, whose connections have TCP_NODELAY.
pub(crate) fn tunnelled(case: &Case, tunnel: Tunnel) -> Outcome<Duration> {
    let servers = case.servers();
    let sink = Sink::start(servers, case.upstream)?;
    let (_far, far) = match tunnel {
        Tunnel::Plain => plain(servers, "far", sink.address())?,
        Tunnel::Websocat => websocat(servers, "ws-l", &format!("tcp:{}", sink.address()))?,
    };
    let line = case.line_to(far)?;
    let far = line.as_ref().map_or(far, crate::line::Line::address);
    let (_near, near) = match tunnel {
        Tunnel::Plain => plain(&NEAR, "near", far)?,
        Tunnel::Websocat => websocat(&NEAR, "tcp-l", &format!("ws://{far}/"))?,
    };
    tokio_to(case, Nagle::Cured, near)
}

fn plain(host: &Host, end: &str, target: SocketAddr) -> Outcome<(Process, SocketAddr)> {
    let (here, target) = (host.address().to_string(), target.to_string());
    Process::part(host, &["tunnel", end, &here, &target])
}

/// Where `bench/run` puts it.
const WEBSOCAT: &str = "target/peers/websocat/bin/websocat";

pub(crate) fn has_websocat() -> bool {
    fs::exists(WEBSOCAT).unwrap_or(false)
}

fn websocat(host: &Host, listens: &str, to: &str) -> Outcome<(Process, SocketAddr)> {
    let address = host.free_address()?;
    let mut command = std::process::Command::new(WEBSOCAT);
    command.args([
        "--binary",
        "--exit-on-eof",
        "-q",
        &format!("{listens}:{address}"),
        to,
    ]);
    let process = Process::start(host, &mut command)?;
    crate::processes::wait_for(address)?;
    Ok((process, address))
}
