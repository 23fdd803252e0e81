//! The client that is killed: it submits what it is told to, and says what becomes of it.
//!
//! On its standard input: `submit NUMBER`, and `finish`. On its standard output, each as soon as it is so: `found NUMBER` for what
//! was in the outbox, `ready`, `accepted NUMBER`, `refused NUMBER WHY`, `recovered` when its disk works again, and the end of a message: `processed`, `failed` or
//! `doubt`.

use super::{arguments::ClientRole, message};
use crate::{Binding, Running};
use relay_proto::{
    Application, BackoffPolicy, OutboxLimits, Time,
    mail::client::{Client, ClientConfig, Error, Event, InDoubtPolicy, SubmissionId},
    storage::Storage,
};
use relay_storage::StorageFile;
use relay_transport::Config;
use std::{collections::BTreeMap, io, process::ExitCode, time::Duration};

pub(super) fn run<B: Binding>(role: ClientRole) -> ExitCode {
    let mut file = StorageFile::open(&role.outbox).unwrap();
    let records = file.load().unwrap();
    let seed = message::machine_seed(role.seed, "client", role.life);
    let machine = Client::restore(config(&role.url), seed, Time::ZERO, records).unwrap();
    let teller = Teller {
        numbers: BTreeMap::new(),
        to_find: machine.statistics().queued,
    };
    if teller.to_find == 0 {
        println!("ready");
    }
    let running = B::spawn_storing(machine, file, teller, Config::default());
    for line in io::stdin().lines() {
        let line = line.unwrap();
        if line == "finish" {
            let finish = |client: &mut Client, _: &mut Teller, now| {
                client.shutdown(now, Duration::MAX);
            };
            running.call(finish).unwrap();
            running.finished();
            return ExitCode::SUCCESS;
        }
        let number = line.strip_prefix("submit ").unwrap().parse().unwrap();
        let submission = message::submission(role.seed, number);
        let submit = move |client: &mut Client, teller: &mut Teller, now| match client
            .submit(now, submission)
        {
            Ok(id) => drop(teller.numbers.insert(id, number)),
            Err(refused) => println!("refused {number} {refused}"),
        };
        running.call(submit).unwrap();
    }
    // Who told it what to do has gone.
    ExitCode::SUCCESS
}

fn config(url: &str) -> ClientConfig {
    let mut config = crate::mail::client_config(url);
    let (soon, later) = (Duration::from_millis(10), Duration::from_millis(200));
    config.reconnect = BackoffPolicy::new(soon, later, None);
    config.retry = BackoffPolicy::new(soon, later, None);
    config.queue = OutboxLimits::new(1_000_000, 4 << 30);
    // Nothing is sent again that may have arrived, so that whatever arrives twice was sent twice for no reason.
    config.in_doubt = InDoubtPolicy::Fail;
    config.heartbeat = Duration::from_millis(500);
    config.timeouts.open = Duration::from_secs(2);
    config.timeouts.authentication = Duration::from_secs(2);
    config
}

struct Teller {
    numbers: BTreeMap<SubmissionId, u64>,
    /// How many are in the outbox and not told yet.
    to_find: u64,
}

impl Application<Client> for Teller {
    fn handle_event(&mut self, _client: &mut Client, _now: Time, event: Event) {
        match event {
            Event::Restored { id, submission, .. } => {
                let content = submission.content().unwrap();
                let number = message::number_of(content).unwrap();
                println!("found {number}");
                self.numbers.insert(id, number);
                self.to_find -= 1;
                if self.to_find == 0 {
                    println!("ready");
                }
            }
            Event::Queued { id, .. } => println!("accepted {}", self.numbers[&id]),
            Event::StorageRecovered => println!("recovered"),
            Event::Refused { id, refused } => println!("refused {} {refused}", self.numbers[&id]),
            Event::Processed { id, .. } => println!("processed {}", self.numbers[&id]),
            Event::Failed { id, error } => {
                let word = match error {
                    Error::InDoubt(_) => "doubt",
                    _ => "failed",
                };
                println!("{word} {} {error}", self.numbers[&id]);
            }
            _ => {}
        }
    }
}
