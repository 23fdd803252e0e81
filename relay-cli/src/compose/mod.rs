//! `relay compose`: asks for a message, sends it, and says what became of it.

mod arguments;
mod letter;
mod people;
mod questions;

pub(crate) use arguments::{ComposeArgs, NOTES};

use crate::{
    failure::Failure,
    send::{delays, verdict::Verdict},
    signals::Signals,
};
use indicatif::ProgressBar;
use letter::Letter;
use people::{People, Person};
use questions::{NoAnswer, Questions};
use relay_proto::{
    mail::client::{Receipt, Submission},
    smtp::{Address, ForwardPath},
};
use relay_tokio::mail::{Client, SendError};
use std::{
    io::{self, Write},
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::select;

/// As shells have it for what ctrl-c has ended.
const CANCELLED: u8 = 130;

/// Asks for a message, sends it, and says what became of it.
///
/// # Errors
///
/// Where it cannot be sent with these settings, or there is nobody to ask and something is wrong.
pub(crate) async fn compose(arguments: ComposeArgs) -> Result<ExitCode, Failure> {
    // Whatever is wrong there is said before anybody writes a line.
    arguments.uplink.configure(0)?;
    if let Some(warning) = arguments.uplink.warning() {
        eprintln!("warning: {warning}");
    }
    let (letter, is_kept) = match write(&arguments) {
        Ok(written) => written,
        Err(NoAnswer::Cancelled) => {
            eprintln!("cancelled; nothing was sent");
            return Ok(ExitCode::from(CANCELLED));
        }
        Err(NoAnswer::Wrong(problem)) => return Err(Failure::usage(problem)),
        Err(NoAnswer::Failed(problem)) => return Err(Failure::running(problem)),
    };
    let content = letter.content();
    let submission = Submission::message(letter.envelope(), content.clone().into())
        .with_priority(arguments.priority.into());
    let (outcome, is_cancelled) =
        send(&arguments, submission, content.len() as u64, is_kept).await?;
    let everybody = || letter.recipients().into_iter().map(Into::into).collect();
    let (exit_code, left) = match &outcome {
        Ok(receipt) => report(receipt),
        Err(SendError::Unsettled { in_doubt: false }) if is_cancelled => {
            eprintln!("cancelled; nothing was sent");
            (ExitCode::from(CANCELLED), everybody())
        }
        Err(error) => {
            eprintln!("failed: {error}");
            (Verdict::of(error).exit_code(), everybody())
        }
    };
    if is_kept && !left.is_empty() {
        keep(&letter, &content, &left);
    }
    Ok(exit_code)
}

/// A message, and whether it is nowhere else, since somebody has just written it.
fn write(arguments: &ComposeArgs) -> Result<(Letter, bool), NoAnswer> {
    let everybody = |people: &[People]| people.iter().cloned().flatten().collect::<Vec<_>>();
    let alone = |text: &str| text.parse::<People>()?.alone();
    let mut questions = Questions::new()?;
    let is_terminal = questions.is_terminal();
    let from = match arguments.from.clone() {
        Some(people) => people
            .alone()
            .map_err(|problem| NoAnswer::Wrong(format!("--from: {problem}")))?,
        None => questions.ask("From", "--from", alone)?,
    };
    let mut to = everybody(&arguments.to);
    let (cc, bcc) = (everybody(&arguments.cc), everybody(&arguments.bcc));
    if to.is_empty() {
        let asked: People = questions.ask("To", "--to", str::parse)?;
        to = asked.into_iter().collect::<Vec<Person>>();
    }
    let subject = match arguments.subject.clone() {
        Some(subject) => subject,
        None => questions.ask("Subject", "--subject", letter::subject)?,
    };
    if is_terminal {
        println!("The text, and then ctrl-d on a line of its own:");
    }
    let text = questions.rest()?;
    let letter = Letter {
        from,
        to,
        cc,
        bcc,
        subject,
        text,
    };
    if is_terminal && !arguments.yes {
        print!("\n{}", letter.summary());
        let is_sent = questions.ask("Send it? [Y/n]", "--yes", |answer| {
            match &*answer.trim().to_lowercase() {
                "" | "y" | "yes" => Ok(true),
                "n" | "no" => Ok(false),
                _ => Err("y sends it, n does not".to_owned()),
            }
        })?;
        if !is_sent {
            return Err(NoAnswer::Cancelled);
        }
    }
    Ok((letter, is_terminal))
}

/// Sends it, and tells meanwhile why it takes longer. ctrl-c ends that; the answer says whether it did.
async fn send(
    arguments: &ComposeArgs,
    submission: Submission,
    length: u64,
    is_terminal: bool,
) -> Result<(Result<Receipt, SendError>, bool), Failure> {
    let (config, transport) = arguments.uplink.configure(length)?;
    let mut signals = Signals::new().map_err(Failure::running)?;
    if is_terminal {
        eprintln!("sending");
    }
    let started = Instant::now();
    let client = Client::start(config, transport);
    let events = client.events().await.map_err(Failure::running)?;
    tokio::spawn(delays::tell(events, started, ProgressBar::hidden()));
    let ticket = match client.enqueue(submission).await {
        Ok(ticket) => ticket,
        Err(error) => return Ok((Err(error), false)),
    };
    let mut sending = pin!(ticket.receipt());
    let (outcome, is_cancelled) = select! {
        outcome = &mut sending => (outcome, false),
        _ = signals.next() => {
            if is_terminal {
                // Ends the line in which the terminal shows the key.
                eprintln!();
            }
            client.stop().await;
            (sending.await, true)
        }
    };
    client.shutdown(Duration::ZERO).await;
    Ok((outcome, is_cancelled))
}

/// Says for whom it was accepted, and returns those for whom it was not.
fn report(receipt: &Receipt) -> (ExitCode, Vec<ForwardPath>) {
    let mut lines = format!("accepted: {}\n", receipt.reply);
    if receipt.sent_again {
        lines.push_str("it was sent twice, as the first reply got lost; it may arrive twice\n");
    }
    for (recipient, reply) in &receipt.rejected {
        lines.push_str(&format!("refused for {recipient}: {reply}\n"));
    }
    // Whoever read this may have gone; the message is accepted all the same.
    let _ = io::stdout().write_all(lines.as_bytes());
    let left: Vec<_> = receipt
        .rejected
        .iter()
        .map(|(recipient, _)| recipient.clone())
        .collect();
    let verdict = if left.is_empty() {
        Verdict::Accepted
    } else {
        Verdict::Partly
    };
    (verdict.exit_code(), left)
}

/// Keeps a message in a file and says how to send it from there to those who did not get it.
fn keep(letter: &Letter, content: &[u8], left: &[ForwardPath]) {
    let kept = || -> io::Result<PathBuf> {
        let mut file = tempfile::Builder::new()
            .prefix("relay-draft-")
            .suffix(".eml")
            .tempfile()?;
        file.write_all(content)?;
        Ok(file.keep()?.1)
    };
    match kept() {
        Ok(path) => {
            let path = path.display();
            let from = quoted(&letter.from.address);
            let to: Vec<_> = left
                .iter()
                .filter_map(ForwardPath::address)
                .map(|address| format!(" --to {}", quoted(address)))
                .collect();
            eprintln!(
                "it is kept in {path}; to send it again: relay send --from {from}{} {path}",
                to.concat()
            );
        }
        Err(error) => eprintln!("and it cannot be kept in a file: {error}"),
    }
}

/// As a shell takes it.
fn quoted(address: &Address) -> String {
    format!("'{}'", address.to_string().replace('\'', "'\\''"))
}
