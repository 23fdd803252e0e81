//! Measures how messages get from a client to a mail server: through a relay link, and as others send them.
//!
//! `mail [--short] [--repetitions N] [--only TEXT] [--proxy]` prints records (see the library). Run it with `bench/run`, from the
//! repository's root; `mail sink`, `mail tunnel` and `mail cold` are the processes it starts.

mod case;
mod host;
#[path = "../../../../relay-cli/src/bench/letter.rs"]
#[allow(dead_code, reason = "the servers here do not look at what they get")]
mod letter;
mod lettre;
#[path = "../../../../relay-cli/src/bench/line.rs"]
mod line;
mod others;
mod ours;
mod processes;
mod race;
mod raw;
mod rows;
mod sink;
mod tunnel;

use std::{error::Error, ffi::OsString, process::ExitCode};

/// What can go wrong is for people to read.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mail: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    use lexopt::prelude::{Long, Value, ValueExt};
    let mut plan = rows::Plan::default();
    let mut words: Vec<OsString> = Vec::new();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("short") => plan.short = true,
            Long("repetitions") => plan.repetitions = arguments.value()?.parse()?,
            Long("proxy") => plan.proxy = true,
            Long("only") => plan.only = Some(arguments.value()?.string()?),
            Value(word) => words.push(word),
            other => return Err(other.unexpected().into()),
        }
    }
    let words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
    match &words[..] {
        [] => rows::measure(&plan),
        ["sink", here] => sink::serve(here.parse()?),
        ["tunnel", "near", here, target] => tunnel::near(here.parse()?, target.parse()?),
        ["tunnel", "far", here, target] => tunnel::far(here.parse()?, target.parse()?),
        ["cold", url, certificate, outbox, size] => {
            ours::cold_process(url, certificate, outbox, size.parse()?)
        }
        _ => Err(format!("there is no such part: {}", words.join(" ")).into()),
    }
}
