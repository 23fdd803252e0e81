//! What the benchmarks have in common: the record of one measurement.

use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// One measurement: a line of JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// Which table it belongs to.
    pub table: String,
    /// What is measured.
    pub row: String,
    /// Who was measured.
    pub series: String,
    /// What grows, where the row shows how something grows.
    pub x: Option<f64>,
    /// What was between the two ends, where that is more than one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Of the value.
    pub unit: String,
    /// What came out.
    pub value: f64,
    /// Which repetition, from 0.
    pub repetition: u32,
    /// Which way is good.
    pub better: Better,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Rates.
    Higher,
    /// Times and memory.
    Lower,
}

impl Record {
    /// Writes it as a line on standard output, at once, so that a run that is cut short leaves what it has measured.
    ///
    /// # Errors
    ///
    /// Where nobody takes it.
    pub fn print(&self) -> io::Result<()> {
        let mut output = io::stdout().lock();
        serde_json::to_writer(&mut output, self)?;
        output.write_all(b"\n")?;
        output.flush()
    }
}
