//! The suite: scenarios over real sockets, each with the one transcript that every binding yields.

mod autobahn;
mod rig;
mod scenarios;
mod verdict;

use crate::{Binding, transcript::Transcript};
use libtest_mimic::{Arguments, Trial};
use std::{env, process};

/// How many scenarios run at once: they wait more than they work.
const AT_ONCE: usize = 8;

/// One scenario: plays its part with the binding and writes down what happened.
type Scenario = fn(&mut Transcript);

/// Runs the scenarios the command line asks for, all of them as a rule, and ends the process with the verdict.
///
/// The arguments are those of every Rust test; each scenario is a test. With those that
/// `.ci/autobahn` gives, it is the other end of the Autobahn suite instead.
pub fn judge<B: Binding>() -> ! {
    if let Some(part) = autobahn::Part::read(env::args().skip(1)) {
        part.play::<B>();
        process::exit(0);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let scenarios = scenarios::all::<B>();
    let names: Vec<_> = scenarios.iter().map(|(name, _)| name.clone()).collect();
    let mut trials: Vec<_> = scenarios.into_iter().map(trial).collect();
    trials.push(Trial::test(
        "every_transcript_has_its_scenario",
        move || verdict::no_transcript_is_left_over(&names).map_err(Into::into),
    ));
    libtest_mimic::run(&arguments, trials).exit()
}

fn trial((name, scenario): (String, Scenario)) -> Trial {
    Trial::test(name.clone(), move || {
        let mut transcript = Transcript::default();
        scenario(&mut transcript);
        verdict::compare(&name, &transcript.text()).map_err(Into::into)
    })
}
