//! This project: `relay serve` as a process of its own, and a client in this one.

use crate::{
    Outcome,
    case::Case,
    letter::letter,
    line::Line,
    processes::{KEY, Relay, Sink},
    race::{race, race_threads},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use relay_proto::{
    mail::{
        client::{ClientConfig, ConnectionState, Receipt, Submission},
        wire::ApiKey,
    },
    smtp::Envelope,
};
use relay_transport::Config;
use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A relay between client and mail server, at the far end of the line.
struct Road {
    relay: Relay,
    line: Option<Line>,
    _sink: Sink,
}

impl Road {
    fn build(case: &Case, identity: Option<&Identity>) -> Outcome<Self> {
        let sink = Sink::start(case.upstream)?;
        let paths = identity.map(Identity::paths);
        let paths = paths
            .as_ref()
            .map(|[certificate, key]| [&**certificate, &**key]);
        let relay = Relay::start(sink.address(), paths)?;
        let line = case.line_to(relay.address)?;
        Ok(Self {
            relay,
            line,
            _sink: sink,
        })
    }

    fn address(&self) -> SocketAddr {
        self.line.as_ref().map_or(self.relay.address, Line::address)
    }
}

/// What the relay shows.
struct Identity {
    directory: TempDir,
    certificate: rcgen::Certificate,
}

impl Identity {
    fn new() -> Outcome<Self> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()])?;
        let identity = Self {
            directory: TempDir::new()?,
            certificate: cert,
        };
        let [certificate, key] = identity.paths();
        fs::write(certificate, identity.certificate.pem())?;
        fs::write(key, signing_key.serialize_pem())?;
        Ok(identity)
    }

    fn paths(&self) -> [std::path::PathBuf; 2] {
        ["certificate.pem", "key.pem"].map(|name| self.directory.path().join(name))
    }
}

fn client_config(url: &str) -> Outcome<ClientConfig> {
    Ok(ClientConfig::new(url.parse()?, ApiKey::new(KEY)))
}

fn submission(envelope: &Envelope, number: usize, size: usize) -> Submission {
    Submission::message(envelope.clone(), letter(number, size))
}

fn envelope(case: &Case) -> Outcome<Envelope> {
    let from: relay_proto::smtp::Address = "alice@example.org".parse()?;
    let to = case.recipients().map(|to| to.parse());
    let to = to.collect::<Result<Vec<relay_proto::smtp::Address>, _>>()?;
    Ok(Envelope::new(from, to)?)
}

fn check(receipt: &Receipt) -> Outcome<()> {
    match receipt.rejected.first() {
        None => Ok(()),
        Some((to, reply)) => Err(format!("refused for {to}: {reply}").into()),
    }
}

/// With tokio, all callers on one link.
pub(crate) fn tokio(case: &Case) -> Outcome<Duration> {
    let road = Road::build(case, None)?;
    measure_tokio(case, &road)
}

/// The most memory the relay has had meanwhile, in KiB, beyond what it had for the first message.
pub(crate) fn relay_memory(case: &Case) -> Outcome<u64> {
    let road = Road::build(case, None)?;
    measure_tokio(
        &Case {
            messages: 1,
            size: 1024,
            ..*case
        },
        &road,
    )?;
    let before = road.relay.process.peak_memory()?;
    measure_tokio(case, &road)?;
    Ok(road.relay.process.peak_memory()? - before)
}

fn measure_tokio(case: &Case, road: &Road) -> Outcome<Duration> {
    let (envelope, size) = (envelope(case)?, case.size);
    let url = format!("ws://{}/", road.address());
    tokio::runtime::Runtime::new()?.block_on(async {
        let client = relay_tokio::mail::Client::start(client_config(&url)?, Config::default());
        let sender = client.clone();
        let send = move |_, number| {
            let (client, envelope) = (sender.clone(), envelope.clone());
            async move { check(&client.send(submission(&envelope, number, size)).await?) }
        };
        race(case.callers, case.callers, send.clone()).await?;
        let took = race(case.callers, case.messages, send).await?;
        client.stop().await;
        Ok(took)
    })
}

/// With a thread for each caller, all on one link.
pub(crate) fn blocking(case: &Case) -> Outcome<Duration> {
    let road = Road::build(case, None)?;
    let envelope = envelope(case)?;
    let url = format!("ws://{}/", road.address());
    let client = relay_blocking::mail::Client::start(client_config(&url)?, Config::default());
    let send = |_, number| check(&client.send(submission(&envelope, number, case.size))?);
    race_threads(case.callers, case.callers, send)?;
    let took = race_threads(case.callers, case.messages, send)?;
    client.stop();
    Ok(took)
}

/// From nothing, over TLS, to the acceptance of the first message.
pub(crate) fn cold_tls(case: &Case) -> Outcome<Duration> {
    cold(case, false)
}

/// The same from a link that was left, so that the relay is known.
pub(crate) fn cold_known_tls(case: &Case) -> Outcome<Duration> {
    cold(case, true)
}

fn cold(case: &Case, known: bool) -> Outcome<Duration> {
    let identity = Identity::new()?;
    let road = Road::build(case, Some(&identity))?;
    let envelope = envelope(case)?;
    let url = format!("wss://localhost:{}/", road.address().port());
    let mut transport = Config::default();
    transport
        .extra_roots
        .push(identity.certificate.der().clone());
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut config = client_config(&url)?;
        if known {
            config.idle = Some(Duration::ZERO);
        }
        let mut began = Instant::now();
        let client = relay_tokio::mail::Client::start(config, transport);
        if known {
            check(&client.send(submission(&envelope, 1, case.size)).await?)?;
            while client.stats().await?.state != ConnectionState::Disconnected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            began = Instant::now();
        }
        check(&client.send(submission(&envelope, 0, case.size)).await?)?;
        let took = began.elapsed();
        client.stop().await;
        Ok(took)
    })
}
