//! A run from its first message to its verdict.

use super::{
    arguments::Plan,
    cable::{Cable, Cut, Direction, Manner},
    chronicle::Chronicle,
    judgement::State,
    message::{self, below, millis},
    process::Process,
    program,
    report::Report,
    role, upstream,
};
use crate::mail::submissions;
use relay_proto::{
    Random, Time,
    mail::relay::{Relay, RelayConfig},
    storage::Storage,
};
use relay_storage::StorageFile;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Something goes on within this time, or the run hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Nobody is left alone longer than this.
const PAUSE: Duration = Duration::from_millis(1500);

pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) chronicle: Arc<Chronicle>,
    pub(super) cable: Cable,
    upstream: SocketAddr,
    directory: PathBuf,
    lives: u64,
    pub(super) client: Process,
    pub(super) relay: Process,
    pub(super) report: Report,
}

/// Runs a plan; what it has come to, or what is broken.
pub(super) fn run(plan: Plan) -> Result<Report, String> {
    let directory = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let mut run = Run::start(plan, directory.path());
    let result = run.hurt().and_then(|()| run.finish());
    match result {
        Ok(report) => Ok(Report {
            took: began.elapsed(),
            ..report
        }),
        Err(failure) => {
            // What is broken is in the files as well.
            let kept = directory.keep();
            Err(format!("{failure}\nthe files are in {}", kept.display()))
        }
    }
}

impl Run {
    fn start(plan: Plan, directory: &Path) -> Self {
        let chronicle = Arc::new(Chronicle::new(plan.seed, plan.messages));
        let upstream = upstream::start(plan.seed, &chronicle);
        let cable = Cable::lay(&chronicle);
        let directory = directory.to_owned();
        let relay = start_relay(&plan, &directory, upstream, &chronicle, 0);
        let client = start_client(&plan, &directory, cable.address, &chronicle, 0);
        Self {
            random: message::random(plan.seed, "faults", 0),
            plan,
            chronicle,
            cable,
            upstream,
            directory,
            lives: 0,
            client,
            relay,
            report: Report::default(),
        }
    }

    /// Everything that goes wrong, spread over the messages.
    fn hurt(&mut self) -> Result<(), String> {
        let Plan {
            mut kills,
            cuts,
            mut faults,
            ..
        } = self.plan;
        let (count, mut done) = (kills + cuts + faults, 0);
        while done < count {
            let allowed = self.plan.messages * (done + 1) / (count + 1);
            done += match below(&mut self.random, count - done) {
                choice if choice < kills => {
                    self.chronicle.add(|state| state.allow(allowed));
                    self.pause()?;
                    let killed = self.kill(kills);
                    kills -= killed;
                    killed
                }
                choice if choice < kills + faults => {
                    faults -= 1;
                    self.fault(faults, allowed)?;
                    1
                }
                _ => {
                    self.cut(allowed)?;
                    1
                }
            };
        }
        Ok(())
    }

    /// Lets things go on for a while: not at all, or until so much has happened and then some.
    fn pause(&mut self) -> Result<(), String> {
        let Plan {
            messages,
            kills,
            cuts,
            faults,
            ..
        } = self.plan;
        let share = 6 * messages / (kills + cuts + faults + 1);
        let more = match below(&mut self.random, 5) {
            0 => 0,
            _ => below(&mut self.random, share + 1),
        };
        let target = self.chronicle.add(|state| state.progress) + more;
        let enough = |state: &mut State| state.progress >= target || state.is_idle();
        self.wait(PAUSE, |state| enough(state).then_some(()))?;
        let moment = millis(&mut self.random, 20);
        self.wait::<()>(moment, |_| None)?;
        Ok(())
    }

    /// Waits, and keeps the client busy meanwhile.
    pub(super) fn wait<R>(
        &mut self,
        patience: Duration,
        mut find: impl FnMut(&mut State) -> Option<R>,
    ) -> Result<Option<R>, String> {
        enum Next<R> {
            Found(R),
            Submit(Vec<u64>),
            Broken(String),
        }
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let next = self.chronicle.wait(left, |state| {
                if state.now > state.progressed + PATIENCE {
                    state.hangs();
                }
                if let Some(failure) = state.failure() {
                    return Some(Next::Broken(failure));
                }
                let numbers = state.submit();
                if !numbers.is_empty() {
                    return Some(Next::Submit(numbers));
                }
                find(state).map(Next::Found)
            });
            match next {
                Some(Next::Found(found)) => return Ok(Some(found)),
                Some(Next::Broken(failure)) => return Err(failure),
                Some(Next::Submit(numbers)) => {
                    let lines = numbers.iter().map(|number| format!("submit {number}\n"));
                    self.client.tell(&lines.collect::<String>());
                }
                None => return Ok(None),
            }
        }
    }

    /// Kills one of them, or both where that many may be killed; how many.
    fn kill(&mut self, most: u64) -> u64 {
        let choice = below(&mut self.random, 10);
        let both = choice == 0 && most > 1;
        let (client, relay) = (both || choice > 5, both || choice <= 5);
        self.lives += 1;
        if client {
            self.report.client_kills += 1;
            self.client.kill();
            self.chronicle.add(State::client_killed);
        }
        if relay {
            self.report.relay_kills += 1;
            self.chronicle.add(State::relay_killed);
            self.relay.kill();
            self.chronicle.add(|state| state.fault("the relay is dead"));
            self.start_relay();
        }
        if client {
            let address = self.cable.address;
            self.client = start_client(
                &self.plan,
                &self.directory,
                address,
                &self.chronicle,
                self.lives,
            );
        }
        u64::from(client) + u64::from(relay)
    }

    /// The next relay, on the files of the one before.
    pub(super) fn start_relay(&mut self) {
        self.lives += 1;
        self.relay = start_relay(
            &self.plan,
            &self.directory,
            self.upstream,
            &self.chronicle,
            self.lives,
        );
    }

    /// Cuts the cable while what may be submitted from now on goes over it.
    fn cut(&mut self, allowed: u64) -> Result<(), String> {
        let random = &mut self.random;
        let (manner, index) = match below(random, 10) {
            0..4 => (Manner::Closed, 0),
            4..9 => (Manner::Reset, 1),
            _ => (Manner::Silent, 2),
        };
        let direction = match below(random, 2) {
            0 => Direction::ToRelay,
            _ => Direction::ToClient,
        };
        // As often within a handshake or an acknowledgement as within a large message.
        let most = [100, 1_000, 10_000, 100_000][below(random, 4) as usize];
        let after = below(random, most) as usize;
        let cut = Cut {
            direction,
            after,
            manner,
        };
        self.cable.plan(cut);
        self.chronicle.add(|state| state.allow(allowed));
        let plan = self.cable.planned();
        let enough = |state: &mut State| plan.is_done() || state.is_idle();
        self.wait(PAUSE, |state| enough(state).then_some(()))?;
        self.cable.cut_now();
        self.report.cuts[index] += 1;
        Ok(())
    }

    /// Nothing goes wrong any more: everything comes to its end, and the end is judged.
    fn finish(&mut self) -> Result<Report, String> {
        let all = self.plan.messages;
        self.chronicle.add(|state| state.allow(all));
        let ended = |state: &mut State| (state.ended == all).then_some(());
        // Ended by its own patience, which is counted from what happened last.
        while self.wait(PATIENCE, ended)?.is_none() {}
        self.client.let_end();
        self.client.tell("finish\n");
        let until = Instant::now() + PATIENCE;
        while !self.client.has_ended() {
            if Instant::now() > until {
                return Err("the client does not end although nothing is left to do".to_owned());
            }
            self.wait::<()>(Duration::from_millis(5), |_| None)?;
        }
        if !self.client.end() {
            return Err("the client has not ended well; see what it said".to_owned());
        }
        self.relay.kill();
        let left = submissions(records(&self.directory.join(OUTBOX))?);
        if !left.is_empty() {
            return Err(format!("{} records are left in the outbox", left.len()));
        }
        let known = records(&self.directory.join(LEDGER))?;
        let config = RelayConfig::new(
            relay_proto::StreamAddress::new("localhost", 25, false),
            "relay.test".parse().unwrap(),
        );
        let read = Relay::restore(config, [0; 32], Time::ZERO, known);
        read.map_err(|error| format!("the ledger is damaged: {error}"))?;
        let judged = self.chronicle.add(|state| match state.is_broken() {
            true => Report::default(),
            false => state.judge(),
        });
        match self.chronicle.add(|state| state.failure()) {
            Some(failure) => Err(failure),
            None => Ok(Report {
                client_kills: self.report.client_kills,
                relay_kills: self.report.relay_kills,
                cuts: self.report.cuts,
                faults: self.report.faults,
                ..judged
            }),
        }
    }
}

const OUTBOX: &str = "outbox.redb";
const LEDGER: &str = "ledger.redb";

fn records(path: &Path) -> Result<Vec<relay_proto::storage::Record>, String> {
    let mut file = StorageFile::open(path).map_err(|error| error.to_string())?;
    file.load().map_err(|error| error.to_string())
}

fn start_client(
    plan: &Plan,
    directory: &Path,
    cable: SocketAddr,
    chronicle: &Arc<Chronicle>,
    life: u64,
) -> Process {
    let mut command = role("client");
    command.arg(directory.join(OUTBOX));
    command.arg(format!("ws://{cable}/"));
    command.args([plan.seed, life].map(|number| number.to_string()));
    let heard = Arc::clone(chronicle);
    Process::start(command, "client", chronicle, move |line| {
        heard.add(|state| state.client_says(line));
    })
}

fn start_relay(
    plan: &Plan,
    directory: &Path,
    upstream: SocketAddr,
    chronicle: &Arc<Chronicle>,
    life: u64,
) -> Process {
    let ledger = directory.join(LEDGER);
    let command = match &plan.relay {
        Some(path) => {
            let mut command = program(path.clone());
            command.args(["serve", "--listen", "127.0.0.1:0", "--log", "error"]);
            command.args(["--upstream", &format!("smtp://{upstream}"), "--ledger"]);
            command.arg(ledger).env("RELAY_API_KEY", crate::mail::KEY);
            command
        }
        None => {
            let mut command = role("relay");
            command.arg(ledger).arg(upstream.to_string());
            command.args([plan.seed, life].map(|number| number.to_string()));
            command
        }
    };
    let heard = Arc::clone(chronicle);
    Process::start(command, "relay", chronicle, move |line| {
        let address = line.strip_prefix("listening on ws://");
        if let Some(address) = address.and_then(|rest| rest.trim_end_matches('/').parse().ok()) {
            heard.add(|state| state.relay = Some(address));
        }
    })
}
