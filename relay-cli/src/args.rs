//! The command line.

use crate::{
    bench::BenchArgs, bridge::BridgeArgs, compose::ComposeArgs, config::Layer,
    console::ConsoleArgs, failure::Failure, key_value::KeyValueCommand, sendmail::RawArgs,
    uplink::Uplink,
};
use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    error::ErrorKind,
};
use relay_proto::{
    Priority,
    mail::wire::ApiKey,
    pacing::Rate,
    smtp::{Address, AddressError, ReversePath},
};
use std::{convert::Infallible, path::PathBuf};

/// Durable relay links for mail: SMTP through a WebSocket.
#[derive(Debug, Parser)]
#[command(name = "relay", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole system at work, on this machine only
    ///
    /// Runs a relay with a mailbox and a client that sends it a handful of messages, cuts the connection
    /// once, and tells what happens. Needs no network and takes less than half a minute.
    Demo,
    /// Run a relay: clients on one side, a mail server or a mailbox on the other; or keep keys and values
    #[command(after_long_help = SERVE_NOTES)]
    Serve(ServeArgs),
    /// Send messages through a relay
    #[command(after_long_help = SEND_NOTES)]
    Send(SendArgs),
    /// Write a message and send it through a relay
    #[command(after_long_help = crate::compose::NOTES)]
    Compose(ComposeArgs),
    /// Talk to a WebSocket: typed lines go out, frames come in
    #[command(after_long_help = crate::console::NOTES)]
    Console(ConsoleArgs),
    /// Take mail by SMTP on this machine and send it through a relay
    #[command(after_long_help = crate::bridge::NOTES)]
    Bridge(BridgeArgs),
    /// Measure how fast messages get through a relay
    ///
    /// Runs a relay and a mail server that counts in this process and sends messages through them over one link, or
    /// through the relay named with --url.
    #[command(after_long_help = crate::bench::NOTES)]
    Bench(BenchArgs),
    /// Read, change and watch what a key-value service keeps
    #[command(subcommand, after_long_help = crate::key_value::NOTES)]
    Kv(KeyValueCommand),
    /// Send one message from standard input, with the flags of sendmail
    #[command(after_long_help = crate::sendmail::NOTES, disable_version_flag = true, disable_help_flag = true)]
    Sendmail(RawArgs),
}

const SERVE_NOTES: &str = "\
Settings:
  Every setting is taken from the first of these that has it: the command line, the environment, the
  file. The two ways to name keys count as one setting, and so do --mailbox and --upstream, and
  --tls-cert and --tls-key. In the environment, lists are separated by commas. The file is TOML; its
  keys are the long options without the dashes:

      listen = \"0.0.0.0:8025\"
      api-key-file = \"/etc/relay/keys\"
      upstream = \"smtp://mx.example.org:25\"
      allow-sender = [\"example.org\"]

Keys:
  A key file may hold digests, so that whoever reads it cannot use them:

      printf %s KEY | sha256sum | sed 's/^/sha256:/; s/ .*//' >>/etc/relay/keys

  SIGHUP makes the relay read the file again. A key that is no longer there lets nobody in, and clients
  that are in with it are sent away; what the mail server had whole of them by then is in its hands.

Stopping:
  SIGTERM or ctrl-c lets clients finish what they have begun; a second one stops at once.

Exit codes:
  0  stopped when asked to
  1  failed while running
  2  cannot start with these settings";

const SEND_NOTES: &str = "\
Output:
  One line for each message: on standard output what was accepted, with the server's reply and any
  recipients it refused; on standard error what failed, with the
  reason, and why it waits before another attempt.

Exit codes:
  0  every message was accepted for every recipient
  2  the command line is wrong, or a file cannot be read
  3  the relay refused the API key
  4  the relay cannot be reached, or the connection broke too often
  5  a message was refused
  6  a message was sent, but its reply got lost: it may have been delivered or not
  7  every message was accepted, but one not for all of its recipients
Where several apply, the first of 3, 4, 2, 6, 5, 7.";

/// What `relay serve` is given, but for the file.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Read settings from this TOML file, too
    #[arg(long, value_name = "FILE", env = "RELAY_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) layer: Layer,
}

/// What `relay send` is given.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(crate) uplink: Uplink,
    /// The envelope's sender, to whom failures are reported; "<>" for nobody
    #[arg(long, value_name = "ADDRESS", value_parser = reverse_path)]
    pub(crate) from: ReversePath,
    /// A recipient; may be given several times
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub(crate) to: Vec<Address>,
    /// How urgent the messages are
    #[arg(long, value_enum, default_value = "normal")]
    pub(crate) priority: PriorityName,
    /// Send no more messages than this: 10/s, 600/min or 5/h, and 10/s:20 for up to 20 at once
    /// [default: as many as the relay takes]
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<Rate>,
    /// Messages (RFC 5322), one a file; "-" or none: one from standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PriorityName {
    Critical,
    High,
    Normal,
    Low,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::Critical => Self::Critical,
            PriorityName::High => Self::High,
            PriorityName::Normal => Self::Normal,
            PriorityName::Low => Self::Low,
        }
    }
}

/// Any text will do here: clap repeats what it refuses, and a key must not be repeated.
pub(crate) fn api_key(text: &str) -> Result<ApiKey, Infallible> {
    Ok(ApiKey::new(text))
}

fn reverse_path(text: &str) -> Result<ReversePath, AddressError> {
    match text {
        "<>" => Ok(ReversePath::Null),
        _ => Ok(ReversePath::Mailbox(text.parse()?)),
    }
}

/// Reads the command line and what the environment adds to it.
///
/// # Errors
///
/// What is wrong, in one line. A request for help is answered here and ends the process.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<Command, Failure> {
    let parsed = Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?.command, matches)));
    let (mut command, matches) = parsed.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ => Failure::usage(in_one_line(&error.render().to_string())),
    })?;
    if let Some((_, matches)) = matches.subcommand() {
        command.settle(matches);
    }
    Ok(command)
}

impl Command {
    /// Lets the command line win over the environment where two options are one setting.
    fn settle(&mut self, matches: &ArgMatches) {
        match self {
            Self::Serve(serve) => serve.layer.settle(matches),
            Self::Send(send) => send.uplink.settle(matches),
            Self::Compose(compose) => compose.uplink.settle(matches),
            Self::Console(console) => console.settle(matches),
            Self::Bridge(bridge) => bridge.layer.settle(matches),
            Self::Bench(bench) => bench.settle(matches),
            Self::Kv(command) => command.settle(matches),
            Self::Demo | Self::Sendmail(_) => {}
        }
    }
}

/// Whether `option` comes from the environment while the command line gives `other`, which says the same.
pub(crate) fn is_shadowed(matches: &ArgMatches, option: &str, other: &str) -> bool {
    use clap::parser::ValueSource::{CommandLine, EnvVariable};
    matches.value_source(option) == Some(EnvVariable)
        && matches.value_source(other) == Some(CommandLine)
}

/// What clap says in a paragraph, a tip and a usage, less the usage.
fn in_one_line(rendered: &str) -> String {
    let mut paragraphs = rendered.split("\n\n");
    let complaint = paragraphs.next().unwrap_or_default();
    let complaint = complaint.strip_prefix("error:").unwrap_or(complaint);
    let mut line = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(tip) = paragraphs.find_map(|text| text.trim().strip_prefix("tip: ")) {
        line = format!("{line} ({})", tip.trim());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, Failure> {
        super::parse(line.split(' ').map(Into::into))
    }

    fn complaint(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn complaints_are_one_line_and_name_the_option() {
        let send = "relay send --url ws://127.0.0.1:1/ --from a@example.org --to b@example.org";
        let cases = [
            ("relay send", "--url <URL>"),
            (
                "relay send --url http://h/ --from a@b --to c@d",
                "'--url <URL>': \"http://h/\" must start with ws:// or wss://",
            ),
            ("relay send --url ws://h/ --from a --to b@c", "'--from"),
            ("relay send --url ws://h/ --from a@b --to c@", "'--to"),
            (&format!("{send} --attempts 0"), "'--attempts <N>'"),
            (
                &format!("{send} --priority urgent"),
                "critical, high, normal, low",
            ),
            (&format!("{send} --form a@b"), "similar argument exists"),
            ("relay serve --listen nowhere", "'--listen <ADDR>'"),
            (
                "relay serve --upstream mx.example.org",
                "'--upstream <URL>'",
            ),
            (
                "relay serve --allow-net 10.0.0.0/33",
                "'--allow-net <CIDR>'",
            ),
            (
                "relay serve --allow-sender a@b",
                "'--allow-sender <DOMAIN>'",
            ),
            ("relay serve --log relay=loud=x", "'--log <FILTER>'"),
            ("relay sent", "'sent'"),
        ];
        for (line, part) in cases {
            let complaint = complaint(line);
            assert!(complaint.contains(part), "{line}: {complaint}");
            assert!(!complaint.contains('\n'), "{line}: {complaint}");
        }
    }

    #[test]
    fn nobody_is_a_sender() {
        let line = "relay send --url ws://h/ --from <> --to b@example.org";
        let Command::Send(send) = parse(line).unwrap() else {
            panic!("not send");
        };
        assert_eq!(send.from, ReversePath::Null);
        assert!(send.files.is_empty());
    }

    #[test]
    fn keys_do_not_show() {
        let line = "relay send --url ws://h/ --api-key hunter2 --from <> --to b@example.org";
        assert!(!format!("{:?}", parse(line).unwrap()).contains("hunter2"));
        let line = "relay serve --api-key hunter2";
        assert!(!format!("{:?}", parse(line).unwrap()).contains("hunter2"));
    }
}
