//! Stopwatch, medians, and lines of output.

use relay_bench::{Better, Record};
use std::{
    error::Error,
    fs,
    hint::black_box,
    io,
    time::{Duration, Instant},
};

/// Adds up the time of the pieces of work that count, and leaves out what prepares them.
#[derive(Debug, Default)]
pub struct Stopwatch(Duration);

impl Stopwatch {
    /// Work that counts.
    pub fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let mut work = Some(work);
        let mut result = None;
        let began = Instant::now();
        counted(&mut || result = work.take().map(|work| work()));
        self.0 += began.elapsed();
        black_box(result).expect("the work is done once")
    }

    /// The time of all of it.
    pub fn total(&self) -> Duration {
        self.0
    }
}

/// What callgrind counts: everything below this function and nothing else, found by its name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

/// The memory of a process in KiB; `process` is its number, or `self`.
pub fn resident(process: &str) -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Prints one measurement.
pub struct Report {
    pub table: &'static str,
    pub repetition: u32,
}

impl Report {
    /// Something of which less is better.
    pub fn cost(
        &self,
        row: &str,
        series: &str,
        x: Option<f64>,
        unit: &str,
        value: f64,
    ) -> io::Result<()> {
        self.print(row, series, x, unit, value, Better::Lower)
    }

    /// Something of which more is better.
    pub fn rate(
        &self,
        row: &str,
        series: &str,
        x: Option<f64>,
        unit: &str,
        value: f64,
    ) -> io::Result<()> {
        self.print(row, series, x, unit, value, Better::Higher)
    }

    fn print(
        &self,
        row: &str,
        series: &str,
        x: Option<f64>,
        unit: &str,
        value: f64,
        better: Better,
    ) -> io::Result<()> {
        let (row, series, unit) = (row.to_owned(), series.to_owned(), unit.to_owned());
        let (table, repetition) = (self.table.to_owned(), self.repetition);
        Record {
            table,
            row,
            series,
            line: None,
            x,
            unit,
            value,
            repetition,
            better,
        }
        .print()
    }
}
