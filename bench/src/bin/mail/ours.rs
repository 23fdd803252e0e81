//! This project: `relay serve` as a process of its own, and a client in this one.

use crate::{
    Outcome,
    case::Case,
    host::Host,
    letter::letter,
    line::Line,
    processes::{KEY, Relay, Sink},
    race::{race, race_threads},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use relay_proto::{
    mail::{
        client::{ClientConfig, Receipt, Submission},
        wire::ApiKey,
    },
    smtp::{Address, Envelope},
};
use relay_storage::StorageFile;
use relay_tokio::mail::Client;
use relay_transport::Config;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    env, fs,
    net::SocketAddr,
    process::{Command, Stdio},
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
        let servers = case.servers();
        let sink = Sink::start(servers, case.upstream)?;
        let paths = identity.map(Identity::paths);
        let paths = paths
            .as_ref()
            .map(|[certificate, key]| [&**certificate, &**key]);
        let relay = Relay::start(servers, sink.address(), paths)?;
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
    /// Of the relay on this host.
    fn new(host: &Host) -> Outcome<Self> {
        let names = [host.address().to_string()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
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
    let from: Address = "alice@example.org".parse()?;
    let to = case.recipients().map(|to| to.parse());
    let to = to.collect::<Result<Vec<Address>, _>>()?;
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
        let client = Client::start(client_config(&url)?, Config::default());
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

/// What a process finds that begins.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Outbox {
    New,
    /// An earlier process has sent a message from it.
    Old,
}

/// From nothing, over TLS, to the acceptance of the first message, by a process of its own with its outbox on disk.
pub(crate) fn cold(case: &Case, outbox: Outbox) -> Outcome<Duration> {
    let identity = Identity::new(case.servers())?;
    let road = Road::build(case, Some(&identity))?;
    let [certificate, _] = identity.paths();
    let file = identity.directory.path().join("outbox.redb");
    let send = || -> Outcome<Duration> {
        let output = Command::new(env::current_exe()?)
            .args(["cold", &format!("wss://{}/", road.address())])
            .args([&certificate, &file])
            .arg(case.size.to_string())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("the process that sends: {}", output.status).into());
        }
        let nanoseconds = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok(Duration::from_nanos(nanoseconds))
    };
    if outbox == Outbox::Old {
        send()?;
    }
    send()
}

/// That process. It says how many nanoseconds it took.
pub(crate) fn cold_process(url: &str, certificate: &str, outbox: &str, size: usize) -> Outcome<()> {
    let envelope = Envelope::new(
        "alice@example.org".parse::<Address>()?,
        ["bob@example.net".parse::<Address>()?],
    )?;
    let mut transport = Config::default();
    let root = CertificateDer::from_pem_file(certificate)?;
    transport.extra_roots.push(root);
    tokio::runtime::Runtime::new()?.block_on(async {
        let began = Instant::now();
        let outbox = StorageFile::open(outbox)?;
        let config = client_config(url)?;
        let (client, _) = Client::start_with_outbox(config, transport, outbox).await?;
        check(&client.send(submission(&envelope, 0, size)).await?)?;
        println!("{}", began.elapsed().as_nanos());
        let left = client.shutdown(Duration::from_secs(10)).await;
        match left.is_empty() {
            true => Ok(()),
            false => Err("something is left in the outbox".into()),
        }
    })
}
