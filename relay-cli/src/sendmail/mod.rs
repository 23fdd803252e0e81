//! `relay sendmail`: what programs call to send mail, with sendmail's flags, through a relay.

mod arguments;
mod exit;
mod letter;
mod people;
mod session;
mod settings;

pub(crate) use arguments::{NOTES, RawArgs};

use crate::{
    config::MAX_MESSAGE_BYTES,
    failure::Failure,
    submit::{Forwarder, MAX_SENDING, Outcome, Told},
};
use arguments::{Arguments, Mode};
use letter::{Letter, read_message};
use people::People;
use relay_proto::smtp::{Address, Envelope, ForwardPath};
use relay_tokio::mail::{Client, SendError};
use settings::Settings;
use std::{
    ffi::{OsStr, OsString},
    future,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

/// How long reports of refused recipients may take when everything else is done.
const PATIENCE: Duration = Duration::from_secs(30);

/// The arguments, where the program is called as `sendmail`, or as `relay sendmail`. They are not clap's to read:
/// sendmail's flags are of another age.
pub(crate) fn is_called(arguments: &[OsString]) -> Option<&[OsString]> {
    let (name, rest) = arguments.split_first()?;
    if Path::new(name).file_stem() == Some(OsStr::new("sendmail")) {
        return Some(rest);
    }
    let (first, rest) = rest.split_first()?;
    (first == "sendmail").then_some(rest)
}

/// Sends one message from standard input, or those of an SMTP session there.
///
/// # Errors
///
/// With exit codes as in `sysexits.h`.
pub(crate) async fn sendmail(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let arguments = Arguments::parse(arguments)?;
    match arguments.mode {
        Mode::Help => {
            say(&arguments::help());
            Ok(ExitCode::SUCCESS)
        }
        Mode::Version => {
            say(concat!("relay ", env!("CARGO_PKG_VERSION"), "\n"));
            Ok(ExitCode::SUCCESS)
        }
        Mode::Queue => {
            // Nothing is ever queued.
            say("Mail queue is empty\n");
            Ok(ExitCode::SUCCESS)
        }
        Mode::Message => send(arguments).await,
        Mode::Session => {
            let settings = Settings::gather(arguments.config.as_deref())?;
            let forwarder = start(settings, MAX_MESSAGE_BYTES, MAX_SENDING)?;
            session::converse(&forwarder).await?;
            // What is left are reports to senders.
            let left = forwarder.client.shutdown(PATIENCE).await;
            if !left.is_empty() {
                eprintln!("warning: {} reports to senders were not sent", left.len());
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn send(arguments: Arguments) -> Result<ExitCode, Failure> {
    // What is wrong with flags or settings is said before anything is read.
    let settings = Settings::gather(arguments.config.as_deref())?;
    let people = People::new(settings.domain.clone());
    let named = people.named(&arguments.recipients)?;
    if named.is_empty() && !arguments.recipients_in_header {
        return Err(exit::usage(
            "no recipient: name at least one, or give -t to take them from the header",
        ));
    }
    let content = read_message(io::stdin().lock(), !arguments.dots_are_content)
        .map_err(|error| exit::no_input(format_args!("cannot read standard input: {error}")))?;
    let mut letter = Letter::parse(&content);
    let given = arguments.sender.as_deref();
    let sender = people.sender(given, settings.sender.as_ref(), &letter)?;
    let mut recipients = named;
    if arguments.recipients_in_header {
        recipients.extend(people.in_header(&letter)?);
    }
    if recipients.is_empty() {
        return Err(exit::data("no recipient: To, Cc and Bcc name nobody"));
    }
    letter.drop_blind_copies();
    let content = letter.complete(&people, &sender, arguments.full_name.as_deref());
    let envelope = Envelope::new(sender, without_repeats(recipients)).map_err(exit::usage)?;

    let forwarder = start(settings, content.len() as u64, Duration::MAX)?;
    let outcome = forwarder
        .forward(envelope, content.into(), future::pending())
        .await;
    let ended = conclude(outcome, arguments.verbose).await;
    forwarder.client.shutdown(Duration::ZERO).await;
    ended
}

/// A client for messages of up to so many bytes, with no more than so much patience for each.
fn start(settings: Settings, largest: u64, patience: Duration) -> Result<Forwarder, Failure> {
    if let Some(warning) = settings.uplink.warning() {
        eprintln!("warning: {warning}");
    }
    let host_name = settings.domain;
    let (mut config, transport) = settings.uplink.configure(largest).map_err(exit::config)?;
    config.timeouts.message = config.timeouts.message.min(patience);
    let client = Client::start(config, transport);
    Ok(Forwarder { client, host_name })
}

/// One recipient named twice gets one copy.
fn without_repeats(recipients: Vec<Address>) -> Vec<ForwardPath> {
    let mut paths: Vec<ForwardPath> = Vec::new();
    for path in recipients.into_iter().map(ForwardPath::from) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// Says what became of the message. A message that some recipients get is sent, if its sender is told of the others.
async fn conclude(outcome: Outcome, verbose: bool) -> Result<ExitCode, Failure> {
    match outcome {
        Outcome::Accepted(receipt) => {
            if verbose {
                say(&format!("accepted: {}\n", receipt.reply));
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Partly { receipt, told } => {
            for (recipient, reply) in &receipt.rejected {
                eprintln!("refused for {recipient}: {reply}");
            }
            let untold = match told {
                Told::Report(ticket) => match ticket.receipt().await {
                    Ok(_) => return Ok(ExitCode::SUCCESS),
                    Err(error) => format!("the sender could not be told: {error}"),
                },
                Told::Failed(error) => format!("the sender could not be told: {error}"),
                Told::Nobody => "there is no sender to be told".to_owned(),
            };
            Err(exit::unavailable(format_args!(
                "sent to some recipients only, and {untold}"
            )))
        }
        Outcome::Failed(error) => Err(exit::of(&error)),
        // Nobody has left here who could take it back.
        Outcome::TakenBack => Err(exit::of(&SendError::Cancelled)),
    }
}

fn say(text: &str) {
    // Whoever read this may have gone.
    let _ = io::stdout().write_all(text.as_bytes());
}
