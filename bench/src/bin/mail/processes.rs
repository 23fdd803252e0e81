//! The processes that are measured: servers, relays, tunnels.

use crate::{Outcome, case::Upstream, host::Host};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where `.ci/setup` puts the programs of others.
pub(crate) const PEERS: &str = "target/peers";

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that ends with this value.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it there.
    pub(crate) fn start(host: &Host, command: &mut Command) -> Outcome<Self> {
        let program = command.get_program().to_owned();
        let command = command.stdin(Stdio::null());
        let child = host.within(|| Ok(command.spawn()?));
        let child =
            child.map_err(|error| format!("{} does not start: {error}", program.display()))?;
        Ok(Self(child))
    }

    /// Starts another part of this program there, which says on its first line where it listens.
    pub(crate) fn part(host: &Host, arguments: &[&str]) -> Outcome<(Self, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdout(Stdio::piped());
        let mut process = Self::start(host, &mut command)?;
        let output = process.0.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse();
        let address = address.map_err(|error| format!("{arguments:?} said {line:?}: {error}"))?;
        Ok((process, address))
    }

    /// The most memory it has had, in KiB.
    pub(crate) fn peak_memory(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(number
            .ok_or("the system does not say how much memory a process has had")?
            .parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until somebody listens there.
pub(crate) fn wait_for(address: SocketAddr) -> Outcome<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => {
                return Err(format!("nobody listens at {address}: {error}").into());
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A mail server that takes everything.
#[derive(Debug)]
pub(crate) struct Sink {
    _process: Process,
    address: SocketAddr,
}

impl Sink {
    pub(crate) fn start(host: &Host, which: Upstream) -> Outcome<Self> {
        let (process, address) = match which {
            Upstream::Counting => Process::part(host, &["sink", &host.address().to_string()])?,
            Upstream::SmtpSink => {
                let address = host.free_address()?;
                let mut command = Command::new(format!("{PEERS}/smtp-sink"));
                command.args([&address.to_string(), "1000"]);
                let process = Process::start(host, &mut command)?;
                wait_for(address)?;
                (process, address)
            }
        };
        Ok(Self {
            _process: process,
            address,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// `relay serve`, as it is shipped.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// What clients show the relay.
pub(crate) const KEY: &str = "bench";

impl Relay {
    /// In front of this server; with TLS where there is a certificate and its key.
    pub(crate) fn start(
        host: &Host,
        upstream: SocketAddr,
        identity: Option<[&Path; 2]>,
    ) -> Outcome<Self> {
        let address = host.free_address()?;
        let mut command = Command::new("target/release/relay");
        command
            .arg("serve")
            .args(["--listen", &address.to_string()])
            .args(["--upstream", &format!("smtp://{upstream}")])
            .args(["--max-message-bytes", "200000000"])
            // Else its log is what is measured.
            .args(["--log", "error"])
            .env("RELAY_API_KEY", KEY)
            .stdout(Stdio::null());
        if let Some([certificate, key]) = identity {
            command.arg("--tls-cert").arg(certificate);
            command.arg("--tls-key").arg(key);
        }
        let process = Process::start(host, &mut command)?;
        wait_for(address)?;
        Ok(Self { process, address })
    }
}
