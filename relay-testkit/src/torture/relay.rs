//! The relay that is killed. It says where it listens, and runs until its standard input ends, or in good order until it has finished
//! what is under way when it hears `drain`.

use super::{arguments::RelayRole, message};
use crate::{Binding, Running, peer};
use relay_proto::{
    Time,
    mail::relay::{Event, PoolConfig, Presented, Relay},
    storage::Storage,
};
use relay_storage::StorageFile;
use relay_transport::Config;
use std::{io, process::ExitCode, time::Duration};

/// How long it goes on for what is under way, like `relay serve`.
const PATIENCE: Duration = Duration::from_secs(25);

pub(super) fn run<B: Binding>(role: RelayRole) -> ExitCode {
    let mut file = StorageFile::open(&role.ledger).unwrap();
    let records = file.load().unwrap();
    let mut config = crate::mail::relay_config(role.upstream);
    config.pool = PoolConfig::new();
    config.heartbeat_interval = Duration::from_millis(500);
    config.restart_spread = Duration::from_millis(200);
    let seed = message::machine_seed(role.seed, "relay", role.life);
    let machine = Relay::restore(config, seed, Time::ZERO, records).unwrap();
    let running = B::spawn_storing(machine, file, decide, Config::default());
    let (listener, address) = peer::listener();
    let _listening = running.listen_websocket(listener, None);
    println!("listening on ws://{address}/");
    if io::stdin().lines().next().is_some() {
        let drain = |relay: &mut Relay, _: &mut _, now: Time| relay.drain(now, now.after(PATIENCE));
        running.call(drain).unwrap();
        running.finished();
    }
    ExitCode::SUCCESS
}

fn decide(relay: &mut Relay, now: Time, event: Event) {
    if let Ok((link, presented)) = Presented::from_event(event) {
        match crate::mail::decide(&presented) {
            Ok(policy) => relay.grant(now, link, policy),
            Err(denied) => relay.deny(now, link, denied),
        }
    }
}
