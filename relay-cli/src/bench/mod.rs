//! `relay bench`: how fast messages get through.

mod arguments;
mod letter;
mod line;
mod rig;
mod sink;

pub(crate) use arguments::{BenchArgs, NOTES};

use crate::failure::Failure;
use relay_proto::{
    mail::client::{Statistics, Submission},
    smtp::{Envelope, ForwardPath},
};
use relay_tokio::mail::Client;
use rig::Rig;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Measures.
///
/// # Errors
///
/// Where a message is refused, lost or delivered twice, or nothing can be measured.
pub(crate) async fn bench(arguments: BenchArgs) -> Result<ExitCode, Failure> {
    let envelope = envelope(&arguments)?;
    let rig = Rig::set_up(&arguments).await?;
    let client = rig.client();
    let began = Instant::now();
    send(client, &envelope, 0, arguments.size).await?;
    let first = began.elapsed();

    let before = client.stats().await.map_err(Failure::running)?;
    let run = run(client, &envelope, &arguments).await?;
    let after = client.stats().await.map_err(Failure::running)?;

    // The first message counts as well.
    let complaint = rig.take_down(arguments.messages.get() + 1).await;
    report(&arguments, first, &run, &before, &after);
    match complaint {
        None => Ok(ExitCode::SUCCESS),
        Some(complaint) => Err(Failure::running(complaint)),
    }
}

/// What all messages have in common.
fn envelope(arguments: &BenchArgs) -> Result<Envelope, Failure> {
    let to = if arguments.to.is_empty() {
        let number = 1..=arguments.recipients.get();
        let recipients = number.map(|number| format!("bob{number}@example.net").parse());
        recipients
            .collect::<Result<_, _>>()
            .map_err(Failure::running)?
    } else {
        arguments.to.clone()
    };
    let to = to.into_iter().map(ForwardPath::from);
    Envelope::new(arguments.from.clone(), to).map_err(Failure::usage)
}

async fn send(
    client: &Client,
    envelope: &Envelope,
    number: usize,
    size: usize,
) -> Result<(), Failure> {
    let submission = Submission::message(envelope.clone(), letter::letter(number, size));
    let receipt = client.send(submission).await;
    let receipt = receipt.map_err(|error| {
        Failure::running(format_args!("message {number} was not accepted: {error}"))
    })?;
    match receipt.rejected.first() {
        None => Ok(()),
        Some((recipient, reply)) => Err(Failure::running(format_args!(
            "message {number} was refused for {recipient}: {reply}"
        ))),
    }
}

struct Run {
    took: Duration,
    /// From handing in to acceptance, for each message, shortest first.
    waits: Vec<Duration>,
}

impl Run {
    /// What so many hundredths of the messages took no longer than.
    fn percentile(&self, hundredths: usize) -> Duration {
        let last = self.waits.len() - 1;
        self.waits[(last * hundredths).div_ceil(100)]
    }
}

/// Every caller takes the next number as soon as its message is accepted. Number 0 was sent before.
async fn run(client: &Client, envelope: &Envelope, arguments: &BenchArgs) -> Result<Run, Failure> {
    let (count, size) = (arguments.messages.get(), arguments.size);
    let next = Arc::new(AtomicUsize::new(1));
    let mut callers = JoinSet::new();
    let began = Instant::now();
    for _ in 0..arguments.callers.get().min(count) {
        let (client, envelope, next) = (client.clone(), envelope.clone(), Arc::clone(&next));
        callers.spawn(async move {
            let mut waits = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number > count {
                    return Ok(waits);
                }
                let handed_in = Instant::now();
                send(&client, &envelope, number, size).await?;
                waits.push(handed_in.elapsed());
            }
        });
    }
    let mut waits = Vec::with_capacity(count);
    while let Some(caller) = callers.join_next().await {
        waits.extend(caller.map_err(Failure::running)??);
    }
    let took = began.elapsed();
    waits.sort_unstable();
    Ok(Run { took, waits })
}

fn report(
    arguments: &BenchArgs,
    first: Duration,
    run: &Run,
    before: &Statistics,
    after: &Statistics,
) {
    let (count, took) = (run.waits.len(), run.took.as_secs_f64());
    let per_message = |bytes: u64| bytes / count as u64;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let [median, late] = [50, 99].map(|hundredths| milliseconds(run.percentile(hundredths)));
    let (sent, received) = (
        after.bytes_sent - before.bytes_sent,
        after.bytes_received - before.bytes_received,
    );
    println!(
        "{count} messages of {} bytes in {took:.2} s over one link; callers: {}\n",
        arguments.size, arguments.callers
    );
    println!("messages a second    {:>10.1}", count as f64 / took);
    println!("time to acceptance   {median:>10.2} ms median, {late:.2} ms for 99 of 100");
    println!(
        "first message        {:>10.2} ms, with connecting",
        milliseconds(first)
    );
    println!(
        "bytes of frames      {:>10} there and {} back for each message",
        per_message(sent),
        per_message(received)
    );
    if let Some(round_trip) = arguments.round_trip {
        let trip = milliseconds(round_trip);
        println!(
            "round trips          {:>10.2} to the acceptance of a message, {:.2} of the link's time for each, {:.2} for the first",
            median / trip,
            took * 1e3 / trip / count as f64,
            milliseconds(first) / trip
        );
    }
    if arguments.url.is_some() {
        println!("\nAll were accepted. What arrived, only the server behind the relay knows.");
    }
}
