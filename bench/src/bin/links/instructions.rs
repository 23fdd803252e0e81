//! Instructions of the core's hot paths, counted by callgrind: the same on a noisy machine.

use crate::{core::CASES, measure::Stopwatch};
use std::{collections::BTreeMap, env, error::Error, fs, process::Command};

/// The committed counts.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

/// How much more than in the baseline is still the same: hash-free code differs by nothing from run to run, but a dependency's
/// new version may inline differently.
const TOLERANCE: f64 = 1.05;

/// Enough for what is allocated once to vanish in the mean.
const FLIGHTS: usize = 200;
const EACH: f64 = (FLIGHTS * 64) as f64;

/// What runs under callgrind.
pub fn run_case(name: &str) -> Result<(), Box<dyn Error>> {
    let case = CASES
        .iter()
        .find(|case| case.name == name)
        .ok_or("there is no such case")?;
    (case.run)(FLIGHTS, &mut Stopwatch::default());
    Ok(())
}

/// Compares with the baseline, and fails where something has become dearer; or writes a new one.
pub fn check(update: bool) -> Result<(), Box<dyn Error>> {
    let compiler = compiler()?;
    let mut counts = BTreeMap::new();
    for case in &CASES {
        counts.insert(case.name, count(case.name)?);
    }
    if update {
        let mut text = format!(
            "# Instructions of one operation, made by `bench/instructions --update`.\n# {compiler}\n"
        );
        for (name, count) in &counts {
            text += &format!("{name} {count:.1}\n");
        }
        return Ok(fs::write(BASELINE, text)?);
    }
    let baseline = fs::read_to_string(BASELINE)?;
    if !baseline.contains(&compiler) {
        println!(
            "the baseline was made with another compiler than {compiler}; `bench/instructions --update` makes a new one"
        );
    }
    let mut dearer = Vec::new();
    for (name, count) in counts {
        let before: f64 = baseline
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .ok_or_else(|| {
                format!("{name} is not in {BASELINE}; `bench/instructions --update` puts it there")
            })?
            .parse()?;
        println!(
            "{name:20} {count:10.1} instructions, {:+.1} %",
            (count / before - 1.0) * 100.0
        );
        if count > before * TOLERANCE {
            dearer.push(name);
        }
    }
    match dearer.as_slice() {
        [] => Ok(()),
        names => Err(format!(
            "more instructions than the baseline allows: {}; make it cheaper, or, if it is worth it or the compiler is \
             another, accept it with `bench/instructions --update`",
            names.join(", ")
        )
        .into()),
    }
}

fn count(name: &str) -> Result<f64, Box<dyn Error>> {
    let valgrind = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=*measure*counted*",
        ])
        .arg(env::current_exe()?)
        .args(["case", name])
        .output()
        .map_err(|error| format!("valgrind does not start ({error}); `.ci/setup` installs it"))?;
    let said = String::from_utf8_lossy(&valgrind.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .filter(|_| valgrind.status.success())
        .ok_or_else(|| format!("no count of {name} from valgrind:\n{said}"))?;
    let count: f64 = collected.1.trim().parse()?;
    if count == 0.0 {
        return Err(
            format!("callgrind has counted nothing of {name}: its symbols are not found").into(),
        );
    }
    Ok(count / EACH)
}

fn compiler() -> Result<String, Box<dyn Error>> {
    let version = Command::new("rustc").arg("--version").output()?.stdout;
    Ok(format!(
        "{} on {}",
        String::from_utf8(version)?.trim(),
        env::consts::ARCH
    ))
}
