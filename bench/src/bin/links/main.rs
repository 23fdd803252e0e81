//! Benchmarks of the core, the links and memory. `links --help` says what there is.

mod channels;
mod core;
mod echo;
mod instructions;
mod large;
mod machine;
mod measure;
mod relay;

use std::error::Error;

const HELP: &str =
    "Measures the core, one link, memory and growth; one line of JSON for each measurement.

usage: links [--short] [--repetitions N] [--only SERIES] [core|link|memory|storm|many|mail|growth]...
       links instructions [--update]

  memory, storm, many and mail start the program `relay`: target/release/relay, or where RELAY says.
  many holds 50,000 idle links, of several relays, since a process may open so many files; mail waits a minute.

  --only     of one link, only the series whose name has this in it
  --short    everything once, in a small form: shows that it works, not how fast";

const WORDS: [&str; 7] = ["core", "link", "memory", "storm", "many", "mail", "growth"];

fn main() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut arguments = lexopt::Parser::from_env();
    let (mut short, mut update, mut only, mut words) = (false, false, None, Vec::new());
    let mut repetitions = 7;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("short") => short = true,
            Long("update") => update = true,
            Long("repetitions") => repetitions = arguments.value()?.parse()?,
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
        ["hold", from, links] => return large::hold(from.parse()?, links.parse()?),
        _ => {}
    }
    let repetitions = if short { 1 } else { repetitions };
    let chosen = |word| words.is_empty() || words.contains(&word);
    if let Some(unknown) = words.iter().find(|word| !WORDS.contains(word)) {
        return Err(format!("there is nothing called {unknown}\n\n{HELP}").into());
    }
    if chosen("growth") {
        channels::memory()?;
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
            runtime.block_on(relay::memory(repetition, if short { 100 } else { 8_000 }))?;
        }
        if chosen("storm") {
            runtime.block_on(relay::storm(repetition, if short { 100 } else { 8_000 }))?;
        }
    }
    if chosen("many") {
        large::many(if short { 200 } else { 50_000 })?;
    }
    if chosen("mail") {
        runtime.block_on(large::mail(short))?;
    }
    if chosen("growth") {
        channels::growth(if short { 1 } else { 3 }, if short { 10 } else { 2_000 })?;
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
