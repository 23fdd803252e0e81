//! What `relay console` is given.

use super::{
    command::what_to_type,
    machine::{MAX_FRAME, Settings},
};
use crate::{failure::Failure, uplink::Uplink};
use clap::{ArgMatches, Args, builder::Resettable, parser::ValueSource};
use relay_proto::{
    Endpoint,
    mail::wire::{ApiKey, Message, encode},
};
use relay_tokio::Config;
use std::time::Duration;

pub(crate) const NOTES: &str = concat!(
    "What to type:\n",
    what_to_type!(),
    "

  Several lines that are pasted at once are sent as one frame.

What is shown:
  < before what the peer has sent, * before what happens to the connection. Control characters are
  shown as \\u{…}, so that no peer can play tricks with the terminal; the API key is never shown.

  Without a terminal on standard input and output there is neither prompt nor editing: lines are
  read as above, frames go to standard output and the rest to standard error, and after the last
  line answers are waited for as long as --wait says.

Exit codes:
  0  closed from here, or by the peer with the code 1000
  1  ended in any other way
  2  the command line is wrong, or a file cannot be read; or, without a terminal, a line was wrong
  3  the relay refused the API key
  4  there is no connection"
);

/// What `relay console` is given.
#[derive(Args, Debug)]
#[command(
    mut_arg("url", |url| url
        .long(Resettable::Reset)
        .index(1)
        .help("The address: ws://HOST:PORT/ or wss://HOST:PORT/")),
    mut_arg("attempts", |attempts| attempts.default_value("1"))
)]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    pub(crate) uplink: Uplink,
    /// Send AUTHENTICATE with the API key first, as relays want it; --api-key and --api-key-file on the
    /// command line mean that, too, a key in the environment alone does not
    #[arg(long)]
    authenticate: bool,
    /// Show JSON one field a line
    #[arg(long)]
    pub(super) json: bool,
    /// Without a terminal: how many seconds to wait for answers after the last line
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(super) wait: Duration,
}

impl ConsoleArgs {
    /// Lets the command line win over the environment, and a key on it be meant.
    pub(crate) fn settle(&mut self, matches: &ArgMatches) {
        self.uplink.settle(matches);
        let is_given = |option| matches.value_source(option) == Some(ValueSource::CommandLine);
        self.authenticate |= is_given("api_key") || is_given("api_key_file");
    }

    /// What the machine and its transport need, and the key where it is to be sent.
    ///
    /// # Errors
    ///
    /// Where there is no key to authenticate with, or a file cannot be read.
    pub(super) fn configure(&self) -> Result<(Settings, Config, Option<ApiKey>), Failure> {
        let mut transport = self.uplink.transport()?;
        transport.max_frame_bytes = MAX_FRAME;
        let api_key = self.authenticate.then(|| self.uplink.key()).transpose()?;
        let introduction = api_key.clone().map(|api_key| {
            let agent = Some(concat!("relay-cli/", env!("CARGO_PKG_VERSION")).to_owned());
            let durable = None;
            encode(&Message::Authenticate {
                api_key,
                agent,
                durable,
            })
        });
        let settings = Settings {
            endpoint: Endpoint::WebSocket(self.uplink.url.clone()),
            introduction,
            attempts: self.uplink.attempts,
        };
        Ok((settings, transport, api_key))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no number of seconds");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}
