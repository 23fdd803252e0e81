//! Runs the simulation: `relay-testkit --seeds N` from seed 0 or `--from`, `--seed N` one alone with its trace. `--survey` goes on
//! behind a seed that fails.
#![expect(clippy::print_stdout, reason = "it tells people")]

use relay_testkit::simulation::{self, Plan, Tally, Trace};
use std::{
    panic,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

/// How many seeds a thread takes at a time.
const BATCH: u64 = 256;

const USAGE: &str =
    "usage: relay-testkit --seeds COUNT [--from SEED] [--survey] | --seed SEED | --exhaustive";

enum Order {
    Many { from: u64, count: u64 },
    Survey { from: u64, count: u64 },
    One(u64),
    Exhaustive,
}

fn order(arguments: impl IntoIterator<Item = String>) -> Option<Order> {
    let (mut from, mut count, mut one) = (0, None, None);
    let (mut survey, mut exhaustive) = (false, false);
    let mut arguments = arguments.into_iter();
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next()?.replace('_', "").parse::<u64>().ok();
        match name.as_str() {
            "--seeds" => count = Some(number()?),
            "--from" => from = number()?,
            "--seed" => one = Some(number()?),
            "--survey" => survey = true,
            "--exhaustive" => exhaustive = true,
            _ => return None,
        }
    }
    match (one, count, exhaustive) {
        (Some(seed), None, false) => Some(Order::One(seed)),
        (None, Some(count), false) if survey => Some(Order::Survey { from, count }),
        (None, Some(count), false) => Some(Order::Many { from, count }),
        (None, None, true) => Some(Order::Exhaustive),
        _ => None,
    }
}

fn main() -> ExitCode {
    let Some(order) = order(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    // A broken promise is a panic; it is told once, with its trace.
    panic::set_hook(Box::new(|_| {}));
    let is_good = match order {
        Order::Many { from, count } => many(from, count),
        Order::Survey { from, count } => survey(from, count),
        Order::One(seed) => one(seed),
        Order::Exhaustive => exhaustive(),
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn many(from: u64, count: u64) -> bool {
    let began = Instant::now();
    let (next, end) = (AtomicU64::new(from), from.saturating_add(count));
    let failed = AtomicBool::new(false);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut sum = Tally::default();
        while !failed.load(Ordering::Relaxed) {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            if start >= end {
                break;
            }
            match simulation::run_many(start..end.min(start + BATCH)) {
                Ok(tally) => sum.add(&tally),
                Err(failure) => {
                    // The first to fail is told.
                    if !failed.swap(true, Ordering::Relaxed) {
                        println!("{failure}");
                    }
                }
            }
        }
        sum
    };
    let mut sum = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Ok(tally) = worker.join() {
                sum.add(&tally);
            }
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    println!("{sum}");
    println!(
        "{seconds:.1} s, {:.0} runs a second",
        sum.runs as f64 / seconds
    );
    !failed.load(Ordering::Relaxed)
}

fn survey(from: u64, count: u64) -> bool {
    let broken = simulation::survey(from..from.saturating_add(count));
    for (seed, what) in &broken {
        println!("seed {seed}: {what}");
    }
    println!("{} of {count} seeds break a promise", broken.len());
    broken.is_empty()
}

fn one(seed: u64) -> bool {
    let trace = Trace::kept();
    let plan = Plan::of(seed);
    let kept = trace.clone();
    let result = panic::catch_unwind(panic::AssertUnwindSafe(|| simulation::run(&plan, kept)));
    for line in trace.lines() {
        println!("{line}");
    }
    println!("\n{plan:#?}");
    match result {
        Ok(tally) => {
            println!("\nseed {seed}: {tally}");
            true
        }
        Err(_) => match simulation::run_many([seed]) {
            Ok(_) => false,
            Err(failure) => {
                println!("\nThe smallest of its kind:\n\n{failure}");
                false
            }
        },
    }
}

fn exhaustive() -> bool {
    for durable in [false, true] {
        let plan = Plan {
            durable,
            ..Plan::calm(0)
        };
        match simulation::every_cut(&plan) {
            Ok(done) => println!("{} frames: {}", done.frames, done.tally),
            Err(what) => {
                println!("{what}");
                return false;
            }
        }
    }
    true
}
