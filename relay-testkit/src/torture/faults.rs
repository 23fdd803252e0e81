//! What goes wrong for a while and then is as it was: nothing of it is an excuse for a message that is lost, doubled or in doubt.
//!
//! Linux lets the limits of a process that runs be changed (`prlimit`), which makes its disk full and its descriptors scarce without
//! touching anybody else's. Processes are frozen and asked to stop by signals.

use super::{
    Who,
    cable::{Cut, Direction, Manner},
    message::{below, millis},
    run::{PATIENCE, Run},
};
use std::{
    fmt,
    process::Command,
    time::{Duration, Instant},
};

/// Whether this system has what the faults need.
pub(super) const ARE_POSSIBLE: bool = cfg!(target_os = "linux");

/// The longest a fault lasts, in milliseconds: longer than the heartbeats of both sides together.
const LONGEST: u64 = 1500;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The relay is asked to stop, finishes what is under way, and is started again.
    Stop,
    /// A process stands still, as when its machine sleeps; its clock goes on.
    Freeze(Who),
    /// No descriptor is to be had, and the connections that are there are cut.
    Descriptors(Who),
    /// There is no room on the disk.
    Disk(Who),
    /// The mail server sends everybody away.
    Upstream,
}

impl Fault {
    const ALL: [Self; 8] = [
        Self::Stop,
        Self::Freeze(Who::Relay),
        Self::Freeze(Who::Client),
        Self::Descriptors(Who::Relay),
        Self::Descriptors(Who::Client),
        Self::Disk(Who::Relay),
        Self::Disk(Who::Client),
        Self::Upstream,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => f.write_str("the relay is asked to stop"),
            Self::Freeze(who) => write!(f, "the {who} is frozen"),
            Self::Descriptors(who) => write!(f, "the {who} gets no descriptors"),
            Self::Disk(who) => write!(f, "the disk of the {who} is full"),
            Self::Upstream => f.write_str("the mail server sends everybody away"),
        }
    }
}

impl Run {
    /// One fault from its beginning to its end, while what may be submitted from now on is under way; each kind comes as often.
    pub(super) fn fault(&mut self, number: u64, allowed: u64) -> Result<(), String> {
        let fault = Fault::ALL[(number + self.plan.seed) as usize % Fault::ALL.len()];
        self.chronicle.add(|state| {
            state.allow(allowed);
            state.fault(&fault.to_string());
        });
        self.both_run()?;
        let lasts = millis(&mut self.random, LONGEST);
        match fault {
            Fault::Stop => self.stop_relay()?,
            Fault::Freeze(who) => {
                self.signal(who, "-STOP");
                self.lasts(lasts)?;
                self.signal(who, "-CONT");
            }
            Fault::Descriptors(who) => {
                self.limit(who, "--nofile=3:");
                let direction = match below(&mut self.random, 2) {
                    0 => Direction::ToRelay,
                    _ => Direction::ToClient,
                };
                self.cable.plan(Cut {
                    direction,
                    after: 0,
                    manner: Manner::Closed,
                });
                self.cable.cut_now();
                self.lasts(lasts)?;
                self.limit(who, &format!("--nofile={}:", hard_limit()));
            }
            Fault::Disk(who) => {
                if who == Who::Client {
                    self.chronicle.add(|state| state.client_may_refuse());
                }
                self.limit(who, "--fsize=0:");
                self.lasts(lasts)?;
                self.limit(who, "--fsize=unlimited:");
            }
            Fault::Upstream => {
                self.chronicle.add(|state| state.server_is_away = true);
                self.lasts(lasts)?;
                self.chronicle.add(|state| state.server_is_away = false);
            }
        }
        let over = format!("{fault}: over");
        self.chronicle.add(|state| state.fault(&over));
        self.report.faults += 1;
        Ok(())
    }

    /// Waits until both have their files and go by their own rules.
    fn both_run(&mut self) -> Result<(), String> {
        match self.wait(PATIENCE, |state| state.both_run().then_some(()))? {
            Some(()) => Ok(()),
            None => Err("one of them does not begin".to_owned()),
        }
    }

    /// It ends by itself, in good order, whatever is under way.
    fn stop_relay(&mut self) -> Result<(), String> {
        self.relay.let_end();
        match self.plan.relay {
            Some(_) => self.signal(Who::Relay, "-TERM"),
            None => self.relay.tell("drain\n"),
        }
        let until = Instant::now() + PATIENCE;
        while !self.relay.has_ended() {
            if Instant::now() > until {
                return Err("the relay was asked to stop and does not".to_owned());
            }
            self.lasts(Duration::from_millis(5))?;
        }
        if !self.relay.end() {
            return Err("the relay was asked to stop and has not ended well".to_owned());
        }
        self.chronicle.add(|state| state.relay = None);
        self.start_relay();
        Ok(())
    }

    fn lasts(&mut self, time: Duration) -> Result<(), String> {
        self.wait::<()>(time, |_| None).map(|_| ())
    }

    fn signal(&self, who: Who, signal: &str) {
        must_succeed(Command::new("kill").arg(signal).arg(self.id(who)));
    }

    fn limit(&self, who: Who, limit: &str) {
        must_succeed(Command::new("prlimit").args([limit, "--pid", &self.id(who)]));
    }

    fn id(&self, who: Who) -> String {
        let process = match who {
            Who::Client => &self.client,
            Who::Relay => &self.relay,
        };
        process.id().to_string()
    }
}

fn must_succeed(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// How many descriptors a process may have at most; those below it may have fewer, and get them back.
fn hard_limit() -> String {
    let output = Command::new("prlimit")
        .args(["--nofile", "--noheadings", "--raw", "--output=HARD"])
        .output()
        .unwrap_or_else(|error| panic!("prlimit: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
