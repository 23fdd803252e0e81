//! Benchmarks of the core, the links and memory. `links --help` says what there is.

mod core;
mod echo;
mod instructions;
mod machine;
mod measure;
mod relay;

use std::error::Error;

const HELP: &str =
    "Measures the core, one link, memory and growth; one line of JSON for each measurement.

usage: links [--short] [--only SERIES] [core|link|memory|storm|growth]...
       links instructions [--update]

  memory and storm start the program `relay`: target/release/relay, or where RELAY says.

  --only     of one link, only the series whose name has this in it
  --short    everything once, in a small form: shows that it works, not how fast";

fn main() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut arguments = lexopt::Parser::from_env();
    let (mut short, mut update, mut only, mut words) = (false, false, None, Vec::new());
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("short") => short = true,
            Long("update") => update = true,
            Long("only") => only = Some(arguments.value()?.string()?),
            Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            Value(word) => words.push(word.string()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["instructions"] => return instructions::check(update),
        ["case", name] => return instructions::run_case(name),
        _ => {}
    }
    let repetitions = if short { 1 } else { 7 };
    let chosen = |word| words.is_empty() || words.contains(&word);
    if let Some(unknown) = words
        .iter()
        .find(|word| !["core", "link", "memory", "storm", "growth"].contains(word))
    {
        return Err(format!("there is nothing called {unknown}\n\n{HELP}").into());
    }
    if chosen("core") {
        core::times(repetitions, if short { 10 } else { 2000 })?;
    }
    // Runs of a relay take long, and memory hardly differs between them.
    let runs = repetitions.min(3);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for repetition in 0..runs {
        if chosen("memory") {
            runtime.block_on(relay::memory(repetition, if short { 100 } else { 1_000 }))?;
        }
        if chosen("storm") {
            runtime.block_on(relay::storm(repetition, if short { 100 } else { 1_000 }))?;
        }
    }
    if chosen("growth") {
        core::growth(
            if short { 1 } else { 3 },
            if short { 1000 } else { 100_000 },
            if short { 10 } else { 200 },
        )?;
    }
    // Last, since the process stays on one core from here on.
    if chosen("link") {
        echo::stay_on_one_core()?;
        echo::run(
            only.as_deref(),
            repetitions,
            if short { 100 } else { 20_000 },
        )?;
    }
    Ok(())
}
