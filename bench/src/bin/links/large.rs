//! More links than a process may have, and mail that is larger than what a link is to hold.

use crate::{
    measure::Report,
    relay::{AT_A_TIME, KEY, Relay},
};
use relay_proto::{
    mail::{
        client::{ClientConfig, Submission},
        wire::ApiKey,
    },
    smtp::{Address, Envelope},
};
use relay_tokio::{Config, mail::Client};
use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Read, stdin},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::time::sleep;

type Failure = Box<dyn Error>;

/// A relay takes 10,000 links, and of one key eight ninths of that.
const OF_A_RELAY: usize = 8_500;

/// Processes that hold idle links, each to a relay of its own: the memory of all relays together.
pub fn many(links: usize) -> Result<(), Failure> {
    let began = Instant::now();
    let mut holders = Vec::new();
    let mut rest = links;
    while rest > 0 {
        let number = rest.min(OF_A_RELAY);
        rest -= number;
        let holder = Command::new(env::current_exe()?)
            .args([
                "hold",
                &(holders.len() + 1).to_string(),
                &number.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        holders.push(holder);
    }
    let mut memory = 0.0;
    for holder in &mut holders {
        let said = holder.stdout.take().ok_or("its output is piped")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        memory += line
            .trim()
            .parse::<f64>()
            .map_err(|_| "a process that holds links has failed")?;
    }
    let took = began.elapsed();
    for mut holder in holders {
        // It ends when there is no more input.
        drop(holder.stdin.take());
        holder.wait()?;
    }
    let report = Report {
        table: "growth: links of several relays",
        repetition: 0,
    };
    let x = Some(links as f64);
    let row = "idle links: memory of the relays together";
    report.cost(row, "plain", x, "MiB", memory / 1024.0)?;
    let row = "idle links: all are let in after";
    report.cost(row, "plain", x, "s", took.as_secs_f64())?;
    Ok(())
}

/// Holds idle links until the input ends, and says how much memory their relay has, in KiB.
pub fn hold(from: u8, links: usize) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut relay = Relay::start(false)?;
        relay.from = from;
        let _links = relay.links(0, links, AT_A_TIME).await?;
        println!("{}", relay.memory()?);
        stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    })
}

/// What a relay holds after a large mail on each of its links, more than after a short one: at once, and when a minute has passed.
pub async fn mail(short: bool) -> Result<(), Failure> {
    let (numbers, megabytes) = match short {
        true => ([1, 2, 3], 1),
        false => ([1, 10, 30], 10),
    };
    let report = Report {
        table: "growth: memory of a relay after large mail",
        repetition: 0,
    };
    let row = format!(
        "links, after a message of {megabytes} MiB on each: the relay has more than before"
    );
    let mut held = Vec::new();
    for links in numbers {
        let relay = Relay::start(false)?;
        let url = format!("ws://{}/", relay.address);
        let mut clients = Vec::new();
        for _ in 0..links {
            let config = ClientConfig::new(url.parse()?, ApiKey::new(KEY));
            clients.push(Client::start(config, Config::default()));
        }
        let mut before = 0.0;
        for bytes in [1, megabytes << 20] {
            before = relay.memory()?;
            for client in &clients {
                client.send(submission(bytes)?).await?;
            }
        }
        let more = (relay.memory()? - before) / 1024.0;
        report.cost(&row, "at once", Some(f64::from(links)), "MiB", more)?;
        held.push((links, relay, clients, before));
    }
    if !short {
        sleep(Duration::from_secs(60)).await;
    }
    for (links, relay, clients, before) in held {
        let more = (relay.memory()? - before) / 1024.0;
        if !short {
            report.cost(&row, "after a minute", Some(f64::from(links)), "MiB", more)?;
        }
        for client in clients {
            client.stop().await;
        }
    }
    Ok(())
}

fn submission(bytes: usize) -> Result<Submission, Failure> {
    let [from, to]: [Address; 2] = ["alice@example.org".parse()?, "bob@example.net".parse()?];
    let line = b"The quick brown fox jumps over the lazy dog, and does so once more.\r\n";
    let content = line.iter().copied().cycle().take(bytes).collect();
    Ok(Submission::message(Envelope::new(from, [to])?, content))
}
