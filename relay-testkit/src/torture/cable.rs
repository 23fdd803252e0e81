//! The cable between client and relay, which can be cut after any byte.

use super::chronicle::Chronicle;
use crate::peer;
use socket2::SockRef;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Both sides are told that it is over.
    Closed,
    /// Both sides are told that it never was.
    Reset,
    /// Nobody is told anything.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToRelay,
    ToClient,
}

/// What happens to the connection over which the next bytes go in this direction, after so many of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) direction: Direction,
    pub(super) after: usize,
    pub(super) manner: Manner,
}

/// The cut that comes next, until it is done.
#[derive(Clone, Default)]
pub(super) struct Planned(Arc<Mutex<Option<Cut>>>);

impl Planned {
    pub(super) fn is_done(&self) -> bool {
        lock(&self.0).is_none()
    }
}

pub(super) struct Cable {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    chronicle: Arc<Chronicle>,
    planned: Planned,
    lines: Mutex<Vec<Weak<Line>>>,
}

/// One connection, in two halves.
struct Line {
    client: TcpStream,
    relay: TcpStream,
    is_silent: AtomicBool,
}

impl Cable {
    pub(super) fn lay(chronicle: &Arc<Chronicle>) -> Self {
        let (listener, address) = peer::listener();
        let shared = Arc::new(Shared {
            chronicle: Arc::clone(chronicle),
            planned: Planned::default(),
            lines: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Cuts it as soon as so many bytes have passed.
    pub(super) fn plan(&self, cut: Cut) {
        *lock(&self.shared.planned.0) = Some(cut);
    }

    /// What is planned.
    pub(super) fn planned(&self) -> Planned {
        self.shared.planned.clone()
    }

    /// What is still planned happens now, everywhere.
    pub(super) fn cut_now(&self) {
        if let Some(cut) = lock(&self.shared.planned.0).take() {
            let lines: Vec<_> = lock(&self.shared.lines).drain(..).collect();
            for line in lines.iter().filter_map(Weak::upgrade) {
                line.cut(cut.manner);
            }
            let what = format!("the cable is cut: {:?}", cut.manner);
            self.shared.chronicle.add(|state| state.fault(&what));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        let target = shared.chronicle.add(|state| state.relay);
        // Without a relay nobody is there, as the client learns.
        let Some(Ok(relay)) = target.map(TcpStream::connect) else {
            continue;
        };
        let line = Arc::new(Line {
            client,
            relay,
            is_silent: AtomicBool::new(false),
        });
        let mut lines = lock(&shared.lines);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&line));
        drop(lines);
        for direction in [Direction::ToRelay, Direction::ToClient] {
            let (line, shared) = (Arc::clone(&line), Arc::clone(shared));
            thread::spawn(move || {
                if line.carry(direction, &shared).is_err() {
                    line.cut(Manner::Closed);
                }
            });
        }
    }
}

impl Line {
    fn carry(&self, direction: Direction, shared: &Shared) -> io::Result<()> {
        let (mut from, mut to) = match direction {
            Direction::ToRelay => (&self.client, &self.relay),
            Direction::ToClient => (&self.relay, &self.client),
        };
        to.set_nodelay(true)?;
        let mut piece = [0; 16 * 1024];
        loop {
            let length = from.read(&mut piece)?;
            if self.is_silent.load(Ordering::SeqCst) {
                match length {
                    0 => return Ok(()),
                    _ => continue,
                }
            }
            if length == 0 {
                return to.shutdown(Shutdown::Write);
            }
            match shared.passes(direction, length) {
                None => to.write_all(&piece[..length])?,
                Some(cut) => {
                    to.write_all(&piece[..cut.after])?;
                    let what = format!("the cable is cut: {cut:?}");
                    self.cut(cut.manner);
                    shared.chronicle.add(|state| state.fault(&what));
                }
            }
        }
    }

    /// Both halves read their end then; where they are to be reset, that happens when the last of them lets go.
    fn cut(&self, manner: Manner) {
        if manner == Manner::Silent {
            return self.is_silent.store(true, Ordering::SeqCst);
        }
        for stream in [&self.client, &self.relay] {
            // One side may have gone by itself.
            let _ = match manner {
                Manner::Reset => SockRef::from(stream)
                    .set_linger(Some(Duration::ZERO))
                    .and_then(|()| stream.shutdown(Shutdown::Read)),
                _ => stream.shutdown(Shutdown::Both),
            };
        }
        if manner == Manner::Reset {
            self.is_silent.store(true, Ordering::SeqCst);
        }
    }
}

impl Shared {
    /// So many bytes are about to go this way; the cut that comes before their end, if one does.
    fn passes(&self, direction: Direction, length: usize) -> Option<Cut> {
        let mut waiting = lock(&self.planned.0);
        let cut = waiting.as_mut().filter(|cut| cut.direction == direction)?;
        match cut.after.checked_sub(length) {
            Some(left) if left > 0 => {
                cut.after = left;
                None
            }
            _ => waiting.take(),
        }
    }
}
