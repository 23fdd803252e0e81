//! Where processes run: on the host of those who send, or on one at the far end of a long line.
//!
//! The far one is a network namespace of its own. Each has a TUN device, and what comes out of one is put into the other when
//! its time has come. So both ends speak the system's own TCP with each other, with all that follows from distance: Nagle's algorithm,
//! delayed acknowledgements, slow start.

use crate::Outcome;
use nix::sched::{CloneFlags, setns, unshare};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::fd::{AsRawFd, RawFd},
    process::Command,
    sync::{
        OnceLock,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Where processes run.
#[derive(Debug)]
pub(crate) struct Host {
    address: Ipv4Addr,
    /// None: where everything begins.
    namespace: Option<File>,
}

/// The host of those who send.
pub(crate) static NEAR: Host = Host {
    address: Ipv4Addr::LOCALHOST,
    namespace: None,
};

static FAR: OnceLock<Host> = OnceLock::new();

/// Those of a network that is there for benchmarks (RFC 2544, appendix C.2.2).
const NEAR_END: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const FAR_END: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

impl Host {
    /// The one at the far end of the long line, where there is one.
    pub(crate) fn far() -> Option<&'static Self> {
        FAR.get()
    }

    /// What its servers listen at.
    pub(crate) const fn address(&self) -> IpAddr {
        IpAddr::V4(self.address)
    }

    /// Does something there. Processes that are started by it live there.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
        let Some(namespace) = &self.namespace else {
            return act();
        };
        // A thread can move; this one shall not.
        let there = || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            act()
        };
        let ended = thread::scope(|scope| scope.spawn(there).join());
        ended.map_err(|_| "a thread panicked on the far host")?
    }

    /// A port nobody has there, as far as one can know.
    pub(crate) fn free_address(&self) -> Outcome<SocketAddr> {
        let listen = || Ok(TcpListener::bind((self.address, 0))?.local_addr()?);
        self.within(listen)
    }
}

/// Moves this process to a host from which there is a long way to another one. For a process that has no threads yet.
///
/// # Errors
///
/// Where the system does not have what it takes; nothing has changed then.
pub(crate) fn lay_line(round_trip: Duration) -> Outcome<()> {
    let [near, far] = [("near", NEAR_END), ("far", FAR_END)].map(|(name, address)| {
        let found = thread::spawn(move || found(name, address)).join();
        found
            .map_err(|_| "a thread panicked")?
            .map_err(|error| format!("the {name} host: {error}"))
    });
    let ((here, near), (there, far)) = (near?, far?);
    setns(&here, CloneFlags::CLONE_NEWNET)?;
    let delay = round_trip / 2;
    for (from, to) in [
        (near.try_clone()?, far.try_clone()?),
        (far.try_clone()?, near.try_clone()?),
    ] {
        let (line, arrives) = channel();
        thread::spawn(move || enter(from, &line, delay));
        thread::spawn(move || leave(to, &arrives));
    }
    let host = Host {
        address: FAR_END,
        namespace: Some(there),
    };
    FAR.set(host).map_err(|_| "the far host is there already")?;
    Ok(())
}

/// Makes a host with this name and address, and its end of the line.
fn found(name: &str, address: Ipv4Addr) -> Outcome<(File, File)> {
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("a network namespace of one's own: {error}"))?;
    let namespace = File::open("/proc/thread-self/ns/net")?;
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(|error| format!("/dev/net/tun: {error}"))?;
    become_tun(&device, name)?;
    ip(&["address", "add", &format!("{address}/30"), "dev", name])?;
    // As many packets as a window has, so that none is lost.
    ip(&["link", "set", name, "up", "txqueuelen", "100000"])?;
    ip(&["link", "set", "lo", "up"])?;
    Ok((namespace, device))
}

fn ip(arguments: &[&str]) -> Outcome<()> {
    let status = Command::new("ip").args(arguments).status();
    let status = status.map_err(|error| format!("ip, of the package iproute2: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {status}", arguments.join(" ")).into()),
    }
}

/// The system's `struct ifreq`, as far as it is used here.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Packets of IP, as they are.
const TUN_WITHOUT_HEADER: u16 = 0x1001;

mod request {
    nix::ioctl_write_int!(set_interface, b'T', 202);
}

#[expect(
    unsafe_code,
    reason = "there is no other way to ask the system for a TUN device"
)]
fn become_tun(device: &File, name: &str) -> Outcome<()> {
    let mut request = InterfaceRequest {
        name: [0; 16],
        flags: TUN_WITHOUT_HEADER,
        rest: [0; 22],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    let descriptor: RawFd = device.as_raw_fd();
    // SAFETY: the system reads and writes a `struct ifreq`, which has this form and lives longer than the call.
    let set = unsafe { request::set_interface(descriptor, (&raw mut request) as _) };
    set.map_err(|error| format!("a TUN device: {error}"))?;
    Ok(())
}

/// A packet, and when it arrives.
type Packet = (Instant, Vec<u8>);

fn enter(mut from: File, line: &Sender<Packet>, delay: Duration) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        let packet = buffer[..length].to_vec();
        if line.send((Instant::now() + delay, packet)).is_err() {
            return;
        }
    }
}

fn leave(mut to: File, line: &Receiver<Packet>) {
    for (due, packet) in line {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let written: io::Result<()> = to.write_all(&packet);
        if let Err(error) = written {
            // It is one that TCP sends again, so that the measurement is what suffers.
            eprintln!("mail: a packet is lost on the long line: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpStream};

    #[test]
    fn what_goes_to_the_far_host_arrives_whole_and_takes_its_time() {
        let round_trip = Duration::from_millis(20);
        if let Err(error) = lay_line(round_trip) {
            return eprintln!("NOT TESTED: the far host, since there is none here: {error}");
        }
        let far = Host::far().unwrap();
        let listen = || Ok(TcpListener::bind((far.address, 0))?);
        let server = far.within(listen).unwrap();
        let target = server.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            stream.write_all(&received).unwrap();
        });
        let sent: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        let began = Instant::now();
        let mut stream = TcpStream::connect(target).unwrap();
        assert!(began.elapsed() >= round_trip, "it is TCP's own handshake");
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(began.elapsed() >= round_trip * 2);
        assert!(received == sent);
        echo.join().unwrap();
        assert!(
            TcpListener::bind((far.address, 0)).is_err(),
            "it is another host"
        );
    }
}
