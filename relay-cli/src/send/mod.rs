//! `relay send`: sends messages and says what became of each.

pub(crate) mod delays;
mod source;
pub(crate) mod verdict;

use crate::{args::SendArgs, failure::Failure};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use relay_proto::{
    OutboxLimits,
    mail::client::{Receipt, Submission},
    smtp::Envelope,
};
use relay_tokio::mail::{Client, SendError};
use source::Source;
use std::{
    cell::Cell,
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};
use verdict::Verdict;

/// Messages in memory at once: enough to have the next one ready, few enough for large ones.
const AT_ONCE: usize = 4;

/// From this many messages on a progress bar is worth its line.
const MANY: usize = 10;

/// Sends messages and says what became of each.
///
/// # Errors
///
/// Where there is no use in beginning: no key, no envelope, a file that cannot be read.
pub(crate) async fn send(arguments: SendArgs) -> Result<ExitCode, Failure> {
    let envelope = Envelope::new(arguments.from, arguments.to).map_err(Failure::usage)?;
    let sources = source::open(arguments.files)?;

    if let Some(warning) = arguments.uplink.warning() {
        eprintln!("warning: {warning}");
    }
    let largest = sources.iter().map(Source::len).max().unwrap_or(0);
    let (mut config, transport) = arguments.uplink.configure(largest)?;
    // Few messages are queued at once here, however large they are.
    config.queue = OutboxLimits::new(AT_ONCE, usize::MAX);
    config.rate = arguments.rate;
    let started = Instant::now();
    let client = Client::start(config, transport);
    let bar = progress_bar(sources.len());
    let events = client.events().await.map_err(Failure::running)?;
    tokio::spawn(delays::tell(events, started, bar.clone()));

    let template = Template {
        envelope,
        priority: arguments.priority.into(),
        client: &client,
        gave_up: Cell::new(false),
    };
    let verdict = send_all(&template, sources, &bar).await;
    client.shutdown(Duration::ZERO).await;
    Ok(verdict.exit_code())
}

/// What all messages have in common.
struct Template<'a> {
    envelope: Envelope,
    priority: relay_proto::Priority,
    client: &'a Client,
    /// The relay cannot be reached or does not let us in; further messages would only take longer to say so.
    gave_up: Cell<bool>,
}

/// What became of one message.
enum Outcome {
    Sent(Receipt),
    Failed(SendError),
    Unreadable(io::Error),
    NotTried,
}

impl Template<'_> {
    async fn send(&self, source: Source) -> (String, Outcome) {
        let name = source.name();
        if self.gave_up.get() {
            return (name, Outcome::NotTried);
        }
        let content: Bytes = match source.read().await {
            Ok(content) => content,
            Err(error) => return (name, Outcome::Unreadable(error)),
        };
        let submission =
            Submission::message(self.envelope.clone(), content).with_priority(self.priority);
        match self.client.send(submission).await {
            Ok(receipt) => (name, Outcome::Sent(receipt)),
            Err(error) => {
                let verdict = Verdict::of(&error);
                if matches!(verdict, Verdict::Denied | Verdict::Unreachable) {
                    self.gave_up.set(true);
                }
                (name, Outcome::Failed(error))
            }
        }
    }
}

/// Sends one message after the other, reports each, and returns the gravest verdict.
async fn send_all(template: &Template<'_>, sources: Vec<Source>, bar: &ProgressBar) -> Verdict {
    let mut outcomes = stream::iter(sources)
        .map(|source| template.send(source))
        .buffered(AT_ONCE);
    let mut gravest = Verdict::Accepted;
    let mut not_tried = 0_u64;
    while let Some((name, outcome)) = outcomes.next().await {
        let verdict = bar.suspend(|| match outcome {
            Outcome::Sent(receipt) => report(&name, &receipt),
            Outcome::Failed(error) => {
                eprintln!("{name}: failed: {error}");
                Verdict::of(&error)
            }
            Outcome::Unreadable(error) => {
                eprintln!("{name}: failed: cannot read it any more: {error}");
                Verdict::Unreadable
            }
            Outcome::NotTried => {
                not_tried += 1;
                Verdict::Accepted
            }
        });
        gravest = gravest.max(verdict);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if not_tried > 0 {
        eprintln!("{not_tried} more not tried");
    }
    gravest
}

/// Says that a message was accepted, and for whom not.
fn report(name: &str, receipt: &Receipt) -> Verdict {
    let mut line = format!("{name}: accepted: {}", receipt.reply);
    if receipt.sent_again {
        line.push_str(" (sent twice, as the first reply got lost; it may arrive twice)");
    }
    for (recipient, reply) in &receipt.rejected {
        line.push_str(&format!("\n{name}: refused for {recipient}: {reply}"));
    }
    // Whoever read this may have gone; the message is accepted all the same.
    let _ = writeln!(io::stdout(), "{line}");
    if receipt.rejected.is_empty() {
        Verdict::Accepted
    } else {
        Verdict::Partly
    }
}

/// A bar on standard error; it does not show where that is no terminal.
fn progress_bar(messages: usize) -> ProgressBar {
    if messages < MANY {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} messages, {eta} left")
        .expect("the template is valid");
    ProgressBar::new(messages as u64).with_style(style)
}
