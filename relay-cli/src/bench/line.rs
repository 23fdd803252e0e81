//! A long line: passes bytes on as they are, half a round trip later.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// How many pieces are on the line at once in each direction: far more than any link here fills in half a round trip.
const PIECES: usize = 4096;

/// A line from a port of this machine to a server, with a delay and nothing else: it loses nothing and is as wide as the machine
/// allows. Opening a connection takes a round trip, as TCP does.
///
/// It has threads, not tasks, since a runtime's timers are too coarse for it.
#[derive(Debug)]
pub(crate) struct Line {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Line {
    /// Lays one.
    ///
    /// # Errors
    ///
    /// Where there is no free port, or no thread left.
    pub(crate) fn lay(target: SocketAddr, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let is_cut = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_cut);
        thread::Builder::new().spawn(move || {
            for caller in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                if let Ok(caller) = caller {
                    // A connection that fails ends; its caller sees that.
                    thread::spawn(move || connect(caller, target, round_trip / 2));
                }
            }
        })?;
        Ok(Self { address, is_cut })
    }

    /// Where to connect to.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Nobody can connect any more; connections there are last as long as their ends want.
impl Drop for Line {
    fn drop(&mut self) {
        self.is_cut.store(true, Ordering::Relaxed);
        // Wakes the one who waits for callers.
        let _ = TcpStream::connect(self.address);
    }
}

/// The caller sees the connection at once, and the server as soon as it is told. On a long line the caller would see it a round trip
/// later, and the server half a one after that, so what either says before counts as said then.
fn connect(caller: TcpStream, target: SocketAddr, half: Duration) -> io::Result<()> {
    let called_at = Instant::now();
    caller.set_nodelay(true)?;
    let server = TcpStream::connect(target)?;
    server.set_nodelay(true)?;
    let (from_caller, to_server) = (caller.try_clone()?, server.try_clone()?);
    thread::spawn(move || carry(from_caller, to_server, called_at + half * 2, half));
    carry(server, caller, called_at + half * 3, half);
    Ok(())
}

/// Carries one direction until either end is done.
fn carry(mut from: TcpStream, to: TcpStream, opened_at: Instant, delay: Duration) {
    let (enter, line) = sync_channel(PIECES);
    thread::spawn(move || leave(to, &line));
    // What goes wrong ends this direction, which is told on by hanging up.
    let _ = enter_all(&mut from, &enter, opened_at, delay);
    let _ = from.shutdown(Shutdown::Read);
}

type Piece = (Instant, Vec<u8>);

fn enter_all(
    from: &mut TcpStream,
    line: &SyncSender<Piece>,
    opened_at: Instant,
    delay: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        let due = Instant::now().max(opened_at) + delay;
        if count == 0 || line.send((due, buffer[..count].to_vec())).is_err() {
            return Ok(());
        }
    }
}

fn leave(mut to: TcpStream, line: &Receiver<Piece>) {
    for (due, piece) in line {
        sleep_until(due);
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    // The other end may have gone first.
    let _ = to.shutdown(Shutdown::Write);
}

fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways_whole_and_take_their_time() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = server.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            stream.write_all(&received).unwrap();
        });
        let round_trip = Duration::from_millis(20);
        let line = Line::lay(target, round_trip).unwrap();
        let sent: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        let began = Instant::now();
        let mut stream = TcpStream::connect(line.address()).unwrap();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        // Once to connect, once there and back: never less, on however slow a machine.
        assert!(began.elapsed() >= round_trip * 2);
        assert!(received == sent);
        echo.join().unwrap();
    }
}
