//! One link: frames that come back, through our drivers and through the plain WebSocket libraries below them.
//!
//! Both ends are of the same make, each on a thread of its own with its own single-threaded runtime where the runtime
//! allows that. All are measured in turns, so that a noisy minute is noisy for everybody.

mod ours;
mod plain;

use crate::measure::Report;
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    sys::resource::{Usage, UsageWho, getrusage},
    unistd::Pid,
};
use std::{error::Error, io, time::Instant};

pub const PAYLOAD: usize = 200;

/// Something that sends frames and gets them back: connected, and asked again and again.
pub trait Pair {
    /// Sends so many with no more than `window` unanswered, and waits until all have come back.
    fn exchange(&mut self, frames: usize, window: usize);
}

type Connect = fn() -> io::Result<Box<dyn Pair>>;

/// Each runtime: the plain library, and our driver on it.
const CONTESTANTS: [(&str, Connect); 9] = [
    ("plain tokio-tungstenite", plain::tokio_as_published),
    ("plain tokio-tungstenite, 4 KiB buffers", plain::tokio_small),
    ("relay-tokio", ours::tokio),
    ("plain async-tungstenite on smol", plain::smol),
    ("relay-smol", ours::smol),
    ("plain async-tungstenite on async-std", plain::async_std),
    ("relay-async-std", ours::async_std),
    ("plain tungstenite", plain::blocking),
    ("relay-blocking", ours::blocking),
];

/// Pipelined, and one at a time.
const WINDOWS: [(&str, usize, usize); 2] = [
    ("200-byte frames a second, 64 under way", 64, 20),
    ("200-byte frames a second, one at a time", 1, 1),
];

pub fn run(only: Option<&str>, repetitions: u32, frames: usize) -> Result<(), Box<dyn Error>> {
    let chosen = |name: &&(&str, Connect)| only.is_none_or(|only| name.0.contains(only));
    let mut pairs = Vec::new();
    for (name, connect) in CONTESTANTS.iter().filter(chosen) {
        pairs.push((name, connect()?));
    }
    for repetition in 0..repetitions {
        let report = Report {
            table: "one link",
            repetition,
        };
        for (row, window, factor) in WINDOWS {
            for (name, pair) in &mut pairs {
                let frames = frames * factor;
                pair.exchange(frames.min(100), window);
                let (began, cpu) = (Instant::now(), cpu()?);
                pair.exchange(frames, window);
                let seconds = began.elapsed().as_secs_f64();
                report.rate(row, name, None, "1/s", frames as f64 / seconds)?;
                let each = (self::cpu()? - cpu) / frames as f64 * 1e6;
                let row = row.replace("frames a second", "frames, CPU of both ends");
                report.cost(&row, name, None, "µs", each)?;
            }
        }
    }
    // The tasks of a runtime end with the process.
    Ok(())
}

/// Both ends of a link share a core: to wake another one costs more than all that is measured here, and depends on who else
/// is at work. Threads started from here on inherit it.
pub fn stay_on_one_core() -> io::Result<()> {
    let mut cores = CpuSet::new();
    let here = sched_getcpu()?;
    cores.set(here)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

/// Seconds this process has used.
fn cpu() -> Result<f64, Box<dyn Error>> {
    let usage: Usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
