//! What the test executable is asked for.

use super::{ROLE, faults};
use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

pub(super) const USAGE: &str = "usage: --messages COUNT --kills COUNT --cuts COUNT [--faults COUNT] [--seed SEED] [--relay PROGRAM]\n\
                                no arguments, or those of any test: a short run";

/// What a run is like.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) messages: u64,
    /// How many processes are killed.
    pub(super) kills: u64,
    /// How many connections between client and relay are cut.
    pub(super) cuts: u64,
    /// How often something else goes wrong for a while.
    pub(super) faults: u64,
    /// The program that plays the relay; none: the binding's own.
    pub(super) relay: Option<PathBuf>,
}

pub(super) struct ClientRole {
    pub(super) outbox: PathBuf,
    pub(super) url: String,
    /// The run's, from which the messages come.
    pub(super) seed: u64,
    /// The how manieth client it is.
    pub(super) life: u64,
}

pub(super) struct RelayRole {
    pub(super) ledger: PathBuf,
    pub(super) upstream: SocketAddr,
    pub(super) seed: u64,
    pub(super) life: u64,
}

pub(super) enum Order {
    Run(Plan),
    Test(Plan),
    Client(ClientRole),
    Relay(RelayRole),
}

pub(super) fn read(
    arguments: impl Iterator<Item = String>,
    relay: Option<PathBuf>,
) -> Result<Order, String> {
    let arguments: Vec<String> = arguments.collect();
    if let [first, role, rest @ ..] = &arguments[..]
        && first == ROLE
    {
        return read_role(role, rest).ok_or_else(|| format!("{role} is no role of this kind"));
    }
    let mut plan = Plan {
        seed: new_seed(),
        messages: 200,
        kills: 8,
        cuts: 6,
        faults: if faults::ARE_POSSIBLE { 8 } else { 0 },
        relay,
    };
    let ours = [
        "--messages",
        "--kills",
        "--cuts",
        "--faults",
        "--seed",
        "--relay",
    ];
    if !arguments
        .iter()
        .any(|argument| ours.contains(&argument.as_str()))
    {
        return Ok(Order::Test(plan));
    }
    plan.faults = 0;
    let mut arguments = arguments.into_iter();
    while let Some(name) = arguments.next() {
        let value = arguments.next();
        let value = value.ok_or_else(|| format!("{name}: no value"))?;
        let number = || {
            let parsed = value.replace('_', "").parse::<u64>();
            parsed.map_err(|error| format!("{name} {value}: {error}"))
        };
        match name.as_str() {
            "--messages" => plan.messages = number()?,
            "--kills" => plan.kills = number()?,
            "--cuts" => plan.cuts = number()?,
            "--faults" if !faults::ARE_POSSIBLE => return Err(format!("{name}: only on Linux")),
            "--faults" => plan.faults = number()?,
            "--seed" => plan.seed = number()?,
            "--relay" => plan.relay = Some(value.into()),
            _ => return Err(format!("{name} is unknown")),
        }
    }
    Ok(Order::Run(plan))
}

fn read_role(role: &str, rest: &[String]) -> Option<Order> {
    let [file, peer, seed, life] = rest else {
        return None;
    };
    let (seed, life) = (seed.parse().ok()?, life.parse().ok()?);
    Some(match role {
        "client" => Order::Client(ClientRole {
            outbox: file.into(),
            url: peer.clone(),
            seed,
            life,
        }),
        "relay" => Order::Relay(RelayRole {
            ledger: file.into(),
            upstream: peer.parse().ok()?,
            seed,
            life,
        }),
        _ => return None,
    })
}

/// Another one each time, so that every run of the tests sees something new.
fn new_seed() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a number that is another one each time"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_nanos() as u64 % 1_000_000_000
}
