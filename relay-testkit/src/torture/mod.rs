//! The proof with real processes: clients and relays that are killed without a warning, a cable between them that is cut, and a
//! mail server that counts what reaches it. Both also run out of disk and descriptors, stand still and are asked to stop, and the mail
//! server goes away.
//!
//! The test executable of a binding plays all roles: it runs itself as the client, whose outbox is on disk, and as the relay, whose
//! ledger is, kills them at random and starts them again on their files. Everything random comes from one seed; when things
//! happen comes from the system, so that a seed makes a failure likely again and not certain.
//!
//! What has to be true at the end, and all the time:
//!
//! - every message the client has accepted is delivered, or reported failed, or reported in doubt; nothing is missing;
//! - none is delivered twice;
//! - one is reported failed only where the mail server has refused it, and delivered only where it has taken it;
//! - one is in doubt only where a relay was killed while it was on its way, and it was delivered once or not at all;
//! - none is refused but by a client whose disk is full;
//! - no message is in the outbox twice, or under two names, and at the end the outbox is empty and both files are whole.

mod arguments;
mod cable;
mod chronicle;
mod client;
mod faults;
mod judgement;
mod message;
mod process;
mod relay;
mod report;
mod run;
mod upstream;

use crate::Binding;
use arguments::{Order, Plan};
use libtest_mimic::{Arguments, Failed, Trial};
use std::{
    any, fmt,
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
};

/// How the test executable is told to be somebody else; followed by who.
const ROLE: &str = "--role";

/// Whom a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Client,
    Relay,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Relay => "relay",
        })
    }
}

/// The `main` of the test `torture` of a binding. Without arguments of its own it is a short run, as a test among others;
/// `--messages COUNT --kills COUNT --cuts COUNT --faults COUNT --seed SEED` make it another, and `--relay PROGRAM` has
/// that program play the relay: it is run like `relay serve`.
pub fn torture<B: Binding>() -> ExitCode {
    torture_with::<B>(None)
}

/// The same, with this program as the relay where the arguments name none.
pub fn torture_with<B: Binding>(relay: Option<PathBuf>) -> ExitCode {
    let order = match arguments::read(std::env::args().skip(1), relay) {
        Ok(order) => order,
        Err(problem) => {
            eprintln!("{problem}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match order {
        Order::Client(client) => client::run::<B>(client),
        Order::Relay(relay) => relay::run::<B>(relay),
        Order::Run(plan) => match killed_and_cut_off_every_message_has_one_end::<B>(plan) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{failure}");
                ExitCode::FAILURE
            }
        },
        Order::Test(plan) => {
            let test = move || {
                killed_and_cut_off_every_message_has_one_end::<B>(plan).map_err(Failed::from)
            };
            let name = "killed_and_cut_off_every_message_has_one_end";
            libtest_mimic::run(&Arguments::from_args(), vec![Trial::test(name, test)]).exit_code()
        }
    }
}

fn killed_and_cut_off_every_message_has_one_end<B: Binding>(plan: Plan) -> Result<(), String> {
    let seed = plan.seed;
    // A promise that is broken inside is a failure like any other, and has a seed, too.
    let report = thread::spawn(move || run::run(plan))
        .join()
        .unwrap_or_else(|_| Err("the run itself has broken off; see above".to_owned()));
    let report = report.map_err(|failure| format!("seed {seed}: {failure}"))?;
    let binding = any::type_name::<B>();
    println!("{binding}, seed {seed}: {report}");
    Ok(())
}

/// This executable again, as somebody else.
fn role(name: &str) -> Command {
    let executable = std::env::current_exe().expect("a program that runs has a file");
    let mut command = program(executable);
    command.args([ROLE, name]);
    command
}

/// A program that is told by an error, and not killed by a signal, that a file of its own cannot grow.
fn program(path: PathBuf) -> Command {
    if !faults::ARE_POSSIBLE {
        return Command::new(path);
    }
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#]);
    command.arg(path);
    command
}
